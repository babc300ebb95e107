/* hostcuda.h: as much of CUDA C++ as Kappa's kernels use, for g++. Included by kernels/kp_cuda.h
 * under KP_HOSTCUDA; a .cu file compiled with it runs on the CPU, without a GPU and without the
 * toolkit, under the sanitizers too.
 *
 * The threads of a block are fibers of one OS thread, which change at barriers and warp operations
 * only; blocks run one after another. hostcuda_order() chooses in which order, so that a missing
 * barrier shows in results. Under TSan every CUDA thread is a thread of its own, ordered by
 * barriers and by nothing else: whatever two of them, of one block or two, do without one is
 * reported, whether or not the order at hand does harm.
 *
 * What the device would leave hanging or undefined ends the process, exit 97, with a line on stderr:
 * barriers that some threads miss, lanes of a warp in different operations, impossible launches.
 * Shared memory starts as NaN and, under ASan, ends where it ends.
 *
 * Launches without a stream run at once, on any memory; streams and device memory: runtime/runtime.h.
 *
 * Not shown here: speed, and whether nvcc rounds as g++ does (-fmad=false; test cuda_static). */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "runtime/runtime.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Of blocks, and of threads within them: 0 forward, 1 backward, else shuffled by this seed. */
void hostcuda_order(unsigned order);

int hostcuda_cluster(void); /* blocks in each cluster of the latest grid that has run */

#ifdef __cplusplus
}
#include <tuple>

struct uint3 { unsigned x, y, z; };
struct dim3 {
    unsigned x, y, z;
    dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};
struct alignas(8) float2 { float x, y; };
struct alignas(16) float4 { float x, y, z, w; };
struct alignas(16) uint4 { unsigned x, y, z, w; };

#define __global__
#define __device__
#define __forceinline__ inline /* what is small is */
#define __launch_bounds__(...)
#define __grid_constant__

struct hostcuda_place { uint3 thread, block; dim3 block_dim, grid_dim; };
extern hostcuda_place hostcuda_now;
#define threadIdx (hostcuda_now.thread)
#define blockIdx (hostcuda_now.block)
#define blockDim (hostcuda_now.block_dim)
#define gridDim (hostcuda_now.grid_dim)

void hostcuda_syncthreads(const char *file, int line);
#define __syncthreads() hostcuda_syncthreads(__FILE__, __LINE__)

/* Warp operations order no memory, here as on the device: under TSan, what their lanes write before
 * them and read after is a race. */
uint32_t hostcuda_reduce_add(uint32_t mask, uint32_t value, const char *file, int line);
#define __reduce_add_sync(mask, value) hostcuda_reduce_add(mask, value, __FILE__, __LINE__)

/* The value of the lane `from` of the caller's `width` lanes; that lane must be in the mask. */
uint64_t hostcuda_shuffle(const char *file, int line, uint32_t mask, uint64_t value, int from, int width);
template <class T>
static inline T hostcuda_shuffled(const char *file, int line, uint32_t mask, T value, int from, int width = 32) {
    uint64_t bits = 0;
    memcpy(&bits, &value, sizeof value);
    bits = hostcuda_shuffle(file, line, mask, bits, from, width);
    memcpy(&value, &bits, sizeof value);
    return value;
}
#define __shfl_sync(...) hostcuda_shuffled(__FILE__, __LINE__, __VA_ARGS__)

/* The block's memory for this declaration. */
void *hostcuda_shared(const void *key, size_t bytes);
#define KP_SHARED(type, name, n)                                                                   \
    static const char name##_key = 0;                                                              \
    type *const name = (type *)hostcuda_shared(&name##_key, sizeof(type) * (n))

#define KP_DYNAMIC_SHARED(type, name) type *const name = (type *)hostcuda_dynamic_shared()
void *hostcuda_dynamic_shared();

/* Clusters. Their blocks run at the same time, in orders 0 and 1 one as far as it gets before the next, so
 * that a missing barrier of the cluster shows; under TSan only the cluster's barrier orders them.
 * Another block's memory may be named from its first step to its return. */
void hostcuda_cluster_sync(const char *file, int line);
int hostcuda_cluster_rank();
void *hostcuda_cluster_at(const void *at, int rank, const char *file, int line);
template <class T> static inline T *hostcuda_cluster_typed(T *at, int rank, const char *file, int line) {
    return (T *)hostcuda_cluster_at(at, rank, file, line);
}
#define kp_cluster_sync() hostcuda_cluster_sync(__FILE__, __LINE__)
#define kp_cluster_rank hostcuda_cluster_rank
#define kp_cluster_at(at, rank) hostcuda_cluster_typed(at, rank, __FILE__, __LINE__)

/* A kernel and its arguments, as they are copied to where they wait for their turn. */
template <class... Parameters> struct hostcuda_call {
    void (*kernel)(Parameters...);
    std::tuple<Parameters...> arguments;
    static void run(void *self) {
        auto *call = static_cast<hostcuda_call *>(self);
        std::apply(call->kernel, call->arguments);
    }
};

struct hostcuda_shape { dim3 grid, block; size_t shared_bytes; unsigned cluster; };

/* body(context) on every thread, on a copy of context, when it is the stream's turn (runtime/runtime.h);
 * without a stream, on return. Pointers in context, but for the first word, are the device's. */
cudaError_t hostcuda_launch(hostcuda_shape shape, cudaStream_t stream, void (*body)(void *context),
                            void *context, size_t bytes);
int hostcuda_most_clusters(hostcuda_shape shape); /* that the machine holds at once; 0: it cannot run one */
#endif
