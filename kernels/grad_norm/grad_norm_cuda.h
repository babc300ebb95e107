/* grad_norm_cuda.h: the partial sums on the device: each belongs to a lane, so half a warp has them all. */
#pragma once
#include "grad_norm.h"
#include "kp_cuda.h"

/* The sum of the half-warp's partial sums, from the first to the last. All its lanes call it, and get
 * it. */
static __device__ __forceinline__ double kp_add_norm_sums(double sum) {
    const unsigned half = 0xffffu << (threadIdx.x & 16);
    double total = 0;
    for (int k = 0; k < KP_NORM_SUMS; k++) total += __shfl_sync(half, sum, k, KP_NORM_SUMS);
    return total;
}
