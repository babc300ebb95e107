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
