/* squared_error.cu: a block is a member, a thread makes an output. */
#include "squared_error.h"
#include "sum_cuda.h"

static __global__ void __launch_bounds__(KP_SUM_THREADS) squared_error(kp_squared_error_args a) {
    const int64_t n = (int64_t)a.B * a.n_outputs, first = blockIdx.x * n;
    const float share = 1.0f / (float)n;
    float sum = kp_sum_in_order<float>(
        n, 0.0f,
        [&](int64_t i) {
            return kp_squared_error1(a.y[first + i], a.target[first + i], share, &a.dy[first + i]);
        },
        [](float s, float e) { return fmaf(e, e, s); });
    if (!threadIdx.x) a.loss[blockIdx.x] = sum * share;
}

kp_status kp_squared_error_cuda(const void *args, const kp_cuda *cuda, kp_err *err) {
    const kp_squared_error_args *a = (const kp_squared_error_args *)args;
    return kp_check_cuda(kp_launch(dim3(a->P), dim3(KP_SUM_THREADS), cuda->stream, squared_error, *a),
                         "squared_error", err);
}
