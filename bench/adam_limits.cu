/* adam_limits.cu: adam_clip.cu without clip and tally, to measure what those cost on a GPU. */
#include "adam_limits.h"
#include "kp_cuda.h"

enum { THREADS = KP_CHUNK / 4 };

static __global__ void __launch_bounds__(THREADS) update(kp_adam_clip_args a, const uint8_t *active) {
    if (!active[blockIdx.y]) return;
    size_t member = blockIdx.y, i = (member * gridDim.x + blockIdx.x) * THREADS + threadIdx.x;
    float4 *theta = (float4 *)a.theta, *m = (float4 *)a.m, *v = (float4 *)a.v;
    float4 x = theta[i], mi = m[i], vi = v[i], g = ((const float4 *)a.grad)[i];
    kp_adam_hyper h = a.hyper[member];
    float scale = a.grad_scale ? a.grad_scale[member] : 1.0f;
    x.x = kp_adam1(x.x, g.x * scale, &mi.x, &vi.x, h);
    x.y = kp_adam1(x.y, g.y * scale, &mi.y, &vi.y, h);
    x.z = kp_adam1(x.z, g.z * scale, &mi.z, &vi.z, h);
    x.w = kp_adam1(x.w, g.w * scale, &mi.w, &vi.w, h);
    theta[i] = x;
    m[i] = mi;
    v[i] = vi;
}

kp_status kp_bench_unclipped_cuda(const void *args, const kp_cuda *cuda, kp_err *err) {
    const kp_adam_clip_args *a = (const kp_adam_clip_args *)args;
    return kp_check_cuda(kp_launch(dim3(a->n_chunks, a->P), dim3(THREADS), cuda->stream, update, *a,
                                   cuda->active),
                         "adam without the clip", err);
}
