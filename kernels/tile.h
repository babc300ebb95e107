/* tile.h: the register tile under convolutions and dense layers,
 *
 *     C[r][n] += sum over k of A[r][k] * B[k][n]      rows r < KP_MR, columns n < KP_NR.
 *
 * A is broadcast, one pointer a row, so that the rows may be any pixels, samples or weights: no
 * image is unrolled in memory. B is read as vectors. The sum runs along three nested axes, one
 * fused multiply-add a step into the running value of C: the bits do not depend on the vector
 * width, and a long sum may be interrupted (C stored and loaded again) anywhere. */
#pragma once
#include <string.h>

#include "vec.h"

#if defined(__AVX512F__)
#define KP_MR 10 /* 20 sums; row pointers that fit no register are read from the stack, unnoticed */
#elif defined(__AVX2__) && defined(__FMA__)
#define KP_MR 6 /* 12 sums, two columns and a row value: 15 of 16 registers */
#else
#define KP_MR 4
#endif

#define KP_NR     (2 * KP_VEC)       /* columns of the tile: "a panel" */
#define KP_LINE   16                 /* floats in a cache line */

/* An axis of the sum: n steps; floats from one step to the next in every row of A, and in B. */
typedef struct {
    int n;
    int64_t a, b;
} kp_axis;

typedef struct {
    kp_axis outer, middle, inner;
    const float *ahead; /* NULL, or memory that is wanted soon: at each step of middle ahead_lines are */
    int ahead_lines;    /* asked for; many at once would stand in the way of the sum's own loads */
    int64_t ahead_step; /* floats from one step's first line to the next one's */
} kp_sum;

KP_HD void kp_tile_rows(const int R, const int a_is_dense, const int packs, const float *const *a,
                        const float *b, const kp_sum *sum, float *c, int64_t c_row, int fresh,
                        float *packed) {
    kp_vec s[KP_MR][2];
    const float *row[KP_MR];
    KP_UNROLL for (int r = 0; r < R; r++) {
        /* NOLINTNEXTLINE(clang-analyzer-core.*): callers fill R rows, which it cannot count */
        row[r] = a[r];
        s[r][0] = s[r][1] = kp_vec_all(0);
    }
    if (!fresh) {
        KP_UNROLL for (int r = 0; r < R; r++) {
            s[r][0] = kp_vec_load(c + r * c_row);
            s[r][1] = kp_vec_load(c + r * c_row + KP_VEC);
        }
    }
    const int64_t a_step = a_is_dense ? 1 : sum->inner.a, b_step = sum->inner.b;
    const float *ahead = sum->ahead;
    for (int o = 0; o < sum->outer.n; o++) {
        for (int m = 0; m < sum->middle.n; m++) {
            int64_t at = o * sum->outer.a + m * sum->middle.a;
            const float *p = b + o * sum->outer.b + m * sum->middle.b;
            if (ahead) {
                for (int l = 0; l < sum->ahead_lines; l++) __builtin_prefetch(ahead + l * KP_LINE);
                ahead += sum->ahead_step;
            }
            for (int k = sum->inner.n; k > 0; k--, at += a_step, p += b_step) {
                kp_vec b0 = kp_vec_load(p), b1 = kp_vec_load(p + KP_VEC);
                if (packs) {
                    kp_vec_store(packed, b0), kp_vec_store(packed + KP_VEC, b1);
                    packed += KP_NR;
                }
                KP_UNROLL for (int r = 0; r < R; r++) {
                    kp_vec x = kp_vec_all(row[r][at]);
                    s[r][0] = kp_vec_fma(x, b0, s[r][0]);
                    s[r][1] = kp_vec_fma(x, b1, s[r][1]);
                }
            }
        }
    }
    KP_UNROLL for (int r = 0; r < R; r++) {
        kp_vec_store(c + r * c_row, s[r][0]);
        kp_vec_store(c + r * c_row + KP_VEC, s[r][1]);
    }
}

#define KP_TILE_CASE(R)                                                                            \
    case R:                                                                                        \
        kp_tile_rows(R < KP_MR ? R : KP_MR, dense, packs, a, b, sum, c, c_row, fresh, packed);     \
        break;
#define KP_TILE(name, is_dense, does_pack)                                                         \
    static __attribute__((noinline, unused)) void name(                                            \
        int rows, const float *const *a, const float *b, const kp_sum *sum, float *c,              \
        int64_t c_row, int fresh, float *packed) {                                                 \
        enum { dense = is_dense, packs = does_pack };                                              \
        switch (rows) {                                                                            \
            KP_TILE_CASE(1)                                                                        \
            KP_TILE_CASE(2)                                                                        \
            KP_TILE_CASE(3) KP_TILE_CASE(4) KP_TILE_CASE(5) KP_TILE_CASE(6) KP_TILE_CASE(7)        \
                KP_TILE_CASE(8) KP_TILE_CASE(9) KP_TILE_CASE(10)                                   \
        }                                                                                          \
    }

KP_TILE(kp_tile_any, 0, 0)
KP_TILE(kp_tile_unit, 1, 0)
KP_TILE(kp_tile_packing, 1, 1)

/* One tile: rows <= KP_MR of C, c_row floats apart; fresh: C starts as zero instead of as it is. */
KP_HD void kp_tile(int rows, const float *const *a, const float *b, const kp_sum *sum, float *c,
                   int64_t c_row, int fresh) {
    kp_tile_any(rows, a, b, sum, c, c_row, fresh, NULL);
}

/* The same for sum->inner.a == 1. */
KP_HD void kp_tile_dense(int rows, const float *const *a, const float *b, const kp_sum *sum,
                         float *c, int64_t c_row, int fresh) {
    kp_tile_unit(rows, a, b, sum, c, c_row, fresh, NULL);
}

/* The same, and leaves the panel of B it read in packed, [steps][KP_NR], for the tiles that follow:
 * what packing waits for memory is hidden behind the sums. */
KP_HD void kp_tile_dense_packing(int rows, const float *const *a, const float *b, const kp_sum *sum,
                                 float *c, int64_t c_row, int fresh, float *packed) {
    kp_tile_packing(rows, a, b, sum, c, c_row, fresh, packed);
}

KP_HD int kp_divide_up(int64_t n, int64_t by) { return (int)((n + by - 1) / by); }

/* n rows in tiles of nearly equal size: a last tile of one row would take half a full one's time.
 */
KP_HD int kp_n_tiles(int64_t n) { return kp_divide_up(n, KP_MR); }
KP_HD int kp_n_panels(int n) { return kp_divide_up(n, KP_NR); }

/* Slices for `units` of work that cannot be divided: up to 16 threads for one member, and less work
 * repeated in each slice (packing) where members fill the threads. */
KP_HD int kp_n_slices(int P, int64_t units) {
    int64_t n = P >= 32 ? 1 : P > 2 ? 32 / P : 16;
    return (int)(n < units ? n : units > 0 ? units : 1);
}

/* B's panel [n][KP_NR] from rows of which `columns` are there; the rest is zero. */
KP_HD void kp_pack(float *restrict to, const float *restrict from, int64_t n, int64_t from_row,
                   int columns) {
    if (columns >= KP_NR) {
        for (int64_t i = 0; i < n; i++, to += KP_NR, from += from_row) {
            kp_vec_store(to, kp_vec_load(from));
            kp_vec_store(to + KP_VEC, kp_vec_load(from + KP_VEC));
        }
        return;
    }
    for (int64_t i = 0; i < n; i++, to += KP_NR, from += from_row)
        for (int k = 0; k < KP_NR; k++) to[k] = k < columns ? from[k] : 0.0f;
}

/* to[k][i] = from[i][k] for k < 4, i < n, n a multiple of 4; rows to_row and from_row floats apart.
 */
KP_HD void kp_transpose4(float *to, int64_t to_row, const float *from, int64_t from_row, int n) {
    typedef float vec4 __attribute__((vector_size(16), aligned(4), may_alias));
    for (int i = 0; i < n; i += 4, from += 4 * from_row, to += 4) {
        vec4 r0 = *(const vec4 *)from, r1 = *(const vec4 *)(from + from_row),
             r2 = *(const vec4 *)(from + 2 * from_row), r3 = *(const vec4 *)(from + 3 * from_row);
        vec4 t0 = __builtin_shufflevector(r0, r1, 0, 4, 1, 5),
             t1 = __builtin_shufflevector(r0, r1, 2, 6, 3, 7),
             t2 = __builtin_shufflevector(r2, r3, 0, 4, 1, 5),
             t3 = __builtin_shufflevector(r2, r3, 2, 6, 3, 7);
        *(vec4 *)to = __builtin_shufflevector(t0, t2, 0, 1, 4, 5);
        *(vec4 *)(to + to_row) = __builtin_shufflevector(t0, t2, 2, 3, 6, 7);
        *(vec4 *)(to + 2 * to_row) = __builtin_shufflevector(t1, t3, 0, 1, 4, 5);
        *(vec4 *)(to + 3 * to_row) = __builtin_shufflevector(t1, t3, 2, 3, 6, 7);
    }
}

/* B's panel from memory that lies the other way: to[i][k] = from[k][i]; n rows. */
KP_HD void kp_pack_transposed(float *to, const float *from, int n, int64_t from_row, int columns) {
    for (int k = 0; k < KP_NR; k += 4) {
        int i = 0;
        for (; k + 4 <= columns && i + 4 <= n; i += 4)
            kp_transpose4(to + (int64_t)i * KP_NR + k, KP_NR, from + k * from_row + i, from_row, 4);
        for (; i < n; i++)
            for (int j = k; j < k + 4; j++)
                to[(int64_t)i * KP_NR + j] = j < columns ? from[j * from_row + i] : 0.0f;
    }
}
