/* conv_forward.c: rows of the tile are output pixels, wherever they lie; columns are output
 * channels. A slice is a range of tiles of all samples' pixels; slices run together
 * share packed weights. */
#include "conv.h"
#include "tile.h"

enum {
    BLOCK = 16, /* tiles whose inputs stay in cache while the panels change */
    AHEAD = 16, /* tiles whose inputs are being fetched */
    CHUNK = 4,  /* steps of the sum for each line fetched */
};

static int64_t n_pixels(const kp_conv_forward_args *a) {
    return (int64_t)a->B * a->shape.out.h * a->shape.out.w;
}

static int depth(const kp_conv_shape *s) { return s->kernel * s->kernel * s->in.c; }

static int n_slices(const void *args) {
    const kp_conv_forward_args *a = args;
    return kp_n_slices(a->P, kp_divide_up(n_pixels(a), 64));
}

static size_t scratch_bytes(const void *args) {
    const kp_conv_forward_args *a = args;
    return (size_t)kp_n_panels(a->shape.out.c) * (size_t)(depth(&a->shape) + 1) * KP_NR *
           sizeof(float);
}

static void finish(float *restrict y, const float *restrict sum, int n, kp_activation activation) {
    if (activation == KP_RELU)
        for (int i = 0; i < n; i++) y[i] = kp_relu(sum[i]);
    else
        for (int i = 0; i < n; i++) y[i] = sum[i];
}

static void run(const void *args, int member, kp_slices slices, void *scratch) {
    const kp_conv_forward_args *a = args;
    const kp_conv_shape *s = &a->shape;
    const float *w = a->w + member * a->param_stride, *bias = a->bias + member * a->param_stride;
    const float *x = a->x + (int64_t)member * a->B * kp_image_floats(s->in);
    float *y = a->y + (int64_t)member * a->B * kp_image_floats(s->out);
    const int K = depth(s), C = s->out.c, panels = kp_n_panels(C), segment = s->kernel * s->in.c;
    float *packed = scratch, *start = packed + (int64_t)panels * K * KP_NR;
    for (int p = 0; p < panels; p++) {
        kp_pack(packed + (int64_t)p * K * KP_NR, w + p * KP_NR, K, C, C - p * KP_NR);
        kp_pack(start + p * KP_NR, bias + p * KP_NR, 1, C, C - p * KP_NR);
    }
    const int chunk = segment % CHUNK ? segment : CHUNK;
    kp_sum sum = { .outer = { s->kernel, kp_image_row(s->in), (int64_t)segment * KP_NR },
                   .middle = { segment / chunk, chunk, chunk * KP_NR },
                   .inner = { chunk, 1, KP_NR },
                   .ahead_lines = 1,
                   .ahead_step = KP_LINE };
    const int64_t x_floats = a->B * kp_image_floats(s->in);

    int64_t n = n_pixels(a), begin, end;
    const int tiles = kp_n_tiles(n), area = s->out.h * s->out.w;
    kp_slice_range(tiles, n_slices(a), slices, &begin, &end);
    for (int64_t t0 = begin; t0 < end; t0 += BLOCK) {
        int64_t t1 = t0 + BLOCK < end ? t0 + BLOCK : end, first = n * t0 / tiles;
        const float *from[BLOCK * KP_MR];
        float *to[BLOCK * KP_MR];
        for (int64_t i = first; i < n * t1 / tiles; i++) {
            int b = (int)(i / area), oy = (int)(i % area) / s->out.w,
                ox = (int)(i % area) % s->out.w;
            from[i - first] = x + b * kp_image_floats(s->in) +
                              kp_image_at(s->in, oy * s->stride - s->pad_top,
                                          ox * s->stride - s->pad_left);
            to[i - first] = y + b * kp_image_floats(s->out) + kp_image_at(s->out, oy, ox);
        }
        for (int p = 0; p < panels; p++) {
            int columns = C - p * KP_NR < KP_NR ? C - p * KP_NR : KP_NR;
            for (int64_t t = t0; t < t1; t++) {
                int64_t i = n * t / tiles - first;
                int rows = (int)(n * (t + 1) / tiles - first - i);
                float c[KP_MR * KP_NR];
                /* for writing: another core may have read these lines last */
                for (int r = 0; r < rows; r++)
                    for (int k = 0; k < columns; k += KP_LINE)
                        /* the loop above has filled these rows;
                         * NOLINTNEXTLINE(clang-analyzer-core.*) */
                        __builtin_prefetch(to[i + r] + p * KP_NR + k, 1);
                int64_t ahead = x_floats * (t + AHEAD) / tiles + s->kernel * kp_image_row(s->in);
                sum.ahead = p == 0 && ahead < x_floats ? x + ahead : NULL;
                for (int r = 0; r < rows; r++)
                    memcpy(c + r * KP_NR, start + p * KP_NR, KP_NR * sizeof *c);
                kp_tile_dense(rows, from + i, packed + (int64_t)p * K * KP_NR, &sum, c, KP_NR, 0);
                for (int r = 0; r < rows; r++) /* the loop above has filled these rows */
                    /* NOLINTNEXTLINE(clang-analyzer-core.*) */
                    finish(to[i + r] + p * KP_NR, c + r * KP_NR, columns, a->activation);
            }
        }
    }
}

const kp_op KP_ISA(kp_op_conv_forward) = {
    .name = "conv_forward",
    .args_bytes = sizeof(kp_conv_forward_args),
    .n_slices = n_slices,
    .scratch_bytes = scratch_bytes,
    .cpu = run,
    .cuda = kp_conv_forward_cuda,
    .cuda_scratch_bytes = kp_conv_forward_cuda_scratch,
};
