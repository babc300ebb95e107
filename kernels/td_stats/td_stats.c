/* td_stats.c: one slice a member; a few hundred additions. */
#include "td_stats.h"

static int n_slices(const void *args) {
    (void)args;
    return 1;
}

static void run(const void *args, int member, kp_slices slices, void *scratch) {
    (void)slices, (void)scratch;
    const kp_td_stats_args *a = args;
    const float *q = a->q + (int64_t)member * a->B * a->A;
    double sum = 0;
    for (int b = 0; b < a->B; b++) sum += (double)kp_max_q(q + (int64_t)b * a->A, a->A);
    a->sums[member].loss += (double)a->loss[member];
    a->sums[member].q_max += sum / a->B;
    a->sums[member].n++;
}

const kp_op KP_ISA(kp_op_td_stats) = {
    .name = "td_stats",
    .args_bytes = sizeof(kp_td_stats_args),
    .n_slices = n_slices,
    .cpu = run,
    .cuda = kp_td_stats_cuda,
};
