/* td_stats.cu: a block is a member, a thread takes the largest Q value of a sample. */
#include "sum_cuda.h"
#include "td_stats.h"

static __global__ void __launch_bounds__(KP_SUM_THREADS) td_stats(kp_td_stats_args a, const uint8_t *active) {
    if (!active[blockIdx.x]) return;
    const float *q = a.q + (int64_t)blockIdx.x * a.B * a.A;
    double sum = kp_sum_in_order<float>(
        a.B, 0.0, [&](int64_t b) { return kp_max_q(q + b * a.A, a.A); },
        [](double s, float best) { return s + (double)best; });
    if (threadIdx.x) return;
    kp_td_sums *sums = &a.sums[blockIdx.x];
    sums->loss += (double)a.loss[blockIdx.x];
    sums->q_max += sum / a.B;
    sums->n++;
}

kp_status kp_td_stats_cuda(const void *args, const kp_cuda *cuda, kp_err *err) {
    const kp_td_stats_args *a = (const kp_td_stats_args *)args;
    return kp_check_cuda(kp_launch(dim3(a->P), dim3(KP_SUM_THREADS), cuda->stream, td_stats, *a,
                                   cuda->active),
                         "td_stats", err);
}
