/* madam_clip.h: Madam (Bernstein et al. 2020, "Learning compositional functions via multiplicative weight
 * updates"), then clamp to [-bound, +bound], of which Madam's own limit, a multiple of the root mean
 * square of the initial weights, is a part.
 *
 *     v = beta v + (1 - beta) g^2;  theta *= exp(-a clip(g / sqrt(v / (1 - beta^t)), +-10) sign(theta)) */
#pragma once
#include "clip.h"
#include "elementary.h"

#define KP_MADAM_LIMIT 10.0f /* of the normalised gradient */

typedef struct KP_ALIGN16 {
    float step_size;
    float beta, one_minus_beta;
    float rsqrt_bc; /* 1 / sqrt(1 - beta^t) */
} kp_madam_hyper;

typedef struct {                 /* all borrowed; no overlap */
    int P, n_chunks;             /* N = n_chunks * KP_CHUNK */
    int n_tensors;
    float *theta, *v;            /* [P][N] updated; padding stays zero */
    const float *grad;           /* [P][N] */
    const int32_t *tensor;       /* [n_chunks] the tensor a chunk belongs to */
    const float *bound;          /* [P][n_tensors] */
    const float *grad_scale;     /* [P] from grad_norm; NULL: 1 */
    const kp_madam_hyper *hyper; /* [P] */
    kp_clip_tally *tally;        /* [P][n_chunks] overwritten */
} kp_madam_clip_args;

/* One element, up to the clip. 0 / 0 is no step; 0 times infinity is 0; NaN remains NaN. */
KP_HD float kp_madam1(float x, float g, float *v, kp_madam_hyper h) {
    *v = fmaf(h.beta, *v, h.one_minus_beta * g * g);
    float normalised = g / (sqrtf(*v) * h.rsqrt_bc);
    normalised = (g == 0.0f) & (*v == 0.0f) ? 0.0f : normalised;
    float step = -h.step_size * kp_clip(normalised, KP_MADAM_LIMIT);
    float scaled = x * kp_exp(x < 0.0f ? -step : step);
    return x == 0.0f ? x : scaled;
}

KP_CUDA_C kp_status kp_madam_clip_cuda(const void *args, const kp_cuda *cuda, kp_err *err);
