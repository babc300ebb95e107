/* optim.c: an update as operations, and what it needs from the host before each. */
#include <assert.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "copy/copy.h"
#include "grad_norm/grad_norm.h"
#include "mlp/mlp.h"
#include "optim_impl.h"

/* ---- life ------------------------------------------------------------------------------------ */

static size_t rows_bytes(const kp_optim *o, const kp_optim_feed *f) {
    return (size_t)o->P * (size_t)o->block * f->bytes;
}

kp_status kp_optim_open_feed(kp_optim *o, size_t bytes, kp_optim_fill *fill,
                             const kp_optim_feed **feed, kp_err *err) {
    assert(o->n_feeds < KP_BEGIN_FEEDS);
    kp_optim_feed *f = &o->feed[o->n_feeds++];
    *feed = f;
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

kp_status kp_optim_add_moment(kp_optim *o, const char *name, float **memory, kp_err *err) {
    assert(o->n_moments < KP_OPTIM_MAX_MOMENTS);
    size_t bytes = (size_t)o->P * (size_t)o->layout->N * sizeof(float);
    kp_status st = kp_backend_alloc(o->backend, (void **)memory, bytes, "the optimizer's moments",
                                    err);
    if (st) return st;
    o->moment[o->n_moments] = *memory;
    o->moment_name[o->n_moments++] = name;
    return KP_OK;
}

static kp_status alloc_all(kp_optim *o, kp_err *err) {
    const kp_layout *l = o->layout;
    size_t P = (size_t)o->P, chunks = (size_t)l->n_chunks, bounds = P * (size_t)l->n_tensors;
    kp_status st = KP_OK;
#define BACKEND(pointer, n, what)                                                                  \
    if (!st)                                                                                       \
    st = kp_backend_alloc(o->backend, (void **)&o->pointer, (n) * sizeof *o->pointer, what, err)
    BACKEND(chunk_tensor, chunks, "the chunk table");
    BACKEND(bound, bounds, "clip bounds");
    BACKEND(unbounded, bounds, "clip bounds");
    BACKEND(tally, P * chunks, "clip tallies");
    BACKEND(total, bounds, "clip tallies");
    BACKEND(cursor, P, "hyperparameters");
    if (o->has.norm_limit) {
        BACKEND(partial, P * chunks, "gradient norms");
        BACKEND(norm_limit, P, "gradient norms");
        BACKEND(norm, P, "gradient norms");
        BACKEND(grad_scale, P, "gradient norms");
    }
#undef BACKEND
    if (st) return st;
    o->bounds_host = calloc(bounds, sizeof *o->bounds_host);
    o->bounds_free = calloc(bounds, sizeof *o->bounds_free);
    o->bounds_now = calloc(bounds, sizeof *o->bounds_now);
    o->cursors_host = calloc(P, sizeof *o->cursors_host);
    o->step = calloc(P, sizeof *o->step);
    if (!o->bounds_host || !o->bounds_free || !o->bounds_now || !o->cursors_host || !o->step)
        return kp_fail(err, KP_BAD_CONFIG, "optimizer: out of host memory");
    memset(o->cursors_host, 0xFF, P * sizeof *o->cursors_host);
    for (size_t i = 0; i < bounds; i++) o->bounds_free[i] = INFINITY;
    return KP_OK;
}

static kp_status upload_constants(kp_optim *o, kp_err *err) {
    const kp_layout *l = o->layout;
    size_t T = (size_t)l->n_tensors, bounds = (size_t)o->P * T;
    kp_status st = kp_backend_upload(o->backend, o->chunk_tensor, l->chunk_tensor,
                                     (size_t)l->n_chunks * sizeof *l->chunk_tensor, err);
    if (!st)
        st = kp_backend_upload(o->backend, o->unbounded, o->bounds_free,
                               bounds * sizeof *o->bounds_free, err);
    for (int p = 0; !st && p < o->P; p++) {
        st = kp_clip_bounds(l, &o->member[p].clip, o->bounds_host + (size_t)p * T, err);
        if (!st && o->has.norm_limit) {
            float limit = (float)o->member[p].grad_norm;
            st = kp_backend_upload(o->backend, o->norm_limit + p, &limit, sizeof limit, err);
        }
    }
    return st ? st : kp_optim_limit_madam(o, err);
}

static int has_state(const kp_optim *o, int i) {
    if (o->kind == KP_RULE_SGD) return o->has.momentum;
    if (o->kind == KP_RULE_RMSPROP && i == 1) return o->centered;
    return 1;
}

static kp_status open_rule(kp_optim *o, kp_err *err) {
    const kp_optim_rule *rule = o->rule;
    kp_status st = kp_optim_open_feed(o, rule->hyper_bytes, rule->fill, &o->of_rule, err);
    for (int i = 0; !st && i < KP_RULE_STATE && rule->state[i]; i++)
        if (has_state(o, i)) st = kp_optim_add_moment(o, rule->state[i], &o->state[i], err);
    return st;
}

/* theta_0, through a program: it may be on a device. */
static kp_status take_anchors(kp_optim *o, kp_err *err) {
    float *const anchor[] = { o->reference ? NULL : o->anchor, o->start };
    kp_program *take = NULL;
    if (!anchor[0] && !anchor[1]) return KP_OK;
    kp_status st = kp_program_open(&take, o->backend, o->P, "initial weights", err);
    for (size_t i = 0; !st && i < KP_COUNT(anchor); i++)
        if (anchor[i])
            st = KP_ADD(take, err, copy, .P = o->P, .n = o->layout->N, .from = o->theta,
                        .to = anchor[i]);
    if (!st) st = kp_program_seal(take, err);
    if (!st) st = kp_program_run(take, NULL, err);
    if (!st) st = kp_backend_sync(o->backend, err);
    kp_program_close(take);
    return st;
}

static kp_status copy_options(kp_optim *o, const kp_optim_options *options, kp_err *err) {
    size_t P = (size_t)o->P;
    o->block = options->block ? options->block : 1;
    o->centered = options->centered, o->reference = options->reference;
    o->kind = options->rule, o->rule = &kp_optim_rules[options->rule];
    o->noise_kind = options->noise;
    o->member = calloc(P, sizeof *o->member);
    o->seed = calloc(P, sizeof *o->seed);
    if (!o->member || !o->seed) return kp_fail(err, KP_BAD_CONFIG, "optimizer: out of host memory");
    memcpy(o->member, options->member, P * sizeof *o->member);
    if (options->seed) memcpy(o->seed, options->seed, P * sizeof *o->seed);
    return KP_OK;
}

kp_status kp_optim_open(kp_optim **out, kp_backend *backend, const kp_layout *layout, int P,
                        const kp_optim_options *options, float *theta, const float *grad,
                        kp_err *err) {
    *out = NULL;
    kp_optim *o = calloc(1, sizeof *o);
    if (!o) return kp_fail(err, KP_BAD_CONFIG, "optimizer: out of host memory");
    o->backend = backend, o->layout = layout, o->P = P;
    o->theta = theta, o->grad = grad;
    kp_status st = copy_options(o, options, err);
    if (!st) kp_optim_find_parts(o);
    if (!st) st = alloc_all(o, err);
    if (!st) st = open_rule(o, err);
    if (!st) st = kp_optim_open_parts(o, err);
    if (!st) st = upload_constants(o, err);
    if (!st) st = take_anchors(o, err);
    if (st) {
        kp_optim_close(o);
        return st;
    }
    *out = o;
    return KP_OK;
}

void kp_optim_close(kp_optim *o) {
    if (!o) return;
    kp_program_close(o->consolidate);
    for (int i = 0; i < o->n_moments; i++) kp_backend_release(o->backend, o->moment[i]);
    for (int i = 0; i < o->n_feeds; i++) {
        const kp_optim_feed *f = &o->feed[i];
        if (f->now != f->ahead) kp_backend_release(o->backend, f->now);
        kp_backend_release(o->backend, f->ahead);
        free(f->host);
    }
    void *memory[] = { o->chunk_tensor, o->bound,      o->unbounded,  o->cursor, o->tally,
                       o->total,        o->partial,    o->norm_limit, o->norm,   o->grad_scale,
                       o->penalised,    o->largest,    o->noise,      o->before, o->xi,
                       o->noise_tensor, o->noise_place };
    for (size_t i = 0; i < KP_COUNT(memory); i++) kp_backend_release(o->backend, memory[i]);
    free(o->bounds_host);
    free(o->bounds_free);
    free(o->bounds_now);
    free(o->cursors_host);
    free(o->due);
    free(o->step);
    free(o->seed);
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
    if (o->has.norm_limit) {
        st = KP_ADD(program, err, grad_norm_chunks, .P = o->P, .n_chunks = l->n_chunks,
                    .grad = o->grad, .partial = o->partial);
        if (!st)
            st = KP_ADD(program, err, grad_norm_scale, .P = o->P, .n_chunks = l->n_chunks,
                        .partial = o->partial, .limit = o->norm_limit, .norm = o->norm,
                        .scale = o->grad_scale);
    }
    if (!st) st = kp_optim_add_penalties(o, program, err);
    if (!st) st = o->rule->add(o, program, err);
    if (!st) st = kp_optim_add_shift(o, program, err);
    if (!st) st = kp_optim_add_path(o, program, err);
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
    case KP_RULE_SGD: return o->has.momentum ? KP_MLP_MOMENTUM : KP_MLP_SGD;
    case KP_RULE_RMSPROP: return o->state[1] ? KP_MLP_RMSPROP_CENTERED : KP_MLP_RMSPROP;
    default: return -1;
    }
}

int kp_optim_fuse(const kp_optim *o, kp_optim_fused *f, const char **why_not) {
    *why_not = NULL;
    if (fused_rule(o) < 0) *why_not = "optim.rule: madam, upgd and adaupgd take more than one pass";
    if (o->has.shift) *why_not = "shrink and perturb, or the reference's L2 Init, follows the rule";
    if (o->has.ewc || o->has.si) *why_not = "EWC and Synaptic Intelligence have state of their own";
    if (o->has.norm_limit) *why_not = "optim.grad_norm wants the whole gradient first";
    if (*why_not) return 0;
    *f = (kp_optim_fused){ .rule = fused_rule(o),
                           .state = { o->state[0], o->state[1] },
                           .anchor = o->anchor,
                           .hyper = o->of_rule->ahead,
                           .bound = o->bound,
                           .total = o->total };
    return 1;
}

/* ---- before and after updates ---------------------------------------------------------------- */

static int minimum(int64_t a, int64_t b) { return (int)(a < b ? a : b); }

int kp_optim_room(const kp_optim *o, const uint8_t *active) {
    int room = INT_MAX;
    for (int p = 0; p < o->P; p++) {
        if (active && !active[p]) continue;
        const kp_clip_options *c = &o->member[p].clip;
        int64_t until = c->at - o->step[p]; /* the update that clips is this one from now on */
        int64_t every = o->has.si ? o->member[p].si.every : 0;
        if (c->once && until > 0) room = minimum(until > 1 ? until - 1 : 1, room);
        if (every) room = minimum(every - o->step[p] % every, room);
    }
    return room;
}

/* The bounds in force at the next step: those of the options, or those without the clip where it
 * is once, elsewhere. */
static int refresh_bounds(kp_optim *o, int p) {
    int T = o->layout->n_tensors, changed = 0;
    const kp_clip_options *c = &o->member[p].clip;
    int clips = !c->once || o->step[p] + 1 == c->at;
    for (int i = p * T; i < (p + 1) * T; i++) {
        float bound = clips ? o->bounds_host[i] : o->bounds_free[i];
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
    assert(n >= 1 && n <= o->block && n <= kp_optim_room(o, active));
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
    if (o->has.norm_limit)
        return kp_backend_download(o->backend, norm, o->norm, (size_t)o->P * sizeof *norm, err);
    for (int p = 0; p < o->P; p++) norm[p] = NAN;
    return KP_OK;
}

int kp_optim_n_moments(const kp_optim *o) { return o->n_moments; }

float *kp_optim_moment(const kp_optim *o, int i, const char **name) {
    *name = o->moment_name[i];
    return o->moment[i];
}

const float *kp_optim_bounds(const kp_optim *o) { return o->bound; }

int64_t *kp_optim_steps(kp_optim *o) { return o->step; }
