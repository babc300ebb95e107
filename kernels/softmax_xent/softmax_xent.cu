/* softmax_xent.cu: a block is a member, a thread makes a sample. */
#include "softmax_xent.h"
#include "sum_cuda.h"

static __global__ void __launch_bounds__(KP_SUM_THREADS) softmax_xent(kp_softmax_xent_args a) {
    const float share = 1.0f / (float)a.B;
    const int64_t first = (int64_t)blockIdx.x * a.B;
    float sum = kp_sum_in_order<float>(
        a.B, 0.0f, [&](int64_t b) { return kp_softmax_xent1(&a, first + b, share); },
        [](float s, float loss) { return s + loss; });
    if (!threadIdx.x) a.loss[blockIdx.x] = sum * share;
}

kp_status kp_softmax_xent_cuda(const void *args, const kp_cuda *cuda, kp_err *err) {
    const kp_softmax_xent_args *a = (const kp_softmax_xent_args *)args;
    return kp_check_cuda(kp_launch(dim3(a->P), dim3(KP_SUM_THREADS), cuda->stream, softmax_xent, *a),
                         "softmax_xent", err);
}
