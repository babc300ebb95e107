/* si.h: Synaptic Intelligence (Zenke et al. 2017): how much each weight has lowered the loss, along the
 * path that it took (si_path, after every update), becomes its importance when a task is over
 * (si_consolidate). The penalty itself: penalties.h. */
#pragma once
#include "kp_kernel.h"

typedef struct {
    int P, n_chunks;                      /* N = n_chunks * KP_CHUNK */
    const float *theta, *before, *grad;   /* [P][N] after and before the update; of the loss alone */
    float *path;                          /* [P][N] omega, added to */
} kp_si_path_args;

typedef struct {
    int P, n_chunks;
    const float *theta;                   /* [P][N] */
    const float *xi;                      /* [P] damping, above 0 */
    float *path, *importance, *start;     /* [P][N] become 0, grow, become theta */
} kp_si_consolidate_args;

/* omega -= g dtheta */
KP_HD float kp_si_path1(float path, float x, float before, float g) {
    return fmaf(-g, x - before, path);
}

/* Omega += omega / (dtheta^2 + xi) */
KP_HD float kp_si_importance1(float importance, float path, float x, float start, float xi) {
    float d = x - start;
    return importance + path / fmaf(d, d, xi);
}

KP_CUDA_C kp_status kp_si_path_cuda(const void *args, const kp_cuda *cuda, kp_err *err);
KP_CUDA_C kp_status kp_si_consolidate_cuda(const void *args, const kp_cuda *cuda, kp_err *err);
