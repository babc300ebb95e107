/* shift_clip.cu: grid (n_chunks, P); a block owns one chunk, a thread four of its elements. */
#include "clip_cuda.h"
#include "lanes_cuda.h"
#include "shift_clip.h"

static __global__ void __launch_bounds__(KP_CLIP_THREADS) update(kp_shift_clip_args a, const uint8_t *active) {
    if (!active[blockIdx.y]) return;
    size_t member = blockIdx.y, chunk = member * gridDim.x + blockIdx.x;
    size_t i = chunk * KP_CLIP_THREADS + threadIdx.x;
    kp_shift_hyper h = a.hyper[member];
    float bound = a.bound[member * a.n_tensors + a.tensor[blockIdx.x]];
    kp_lanes x = kp_load(a.theta, i), z = kp_load_any(a.noise, i), x0 = kp_load_any(a.anchor, i);
    if (!a.noise) h.noise = 0.0f;
    if (!a.anchor) h.pull = 0.0f;
    if (a.anchor && h.takes_anchor) kp_store(a.anchor, i, x0 = x);
    uint32_t counts = 0;
    for (int k = 0; k < KP_LANES; k++) {
        float y = kp_shift_by(h.keep * x.at[k], h.noise, z.at[k]);
        x.at[k] = kp_clip_tallied(kp_shift_by(y, h.pull, x0.at[k]), bound, &counts);
    }
    kp_store(a.theta, i, x);
    kp_tally_chunk(counts, bound, &a.tally[chunk]);
}

kp_status kp_shift_clip_cuda(const void *args, const kp_cuda *cuda, kp_err *err) {
    const kp_shift_clip_args *a = (const kp_shift_clip_args *)args;
    return kp_check_cuda(kp_launch(dim3(a->n_chunks, a->P), dim3(KP_CLIP_THREADS), cuda->stream, update, *a,
                                   cuda->active),
                         "shift_clip", err);
}
