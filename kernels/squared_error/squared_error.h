/* squared_error.h: mean squared error of a regression, and its gradient.
 *
 * loss = mean over B and outputs of (y - target)^2, as PyTorch's MSELoss; dy = 2 (y - target) / (B
 * n). The sum runs in index order. */
#pragma once
#include "kp_kernel.h"

typedef struct {
    int P, B, n_outputs;
    const float *y;      /* [P][B][n_outputs] */
    const float *target; /* [P][B][n_outputs] */
    float *dy;           /* [P][B][n_outputs] */
    float *loss;         /* [P] */
} kp_squared_error_args;

/* One output: its gradient; returns its error. share is 1 / (B n). */
KP_HD float kp_squared_error1(float y, float target, float share, float *dy) {
    float e = y - target;
    *dy = 2.0f * e * share;
    return e;
}

KP_CUDA_C kp_status kp_squared_error_cuda(const void *args, const kp_cuda *cuda, kp_err *err);
