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
