/* stream_case.c: every rule, activation and kind of input. */
#include "hostcuda/stream_case.h"

#include <string.h>

#include "adam_clip/adam_clip.h"
#include "hostcuda/launch_case.h"
#include "rmsprop_clip/rmsprop_clip.h"
#include "sgd_clip/sgd_clip.h"

enum { T = KP_STREAM_T };

#define NET(n_layers, ...)                                                                         \
    { "", n_layers, __VA_ARGS__ }

const kp_stream_spec kp_stream_specs[] = {
    { .name = "sgd, relu, bytes, permuted",
      .net = NET(3, { 37, 35, 19, 5 }, KP_MLP_RELU, 0, 1, 1, 0.6, 0),
      .rule = KP_MLP_SGD,
      .with_after = 1,
      .with_units = 1,
      .n = T },
    { .name = "momentum, leaky relu",
      .net = NET(2, { 20, 16, 10 }, KP_MLP_LEAKY_RELU, 0, 0, 0, 0, -1),
      .rule = KP_MLP_MOMENTUM,
      .terms = 1,
      .n = T - 1 },
    { .name = "adam, tanh, norm, permuted",
      .net = NET(4, { 9, 17, 3, 20, 18 }, KP_MLP_TANH, 1, 1, 0, 0.2, -1),
      .rule = KP_MLP_ADAM,
      .with_after = 1,
      .with_units = 1,
      .n = T },
    { .name = "adam, leaky relu, one sample",
      .net = NET(3, { 20, 33, 16, 4 }, KP_MLP_LEAKY_RELU, 0, 0, 1, 0.5, 0),
      .rule = KP_MLP_ADAM,
      .n = 1 },
    { .name = "rmsprop, crelu, norm, bytes",
      .net = NET(3, { 18, 9, 7, 33 }, KP_MLP_CRELU, 1, 0, 1, 0.5, -0.2),
      .rule = KP_MLP_RMSPROP,
      .terms = 1,
      .with_after = 1,
      .n = T },
    { .name = "sgd, tanh, terms",
      .net = NET(2, { 14, 18, 6 }, KP_MLP_TANH, 0, 0, 0, 0.3, -1),
      .rule = KP_MLP_SGD,
      .terms = 1,
      .n = T },
    { .name = "adam, relu, terms",
      .net = NET(2, { 18, 17, 6 }, KP_MLP_RELU, 0, 0, 1, 0.3, 0),
      .rule = KP_MLP_ADAM,
      .terms = 1,
      .n = T },
    { .name = "centered rmsprop, crelu",
      .net = NET(2, { 12, 9, 3 }, KP_MLP_CRELU, 0, 1, 0, 0.5, -1),
      .rule = KP_MLP_RMSPROP_CENTERED,
      .with_units = 1,
      .n = T },
    { .name = "adam, one layer",
      .net = NET(1, { 19, 12 }, KP_MLP_RELU, 0, 1, 1, 0.5, 0),
      .rule = KP_MLP_ADAM,
      .with_after = 1,
      .n = T },
    { .name = "sgd, relu, spoiled",
      .net = NET(3, { 16, 18, 15, 5 }, KP_MLP_RELU, 0, 1, 0, 0.4, -1),
      .rule = KP_MLP_SGD,
      .with_after = 1,
      .with_units = 1,
      .n = T,
      .spoiled = 1 },
    { .name = "adam, leaky relu, norm, spoiled",
      .net = NET(2, { 19, 15, 4 }, KP_MLP_LEAKY_RELU, 1, 0, 0, 0.2, -1),
      .rule = KP_MLP_ADAM,
      .with_units = 1,
      .n = T,
      .spoiled = 1 },
    { 0 },
};

static const kp_stream_spec *now;

static size_t hyper_bytes(int rule) {
    return rule == KP_MLP_ADAM       ? sizeof(kp_adam_hyper)
           : rule <= KP_MLP_MOMENTUM ? sizeof(kp_sgd_hyper)
                                     : sizeof(kp_rmsprop_hyper);
}

/* Differs by member and sample; some have no terms. */
static void fill(void *hyper, float u) {
    const float l2 = now->terms && u < 0.7f ? 0.1f * u : 0,
                l2init = now->terms && u > 0.3f ? 0.2f * u : 0;
    if (now->rule == KP_MLP_ADAM)
        *(kp_adam_hyper *)hyper = (kp_adam_hyper){ .beta1 = 0.9f - 0.1f * u,
                                                   .one_minus_beta1 = 0.1f + 0.1f * u,
                                                   .beta2 = 0.99f,
                                                   .one_minus_beta2 = 0.01f,
                                                   .eps = 1e-8f,
                                                   .step_size = 0.02f + 0.02f * u,
                                                   .rsqrt_bc2 = 2,
                                                   .decay = 1 - 0.01f * u,
                                                   .l2 = l2,
                                                   .l2init = l2init };
    else if (now->rule <= KP_MLP_MOMENTUM)
        *(kp_sgd_hyper *)hyper = (kp_sgd_hyper){ .step_size = 0.05f + 0.05f * u,
                                                 .momentum = now->rule ? 0.5f + 0.4f * u : 0,
                                                 .l2 = l2,
                                                 .l2init = l2init };
    else
        *(kp_rmsprop_hyper *)hyper = (kp_rmsprop_hyper){ .beta = 0.9f - 0.1f * u,
                                                         .one_minus_beta = 0.1f + 0.1f * u,
                                                         .eps = 1e-3f,
                                                         .step_size = 0.01f + 0.01f * u,
                                                         .l2 = l2,
                                                         .l2init = l2init };
}

static void *hypers(kp_case *c) {
    size_t bytes = hyper_bytes(now->rule);
    float *u = kp_case_alloc(c, 'f', KP_IN, T, 0, 1);
    char *hyper = kp_case_alloc(c, 'f', KP_IN, T * (int64_t)bytes / 4, 0, 0);
    memset(hyper, 0, (size_t)(c->P * T) * bytes);
    for (int i = 0; i < c->P * T; i++) fill(hyper + (size_t)i * bytes, u[i]);
    return hyper;
}

/* Every third sample, and a weight of each layer in the second member. */
static void spoil(const kp_case *c) {
    static const float values[] = { NAN, INFINITY, -INFINITY, 3e38f, -3e38f, 1e-40f, -0.0f };
    const kp_mlp_stream_args *a = (const void *)c->args;
    const kp_mlp_shape *s = &a->shape;
    float *inputs = (float *)a->samples.floats;
    for (int i = 0; i < KP_MLP_CASE_SAMPLES; i += 3)
        inputs[i * s->in[0] + i % s->in[0]] = values[(size_t)i / 3 % KP_COUNT(values)];
    for (int l = 0; l < s->n_layers && c->P > 1; l++)
        a->theta[s->N + s->weight[l] + 2 * s->row[l] + l] = values[l];
}

static void make(kp_case *c) {
    kp_mlp_shape s = kp_mlp_case_shape(&now->net);
    const int rule = now->rule, n_states = (rule != KP_MLP_SGD) +
                                           (rule == KP_MLP_ADAM || rule == KP_MLP_RMSPROP_CENTERED);
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
        .anchor = now->terms ? kp_mlp_case_param(c, &s, KP_IN, -0.7, 0.7) : NULL,
        .hyper = hypers(c),
        .bound = bound,
        .total = total,
        .work = kp_case_alloc(c, 'f', KP_SCRATCH, kp_mlp_work(&s), 0, 0),
        .result = kp_case_alloc(c, 'f', KP_OUT, T * (int64_t)sizeof(kp_mlp_result) / 4, 0, 0),
        .ever_active = now->with_units ? kp_case_alloc(c, 'b', KP_IN_OUT, s.n_hidden, 0, 1.1)
                                       : NULL,
    };
    if (now->spoiled) spoil(c);
}

int kp_stream_differs(const kp_stream_spec *spec, unsigned active, char *says, size_t size) {
    const kp_op_row row = { spec->name, KP_OP_mlp_stream, make, NULL, 0 };
    now = spec;
    return kp_launch_differs(&row, active, 0, says, size);
}
