/* penalties.h: the gradient with all that regularisers add to it, in a buffer of its own, for rules that
 * do not have the terms in their loop and for regularisers that keep state:
 *
 *     L2, L2 Init             penalty.h
 *     streaming EWC           F = EMA(g^2), A = EMA(theta), both corrected for their start from zero (A is kept
 *                             so, that it may be set to what a unit begins with);
 *                             g += lambda F (theta - A)    (Kirkpatrick et al. 2017; streaming: Elsayed &
 *                             Mahmood 2024, "Addressing loss of plasticity and catastrophic forgetting")
 *     Synaptic Intelligence   g += 2 c Omega (theta - anchor)    (Zenke et al. 2017, equation 4)
 *
 * EWC's g is the gradient of the loss alone. */
#pragma once
#include "penalty.h"

typedef struct KP_ALIGN16 {
    float l2, l2init;
    float ewc;                        /* lambda; 0: no term, and F and A stay */
    float decay, one_minus_decay, bc; /* of F and A; bc: 1 - decay^t */
    float si;                         /* 2 c; 0: no term */
} kp_penalties_hyper;

typedef struct {                     /* all borrowed; no overlap */
    int P, n_chunks;                 /* N = n_chunks * KP_CHUNK */
    const float *theta;              /* [P][N] */
    const float *grad;               /* [P][N] */
    const float *grad_scale;         /* [P] from grad_norm; NULL: 1 */
    const float *anchor;             /* [P][N] theta_0; NULL: no member has l2init */
    float *fisher, *mean;            /* [P][N] updated: F and A; NULL: no member has EWC */
    const float *importance, *start; /* [P][N] Omega and its anchor; NULL: no member has SI */
    float *before;                   /* [P][N] becomes theta, for si_path; NULL likewise */
    const kp_penalties_hyper *hyper; /* [P] */
    float *out;                      /* [P][N] overwritten */
} kp_penalties_args;

KP_HD float kp_ewc1(float out, float g, float x, float *fisher, float *mean, kp_penalties_hyper h) {
    *fisher = fmaf(h.decay, *fisher, h.one_minus_decay * g * g);
    *mean = fmaf(h.one_minus_decay / h.bc, x - *mean, *mean);
    return fmaf(h.ewc * (*fisher / h.bc), x - *mean, out);
}

KP_HD float kp_si1(float out, float x, float importance, float start, kp_penalties_hyper h) {
    return fmaf(h.si * importance, x - start, out);
}

KP_CUDA_C kp_status kp_penalties_cuda(const void *args, const kp_cuda *cuda, kp_err *err);
