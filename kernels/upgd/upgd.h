/* upgd.h: utility-based perturbed gradient descent (Elsayed & Mahmood 2024, "Addressing loss of
 * plasticity and catastrophic forgetting in continual learning"), then clamp to [-bound, +bound].
 *
 *     U = beta U - (1 - beta) g theta                     the weights before the step
 *     gate = 1 - sigmoid(Uhat / max of Uhat over the network)
 *     theta = (1 - a lambda) theta - a (g + sigma noise) gate
 *
 * and with Adam's direction for g ("adaupgd"), the noise not divided by Adam's root. Two operations, for
 * the maximum is over the whole network: upgd_utility leaves that of each chunk, upgd_clip finds theirs.
 * Uhat = U / (1 - beta^t), so the corrections cancel in the ratio: `bc` is 1. The authors' code divides
 * by the maximum of the uncorrected U: `bc` is 1 - beta^t. A maximum that is not above 0 (or is below
 * 1e-37, whose inverse could be infinite) makes every gate 1/2; a NaN is passed over, and stays where it
 * is. */
#pragma once
#include "clip.h"
#include "elementary.h"

typedef struct KP_ALIGN16 {
    float step_size;
    float decay; /* 1 - a lambda */
    float sigma; /* 0: no noise is read */
    float beta_utility, one_minus_beta_utility;
    float bc;
    float beta1, one_minus_beta1, beta2, one_minus_beta2, eps;
    float inverse_bc1, rsqrt_bc2; /* 1 / (1 - beta1^t), 1 / sqrt(1 - beta2^t) */
} kp_upgd_hyper;

typedef struct {                 /* all borrowed; no overlap */
    int P, n_chunks;             /* N = n_chunks * KP_CHUNK */
    const float *theta, *grad;   /* [P][N] */
    const float *grad_scale;     /* [P] from grad_norm; NULL: 1 */
    const kp_upgd_hyper *hyper;  /* [P] */
    float *utility;              /* [P][N] updated; padding stays zero */
    float *largest;              /* [P][n_chunks] of the chunk and 0 */
} kp_upgd_utility_args;

typedef struct {                 /* all borrowed; no overlap */
    int P, n_chunks;
    int n_tensors;
    float *theta;                /* [P][N] updated; padding stays zero */
    float *m, *v;                /* [P][N] updated: adaupgd; NULL: upgd */
    const float *utility;        /* [P][N] */
    const float *largest;        /* [P][n_chunks] */
    const float *grad;           /* [P][N] */
    const float *noise;          /* [P][N] NULL: no member has noise */
    const int32_t *tensor;       /* [n_chunks] the tensor a chunk belongs to */
    const float *bound;          /* [P][n_tensors] INFINITY: not clipped */
    const float *grad_scale;     /* [P] */
    const kp_upgd_hyper *hyper;  /* [P] */
    kp_clip_tally *tally;        /* [P][n_chunks] overwritten */
} kp_upgd_clip_args;

KP_HD float kp_upgd_utility1(float utility, float x, float g, kp_upgd_hyper h) {
    return fmaf(h.beta_utility, utility, -(h.one_minus_beta_utility * (g * x)));
}

/* From 0 on: NaN and values below do not count. */
KP_HD float kp_upgd_larger(float largest, float utility) {
    return largest < utility ? utility : largest;
}

/* What makes a ratio of a utility. */
KP_HD float kp_upgd_per(float largest, float bc) {
    float eta = bc * largest;
    return eta > 1e-37f ? 1.0f / eta : 0.0f;
}

KP_HD float kp_upgd_gate(float utility, float per) {
    return 1.0f - 1.0f / (1.0f + kp_exp(-(utility * per)));
}

KP_HD float kp_adam_direction(float g, float *m, float *v, kp_upgd_hyper h) {
    *m = fmaf(h.beta1, *m, h.one_minus_beta1 * g);
    *v = fmaf(h.beta2, *v, h.one_minus_beta2 * g * g);
    return *m * h.inverse_bc1 / fmaf(sqrtf(*v), h.rsqrt_bc2, h.eps);
}

/* One element, up to the clip; g: the gradient or Adam's direction. */
KP_HD float kp_upgd1(float x, float g, float noise, float gate, kp_upgd_hyper h) {
    g = h.sigma != 0.0f ? fmaf(h.sigma, noise, g) : g;
    return fmaf(-h.step_size, g * gate, h.decay * x);
}

KP_CUDA_C kp_status kp_upgd_utility_cuda(const void *args, const kp_cuda *cuda, kp_err *err);
KP_CUDA_C kp_status kp_upgd_clip_cuda(const void *args, const kp_cuda *cuda, kp_err *err);
