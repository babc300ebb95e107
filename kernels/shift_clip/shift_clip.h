/* shift_clip.h: what follows an update rule, then the clamp to [-bound, +bound], which the rule has then
 * left out (its bounds are infinite):
 *
 *     shrink and perturb    theta = (1 - shrink) theta + perturb noise     (Ash & Adams 2020)
 *     the authors' form     theta -= a sigma noise; shrink is in the gradient
 *     their L2 Init         theta += a lambda anchor, anchor = theta after the first update's rule;
 *                           -lambda theta is in the gradient */
#pragma once
#include "clip.h"

typedef struct KP_ALIGN16 {
    float keep;  /* 1 - shrink */
    float noise; /* times the noise; 0: none is read */
    float pull;  /* times the anchor; 0: none is read */
    uint32_t takes_anchor; /* 1: the anchor becomes theta first */
} kp_shift_hyper;

typedef struct {                 /* all borrowed; no overlap */
    int P, n_chunks;             /* N = n_chunks * KP_CHUNK */
    int n_tensors;
    float *theta;                /* [P][N] updated; padding stays zero */
    const float *noise;          /* [P][N] NULL: no member has noise */
    float *anchor;               /* [P][N] NULL: no member has a pull */
    const int32_t *tensor;       /* [n_chunks] the tensor a chunk belongs to */
    const float *bound;          /* [P][n_tensors] INFINITY: not clipped */
    const kp_shift_hyper *hyper; /* [P] */
    kp_clip_tally *tally;        /* [P][n_chunks] overwritten */
} kp_shift_clip_args;

/* One element, up to the clip: keep times x, then kp_shift_by of the noise, then of the anchor. */
KP_HD float kp_shift_by(float x, float factor, float y) {
    return factor != 0.0f ? fmaf(factor, y, x) : x;
}

KP_CUDA_C kp_status kp_shift_clip_cuda(const void *args, const kp_cuda *cuda, kp_err *err);
