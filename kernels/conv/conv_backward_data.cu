/* conv_backward_data.cu: dy times the transposed w gives the gradients of x's columns; each pixel
 * of dx gathers from them what its taps got, in the order (ky, kx). Or by a plan, and ReLU's mask
 * after it. */
#include "blas_cuda.h"
#include "conv_cuda.h"
#include "conv_engine.h"
#include "layer_cuda.h"

/* Unlike the image, its gradients are never their own columns: mask and border come after. */
static int64_t columns_floats(const kp_conv_shape *s) {
    return (int64_t)s->out.h * s->out.w * s->kernel * s->kernel * s->in.c;
}

static kp_piece first_piece(const kp_conv_backward_data_args *a) {
    return kp_first_piece(a->P, a->B,
                          columns_floats(&a->shape) +
                              kp_columns_floats(kp_borderless(a->shape.out)));
}

size_t kp_conv_backward_data_cuda_scratch(const void *args) {
    const kp_conv_backward_data_args *a = (const kp_conv_backward_data_args *)args;
    const kp_piece piece = first_piece(a);
    const size_t products =
        (size_t)(kp_piece_floats(piece, columns_floats(&a->shape)) +
                 kp_piece_floats(piece, kp_columns_floats(kp_borderless(a->shape.out)))) *
        sizeof(float);
    return kp_conv_scratch(a->P, &a->shape, products, 0);
}

/* Grid (in.h of all samples, members); a block makes one row of dx. Offsets of x and dx: images of
 * B samples a member. */
template <class T>
static __global__ void __launch_bounds__(KP_LAYER_THREADS)
    col2im(const T *__restrict__ columns, kp_conv_shape s, kp_activation activation,
           const T *__restrict__ x, T *__restrict__ dx, int64_t stride) {
    const int c = s.in.c, K = s.kernel * s.kernel * c, n = s.in.w * c;
    const int64_t member = blockIdx.y, sample = blockIdx.x / s.in.h, n_samples = gridDim.x / s.in.h;
    const int y = (int)(blockIdx.x % s.in.h), padded_y = y + s.pad_top;
    const int64_t at = member * stride + sample * kp_image_floats(s.in) + kp_image_at(s.in, y, 0);
    columns += (member * n_samples + sample) * s.out.h * s.out.w * K;
    for (int i = (int)threadIdx.x; i < n; i += (int)blockDim.x) {
        const int padded_x = i / c + s.pad_left;
        T sum = {};
        for (int ky = padded_y % s.stride, oy = padded_y / s.stride; ky < s.kernel && oy >= 0;
             ky += s.stride, oy--) {
            if (oy >= s.out.h) continue;
            for (int kx = padded_x % s.stride, ox = padded_x / s.stride; kx < s.kernel && ox >= 0;
                 kx += s.stride, ox--)
                if (ox < s.out.w)
                    sum = kp_add(sum, columns[(int64_t)(oy * s.out.w + ox) * K +
                                              (ky * s.kernel + kx) * c + i % c]);
        }
        dx[at + i] = activation == KP_RELU ? kp_relu_gradient(sum, x[at + i]) : sum;
    }
}

template <class T>
static kp_status gather(const kp_conv_backward_data_args *a, kp_piece piece, const float *columns,
                        const kp_cuda *cuda, kp_err *err) {
    const int width = kp_width<T>;
    const int64_t in = kp_image_floats(a->shape.in), at = ((int64_t)piece.p * a->B + piece.b) * in;
    kp_conv_shape s = a->shape;
    s.in.c /= width;
    return kp_check_cuda(kp_launch(dim3((unsigned)piece.samples * (unsigned)s.in.h,
                                        (unsigned)piece.members),
                                   kp_layer_block((int64_t)s.in.w * s.in.c), cuda->stream,
                                   col2im<T>, (const T *)columns, s, a->x_activation,
                                   (const T *)(a->x + at), (T *)(a->dx + at), a->B * in / width),
                         "conv_backward_data", err);
}

static kp_status run(const kp_conv_backward_data_args *a, kp_piece piece, float *columns,
                     float *scratch, const kp_cuda *cuda, kp_err *err) {
    const kp_conv_shape s = a->shape;
    kp_columns dy;
    kp_status st = kp_columns_cuda("conv_backward_data", kp_borderless(s.out), a->dy, a->B, piece,
                                   scratch, &dy, cuda, err);
    if (st) return st;
    kp_gemm g = {};
    g.op = "conv_backward_data", g.count = piece.members;
    g.m = (int64_t)piece.samples * s.out.h * s.out.w, g.n = (int64_t)s.kernel * s.kernel * s.in.c,
    g.k = s.out.c;
    g.a = dy.at, g.a_stride = dy.stride;
    g.b = a->w + piece.p * a->param_stride, g.b_stride = a->param_stride, g.b_transposed = 1;
    g.c = columns, g.c_stride = g.m * g.n;
    st = kp_gemm_cuda(&g, cuda, err);
    if (st) return st;
    return kp_by_fours(s.in.c, a->x, a->dx) ? gather<float4>(a, piece, columns, cuda, err)
                                            : gather<float>(a, piece, columns, cuda, err);
}

static kp_status by_products(const kp_conv_backward_data_args *a, const kp_cuda *cuda,
                             kp_err *err) {
    const kp_piece first = first_piece(a);
    float *columns = (float *)cuda->scratch,
          *dy = columns + kp_piece_floats(first, columns_floats(&a->shape));
    return kp_each_piece(a->P, a->B, first,
                         [&](kp_piece piece) { return run(a, piece, columns, dy, cuda, err); });
}

static kp_status by_plan(const kp_conv_backward_data_args *a, const kp_conv_plan *plan,
                         const kp_cuda *cuda, kp_err *err) {
    const char *op = "conv_backward_data";
    float *krsc = (float *)cuda->scratch;
    const kp_conv_pointers at = { a->dx, a->dy, krsc, NULL };
    kp_status st = kp_conv_to_krsc_cuda(op, &a->shape, a->w, krsc, cuda, err);
    if (!st) st = cuda->conv->run(cuda->conv, plan, &at, cuda->stream, err);
    if (st || a->x_activation != KP_RELU) return st;
    return kp_relu_rows_cuda(op, a->B, a->shape.in, a->x, a->dx, cuda, err);
}

static kp_status launch(const void *args, const kp_conv_plan *plan, const kp_cuda *cuda,
                        kp_err *err) {
    const kp_conv_backward_data_args *a = (const kp_conv_backward_data_args *)args;
    return plan ? by_plan(a, plan, cuda, err) : by_products(a, cuda, err);
}

kp_status kp_conv_backward_data_cuda(const void *args, const kp_cuda *cuda, kp_err *err) {
    const kp_conv_backward_data_args *a = (const kp_conv_backward_data_args *)args;
    const kp_conv_task task = { KP_CONV_BACKWARD_DATA, a->B,  a->shape,
                                { a->dx, a->dy, a->w, NULL }, a, launch };
    return kp_conv_launch_cuda(&task, a->P, cuda, err);
}
