/* penalty.h: what regularisers add to a gradient before an update rule sees it.
 *
 *     L2        lambda theta                (coupled weight decay, as PyTorch's `weight_decay`)
 *     L2 Init   lambda (theta - theta_0)    (Kumar et al. 2023, "Maintaining plasticity via regenerative
 *                                            regularization", section 3) */
#pragma once
#include "kp_kernel.h"

/* x0 is read only where l2init is not 0 in some member: pass 0 else. */
KP_HD float kp_penalty(float g, float x, float x0, float l2, float l2init) {
    return fmaf(l2init, x - x0, fmaf(l2, x, g));
}
