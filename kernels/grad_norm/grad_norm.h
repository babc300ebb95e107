/* grad_norm.h: the global gradient norm of each member, and the factor that brings it to a limit
 * (torch.nn.utils.clip_grad_norm_: min(1, limit / (norm + 1e-6))).
 *
 * Two operations: grad_norm_chunks adds the squares of each chunk, grad_norm_scale the chunks' sums.
 * Both add in doubles and in one order, at every vector width and on a GPU: KP_NORM_SUMS partial sums,
 * item i in sum i % KP_NORM_SUMS, then these from the first to the last. A float's square is exact in
 * double. */
#pragma once
#include "kp_kernel.h"

enum { KP_NORM_SUMS = 16 };

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

/* A norm that is NaN makes the scale NaN: the member is reported, not trained on. */
KP_HD float kp_norm_scale(float norm, float limit) {
    float scale = limit / (norm + 1e-6f);
    return !(limit > 0.0f) || limit == INFINITY || scale > 1.0f ? 1.0f : scale;
}

KP_CUDA_C kp_status kp_grad_norm_chunks_cuda(const void *args, const kp_cuda *cuda, kp_err *err);
KP_CUDA_C kp_status kp_grad_norm_scale_cuda(const void *args, const kp_cuda *cuda, kp_err *err);
