/* softmax_xent.h: cross entropy of a softmax, and its gradient with respect to the logits.
 *
 * loss = mean over B of log(sum_k exp z_k) - z_label, in nats; dz = (softmax(z) - onehot) / B. The
 * largest logit is subtracted first, so nothing overflows. Sums run in index order.
 *
 * The gradient has the same bits everywhere. The loss is reported only, and is as good as the logf at
 * hand: the C library's on the CPU, CUDA's (off by one unit in the last place, at most) on a GPU. */
#pragma once
#include "elementary.h"

typedef struct {
    int P, B, n_classes;
    const float *z;       /* [P][B][n_classes] logits */
    const int32_t *label; /* [P][B] 0 .. n_classes - 1 */
    float *dz;            /* [P][B][n_classes] gradient of the mean loss */
    float *loss;          /* [P] */
} kp_softmax_xent_args;

/* Sample i of all P * B: its row of dz = (softmax(z) - onehot) * share; returns its loss. A NaN among
 * the logits reaches all. */
KP_HD float kp_softmax_xent1(const kp_softmax_xent_args *a, int64_t i, float share) {
    const int n = a->n_classes, label = a->label[i];
    const float *__restrict__ z = a->z + i * n;
    float *__restrict__ dz = a->dz + i * n;
    float largest = z[0];
    for (int k = 1; k < n; k++) largest = z[k] > largest ? z[k] : largest;
    for (int k = 0; k < n; k++) dz[k] = kp_exp(z[k] - largest);
    float sum = dz[0];
    for (int k = 1; k < n; k++) sum += dz[k];
    float loss = logf(sum) - (z[label] - largest);
    for (int k = 0; k < n; k++) dz[k] = dz[k] / sum * share;
    dz[label] -= share;
    return loss;
}

KP_CUDA_C kp_status kp_softmax_xent_cuda(const void *args, const kp_cuda *cuda, kp_err *err);
