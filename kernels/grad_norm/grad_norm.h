/* grad_norm.h: the global gradient norm of each member, and the factor that brings it to a limit
 * (torch.nn.utils.clip_grad_norm_: min(1, limit / (norm + 1e-6))).
 *
 * Deterministic: squares are summed by chunk, in doubles, then chunk sums in order. Two operations:
 * grad_norm_chunks (parallel), grad_norm_scale (the rest). */
#pragma once
#include "kp_kernel.h"

typedef struct {
    int P, n_chunks;
    const float *grad; /* [P][n_chunks * KP_CHUNK] */
    double *partial;   /* [P][n_chunks] sums of squares */
} kp_grad_norm_chunks_args;

typedef struct {
    int P, n_chunks;
    const double *partial; /* [P][n_chunks] */
    const float *limit;    /* [P]; <= 0 or infinite: the scale is 1 */
    float *norm;           /* [P] */
    float *scale;          /* [P] what update rules multiply gradients by */
} kp_grad_norm_scale_args;
