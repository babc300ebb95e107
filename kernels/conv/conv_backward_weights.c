/* conv_backward_weights.c: rows of the tile are weights (ky, kx, c), columns are output channels;
 * the sum runs over samples and output pixels, in blocks that stay in cache, dw being the running
 * sum. A slice is a range of tiles of weights. */
#include "conv.h"
#include "tile.h"

enum { BLOCK = 200, MAX_LINES = 4 }; /* output pixels, about */

static int depth(const kp_conv_shape *s) { return s->kernel * s->kernel * s->in.c; }

static int n_slices(const void *args) {
    const kp_conv_backward_weights_args *a = args;
    return kp_n_slices(a->P, kp_n_tiles(depth(&a->shape)));
}

/* How the pixels are cut: whole samples, or output rows of one. */
typedef struct {
    int samples, rows;
} cut;

static cut cut_of(const kp_conv_backward_weights_args *a) {
    kp_image o = a->shape.out;
    int area = o.h * o.w;
    if (area > BLOCK) {
        int n = kp_divide_up(area, BLOCK);
        return (cut){ 1, kp_divide_up(o.h, n) };
    }
    int n = BLOCK / area;
    return (cut){ n < a->B ? n : a->B, o.h };
}

static size_t scratch_bytes(const void *args) {
    const kp_conv_backward_weights_args *a = args;
    cut c = cut_of(a);
    return (size_t)c.samples * (size_t)(c.rows * a->shape.out.w) * KP_NR * sizeof(float);
}

static void sum_tile(int rows, const float *const *row, const float *b, const kp_sum *sum,
                     float *dw, int C, int columns) {
    if (columns >= KP_NR) {
        kp_tile(rows, row, b, sum, dw, C, 0);
        return;
    }
    float c[KP_MR * KP_NR] = { 0 };
    for (int r = 0; r < rows; r++)
        for (int k = 0; k < columns; k++) c[r * KP_NR + k] = dw[(int64_t)r * C + k];
    kp_tile(rows, row, b, sum, c, KP_NR, 0);
    for (int r = 0; r < rows; r++)
        for (int k = 0; k < columns; k++) dw[(int64_t)r * C + k] = c[r * KP_NR + k];
}

typedef struct {
    const float *begin, *end;
} range;

typedef struct {
    const kp_conv_backward_weights_args *a;
    const float *x, *dy; /* the member's */
    float *dw, *dbias;   /* dbias: NULL where another slice makes it */
    float *packed;
    int64_t tile_begin, tile_end;
    range next[2];   /* what the next block reads of x and dy, to be fetched ahead */
    int ahead_lines; /* at each step, so that the tiles fetch all of it */
} work;

/* Cuts the rows into pieces, between which lines are fetched ahead; ranges shrink as they are asked
 * for. */
static void cut_rows(kp_sum *sum) {
    int n = sum->inner.n, chunk = n % 4 == 0 ? 4 : n % 5 == 0 ? 5 : n % 3 == 0 ? 3 : n;
    sum->outer = sum->middle;
    sum->middle = (kp_axis){ n / chunk, chunk * sum->inner.a, chunk * sum->inner.b };
    sum->inner.n = chunk;
}

static const float *next_lines(range *next, int64_t n_lines) {
    range *r = next[0].begin < next[0].end ? &next[0] : &next[1];
    const float *at = r->begin;
    if (at >= r->end) return NULL;
    r->begin += n_lines * KP_LINE;
    return at;
}

/* Output rows y0 .. y0 + rows - 1 of samples b0 .. b0 + samples - 1, one panel. */
static void sum_block(work *w, int b0, int samples, int y0, int rows, int panel) {
    const kp_conv_shape *s = &w->a->shape;
    const int C = s->out.c, columns = C - panel * KP_NR, K = depth(s), tiles = kp_n_tiles(K);
    const int64_t in_row = kp_image_row(s->in), out_row = kp_image_row(s->out);
    const float *x = w->x + b0 * kp_image_floats(s->in) +
                     kp_image_at(s->in, y0 * s->stride - s->pad_top, -s->pad_left);
    const float *dy = w->dy + b0 * kp_image_floats(s->out) + kp_image_at(s->out, y0, 0) +
                      panel * KP_NR;
    kp_sum sum = { .outer = { samples, kp_image_floats(s->in), kp_image_floats(s->out) },
                   .middle = { rows, s->stride * in_row, out_row },
                   .inner = { s->out.w, s->stride * s->in.c, C } };
    if (columns < KP_NR) {
        for (int b = 0; b < samples; b++)
            for (int y = 0; y < rows; y++)
                kp_pack(w->packed + (int64_t)(b * rows + y) * s->out.w * KP_NR,
                        dy + b * sum.outer.b + y * out_row, s->out.w, C, columns);
        dy = w->packed;
        sum.inner.b = KP_NR, sum.middle.b = s->out.w * KP_NR, sum.outer.b = rows * sum.middle.b;
    }
    if (samples == 1) {
        cut_rows(&sum);
        if (panel == 0) {
            w->next[0] = (range){ x + rows * s->stride * in_row,
                                  x + 2 * rows * s->stride * in_row };
            w->next[1] = (range){ dy + rows * out_row, dy + 2 * rows * out_row };
            int64_t lines = rows * (s->stride * in_row + out_row) / KP_LINE,
                    steps = (w->tile_end - w->tile_begin) * sum.outer.n * sum.middle.n;
            w->ahead_lines = kp_divide_up(lines, steps > 0 ? steps : 1);
            if (w->ahead_lines > MAX_LINES) w->ahead_lines = MAX_LINES;
        }
    }
    sum.ahead_lines = w->ahead_lines, sum.ahead_step = w->ahead_lines * KP_LINE;
    for (int64_t t = w->tile_begin; t < w->tile_end; t++) {
        if (samples == 1)
            sum.ahead = next_lines(w->next, w->ahead_lines * sum.outer.n * sum.middle.n);
        int k = (int)(K * t / tiles), n = (int)(K * (t + 1) / tiles) - k,
            segment = s->kernel * s->in.c;
        const float *row[KP_MR];
        for (int r = 0; r < n; r++) row[r] = x + (k + r) / segment * in_row + (k + r) % segment;
        sum_tile(n, row, dy, &sum, w->dw + (int64_t)k * C + panel * KP_NR, C, columns);
    }
    if (w->dbias) {
        static const float one = 1.0f;
        const float *row[1] = { &one };
        sum.ahead = NULL;
        sum.outer.a = sum.middle.a = sum.inner.a = 0;
        sum_tile(1, row, dy, &sum, w->dbias + panel * KP_NR, C, columns);
    }
}

static void run(const void *args, int member, kp_slices slices, void *scratch) {
    const kp_conv_backward_weights_args *a = args;
    const kp_conv_shape *s = &a->shape;
    const int C = s->out.c, K = depth(s), tiles = kp_n_tiles(K);
    work w = { .a = a,
               .x = a->x + (int64_t)member * a->B * kp_image_floats(s->in),
               .dy = a->dy + (int64_t)member * a->B * kp_image_floats(s->out),
               .dw = a->dw + member * a->param_stride,
               .dbias = slices.begin == 0 ? a->dbias + member * a->param_stride : NULL,
               .packed = scratch };
    kp_slice_range(tiles, n_slices(a), slices, &w.tile_begin, &w.tile_end);
    int64_t first = K * w.tile_begin / tiles, last = K * w.tile_end / tiles;
    memset(w.dw + first * C, 0, (size_t)((last - first) * C) * sizeof(float));
    if (w.dbias) memset(w.dbias, 0, (size_t)C * sizeof(float));

    cut c = cut_of(a);
    for (int b = 0; b < a->B; b += c.samples)
        for (int y = 0; y < s->out.h; y += c.rows)
            for (int p = 0; p < kp_n_panels(C); p++)
                sum_block(&w, b, a->B - b < c.samples ? a->B - b : c.samples, y,
                          s->out.h - y < c.rows ? s->out.h - y : c.rows, p);
}

const kp_op KP_ISA(kp_op_conv_backward_weights) = {
    .name = "conv_backward_weights",
    .args_bytes = sizeof(kp_conv_backward_weights_args),
    .n_slices = n_slices,
    .scratch_bytes = scratch_bytes,
    .cpu = run,
    .cuda = kp_conv_backward_weights_cuda,
    .cuda_scratch_bytes = kp_conv_backward_weights_cuda_scratch,
};
