/* sgd_clip.cu: grid (n_chunks, P); a block owns one chunk, a thread one float4 of each buffer. */
#include "clip_cuda.h"
#include "sgd_clip.h"

template <bool MOMENTUM, bool TERMS>
static __global__ void __launch_bounds__(KP_CLIP_THREADS) update(kp_sgd_clip_args a, const uint8_t *active) {
    if (!active[blockIdx.y]) return;
    size_t member = blockIdx.y, chunk = member * gridDim.x + blockIdx.x;
    size_t i = chunk * KP_CLIP_THREADS + threadIdx.x;
    float4 *theta = (float4 *)a.theta, *u = (float4 *)a.u;
    float4 x = theta[i], ui = {}, g = ((const float4 *)a.grad)[i];
    if (MOMENTUM) ui = u[i];
    kp_sgd_hyper h = a.hyper[member];
    float bound = a.bound[member * a.n_tensors + a.tensor[blockIdx.x]];
    float scale = a.grad_scale ? a.grad_scale[member] : 1.0f;
    float4 x0 = kp_anchor_of<TERMS>(a.anchor, i, &h);
    uint32_t counts = 0;
    g.x = kp_with_terms<TERMS>(g.x * scale, x.x, x0.x, h);
    x.x = kp_clip_tallied(MOMENTUM ? kp_sgd1(x.x, g.x, &ui.x, h) : kp_sgd_plain1(x.x, g.x, h), bound, &counts);
    g.y = kp_with_terms<TERMS>(g.y * scale, x.y, x0.y, h);
    x.y = kp_clip_tallied(MOMENTUM ? kp_sgd1(x.y, g.y, &ui.y, h) : kp_sgd_plain1(x.y, g.y, h), bound, &counts);
    g.z = kp_with_terms<TERMS>(g.z * scale, x.z, x0.z, h);
    x.z = kp_clip_tallied(MOMENTUM ? kp_sgd1(x.z, g.z, &ui.z, h) : kp_sgd_plain1(x.z, g.z, h), bound, &counts);
    g.w = kp_with_terms<TERMS>(g.w * scale, x.w, x0.w, h);
    x.w = kp_clip_tallied(MOMENTUM ? kp_sgd1(x.w, g.w, &ui.w, h) : kp_sgd_plain1(x.w, g.w, h), bound, &counts);
    theta[i] = x;
    if (MOMENTUM) u[i] = ui;
    kp_tally_chunk(counts, bound, &a.tally[chunk]);
}

kp_status kp_sgd_clip_cuda(const void *args, const kp_cuda *cuda, kp_err *err) {
    const kp_sgd_clip_args *a = (const kp_sgd_clip_args *)args;
    void (*const kernel[2][2])(kp_sgd_clip_args, const uint8_t *) = {
        { update<false, false>, update<false, true> },
        { update<true, false>, update<true, true> },
    };
    return kp_check_cuda(kp_launch(dim3(a->n_chunks, a->P), dim3(KP_CLIP_THREADS), cuda->stream,
                                   kernel[a->u != NULL][a->with_terms != 0], *a, cuda->active),
                         "sgd_clip", err);
}
