/* penalty.h: what regularisers add to a gradient before an update rule sees it.
 *
 *     L2        lambda theta                (coupled weight decay, as PyTorch's `weight_decay`)
 *     L2 Init   lambda (theta - theta_0)    (Kumar et al. 2023, "Maintaining plasticity via regenerative
 *                                            regularization", section 3) */
#pragma once
#include "kp_kernel.h"

/* x0 is read only where l2init is not 0: pass 0 else. A member without a term has the gradient's own
 * bits, the sign of a zero too, whatever other members have. */
KP_HD float kp_penalty(float g, float x, float x0, float l2, float l2init) {
    g = l2 != 0.0f ? fmaf(l2, x, g) : g;
    return l2init != 0.0f ? fmaf(l2init, x - x0, g) : g;
}
