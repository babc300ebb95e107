/* dense_backward_data.c: rows of the tile are inputs, columns are samples: the weights are the
 * operand that is broadcast, read once and as they lie. A slice is a range of inputs; those
 * run together share the transposed dy. */
#include "dense.h"
#include "tile.h"

enum {
    BLOCK = 8 * KP_MR, /* inputs: their weights stay in cache while the samples change */
    DEPTH = 256,       /* outputs: their part of dy's panel stays in the first-level cache */
    CHUNK = 4,         /* steps of the sum between lines of weights fetched ahead */
    LINES = (KP_MR * CHUNK + KP_LINE - 1) / KP_LINE, /* as many as are used up meanwhile */
};

static int n_slices(const void *args) {
    const kp_dense_backward_data_args *a = args;
    return kp_n_slices(a->P, kp_divide_up(a->in, 2 * BLOCK));
}

static size_t scratch_bytes(const void *args) {
    const kp_dense_backward_data_args *a = args;
    return (size_t)kp_n_panels(a->B) * (size_t)(a->out + BLOCK) * KP_NR * sizeof(float);
}

/* dx of inputs i0 .. i0 + n - 1 from sums [panel][BLOCK][KP_NR], turned round by fours. */
static void finish(const kp_dense_backward_data_args *a, const float *x, float *dx,
                   const float *sums, int64_t i0, int n) {
    for (int b = 0; b < a->B; b += 4) {
        const float *sum = sums + (int64_t)(b / KP_NR) * BLOCK * KP_NR + b % KP_NR;
        float turned[4 * BLOCK];
        kp_transpose4(turned, BLOCK, sum, KP_NR, BLOCK);
        for (int k = 0; k < 4 && b + k < a->B; k++) {
            const int64_t at = (int64_t)(b + k) * a->in + i0;
            const float *restrict from = turned + k * BLOCK, *restrict x_at = x + at;
            float *restrict to = dx + at;
            if (a->x_activation == KP_RELU)
                for (int i = 0; i < n; i++) to[i] = kp_relu_gradient(from[i], x_at[i]);
            else
                for (int i = 0; i < n; i++) to[i] = from[i];
        }
    }
}

typedef struct {
    const float *begin, *end; /* what is left of the next block of weights, to be fetched ahead */
} ahead;

/* Adds the outputs of one block of depth to the sums of n inputs and one panel of samples. */
static void sum_block(const kp_dense_backward_data_args *a, const float *w, int n,
                      const float *packed, int depth, float *sums, int fresh, ahead *ahead) {
    const int tiles = kp_n_tiles(n), chunk = depth % CHUNK ? depth : CHUNK;
    kp_sum sum = { .outer = { 1, 0, 0 },
                   .middle = { depth / chunk, chunk, chunk * KP_NR },
                   .inner = { chunk, 1, KP_NR },
                   .ahead_lines = LINES,
                   .ahead_step = LINES * KP_LINE };
    for (int t = 0; t < tiles; t++) {
        int i = n * t / tiles, rows = n * (t + 1) / tiles - i;
        const float *row[KP_MR];
        for (int r = 0; r < rows; r++) row[r] = w + (int64_t)(i + r) * a->out;
        sum.ahead = ahead->begin < ahead->end ? ahead->begin : NULL;
        ahead->begin += sum.middle.n * LINES * KP_LINE;
        kp_tile_dense(rows, row, packed, &sum, sums + i * KP_NR, KP_NR, fresh);
    }
}

static void run(const void *args, int member, kp_slices slices, void *scratch) {
    const kp_dense_backward_data_args *a = args;
    const float *w = a->w + member * a->param_stride, *dy = a->dy + (int64_t)member * a->B * a->out,
                *x = a->x + (int64_t)member * a->B * a->in;
    float *dx = a->dx + (int64_t)member * a->B * a->in;
    const int panels = kp_n_panels(a->B);
    float *packed = scratch, *sums = packed + (int64_t)panels * a->out * KP_NR;
    for (int p = 0; p < panels; p++)
        kp_pack_transposed(packed + (int64_t)p * a->out * KP_NR, dy + (int64_t)p * KP_NR * a->out,
                           a->out, a->out, a->B - p * KP_NR);

    int64_t begin, end;
    kp_slice_range(a->in, n_slices(a), slices, &begin, &end);
    for (int64_t i0 = begin; i0 < end; i0 += BLOCK) {
        int n = end - i0 < BLOCK ? (int)(end - i0) : BLOCK;
        ahead next = { w + (i0 + n) * a->out, w + (i0 + 2 * n < end ? i0 + 2 * n : end) * a->out };
        for (int p = 0; p < panels; p++)
            for (int k = 0; k < a->out; k += DEPTH)
                sum_block(a, w + i0 * a->out + k, n, packed + ((int64_t)p * a->out + k) * KP_NR,
                          a->out - k < DEPTH ? a->out - k : DEPTH, sums + p * BLOCK * KP_NR, k == 0,
                          &next);
        finish(a, x, dx, sums, i0, n);
    }
}

const kp_op KP_ISA(kp_op_dense_backward_data) = {
    .name = "dense_backward_data",
    .args_bytes = sizeof(kp_dense_backward_data_args),
    .n_slices = n_slices,
    .scratch_bytes = scratch_bytes,
    .cpu = run,
    .cuda = kp_dense_backward_data_cuda,
};
