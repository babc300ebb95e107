/* rank.c: ranks of matrices whose singular values are known. */
#include "learn/rank.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/philox.h"

enum { MAX = 90 };

/* A reflection I - 2 v v^T / v^T v, which is its own inverse. */
static void reflect(double *x, int n, int stride, uint64_t seed) {
    double v[MAX], vv = 0, vx = 0;
    for (int i = 0; i < n; i++) {
        v[i] = (double)kp_uniform(kp_philox(seed, KP_STREAM_TEST, (uint64_t)i).x[0]) - 0.3;
        vv += v[i] * v[i], vx += v[i] * x[i * stride];
    }
    for (int i = 0; i < n; i++) x[i * stride] -= 2 * v[i] * vx / vv;
}

/* w: [rows][stride] with the singular values s, in directions of nobody's choice. */
static void make(float *w, int rows, int columns, int stride, const double *s) {
    static double a[MAX * MAX];
    memset(a, 0, sizeof a);
    for (int i = 0; i < rows && i < columns; i++) a[i * columns + i] = s[i];
    for (uint64_t seed = 1; seed <= 3; seed++) {
        for (int j = 0; j < columns; j++) reflect(a + j, rows, columns, seed);
        for (int i = 0; i < rows; i++) reflect(a + i * columns, columns, 1, 10 + seed);
    }
    for (int i = 0; i < rows * stride; i++) w[i] = NAN; /* padding is not read */
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < columns; j++) w[i * stride + j] = (float)a[i * columns + j];
}

static double entropy_rank(const double *s, int n) {
    double sum = 0, entropy = 0;
    for (int i = 0; i < n; i++) sum += s[i];
    for (int i = 0; i < n; i++)
        if (s[i] > 0) entropy -= s[i] / sum * log(s[i] / sum);
    return exp(entropy);
}

static const struct {
    const char *name;
    int rows, columns;
    double first, ratio; /* singular values: first, first * ratio, ... */
    int n, numerical;    /* n of them, then zeros */
    double tolerance;
} cases[] = {
    { "all alike", 40, 30, 2, 1, 30, 30, 1e-6 },
    { "all alike, wide", 30, 47, 2, 1, 30, 30, 1e-6 },
    { "falling", 40, 30, 5, 0.8, 30, 30, 1e-5 },
    { "some zeros", 40, 30, 1, 0.9, 17, 17, 1e-5 },
    { "some zeros, wide", 17, 90, 1, 0.9, 9, 9, 1e-5 },
    { "one direction", 33, 33, 3, 1, 1, 1, 1e-5 },
    { "far apart", 20, 20, 1, 1e-2, 20, 3, 1e-4 }, /* 1e-6 and below: under 20 * 2^-23 */
    { "tiny", 24, 16, 1e-25, 0.9, 16, 16, 1e-5 },
    { "huge", 24, 16, 1e30, 0.9, 16, 16, 1e-5 },
    { "one column", 50, 1, 4, 1, 1, 1, 1e-12 },
    { "two columns", 50, 2, 4, 0.5, 2, 2, 1e-6 },
    { "one row", 1, 50, 4, 1, 1, 1, 1e-12 },
};

Test(rank, of_known_singular_values) {
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int rows = cases[i].rows, columns = cases[i].columns, stride = columns + 3;
        double s[MAX] = { 0 };
        for (int k = 0; k < cases[i].n; k++) s[k] = cases[i].first * pow(cases[i].ratio, k);
        float *w = malloc((size_t)(rows * stride) * sizeof *w);
        double *scratch = malloc(kp_rank_room(rows, columns) * sizeof *scratch);
        make(w, rows, columns, stride, s);
        kp_rank r = kp_rank_of(w, rows, columns, stride, scratch);
        double want = entropy_rank(s, rows < columns ? rows : columns);
        cr_expect(fabs(r.effective - want) <= cases[i].tolerance * want, "%s: %.9g, not %.9g",
                  cases[i].name, r.effective, want);
        cr_expect_eq(r.numerical, cases[i].numerical, "%s: %d", cases[i].name, r.numerical);
        free(w);
        free(scratch);
    }
}

Test(rank, of_zeros_is_0) {
    float w[12] = { 0 };
    double *scratch = malloc(kp_rank_room(4, 3) * sizeof *scratch);
    kp_rank r = kp_rank_of(w, 4, 3, 3, scratch);
    cr_expect(r.effective == 0 && r.numerical == 0);
    free(scratch);
}

/* It ends, whatever it is given. */
Test(rank, of_what_is_not_finite, .timeout = 30) {
    float w[30 * 20];
    double *scratch = malloc(kp_rank_room(30, 20) * sizeof *scratch);
    for (int i = 0; i < 600; i++) w[i] = i % 7 ? 1.0f : NAN;
    kp_rank_of(w, 30, 20, 20, scratch);
    free(scratch);
}
