/* dense_backward_data.cu: dy times the transposed W into dx, then the mask of ReLU in place. */
#include "blas_cuda.h"
#include "dense.h"
#include "layer_cuda.h"

template <class T>
static __global__ void __launch_bounds__(KP_LAYER_THREADS)
    mask(const T *__restrict__ x, T *__restrict__ dx, int64_t n) {
    int64_t i = (int64_t)blockIdx.x * KP_LAYER_THREADS + threadIdx.x;
    if (i < n) dx[i] = kp_relu_gradient(dx[i], x[i]);
}

template <class T>
static kp_status mask_all(const kp_dense_backward_data_args *a, const kp_cuda *cuda, kp_err *err) {
    const int64_t n = (int64_t)a->P * a->B * a->in / kp_width<T>;
    return kp_check_cuda(kp_launch(dim3((unsigned)((n + KP_LAYER_THREADS - 1) / KP_LAYER_THREADS)),
                                   dim3(KP_LAYER_THREADS), cuda->stream, mask<T>, (const T *)a->x,
                                   (T *)a->dx, n),
                         "dense_backward_data", err);
}

kp_status kp_dense_backward_data_cuda(const void *args, const kp_cuda *cuda, kp_err *err) {
    const kp_dense_backward_data_args *a = (const kp_dense_backward_data_args *)args;
    kp_gemm g = {};
    g.op = "dense_backward_data", g.count = a->P, g.m = a->B, g.n = a->in, g.k = a->out;
    g.a = a->dy, g.a_stride = (int64_t)a->B * a->out;
    g.b = a->w, g.b_stride = a->param_stride, g.b_transposed = 1;
    g.c = a->dx, g.c_stride = (int64_t)a->B * a->in;
    kp_status st = kp_gemm_cuda(&g, cuda, err);
    if (st || a->x_activation != KP_RELU) return st;
    return kp_by_fours(a->in, a->x, a->dx) ? mask_all<float4>(a, cuda, err)
                                           : mask_all<float>(a, cuda, err);
}
