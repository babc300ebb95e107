/* mlp_case.h: small networks with their data, as cases of op_case.h. */
#pragma once
#include "kernels/op_case.h"
#include "mlp/mlp.h"

typedef struct {
    const char *name;
    int n_layers, width[KP_MLP_LAYERS + 1]; /* inputs, hidden units, classes */
    int activation, layer_norm;
    int permuted;    /* inputs and labels, differently in each member */
    int bytes;       /* 1: inputs are bytes, 0: floats */
    double zeros;    /* the share of inputs that are 0 */
    double smallest; /* input */
} kp_mlp_spec;

enum { KP_MLP_CASE_SAMPLES = 40 };

kp_mlp_shape kp_mlp_case_shape(const kp_mlp_spec *spec);

/* Whether element `at` of a member belongs to no tensor. */
int kp_mlp_case_is_padding(const kp_mlp_shape *s, int64_t at);

/* [P][N] uniform in [lo, hi], zeros in the padding. */
float *kp_mlp_case_param(kp_case *c, const kp_mlp_shape *s, kp_use use, double lo, double hi);

/* KP_MLP_CASE_SAMPLES samples, and an order of T of them. */
kp_mlp_samples kp_mlp_case_samples(kp_case *c, const kp_mlp_spec *spec, int T);
