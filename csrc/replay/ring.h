/* ring.h: uniform replay of single uint8 frames; stacks of frames and n-step returns are put together
 * when a minibatch is drawn.
 *
 *     st = kp_ring_open(&ring, &options, &err);
 *     kp_ring_begin(ring, lane, frame);                             an episode's first observation
 *     kp_ring_push(ring, lane, action, reward, end, frame_next);    a transition
 *     if (kp_ring_size(ring, member) > 0)
 *         st = kp_ring_sample(ring, member, seed, update, B, &batch, &err);
 *     kp_ring_close(ring);
 *
 * P members with E environments each; lane = member * E + environment. A member's slots are split
 * evenly among its lanes. A slot holds one observation and, once it is known, the transition that
 * starts there:
 *
 *     slot        0     1     2     3     4
 *     frame       o0    o1    o2    o3    o0'      o3 is the last observation: kept, since an
 *     transition  a0 r0 a1 r1 a2 r2 -     a0' ..   episode cut at r2 is bootstrapped from it
 *
 * Different lanes may be written, and different members sampled, by different threads at once; the
 * same member may not be written and sampled at once. Only open allocates. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "kappa/status.h"

enum { KP_RING_MAX_STACK = 32, KP_RING_MAX_N_STEP = 255 };

typedef enum {
    KP_END_NONE = 0,
    KP_END_TERMINAL = 1, /* nothing follows: value 0 */
    KP_END_TRUNCATED = 2 /* cut: bootstrapped from the observation after it */
} kp_end;

typedef struct {
    int P, E;
    int frame_bytes;     /* height * width */
    int stack;           /* frames of an observation, 1 .. KP_RING_MAX_STACK */
    int n_step;          /* 1 .. KP_RING_MAX_N_STEP */
    int64_t transitions; /* of a member. Last observations take a slot too, so that a full ring holds
                            one transition fewer for every episode in it. */
    double gamma;
} kp_ring_options;

typedef struct kp_ring kp_ring;

/* What open will map, all members together. */
size_t kp_ring_bytes(const kp_ring_options *options);

/* KP_BAD_CONFIG: more than the memory available (kp_memory_available), or options out of range.
 * Memory is mapped at once, and taken as it is written. */
kp_status kp_ring_open(kp_ring **ring, const kp_ring_options *options, kp_err *err);
const kp_ring_options *kp_ring_get_options(const kp_ring *ring);

/* The first observation of an episode: frame [frame_bytes], copied. May interrupt an episode; what
 * then lacks its n steps is never sampled. */
void kp_ring_begin(kp_ring *ring, int lane, const uint8_t *frame);

/* The transition from the lane's latest observation, and the observation after it, copied. After an
 * end, begin comes next. */
void kp_ring_push(kp_ring *ring, int lane, int action, float reward, kp_end end, const uint8_t *frame_next);

/* The lane's latest observation: frame numbers in the member's store, oldest first; -1 before the
 * start of the episode. At least one frame must be there. */
void kp_ring_stack(const kp_ring *ring, int lane, int64_t *index);

/* Transitions that can be sampled: their n steps, or the episode's end, are known, and no frame of
 * their stack is overwritten. */
int64_t kp_ring_size(const kp_ring *ring, int member);

typedef struct {              /* of one member; all owned by the caller, host */
    int64_t *s, *s_next;      /* [B][stack] frame numbers, oldest first; -1: before the episode */
    int32_t *action;          /* [B] */
    float *reward;            /* [B] sum of gamma^k r_k over k < n, or up to the episode's end */
    float *discount;          /* [B] gamma^steps; 0 where the episode ended by itself within them */
} kp_ring_batch;

/* B transitions of a member, uniform, with replacement. Depends on the member's content, seed and
 * update only. KP_BAD_CONFIG where kp_ring_size is 0. */
kp_status kp_ring_sample(const kp_ring *ring, int member, uint64_t seed, uint64_t update, int B,
                         const kp_ring_batch *batch, kp_err *err);

/* For gather_stack: frame f of member p is at frames + p * stride + f * frame_bytes, host memory,
 * page-aligned. */
uint8_t *kp_ring_frames(const kp_ring *ring);
int64_t kp_ring_frames_stride(const kp_ring *ring);

/* Frames that were added or loaded since they were last asked for, one run of bytes after another, as
 * an offset from kp_ring_frames. 0: there are no more. */
int kp_ring_fresh(kp_ring *ring, size_t *at, size_t *bytes);

void kp_ring_close(kp_ring *ring); /* NULL is fine */
