/* dense_backward_data.c: rows of the tile are inputs, columns are samples: the weights are the operand
 * that is broadcast, read once and as they lie. A slice is a range of inputs; it transposes dy for
 * itself. */
#include "dense.h"
#include "tile.h"

enum { BLOCK = 8 * KP_MR }; /* inputs that are written to dx together */

static int n_slices(const void *args) {
    const kp_dense_backward_data_args *a = args;
    return kp_n_slices(a->P, kp_divide_up(a->in, 2 * BLOCK));
}

static size_t scratch_bytes(const void *args) {
    const kp_dense_backward_data_args *a = args;
    return (size_t)kp_n_panels(a->B) * (size_t)(a->out + BLOCK) * KP_NR * sizeof(float);
}

/* dx of inputs i0 .. i0 + n - 1 from sums [panel][BLOCK][KP_NR]. */
static void finish(const kp_dense_backward_data_args *a, const float *x, float *dx, const float *sums,
                   int64_t i0, int n) {
    for (int b = 0; b < a->B; b++) {
        const float *restrict sum = sums + (int64_t)(b / KP_NR) * BLOCK * KP_NR + b % KP_NR;
        const float *restrict x_at = x + (int64_t)b * a->in + i0;
        float *restrict to = dx + (int64_t)b * a->in + i0;
        if (a->x_activation == KP_RELU)
            for (int i = 0; i < n; i++) to[i] = x_at[i] <= 0.0f ? 0.0f : sum[i * KP_NR];
        else
            for (int i = 0; i < n; i++) to[i] = sum[i * KP_NR];
    }
}

static void run(const void *args, int member, int slice, void *scratch) {
    const kp_dense_backward_data_args *a = args;
    const float *w = a->w + member * a->param_stride, *dy = a->dy + (int64_t)member * a->B * a->out,
                *x = a->x + (int64_t)member * a->B * a->in;
    float *dx = a->dx + (int64_t)member * a->B * a->in;
    const int panels = kp_n_panels(a->B);
    float *packed = scratch, *sums = packed + (int64_t)panels * a->out * KP_NR;
    for (int p = 0; p < panels; p++)
        kp_pack_transposed(packed + (int64_t)p * a->out * KP_NR, dy + (int64_t)p * KP_NR * a->out, a->out,
                           a->out, a->B - p * KP_NR);
    const kp_sum sum = { { 1, 0, 0 }, { 1, 0, 0 }, { a->out, 1, KP_NR } };

    int64_t begin, end;
    kp_slice_range(a->in, n_slices(a), slice, &begin, &end);
    for (int64_t i0 = begin; i0 < end; i0 += BLOCK) {
        int n = end - i0 < BLOCK ? (int)(end - i0) : BLOCK, tiles = kp_n_tiles(n);
        for (int t = 0; t < tiles; t++) {
            int i = n * t / tiles, rows = n * (t + 1) / tiles - i;
            const float *row[KP_MR];
            for (int r = 0; r < rows; r++) row[r] = w + (i0 + i + r) * a->out;
            for (int p = 0; p < panels; p++)
                kp_tile_dense(rows, row, packed + (int64_t)p * a->out * KP_NR, &sum,
                              sums + (p * BLOCK + i) * KP_NR, KP_NR, 1);
        }
        finish(a, x, dx, sums, i0, n);
    }
}

const kp_op KP_ISA(kp_op_dense_backward_data) = {
    .name = "dense_backward_data",
    .args_bytes = sizeof(kp_dense_backward_data_args),
    .n_slices = n_slices,
    .scratch_bytes = scratch_bytes,
    .cpu = run,
};
