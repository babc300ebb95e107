/* madam_clip.cu: grid (n_chunks, P); a block owns one chunk, a thread four of its elements. */
#include "clip_cuda.h"
#include "lanes_cuda.h"
#include "madam_clip.h"

static __global__ void __launch_bounds__(KP_CLIP_THREADS) update(kp_madam_clip_args a, const uint8_t *active) {
    if (!active[blockIdx.y]) return;
    size_t member = blockIdx.y, chunk = member * gridDim.x + blockIdx.x;
    size_t i = chunk * KP_CLIP_THREADS + threadIdx.x;
    kp_lanes x = kp_load(a.theta, i), v = kp_load(a.v, i), g = kp_load(a.grad, i);
    kp_madam_hyper h = a.hyper[member];
    float bound = a.bound[member * a.n_tensors + a.tensor[blockIdx.x]];
    float scale = a.grad_scale ? a.grad_scale[member] : 1.0f;
    uint32_t counts = 0;
    for (int k = 0; k < KP_LANES; k++)
        x.at[k] = kp_clip_tallied(kp_madam1(x.at[k], g.at[k] * scale, &v.at[k], h), bound, &counts);
    kp_store(a.theta, i, x);
    kp_store(a.v, i, v);
    kp_tally_chunk(counts, bound, &a.tally[chunk]);
}

kp_status kp_madam_clip_cuda(const void *args, const kp_cuda *cuda, kp_err *err) {
    const kp_madam_clip_args *a = (const kp_madam_clip_args *)args;
    return kp_check_cuda(kp_launch(dim3(a->n_chunks, a->P), dim3(KP_CLIP_THREADS), cuda->stream, update, *a,
                                   cuda->active),
                         "madam_clip", err);
}
