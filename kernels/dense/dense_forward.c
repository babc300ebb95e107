/* dense_forward.c: rows of the tile are samples, columns are outputs. The weights are read once, in
 * blocks of inputs, by the first tile, which packs them for the others; the sums of all samples
 * wait in between. A slice is a range of panels. */
#include "dense.h"
#include "tile.h"

enum {
    BLOCK = 128,   /* inputs */
    MAX_CHUNK = 4, /* steps of the sum for each row of weights fetched ahead */
};

static int n_slices(const void *args) {
    const kp_dense_forward_args *a = args;
    return kp_n_slices(a->P, kp_n_panels(a->out));
}

static size_t scratch_bytes(const void *args) {
    const kp_dense_forward_args *a = args;
    return ((size_t)kp_n_panels(a->out) * (size_t)a->B + BLOCK) * KP_NR * sizeof(float);
}

static void run(const void *args, int member, kp_slices slices, void *scratch) {
    const kp_dense_forward_args *a = args;
    const float *w = a->w + member * a->param_stride, *bias = a->bias + member * a->param_stride,
                *x = a->x + (int64_t)member * a->B * a->in;
    float *y = a->y + (int64_t)member * a->B * a->out;
    const int tiles = kp_n_tiles(a->B);
    int64_t begin, end;
    kp_slice_range(kp_n_panels(a->out), n_slices(a), slices, &begin, &end);
    float *packed = scratch, *sums = packed + BLOCK * KP_NR; /* sums: [panel][B][KP_NR] */

    for (int64_t p = begin; p < end; p++)
        for (int b = 0; b < a->B; b++)
            kp_pack(sums + ((p - begin) * a->B + b) * KP_NR, bias + p * KP_NR, 1, 0,
                    a->out - (int)p * KP_NR);
    for (int k = 0; k < a->in; k += BLOCK) {
        int n = a->in - k < BLOCK ? a->in - k : BLOCK;
        int chunk = tiles < MAX_CHUNK ? 2 : MAX_CHUNK; /* tiles fetch n / chunk rows each */
        if (n % chunk) chunk = n;
        kp_sum sum = { .outer = { 1, 0, 0 },
                       .middle = { n / chunk, chunk, chunk * KP_NR },
                       .inner = { chunk, 1, KP_NR },
                       .ahead_lines = KP_NR / KP_LINE,
                       .ahead_step = a->out };
        kp_sum first = { .outer = { 1, 0, 0 },
                         .middle = { n / chunk, chunk, (int64_t)chunk * a->out },
                         .inner = { chunk, 1, a->out },
                         .ahead_lines = KP_NR / KP_LINE,
                         .ahead_step = a->out };
        for (int64_t p = begin; p < end; p++) {
            const float *w_at = w + (int64_t)k * a->out + p * KP_NR;
            const int columns = a->out - (int)p * KP_NR;
            if (columns < KP_NR) kp_pack(packed, w_at, n, a->out, columns);
            for (int t = 0; t < tiles; t++) {
                int b = a->B * t / tiles, rows = a->B * (t + 1) / tiles - b;
                const float *row[KP_MR];
                float *c = sums + ((p - begin) * a->B + b) * KP_NR;
                for (int r = 0; r < rows; r++) row[r] = x + (int64_t)(b + r) * a->in + k;
                int ahead = n + t * (n / chunk);
                sum.ahead = first.ahead = ahead < 2 * n && k + ahead < a->in
                                              ? w_at + (int64_t)ahead * a->out
                                              : NULL;
                if (t == 0 && columns >= KP_NR)
                    kp_tile_dense_packing(rows, row, w_at, &first, c, KP_NR, 0, packed);
                else kp_tile_dense(rows, row, packed, &sum, c, KP_NR, 0);
            }
        }
    }
    for (int64_t p = begin; p < end; p++) {
        int columns = a->out - (int)p * KP_NR < KP_NR ? a->out - (int)p * KP_NR : KP_NR;
        for (int b = 0; b < a->B; b++) {
            const float *sum = sums + ((p - begin) * a->B + b) * KP_NR;
            float *to = y + (int64_t)b * a->out + p * KP_NR;
            if (a->activation == KP_RELU)
                for (int i = 0; i < columns; i++) to[i] = kp_relu(sum[i]);
            else
                for (int i = 0; i < columns; i++) to[i] = sum[i];
        }
    }
}

const kp_op KP_ISA(kp_op_dense_forward) = {
    .name = "dense_forward",
    .args_bytes = sizeof(kp_dense_forward_args),
    .n_slices = n_slices,
    .scratch_bytes = scratch_bytes,
    .cpu = run,
    .cuda = kp_dense_forward_cuda,
};
