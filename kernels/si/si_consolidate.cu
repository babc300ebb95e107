/* si_consolidate.cu: grid (n_chunks, P); a block owns one chunk, a thread four of its elements. */
#include "lanes_cuda.h"
#include "si.h"

enum { THREADS = KP_CHUNK / KP_LANES };

static __global__ void __launch_bounds__(THREADS) consolidate(kp_si_consolidate_args a, const uint8_t *active) {
    if (!active[blockIdx.y]) return;
    size_t i = ((size_t)blockIdx.y * gridDim.x + blockIdx.x) * THREADS + threadIdx.x;
    kp_lanes importance = kp_load(a.importance, i), path = kp_load(a.path, i), x = kp_load(a.theta, i),
             start = kp_load(a.start, i);
    float xi = a.xi[blockIdx.y];
    for (int k = 0; k < KP_LANES; k++)
        importance.at[k] = kp_si_importance1(importance.at[k], path.at[k], x.at[k], start.at[k], xi);
    kp_store(a.importance, i, importance);
    kp_store(a.path, i, kp_lanes{});
    kp_store(a.start, i, x);
}

kp_status kp_si_consolidate_cuda(const void *args, const kp_cuda *cuda, kp_err *err) {
    const kp_si_consolidate_args *a = (const kp_si_consolidate_args *)args;
    return kp_check_cuda(kp_launch(dim3(a->n_chunks, a->P), dim3(THREADS), cuda->stream, consolidate, *a,
                                   cuda->active),
                         "si_consolidate", err);
}
