/* dense.h: y = activation(x W + b) for every member.
 *
 * Weights are input-major, [in][out], member p at w + p * param_stride, bias likewise. All sums run
 * in index order (inputs, outputs or samples), one fused multiply-add at a time, y from the bias,
 * gradients from zero: the bits are the same on every vector width and for every number of threads. */
#pragma once
#include "image.h"

typedef struct {
    int P, B, in, out;
    kp_activation activation;
    const float *x;    /* [P][B][in] */
    const float *w;    /* [in][out], one a member */
    const float *bias; /* [out], one a member */
    int64_t param_stride;
    float *y; /* [P][B][out] */
} kp_dense_forward_args;

typedef struct {
    int P, B, in, out;
    const float *dy; /* [P][B][out] gradient before the activation */
    const float *w;
    int64_t param_stride;
    const float *x; /* [P][B][in] the layer's input; where its activation was ReLU, dx is zero at x <= 0 */
    kp_activation x_activation;
    float *dx; /* [P][B][in] */
} kp_dense_backward_data_args;

typedef struct {
    int P, B, in, out;
    const float *x;  /* [P][B][in] */
    const float *dy; /* [P][B][out] */
    float *dw;       /* [in][out], one a member; overwritten */
    float *dbias;    /* [out], one a member; overwritten */
    int64_t param_stride;
} kp_dense_backward_weights_args;

/* On CUDA sums run in cuBLAS's order. */
KP_CUDA_C kp_status kp_dense_forward_cuda(const void *args, const kp_cuda *cuda, kp_err *err);
KP_CUDA_C kp_status kp_dense_backward_data_cuda(const void *args, const kp_cuda *cuda, kp_err *err);
KP_CUDA_C kp_status kp_dense_backward_weights_cuda(const void *args, const kp_cuda *cuda, kp_err *err);
KP_CUDA_C size_t kp_dense_backward_weights_cuda_scratch(const void *args);
