/* ops_units.c: rows of the methods that replace units; every state is one that makes them do so. */
#include "kernels/mlp_case.h"
#include "units/units.h"

static const kp_mlp_spec relu = { "", 3, { 37, 35, 19, 5 }, KP_MLP_RELU, 0, 0, 0, 0, 0 },
                         wide = { "", 2, { 9, 300, 3 }, KP_MLP_LEAKY_RELU, 0, 0, 0, 0, 0 },
                         tanh_ = { "", 4, { 9, 17, 3, 40, 18 }, KP_MLP_TANH, 1, 0, 0, 0, 0 },
                         crelu = { "", 3, { 30, 21, 9, 33 }, KP_MLP_CRELU, 1, 0, 0, 0, 0 };

static kp_units_net make_net(kp_case *c, const kp_mlp_spec *spec, int n_moments, int n_anchors) {
    kp_units_net u = { .shape = kp_mlp_case_shape(spec) };
    const kp_mlp_shape *s = &u.shape;
    for (int l = 0; l < s->n_layers; l++) u.init_bound[l] = 1.0f / (float)(l + 2);
    u.seed = kp_case_alloc(c, 'l', KP_IN, 1, 0, 1e15);
    u.bound = kp_case_alloc(c, 'f', KP_IN, s->n_tensors, 0.1, 1.2);
    u.theta = kp_mlp_case_param(c, s, KP_IN_OUT, -0.7, 0.7);
    for (u.n_moments = 0; u.n_moments < n_moments; u.n_moments++)
        u.moment[u.n_moments] = kp_mlp_case_param(c, s, KP_IN_OUT, -1, 1);
    for (u.n_anchors = 0; u.n_anchors < n_anchors; u.n_anchors++)
        u.anchor[u.n_anchors] = kp_mlp_case_param(c, s, KP_IN_OUT, -1, 1);
    u.replaced = kp_case_alloc(c, 'l', KP_IN_OUT, 1, 0, 1e12);
    return u;
}

/* About half of the outputs are 0. */
static const float *make_work(kp_case *c, const kp_mlp_shape *s) {
    int64_t n = kp_mlp_work(s);
    float *work = kp_case_alloc(c, 'f', KP_IN, n, -1, 1);
    for (int64_t i = 0; i < c->P * n && s->activation != KP_MLP_TANH; i++)
        if (work[i] < 0) work[i] = 0;
    return work;
}

/* Few different utilities, so that many are the least. */
static void make_cbp(kp_case *c, const kp_mlp_spec *spec, int n_moments, int n_anchors) {
    static const double rate[] = { 0.2, 0.05, 1 };
    kp_units_net net = make_net(c, spec, n_moments, n_anchors);
    const kp_mlp_shape *s = &net.shape;
    kp_cbp_hyper *hyper = kp_case_alloc(c, 'b', KP_IN, sizeof *hyper, 0, 1);
    *(kp_cbp_args *)c->args = (kp_cbp_args){
        .P = c->P,
        .net = net,
        .work = make_work(c, s),
        .hyper = hyper,
        .utility = kp_case_alloc(c, 'f', KP_IN_OUT, s->n_hidden, 0, 3),
        .mass = kp_case_alloc(c, 'f', KP_IN_OUT, s->n_hidden, 0.5, 0.5),
        .mean = kp_case_alloc(c, 'f', KP_IN_OUT, s->n_hidden * kp_units_outputs(s), -1, 1),
        .age = kp_case_alloc(c, 'l', KP_IN_OUT, s->n_hidden, 0, 100),
        .owed = kp_case_alloc(c, 'd', KP_IN_OUT, KP_MLP_LAYERS, 0, 1),
    };
    kp_cbp_args *a = (void *)c->args;
    for (int p = 0; p < c->P; p++)
        hyper[p] = (kp_cbp_hyper){ rate[(c->first + p) % 3], 60 - (c->first + p) % 3, 0.9f, 0.1f };
    for (int i = 0; i < c->P * s->n_hidden; i++) a->utility[i] = floorf(a->utility[i]);
}

static void make_redo(kp_case *c, const kp_mlp_spec *spec, int n_moments) {
    kp_units_net net = make_net(c, spec, n_moments, 0);
    const kp_mlp_shape *s = &net.shape;
    *(kp_redo_args *)c->args = (kp_redo_args){
        .P = c->P,
        .net = net,
        .every = 5,
        .work = make_work(c, s),
        .tau = kp_case_alloc(c, 'd', KP_IN, 1, 0.5, 1),
        .sum = kp_case_alloc(c, 'd', KP_IN_OUT, s->n_hidden, 0, 3),
        .seen = kp_case_alloc(c, 'l', KP_IN_OUT, 1, 0, 1),
    };
    kp_redo_args *a = (void *)c->args;
    for (int p = 0; p < c->P; p++) a->seen[p] = (c->first + p) % 3 == 1 ? 3 : 4;
}

static void make_cbp_relu(kp_case *c) { make_cbp(c, &relu, 2, 1); }
static void make_cbp_wide(kp_case *c) { make_cbp(c, &wide, 1, 0); }
static void make_cbp_tanh(kp_case *c) { make_cbp(c, &tanh_, 0, 0); }
static void make_cbp_crelu(kp_case *c) { make_cbp(c, &crelu, 1, 2); }
static void make_redo_relu(kp_case *c) { make_redo(c, &relu, 2); }
static void make_redo_wide(kp_case *c) { make_redo(c, &wide, 0); }
static void make_redo_crelu(kp_case *c) { make_redo(c, &crelu, 1); }

const kp_op_row kp_units_rows[] = {
    { "cbp of ReLU", KP_OP_cbp, make_cbp_relu, NULL, 0 },
    { "cbp of more units than threads", KP_OP_cbp, make_cbp_wide, NULL, 0 },
    { "cbp of tanh, normalised", KP_OP_cbp, make_cbp_tanh, NULL, 0 },
    { "cbp of CReLU, normalised", KP_OP_cbp, make_cbp_crelu, NULL, 0 },
    { "redo of ReLU", KP_OP_redo, make_redo_relu, NULL, 0 },
    { "redo of more units than threads", KP_OP_redo, make_redo_wide, NULL, 0 },
    { "redo of CReLU, normalised", KP_OP_redo, make_redo_crelu, NULL, 0 },
    { 0 },
};
