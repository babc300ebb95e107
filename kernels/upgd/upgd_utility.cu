/* upgd_utility.cu: grid (n_chunks, P); a block owns one chunk, a thread four of its elements. */
#include "upgd_cuda.h"

static __global__ void __launch_bounds__(KP_UPGD_THREADS) update(kp_upgd_utility_args a, const uint8_t *active) {
    if (!active[blockIdx.y]) return;
    size_t chunk = (size_t)blockIdx.y * gridDim.x + blockIdx.x, i = chunk * KP_UPGD_THREADS + threadIdx.x;
    kp_upgd_hyper h = a.hyper[blockIdx.y];
    float scale = a.grad_scale ? a.grad_scale[blockIdx.y] : 1.0f, largest = 0;
    kp_lanes u = kp_load(a.utility, i), x = kp_load(a.theta, i), g = kp_load(a.grad, i);
    for (int k = 0; k < KP_LANES; k++) {
        u.at[k] = kp_upgd_utility1(u.at[k], x.at[k], g.at[k] * scale, h);
        largest = kp_upgd_larger(largest, u.at[k]);
    }
    kp_store(a.utility, i, u);
    largest = kp_upgd_largest(largest);
    if (!threadIdx.x) a.largest[chunk] = largest;
}

kp_status kp_upgd_utility_cuda(const void *args, const kp_cuda *cuda, kp_err *err) {
    const kp_upgd_utility_args *a = (const kp_upgd_utility_args *)args;
    return kp_check_cuda(kp_launch(dim3(a->n_chunks, a->P), dim3(KP_UPGD_THREADS), cuda->stream, update, *a,
                                   cuda->active),
                         "upgd_utility", err);
}
