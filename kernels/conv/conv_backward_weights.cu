/* conv_backward_weights.cu: the transposed columns of x times dy; where a member's samples come in
 * several pieces, later ones are added to dw in order. Or by a plan; the bias's gradient is a sum of
 * columns either way. */
#include "blas_cuda.h"
#include "conv_cuda.h"
#include "conv_engine.h"
#include "layer_cuda.h"

typedef struct {
    float *x, *dy; /* columns of a piece */
    void *sums;
    size_t bytes; /* of all three */
} parts;

static kp_piece first_piece(const kp_conv_backward_weights_args *a) {
    return kp_first_piece(a->P, a->B,
                          kp_columns_floats(a->shape) +
                              kp_columns_floats(kp_borderless(a->shape.out)));
}

static parts divide(const kp_conv_backward_weights_args *a, void *scratch) {
    const kp_piece piece = first_piece(a);
    const int64_t x = kp_piece_floats(piece, kp_columns_floats(a->shape)),
                  dy = kp_piece_floats(piece, kp_columns_floats(kp_borderless(a->shape.out)));
    float *at = (float *)scratch;
    return parts{ at, at + x, at + x + dy,
                  (size_t)(x + dy) * sizeof(float) +
                      kp_column_sums_bytes(a->P, a->B, a->shape.out) };
}

size_t kp_conv_backward_weights_cuda_scratch(const void *args) {
    const kp_conv_backward_weights_args *a = (const kp_conv_backward_weights_args *)args;
    return kp_conv_scratch(a->P, &a->shape, divide(a, NULL).bytes,
                           kp_column_sums_bytes(a->P, a->B, a->shape.out));
}

static kp_status run(const kp_conv_backward_weights_args *a, kp_piece piece, parts scratch,
                     const kp_cuda *cuda, kp_err *err) {
    const char *op = "conv_backward_weights";
    const kp_conv_shape s = a->shape;
    kp_columns x, dy;
    kp_status st = kp_columns_cuda(op, s, a->x, a->B, piece, scratch.x, &x, cuda, err);
    if (!st)
        st = kp_columns_cuda(op, kp_borderless(s.out), a->dy, a->B, piece, scratch.dy, &dy, cuda,
                             err);
    if (st) return st;
    kp_gemm g = {};
    g.op = op, g.count = piece.members;
    g.m = (int64_t)s.kernel * s.kernel * s.in.c, g.n = s.out.c,
    g.k = (int64_t)piece.samples * s.out.h * s.out.w;
    g.a = x.at, g.a_stride = x.stride, g.a_transposed = 1;
    g.b = dy.at, g.b_stride = dy.stride;
    g.c = a->dw + piece.p * a->param_stride, g.c_stride = a->param_stride;
    g.adds = piece.b > 0;
    return kp_gemm_cuda(&g, cuda, err);
}

static kp_status sum_bias(const kp_conv_backward_weights_args *a, void *scratch,
                          const kp_cuda *cuda, kp_err *err) {
    kp_column_sums f = {};
    f.P = a->P, f.B = a->B, f.image = a->shape.out;
    f.x = a->dy, f.sums = a->dbias, f.sums_stride = a->param_stride, f.scratch = scratch;
    return kp_column_sums_cuda("conv_backward_weights", &f, cuda, err);
}

static kp_status by_products(const kp_conv_backward_weights_args *a, const kp_cuda *cuda,
                             kp_err *err) {
    const parts scratch = divide(a, cuda->scratch);
    kp_status st = kp_each_piece(a->P, a->B, first_piece(a),
                                 [&](kp_piece piece) { return run(a, piece, scratch, cuda, err); });
    return st ? st : sum_bias(a, scratch.sums, cuda, err);
}

static kp_status by_plan(const kp_conv_backward_weights_args *a, const kp_conv_plan *plan,
                         const kp_cuda *cuda, kp_err *err) {
    float *krsc = (float *)cuda->scratch, *sums = krsc + kp_conv_weights(&a->shape);
    const kp_conv_pointers at = { a->x, a->dy, krsc, NULL };
    kp_status st = cuda->conv->run(cuda->conv, plan, &at, cuda->stream, err);
    if (!st)
        st = kp_conv_to_hwio_cuda("conv_backward_weights", &a->shape, krsc, a->dw, cuda, err);
    return st ? st : sum_bias(a, sums, cuda, err);
}

static kp_status launch(const void *args, const kp_conv_plan *plan, const kp_cuda *cuda,
                        kp_err *err) {
    const kp_conv_backward_weights_args *a = (const kp_conv_backward_weights_args *)args;
    return plan ? by_plan(a, plan, cuda, err) : by_products(a, cuda, err);
}

kp_status kp_conv_backward_weights_cuda(const void *args, const kp_cuda *cuda, kp_err *err) {
    const kp_conv_backward_weights_args *a = (const kp_conv_backward_weights_args *)args;
    const kp_conv_task task = { KP_CONV_BACKWARD_WEIGHTS, a->B,  a->shape,
                                { a->x, a->dy, a->dw, NULL }, a, launch };
    return kp_conv_launch_cuda(&task, a->P, cuda, err);
}
