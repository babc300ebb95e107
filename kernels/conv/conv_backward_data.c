/* conv_backward_data.c: rows of the tile are one input pixel in several samples: all have the same
 * taps, so that nothing is multiplied that lies outside. Columns are input channels.
 * A slice is a range of input pixels in all samples; slices run together share transposed weights.
 */
#include "conv.h"
#include "tile.h"

static int n_pixels(const kp_conv_backward_data_args *a) { return a->shape.in.h * a->shape.in.w; }

static int n_slices(const void *args) {
    const kp_conv_backward_data_args *a = args;
    return kp_n_slices(a->P, kp_divide_up((int64_t)n_pixels(a) * a->B, 64));
}

static size_t scratch_bytes(const void *args) {
    const kp_conv_shape *s = &((const kp_conv_backward_data_args *)args)->shape;
    return (size_t)kp_n_panels(s->in.c) * (size_t)(s->kernel * s->kernel * s->out.c) * KP_NR *
           sizeof(float);
}

/* The taps of the padded coordinate `at` along one side: k = first, first + stride, ... */
typedef struct {
    int n, first, out; /* out: the output coordinate of the first tap; then out - 1, ... */
} taps;

static taps find_taps(int at, const kp_conv_shape *s, int n_out) {
    int first = at - (n_out - 1) * s->stride;
    if (first < 0) first = at % s->stride;
    int last = at < s->kernel - 1 ? at : s->kernel - 1;
    return (taps){ first > last ? 0 : (last - first) / s->stride + 1, first,
                   (at - first) / s->stride };
}

static void finish(float *restrict dx, const float *restrict x, const float *restrict sum, int n,
                   kp_activation activation) {
    if (activation == KP_RELU)
        for (int i = 0; i < n; i++) dx[i] = kp_relu_gradient(sum[i], x[i]);
    else
        for (int i = 0; i < n; i++) dx[i] = sum[i];
}

static void run(const void *args, int member, kp_slices slices, void *scratch) {
    const kp_conv_backward_data_args *a = args;
    const kp_conv_shape *s = &a->shape;
    const int C = s->in.c, N = s->out.c, k2 = s->kernel * s->kernel, panels = kp_n_panels(C);
    const int64_t in = kp_image_floats(s->in), out = kp_image_floats(s->out),
                  tap = (int64_t)N * KP_NR;
    const float *w = a->w + member * a->param_stride, *dy = a->dy + (int64_t)member * a->B * out,
                *x = a->x + (int64_t)member * a->B * in;
    float *dx = a->dx + (int64_t)member * a->B * in, *packed = scratch;
    for (int p = 0; p < panels; p++)
        for (int k = 0; k < k2; k++)
            kp_pack_transposed(packed + (p * k2 + k) * tap, w + ((int64_t)k * C + p * KP_NR) * N, N,
                               N, C - p * KP_NR);

    const int tiles = kp_n_tiles(a->B);
    int64_t begin, end;
    kp_slice_range(n_pixels(a), n_slices(a), slices, &begin, &end);
    for (int64_t i = begin; i < end; i++) {
        int y = (int)i / s->in.w, x_at = (int)i % s->in.w;
        taps ty = find_taps(y + s->pad_top, s, s->out.h),
             tx = find_taps(x_at + s->pad_left, s, s->out.w);
        const kp_sum sum = { .outer = { ty.n, -kp_image_row(s->out), s->stride * s->kernel * tap },
                             .middle = { tx.n, -N, s->stride * tap },
                             .inner = { N, 1, KP_NR } };
        const int any = ty.n && tx.n;
        const float *from = any ? dy + kp_image_at(s->out, ty.out, tx.out) : dy;
        const int64_t at = kp_image_at(s->in, y, x_at),
                      first = any ? ty.first * s->kernel + tx.first : 0;
        for (int p = 0; p < panels; p++) {
            int columns = C - p * KP_NR < KP_NR ? C - p * KP_NR : KP_NR;
            for (int t = 0; t < tiles; t++) {
                int b = a->B * t / tiles, rows = a->B * (t + 1) / tiles - b;
                const float *row[KP_MR];
                float c[KP_MR * KP_NR];
                for (int r = 0; r < rows; r++) row[r] = from + (b + r) * out;
                kp_tile_dense(rows, row, packed + (p * k2 + first) * tap, &sum, c, KP_NR, 1);
                for (int r = 0; r < rows; r++) {
                    int64_t to = (b + r) * in + at + p * KP_NR;
                    finish(dx + to, x + to, c + r * KP_NR, columns, a->x_activation);
                }
            }
        }
    }
}

const kp_op KP_ISA(kp_op_conv_backward_data) = {
    .name = "conv_backward_data",
    .args_bytes = sizeof(kp_conv_backward_data_args),
    .n_slices = n_slices,
    .scratch_bytes = scratch_bytes,
    .cpu = run,
    .cuda = kp_conv_backward_data_cuda,
    .cuda_scratch_bytes = kp_conv_backward_data_cuda_scratch,
};
