/* ring_impl.h: what ring.c and ring_file.c share. */
#pragma once
#include "ring.h"

typedef struct {
    int32_t action;
    float reward;
    uint8_t end;   /* kp_end */
    uint8_t acted; /* action, reward and end are known */
    uint8_t since; /* steps since the episode's start; 255: or more */
    uint8_t whole; /* its n-step return is known */
} kp_ring_slot;

typedef struct {
    int64_t head;    /* number of the next slot */
    int64_t n_whole; /* live slots that are whole */
    int64_t seen;    /* frames before this number are not fresh */
} kp_ring_lane;

struct kp_ring {
    kp_ring_options o;
    int64_t lane_slots, stride;
    size_t frames_bytes, slots_bytes;
    uint8_t *frames;     /* [P][stride], in it [E][lane_slots][frame_bytes] */
    kp_ring_slot *slots; /* [P * E][lane_slots] */
    kp_ring_lane *lane;  /* [P * E] */
};

static inline int64_t kp_ring_oldest(const kp_ring *r, const kp_ring_lane *lane) {
    return lane->head > r->lane_slots ? lane->head - r->lane_slots : 0;
}

static inline kp_ring_slot *kp_ring_slot_at(const kp_ring *r, int lane, int64_t j) {
    return r->slots + (int64_t)lane * r->lane_slots + j % r->lane_slots;
}

static inline uint8_t *kp_ring_frame_at(const kp_ring *r, int lane, int64_t j) {
    int64_t at = (int64_t)(lane % r->o.E) * r->lane_slots + j % r->lane_slots;
    return r->frames + (int64_t)(lane / r->o.E) * r->stride + at * r->o.frame_bytes;
}

/* Marks what the transition at number j makes whole. */
void kp_ring_settle(kp_ring *ring, int lane, int64_t j);
