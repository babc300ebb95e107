/* ops_mlp.c: rows of small networks. */
#include "adam_clip/adam_clip.h"
#include "kernels/mlp_case.h"
#include "sgd_clip/sgd_clip.h"

enum { T = 5 };

static const kp_mlp_spec relu = { "", 3, { 37, 35, 19, 5 }, KP_MLP_RELU, 0, 1, 1, 0.6, 0 },
                         leaky = { "", 2, { 20, 16, 10 }, KP_MLP_LEAKY_RELU, 0, 0, 0, 0, -1 },
                         tanh_ = { "", 4, { 9, 17, 3, 40, 18 }, KP_MLP_TANH, 1, 1, 0, 0.2, -1 },
                         crelu = { "", 3, { 30, 21, 9, 33 }, KP_MLP_CRELU, 1, 0, 1, 0.5, -0.2 };

static void make_gradient(kp_case *c, const kp_mlp_spec *spec, int with_units) {
    kp_mlp_shape s = kp_mlp_case_shape(spec);
    *(kp_mlp_gradient_args *)c->args = (kp_mlp_gradient_args){
        .P = c->P,
        .shape = s,
        .samples = kp_mlp_case_samples(c, spec, T),
        .cursor = kp_case_alloc(c, 'i', KP_IN, 1, 0, T),
        .theta = kp_mlp_case_param(c, &s, KP_IN, -0.7, 0.7),
        .grad = kp_case_alloc(c, 'f', KP_OUT, s.N, 0, 0),
        .work = kp_case_alloc(c, 'f', KP_SCRATCH, kp_mlp_work(&s), 0, 0),
        .result = kp_case_alloc(c, 'f', KP_OUT, T * (int64_t)sizeof(kp_mlp_result) / 4, 0, 0),
        .ever_active = with_units ? kp_case_alloc(c, 'b', KP_IN_OUT, s.n_hidden, 0, 1.1) : NULL,
    };
}

static void make_gradient_relu(kp_case *c) { make_gradient(c, &relu, 1); }
static void make_gradient_leaky(kp_case *c) { make_gradient(c, &leaky, 1); }
static void make_gradient_tanh(kp_case *c) { make_gradient(c, &tanh_, 0); }
static void make_gradient_crelu(kp_case *c) { make_gradient(c, &crelu, 1); }

static void make_after(kp_case *c, const kp_mlp_spec *spec) {
    kp_mlp_shape s = kp_mlp_case_shape(spec);
    kp_mlp_samples samples = kp_mlp_case_samples(c, spec, T);
    *(kp_mlp_after_args *)c->args = (kp_mlp_after_args){
        .P = c->P,
        .shape = s,
        .label_order = samples.label_order,
        .label = samples.label,
        .index = samples.index,
        .T = T,
        .cursor = kp_case_alloc(c, 'i', KP_IN, 1, 0, T),
        .theta = kp_mlp_case_param(c, &s, KP_IN, -0.7, 0.7),
        .work = kp_case_alloc(c, 'f', KP_SCRATCH, kp_mlp_work(&s), 0, 0),
        .result = kp_case_alloc(c, 'f', KP_OUT, T * (int64_t)sizeof(kp_mlp_result) / 4, 0, 0),
    };
    kp_mlp_after_args *a = (void *)c->args;
    for (int p = 0; p < c->P; p++)
        for (int j = 0; j < kp_mlp_padded(s.in[0]); j++)
            a->work[p * kp_mlp_work(&s) + j] = j < s.in[0]
                                                   ? (float)((j * 7 + p + c->first) % 11 - 5) / 8
                                                   : 0;
}

static void make_after_relu(kp_case *c) { make_after(c, &relu); }
static void make_after_tanh(kp_case *c) { make_after(c, &tanh_); }

static void make_stream(kp_case *c, const kp_mlp_spec *spec, int rule, const float *hyper, int n) {
    _Static_assert(sizeof(kp_mlp_stream_args) <= sizeof c->args, "room for the largest arguments");
    kp_mlp_shape s = kp_mlp_case_shape(spec);
    kp_mlp_samples samples = kp_mlp_case_samples(c, spec, T);
    int32_t *n_samples = kp_case_shared(c, 'i', 1, T - 1, T);
    float *h = kp_case_alloc(c, 'f', KP_IN, (int64_t)T * n, 0, 1);
    for (int i = 0; i < c->P * T * n; i++) h[i] = hyper[i % n];
    *(kp_mlp_stream_args *)c->args = (kp_mlp_stream_args){
        .P = c->P,
        .shape = s,
        .samples = samples,
        .n = n_samples,
        .rule = rule,
        .with_after = rule == KP_MLP_ADAM,
        .theta = kp_mlp_case_param(c, &s, KP_IN_OUT, -0.5, 0.5),
        .hyper = h,
        .bound = kp_case_alloc(c, 'f', KP_IN, s.n_tensors, 0.4, 0.6),
        .total = kp_case_alloc(c, 'l', KP_IN_OUT, 2 * s.n_tensors, 0, 9),
        .work = kp_case_alloc(c, 'f', KP_SCRATCH, kp_mlp_work(&s), 0, 0),
        .result = kp_case_alloc(c, 'f', KP_OUT, T * (int64_t)sizeof(kp_mlp_result) / 4, 0, 0),
        .ever_active = kp_case_alloc(c, 'b', KP_IN_OUT, s.n_hidden, 0, 1.1),
    };
    kp_mlp_stream_args *a = (void *)c->args;
    for (int i = 0; i < 2 && rule == KP_MLP_ADAM; i++)
        a->state[i] = kp_mlp_case_param(c, &s, KP_IN_OUT, 0, 0.1);
}

static void make_stream_sgd(kp_case *c) {
    static const kp_sgd_hyper h = { .step_size = 0.05f };
    make_stream(c, &relu, KP_MLP_SGD, (const float *)&h, sizeof h / sizeof(float));
}

static void make_stream_adam(kp_case *c) {
    static const kp_adam_hyper h = { .beta1 = 0.9f,
                                     .one_minus_beta1 = 0.1f,
                                     .beta2 = 0.99f,
                                     .one_minus_beta2 = 0.01f,
                                     .eps = 1e-8f,
                                     .step_size = 0.01f,
                                     .rsqrt_bc2 = 1.5f,
                                     .decay = 1 };
    make_stream(c, &tanh_, KP_MLP_ADAM, (const float *)&h, sizeof h / sizeof(float));
}

const kp_op_row kp_mlp_rows[] = {
    { "mlp_gradient of ReLU", KP_OP_mlp_gradient, make_gradient_relu, NULL, 0 },
    { "mlp_gradient of leaky ReLU", KP_OP_mlp_gradient, make_gradient_leaky, NULL, 0 },
    { "mlp_gradient of tanh, normalised", KP_OP_mlp_gradient, make_gradient_tanh, NULL, 0 },
    { "mlp_gradient of CReLU, normalised", KP_OP_mlp_gradient, make_gradient_crelu, NULL, 0 },
    { "mlp_after of ReLU", KP_OP_mlp_after, make_after_relu, NULL, 0 },
    { "mlp_after of tanh, normalised", KP_OP_mlp_after, make_after_tanh, NULL, 0 },
    { "mlp_stream of ReLU by gradient descent", KP_OP_mlp_stream, make_stream_sgd, NULL, 0 },
    { "mlp_stream of tanh, normalised, by Adam", KP_OP_mlp_stream, make_stream_adam, NULL, 0 },
    { 0 },
};
