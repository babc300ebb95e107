/* upgd_clip.cu: grid (n_chunks, P); a block owns one chunk, a thread four of its elements, and all look
 * through the chunks' maxima first. */
#include "clip_cuda.h"
#include "upgd_cuda.h"

template <bool ADAM>
static __global__ void __launch_bounds__(KP_CLIP_THREADS) update(kp_upgd_clip_args a, const uint8_t *active) {
    if (!active[blockIdx.y]) return;
    size_t member = blockIdx.y, chunk = member * gridDim.x + blockIdx.x;
    size_t i = chunk * KP_CLIP_THREADS + threadIdx.x;
    float largest = 0;
    for (int c = threadIdx.x; c < a.n_chunks; c += KP_CLIP_THREADS)
        largest = kp_upgd_larger(largest, a.largest[member * a.n_chunks + c]);
    largest = kp_upgd_largest(largest);
    kp_upgd_hyper h = a.hyper[member];
    if (!a.noise) h.sigma = 0.0f;
    float bound = a.bound[member * a.n_tensors + a.tensor[blockIdx.x]];
    float scale = a.grad_scale ? a.grad_scale[member] : 1.0f;
    kp_lanes x = kp_load(a.theta, i), u = kp_load(a.utility, i), g = kp_load(a.grad, i),
             z = kp_load_any(a.noise, i), m = {}, v = {};
    if (ADAM) m = kp_load(a.m, i), v = kp_load(a.v, i);
    float per = kp_upgd_per(largest, h.bc);
    uint32_t counts = 0;
    for (int k = 0; k < KP_LANES; k++) {
        g.at[k] *= scale;
        if (ADAM) g.at[k] = kp_adam_direction(g.at[k], &m.at[k], &v.at[k], h);
        float gate = kp_upgd_gate(u.at[k], per);
        x.at[k] = kp_clip_tallied(kp_upgd1(x.at[k], g.at[k], z.at[k], gate, h), bound, &counts);
    }
    kp_store(a.theta, i, x);
    if (ADAM) kp_store(a.m, i, m), kp_store(a.v, i, v);
    kp_tally_chunk(counts, bound, &a.tally[chunk]);
}

kp_status kp_upgd_clip_cuda(const void *args, const kp_cuda *cuda, kp_err *err) {
    const kp_upgd_clip_args *a = (const kp_upgd_clip_args *)args;
    return kp_check_cuda(kp_launch(dim3(a->n_chunks, a->P), dim3(KP_CLIP_THREADS), cuda->stream,
                                   a->m ? update<true> : update<false>, *a, cuda->active),
                         "upgd_clip", err);
}
