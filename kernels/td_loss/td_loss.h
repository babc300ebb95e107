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
