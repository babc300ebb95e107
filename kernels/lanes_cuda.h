/* lanes_cuda.h: a thread's four elements of a [P][N] buffer, in a block that owns one chunk: read and
 * written as a float4, computed with one by one. */
#pragma once
#include "kp_cuda.h"

enum { KP_LANES = 4 };

struct kp_lanes {
    float at[KP_LANES];
};

/* i: the thread's float4 of the buffer. */
static __device__ __forceinline__ kp_lanes kp_load(const float *buffer, size_t i) {
    float4 v = ((const float4 *)buffer)[i];
    return { { v.x, v.y, v.z, v.w } };
}

static __device__ __forceinline__ void kp_store(float *buffer, size_t i, const kp_lanes &x) {
    float4 v = { x.at[0], x.at[1], x.at[2], x.at[3] };
    ((float4 *)buffer)[i] = v;
}

/* Zeros where there is no such buffer. */
static __device__ __forceinline__ kp_lanes kp_load_any(const float *buffer, size_t i) {
    return buffer ? kp_load(buffer, i) : kp_lanes{};
}
