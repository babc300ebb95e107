/* softmax_xent.h: cross entropy of a softmax, and its gradient with respect to the logits.
 *
 * loss = mean over B of log(sum_k exp z_k) - z_label, in nats; dz = (softmax(z) - onehot) / B. The
 * largest logit is subtracted first, so nothing overflows. Sums run in index order.
 *
 * The gradient has the same bits everywhere. The loss is reported only, and is as good as the logf at
 * hand: the C library's on the CPU, CUDA's (off by one unit in the last place, at most) on a GPU. */
#pragma once
#include <string.h>

#include "kp_kernel.h"

typedef struct {
    int P, B, n_classes;
    const float *z;       /* [P][B][n_classes] logits */
    const int32_t *label; /* [P][B] 0 .. n_classes - 1 */
    float *dz;            /* [P][B][n_classes] gradient of the mean loss */
    float *loss;          /* [P] */
} kp_softmax_xent_args;

/* exp(x) for x <= 0, NaN for NaN; 0 below -87, where float would become subnormal. x = n ln 2 + r
 * with |r| <= ln(2) / 2, then the series of exp r to r^7 (what is left is below 6e-9). Our own:
 * libm chooses its code by processor, and a difference in the last bit would reach the weights. */
KP_HD float kp_exp_below0(float x) {
    if (!(x >= -87.0f)) return x < -87.0f ? 0.0f : x;
    float n = rintf(x * 0x1.715476p+0f); /* 1 / ln 2 */
    float r = fmaf(n, -0x1.62e4p-1f, x); /* ln 2's first bits: n times it is exact */
    r = fmaf(n, -0x1.7f7d1cp-20f, r);    /* and the rest */
    float y = 0x1.a01a02p-13f;           /* 1 / 7! */
    y = fmaf(y, r, 0x1.6c16c2p-10f);
    y = fmaf(y, r, 0x1.111112p-7f);
    y = fmaf(y, r, 0x1.555556p-5f);
    y = fmaf(y, r, 0x1.555556p-3f);
    y = fmaf(y, r, 0.5f);
    y = fmaf(y, r, 1.0f);
    y = fmaf(y, r, 1.0f);
    uint32_t bits = (uint32_t)((int32_t)n + 127) << 23; /* 2^n, n >= -126 */
    float power;
    memcpy(&power, &bits, sizeof power);
    return y * power;
}

/* Sample i of all P * B: its row of dz = (softmax(z) - onehot) * share; returns its loss. A NaN among
 * the logits reaches all. */
KP_HD float kp_softmax_xent1(const kp_softmax_xent_args *a, int64_t i, float share) {
    const int n = a->n_classes, label = a->label[i];
    const float *__restrict__ z = a->z + i * n;
    float *__restrict__ dz = a->dz + i * n;
    float largest = z[0];
    for (int k = 1; k < n; k++) largest = z[k] > largest ? z[k] : largest;
    for (int k = 0; k < n; k++) dz[k] = kp_exp_below0(z[k] - largest);
    float sum = dz[0];
    for (int k = 1; k < n; k++) sum += dz[k];
    float loss = logf(sum) - (z[label] - largest);
    for (int k = 0; k < n; k++) dz[k] = dz[k] / sum * share;
    dz[label] -= share;
    return loss;
}

KP_C kp_status kp_softmax_xent_cuda(const void *args, const kp_cuda *cuda, kp_err *err);
