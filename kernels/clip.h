/* clip.h: what every update rule shares: the weight clip (arXiv 2407.01704) and its tally. */
#pragma once
#include "kp_kernel.h"

/* Comparisons keep NaN a NaN; fminf and fmaxf would return the bound. Each is one vminps or vmaxps,
 * which return the second operand where one is NaN. bound >= 0; INFINITY is no clip. */
KP_HD float kp_clip(float x, float bound) {
    x = bound < x ? bound : x;
    return -bound > x ? -bound : x;
}

/* Written for each chunk by every update; the share clipped of a tensor is a sum over its chunks. */
typedef struct {
    uint32_t outside;    /* updated weights that lay outside the bound, before the clamp */
    uint32_t non_finite; /* weights that are NaN or infinite, after it */
} kp_clip_tally;

/* The clip, counting what it changed, NaN included: the least that the loop over a chunk can carry.
 * What else is to be known is counted afterwards, where there was anything (bench adam_clip). */
KP_HD float kp_clip_count(float x, float bound, uint32_t *changed) {
    float clipped = kp_clip(x, bound);
    *changed += !(x == clipped);
    return clipped;
}

/* The tally of a chunk after the clip, while it is still in cache. */
KP_HD kp_clip_tally kp_clip_tally_of(const float *theta, float bound, uint32_t changed) {
    kp_clip_tally tally = { 0, 0 };
    if (!changed && bound < INFINITY) return tally;
    for (int i = 0; i < KP_CHUNK; i++) tally.non_finite += !(theta[i] - theta[i] == 0.0f);
    if (bound < INFINITY) tally.outside = changed - tally.non_finite; /* what is left are NaN */
    return tally;
}
