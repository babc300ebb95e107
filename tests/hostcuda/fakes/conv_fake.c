/* conv_fake.c: see conv_fake.h. */
#include "conv_fake.h"

#include <stddef.h>
#include <string.h>

static float *at(const conv_fake_view *v, float *base, int64_t n, int64_t h, int64_t w) {
    return base + n * v->stride[0] + h * v->stride[2] + w * v->stride[3];
}

static void clear(const conv_fake_view *v, float *base) {
    for (int64_t n = 0; n < v->dim[0]; n++)
        for (int64_t h = 0; h < v->dim[2]; h++)
            for (int64_t w = 0; w < v->dim[3]; w++)
                memset(at(v, base, n, h, w), 0, (size_t)v->dim[1] * sizeof(float));
}

static void add(float *to, const float *from, float factor, int64_t n) {
    for (int64_t i = 0; i < n; i++) to[i] += from[i] * factor;
}

static double dot(const float *a, const float *b, int64_t n) {
    enum { LANES = 4 };
    double sum[LANES] = { 0 };
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int k = 0; k < LANES; k++) sum[k] += (double)a[i + k] * (double)b[i + k];
    for (; i < n; i++) sum[0] += (double)a[i] * (double)b[i];
    return sum[0] + sum[1] + (sum[2] + sum[3]);
}

/* All that one value of y has to do with. */
static void do_one(const conv_fake *c, float *x, float *w, float *y, double bias,
                   const int64_t i[4]) {
    const int64_t C = c->x.dim[1];
    double sum = bias;
    for (int64_t r = 0; r < c->w.dim[2]; r++)
        for (int64_t s = 0; s < c->w.dim[3]; s++) {
            float *px = at(&c->x, x, i[0], i[2] * c->stride + r, i[3] * c->stride + s);
            float *pw = at(&c->w, w, i[1], r, s);
            switch (c->kind) {
            case CONV_FAKE_FORWARD: sum += dot(px, pw, C); break;
            case CONV_FAKE_DATA: add(px, pw, *y, C); break;
            case CONV_FAKE_WEIGHTS: add(pw, px, *y, C); break;
            }
        }
    if (c->kind == CONV_FAKE_FORWARD) *y = (float)sum;
}

void conv_fake_run(const conv_fake *c, float *x, float *w, float *y, const float *bias) {
    if (c->kind == CONV_FAKE_DATA) clear(&c->x, x);
    if (c->kind == CONV_FAKE_WEIGHTS) clear(&c->w, w);
    int64_t i[4];
    for (i[0] = 0; i[0] < c->y.dim[0]; i[0]++)
        for (i[2] = 0; i[2] < c->y.dim[2]; i[2]++)
            for (i[3] = 0; i[3] < c->y.dim[3]; i[3]++)
                for (i[1] = 0; i[1] < c->y.dim[1]; i[1]++)
                    do_one(c, x, w, at(&c->y, y, i[0], i[2], i[3]) + i[1],
                           bias ? (double)bias[i[1]] : 0, i);
}
