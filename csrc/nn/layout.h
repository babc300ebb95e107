/* layout.h: the parameters of one member: which tensors, in which order, at which offsets.
 *
 * A member is N floats. Each tensor starts at a multiple of KP_CHUNK and is padded with zeros to the
 * next, so that every chunk belongs to one tensor. Files, tests and the API see PyTorch's names and
 * order ([out][in][kh][kw], [out][in]); memory holds the order that the kernels want, and
 * kp_tensor_at maps the one to the other. Updates and clips are elementwise and do not care. */
#pragma once
#include "kappa/choices.h"
#include "kp_kernel.h"

typedef enum { KP_WEIGHT, KP_BIAS, KP_NORM, KP_LOG_STD, KP_NOISY_SIGMA } kp_role;

typedef enum {
    KP_ORDER_SAME,  /* as in PyTorch */
    KP_ORDER_HWIO,  /* conv: [kh][kw][in][out] */
    KP_ORDER_HWC_OUT, /* dense: [h][w][c][out], where PyTorch has [out][c][h][w] flattened */
    KP_ORDER_IN_ROWS /* dense: [in][row], out columns and zeros behind them, where PyTorch has [out][in] */
} kp_order;

typedef struct {
    char name[48]; /* "conv1.weight" */
    kp_role role;
    int layer;      /* index of its layer in the net */
    int last_layer; /* 1: belongs to the output layer */
    int n_dims;
    int64_t dims[4]; /* PyTorch's */
    int64_t count;   /* their product */
    int64_t offset;  /* floats from the start of the member; a multiple of KP_CHUNK */
    int n_chunks;
    kp_order order;
    int flat_h, flat_w, flat_c; /* KP_ORDER_HWC_OUT: what was flattened */
    int row;                    /* KP_ORDER_IN_ROWS: floats of a row, at least out */
    float init_bound;           /* drawn from U(-init_bound, +init_bound); 0: all are init_value */
    float init_value;
    float scale_fan_in;         /* 1 / sqrt(fan_in); of a 1-D tensor: that of the weight before it */
    float scale_init;           /* the same for the bound of the initialiser in use */
} kp_tensor;

typedef struct {
    int n_tensors, n_chunks;
    int64_t N; /* n_chunks * KP_CHUNK */
    kp_tensor *tensor;
    int32_t *chunk_tensor; /* [n_chunks] */
} kp_layout;

/* Where element `at` of the tensor in PyTorch's order lies, in floats from the tensor's start. */
int64_t kp_tensor_at(const kp_tensor *tensor, int64_t at);

/* The tensor of that name, or NULL. */
const kp_tensor *kp_layout_find(const kp_layout *layout, const char *name);

/* Between one member's floats and a tensor in PyTorch's order, [count]. */
void kp_tensor_export(const kp_tensor *tensor, const float *member, float *canonical);
void kp_tensor_import(const kp_tensor *tensor, float *member, const float *canonical);

/* Draws one member's initial weights by Philox: element e of tensor t is
 * (2 u - 1) init_bound, u from word e % 4 of block (seed, KP_STREAM_INIT, t << 40 | e / 4),
 * e in PyTorch's order. member: [N] host, zeroed. */
void kp_layout_init(const kp_layout *layout, uint64_t seed, float *member);

/* For who makes a layout: the tensors' names, roles, dimensions and orders are given, and the layout is
 * zeros but for `tensor` and n_tensors. */

/* Bounds and scales of a layer's weight and bias. Fan-in and fan-out as PyTorch and TensorFlow count them:
 * times the receptive field. */
void kp_tensor_scale(kp_tensor *weight, kp_tensor *bias, kp_init init);

/* Counts, places and chunks. KP_BAD_CONFIG: no host memory. */
kp_status kp_layout_place(kp_layout *layout, kp_err *err);

void kp_layout_release(kp_layout *layout); /* frees tensor and chunk_tensor; all zeros are fine */
