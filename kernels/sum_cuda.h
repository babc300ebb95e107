/* sum_cuda.h: a sum over one member's minibatch in the order in which the CPU adds. One block makes it:
 * all its threads make the terms, KP_SUM_THREADS at a time, and the first adds them. */
#pragma once
#include "kp_cuda.h"

enum { KP_SUM_THREADS = 128 };

/* sum = add(sum, term(i)) for i = 0 .. n - 1. Every thread of the block calls it, once; term(i) is
 * called by one of them, and the first gets the sum. */
template <class Term, class Sum, class Make, class Add>
static __device__ __forceinline__ Sum kp_sum_in_order(int64_t n, Sum sum, Make term, Add add) {
    KP_SHARED(Term, terms, KP_SUM_THREADS);
    for (int64_t begin = 0; begin < n; begin += KP_SUM_THREADS) {
        int count = n - begin < KP_SUM_THREADS ? (int)(n - begin) : KP_SUM_THREADS;
        if ((int)threadIdx.x < count) terms[threadIdx.x] = term(begin + threadIdx.x);
        __syncthreads();
        if (!threadIdx.x)
            for (int i = 0; i < count; i++) sum = add(sum, terms[i]);
        __syncthreads(); /* before the next terms take their place */
    }
    return sum;
}
