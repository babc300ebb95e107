/* grad_norm_chunks.cu: grid (n_chunks / CHUNKS, P); half a warp has a chunk and reads 64 bytes of it at
 * once, AHEAD times before it adds: one agent's gradient has few threads, so each has much on its way. */
#include "grad_norm_cuda.h"

enum { CHUNKS = 4, THREADS = CHUNKS * KP_NORM_SUMS, AHEAD = 16 };

static __global__ void __launch_bounds__(THREADS) sum_squares(kp_grad_norm_chunks_args a) {
    int c = blockIdx.x * CHUNKS + threadIdx.x / KP_NORM_SUMS, lane = threadIdx.x % KP_NORM_SUMS;
    if (c >= a.n_chunks) return; /* the whole half */
    int64_t chunk = (int64_t)blockIdx.y * a.n_chunks + c;
    const float *grad = a.grad + chunk * KP_CHUNK + lane;
    double sum = 0;
    for (int i = 0; i < KP_CHUNK; i += AHEAD * KP_NORM_SUMS) {
        float g[AHEAD];
        for (int k = 0; k < AHEAD; k++) g[k] = grad[i + k * KP_NORM_SUMS];
        for (int k = 0; k < AHEAD; k++) sum += (double)g[k] * (double)g[k];
    }
    sum = kp_add_norm_sums(sum);
    if (!lane) a.partial[chunk] = sum;
}

kp_status kp_grad_norm_chunks_cuda(const void *args, const kp_cuda *cuda, kp_err *err) {
    const kp_grad_norm_chunks_args *a = (const kp_grad_norm_chunks_args *)args;
    return kp_check_cuda(kp_launch(dim3((a->n_chunks + CHUNKS - 1) / CHUNKS, a->P), dim3(THREADS),
                                   cuda->stream, sum_squares, *a),
                         "grad_norm_chunks", err);
}
