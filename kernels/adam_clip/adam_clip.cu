/* adam_clip.cu: grid (n_chunks, P); a block owns one chunk, a thread one float4 of each buffer. */
#include "adam_clip.h"
#include "clip_cuda.h"

template <bool TERMS>
static __global__ void __launch_bounds__(KP_CLIP_THREADS) update(kp_adam_clip_args a, const uint8_t *active) {
    if (!active[blockIdx.y]) return;
    size_t member = blockIdx.y, chunk = member * gridDim.x + blockIdx.x;
    size_t i = chunk * KP_CLIP_THREADS + threadIdx.x;
    float4 *theta = (float4 *)a.theta, *m = (float4 *)a.m, *v = (float4 *)a.v;
    float4 x = theta[i], mi = m[i], vi = v[i], g = ((const float4 *)a.grad)[i];
    kp_adam_hyper h = a.hyper[member];
    float bound = a.bound[member * a.n_tensors + a.tensor[blockIdx.x]];
    float scale = a.grad_scale ? a.grad_scale[member] : 1.0f;
    float4 x0 = kp_anchor_of<TERMS>(a.anchor, i, &h);
    uint32_t counts = 0;
    x.x = kp_clip_tallied(kp_adam1(x.x, kp_with_terms<TERMS>(g.x * scale, x.x, x0.x, h), &mi.x, &vi.x, h), bound, &counts);
    x.y = kp_clip_tallied(kp_adam1(x.y, kp_with_terms<TERMS>(g.y * scale, x.y, x0.y, h), &mi.y, &vi.y, h), bound, &counts);
    x.z = kp_clip_tallied(kp_adam1(x.z, kp_with_terms<TERMS>(g.z * scale, x.z, x0.z, h), &mi.z, &vi.z, h), bound, &counts);
    x.w = kp_clip_tallied(kp_adam1(x.w, kp_with_terms<TERMS>(g.w * scale, x.w, x0.w, h), &mi.w, &vi.w, h), bound, &counts);
    theta[i] = x;
    m[i] = mi;
    v[i] = vi;
    kp_tally_chunk(counts, bound, &a.tally[chunk]);
}

kp_status kp_adam_clip_cuda(const void *args, const kp_cuda *cuda, kp_err *err) {
    const kp_adam_clip_args *a = (const kp_adam_clip_args *)args;
    return kp_check_cuda(kp_launch(dim3(a->n_chunks, a->P), dim3(KP_CLIP_THREADS), cuda->stream,
                                   a->with_terms ? update<true> : update<false>, *a, cuda->active),
                         "adam_clip", err);
}
