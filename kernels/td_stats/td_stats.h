/* td_stats.h: running sums of what a DQN logs, so that nothing is read back from the device between
 * two lines of the log. */
#pragma once
#include "kp_kernel.h"

typedef struct {
    double loss;  /* sum over updates */
    double q_max; /* sum over updates of the minibatch's mean of max_a Q(s, a) */
    int64_t n;    /* updates */
} kp_td_sums;

typedef struct {
    int P, B, A;
    const float *q;    /* [P][B][A] */
    const float *loss; /* [P] */
    kp_td_sums *sums;  /* [P] added to */
} kp_td_stats_args;

KP_HD float kp_max_q(const float *q, int n) {
    float best = q[0];
    for (int i = 1; i < n; i++) best = q[i] > best ? q[i] : best;
    return best;
}

KP_CUDA_C kp_status kp_td_stats_cuda(const void *args, const kp_cuda *cuda, kp_err *err);
