/* net.h: static networks: layers with hand-written backward passes, planned once.
 *
 *     kp_net *net = NULL;
 *     st = kp_net_open(&net, &spec, &err);                        shapes and parameters, no memory
 *     kp_pass *pass = NULL;
 *     st = kp_pass_open(&pass, net, backend, P, B, 1, &err);      activations and gradients
 *     st = kp_pass_add_forward(pass, program, theta, &err);
 *     ... a loss that fills kp_pass_output_gradient(pass) ...
 *     st = kp_pass_add_backward(pass, program, theta, grad, &err);
 *     kp_pass_close(pass);  kp_net_close(net);
 *
 * A kind of layer is one row of the table in net.c. */
#pragma once
#include "backend/backend.h"
#include "image.h"
#include "kappa/choices.h"
#include "layout.h"

enum { KP_MAX_LAYERS = 96 };

typedef enum { KP_CONV, KP_DENSE, KP_N_LAYER_KINDS } kp_layer_kind;
typedef enum { KP_VALID, KP_SAME } kp_padding; /* same: out = ceil(in / stride), extra at the far side (TensorFlow) */

typedef struct {
    kp_layer_kind kind;
    char name[24];
    int input; /* index of the layer it reads, which no other reads, or -1 for the net's input */
    int out;   /* channels or units */
    int kernel, stride;
    kp_padding padding; /* convolutions only, like kernel and stride */
    kp_activation activation;
    kp_init init;
} kp_layer_spec;

typedef struct {
    int h, w, c; /* the input */
    int n_layers;
    kp_layer_spec layer[KP_MAX_LAYERS]; /* each after the one it reads; the last is the output, and linear */
} kp_net_spec;

typedef struct kp_net kp_net;
typedef struct kp_pass kp_pass;

/* KP_BAD_CONFIG where shapes do not fit. Copies spec. */
kp_status kp_net_open(kp_net **net, const kp_net_spec *spec, kp_err *err);
const kp_layout *kp_net_layout(const kp_net *net); /* borrowed */
kp_image kp_net_input(const kp_net *net);          /* border included */
int kp_net_n_outputs(const kp_net *net);           /* floats of one sample's output */
double kp_net_flops(const kp_net *net);            /* multiplies and adds of one sample's forward */
double kp_net_layer_flops(const kp_net *net, int layer);
void kp_net_close(kp_net *net);

/* Buffers for P members and B samples each; with_gradients 0: forward only. Borrows net and backend. */
kp_status kp_pass_open(kp_pass **pass, const kp_net *net, kp_backend *backend, int P, int B,
                       int with_gradients, kp_err *err);

/* A forward pass in the memory of another of the same net: they share input and activations, and have
 * outputs of their own, so what is read of one is what it ran last. The lender is closed after it. */
kp_status kp_pass_open_over(kp_pass **pass, const kp_pass *lender, kp_err *err);
float *kp_pass_input(const kp_pass *pass);           /* [P][B][input], backend memory */
float *kp_pass_output(const kp_pass *pass);          /* [P][B][outputs] */
float *kp_pass_output_gradient(const kp_pass *pass); /* the same; NULL without gradients */

/* theta, grad: [P][N] backend memory, N of the net's layout. The backward pass overwrites grad
 * (but for its padding). */
kp_status kp_pass_add_forward(kp_pass *pass, kp_program *program, const float *theta, kp_err *err);
kp_status kp_pass_add_backward(kp_pass *pass, kp_program *program, const float *theta, float *grad,
                               kp_err *err);
void kp_pass_close(kp_pass *pass); /* NULL is fine */
