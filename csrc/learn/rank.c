/* rank.c: eigenvalues of a symmetric matrix by Householder's reduction to a tridiagonal one and
 * implicit QL (Wilkinson & Reinsch 1971, II/2 and II/4; EISPACK's tred1 and imtql1), without
 * vectors.
 *
 * Not LAPACK's: members are measured side by side, one thread each, and Debian's serial OpenBLAS
 * gives wrong numbers when two threads call it, the parallel one has threads of its own, and the
 * reference takes five times as long. */
#include "rank.h"

#include <float.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

enum { LANES = 8, ROWS = 4 };

static double dot(const double *restrict x, const double *restrict y, int n) {
    double lane[LANES] = { 0 }, rest = 0;
    int i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int k = 0; k < LANES; k++) lane[k] += x[i + k] * y[i + k];
    for (; i < n; i++) rest += x[i] * y[i];
    for (int half = LANES / 2; half; half /= 2)
        for (int k = 0; k < half; k++) lane[k] += lane[k + half];
    return lane[0] + rest;
}

static double get(const float *w, int rows, int columns, int stride, int of_columns, int i,
                  int64_t k) {
    if (k >= (of_columns ? rows : columns)) return 0;
    return (double)(of_columns ? w[k * stride + i] : w[(int64_t)i * stride + k]);
}

/* Lower half of g [n][n]: w^T w where columns are fewer, else w w^T. x: [ROWS][n], some vectors of
 * the sum. */
static void gram(double *g, int n, const float *w, int rows, int columns, int stride, double *x) {
    int of_columns = columns <= rows, length = of_columns ? rows : columns;
    memset(g, 0, (size_t)n * (size_t)n * sizeof *g);
    for (int k = 0; k < length; k += ROWS) {
        for (int r = 0; r < ROWS; r++)
            for (int i = 0; i < n; i++)
                x[r * n + i] = get(w, rows, columns, stride, of_columns, i, k + r);
        const double *restrict x0 = x, *restrict x1 = x + n, *restrict x2 = x1 + n,
                               *restrict x3 = x2 + n;
        for (int i = 0; i < n; i++) {
            double *restrict gi = g + (int64_t)i * n, a = x0[i], b = x1[i], c = x2[i], d = x3[i];
            for (int j = 0; j <= i; j++) gi[j] += (a * x0[j] + b * x1[j]) + (c * x2[j] + d * x3[j]);
        }
    }
}

/* p = a u of the leading part, of which the lower half is there. */
static void multiply(const double *restrict a, int n, int part, const double *restrict u,
                     double *restrict p) {
    memset(p, 0, (size_t)part * sizeof *p);
    for (int i = 0; i < part; i++) {
        const double *restrict row = a + (int64_t)i * n;
        double ui = u[i];
        p[i] += dot(row, u, i) + row[i] * ui;
        for (int j = 0; j < i; j++) p[j] += row[j] * ui;
    }
}

/* a: [n][n], its lower half, destroyed. d[n]: diagonal, e[n]: what stands left of it, e[0] = 0. p:
 * [n] */
static void reduce(double *a, int n, double *restrict d, double *restrict e, double *restrict p) {
    for (int i = n - 1; i > 0; i--) {
        double *u = a + (int64_t)i * n, largest = 0;
        for (int k = 0; k < i; k++) largest = fmax(largest, fabs(u[k]));
        d[i] = u[i], e[i] = u[i - 1];
        if (i == 1 || largest == 0) continue;
        for (int k = 0; k < i; k++) u[k] /= largest; /* lest squares underflow */
        double h = dot(u, u, i), f = u[i - 1], g = f >= 0 ? -sqrt(h) : sqrt(h);
        e[i] = largest * g;
        h -= f * g;
        u[i - 1] = f - g;
        multiply(a, n, i, u, p);
        double half = dot(u, p, i) / (2 * h * h);
        for (int k = 0; k < i; k++) p[k] = p[k] / h - half * u[k];
        for (int j = 0; j < i; j++) {
            double *restrict row = a + (int64_t)j * n, uj = u[j], pj = p[j];
            for (int k = 0; k <= j; k++) row[k] -= uj * p[k] + pj * u[k];
        }
    }
    d[0] = a[0], e[0] = 0;
}

/* One implicit QL step on d[l .. m], e[i] between d[i] and d[i + 1]. */
static void ql_step(double *d, double *e, int l, int m) {
    double g = (d[l + 1] - d[l]) / (2 * e[l]), s = 1, c = 1, p = 0;
    g = d[m] - d[l] + e[l] / (g + copysign(hypot(g, 1), g));
    for (int i = m - 1; i >= l; i--) {
        double f = s * e[i], b = c * e[i], r = sqrt(f * f + g * g);
        e[i + 1] = r;
        if (r == 0) { /* a split has come about */
            d[i + 1] -= p, e[m] = 0;
            return;
        }
        s = f / r, c = g / r;
        g = d[i + 1] - p;
        r = (d[i] - g) * s + 2 * c * b;
        p = s * r;
        d[i + 1] = g + p;
        g = c * r - b;
    }
    d[l] -= p, e[l] = g, e[m] = 0;
}

/* d becomes the eigenvalues. Always converges in a few steps each; the limit is for what is not
 * finite. */
static void solve(double *d, double *e, int n) {
    enum { MOST_STEPS = 60 };
    for (int i = 1; i < n; i++) e[i - 1] = e[i];
    e[n - 1] = 0;
    for (int l = 0; l < n; l++)
        for (int step = 0; step < MOST_STEPS; step++) {
            int m = l;
            while (m < n - 1 && fabs(e[m]) > DBL_EPSILON * (fabs(d[m]) + fabs(d[m + 1]))) m++;
            if (m == l) break;
            ql_step(d, e, l, m);
        }
}

size_t kp_rank_room(int rows, int columns) {
    size_t n = (size_t)(rows < columns ? rows : columns);
    return n * n + (1 + ROWS) * n;
}

/* s: [n] singular values */
static kp_rank rank_of(const double *s, int n, double tolerance) {
    kp_rank r = { 0, 0 };
    double sum = 0, largest = 0, entropy = 0;
    for (int i = 0; i < n; i++) sum += s[i], largest = fmax(largest, s[i]);
    if (!(sum > 0)) return r;
    for (int i = 0; i < n; i++) {
        double p = s[i] / sum;
        if (p > 0) entropy -= p * log(p);
        r.numerical += s[i] > tolerance * largest;
    }
    r.effective = exp(entropy);
    return r;
}

kp_rank kp_rank_of(const float *w, int rows, int columns, int stride, double *scratch) {
    int n = rows < columns ? rows : columns, larger = rows < columns ? columns : rows;
    double *s = scratch, *a = s + n, *e = a + (int64_t)n * n; /* e: [ROWS][n] */
    gram(a, n, w, rows, columns, stride, e);
    reduce(a, n, s, e, e + n);
    solve(s, e, n);
    for (int i = 0; i < n; i++) s[i] = s[i] > 0 ? sqrt(s[i]) : 0;
    return rank_of(s, n, larger * 0x1p-23);
}
