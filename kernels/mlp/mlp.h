/* mlp.h: small networks that learn from a stream, one sample and one update at a time.
 *
 *     mlp_gradient   one sample: forward, loss, backward; leaves the gradient in memory (the plain path)
 *     mlp_after      the same sample again, after its update: what the update changed
 *     mlp_stream     a block of samples: forward, backward, update rule and clip in as few passes over
 *                    the weights as there can be; the gradient is never in memory (the fast path)
 *
 * mlp_stream leaves the bits that mlp_gradient, an update rule of csrc/optim and mlp_after leave: sums
 * have the orders said here, and the rules are the element functions of their own operations.
 *
 *     z = b + sum over inputs j, ascending, of x_j w_j        one fused multiply-add each, per unit;
 *                                                             inputs that are 0 are left out
 *     x' = activation(layer norm(z))                          of hidden layers; the output is linear
 *                                                             (mlp_unit.h; CReLU: all that are above zero,
 *                                                             then all that are below, their sign changed)
 *     dx_j = sum over units o of w_jo d_o                     KP_MLP_LANES partial sums, lane o % 16 from
 *                                                             zero in ascending o, over the row with its
 *                                                             padding, then added in a tree: l + 8, l + 4,
 *                                                             l + 2, l + 1
 *     g_jo = x_j d_o                                          the product alone, rounded once
 *
 * Softmax cross entropy and its gradient are those of softmax_xent.h, with B = 1. */
#pragma once
#include "clip.h"
#include "kp_kernel.h"
#include "tally_sum/tally_sum.h"

enum { KP_MLP_LAYERS = 8, KP_MLP_LANES = 16 };

typedef enum { KP_MLP_RELU, KP_MLP_LEAKY_RELU, KP_MLP_TANH, KP_MLP_CRELU } kp_mlp_activation;

#define KP_MLP_LEAK 0.01f /* slope of leaky ReLU below zero, PyTorch's default */

/* Offsets are floats from the start of a member of theta; csrc/nn/mlp.h makes them. Weights lie
 * input-major, [in][row]; columns beyond `out` are padding and stay zero. */
typedef struct {
    int n_layers; /* the last is the output */
    int in[KP_MLP_LAYERS];  /* inputs of the layer: with CReLU twice the units before it */
    int out[KP_MLP_LAYERS]; /* units */
    int row[KP_MLP_LAYERS]; /* floats of a row of weights: out rounded up to KP_MLP_LANES */
    int64_t weight[KP_MLP_LAYERS], bias[KP_MLP_LAYERS];
    int64_t gain[KP_MLP_LAYERS], shift[KP_MLP_LAYERS]; /* of layer norm; -1: none */
    int tensor[KP_MLP_LAYERS]; /* number of the weight's tensor; bias, gain, shift come next */
    int activation;            /* kp_mlp_activation */
    int n_hidden;              /* hidden units in all */
    int n_tensors;
    int64_t N;
} kp_mlp_shape;

/* The data, and which of them come next. */
typedef struct {
    const uint8_t *bytes;       /* [n][in[0]], or NULL */
    const float *floats;        /* [n][in[0]], or NULL; exactly one of the two */
    const float *value;         /* [256] a byte as an input; NULL with floats */
    const int32_t *label;       /* [n] */
    const int32_t *input_order; /* [P][in[0]] input j is element input_order[j] of a sample; NULL: j */
    const int32_t *label_order; /* [P][classes] label y counts as label_order[y]; NULL: as y */
    const int32_t *index;       /* [P][T] the samples of a block */
    int T;                      /* room for so many in a block */
} kp_mlp_samples;

typedef struct {
    float loss;       /* nats, before the update */
    float loss_after; /* the same sample's, after update and clip; NAN where it was not asked for */
    int32_t correct;  /* 1: the first of the largest logits, before the update, is the label */
    int32_t inactive; /* hidden units that are off on this sample, after the update (before it where
                         loss_after was not asked for): ReLU 0 or less, leaky ReLU below 0, tanh beyond
                         +-0.9 ("saturated"); 0 with CReLU */
} kp_mlp_result;

/* A member's workspace, floats: the latest sample as the net saw it. Parts begin at multiples of
 * KP_MLP_LANES and are padded with zeros. x(l): input of layer l, [in]; d(l): gradient of the loss with
 * respect to layer l's z before layer norm, [out]; what follows them is private. */
KP_HD int64_t kp_mlp_padded(int n) { return (n + KP_MLP_LANES - 1) / KP_MLP_LANES * KP_MLP_LANES; }
KP_HD int64_t kp_mlp_x(const kp_mlp_shape *s, int layer) {
    int64_t at = 0;
    for (int l = 0; l < layer; l++) at += kp_mlp_padded(s->in[l]) + s->row[l];
    return at;
}
KP_HD int64_t kp_mlp_d(const kp_mlp_shape *s, int layer) {
    return kp_mlp_x(s, layer) + kp_mlp_padded(s->in[layer]);
}
/* All of it: x and d, a second x (of the next sample, or of the pass after the update), and as much again. */
KP_HD int64_t kp_mlp_work(const kp_mlp_shape *s) { return 4 * kp_mlp_x(s, s->n_layers); }

typedef struct {
    int P;
    kp_mlp_shape shape;
    kp_mlp_samples samples;
    const int32_t *cursor; /* [P] which sample of the block it is */
    const float *theta;    /* [P][N] */
    float *grad;           /* [P][N] overwritten; padding becomes zero */
    float *work;           /* [P][kp_mlp_work] overwritten */
    kp_mlp_result *result; /* [P][T] the cursor's is written; loss_after NAN */
    uint8_t *ever_active;  /* [P][n_hidden] set to 1 where a unit is active on the sample; NULL: not wanted */
} kp_mlp_gradient_args;

typedef struct {
    int P;
    kp_mlp_shape shape;
    const int32_t *label_order, *label, *index; /* as in the samples above */
    int T;
    const int32_t *cursor;
    const float *theta;    /* [P][N] */
    float *work;           /* [P] x(0) is read; the rest of x and d stays as mlp_gradient left it */
    kp_mlp_result *result; /* [P][T] loss_after and inactive of the cursor's are written */
} kp_mlp_after_args;

typedef enum {
    KP_MLP_SGD,              /* kp_sgd_hyper with momentum 0; no state */
    KP_MLP_MOMENTUM,         /* kp_sgd_hyper; state[0]: u */
    KP_MLP_ADAM,             /* kp_adam_hyper; state: m, v */
    KP_MLP_RMSPROP,          /* kp_rmsprop_hyper; state[0]: v */
    KP_MLP_RMSPROP_CENTERED, /* state: v, mean */
    KP_MLP_N_RULES
} kp_mlp_rule;

typedef struct {
    int P;
    kp_mlp_shape shape;
    kp_mlp_samples samples;
    const int32_t *n;      /* [1] samples of this block, 1 .. T, the same for every member */
    int rule;              /* kp_mlp_rule */
    int with_after;        /* 1: fill loss_after */
    float *theta;          /* [P][N] updated */
    float *state[2];       /* [P][N] updated; NULL where the rule has none */
    const float *anchor;   /* [P][N] theta at initialisation, for L2 Init; NULL: no member has that term */
    const void *hyper;     /* [P][T] of the rule's struct, one for each sample of the block */
    const float *bound;    /* [P][n_tensors] INFINITY: not clipped */
    kp_tensor_tally *total; /* [P][n_tensors] outside is added to; non_finite is set at the block's end */
    float *work;           /* [P][kp_mlp_work] */
    kp_mlp_result *result; /* [P][T] */
    uint8_t *ever_active;  /* [P][n_hidden] or NULL */
} kp_mlp_stream_args;

KP_CUDA_C kp_status kp_mlp_gradient_cuda(const void *args, const kp_cuda *cuda, kp_err *err);
KP_CUDA_C kp_status kp_mlp_after_cuda(const void *args, const kp_cuda *cuda, kp_err *err);
KP_CUDA_C kp_status kp_mlp_stream_cuda(const void *args, const kp_cuda *cuda, kp_err *err);
