/* td_loss.h: the temporal-difference loss of DQN and its gradient with respect to the Q values.
 *
 * target = reward + discount * Q_target(s', a*), a* = argmax of Q_target(s') (Mnih et al. 2015,
 * Methods) or of the online net (double DQN, van Hasselt et al. 2016); the first of equal maxima.
 * mse: mean over B of e^2 (gradient 2 e / B). huber: mean of e^2 / 2 where |e| <= 1, |e| - 1/2
 * elsewhere. The sum over B runs in order of b. */
#pragma once
#include "kp_kernel.h"

typedef enum { KP_MSE, KP_HUBER } kp_td_kind;

typedef struct {
    int P, B, A;
    kp_td_kind kind;
    const float *q;             /* [P][B][A] online, at s */
    const float *q_next;        /* [P][B][A] target net, at s' */
    const float *q_next_online; /* [P][B][A] online net, at s'; NULL: not double */
    const int32_t *action;      /* [P][B] */
    const float *reward;        /* [P][B] discounted sum of n rewards */
    const float *discount;      /* [P][B] gamma^n, 0 where the episode ended within them */
    const float *weight;        /* [P][B] importance weights; NULL: all 1 */
    float *dq;                  /* [P][B][A] gradient of the mean loss */
    float *td;                  /* [P][B] q - target */
    float *loss;                /* [P] */
} kp_td_loss_args;

KP_HD int kp_first_max(const float *q, int n) {
    int best = 0;
    for (int i = 1; i < n; i++)
        if (q[i] > q[best]) best = i;
    return best;
}

/* Sample i of all P * B: its row of dq and its td. Returns its loss, without the weight; share is 1
 * / B. */
KP_HD float kp_td_loss1(const kp_td_loss_args *a, int64_t i, float weight, float share) {
    const float *next = a->q_next + i * a->A;
    int best = kp_first_max(a->q_next_online ? a->q_next_online + i * a->A : next, a->A);
    float target = fmaf(a->discount[i], next[best], a->reward[i]);
    float e = a->q[i * a->A + a->action[i]] - target, size = fabsf(e), loss, slope;
    if (a->kind == KP_MSE) {
        loss = e * e;
        slope = 2.0f * e;
    } else if (size > 1.0f) { /* not for NaN, which must reach the gradient */
        loss = size - 0.5f;
        slope = e > 0.0f ? 1.0f : -1.0f;
    } else {
        loss = 0.5f * e * e;
        slope = e;
    }
    for (int k = 0; k < a->A; k++) a->dq[i * a->A + k] = 0.0f;
    a->dq[i * a->A + a->action[i]] = weight * slope * share;
    a->td[i] = e;
    return loss;
}

KP_CUDA_C kp_status kp_td_loss_cuda(const void *args, const kp_cuda *cuda, kp_err *err);
