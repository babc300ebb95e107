/* chunks.h: how an operation over the chunks of a member is divided on the CPU: slices of 16 chunks
 * (64 KiB a stream), few enough to cost nothing and enough to fill the threads. */
#pragma once
#include "kp_kernel.h"

enum { KP_CHUNKS_A_SLICE = 16 };

KP_HD int kp_chunk_slices(int n_chunks) {
    return (n_chunks + KP_CHUNKS_A_SLICE - 1) / KP_CHUNKS_A_SLICE;
}

/* The half-open range of chunks that these slices own. */
KP_HD void kp_chunk_range(int n_chunks, kp_slices slices, int *begin, int *end) {
    *begin = slices.begin * KP_CHUNKS_A_SLICE;
    *end = slices.end * KP_CHUNKS_A_SLICE;
    if (*end > n_chunks) *end = n_chunks;
}
