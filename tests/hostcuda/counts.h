/* counts.h: an operation for tests: adds 1 to each x of the active members. */
#pragma once
#include "kp_kernel.h"

typedef struct {
    int P, n;
    uint32_t *x;          /* [P][n] */
    size_t scratch_bytes; /* of device memory, all of which is written */
} counts_args;

extern const kp_op counts;
extern kp_cuda counts_launched_with; /* the last context that the launcher has been given */
