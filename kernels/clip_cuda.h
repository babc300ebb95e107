/* clip_cuda.h: the clip's tally on the device. One block owns one chunk, one thread four of its
 * elements. The counts are integers, so their sum has the same bits in any order. */
#pragma once
#include "clip.h"
#include "kp_cuda.h"
#include "penalty.h"

enum { KP_CLIP_THREADS = KP_CHUNK / 4, KP_CLIP_WARPS = KP_CLIP_THREADS / 32 };

/* What a rule sees of a scaled gradient: with the member's penalties where TERMS. */
template <bool TERMS, class Hyper>
static __device__ __forceinline__ float kp_with_terms(float g, float x, float x0, const Hyper &h) {
    return TERMS ? kp_penalty(g, x, x0, h.l2, h.l2init) : g;
}

/* The thread's part of theta_0. Without an anchor no member has L2 Init. */
template <bool TERMS, class Hyper>
static __device__ __forceinline__ float4 kp_anchor_of(const float *anchor, size_t i, Hyper *h) {
    float4 x0 = {};
    if (TERMS && anchor) x0 = ((const float4 *)anchor)[i];
    if (TERMS && !anchor) h->l2init = 0.0f;
    return x0;
}

/* Clips x; adds what it changed to the low half of counts and whether the result is non-finite to
 * the high half. Neither half can exceed KP_CHUNK. */
static __device__ __forceinline__ float kp_clip_tallied(float x, float bound, uint32_t *counts) {
    x = kp_clip_count(x, bound, counts);
    *counts += (uint32_t)!(x - x == 0.0f) << 16;
    return x;
}

/* The sum over the block, as kp_clip_tally_of counts it. Every thread calls it, once. */
static __device__ __forceinline__ void kp_tally_chunk(uint32_t counts, float bound,
                                                      kp_clip_tally *tally) {
    KP_SHARED(uint32_t, of_warp, KP_CLIP_WARPS);
    counts = __reduce_add_sync(0xffffffffu, counts);
    if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = counts;
    __syncthreads();
    if (threadIdx.x) return;
    for (int w = 1; w < KP_CLIP_WARPS; w++) counts += of_warp[w];
    uint32_t changed = counts & 0xffffu, non_finite = counts >> 16;
    tally->outside = bound < INFINITY ? changed - non_finite : 0; /* clipped, NaN remains NaN */
    tally->non_finite = non_finite;
}
