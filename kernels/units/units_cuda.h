/* units_cuda.h: one unit that begins again, by all threads of a block, which is a member. */
#pragma once
#include "kp_cuda.h"
#include "units/units.h"

enum { KP_UNITS_THREADS = 256, KP_UNITS_WARPS = KP_UNITS_THREADS / 32 };

/* Its member's n-th. Threads meet before and after. */
static __device__ __forceinline__ void kp_units_replace(const kp_units_net *u, kp_units_method method,
                                                        int member, int l, int o, int64_t n) {
    const kp_mlp_shape *s = &u->shape;
    for (int j = (int)threadIdx.x; j < s->in[l]; j += KP_UNITS_THREADS)
        kp_units_draw(u, method, member, l, o, n, j);
    if (!threadIdx.x) kp_units_put_own(u, member, l, o);
    for (int k = (int)threadIdx.x; k < s->out[l + 1]; k += KP_UNITS_THREADS)
        kp_units_zero_out(u, member, l, o, k);
    __syncthreads();
}
