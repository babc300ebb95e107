/* kp_cuda.h: what a .cu file includes besides its operation's header. The same file is compiled by
 * nvcc for the device and by g++ for the tests (KP_HOSTCUDA), which run it on the CPU: see
 * tests/hostcuda/hostcuda.h for what that knows of CUDA.
 *
 * A .cu file holds kernels, static, and one extern "C" launcher. Kernels are launched by kp_launch,
 * shared memory is declared by KP_SHARED, arithmetic lives in the operation's header. */
#pragma once
#include "kp_kernel.h"

#ifdef KP_HOSTCUDA
#include "hostcuda.h"
#else
#include <cuda_runtime.h>

/* type name[n], uninitialised, one for each block; at the top of a kernel. */
#define KP_SHARED(type, name, n) __shared__ type name[n]

/* kernel(arguments...) on every thread of grid x block. Returns before it has run. */
template <class... Parameters, class... Arguments>
static inline cudaError_t kp_launch(dim3 grid, dim3 block, cudaStream_t stream,
                                    void (*kernel)(Parameters...), Arguments... arguments) {
    cudaLaunchConfig_t config = {};
    config.gridDim = grid;
    config.blockDim = block;
    config.stream = stream;
    return cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...);
}
#endif

static inline kp_status kp_check_cuda(cudaError_t code, const char *where, kp_err *err) {
    if (code == cudaSuccess) return KP_OK;
    return kp_fail(err, KP_DEVICE, "%s: %s (CUDA error %d)", where, cudaGetErrorString(code),
                   (int)code);
}
