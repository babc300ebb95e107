/* conv_engine.h: convolutions of one member by a library, as the launchers see it. The library is the
 * backend's (csrc/backend/cuda/conv_engine.c), or there is none, and all is done as matrix products.
 *
 * The library wants weights as KRSC, [out.c][kernel][kernel][in.c], the transposed matrix of ours:
 * launchers transpose them in scratch memory. It adds the bias; activations, masks and the gradient of
 * the bias are ours. */
#pragma once
#include "conv.h"

typedef enum { KP_CONV_FORWARD, KP_CONV_BACKWARD_DATA, KP_CONV_BACKWARD_WEIGHTS } kp_conv_kind;

typedef struct kp_conv_plan kp_conv_plan; /* how the library does one convolution; the engine's */

/* Device memory; the kind says which one is written. */
typedef struct {
    const float *x, *y; /* [B][in], [B][out], or their gradients */
    const float *w;     /* KRSC where the engine gets it, 16-byte aligned */
    const float *bias;  /* [out.c]; NULL but for the forward pass */
} kp_conv_pointers;

/* The whole operation by the plan or, where that is NULL, as products. */
typedef kp_status kp_conv_launch(const void *args, const kp_conv_plan *plan, const kp_cuda *cuda,
                                 kp_err *err);

typedef struct {
    kp_conv_kind kind;
    int B;
    kp_conv_shape shape;
    kp_conv_pointers at; /* w as HWIO */
    const void *args;    /* of launch */
    kp_conv_launch *launch;
} kp_conv_task;

typedef struct kp_conv_engine kp_conv_engine;
struct kp_conv_engine {
    /* The plan that does the task fastest; NULL: products do, or there is no plan. Not in a capture, a
     * task that is new is launched in every way, to be timed; in a capture, a new one gets NULL. */
    kp_status (*choose)(kp_conv_engine *engine, const kp_conv_task *task, const kp_cuda *cuda,
                        const kp_conv_plan **plan, kp_err *err);

    /* Puts the convolution on the stream. What it does not compute it leaves alone, but for the border
     * of a gradient of x. */
    kp_status (*run)(kp_conv_engine *engine, const kp_conv_plan *plan, const kp_conv_pointers *at,
                     struct CUstream_st *stream, kp_err *err);
};

/* Launches the task in the way that the engine chooses; as products where there is no engine, more
 * than one member, or memory that is not 16-byte aligned. */
KP_C kp_status kp_conv_launch_cuda(const kp_conv_task *task, int P, const kp_cuda *cuda, kp_err *err);

/* Floats of the weights, rounded up so that what follows is aligned as well as they are. */
KP_HD int64_t kp_conv_weights(const kp_conv_shape *s) {
    return ((int64_t)s->kernel * s->kernel * s->in.c * s->out.c + 63) / 64 * 64;
}

/* Bytes of scratch that suffice for the products and, with a plan, for weights and `more` bytes. */
KP_HD size_t kp_conv_scratch(int P, const kp_conv_shape *s, size_t products, size_t more) {
    const size_t plan = P == 1 ? (size_t)kp_conv_weights(s) * sizeof(float) + more : 0;
    return products > plan ? products : plan;
}

/* One member's weights, from one order to the other; no overlap. */
KP_C kp_status kp_conv_to_krsc_cuda(const char *op, const kp_conv_shape *shape, const float *hwio,
                                    float *krsc, const kp_cuda *cuda, kp_err *err);
KP_C kp_status kp_conv_to_hwio_cuda(const char *op, const kp_conv_shape *shape, const float *krsc,
                                    float *hwio, const kp_cuda *cuda, kp_err *err);

/* y = ReLU(y) or, with x, y is zero where x <= 0; both [B][image], borders left alone. */
KP_C kp_status kp_relu_rows_cuda(const char *op, int B, kp_image image, const float *x, float *y,
                                 const kp_cuda *cuda, kp_err *err);
