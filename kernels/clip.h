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
    uint32_t non_finite; /* updated weights that are NaN or infinite */
} kp_clip_tally;

/* The clip, counting. Counters, not flags: they vectorise. */
KP_HD float kp_clip_count(float x, float bound, uint32_t *outside, uint32_t *non_finite) {
    float size = fabsf(x);
    *outside += size > bound;
    *non_finite += !(size <= 3.40282347e38f); /* NaN compares false */
    return kp_clip(x, bound);
}
