/* redo.cu: a block is a member. */
#include "units/units_cuda.h"

enum { THREADS = KP_UNITS_THREADS };

static __device__ __forceinline__ void count_sample(const float *x, const kp_mlp_shape *s, int l, double *sum) {
    const int n = s->out[l];
    for (int o = (int)threadIdx.x; o < n; o += THREADS)
        for (int j = o; j < kp_units_outputs(s) * n; j += n) sum[o] += fabs((double)x[j]);
}

static __device__ __forceinline__ void replace_dormant(const kp_redo_args *a, int member, int l,
                                                       const double *sum) {
    KP_SHARED(double, most, 1);
    const int n = a->net.shape.out[l];
    if (!threadIdx.x) *most = kp_redo_most(sum, n, a->tau[member]);
    __syncthreads();
    int64_t replaced = a->net.replaced[member];
    for (int o = 0; o < n; o++)
        if (n * sum[o] <= *most) kp_units_replace(&a->net, KP_UNITS_REDO, member, l, o, replaced++);
    __syncthreads(); /* all have read `most` and the count */
    if (!threadIdx.x) a->net.replaced[member] = replaced;
    __syncthreads();
}

static __global__ void __launch_bounds__(THREADS) redo(kp_redo_args a, const uint8_t *active) {
    const int member = (int)blockIdx.x;
    const kp_mlp_shape *s = &a.net.shape;
    if (!active[member]) return;
    const float *x = a.work + member * kp_mlp_work(s);
    double *sum = a.sum + (int64_t)member * s->n_hidden;
    const int64_t seen = a.seen[member] + 1;
    for (int l = 0; l + 1 < s->n_layers; l++)
        count_sample(x + kp_mlp_x(s, l + 1), s, l, sum + kp_units_first(s, l));
    __syncthreads(); /* all have read seen and made the sums */
    if (!threadIdx.x) a.seen[member] = seen < a.every ? seen : 0;
    if (seen < a.every) return;
    for (int l = 0; l + 1 < s->n_layers; l++) replace_dormant(&a, member, l, sum + kp_units_first(s, l));
    for (int o = (int)threadIdx.x; o < s->n_hidden; o += THREADS) sum[o] = 0.0;
}

kp_status kp_redo_cuda(const void *args, const kp_cuda *cuda, kp_err *err) {
    const kp_redo_args *a = (const kp_redo_args *)args;
    return kp_check_cuda(kp_launch(dim3(a->P), dim3(THREADS), cuda->stream, redo, *a, cuda->active), "redo",
                         err);
}
