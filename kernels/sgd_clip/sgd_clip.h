/* sgd_clip.h: gradient descent with momentum (PyTorch's: u = mu u + g, theta -= a u), then clamp to
 * [-bound, +bound] (arXiv 2407.01704). The momentum never sees the clip. */
#pragma once
#include "clip.h"
#include "penalty.h"

typedef struct KP_ALIGN16 {
    float step_size;
    float momentum;   /* 0: u is the gradient */
    float l2, l2init; /* penalty.h */
} kp_sgd_hyper;

typedef struct {     /* all borrowed; no overlap */
    int P, n_chunks; /* N = n_chunks * KP_CHUNK */
    int n_tensors;
    float *theta;              /* [P][N] updated; padding stays zero */
    float *u;                  /* [P][N] updated; NULL: no member has momentum */
    const float *grad;         /* [P][N] */
    const float *anchor;       /* [P][N] theta_0; NULL: no member has l2init */
    int with_terms;            /* 0: no member has l2 or l2init */
    const int32_t *tensor;     /* [n_chunks] the tensor a chunk belongs to */
    const float *bound;        /* [P][n_tensors] kappa * factor * s_l; INFINITY: not clipped */
    const float *grad_scale;   /* [P] from grad_norm; NULL: 1 */
    const kp_sgd_hyper *hyper; /* [P] */
    kp_clip_tally *tally;      /* [P][n_chunks] overwritten */
} kp_sgd_clip_args;

/* One element, up to the clip; g with its penalties. */
KP_HD float kp_sgd1(float x, float g, float *u, kp_sgd_hyper h) {
    *u = kp_settle(fmaf(h.momentum, *u, g));
    return fmaf(-h.step_size, *u, x);
}

/* The same without momentum. */
KP_HD float kp_sgd_plain1(float x, float g, kp_sgd_hyper h) { return fmaf(-h.step_size, g, x); }

KP_CUDA_C kp_status kp_sgd_clip_cuda(const void *args, const kp_cuda *cuda, kp_err *err);
