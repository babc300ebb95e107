/* grad_norm_scale.cu: a block of half a warp is a member. */
#include "grad_norm_cuda.h"

static __global__ void __launch_bounds__(KP_NORM_SUMS) scale(kp_grad_norm_scale_args a) {
    const double *partial = a.partial + (int64_t)blockIdx.x * a.n_chunks;
    double sum = 0;
    for (int c = threadIdx.x; c < a.n_chunks; c += KP_NORM_SUMS) sum += partial[c];
    float norm = (float)sqrt(kp_add_norm_sums(sum));
    if (threadIdx.x) return;
    a.norm[blockIdx.x] = norm;
    a.scale[blockIdx.x] = kp_norm_scale(norm, a.limit[blockIdx.x]);
}

kp_status kp_grad_norm_scale_cuda(const void *args, const kp_cuda *cuda, kp_err *err) {
    const kp_grad_norm_scale_args *a = (const kp_grad_norm_scale_args *)args;
    return kp_check_cuda(kp_launch(dim3(a->P), dim3(KP_NORM_SUMS), cuda->stream, scale, *a),
                         "grad_norm_scale", err);
}
