/* conv.h: two-dimensional convolution (cross-correlation, as in PyTorch) with bias and activation.
 *
 * Weights are [kernel][kernel][in.c][out.c] ("HWIO"), member p at w + p * stride_p, bias likewise.
 * The padding is read from the input's border: pad_top <= in.top and so on. All sums run in the
 * order (ky, kx, c) or (sample, y, x), one fused multiply-add at a time, y from the bias, gradients
 * from zero: the bits are the same on every vector width and for every number of threads. */
#pragma once
#include "image.h"

typedef struct {
    kp_image in, out;      /* out.h = (in.h + pad_top + pad_bottom - kernel) / stride + 1, out.w likewise */
    int kernel, stride;    /* square */
    int pad_top, pad_left; /* those at the far sides follow from out.h and out.w */
} kp_conv_shape;

typedef struct {
    int P, B;
    kp_conv_shape shape;
    kp_activation activation;
    const float *x;      /* [P][B][in] */
    const float *w;      /* [kernel][kernel][in.c][out.c], one a member */
    const float *bias;   /* [out.c], one a member */
    int64_t param_stride; /* floats from one member's w (and bias) to the next one's */
    float *y;            /* [P][B][out]; its border is left alone */
} kp_conv_forward_args;

typedef struct {
    int P, B;
    kp_conv_shape shape;
    const float *dy; /* [P][B][out] gradient before the activation; border not read */
    const float *w;
    int64_t param_stride;
    const float *x; /* [P][B][in] the layer's input; where its activation was ReLU, dx is zero at x <= 0 */
    kp_activation x_activation;
    float *dx; /* [P][B][in]; border unspecified afterwards */
} kp_conv_backward_data_args;

typedef struct {
    int P, B;
    kp_conv_shape shape;
    const float *x;  /* [P][B][in] */
    const float *dy; /* [P][B][out] */
    float *dw;       /* [kernel][kernel][in.c][out.c], one a member; overwritten */
    float *dbias;    /* [out.c], one a member; overwritten */
    int64_t param_stride;
} kp_conv_backward_weights_args;

/* On CUDA: matrix products (conv_cuda.h), so sums run in cuBLAS's order. */
KP_CUDA_C kp_status kp_conv_forward_cuda(const void *args, const kp_cuda *cuda, kp_err *err);
KP_CUDA_C size_t kp_conv_forward_cuda_scratch(const void *args);
KP_CUDA_C kp_status kp_conv_backward_data_cuda(const void *args, const kp_cuda *cuda, kp_err *err);
KP_CUDA_C size_t kp_conv_backward_data_cuda_scratch(const void *args);
KP_CUDA_C kp_status kp_conv_backward_weights_cuda(const void *args, const kp_cuda *cuda, kp_err *err);
KP_CUDA_C size_t kp_conv_backward_weights_cuda_scratch(const void *args);
