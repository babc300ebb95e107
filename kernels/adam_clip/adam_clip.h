/* adam_clip.h: Adam (Kingma & Ba 2015), then clamp to [-bound, +bound] (arXiv 2407.01704).
 *
 * 28 bytes a parameter: theta, m, v read and written, the gradient read. The clip and its tally cost
 * no further traffic. The moments never see the clip. */
#pragma once
#include "clip.h"
#include "penalty.h"

typedef struct KP_ALIGN16 {
    float beta1, one_minus_beta1, beta2, one_minus_beta2;
    float eps;
    float step_size; /* lr / (1 - beta1^t) */
    float rsqrt_bc2; /* 1 / sqrt(1 - beta2^t) */
    float decay;     /* 1 - lr * lambda of AdamW; 1 for Adam */
    float l2, l2init; /* penalty.h */
} kp_adam_hyper;

typedef struct {               /* all borrowed; no overlap */
    int P, n_chunks;           /* N = n_chunks * KP_CHUNK */
    int n_tensors;
    float *theta, *m, *v;      /* [P][N] updated; padding stays zero */
    const float *grad;         /* [P][N] */
    const float *anchor;       /* [P][N] theta_0; NULL: no member has l2init */
    int with_terms;            /* 0: no member has l2 or l2init */
    const int32_t *tensor;     /* [n_chunks] the tensor a chunk belongs to */
    const float *bound;        /* [P][n_tensors] kappa * factor * s_l; INFINITY: not clipped */
    const float *grad_scale;   /* [P] from grad_norm; NULL: 1 */
    const kp_adam_hyper *hyper; /* [P] */
    kp_clip_tally *tally;      /* [P][n_chunks] overwritten */
} kp_adam_clip_args;

/* One element, up to the clip; g with its penalties. */
KP_HD float kp_adam1(float x, float g, float *m, float *v, kp_adam_hyper h) {
    *m = kp_settle(fmaf(h.beta1, *m, h.one_minus_beta1 * g));
    *v = kp_settle(fmaf(h.beta2, *v, h.one_minus_beta2 * g * g));
    return fmaf(-h.step_size, *m / fmaf(sqrtf(*v), h.rsqrt_bc2, h.eps), h.decay * x);
}

KP_CUDA_C kp_status kp_adam_clip_cuda(const void *args, const kp_cuda *cuda, kp_err *err);
