/* units.c: see units.h. State is a list of arrays of backend memory, one row for each. */
#include "units.h"

#include <stdlib.h>
#include <string.h>

enum { MOST_ARRAYS = 16 };

typedef struct {
    const char *name; /* in checkpoints; NULL: follows from the options */
    kp_dtype type;
    int64_t n; /* of a member */
    size_t bytes;
    void **memory;
} array;

struct kp_units {
    kp_backend *backend;
    int P, has_cbp, has_redo;
    kp_cbp_args cbp;
    kp_redo_args redo;
    uint64_t *seed; /* of both */
    kp_cbp_hyper *hyper;
    double *tau;
    array array[MOST_ARRAYS];
    int n_arrays;
};

/* ---- opening --------------------------------------------------------------------------------- */

static int is_anchor(const char *name) {
    static const char end[] = "anchor";
    size_t n = strlen(name), k = strlen(end);
    return n >= k && !strcmp(name + n - k, end);
}

static kp_status take_moments(kp_units_net *net, const kp_optim *optim, kp_err *err) {
    for (int i = 0; i < kp_optim_n_moments(optim); i++) {
        const char *name = NULL;
        float *moment = kp_optim_moment(optim, i, &name);
        if (is_anchor(name) && net->n_anchors < KP_UNITS_ANCHORS)
            net->anchor[net->n_anchors++] = moment;
        else if (!is_anchor(name) && net->n_moments < KP_UNITS_MOMENTS)
            net->moment[net->n_moments++] = moment;
        else
            return kp_fail(err, KP_BAD_CONFIG, "optim: no room for the moment %s of new units",
                           name);
    }
    return KP_OK;
}

static kp_status add_array(kp_units *u, const char *name, kp_dtype type, int64_t n, size_t each,
                           void *memory, kp_err *err) {
    array *a = &u->array[u->n_arrays++];
    *a = (array){ name, type, n, (size_t)u->P * (size_t)n * each, memory };
    return kp_backend_alloc(u->backend, a->memory, a->bytes, "the state of hidden units", err);
}
#define ADD(name, type, n, pointer)                                                                \
    if (!st) st = add_array(u, name, type, n, sizeof *(pointer), &(pointer), err)

static kp_status alloc_all(kp_units *u, kp_err *err) {
    const kp_mlp_shape *s = &u->cbp.net.shape;
    kp_status st = KP_OK;
    ADD(NULL, KP_U64, 1, u->seed);
    if (u->has_cbp) {
        ADD(NULL, KP_U8, 1, u->hyper);
        ADD("cbp.utility", KP_F32, s->n_hidden, u->cbp.utility);
        ADD("cbp.mass", KP_F32, s->n_hidden, u->cbp.mass);
        ADD("cbp.mean", KP_F32, s->n_hidden * kp_units_outputs(s), u->cbp.mean);
        ADD("cbp.age", KP_I64, s->n_hidden, u->cbp.age);
        ADD("cbp.owed", KP_F64, KP_MLP_LAYERS, u->cbp.owed);
        ADD("cbp.replaced", KP_I64, 1, u->cbp.net.replaced);
    }
    if (u->has_redo) {
        ADD(NULL, KP_F64, 1, u->tau);
        ADD("redo.sum", KP_F64, s->n_hidden, u->redo.sum);
        ADD("redo.seen", KP_I64, 1, u->redo.seen);
        ADD("redo.replaced", KP_I64, 1, u->redo.net.replaced);
    }
    u->cbp.net.seed = u->redo.net.seed = u->seed;
    u->cbp.hyper = u->hyper, u->redo.tau = u->tau;
    return st;
}
#undef ADD

static kp_status upload_options(kp_units *u, const kp_units_member *m, kp_err *err) {
    kp_status st = KP_OK;
    for (int p = 0; !st && p < u->P; p++, m++) {
        kp_cbp_hyper hyper = { m->cbp_rate, m->cbp_maturity, (float)m->cbp_decay,
                               (float)(1.0 - m->cbp_decay) };
        st = kp_backend_upload(u->backend, u->seed + p, &m->seed, sizeof m->seed, err);
        if (!st && u->has_cbp)
            st = kp_backend_upload(u->backend, u->hyper + p, &hyper, sizeof hyper, err);
        if (!st && u->has_redo)
            st = kp_backend_upload(u->backend, u->tau + p, &m->redo_tau, sizeof m->redo_tau, err);
    }
    return st;
}

kp_status kp_units_open(kp_units **out, kp_backend *backend, const kp_mlp_shape *shape,
                        const kp_layout *layout, int P, const kp_units_options *options,
                        const kp_optim *optim, float *theta, const float *work, kp_err *err) {
    kp_units *u = *out = calloc(1, sizeof *u);
    if (!u) return kp_fail(err, KP_BAD_CONFIG, "hidden units: out of host memory");
    kp_units_net net = { .shape = *shape, .bound = kp_optim_bounds(optim), .theta = theta };
    for (int l = 0; l < shape->n_layers; l++)
        net.init_bound[l] = layout->tensor[shape->tensor[l]].init_bound;
    u->backend = backend, u->P = P;
    for (int p = 0; p < P; p++) u->has_cbp |= options->member[p].cbp_rate != 0;
    u->has_redo = options->redo_every > 0;
    if (!u->has_cbp && !u->has_redo) return KP_OK;
    kp_status st = shape->n_hidden ? take_moments(&net, optim, err)
                                   : kp_fail(err, KP_BAD_CONFIG,
                                             "%s: the network has no hidden units to replace",
                                             u->has_cbp ? "optim.cbp.rate" : "optim.redo.every");
    u->cbp = (kp_cbp_args){ .P = P, .net = net, .work = work };
    u->redo = (kp_redo_args){ .P = P, .net = net, .work = work, .every = options->redo_every };
    if (!st) st = alloc_all(u, err);
    if (!st) st = upload_options(u, options->member, err);
    if (st) {
        kp_units_close(u);
        *out = NULL;
    }
    return st;
}

kp_status kp_units_add(kp_units *u, kp_program *program, kp_err *err) {
    kp_status st = KP_OK;
    if (u->has_cbp) st = kp_program_add(program, kp_op_get(KP_OP_cbp), &u->cbp, err);
    if (!st && u->has_redo) st = kp_program_add(program, kp_op_get(KP_OP_redo), &u->redo, err);
    return st;
}

/* ---- state ----------------------------------------------------------------------------------- */

kp_status kp_units_replaced(kp_units *u, int64_t *cbp, int64_t *redo, kp_err *err) {
    size_t bytes = (size_t)u->P * sizeof *cbp;
    kp_status st = KP_OK;
    memset(cbp, 0, bytes), memset(redo, 0, bytes);
    if (u->has_cbp) st = kp_backend_download(u->backend, cbp, u->cbp.net.replaced, bytes, err);
    if (!st && u->has_redo)
        st = kp_backend_download(u->backend, redo, u->redo.net.replaced, bytes, err);
    return st;
}

static kp_status pass(kp_units *u, const array *a, const kp_checkpoint_io *io, kp_err *err) {
    const int64_t shape[2] = { u->P, a->n };
    void *host = malloc(a->bytes);
    kp_status st = host ? KP_OK
                        : kp_fail(err, KP_BAD_CONFIG, "checkpoint: out of host memory for %s",
                                  a->name);
    if (!st && io->to) st = kp_backend_download(u->backend, host, *a->memory, a->bytes, err);
    if (!st) st = kp_checkpoint_pass(io, a->name, a->type, 2, shape, host, err);
    if (!st && io->from) st = kp_backend_upload(u->backend, *a->memory, host, a->bytes, err);
    free(host);
    return st;
}

kp_status kp_units_pass(kp_units *u, const kp_checkpoint_io *io, kp_err *err) {
    kp_status st = KP_OK;
    for (int i = 0; !st && i < u->n_arrays; i++)
        if (u->array[i].name) st = pass(u, &u->array[i], io, err);
    return st;
}

void kp_units_close(kp_units *u) {
    if (!u) return;
    for (int i = 0; i < u->n_arrays; i++) kp_backend_release(u->backend, *u->array[i].memory);
    free(u);
}
