/* tally_sum.cu: grid (n_tensors, P); a block looks through the member's chunks for those of its tensor.
 * Counts are integers, so any order has the same bits; 32 of them hold for 2^32 weights a tensor. */
#include "kp_cuda.h"
#include "tally_sum.h"

enum { THREADS = 256, WARPS = THREADS / 32 };

static __global__ void __launch_bounds__(THREADS) sum(kp_tally_sum_args a, const uint8_t *active) {
    if (!active[blockIdx.y]) return;
    KP_SHARED(kp_clip_tally, of_warp, WARPS);
    const kp_clip_tally *tally = a.tally + (int64_t)blockIdx.y * a.n_chunks;
    kp_clip_tally n = { 0, 0 };
    for (int c = threadIdx.x; c < a.n_chunks; c += THREADS) {
        if (a.tensor[c] != (int)blockIdx.x) continue;
        n.outside += tally[c].outside;
        n.non_finite += tally[c].non_finite;
    }
    n.outside = __reduce_add_sync(0xffffffffu, n.outside);
    n.non_finite = __reduce_add_sync(0xffffffffu, n.non_finite);
    if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = n;
    __syncthreads();
    if (threadIdx.x) return;
    for (int w = 1; w < WARPS; w++) {
        n.outside += of_warp[w].outside;
        n.non_finite += of_warp[w].non_finite;
    }
    kp_tensor_tally *total = &a.total[(int64_t)blockIdx.y * a.n_tensors + blockIdx.x];
    total->outside += n.outside;
    total->non_finite = n.non_finite;
}

kp_status kp_tally_sum_cuda(const void *args, const kp_cuda *cuda, kp_err *err) {
    const kp_tally_sum_args *a = (const kp_tally_sum_args *)args;
    return kp_check_cuda(kp_launch(dim3(a->n_tensors, a->P), dim3(THREADS), cuda->stream, sum, *a,
                                   cuda->active),
                         "tally_sum", err);
}
