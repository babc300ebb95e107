/* play.h: made-up games for the tests of the ring, kept whole beside it as the reference. */
#pragma once
#include <stdlib.h>
#include <string.h>

#include "base/philox.h"
#include "replay/ring.h"

enum { PLAY_FRAME = 16, PLAY_STEPS = 4096 };

typedef struct { /* one observation, and the transition from it */
    int episode, step, action, acted;
    float reward;
    kp_end end;
    uint8_t frame[PLAY_FRAME];
} play_step;

typedef struct {
    int episode, n;
    int interrupt;   /* now and then an episode is dropped without an end */
    play_step step[PLAY_STEPS];
} play_lane;

static inline uint32_t play_random(int lane, int n, int k) {
    return kp_philox(11, KP_STREAM_TEST, (uint64_t)lane << 32 | (uint64_t)n).x[k];
}

static inline void play_observe(play_lane *l, int lane, int episode, int step) {
    play_step *s = &l->step[l->n];
    *s = (play_step){ .episode = episode, .step = step };
    for (int i = 0; i < PLAY_FRAME; i++) s->frame[i] = (uint8_t)(play_random(lane, l->n, i & 3) >> (i & ~3));
    l->n++;
}

/* Begins an episode or takes a step, as `lane`'s random numbers say. */
static inline void play(kp_ring *ring, play_lane *l, int lane) {
    play_step *s = l->n ? &l->step[l->n - 1] : NULL;
    int over = !s || (l->n > 1 && s->step > 0 && l->step[l->n - 2].end) ||
               (l->interrupt && play_random(lane, l->n, 3) % 23 == 0);
    if (over) {
        play_observe(l, lane, l->episode++, 0);
        kp_ring_begin(ring, lane, l->step[l->n - 1].frame);
        return;
    }
    s->action = (int)(play_random(lane, l->n, 0) % 18);
    s->reward = (float)(play_random(lane, l->n, 1) % 7) - 3;
    s->end = play_random(lane, l->n, 2) % 9 ? KP_END_NONE : play_random(lane, l->n, 2) % 2 ? KP_END_TERMINAL : KP_END_TRUNCATED;
    s->acted = 1;
    play_observe(l, lane, s->episode, s->step + 1);
    kp_ring_push(ring, lane, s->action, s->reward, s->end, l->step[l->n - 1].frame);
}
