/* kp_cuda.h: what a .cu file includes besides its operation's header. The same file is compiled by
 * nvcc for the device and by g++ for the tests (KP_HOSTCUDA), which run it on the CPU: see
 * tests/hostcuda/hostcuda.h for what that knows of CUDA.
 *
 * A .cu file holds kernels, static, and one extern "C" launcher. Kernels are launched by kp_launch,
 * shared memory is declared by KP_SHARED or KP_DYNAMIC_SHARED, arithmetic lives in the operation's header.
 *
 * Clusters (kp_cluster_...): blocks that run at the same time and reach each other's shared memory, from
 * compute capability 9.0 on. Elsewhere, and without asking for one, a block is a cluster of its own. */
#pragma once
#include "kp_kernel.h"

#ifdef KP_HOSTCUDA
#include "hostcuda.h"
#define KP_UNROLL_ALL
#else
#define KP_UNROLL_ALL _Pragma("unroll")
#include <cooperative_groups.h>
#include <cuda_runtime.h>

/* type name[n], uninitialised, one for each block; at the top of a kernel. */
#define KP_SHARED(type, name, n) __shared__ type name[n]

/* type name[], of the size that kp_grid says, 16-byte aligned; once in a file. */
#define KP_DYNAMIC_SHARED(type, name) extern __shared__ __align__(16) type name[]

#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900
/* All threads of the cluster; orders their accesses to all memory. */
static __device__ __forceinline__ void kp_cluster_sync() { cooperative_groups::this_cluster().sync(); }
static __device__ __forceinline__ int kp_cluster_rank() { return (int)cooperative_groups::this_cluster().block_rank(); }
/* The same place of shared memory in another block, which must have begun and not have returned. */
template <class T> static __device__ __forceinline__ T *kp_cluster_at(T *at, int rank) {
    return cooperative_groups::this_cluster().map_shared_rank(at, (unsigned)rank);
}
#else
static __device__ __forceinline__ void kp_cluster_sync() { __syncthreads(); }
static __device__ __forceinline__ int kp_cluster_rank() { return 0; }
template <class T> static __device__ __forceinline__ T *kp_cluster_at(T *at, int) { return at; }
#endif
#endif

/* How a kernel is launched. */
struct kp_grid {
    dim3 grid, block;
    cudaStream_t stream;
    size_t shared_bytes; /* of KP_DYNAMIC_SHARED */
    int cluster;         /* blocks, along x, of each; 1: no clusters */
};

#ifdef KP_HOSTCUDA
static inline hostcuda_shape kp_shape(const kp_grid &g) {
    return { g.grid, g.block, g.shared_bytes, (unsigned)g.cluster };
}

template <class... Parameters, class... Arguments>
static inline cudaError_t kp_launch(const kp_grid &g, void (*kernel)(Parameters...), Arguments... arguments) {
    hostcuda_call<Parameters...> call = { kernel, { static_cast<Parameters>(arguments)... } };
    return hostcuda_launch(kp_shape(g), g.stream, call.run, &call, sizeof call);
}

template <class... Parameters> static inline int kp_most_clusters(const kp_grid &g, void (*)(Parameters...)) {
    return hostcuda_most_clusters(kp_shape(g));
}
#else
struct kp_launch_config {
    cudaLaunchAttribute cluster;
    cudaLaunchConfig_t config;
    explicit kp_launch_config(const kp_grid &g) : cluster(), config() {
        cluster.id = cudaLaunchAttributeClusterDimension;
        cluster.val.clusterDim = { (unsigned)g.cluster, 1, 1 };
        config.gridDim = g.grid;
        config.blockDim = g.block;
        config.dynamicSmemBytes = g.shared_bytes;
        config.stream = g.stream;
        config.attrs = &cluster;
        config.numAttrs = g.cluster > 1;
    }
};

/* Shared memory beyond 48 KiB and clusters beyond 8 blocks are to be asked for. */
template <class Kernel> static inline cudaError_t kp_allow(const kp_grid &g, Kernel *kernel) {
    cudaError_t code = cudaSuccess;
    if (g.shared_bytes)
        code = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)g.shared_bytes);
    if (!code && g.cluster > 8)
        code = cudaFuncSetAttribute(kernel, cudaFuncAttributeNonPortableClusterSizeAllowed, 1);
    return code;
}

/* kernel(arguments...) on every thread of the grid. Returns before it has run. */
template <class... Parameters, class... Arguments>
static inline cudaError_t kp_launch(const kp_grid &g, void (*kernel)(Parameters...), Arguments... arguments) {
    kp_launch_config l(g);
    cudaError_t code = kp_allow(g, kernel);
    return code ? code : cudaLaunchKernelEx(&l.config, kernel, static_cast<Parameters>(arguments)...);
}

/* How many of such clusters the device holds at once; 0: it cannot run one, or the kernel was compiled
 * for devices without. */
template <class... Parameters> static inline int kp_most_clusters(const kp_grid &g, void (*kernel)(Parameters...)) {
    kp_launch_config l(g);
    cudaFuncAttributes compiled = {};
    int n = 0;
    cudaError_t code = cudaFuncGetAttributes(&compiled, kernel);
    if (!code) code = kp_allow(g, kernel);
    if (!code && g.cluster > 1) {
        if (compiled.ptxVersion >= 90) code = cudaOccupancyMaxActiveClusters(&n, kernel, &l.config);
    } else if (!code) {
        int device = 0, a_block = 0, multiprocessors = 0;
        code = cudaOccupancyMaxActiveBlocksPerMultiprocessor(&a_block, kernel, (int)g.block.x, g.shared_bytes);
        if (!code) code = cudaGetDevice(&device);
        if (!code) code = cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, device);
        n = a_block * multiprocessors;
    }
    if (!code) return n;
    (void)cudaGetLastError(); /* it was a question */
    return 0;
}
#endif

template <class... Parameters, class... Arguments>
static inline cudaError_t kp_launch(dim3 grid, dim3 block, cudaStream_t stream, void (*kernel)(Parameters...),
                                    Arguments... arguments) {
    return kp_launch(kp_grid{ grid, block, stream, 0, 1 }, kernel, arguments...);
}

static inline kp_status kp_check_cuda(cudaError_t code, const char *where, kp_err *err) {
    if (code == cudaSuccess) return KP_OK;
    return kp_fail(err, KP_DEVICE, "%s: %s (CUDA error %d)", where, cudaGetErrorString(code),
                   (int)code);
}
