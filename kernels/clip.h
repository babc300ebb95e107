/* clip.h: what every update rule shares: the weight clip (arXiv 2407.01704) and its tally. */
#pragma once
#include <string.h>

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

KP_HD uint32_t kp_float_bits(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* The clip, counting, in integers: floating-point comparisons compete with Adam's divisions for the
 * same unit (a third of the time in cache; bench adam_clip). Counted are values that the clip leaves
 * as they are, bit for bit, NaN among them; an exponent of all ones (NaN or infinity) carries into
 * the sign. */
KP_HD float kp_clip_count(float x, float bound, uint32_t *unchanged, uint32_t *non_finite) {
    float clipped = kp_clip(x, bound);
    *unchanged += kp_float_bits(x) == kp_float_bits(clipped);
    *non_finite += ((kp_float_bits(x) & 0x7fffffffu) + 0x00800000u) >> 31;
    return clipped;
}

/* The tally of one chunk from the two counts. */
KP_HD kp_clip_tally kp_clip_tally_of(uint32_t unchanged, uint32_t non_finite) {
    kp_clip_tally tally;
    tally.outside = KP_CHUNK - unchanged;
    tally.non_finite = non_finite;
    return tally;
}
