/* ring.c: slots are numbered over a lane's life; number j lies at j % lane_slots. Live are the
 * numbers [oldest, head). A slot is `whole` once its n-step return is known, so that drawing only
 * has to ask whether the stack before it is still live. */
#include "ring.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/memory.h"
#include "base/philox.h"
#include "ring_impl.h"

static size_t align(size_t n) { return (n + 63) / 64 * 64; }

/* The newest observation has no transition yet, and the oldest stack - 1 frames only serve stacks.
 */
static int64_t lane_slots(const kp_ring_options *o) {
    return (o->transitions + o->E - 1) / o->E + o->stack;
}

static size_t member_bytes(const kp_ring_options *o) {
    return align((size_t)lane_slots(o) * (size_t)o->E * (size_t)o->frame_bytes);
}

size_t kp_ring_bytes(const kp_ring_options *o) {
    size_t slots = (size_t)lane_slots(o) * (size_t)o->E * (size_t)o->P;
    return member_bytes(o) * (size_t)o->P + slots * sizeof(kp_ring_slot);
}

static kp_status check(const kp_ring_options *o, kp_err *err) {
    if (o->P < 1 || o->E < 1 || o->frame_bytes < 1 || o->transitions < 1 ||
        o->transitions > (int64_t)1e12)
        return kp_fail(err, KP_BAD_CONFIG,
                       "replay: %d members, %d environments, frames of %d bytes, %lld transitions;"
                       " all must be at least 1, transitions at most 1e12",
                       o->P, o->E, o->frame_bytes, (long long)o->transitions);
    if (o->stack < 1 || o->stack > KP_RING_MAX_STACK)
        return kp_fail(err, KP_BAD_CONFIG, "env.stack: %d; 1 to %d", o->stack, KP_RING_MAX_STACK);
    if (o->n_step < 1 || o->n_step > KP_RING_MAX_N_STEP)
        return kp_fail(err, KP_BAD_CONFIG, "dqn.n_step: %d; 1 to %d", o->n_step,
                       KP_RING_MAX_N_STEP);
    if (o->transitions < (int64_t)o->E * o->n_step)
        return kp_fail(err, KP_BAD_CONFIG,
                       "buffer.transitions: %lld; %d environments with n_step %d need %lld or more",
                       (long long)o->transitions, o->E, o->n_step, (long long)o->E * o->n_step);
    double bytes = (double)o->P * o->E * (double)lane_slots(o) *
                   ((double)o->frame_bytes + sizeof(kp_ring_slot));
    int64_t available = kp_memory_available();
    if (bytes > (double)available)
        return kp_fail(
            err, KP_BAD_CONFIG,
            "buffer.transitions: %lld for each of %d members need %.1f GiB of memory, %.1f GiB are "
            "available; lower buffer.transitions or population.size",
            (long long)o->transitions, o->P, bytes / 0x1p30, (double)available / 0x1p30);
    return KP_OK;
}

static void *map(size_t n) {
    void *memory = mmap(NULL, n, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) return NULL;
    madvise(memory, n, MADV_HUGEPAGE); /* a minibatch touches frames all over: fewer TLB misses */
    return memory;
}

kp_status kp_ring_open(kp_ring **out, const kp_ring_options *o, kp_err *err) {
    *out = NULL;
    kp_status st = check(o, err);
    if (st) return st;
    kp_ring *r = calloc(1, sizeof *r);
    if (!r) return kp_fail(err, KP_BAD_CONFIG, "replay: out of host memory");
    r->o = *o;
    r->lane_slots = lane_slots(o);
    r->stride = (int64_t)member_bytes(o);
    r->frames_bytes = (size_t)r->stride * (size_t)o->P;
    r->slots_bytes = (size_t)r->lane_slots * (size_t)o->E * (size_t)o->P * sizeof *r->slots;
    r->frames = map(r->frames_bytes);
    r->slots = map(r->slots_bytes);
    r->lane = calloc((size_t)o->P * (size_t)o->E, sizeof *r->lane);
    if (!r->frames || !r->slots || !r->lane) {
        kp_ring_close(r);
        return kp_fail(err, KP_BAD_CONFIG, "replay: cannot map %.1f GiB; lower buffer.transitions",
                       (double)kp_ring_bytes(o) / 0x1p30);
    }
    *out = r;
    return KP_OK;
}

void kp_ring_close(kp_ring *r) {
    if (!r) return;
    if (r->frames) munmap(r->frames, r->frames_bytes);
    if (r->slots) munmap(r->slots, r->slots_bytes);
    free(r->lane);
    free(r);
}

const kp_ring_options *kp_ring_get_options(const kp_ring *r) { return &r->o; }
uint8_t *kp_ring_frames(const kp_ring *r) { return r->frames; }
int64_t kp_ring_frames_stride(const kp_ring *r) { return r->stride; }

int kp_ring_fresh(kp_ring *r, size_t *at, size_t *bytes) {
    for (int lane = 0; lane < r->o.P * r->o.E; lane++) {
        kp_ring_lane *l = &r->lane[lane];
        int64_t oldest = kp_ring_oldest(r, l), from = l->seen > oldest ? l->seen : oldest,
                wrap = from - from % r->lane_slots + r->lane_slots,
                to = l->head < wrap ? l->head : wrap;
        if (from == l->head) continue;
        *at = (size_t)(kp_ring_frame_at(r, lane, from) - r->frames);
        *bytes = (size_t)(to - from) * (size_t)r->o.frame_bytes;
        l->seen = to;
        return 1;
    }
    return 0;
}

/* A new observation at the head; the oldest makes room. `since`: steps since the episode's start.
 */
static void append(kp_ring *r, int lane, const uint8_t *frame, int since) {
    kp_ring_lane *l = &r->lane[lane];
    kp_ring_slot *s = kp_ring_slot_at(r, lane, l->head);
    l->n_whole -= s->whole;
    *s = (kp_ring_slot){ .since = (uint8_t)(since < UINT8_MAX ? since : UINT8_MAX) };
    memcpy(kp_ring_frame_at(r, lane, l->head), frame, (size_t)r->o.frame_bytes);
    l->head++;
}

void kp_ring_begin(kp_ring *r, int lane, const uint8_t *frame) { append(r, lane, frame, 0); }

void kp_ring_push(kp_ring *r, int lane, int action, float reward, kp_end end,
                  const uint8_t *frame_next) {
    kp_ring_lane *l = &r->lane[lane];
    assert(l->head > 0);
    int64_t now = l->head - 1;
    kp_ring_slot *s = kp_ring_slot_at(r, lane, now);
    assert(!s->acted && (now == 0 || s->since == 0 || !kp_ring_slot_at(r, lane, now - 1)->end));
    s->action = action, s->reward = reward, s->end = (uint8_t)end, s->acted = 1;
    kp_ring_settle(r, lane, now);
    append(r, lane, frame_next, s->since + 1);
}

/* The transition at number j completes the one n - 1 steps before it; an end completes all after
 * that. */
void kp_ring_settle(kp_ring *r, int lane, int64_t j) {
    kp_ring_lane *l = &r->lane[lane];
    const kp_ring_slot *s = kp_ring_slot_at(r, lane, j);
    int back = r->o.n_step - 1;
    int64_t first = j - back, last = s->end ? j : first;
    if (back > s->since)
        first = j - s->since; /* n_step <= UINT8_MAX: a saturated `since` is enough */
    int64_t oldest = kp_ring_oldest(r, l);
    for (int64_t i = first < oldest ? oldest : first; i <= last; i++) {
        kp_ring_slot *whole = kp_ring_slot_at(r, lane, i);
        l->n_whole += !whole->whole;
        whole->whole = 1;
    }
}

static void stack_at(const kp_ring *r, int lane, int64_t j, int64_t *index) {
    int64_t base = (int64_t)(lane % r->o.E) * r->lane_slots;
    int since = kp_ring_slot_at(r, lane, j)->since, stack = r->o.stack;
    for (int k = 0; k < stack; k++) {
        int back = stack - 1 - k;
        index[k] = back > since ? -1 : base + (j - back) % r->lane_slots;
    }
}

void kp_ring_stack(const kp_ring *r, int lane, int64_t *index) {
    assert(r->lane[lane].head > 0);
    stack_at(r, lane, r->lane[lane].head - 1, index);
}

static int can_sample(const kp_ring *r, int lane, int64_t j) {
    const kp_ring_slot *s = kp_ring_slot_at(r, lane, j);
    int back = s->since < r->o.stack - 1 ? s->since : r->o.stack - 1;
    return s->whole && j - back >= kp_ring_oldest(r, &r->lane[lane]);
}

int64_t kp_ring_size(const kp_ring *r, int member) {
    int64_t n = 0;
    for (int lane = member * r->o.E; lane < (member + 1) * r->o.E; lane++) {
        const kp_ring_lane *l = &r->lane[lane];
        int64_t oldest = kp_ring_oldest(r, l);
        n += l->n_whole;
        for (int64_t j = oldest; j < oldest + r->o.stack - 1 && j < l->head; j++)
            n -= kp_ring_slot_at(r, lane, j)->whole && !can_sample(r, lane, j);
    }
    return n;
}

static void fill(const kp_ring *r, int lane, int64_t j, const kp_ring_batch *batch, int b) {
    const kp_ring_slot *s = kp_ring_slot_at(r, lane, j);
    double reward = 0, discount = 1;
    int64_t next = j;
    batch->action[b] = s->action;
    for (int k = 0; k < r->o.n_step; k++) {
        s = kp_ring_slot_at(r, lane, next++);
        reward += discount * (double)s->reward;
        discount *= r->o.gamma;
        if (s->end) break;
    }
    batch->reward[b] = (float)reward;
    batch->discount[b] = s->end == KP_END_TERMINAL ? 0.0f : (float)discount;
    stack_at(r, lane, j, batch->s + (int64_t)b * r->o.stack);
    stack_at(r, lane, next, batch->s_next + (int64_t)b * r->o.stack);
}

kp_status kp_ring_sample(const kp_ring *r, int member, uint64_t seed, uint64_t update, int B,
                         const kp_ring_batch *batch, kp_err *err) {
    int64_t n_live = 0;
    int first = member * r->o.E, lane;
    for (lane = first; lane < first + r->o.E; lane++)
        n_live += r->lane[lane].head - kp_ring_oldest(r, &r->lane[lane]);
    if (kp_ring_size(r, member) == 0)
        return kp_fail(err, KP_BAD_CONFIG,
                       "replay: member %d has no whole transition to sample; "
                       "raise buffer.min_transitions",
                       member);
    /* Draw live slots until B of them can be sampled; two candidates from each Philox block. */
    int b = 0;
    for (uint64_t draw = 0; b < B && draw >> 1 < 1 << 16; draw++) {
        kp_philox_block x = kp_philox(seed, KP_STREAM_SAMPLE, update << 16 | draw >> 1);
        int half = 2 * (int)(draw & 1);
        int64_t j = (int64_t)kp_below(x.x[half], x.x[half + 1], (uint64_t)n_live);
        for (lane = first;; lane++) {
            int64_t live = r->lane[lane].head - kp_ring_oldest(r, &r->lane[lane]);
            if (j < live) break;
            j -= live;
        }
        j += kp_ring_oldest(r, &r->lane[lane]);
        if (can_sample(r, lane, j)) fill(r, lane, j, batch, b++);
    }
    if (b < B)
        return kp_fail(err, KP_BAD_CONFIG,
                       "replay: %lld transitions in %lld slots are too few for a minibatch of %d; "
                       "raise buffer.min_transitions",
                       (long long)kp_ring_size(r, member), (long long)n_live, B);
    return KP_OK;
}
