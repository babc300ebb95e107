/* optim.c: update rules as operations, and what each needs computed on the host for every step. */
#include "optim.h"

#include <stdlib.h>
#include <string.h>

#include "adam_clip/adam_clip.h"
#include "grad_norm/grad_norm.h"
#include "rmsprop_clip/rmsprop_clip.h"
#include "sgd_clip/sgd_clip.h"

enum { MAX_MOMENTS = 3, MAX_HYPER_BYTES = 64 };

struct kp_optim {
    kp_backend *backend;
    const kp_layout *layout;
    int P, centered;
    const struct rule *rule;
    kp_optim_member *member; /* [P] */
    int64_t *step;           /* [P] */

    float *theta;
    const float *grad;
    float *moment[MAX_MOMENTS]; /* [P][N] */
    int n_moments;

    int32_t *chunk_tensor;                 /* [n_chunks] backend */
    float *bound;                          /* [P][n_tensors] backend */
    void *hyper;                           /* [P][hyper_bytes] backend */
    kp_clip_tally *tally;                  /* [P][n_chunks] backend */
    kp_tensor_tally *total;                /* [P][n_tensors] backend */
    int limits_norm;                       /* any member has a finite grad_norm */
    double *partial;                       /* [P][n_chunks] backend, for the norm */
    float *norm_limit, *norm, *grad_scale; /* [P] backend */

    float *bounds_host; /* [P][n_tensors] of the options */
    float *bounds_now;  /* [P][n_tensors] as last uploaded */
    unsigned char *hyper_host;
};

typedef struct rule {
    const char *name;
    const char *moments[MAX_MOMENTS]; /* NULL-terminated names */
    size_t hyper_bytes;
    void (*fill)(const kp_optim_member *m, int64_t step, void *hyper); /* step from 1 */
    kp_status (*add)(kp_optim *o, kp_program *program, kp_err *err);
} rule;

/* ---- rules (presets.md, "Update rules") ------------------------------------------------------ */

static void fill_adam(const kp_optim_member *m, int64_t step, void *hyper) {
    double t = (double)step;
    *(kp_adam_hyper *)hyper = (kp_adam_hyper){
        .beta1 = (float)m->beta1,
        .one_minus_beta1 = (float)(1.0 - m->beta1),
        .beta2 = (float)m->beta2,
        .one_minus_beta2 = (float)(1.0 - m->beta2),
        .eps = (float)m->eps,
        .step_size = (float)(m->lr / (1.0 - pow(m->beta1, t))),
        .rsqrt_bc2 = (float)(1.0 / sqrt(1.0 - pow(m->beta2, t))),
        .decay = 1.0f,
    };
}

static void fill_adamw(const kp_optim_member *m, int64_t step, void *hyper) {
    fill_adam(m, step, hyper);
    ((kp_adam_hyper *)hyper)->decay = (float)(1.0 - m->lr * m->weight_decay);
}

static kp_status add_adam(kp_optim *o, kp_program *program, kp_err *err) {
    const kp_layout *l = o->layout;
    return KP_ADD(program, err, adam_clip, .P = o->P, .n_chunks = l->n_chunks,
                  .n_tensors = l->n_tensors, .theta = o->theta, .m = o->moment[0],
                  .v = o->moment[1], .grad = o->grad, .tensor = o->chunk_tensor, .bound = o->bound,
                  .grad_scale = o->limits_norm ? o->grad_scale : NULL, .hyper = o->hyper,
                  .tally = o->tally);
}

static void fill_sgd(const kp_optim_member *m, int64_t step, void *hyper) {
    (void)step;
    *(kp_sgd_hyper *)hyper = (kp_sgd_hyper){
        .step_size = (float)m->lr,
        .momentum = (float)m->momentum,
        .weight_decay = (float)m->weight_decay,
    };
}

static kp_status add_sgd(kp_optim *o, kp_program *program, kp_err *err) {
    const kp_layout *l = o->layout;
    return KP_ADD(program, err, sgd_clip, .P = o->P, .n_chunks = l->n_chunks,
                  .n_tensors = l->n_tensors, .theta = o->theta, .u = o->moment[0], .grad = o->grad,
                  .tensor = o->chunk_tensor, .bound = o->bound,
                  .grad_scale = o->limits_norm ? o->grad_scale : NULL, .hyper = o->hyper,
                  .tally = o->tally);
}

static void fill_rmsprop(const kp_optim_member *m, int64_t step, void *hyper) {
    (void)step;
    *(kp_rmsprop_hyper *)hyper = (kp_rmsprop_hyper){
        .beta = (float)m->beta2,
        .one_minus_beta = (float)(1.0 - m->beta2),
        .eps = (float)m->eps,
        .step_size = (float)m->lr,
        .weight_decay = (float)m->weight_decay,
    };
}

static kp_status add_rmsprop(kp_optim *o, kp_program *program, kp_err *err) {
    const kp_layout *l = o->layout;
    return KP_ADD(program, err, rmsprop_clip, .P = o->P, .n_chunks = l->n_chunks,
                  .n_tensors = l->n_tensors, .theta = o->theta, .v = o->moment[0],
                  .mean = o->moment[1], .grad = o->grad, .tensor = o->chunk_tensor,
                  .bound = o->bound, .grad_scale = o->limits_norm ? o->grad_scale : NULL,
                  .hyper = o->hyper, .tally = o->tally);
}

static const rule rules[KP_N_RULES] = {
    [KP_RULE_ADAM] = { "adam", { "m", "v" }, sizeof(kp_adam_hyper), fill_adam, add_adam },
    [KP_RULE_ADAMW] = { "adamw", { "m", "v" }, sizeof(kp_adam_hyper), fill_adamw, add_adam },
    [KP_RULE_SGD] = { "sgd", { "u" }, sizeof(kp_sgd_hyper), fill_sgd, add_sgd },
    [KP_RULE_RMSPROP] = { "rmsprop",
                          { "v", "mean" },
                          sizeof(kp_rmsprop_hyper),
                          fill_rmsprop,
                          add_rmsprop },
};

/* ---- life ------------------------------------------------------------------------------------ */

static kp_status alloc_all(kp_optim *o, kp_err *err) {
    const kp_layout *l = o->layout;
    size_t P = (size_t)o->P, chunks = (size_t)l->n_chunks, tensors = (size_t)l->n_tensors;
    kp_status st = KP_OK;
#define BACKEND(pointer, n, what)                                                                  \
    if (!st)                                                                                       \
    st = kp_backend_alloc(o->backend, (void **)&o->pointer, (n) * sizeof *o->pointer, what, err)
    for (int i = 0; i < o->n_moments; i++)
        BACKEND(moment[i], P * (size_t)l->N, "the optimizer's moments");
    BACKEND(chunk_tensor, chunks, "the chunk table");
    BACKEND(bound, P * tensors, "clip bounds");
    BACKEND(tally, P * chunks, "clip tallies");
    BACKEND(total, P * tensors, "clip tallies");
    if (!st)
        st = kp_backend_alloc(o->backend, &o->hyper, P * o->rule->hyper_bytes, "hyperparameters",
                              err);
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
    o->hyper_host = calloc(P, o->rule->hyper_bytes);
    o->step = calloc(P, sizeof *o->step);
    if (!o->bounds_host || !o->bounds_now || !o->hyper_host || !o->step)
        return kp_fail(err, KP_BAD_CONFIG, "optimizer: out of host memory");
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

kp_status kp_optim_open(kp_optim **out, kp_backend *backend, const kp_layout *layout, int P,
                        const kp_optim_options *options, float *theta, const float *grad,
                        kp_err *err) {
    *out = NULL;
    kp_optim *o = calloc(1, sizeof *o);
    if (!o || !(o->member = calloc((size_t)P, sizeof *o->member))) {
        free(o);
        return kp_fail(err, KP_BAD_CONFIG, "optimizer: out of host memory");
    }
    o->backend = backend, o->layout = layout, o->P = P;
    o->rule = &rules[options->rule];
    o->centered = options->centered;
    o->theta = theta, o->grad = grad;
    memcpy(o->member, options->member, (size_t)P * sizeof *o->member);
    for (int p = 0; p < P; p++) o->limits_norm |= isfinite(o->member[p].grad_norm);
    while (o->n_moments < MAX_MOMENTS && o->rule->moments[o->n_moments]) o->n_moments++;
    if (options->rule == KP_RULE_RMSPROP && !o->centered) o->n_moments = 1; /* no mean */
    kp_status st = alloc_all(o, err);
    if (!st) st = upload_constants(o, err);
    if (st) {
        kp_optim_close(o);
        return st;
    }
    *out = o;
    return KP_OK;
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

/* The bounds in force at this step: those of the options, or none where clipping is once,
 * elsewhere. */
static int refresh_bounds(kp_optim *o, int p) {
    int T = o->layout->n_tensors, changed = 0;
    const kp_clip_options *c = &o->member[p].clip;
    int clips = !c->once || o->step[p] == c->at;
    for (int i = p * T; i < (p + 1) * T; i++) {
        float bound = clips ? o->bounds_host[i] : INFINITY;
        changed |= bound != o->bounds_now[i];
        o->bounds_now[i] = bound;
    }
    return changed;
}

kp_status kp_optim_prepare(kp_optim *o, const uint8_t *active, kp_err *err) {
    int changed = 0;
    for (int p = 0; p < o->P; p++) {
        if (active && !active[p]) continue;
        o->step[p]++;
        o->rule->fill(&o->member[p], o->step[p], o->hyper_host + (size_t)p * o->rule->hyper_bytes);
        changed |= refresh_bounds(o, p);
    }
    kp_status st = kp_backend_upload(o->backend, o->hyper, o->hyper_host,
                                     (size_t)o->P * o->rule->hyper_bytes, err);
    if (!st && changed)
        st = kp_backend_upload(o->backend, o->bound, o->bounds_now,
                               (size_t)o->P * (size_t)o->layout->n_tensors * sizeof *o->bounds_now,
                               err);
    return st;
}

void kp_optim_set_lr(kp_optim *o, int member, double lr) { o->member[member].lr = lr; }
int64_t kp_optim_step(const kp_optim *o, int member) { return o->step[member]; }

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
    *name = o->rule->moments[i];
    return o->moment[i];
}

const float *kp_optim_bounds(const kp_optim *o) { return o->bound; }

int64_t *kp_optim_steps(kp_optim *o) { return o->step; }

void kp_optim_close(kp_optim *o) {
    if (!o) return;
    for (int i = 0; i < MAX_MOMENTS; i++) kp_backend_release(o->backend, o->moment[i]);
    void *memory[] = { o->chunk_tensor, o->bound,      o->hyper, o->tally,     o->total,
                       o->partial,      o->norm_limit, o->norm,  o->grad_scale };
    for (size_t i = 0; i < KP_COUNT(memory); i++) kp_backend_release(o->backend, memory[i]);
    free(o->bounds_host);
    free(o->bounds_now);
    free(o->hyper_host);
    free(o->step);
    free(o->member);
    free(o);
}
