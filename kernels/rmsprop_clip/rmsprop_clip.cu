/* rmsprop_clip.cu: grid (n_chunks, P); a block owns one chunk, a thread one float4 of each buffer. */
#include "clip_cuda.h"
#include "rmsprop_clip.h"

template <bool CENTERED, bool TERMS>
static __global__ void __launch_bounds__(KP_CLIP_THREADS) update(kp_rmsprop_clip_args a, const uint8_t *active) {
    if (!active[blockIdx.y]) return;
    size_t member = blockIdx.y, chunk = member * gridDim.x + blockIdx.x;
    size_t i = chunk * KP_CLIP_THREADS + threadIdx.x;
    float4 *theta = (float4 *)a.theta, *v = (float4 *)a.v, *mean = (float4 *)a.mean;
    float4 x = theta[i], vi = v[i], mi = {}, g = ((const float4 *)a.grad)[i];
    if (CENTERED) mi = mean[i];
    kp_rmsprop_hyper h = a.hyper[member];
    float bound = a.bound[member * a.n_tensors + a.tensor[blockIdx.x]];
    float scale = a.grad_scale ? a.grad_scale[member] : 1.0f;
    float4 x0 = kp_anchor_of<TERMS>(a.anchor, i, &h);
    uint32_t counts = 0;
    if (CENTERED) {
        x.x = kp_rmsprop_centered1(x.x, kp_with_terms<TERMS>(g.x * scale, x.x, x0.x, h), &vi.x, &mi.x, h);
        x.y = kp_rmsprop_centered1(x.y, kp_with_terms<TERMS>(g.y * scale, x.y, x0.y, h), &vi.y, &mi.y, h);
        x.z = kp_rmsprop_centered1(x.z, kp_with_terms<TERMS>(g.z * scale, x.z, x0.z, h), &vi.z, &mi.z, h);
        x.w = kp_rmsprop_centered1(x.w, kp_with_terms<TERMS>(g.w * scale, x.w, x0.w, h), &vi.w, &mi.w, h);
        mean[i] = mi;
    } else {
        x.x = kp_rmsprop1(x.x, kp_with_terms<TERMS>(g.x * scale, x.x, x0.x, h), &vi.x, h);
        x.y = kp_rmsprop1(x.y, kp_with_terms<TERMS>(g.y * scale, x.y, x0.y, h), &vi.y, h);
        x.z = kp_rmsprop1(x.z, kp_with_terms<TERMS>(g.z * scale, x.z, x0.z, h), &vi.z, h);
        x.w = kp_rmsprop1(x.w, kp_with_terms<TERMS>(g.w * scale, x.w, x0.w, h), &vi.w, h);
    }
    x.x = kp_clip_tallied(x.x, bound, &counts);
    x.y = kp_clip_tallied(x.y, bound, &counts);
    x.z = kp_clip_tallied(x.z, bound, &counts);
    x.w = kp_clip_tallied(x.w, bound, &counts);
    theta[i] = x;
    v[i] = vi;
    kp_tally_chunk(counts, bound, &a.tally[chunk]);
}

kp_status kp_rmsprop_clip_cuda(const void *args, const kp_cuda *cuda, kp_err *err) {
    const kp_rmsprop_clip_args *a = (const kp_rmsprop_clip_args *)args;
    void (*const kernel[2][2])(kp_rmsprop_clip_args, const uint8_t *) = {
        { update<false, false>, update<false, true> },
        { update<true, false>, update<true, true> },
    };
    return kp_check_cuda(kp_launch(dim3(a->n_chunks, a->P), dim3(KP_CLIP_THREADS), cuda->stream,
                                   kernel[a->mean != NULL][a->with_terms != 0], *a, cuda->active),
                         "rmsprop_clip", err);
}
