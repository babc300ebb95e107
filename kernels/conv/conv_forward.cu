/* conv_forward.cu: columns of x times w, then bias and activation into y's interior; or by a plan
 * that adds the bias, and ReLU after it, which keeps NaN. */
#include "blas_cuda.h"
#include "conv_cuda.h"
#include "conv_engine.h"
#include "layer_cuda.h"

static int64_t sums_floats(const kp_conv_shape *s) {
    return (int64_t)s->out.h * s->out.w * s->out.c;
}

static kp_piece first_piece(const kp_conv_forward_args *a) {
    return kp_first_piece(a->P, a->B, kp_columns_floats(a->shape) + sums_floats(&a->shape));
}

size_t kp_conv_forward_cuda_scratch(const void *args) {
    const kp_conv_forward_args *a = (const kp_conv_forward_args *)args;
    const kp_piece piece = first_piece(a);
    const size_t products = (size_t)(kp_piece_floats(piece, sums_floats(&a->shape)) +
                                     kp_piece_floats(piece, kp_columns_floats(a->shape))) *
                            sizeof(float);
    return kp_conv_scratch(a->P, &a->shape, products, 0);
}

static kp_status run(const kp_conv_forward_args *a, kp_piece piece, float *sums, float *scratch,
                     const kp_cuda *cuda, kp_err *err) {
    const kp_conv_shape s = a->shape;
    const int64_t pixels = (int64_t)s.out.h * s.out.w, out = kp_image_floats(s.out);
    const float *w = a->w + piece.p * a->param_stride, *bias = a->bias + piece.p * a->param_stride;
    kp_columns x;
    kp_status st = kp_columns_cuda("conv_forward", s, a->x, a->B, piece, scratch, &x, cuda, err);
    if (st) return st;

    kp_gemm g = {};
    g.op = "conv_forward", g.count = piece.members;
    g.m = piece.samples * pixels, g.n = s.out.c, g.k = (int64_t)s.kernel * s.kernel * s.in.c;
    g.a = x.at, g.a_stride = x.stride;
    g.b = w, g.b_stride = a->param_stride;
    g.c = sums, g.c_stride = g.m * g.n;
    st = kp_gemm_cuda(&g, cuda, err);
    if (st) return st;

    kp_bias_activation f = {};
    f.P = piece.members, f.B = piece.samples, f.image = s.out, f.activation = a->activation;
    f.sums = sums, f.sums_stride = g.c_stride;
    f.bias = bias, f.param_stride = a->param_stride;
    f.y = a->y + ((int64_t)piece.p * a->B + piece.b) * out, f.y_stride = a->B * out;
    return kp_bias_activation_cuda("conv_forward", &f, cuda, err);
}

static kp_status by_products(const kp_conv_forward_args *a, const kp_cuda *cuda, kp_err *err) {
    const kp_piece first = first_piece(a);
    float *sums = (float *)cuda->scratch,
          *columns = sums + kp_piece_floats(first, sums_floats(&a->shape));
    return kp_each_piece(a->P, a->B, first,
                         [&](kp_piece piece) { return run(a, piece, sums, columns, cuda, err); });
}

static kp_status by_plan(const kp_conv_forward_args *a, const kp_conv_plan *plan,
                         const kp_cuda *cuda, kp_err *err) {
    const char *op = "conv_forward";
    float *krsc = (float *)cuda->scratch;
    const kp_conv_pointers at = { a->x, a->y, krsc, a->bias };
    kp_status st = kp_conv_to_krsc_cuda(op, &a->shape, a->w, krsc, cuda, err);
    if (!st) st = cuda->conv->run(cuda->conv, plan, &at, cuda->stream, err);
    if (st || a->activation != KP_RELU) return st;
    return kp_relu_rows_cuda(op, a->B, a->shape.out, NULL, a->y, cuda, err);
}

static kp_status launch(const void *args, const kp_conv_plan *plan, const kp_cuda *cuda,
                        kp_err *err) {
    const kp_conv_forward_args *a = (const kp_conv_forward_args *)args;
    return plan ? by_plan(a, plan, cuda, err) : by_products(a, cuda, err);
}

kp_status kp_conv_forward_cuda(const void *args, const kp_cuda *cuda, kp_err *err) {
    const kp_conv_forward_args *a = (const kp_conv_forward_args *)args;
    const kp_conv_task task = { KP_CONV_FORWARD, a->B,   a->shape, { a->x, a->y, a->w, a->bias },
                                a,               launch };
    return kp_conv_launch_cuda(&task, a->P, cuda, err);
}
