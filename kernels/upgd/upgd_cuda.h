/* upgd_cuda.h: the largest utility of a block's threads, as kp_upgd_larger has it: the same in any order. */
#pragma once
#include "lanes_cuda.h"
#include "upgd.h"

enum { KP_UPGD_THREADS = KP_CHUNK / KP_LANES, KP_UPGD_WARPS = KP_UPGD_THREADS / 32 };

/* Every thread calls it, once, and gets it. */
static __device__ __forceinline__ float kp_upgd_largest(float largest) {
    KP_SHARED(float, of_warp, KP_UPGD_WARPS);
    for (int step = 16; step; step /= 2)
        largest = kp_upgd_larger(largest, __shfl_sync(0xffffffffu, largest, (threadIdx.x % 32) ^ step));
    if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = largest;
    __syncthreads();
    for (int w = 0; w < KP_UPGD_WARPS; w++) largest = kp_upgd_larger(largest, of_warp[w]);
    return largest;
}
