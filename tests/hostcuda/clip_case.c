/* clip_case.c: inputs hold what the clip has to get right: weights inside, outside and on the
 * bound, NaN, infinities, tensors without a bound, and padding. */
#include "clip_case.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "adam_clip/adam_clip.h"
#include "base/philox.h"
#include "rmsprop_clip/rmsprop_clip.h"
#include "sgd_clip/sgd_clip.h"

enum { GUARD = 1024, POISON = 0xA5, N_TENSORS = 3, PADDING = 100, N_BUFFERS = 6 };

const clip_case clip_cases[N_CLIP_CASES] = {
    { "adam", KP_OP_adam_clip, kp_adam_clip_cuda, 3, 5, 1, 0, 0 },
    { "adam, one member", KP_OP_adam_clip, kp_adam_clip_cuda, 1, 3, 0, 0, 0 },
    { "adam, many chunks", KP_OP_adam_clip, kp_adam_clip_cuda, 2, 33, 0, 0, 0 },
    { "sgd", KP_OP_sgd_clip, kp_sgd_clip_cuda, 3, 5, 1, 0, 0 },
    { "rmsprop", KP_OP_rmsprop_clip, kp_rmsprop_clip_cuda, 3, 5, 1, 0, 0 },
    { "rmsprop, centered", KP_OP_rmsprop_clip, kp_rmsprop_clip_cuda, 3, 5, 1, 1, 0 },
    { "rmsprop, no scale", KP_OP_rmsprop_clip, kp_rmsprop_clip_cuda, 2, 3, 0, 0, 0 },
    { "adam, a member asleep", KP_OP_adam_clip, kp_adam_clip_cuda, 3, 3, 1, 0, 1 },
    { "sgd, a member asleep", KP_OP_sgd_clip, kp_sgd_clip_cuda, 3, 3, 1, 0, 2 },
    { "rmsprop, a member asleep", KP_OP_rmsprop_clip, kp_rmsprop_clip_cuda, 2, 3, 1, 1, 1 },
};

typedef struct {
    const char *name;
    char *raw; /* guard, contents, guard */
    size_t bytes;
} buffer;

typedef struct {
    buffer buffer[N_BUFFERS]; /* theta, three moments, grad, tally */
    float bound[3 * N_TENSORS], grad_scale[3];
    int32_t tensor[64];
    union {
        kp_adam_hyper adam[3];
        kp_sgd_hyper sgd[3];
        kp_rmsprop_hyper rmsprop[3];
    } hyper;
    union {
        kp_adam_clip_args adam;
        kp_sgd_clip_args sgd;
        kp_rmsprop_clip_args rmsprop;
    } args;
} state;

static void *open_buffer(buffer *b, const char *name, size_t bytes) {
    b->name = name, b->bytes = bytes;
    b->raw = aligned_alloc(64, (bytes + 2 * GUARD + 63) / 64 * 64);
    memset(b->raw, POISON, bytes + 2 * GUARD);
    return b->raw + GUARD;
}

static float uniform(int buffer, int64_t i, float lo, float hi) {
    uint64_t counter = (uint64_t)buffer << 40 | (uint64_t)i;
    return lo + (hi - lo) * kp_uniform(kp_philox(11, KP_STREAM_TEST, counter).x[0]);
}

/* The last PADDING floats of a chunk that ends a tensor. */
static int is_padding(const state *s, int n_chunks, int64_t i) {
    int chunk = (int)(i / KP_CHUNK % n_chunks);
    int ends = chunk == n_chunks - 1 || s->tensor[chunk] != s->tensor[chunk + 1];
    return ends && i % KP_CHUNK >= KP_CHUNK - PADDING;
}

static void open_state(state *s, const clip_case *c) {
    static const float specials[] = { NAN, INFINITY, -INFINITY, 1e30f, -0.0f, 0.25f, -0.25f };
    int64_t n = (int64_t)c->P * c->n_chunks * KP_CHUNK;
    memset(s, 0, sizeof *s);
    for (int i = 0; i < c->n_chunks; i++) s->tensor[i] = i * N_TENSORS / c->n_chunks;
    for (int p = 0; p < c->P; p++) {
        for (int t = 0; t < N_TENSORS; t++)
            s->bound[p * N_TENSORS + t] = t == 1 && p != 1 ? INFINITY : 0.25f * (float)(1 + t + p);
        s->grad_scale[p] = p == 1 ? 1.0f : 0.3f + 0.2f * (float)p;
    }
    static const char *const names[] = { "theta", "moment 1", "moment 2", "moment 3", "grad" };
    float *f[5];
    for (int b = 0; b < 5; b++) {
        f[b] = open_buffer(&s->buffer[b], names[b], (size_t)n * sizeof(float));
        for (int64_t i = 0; i < n; i++)
            f[b][i] = is_padding(s, c->n_chunks, i) ? 0 : uniform(b, i, b == 2 ? 0.01f : -1, 1);
    }
    for (int64_t i = 3; i < n; i += 97) {
        if (is_padding(s, c->n_chunks, i)) continue;
        f[i % 2 ? 0 : 4][i] = specials[i / 97 % (int64_t)KP_COUNT(specials)];
    }
    kp_clip_tally *tally = open_buffer(&s->buffer[5], "tally",
                                       sizeof *tally * (size_t)(c->P * c->n_chunks));
    const float *scale = c->with_scale ? s->grad_scale : NULL;
#define COMMON                                                                                     \
    .P = c->P, .n_chunks = c->n_chunks, .n_tensors = N_TENSORS, .theta = f[0], .grad = f[4],       \
    .tensor = s->tensor, .bound = s->bound, .grad_scale = scale, .tally = tally
    for (int p = 0; p < c->P; p++) {
        float rate = 0.1f * (float)(p + 1);
        if (c->op == KP_OP_adam_clip)
            s->hyper.adam[p] = (kp_adam_hyper){ 0.9f,  0.1f, 0.99f, 0.01f,
                                                1e-8f, rate, 1.5f,  1 - 0.1f * (float)p };
        else if (c->op == KP_OP_sgd_clip)
            s->hyper.sgd[p] = (kp_sgd_hyper){ rate, 0.9f, 0.01f * (float)p };
        else s->hyper.rmsprop[p] = (kp_rmsprop_hyper){ 0.9f, 0.1f, 1e-8f, rate, 0.01f * (float)p };
    }
    if (c->op == KP_OP_adam_clip)
        s->args.adam = (kp_adam_clip_args){ COMMON, .m = f[1], .v = f[2], .hyper = s->hyper.adam };
    else if (c->op == KP_OP_sgd_clip)
        s->args.sgd = (kp_sgd_clip_args){ COMMON, .u = f[1], .hyper = s->hyper.sgd };
    else
        s->args.rmsprop = (kp_rmsprop_clip_args){ COMMON, .v = f[2],
                                                  .mean = c->centered ? f[1] : NULL,
                                                  .hyper = s->hyper.rmsprop };
#undef COMMON
}

static void close_state(state *s) {
    for (int i = 0; i < N_BUFFERS; i++) free(s->buffer[i].raw);
}

static void run_cpu(const clip_case *c, const void *args) {
    const kp_op *op = kp_op_get(c->op);
    for (int p = 0; p < c->P; p++) {
        if (c->asleep && p == c->asleep) continue;
        for (int slice = 0; slice < op->n_slices(args); slice++) op->cpu(args, p, slice, NULL);
    }
}

static int is_nan(uint32_t bits) { return (bits & 0x7FFFFFFFu) > 0x7F800000u; }

static int compare(const clip_case *c, const state *got, const state *want, char *says,
                   size_t size) {
    for (int b = 0; b < N_BUFFERS; b++) {
        const buffer *g = &got->buffer[b], *w = &want->buffer[b];
        for (size_t k = 0; k < GUARD; k++)
            if ((unsigned char)g->raw[k] != POISON ||
                (unsigned char)g->raw[GUARD + g->bytes + k] != POISON) {
                snprintf(says, size, "%s: %s: written outside the buffer", c->name, g->name);
                return 1;
            }
        const uint32_t *x = (uint32_t *)(void *)(g->raw + GUARD),
                       *y = (uint32_t *)(void *)(w->raw + GUARD);
        for (size_t i = 0; i < g->bytes / 4; i++) {
            int same = x[i] == y[i] || (b < 5 && is_nan(x[i]) && is_nan(y[i]));
            if (same && (b == 5 || !x[i] || !is_padding(got, c->n_chunks, (int64_t)i))) continue;
            snprintf(says, size, "%s: %s: word %zu is %08x, %08x on the CPU", c->name, g->name, i,
                     x[i], y[i]);
            return 1;
        }
    }
    return 0;
}

int clip_case_differs(const clip_case *c, char *says, size_t size) {
    state got, want;
    kp_err err = { "" };
    open_state(&got, c), open_state(&want, c);
    run_cpu(c, &want.args);
    uint8_t active[] = { 1, 1, 1 };
    if (c->asleep) active[c->asleep] = 0;
    int differs = c->cuda(&got.args, &(kp_cuda){ .active = active }, &err) != KP_OK;
    if (differs) snprintf(says, size, "%s: %s", c->name, err.text);
    else differs = compare(c, &got, &want, says, size);
    close_state(&got), close_state(&want);
    return differs;
}
