/* adam_chunk.h: the loop over one chunk on the CPU; apart from adam_clip.c so that the benchmark
 * can build it without the clip (clips = 0, a constant) and measure what the clip costs. */
#pragma once
#include "adam_clip.h"

/* No tail test: Adam and the clip both map the zero padding to zero. anchor: NULL where h.l2init is 0. */
KP_HD kp_clip_tally kp_adam_chunk(float *restrict theta, float *restrict m, float *restrict v,
                                  const float *restrict grad, const float *restrict anchor,
                                  float scale, kp_adam_hyper h, float bound, int clips) {
    uint32_t changed = 0;
    float sum = 0;
    KP_CLIP_LOOP
    for (int i = 0; i < KP_CHUNK; i++) {
        float mi = m[i], vi = v[i];
        float g = kp_penalty(grad[i] * scale, theta[i], anchor ? anchor[i] : 0.0f, h.l2, h.l2init);
        float x = kp_adam1(theta[i], g, &mi, &vi, h);
        m[i] = mi;
        v[i] = vi;
        theta[i] = x = clips ? kp_clip_count(x, bound, &changed) : x;
        sum += x;
    }
    return clips ? kp_clip_tally_of(theta, bound, changed, sum) : (kp_clip_tally){ 0, 0 };
}
