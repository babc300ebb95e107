/* dense_backward_weights.cu: the transposed x times dy into dw, the columns of dy into dbias. */
#include "blas_cuda.h"
#include "dense.h"
#include "layer_cuda.h"

static kp_image samples_of(const kp_dense_backward_weights_args *a) {
    return kp_image{ 1, 1, a->out, 0, 0, 0, 0 };
}

size_t kp_dense_backward_weights_cuda_scratch(const void *args) {
    const kp_dense_backward_weights_args *a = (const kp_dense_backward_weights_args *)args;
    return kp_column_sums_bytes(a->P, a->B, samples_of(a));
}

kp_status kp_dense_backward_weights_cuda(const void *args, const kp_cuda *cuda, kp_err *err) {
    const kp_dense_backward_weights_args *a = (const kp_dense_backward_weights_args *)args;
    kp_gemm g = {};
    g.op = "dense_backward_weights", g.count = a->P, g.m = a->in, g.n = a->out, g.k = a->B;
    g.a = a->x, g.a_stride = (int64_t)a->B * a->in, g.a_transposed = 1;
    g.b = a->dy, g.b_stride = (int64_t)a->B * a->out;
    g.c = a->dw, g.c_stride = a->param_stride;
    kp_status st = kp_gemm_cuda(&g, cuda, err);
    if (st) return st;

    kp_column_sums f = {};
    f.P = a->P, f.B = a->B, f.image = samples_of(a);
    f.x = a->dy, f.sums = a->dbias, f.sums_stride = a->param_stride, f.scratch = cuda->scratch;
    return kp_column_sums_cuda("dense_backward_weights", &f, cuda, err);
}
