/* rmsprop_clip.h: RMSProp (as PyTorch's: epsilon outside the root), then clamp to [-bound, +bound]
 * (arXiv 2407.01704). The averages never see the clip. */
#pragma once
#include "clip.h"
#include "penalty.h"

typedef struct KP_ALIGN16 {
    float beta, one_minus_beta; /* of the averages; PyTorch's alpha */
    float eps;
    float step_size;
    float l2, l2init; /* penalty.h */
} kp_rmsprop_hyper;

typedef struct {     /* all borrowed; no overlap */
    int P, n_chunks; /* N = n_chunks * KP_CHUNK */
    int n_tensors;
    float *theta, *v;              /* [P][N] updated; padding stays zero */
    float *mean;                   /* [P][N] of the gradient: divide by the standard deviation
                                      (centered); NULL: by the root of the mean square */
    const float *grad;             /* [P][N] */
    const float *anchor;           /* [P][N] theta_0; NULL: no member has l2init */
    int with_terms;                /* 0: no member has l2 or l2init */
    const int32_t *tensor;         /* [n_chunks] the tensor a chunk belongs to */
    const float *bound;            /* [P][n_tensors] kappa * factor * s_l; INFINITY: not clipped */
    const float *grad_scale;       /* [P] from grad_norm; NULL: 1 */
    const kp_rmsprop_hyper *hyper; /* [P] */
    kp_clip_tally *tally;          /* [P][n_chunks] overwritten */
} kp_rmsprop_clip_args;

/* One element, up to the clip; g with its penalties. */
KP_HD float kp_rmsprop1(float x, float g, float *v, kp_rmsprop_hyper h) {
    *v = kp_settle(fmaf(h.beta, *v, h.one_minus_beta * g * g));
    return fmaf(-h.step_size, g / (sqrtf(*v) + h.eps), x);
}

/* The same, centered. Rounding may leave the variance of a steady gradient below zero. */
KP_HD float kp_rmsprop_centered1(float x, float g, float *v, float *mean, kp_rmsprop_hyper h) {
    *v = kp_settle(fmaf(h.beta, *v, h.one_minus_beta * g * g));
    *mean = kp_settle(fmaf(h.beta, *mean, h.one_minus_beta * g));
    float variance = fmaf(-*mean, *mean, *v);
    variance = variance < 0.0f ? 0.0f : variance; /* NaN stays */
    return fmaf(-h.step_size, g / (sqrtf(variance) + h.eps), x);
}

KP_CUDA_C kp_status kp_rmsprop_clip_cuda(const void *args, const kp_cuda *cuda, kp_err *err);
