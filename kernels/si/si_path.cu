/* si_path.cu: grid (n_chunks, P); a block owns one chunk, a thread four of its elements. */
#include "lanes_cuda.h"
#include "si.h"

enum { THREADS = KP_CHUNK / KP_LANES };

static __global__ void __launch_bounds__(THREADS) follow(kp_si_path_args a, const uint8_t *active) {
    if (!active[blockIdx.y]) return;
    size_t i = ((size_t)blockIdx.y * gridDim.x + blockIdx.x) * THREADS + threadIdx.x;
    kp_lanes path = kp_load(a.path, i), x = kp_load(a.theta, i), before = kp_load(a.before, i),
             g = kp_load(a.grad, i);
    for (int k = 0; k < KP_LANES; k++)
        path.at[k] = kp_si_path1(path.at[k], x.at[k], before.at[k], g.at[k]);
    kp_store(a.path, i, path);
}

kp_status kp_si_path_cuda(const void *args, const kp_cuda *cuda, kp_err *err) {
    const kp_si_path_args *a = (const kp_si_path_args *)args;
    return kp_check_cuda(kp_launch(dim3(a->n_chunks, a->P), dim3(THREADS), cuda->stream, follow, *a,
                                   cuda->active),
                         "si_path", err);
}
