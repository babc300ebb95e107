/* clip.h: what every update rule shares: the weight clip (arXiv 2407.01704) and its tally. */
#pragma once
#include "kp_kernel.h"

/* Comparisons keep NaN a NaN; fminf and fmaxf would return the bound. An infinite bound is no clip. */
KP_HD float kp_clip(float x, float bound) { return x > bound ? bound : x < -bound ? -bound : x; }

/* Written for each chunk by every update; the share clipped of a tensor is a sum over its chunks. */
typedef struct {
    uint32_t outside;    /* updated weights that lay outside the bound, before the clamp */
    uint32_t non_finite; /* updated weights that are NaN or infinite */
} kp_clip_tally;
