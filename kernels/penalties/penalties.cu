/* penalties.cu: grid (n_chunks, P); a block owns one chunk, a thread four of its elements. */
#include "lanes_cuda.h"
#include "penalties.h"

enum { THREADS = KP_CHUNK / KP_LANES };

template <bool EWC, bool SI>
static __global__ void __launch_bounds__(THREADS) penalise(kp_penalties_args a, const uint8_t *active) {
    if (!active[blockIdx.y]) return;
    size_t i = ((size_t)blockIdx.y * gridDim.x + blockIdx.x) * THREADS + threadIdx.x;
    kp_penalties_hyper h = a.hyper[blockIdx.y];
    float scale = a.grad_scale ? a.grad_scale[blockIdx.y] : 1.0f;
    kp_lanes x = kp_load(a.theta, i), g = kp_load(a.grad, i), x0 = kp_load_any(a.anchor, i), out;
    if (!a.anchor) h.l2init = 0.0f;
    for (int k = 0; k < KP_LANES; k++) {
        g.at[k] *= scale;
        out.at[k] = kp_penalty(g.at[k], x.at[k], x0.at[k], h.l2, h.l2init);
    }
    if (EWC && h.ewc != 0.0f) {
        kp_lanes fisher = kp_load(a.fisher, i), mean = kp_load(a.mean, i);
        for (int k = 0; k < KP_LANES; k++)
            out.at[k] = kp_ewc1(out.at[k], g.at[k], x.at[k], &fisher.at[k], &mean.at[k], h);
        kp_store(a.fisher, i, fisher);
        kp_store(a.mean, i, mean);
    }
    if (SI && h.si != 0.0f) {
        kp_lanes importance = kp_load(a.importance, i), start = kp_load(a.start, i);
        for (int k = 0; k < KP_LANES; k++)
            out.at[k] = kp_si1(out.at[k], x.at[k], importance.at[k], start.at[k], h);
        kp_store(a.before, i, x);
    }
    kp_store(a.out, i, out);
}

kp_status kp_penalties_cuda(const void *args, const kp_cuda *cuda, kp_err *err) {
    const kp_penalties_args *a = (const kp_penalties_args *)args;
    void (*const kernel[2][2])(kp_penalties_args, const uint8_t *) = {
        { penalise<false, false>, penalise<false, true> },
        { penalise<true, false>, penalise<true, true> },
    };
    return kp_check_cuda(kp_launch(dim3(a->n_chunks, a->P), dim3(THREADS), cuda->stream,
                                   kernel[a->fisher != NULL][a->importance != NULL], *a, cuda->active),
                         "penalties", err);
}
