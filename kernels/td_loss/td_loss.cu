/* td_loss.cu: a block is a member, a thread makes a sample. */
#include "sum_cuda.h"
#include "td_loss.h"

static __global__ void __launch_bounds__(KP_SUM_THREADS) td_loss(kp_td_loss_args a) {
    const float share = 1.0f / (float)a.B;
    const int64_t first = (int64_t)blockIdx.x * a.B;
    float sum = kp_sum_in_order<float2>(
        a.B, 0.0f,
        [&](int64_t b) {
            float weight = a.weight ? a.weight[first + b] : 1.0f;
            return float2{ weight, kp_td_loss1(&a, first + b, weight, share) };
        },
        [](float s, float2 t) { return fmaf(t.x, t.y, s); });
    if (!threadIdx.x) a.loss[blockIdx.x] = sum * share;
}

kp_status kp_td_loss_cuda(const void *args, const kp_cuda *cuda, kp_err *err) {
    const kp_td_loss_args *a = (const kp_td_loss_args *)args;
    return kp_check_cuda(kp_launch(dim3(a->P), dim3(KP_SUM_THREADS), cuda->stream, td_loss, *a), "td_loss",
                         err);
}
