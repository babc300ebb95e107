/* clip_bounds.h: from `optim.clip.*` to one bound for each tensor (arXiv 2407.01704, section 4).
 *
 * bound = kappa * s_l. s_l is 1/sqrt(fan_in), as in the authors' code, or the bound of the
 * initialiser in use; 1-D tensors take the s_l of the weight before them. */
#pragma once
#include "nn/layout.h"

enum { KP_MAX_NAMED_KAPPAS = 16 };

typedef struct {
    double kappa; /* > 0; INFINITY: no clipping, unless named below */
    int n_named;  /* kappas for "hidden", "output", a layer ("fc1") or a tensor ("fc1.weight"); the most exact wins */
    struct {
        char name[48];
        double kappa;
    } named[KP_MAX_NAMED_KAPPAS];
    int scale_init_bound;                    /* 0: fan_in, 1: init_bound */
    int bias, norm, log_std, noisy_sigma;    /* which 1-D tensors are clipped */
    int last_layer;                          /* 0: the output layer is left out */
    int once;                                /* 1: only after update `at`; 0: after every update */
    int64_t at;
} kp_clip_options;

/* bound: [n_tensors] host; INFINITY where a tensor is not clipped. KP_BAD_CONFIG names a kappa that
 * matches no tensor, with those there are. */
kp_status kp_clip_bounds(const kp_layout *layout, const kp_clip_options *options, float *bound, kp_err *err);
