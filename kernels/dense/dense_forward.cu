/* dense_forward.cu: x W into y, then bias and activation in place. */
#include "blas_cuda.h"
#include "dense.h"
#include "layer_cuda.h"

kp_status kp_dense_forward_cuda(const void *args, const kp_cuda *cuda, kp_err *err) {
    const kp_dense_forward_args *a = (const kp_dense_forward_args *)args;
    kp_gemm g = {};
    g.op = "dense_forward", g.count = a->P, g.m = a->B, g.n = a->out, g.k = a->in;
    g.a = a->x, g.a_stride = (int64_t)a->B * a->in;
    g.b = a->w, g.b_stride = a->param_stride;
    g.c = a->y, g.c_stride = (int64_t)a->B * a->out;
    kp_status st = kp_gemm_cuda(&g, cuda, err);
    if (st) return st;

    kp_bias_activation f = {};
    f.P = a->P, f.B = a->B, f.activation = a->activation;
    f.image.h = f.image.w = 1, f.image.c = a->out;
    f.sums = f.y = a->y, f.sums_stride = f.y_stride = g.c_stride;
    f.bias = a->bias, f.param_stride = a->param_stride;
    return kp_bias_activation_cuda("dense_forward", &f, cuda, err);
}
