/* sgd_clip.cu: grid (n_chunks, P); a block owns one chunk, a thread one float4 of each buffer. */
#include "clip_cuda.h"
#include "sgd_clip.h"

static __global__ void __launch_bounds__(KP_CLIP_THREADS) update(kp_sgd_clip_args a, const uint8_t *active) {
    if (!active[blockIdx.y]) return;
    size_t member = blockIdx.y, chunk = member * gridDim.x + blockIdx.x;
    size_t i = chunk * KP_CLIP_THREADS + threadIdx.x;
    float4 *theta = (float4 *)a.theta, *u = (float4 *)a.u;
    float4 x = theta[i], ui = u[i], g = ((const float4 *)a.grad)[i];
    kp_sgd_hyper h = a.hyper[member];
    float bound = a.bound[member * a.n_tensors + a.tensor[blockIdx.x]];
    float scale = a.grad_scale ? a.grad_scale[member] : 1.0f;
    uint32_t counts = 0;
    x.x = kp_clip_tallied(kp_sgd1(x.x, g.x * scale, &ui.x, h), bound, &counts);
    x.y = kp_clip_tallied(kp_sgd1(x.y, g.y * scale, &ui.y, h), bound, &counts);
    x.z = kp_clip_tallied(kp_sgd1(x.z, g.z * scale, &ui.z, h), bound, &counts);
    x.w = kp_clip_tallied(kp_sgd1(x.w, g.w * scale, &ui.w, h), bound, &counts);
    theta[i] = x;
    u[i] = ui;
    kp_tally_chunk(counts, bound, &a.tally[chunk]);
}

kp_status kp_sgd_clip_cuda(const void *args, const kp_cuda *cuda, kp_err *err) {
    const kp_sgd_clip_args *a = (const kp_sgd_clip_args *)args;
    return kp_check_cuda(kp_launch(dim3(a->n_chunks, a->P), dim3(KP_CLIP_THREADS), cuda->stream, update, *a,
                                   cuda->active),
                         "sgd_clip", err);
}
