/* copy.h: to = from, for parameter-shaped buffers (the target network's). */
#pragma once
#include "kp_kernel.h"

typedef struct {
    int P;
    int64_t n;         /* floats of one member */
    const float *from; /* [P][n] */
    float *to;         /* [P][n] */
} kp_copy_args;

KP_CUDA_C kp_status kp_copy_cuda(const void *args, const kp_cuda *cuda, kp_err *err);
