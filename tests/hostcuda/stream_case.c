/* stream_case.c: every rule, activation and kind of input, and the plain path. */
#include "hostcuda/stream_case.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "adam_clip/adam_clip.h"
#include "rmsprop_clip/rmsprop_clip.h"
#include "sgd_clip/sgd_clip.h"

enum { T = KP_STREAM_T };

const kp_stream_spec kp_stream_specs[] = {
    { "sgd, relu, bytes, permuted",
      { "", 3, { 37, 35, 19, 5 }, KP_MLP_RELU, 0, 1, 1, 0.6, 0 },
      KP_MLP_SGD,
      1,
      1,
      T },
    { "momentum, leaky relu",
      { "", 2, { 20, 16, 10 }, KP_MLP_LEAKY_RELU, 0, 0, 0, 0, -1 },
      KP_MLP_MOMENTUM,
      0,
      0,
      T - 1 },
    { "adam, tanh, norm, permuted",
      { "", 4, { 9, 17, 3, 40, 18 }, KP_MLP_TANH, 1, 1, 0, 0.2, -1 },
      KP_MLP_ADAM,
      1,
      1,
      T },
    { "adam, leaky relu",
      { "", 3, { 50, 33, 16, 4 }, KP_MLP_LEAKY_RELU, 0, 0, 1, 0.5, 0 },
      KP_MLP_ADAM,
      0,
      0,
      1 },
    { "rmsprop, crelu, norm, bytes",
      { "", 3, { 30, 21, 9, 33 }, KP_MLP_CRELU, 1, 0, 1, 0.5, -0.2 },
      KP_MLP_RMSPROP,
      1,
      0,
      T },
    { "centered rmsprop, crelu",
      { "", 2, { 12, 19, 3 }, KP_MLP_CRELU, 0, 1, 0, 0.5, -1 },
      KP_MLP_RMSPROP_CENTERED,
      0,
      1,
      T },
    { "adam, one layer",
      { "", 1, { 33, 12 }, KP_MLP_RELU, 0, 1, 1, 0.5, 0 },
      KP_MLP_ADAM,
      1,
      1,
      T },
    { 0 },
};

static const kp_stream_spec *now;

/* ---- a case ---------------------------------------------------------------------------------- */

static size_t hyper_bytes(int rule) {
    return rule == KP_MLP_ADAM       ? sizeof(kp_adam_hyper)
           : rule <= KP_MLP_MOMENTUM ? sizeof(kp_sgd_hyper)
                                     : sizeof(kp_rmsprop_hyper);
}

/* Differs by member and sample. */
static void fill(int rule, void *hyper, float u) {
    if (rule == KP_MLP_ADAM)
        *(kp_adam_hyper *)hyper = (kp_adam_hyper){ 0.9f - 0.1f * u, 0.1f + 0.1f * u,  0.99f, 0.01f,
                                                   1e-8f,           0.02f + 0.02f * u, 2.0f,  1 - 0.01f * u };
    else if (rule <= KP_MLP_MOMENTUM)
        *(kp_sgd_hyper *)hyper = (kp_sgd_hyper){ .step_size = 0.05f + 0.05f * u,
                                                 .momentum = rule ? 0.5f + 0.4f * u : 0 };
    else
        *(kp_rmsprop_hyper *)hyper =
            (kp_rmsprop_hyper){ 0.9f - 0.1f * u, 0.1f + 0.1f * u, 1e-3f, 0.01f + 0.01f * u, 0 };
}

static void *hypers(kp_case *c) {
    size_t bytes = hyper_bytes(now->rule);
    float *u = kp_case_alloc(c, 'f', KP_IN, T, 0, 1);
    char *hyper = kp_case_alloc(c, 'f', KP_IN, T * (int64_t)bytes / 4, 0, 0);
    memset(hyper, 0, (size_t)(c->P * T) * bytes);
    for (int i = 0; i < c->P * T; i++) fill(now->rule, hyper + (size_t)i * bytes, u[i]);
    return hyper;
}

static void make(kp_case *c) {
    kp_mlp_shape s = kp_mlp_case_shape(&now->net);
    const int rule = now->rule, n_states = (rule != KP_MLP_SGD) + (rule == KP_MLP_ADAM || rule == KP_MLP_RMSPROP_CENTERED);
    float *bound = kp_case_alloc(c, 'f', KP_IN, s.n_tensors, 0.3, 0.6);
    for (int p = 0; p < c->P; p++) bound[p * s.n_tensors + p % s.n_tensors] = INFINITY;
    int32_t *n = kp_case_shared(c, 'i', 1, 0, 1);
    *n = now->n;
    kp_tensor_tally *total = kp_case_alloc(c, 'l', KP_IN_OUT, 2 * s.n_tensors, 0, 9);
    *(kp_mlp_stream_args *)c->args = (kp_mlp_stream_args){
        .P = c->P,
        .shape = s,
        .samples = kp_mlp_case_samples(c, &now->net, T),
        .n = n,
        .rule = rule,
        .with_after = now->with_after,
        .theta = kp_mlp_case_param(c, &s, KP_IN_OUT, -0.7, 0.7),
        .state = { n_states > 0 ? kp_mlp_case_param(c, &s, KP_IN_OUT, 0, 0.01) : NULL,
                   n_states > 1 ? kp_mlp_case_param(c, &s, KP_IN_OUT, 0, 0.01) : NULL },
        .hyper = hypers(c),
        .bound = bound,
        .total = total,
        .work = kp_case_alloc(c, 'f', KP_SCRATCH, kp_mlp_work(&s), 0, 0),
        .result = kp_case_alloc(c, 'f', KP_OUT, T * (int64_t)sizeof(kp_mlp_result) / 4, 0, 0),
        .ever_active = now->with_units ? kp_case_alloc(c, 'b', KP_IN_OUT, s.n_hidden, 0, 1.1) : NULL,
    };
}

/* ---- the plain path ---------------------------------------------------------------------------- */

typedef struct {
    int n_chunks;
    int32_t *tensor, *cursor;
    float *grad, *no_momentum;
    char *hyper; /* of this sample */
    kp_clip_tally *tally;
} plain;

static void name_chunks(const kp_mlp_shape *s, int32_t *tensor) {
    for (int l = 0; l < s->n_layers; l++) {
        const int64_t at[4] = { s->weight[l], s->bias[l], s->gain[l], s->shift[l] };
        for (int k = 0; k < 4; k++)
            for (int64_t c = at[k] / KP_CHUNK; at[k] >= 0 && c < s->N / KP_CHUNK; c++)
                tensor[c] = s->tensor[l] + k;
    }
}

static void run(int op, const void *args, int p) {
    const kp_op *o = kp_op_get(op);
    for (int slice = 0; slice < o->n_slices(args); slice++) o->cpu(args, p, slice, NULL);
}

static void update(const kp_mlp_stream_args *a, const plain *m, int p) {
#define RULE(type, ...)                                                                            \
    type args = { .P = a->P,          .n_chunks = m->n_chunks, .n_tensors = a->shape.n_tensors,    \
                  .theta = a->theta,  .grad = m->grad,         .tensor = m->tensor,                \
                  .bound = a->bound,  .hyper = (void *)m->hyper, .tally = m->tally, __VA_ARGS__ }
    if (a->rule == KP_MLP_ADAM) {
        RULE(kp_adam_clip_args, .m = a->state[0], .v = a->state[1]);
        run(KP_OP_adam_clip, &args, p);
    } else if (a->rule <= KP_MLP_MOMENTUM) {
        RULE(kp_sgd_clip_args, .u = a->rule ? a->state[0] : m->no_momentum);
        run(KP_OP_sgd_clip, &args, p);
    } else {
        RULE(kp_rmsprop_clip_args, .v = a->state[0], .mean = a->state[1]);
        run(KP_OP_rmsprop_clip, &args, p);
    }
#undef RULE
}

static void run_plain(const kp_mlp_stream_args *a) {
    const size_t floats = (size_t)(a->P * a->shape.N), bytes = hyper_bytes(a->rule);
    plain m = { .n_chunks = (int)(a->shape.N / KP_CHUNK),
                .tensor = calloc((size_t)a->shape.N / KP_CHUNK, sizeof *m.tensor),
                .cursor = calloc((size_t)a->P, sizeof *m.cursor),
                .grad = calloc(floats, sizeof *m.grad),
                .no_momentum = calloc(floats, sizeof *m.grad),
                .hyper = aligned_alloc(16, (size_t)a->P * bytes),
                .tally = calloc(floats / KP_CHUNK, sizeof *m.tally) };
    name_chunks(&a->shape, m.tensor);
    const kp_mlp_gradient_args gradient = { a->P,    a->shape, a->samples, m.cursor,      a->theta,
                                            m.grad, a->work,  a->result,  a->ever_active };
    const kp_tally_sum_args sum = { a->P, m.n_chunks, a->shape.n_tensors, m.tensor, m.tally, a->total };
    const kp_mlp_after_args after = {
        a->P, a->shape, a->samples.label_order, a->samples.label, a->samples.index, T, m.cursor,
        a->theta, a->work, a->result
    };
    for (int p = 0; p < a->P; p++)
        for (int t = 0; t < *a->n; t++) {
            m.cursor[p] = t;
            memcpy(m.hyper + (size_t)p * bytes, (const char *)a->hyper + (size_t)(p * T + t) * bytes, bytes);
            run(KP_OP_mlp_gradient, &gradient, p);
            update(a, &m, p);
            run(KP_OP_tally_sum, &sum, p);
            if (a->with_after) run(KP_OP_mlp_after, &after, p);
        }
    free(m.tensor), free(m.cursor), free(m.grad), free(m.no_momentum), free(m.hyper), free(m.tally);
}

/* ---- the comparison ------------------------------------------------------------------------------ */

/* Of the workspace what mlp.h describes: x and d of the layers. */
static int work_differs(const kp_case *got, const kp_case *want, int p, char *says, size_t size) {
    const kp_mlp_stream_args *g = (const void *)got->args, *w = (const void *)want->args;
    const int64_t at = p * kp_mlp_work(&g->shape), n = kp_mlp_x(&g->shape, g->shape.n_layers);
    for (int64_t i = at; i < at + n; i++)
        if (memcmp(&g->work[i], &w->work[i], sizeof *g->work))
            return snprintf(says, size, "x or d, member %d, float %lld of %lld: %g, not %g", p,
                            (long long)(i - at), (long long)n, (double)g->work[i], (double)w->work[i]);
    return 0;
}

int kp_stream_differs(const kp_stream_spec *spec, unsigned active, char *says, size_t size) {
    const kp_op_row row = { spec->name, 0, make, NULL, 0 };
    kp_case c[3]; /* run by the launcher, by the CPU, not at all */
    uint8_t bytes[KP_STREAM_P];
    kp_err err = { "" };
    char what[128] = "";
    now = spec;
    for (int i = 0; i < 3; i++) c[i] = kp_case_open(&row, KP_STREAM_P, 0);
    run_plain((void *)c[1].args);
    for (int p = 0; p < KP_STREAM_P; p++) bytes[p] = active >> p & 1;
    int differs = kp_mlp_stream_cuda(c[0].args, &(kp_cuda){ .active = bytes }, &err) != KP_OK;
    if (differs) snprintf(what, sizeof what, "%s", err.text);
    else differs = kp_case_overrun(&c[0], what, sizeof what);
    for (int p = 0; p < KP_STREAM_P && !differs; p++)
        differs = bytes[p] ? kp_case_differs(&c[0], p, &c[1], p, 1, ~0u, what, sizeof what) ||
                                 work_differs(&c[0], &c[1], p, what, sizeof what)
                           : kp_case_differs(&c[0], p, &c[2], p, 1, ~0u, what, sizeof what);
    if (differs) snprintf(says, size, "%s: %s", spec->name, what);
    for (int i = 0; i < 3; i++) kp_case_close(&c[i]);
    return differs;
}
