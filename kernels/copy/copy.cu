/* copy.cu: grid (n / THREADS, P); a thread copies one float4, or one float where those do not fit. */
#include "copy.h"
#include "kp_cuda.h"

enum { THREADS = 256 };

template <class T>
static __global__ void __launch_bounds__(THREADS) copy(T *to, const T *from, int64_t n, const uint8_t *active) {
    if (!active[blockIdx.y]) return;
    int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x, at = blockIdx.y * n + i;
    if (i < n) to[at] = from[at];
}

template <class T>
static cudaError_t launch(const kp_copy_args *a, int64_t n, const kp_cuda *cuda) {
    return kp_launch(dim3((n + THREADS - 1) / THREADS, a->P), dim3(THREADS), cuda->stream, copy<T>,
                     (T *)a->to, (const T *)a->from, n, cuda->active);
}

kp_status kp_copy_cuda(const void *args, const kp_cuda *cuda, kp_err *err) {
    const kp_copy_args *a = (const kp_copy_args *)args;
    bool wide = a->n % 4 == 0 && ((uintptr_t)a->to | (uintptr_t)a->from) % sizeof(float4) == 0;
    return kp_check_cuda(wide ? launch<float4>(a, a->n / 4, cuda) : launch<float>(a, a->n, cuda), "copy",
                         err);
}
