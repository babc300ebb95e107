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

/* What a rule keeps from one update to the next passes through this: 0 below the normal numbers. The
 * average of a gradient that is zero for good (of a dead unit, of an input that is always 0) would else
 * shrink to a subnormal number and stay there, since 0.9 times the fourth of them rounds to itself; with
 * one among eight Adam's step takes 2.3 times as long. NaN stays NaN. */
KP_HD float kp_settle(float x) { return fabsf(x) < 0x1p-126f ? 0.0f : x; }

/* The clip, counting what it changed, NaN included. */
KP_HD float kp_clip_count(float x, float bound, uint32_t *changed) {
    float clipped = kp_clip(x, bound);
    *changed += !(x == clipped);
    return clipped;
}

/* Before the loop over a chunk of an update rule, which counts `changed` and adds up, in `sum`, the
 * clipped weights: all that it has room for (bench adam_clip). Only whether the sum is finite is asked
 * for, so it may be added in any order. */
#define KP_CLIP_LOOP _Pragma("omp simd reduction(+ : changed, sum)")

/* The tally of a chunk after the clip. Nearly every sum is finite, then every weight is. */
KP_HD kp_clip_tally kp_clip_tally_of(const float *theta, float bound, uint32_t changed, float sum) {
    kp_clip_tally tally = { changed, 0 };
    if (sum - sum == 0.0f) return tally;
    for (int i = 0; i < KP_CHUNK; i++) tally.non_finite += !(theta[i] - theta[i] == 0.0f);
    tally.outside = bound < INFINITY ? changed - tally.non_finite : 0; /* what is left are NaN */
    return tally;
}
