/* population.c: see kappa/population.h. Two programs over one pass: the update and the forward. */
#include "kappa/population.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nn/net.h"
#include "optim/optim.h"
#include "population_options.h"
#include "softmax_xent/softmax_xent.h"
#include "squared_error/squared_error.h"

struct kp_population {
    kp_backend *backend;
    kp_net *net;
    kp_pass *pass;
    kp_optim *optim;
    kp_program *update, *forward;
    int P, B, n_inputs, n_outputs, n_tensors;
    kp_objective objective;

    float *theta, *grad; /* [P][N] backend, as is what follows */
    int32_t *label;      /* [P][B]; cross entropy only */
    float *target;       /* [P][B][n_outputs]; squared error only */
    float *loss;         /* [P] */

    uint8_t *active;        /* [P] host, as is what follows; 0: its weights are not finite */
    kp_tensor_tally *tally; /* [P][n_tensors] */
    int64_t *tally_from;    /* [P] the update from which the tally counts */
    kp_tensor_info *info;   /* [n_tensors] */
    float *values;          /* the largest tensor, in the order of the backend's memory */
};

/* ---- opening --------------------------------------------------------------------------------- */

static kp_status open_net(kp_population *pop, const kp_population_options *o, kp_err *err) {
    kp_net_spec spec = { .h = 1, .w = 1, .c = o->n_inputs, .n_layers = o->n_layers };
    for (int i = 0; i < o->n_layers; i++) {
        kp_layer_spec *l = &spec.layer[i];
        *l = (kp_layer_spec){
            .kind = KP_DENSE, .input = i - 1, .out = o->width[i], .init = o->init
        };
        l->activation = i < o->n_layers - 1 ? o->activation : KP_LINEAR;
        snprintf(l->name, sizeof l->name, "fc%d", i + 1);
    }
    return kp_net_open(&pop->net, &spec, err);
}

static kp_status alloc_all(kp_population *pop, kp_err *err) {
    const kp_layout *l = kp_net_layout(pop->net);
    size_t P = (size_t)pop->P, PB = P * (size_t)pop->B, T = (size_t)l->n_tensors;
    int64_t largest = 0;
    kp_status st = KP_OK;
#define BACKEND(pointer, n, what)                                                                  \
    if (!st)                                                                                       \
    st = kp_backend_alloc(pop->backend, (void **)&pop->pointer, (n) * sizeof *pop->pointer, what,  \
                          err)
    BACKEND(theta, P * (size_t)l->N, "weights");
    BACKEND(grad, P * (size_t)l->N, "gradients");
    BACKEND(loss, P, "losses");
    if (pop->objective == KP_CROSS_ENTROPY) {
        BACKEND(label, PB, "labels");
    } else {
        BACKEND(target, PB * (size_t)pop->n_outputs, "targets");
    }
#undef BACKEND
    if (st) return st;
    for (int i = 0; i < l->n_tensors; i++)
        if (l->tensor[i].count > largest) largest = l->tensor[i].count;
    pop->active = malloc(P);
    pop->tally = calloc(P * T, sizeof *pop->tally);
    pop->tally_from = calloc(P, sizeof *pop->tally_from);
    pop->info = calloc(T, sizeof *pop->info);
    pop->values = calloc((size_t)largest, sizeof *pop->values);
    if (!pop->active || !pop->tally || !pop->tally_from || !pop->info || !pop->values)
        return kp_fail(err, KP_BAD_CONFIG, "population: out of host memory");
    memset(pop->active, 1, P);
    return KP_OK;
}

static kp_status init_weights(kp_population *pop, const kp_population_options *o, kp_err *err) {
    const kp_layout *l = kp_net_layout(pop->net);
    float *member = calloc((size_t)l->N, sizeof *member);
    if (!member) return kp_fail(err, KP_BAD_CONFIG, "initial weights: out of host memory");
    kp_status st = KP_OK;
    for (int p = 0; !st && p < pop->P; p++) {
        kp_layout_init(l, o->member[p].seed, member);
        st = kp_backend_upload(pop->backend, pop->theta + p * l->N, member,
                               (size_t)l->N * sizeof *member, err);
    }
    free(member);
    return st;
}

static kp_clip_options clip_options(const kp_population_options *o, double kappa) {
    return (kp_clip_options){ .kappa = kappa,
                              .scale_init_bound = o->scale_init,
                              .bias = o->clip_bias,
                              .last_layer = o->clip_output };
}

static kp_status open_optim(kp_population *pop, const kp_population_options *o, kp_err *err) {
    kp_optim_member *member = calloc((size_t)o->P, sizeof *member);
    if (!member) return kp_fail(err, KP_BAD_CONFIG, "population: out of host memory");
    for (int p = 0; p < o->P; p++) {
        const kp_member_options *m = &o->member[p];
        member[p] = (kp_optim_member){ .lr = m->lr,
                                       .beta1 = m->beta1,
                                       .beta2 = m->beta2,
                                       .eps = m->eps,
                                       .momentum = m->momentum,
                                       .weight_decay = m->weight_decay,
                                       .grad_norm = m->grad_norm,
                                       .clip = clip_options(o, m->kappa) };
    }
    kp_optim_options options = { .rule = o->rule, .centered = o->centered, .member = member };
    kp_status st = kp_optim_open(&pop->optim, pop->backend, kp_net_layout(pop->net), o->P, &options,
                                 pop->theta, pop->grad, err);
    free(member);
    return st;
}

/* A tensor's scale is its bound for kappa = 1. */
static kp_status describe_tensors(kp_population *pop, const kp_population_options *o, kp_err *err) {
    const kp_layout *l = kp_net_layout(pop->net);
    kp_clip_options clip = clip_options(o, 1);
    float scale[2 * KP_MAX_LAYERS];
    kp_status st = kp_clip_bounds(l, &clip, scale, err);
    for (int i = 0; !st && i < l->n_tensors; i++) {
        const kp_tensor *t = &l->tensor[i];
        kp_tensor_info *info = &pop->info[i];
        *info = (kp_tensor_info){ .name = t->name, .n_dims = t->n_dims, .count = t->count };
        for (int d = 0; d < t->n_dims; d++) info->dims[d] = t->dims[d];
        info->scale = isfinite(scale[i]) ? (double)scale[i] : 0;
    }
    return st;
}

static kp_status add_loss(kp_population *pop, kp_err *err) {
    if (pop->objective == KP_CROSS_ENTROPY)
        return KP_ADD(pop->update, err, softmax_xent, .P = pop->P, .B = pop->B,
                      .n_classes = pop->n_outputs, .z = kp_pass_output(pop->pass),
                      .label = pop->label, .dz = kp_pass_output_gradient(pop->pass),
                      .loss = pop->loss);
    return KP_ADD(pop->update, err, squared_error, .P = pop->P, .B = pop->B,
                  .n_outputs = pop->n_outputs, .y = kp_pass_output(pop->pass),
                  .target = pop->target, .dy = kp_pass_output_gradient(pop->pass),
                  .loss = pop->loss);
}

static kp_status build_programs(kp_population *pop, kp_err *err) {
    kp_status st = kp_program_open(&pop->update, pop->backend, pop->P, "update", err);
    if (!st) st = kp_pass_add_forward(pop->pass, pop->update, pop->theta, err);
    if (!st) st = add_loss(pop, err);
    if (!st) st = kp_pass_add_backward(pop->pass, pop->update, pop->theta, pop->grad, err);
    if (!st) st = kp_optim_add_update(pop->optim, pop->update, err);
    if (!st) st = kp_program_seal(pop->update, err);
    if (!st) st = kp_program_open(&pop->forward, pop->backend, pop->P, "forward", err);
    if (!st) st = kp_pass_add_forward(pop->pass, pop->forward, pop->theta, err);
    if (!st) st = kp_program_seal(pop->forward, err);
    return st;
}

kp_status kp_population_open(kp_population **out, const kp_population_options *o, kp_err *err) {
    *out = NULL;
    kp_status st = kp_population_options_check(o, err);
    if (st) return st;
    kp_population *pop = calloc(1, sizeof *pop);
    if (!pop) return kp_fail(err, KP_BAD_CONFIG, "population: out of host memory");
    pop->P = o->P, pop->B = o->B, pop->n_inputs = o->n_inputs, pop->objective = o->loss;
    pop->n_outputs = o->width[o->n_layers - 1], pop->n_tensors = 2 * o->n_layers;
    st = kp_backend_open(&pop->backend, o->device, o->n_threads, err);
    if (!st) st = open_net(pop, o, err);
    if (!st) st = alloc_all(pop, err);
    if (!st) st = init_weights(pop, o, err);
    if (!st) st = kp_pass_open(&pop->pass, pop->net, pop->backend, pop->P, pop->B, 1, err);
    if (!st) st = open_optim(pop, o, err);
    if (!st) st = describe_tensors(pop, o, err);
    if (!st) st = build_programs(pop, err);
    if (st) {
        kp_population_close(pop);
        return st;
    }
    *out = pop;
    return KP_OK;
}

const char *kp_population_device(const kp_population *pop) {
    return kp_backend_describe(pop->backend);
}

/* ---- training -------------------------------------------------------------------------------- */

static kp_status check_batch(const kp_population *pop, const kp_batch *b, kp_err *err) {
    int classifies = pop->objective == KP_CROSS_ENTROPY;
    const void *wanted = b->target, *unwanted = b->label;
    if (classifies) wanted = b->label, unwanted = b->target;
    if (!b->x || !wanted || unwanted)
        return kp_fail(err, KP_BAD_CONFIG, "batch: %s needs x and %s, and NULL for %s",
                       classifies ? "cross entropy" : "squared error",
                       classifies ? "label" : "target", classifies ? "target" : "label");
    int64_t n = b->label ? (b->shared ? 1 : (int64_t)pop->P) * pop->B : 0;
    for (int64_t i = 0; i < n; i++)
        if (b->label[i] < 0 || b->label[i] >= pop->n_outputs)
            return kp_fail(err, KP_BAD_DATA,
                           "batch: the label of sample %d of member %d is %d, must be 0 to %d",
                           (int)(i % pop->B), (int)(i / pop->B), b->label[i], pop->n_outputs - 1);
    return KP_OK;
}

/* `bytes` for each member, or the same for all. */
static kp_status upload_members(kp_population *pop, void *to, const void *from, size_t bytes,
                                int shared, kp_err *err) {
    if (!shared) return kp_backend_upload(pop->backend, to, from, (size_t)pop->P * bytes, err);
    kp_status st = KP_OK;
    for (int p = 0; !st && p < pop->P; p++)
        st = kp_backend_upload(pop->backend, (char *)to + (size_t)p * bytes, from, bytes, err);
    return st;
}

static kp_status upload_batch(kp_population *pop, const kp_batch *b, kp_err *err) {
    size_t B = (size_t)pop->B;
    kp_status st = upload_members(pop, kp_pass_input(pop->pass), b->x,
                                  B * (size_t)pop->n_inputs * sizeof *b->x, b->shared, err);
    if (!st && b->label)
        st = upload_members(pop, pop->label, b->label, B * sizeof *b->label, b->shared, err);
    if (!st && b->target)
        st = upload_members(pop, pop->target, b->target,
                            B * (size_t)pop->n_outputs * sizeof *b->target, b->shared, err);
    return st;
}

static kp_status download_loss(kp_population *pop, float *loss, kp_err *err) {
    kp_status st = kp_backend_download(pop->backend, loss, pop->loss, (size_t)pop->P * sizeof *loss,
                                       err);
    for (int p = 0; !st && p < pop->P; p++)
        if (!pop->active[p]) loss[p] = NAN;
    return st;
}

/* Stops the members whose weights are no longer finite; the message is about the first. */
static kp_status stop_non_finite(kp_population *pop, kp_err *err) {
    kp_status st = kp_optim_tally(pop->optim, pop->tally, err), found = KP_OK;
    for (int p = 0; !st && p < pop->P; p++) {
        if (!pop->active[p]) continue;
        const kp_tensor_tally *tally = pop->tally + (size_t)p * (size_t)pop->n_tensors;
        for (int i = 0; pop->active[p] && i < pop->n_tensors; i++) {
            if (!tally[i].non_finite) continue;
            pop->active[p] = 0;
            if (found) continue;
            found = kp_fail(err, KP_NON_FINITE,
                            "member %d: %s is not finite after update %lld; it has stopped", p,
                            pop->info[i].name, (long long)kp_optim_step(pop->optim, p));
        }
    }
    return st ? st : found;
}

kp_status kp_population_step(kp_population *pop, const kp_batch *b, float *loss, kp_err *err) {
    kp_status st = check_batch(pop, b, err);
    if (st) return st;
    if (!memchr(pop->active, 1, (size_t)pop->P))
        return kp_fail(err, KP_NON_FINITE, "every member has stopped: weights are not finite");
    st = upload_batch(pop, b, err);
    if (!st) st = kp_optim_prepare(pop->optim, 1, pop->active, err);
    if (!st) st = kp_program_run(pop->update, pop->active, err);
    if (!st && loss) st = download_loss(pop, loss, err);
    if (!st) st = stop_non_finite(pop, err);
    return st;
}

static kp_status check_number(const kp_population *pop, int member, kp_err *err) {
    if (member >= 0 && member < pop->P) return KP_OK;
    return kp_fail(err, KP_BAD_CONFIG, "member %d: there are 0 to %d", member, pop->P - 1);
}

kp_status kp_population_set_lr(kp_population *pop, int member, double lr, kp_err *err) {
    kp_member_options m;
    kp_member_options_init(&m);
    m.lr = lr;
    kp_status st = check_number(pop, member, err);
    if (!st) st = kp_member_options_check(&m, member, err);
    if (!st) kp_optim_set_lr(pop->optim, member, lr);
    return st;
}

/* ---- predicting ------------------------------------------------------------------------------ */

kp_status kp_population_predict(kp_population *pop, const float *x, int shared, int64_t n, float *y,
                                kp_err *err) {
    int64_t B = pop->B, D = pop->n_inputs, K = pop->n_outputs;
    kp_status st = KP_OK;
    for (int64_t at = 0; !st && at < n;
         at += B) { /* what a last block lacks is computed, not read */
        int64_t rows = n - at < B ? n - at : B;
        for (int p = 0; !st && p < pop->P; p++)
            st = kp_backend_upload(pop->backend, kp_pass_input(pop->pass) + p * B * D,
                                   x + ((shared ? 0 : p * n) + at) * D,
                                   (size_t)(rows * D) * sizeof *x, err);
        if (!st) st = kp_program_run(pop->forward, NULL, err);
        for (int p = 0; !st && p < pop->P; p++)
            st = kp_backend_download(pop->backend, y + (p * n + at) * K,
                                     kp_pass_output(pop->pass) + p * B * K,
                                     (size_t)(rows * K) * sizeof *y, err);
    }
    return st;
}

/* ---- tensors --------------------------------------------------------------------------------- */

int kp_population_n_tensors(const kp_population *pop) { return pop->n_tensors; }

kp_tensor_info kp_population_tensor(const kp_population *pop, int tensor) {
    return pop->info[tensor];
}

static kp_status find_tensor(const kp_population *pop, int member, const char *name, int64_t n,
                             const kp_tensor **tensor, kp_err *err) {
    kp_status st = check_number(pop, member, err);
    if (st) return st;
    *tensor = kp_layout_find(kp_net_layout(pop->net), name);
    if (!*tensor)
        return kp_fail(err, KP_BAD_CONFIG,
                       "no tensor is called '%s'; there are fc1.weight, fc1.bias to fc%d.bias",
                       name, pop->n_tensors / 2);
    if (n != (*tensor)->count)
        return kp_fail(err, KP_BAD_CONFIG, "%s has %lld values, not %lld", name,
                       (long long)(*tensor)->count, (long long)n);
    return KP_OK;
}

static float *tensor_memory(const kp_population *pop, int member, const kp_tensor *t) {
    return pop->theta + member * kp_net_layout(pop->net)->N + t->offset;
}

kp_status kp_population_read(kp_population *pop, int member, const char *name, float *values,
                             int64_t n, kp_err *err) {
    const kp_tensor *t = NULL;
    kp_status st = find_tensor(pop, member, name, n, &t, err);
    if (!st)
        st = kp_backend_download(pop->backend, pop->values, tensor_memory(pop, member, t),
                                 (size_t)n * sizeof *values, err);
    for (int64_t e = 0; !st && e < n; e++) values[e] = pop->values[kp_tensor_at(t, e)];
    return st;
}

kp_status kp_population_write(kp_population *pop, int member, const char *name, const float *values,
                              int64_t n, kp_err *err) {
    const kp_tensor *t = NULL;
    kp_status st = find_tensor(pop, member, name, n, &t, err);
    if (st) return st;
    for (int64_t e = 0; e < n; e++) pop->values[kp_tensor_at(t, e)] = values[e];
    return kp_backend_upload(pop->backend, tensor_memory(pop, member, t), pop->values,
                             (size_t)n * sizeof *values, err);
}

kp_status kp_population_share_clipped(kp_population *pop, double *share, kp_err *err) {
    int T = pop->n_tensors;
    kp_status st = kp_optim_tally(pop->optim, pop->tally, err);
    if (st) return st;
    for (int p = 0; p < pop->P; p++) {
        int64_t n = kp_optim_step(pop->optim, p) - pop->tally_from[p];
        pop->tally_from[p] += n;
        for (int i = p * T; i < (p + 1) * T; i++) {
            double updated = (double)pop->info[i - p * T].count * (double)n;
            share[i] = n ? (double)pop->tally[i].outside / updated : NAN;
            pop->tally[i] = (kp_tensor_tally){ 0, 0 };
        }
    }
    return kp_optim_set_tally(pop->optim, pop->tally, err);
}

void kp_population_close(kp_population *pop) {
    if (!pop) return;
    kp_program_close(pop->update);
    kp_program_close(pop->forward);
    kp_optim_close(pop->optim);
    kp_pass_close(pop->pass);
    kp_net_close(pop->net);
    kp_backend_close(pop->backend); /* with the memory taken from it */
    free(pop->active);
    free(pop->tally);
    free(pop->tally_from);
    free(pop->info);
    free(pop->values);
    free(pop);
}
