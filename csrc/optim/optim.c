/* optim.c: an update as operations, and what it needs from the host before each. */
#include <assert.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "adam_clip/adam_clip.h"
#include "copy/copy.h"
#include "grad_norm/grad_norm.h"
#include "mlp/mlp.h"
#include "optim_impl.h"

/* ---- life ------------------------------------------------------------------------------------ */

static size_t rows_bytes(const kp_optim *o, const kp_optim_feed *f) {
    return (size_t)o->P * (size_t)o->block * f->bytes;
}

static kp_status open_feed(kp_optim *o, size_t bytes,
                           void (*fill)(const kp_optim *, int, int64_t, void *), kp_err *err) {
    assert(o->n_feeds < KP_BEGIN_FEEDS);
    kp_optim_feed *f = &o->feed[o->n_feeds++];
    f->bytes = bytes, f->fill = fill;
    f->host = calloc(1, rows_bytes(o, f));
    if (!f->host) return kp_fail(err, KP_BAD_CONFIG, "optimizer: out of host memory");
    kp_status st = kp_backend_alloc(o->backend, &f->ahead, rows_bytes(o, f), "hyperparameters",
                                    err);
    f->now = f->ahead;
    if (!st && o->block > 1)
        st = kp_backend_alloc(o->backend, &f->now, (size_t)o->P * bytes, "hyperparameters", err);
    return st;
}

static kp_status add_moment(kp_optim *o, const char *name, float **memory, kp_err *err) {
    assert(o->n_moments < KP_OPTIM_MAX_MOMENTS);
    size_t bytes = (size_t)o->P * (size_t)o->layout->N * sizeof(float);
    float **moment = &o->moment[o->n_moments];
    kp_status st = kp_backend_alloc(o->backend, (void **)moment, bytes, "the optimizer's moments",
                                    err);
    if (st) return st;
    o->moment_name[o->n_moments++] = name;
    *memory = *moment;
    return KP_OK;
}

static kp_status alloc_all(kp_optim *o, kp_err *err) {
    const kp_layout *l = o->layout;
    size_t P = (size_t)o->P, chunks = (size_t)l->n_chunks, tensors = (size_t)l->n_tensors;
    kp_status st = KP_OK;
#define BACKEND(pointer, n, what)                                                                  \
    if (!st)                                                                                       \
    st = kp_backend_alloc(o->backend, (void **)&o->pointer, (n) * sizeof *o->pointer, what, err)
    BACKEND(chunk_tensor, chunks, "the chunk table");
    BACKEND(bound, P * tensors, "clip bounds");
    BACKEND(tally, P * chunks, "clip tallies");
    BACKEND(total, P * tensors, "clip tallies");
    BACKEND(cursor, P, "hyperparameters");
    if (o->limits_norm) {
        BACKEND(partial, P * chunks, "gradient norms");
        BACKEND(norm_limit, P, "gradient norms");
        BACKEND(norm, P, "gradient norms");
        BACKEND(grad_scale, P, "gradient norms");
    }
#undef BACKEND
    if (st) return st;
    o->bounds_host = calloc(P * tensors, sizeof *o->bounds_host);
    o->bounds_now = calloc(P * tensors, sizeof *o->bounds_now);
    o->cursors_host = calloc(P, sizeof *o->cursors_host);
    o->step = calloc(P, sizeof *o->step);
    if (!o->bounds_host || !o->bounds_now || !o->cursors_host || !o->step)
        return kp_fail(err, KP_BAD_CONFIG, "optimizer: out of host memory");
    memset(o->cursors_host, 0xFF, P * sizeof *o->cursors_host);
    return KP_OK;
}

static kp_status upload_constants(kp_optim *o, kp_err *err) {
    const kp_layout *l = o->layout;
    kp_status st = kp_backend_upload(o->backend, o->chunk_tensor, l->chunk_tensor,
                                     (size_t)l->n_chunks * sizeof *l->chunk_tensor, err);
    for (int p = 0; !st && p < o->P; p++) {
        st = kp_clip_bounds(l, &o->member[p].clip,
                            o->bounds_host + (size_t)p * (size_t)l->n_tensors, err);
        if (!st && o->limits_norm) {
            float limit = (float)o->member[p].grad_norm;
            st = kp_backend_upload(o->backend, o->norm_limit + p, &limit, sizeof limit, err);
        }
    }
    return st;
}

/* What parts the update has: those that any member has. */
static void find_parts(kp_optim *o) {
    for (int p = 0; p < o->P; p++) {
        const kp_optim_member *m = &o->member[p];
        o->limits_norm |= isfinite(m->grad_norm);
        o->has_momentum |= m->momentum != 0;
        o->has_anchor |= m->l2init != 0;
        o->with_terms |= kp_optim_l2(o, p) != 0 || m->l2init != 0;
    }
}

static int has_state(const kp_optim *o, int i, int centered) {
    if (o->kind == KP_RULE_SGD) return o->has_momentum;
    if (o->kind == KP_RULE_RMSPROP && i == 1) return centered;
    return 1;
}

static kp_status open_state(kp_optim *o, int centered, kp_err *err) {
    const kp_optim_rule *rule = o->rule;
    kp_status st = open_feed(o, rule->feed.bytes, rule->feed.fill, err);
    for (int i = 0; !st && i < KP_RULE_STATE && rule->state[i]; i++)
        if (has_state(o, i, centered)) st = add_moment(o, rule->state[i], &o->state[i], err);
    if (!st && o->has_anchor) st = add_moment(o, "anchor", &o->anchor, err);
    return st;
}

/* theta_0, once, through a program: the weights are on the device. */
static kp_status take_anchor(kp_optim *o, kp_err *err) {
    kp_program *copy = NULL;
    if (!o->anchor) return KP_OK;
    kp_status st = kp_program_open(&copy, o->backend, o->P, "initial weights", err);
    if (!st)
        st = KP_ADD(copy, err, copy, .P = o->P, .n = o->layout->N, .from = o->theta,
                    .to = o->anchor);
    if (!st) st = kp_program_seal(copy, err);
    if (!st) st = kp_program_run(copy, NULL, err);
    if (!st) st = kp_backend_sync(o->backend, err);
    kp_program_close(copy);
    return st;
}

kp_status kp_optim_open(kp_optim **out, kp_backend *backend, const kp_layout *layout, int P,
                        const kp_optim_options *options, float *theta, const float *grad,
                        kp_err *err) {
    *out = NULL;
    if (!kp_optim_rules[options->rule].add)
        return kp_fail(err, KP_BAD_CONFIG, "optim.rule: number %d is not made yet", options->rule);
    kp_optim *o = calloc(1, sizeof *o);
    if (!o || !(o->member = calloc((size_t)P, sizeof *o->member))) {
        free(o);
        return kp_fail(err, KP_BAD_CONFIG, "optimizer: out of host memory");
    }
    o->backend = backend, o->layout = layout, o->P = P;
    o->block = options->block ? options->block : 1;
    o->kind = options->rule, o->rule = &kp_optim_rules[options->rule];
    o->theta = theta, o->grad = grad;
    memcpy(o->member, options->member, (size_t)P * sizeof *o->member);
    find_parts(o);
    kp_status st = alloc_all(o, err);
    if (!st) st = open_state(o, options->centered, err);
    if (!st) st = upload_constants(o, err);
    if (!st) st = take_anchor(o, err);
    if (st) {
        kp_optim_close(o);
        return st;
    }
    *out = o;
    return KP_OK;
}

void kp_optim_close(kp_optim *o) {
    if (!o) return;
    for (int i = 0; i < o->n_moments; i++) kp_backend_release(o->backend, o->moment[i]);
    for (int i = 0; i < o->n_feeds; i++) {
        const kp_optim_feed *f = &o->feed[i];
        if (f->now != f->ahead) kp_backend_release(o->backend, f->now);
        kp_backend_release(o->backend, f->ahead);
        free(f->host);
    }
    void *memory[] = { o->chunk_tensor, o->bound,      o->cursor, o->tally,     o->total,
                       o->partial,      o->norm_limit, o->norm,   o->grad_scale };
    for (size_t i = 0; i < KP_COUNT(memory); i++) kp_backend_release(o->backend, memory[i]);
    free(o->bounds_host);
    free(o->bounds_now);
    free(o->cursors_host);
    free(o->step);
    free(o->member);
    free(o);
}

/* ---- programs -------------------------------------------------------------------------------- */

kp_status kp_optim_add_begin(kp_optim *o, kp_program *program, kp_err *err) {
    kp_optim_begin_args a = { .P = o->P, .block = o->block, .cursor = o->cursor };
    if (o->block == 1) return KP_OK;
    for (int i = 0; i < o->n_feeds; i++) {
        const kp_optim_feed *f = &o->feed[i];
        a.feed[i] = (kp_begin_feed){ f->ahead, f->now, (int)(f->bytes / sizeof(uint32_t)) };
    }
    return kp_program_add(program, kp_op_get(KP_OP_optim_begin), &a, err);
}

kp_status kp_optim_add_update(kp_optim *o, kp_program *program, kp_err *err) {
    const kp_layout *l = o->layout;
    kp_status st = KP_OK;
    if (o->limits_norm) {
        st = KP_ADD(program, err, grad_norm_chunks, .P = o->P, .n_chunks = l->n_chunks,
                    .grad = o->grad, .partial = o->partial);
        if (!st)
            st = KP_ADD(program, err, grad_norm_scale, .P = o->P, .n_chunks = l->n_chunks,
                        .partial = o->partial, .limit = o->norm_limit, .norm = o->norm,
                        .scale = o->grad_scale);
    }
    if (!st) st = o->rule->add(o, program, err);
    if (!st)
        st = KP_ADD(program, err, tally_sum, .P = o->P, .n_chunks = l->n_chunks,
                    .n_tensors = l->n_tensors, .tensor = o->chunk_tensor, .tally = o->tally,
                    .total = o->total);
    return st;
}

const int32_t *kp_optim_cursor(const kp_optim *o) { return o->cursor; }

static int fused_rule(const kp_optim *o) {
    switch (o->kind) {
    case KP_RULE_ADAM:
    case KP_RULE_ADAMW: return KP_MLP_ADAM;
    case KP_RULE_SGD: return o->has_momentum ? KP_MLP_MOMENTUM : KP_MLP_SGD;
    case KP_RULE_RMSPROP: return o->state[1] ? KP_MLP_RMSPROP_CENTERED : KP_MLP_RMSPROP;
    default: return -1;
    }
}

int kp_optim_fuse(const kp_optim *o, kp_optim_fused *f, const char **why_not) {
    *why_not = NULL;
    if (fused_rule(o) < 0) *why_not = "optim.rule has more passes than one";
    if (o->limits_norm) *why_not = "optim.grad_norm wants the whole gradient first";
    if (*why_not) return 0;
    *f = (kp_optim_fused){ .rule = fused_rule(o),
                           .state = { o->state[0], o->state[1] },
                           .anchor = o->anchor,
                           .hyper = o->feed[0].ahead,
                           .bound = o->bound,
                           .total = o->total };
    return 1;
}

/* ---- before and after updates ---------------------------------------------------------------- */

static int minimum(int64_t a, int64_t b) { return (int)(a < b ? a : b); }

int kp_optim_room(const kp_optim *o) {
    int room = INT_MAX;
    for (int p = 0; p < o->P; p++) {
        const kp_clip_options *c = &o->member[p].clip;
        int64_t until = c->at - o->step[p]; /* the update that clips is this one from now on */
        if (c->once && until > 0) room = minimum(until > 1 ? until - 1 : 1, room);
    }
    return room;
}

/* The bounds in force at the next step: those of the options, or none where clipping is once,
 * elsewhere. */
static int refresh_bounds(kp_optim *o, int p) {
    int T = o->layout->n_tensors, changed = 0;
    const kp_clip_options *c = &o->member[p].clip;
    int clips = !c->once || o->step[p] + 1 == c->at;
    for (int i = p * T; i < (p + 1) * T; i++) {
        float bound = clips ? o->bounds_host[i] : INFINITY;
        changed |= bound != o->bounds_now[i];
        o->bounds_now[i] = bound;
    }
    return changed;
}

static void fill_rows(kp_optim *o, int p, int n) {
    for (int i = 0; i < o->n_feeds; i++) {
        const kp_optim_feed *f = &o->feed[i];
        for (int k = 0; k < n; k++)
            f->fill(o, p, o->step[p] + 1 + k,
                    f->host + ((size_t)p * (size_t)o->block + (size_t)k) * f->bytes);
    }
}

kp_status kp_optim_prepare(kp_optim *o, int n, const uint8_t *active, kp_err *err) {
    int changed = 0;
    assert(n >= 1 && n <= o->block && n <= kp_optim_room(o));
    for (int p = 0; p < o->P; p++) {
        if (active && !active[p]) continue;
        changed |= refresh_bounds(o, p);
        fill_rows(o, p, n);
        o->step[p] += n;
    }
    kp_status st = KP_OK;
    for (int i = 0; !st && i < o->n_feeds; i++)
        st = kp_backend_upload(o->backend, o->feed[i].ahead, o->feed[i].host,
                               rows_bytes(o, &o->feed[i]), err);
    if (!st && o->block > 1)
        st = kp_backend_upload(o->backend, o->cursor, o->cursors_host,
                               (size_t)o->P * sizeof *o->cursors_host, err);
    if (!st && changed)
        st = kp_backend_upload(o->backend, o->bound, o->bounds_now,
                               (size_t)o->P * (size_t)o->layout->n_tensors * sizeof *o->bounds_now,
                               err);
    return st;
}

kp_status kp_optim_between(kp_optim *o, int is_task_end, const uint8_t *active, kp_err *err) {
    (void)o, (void)is_task_end, (void)active, (void)err;
    return KP_OK;
}

void kp_optim_set_lr(kp_optim *o, int member, double lr) { o->member[member].lr = lr; }
int64_t kp_optim_step(const kp_optim *o, int member) { return o->step[member]; }

/* ---- results and state ----------------------------------------------------------------------- */

static size_t total_bytes(const kp_optim *o) {
    return (size_t)o->P * (size_t)o->layout->n_tensors * sizeof *o->total;
}

kp_status kp_optim_tally(kp_optim *o, kp_tensor_tally *total, kp_err *err) {
    return kp_backend_download(o->backend, total, o->total, total_bytes(o), err);
}

kp_status kp_optim_open_readback(kp_optim *o, kp_readback **readback, kp_err *err) {
    return kp_readback_open(readback, o->backend, o->total, total_bytes(o), err);
}

kp_status kp_optim_set_tally(kp_optim *o, const kp_tensor_tally *total, kp_err *err) {
    return kp_backend_upload(o->backend, o->total, total, total_bytes(o), err);
}

kp_status kp_optim_grad_norm(kp_optim *o, float *norm, kp_err *err) {
    if (o->limits_norm)
        return kp_backend_download(o->backend, norm, o->norm, (size_t)o->P * sizeof *norm, err);
    for (int p = 0; p < o->P; p++) norm[p] = NAN;
    return KP_OK;
}

int kp_optim_n_moments(const kp_optim *o) { return o->n_moments; }

float *kp_optim_moment(const kp_optim *o, int i, const char **name) {
    *name = o->moment_name[i];
    return o->moment[i];
}

int64_t *kp_optim_steps(kp_optim *o) { return o->step; }
