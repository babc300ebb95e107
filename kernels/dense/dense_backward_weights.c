/* dense_backward_weights.c: rows of the tile are inputs, columns are outputs; the sum runs over the
 * samples, and dw is written once. A slice is a range of tiles of inputs; those run together
 * share packed dy. */
#include "dense.h"
#include "tile.h"

static int n_slices(const void *args) {
    const kp_dense_backward_weights_args *a = args;
    return kp_n_slices(a->P, kp_divide_up(kp_n_tiles(a->in), 8));
}

static size_t scratch_bytes(const void *args) {
    const kp_dense_backward_weights_args *a = args;
    return (size_t)kp_n_panels(a->out) * (size_t)a->B * KP_NR * sizeof(float);
}

static void sum_tile(int rows, const float *const *row, const float *packed, const kp_sum *sum,
                     float *to, int out, int columns) {
    if (columns >= KP_NR) {
        kp_tile(rows, row, packed, sum, to, out, 1);
        return;
    }
    float c[KP_MR * KP_NR];
    kp_tile(rows, row, packed, sum, c, KP_NR, 1);
    for (int r = 0; r < rows; r++)
        for (int k = 0; k < columns; k++) to[(int64_t)r * out + k] = c[r * KP_NR + k];
}

static void run(const void *args, int member, kp_slices slices, void *scratch) {
    const kp_dense_backward_weights_args *a = args;
    const float *x = a->x + (int64_t)member * a->B * a->in,
                *dy = a->dy + (int64_t)member * a->B * a->out;
    float *dw = a->dw + member * a->param_stride, *dbias = a->dbias + member * a->param_stride;
    const int panels = kp_n_panels(a->out), tiles = kp_n_tiles(a->in);
    float *packed = scratch;
    for (int p = 0; p < panels; p++)
        kp_pack(packed + (int64_t)p * a->B * KP_NR, dy + p * KP_NR, a->B, a->out,
                a->out - p * KP_NR);
    const kp_sum sum = { .outer = { 1, 0, 0 },
                         .middle = { 1, 0, 0 },
                         .inner = { a->B, a->in, KP_NR } };

    int64_t begin, end;
    kp_slice_range(tiles, n_slices(a), slices, &begin, &end);
    for (int64_t t = begin; t < end; t++) {
        int64_t i = a->in * t / tiles;
        int rows = (int)(a->in * (t + 1) / tiles - i);
        const float *row[KP_MR];
        for (int r = 0; r < rows; r++) row[r] = x + i + r;
        for (int p = 0; p < panels; p++)
            sum_tile(rows, row, packed + (int64_t)p * a->B * KP_NR, &sum,
                     dw + i * a->out + p * KP_NR, a->out, a->out - p * KP_NR);
    }
    if (slices.begin == 0) {
        static const float one = 1.0f;
        const float *row[1] = { &one };
        kp_sum ones = sum;
        ones.inner.a = 0;
        for (int p = 0; p < panels; p++)
            sum_tile(1, row, packed + (int64_t)p * a->B * KP_NR, &ones, dbias + p * KP_NR, a->out,
                     a->out - p * KP_NR);
    }
}

const kp_op KP_ISA(kp_op_dense_backward_weights) = {
    .name = "dense_backward_weights",
    .args_bytes = sizeof(kp_dense_backward_weights_args),
    .n_slices = n_slices,
    .scratch_bytes = scratch_bytes,
    .cpu = run,
    .cuda = kp_dense_backward_weights_cuda,
    .cuda_scratch_bytes = kp_dense_backward_weights_cuda_scratch,
};
