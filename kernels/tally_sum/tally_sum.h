/* tally_sum.h: adds the clip's tally of each chunk to totals for each tensor. */
#pragma once
#include "clip.h"

typedef struct {
    uint64_t outside;    /* summed over updates, to be divided by count * updates */
    uint64_t non_finite; /* of the latest update only */
} kp_tensor_tally;

typedef struct {
    int P, n_chunks, n_tensors;
    const int32_t *tensor;      /* [n_chunks] ascending */
    const kp_clip_tally *tally; /* [P][n_chunks] */
    kp_tensor_tally *total;     /* [P][n_tensors] */
} kp_tally_sum_args;

KP_CUDA_C kp_status kp_tally_sum_cuda(const void *args, const kp_cuda *cuda, kp_err *err);
