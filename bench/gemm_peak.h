/* gemm_peak.h: what this machine's multiply-add units can do, the limit of convolutions and matrix
 * products. Measured, since clocks, hypervisors and sibling threads make any printed figure wrong.
 */
#pragma once
#include <stdint.h>

#include "base/pool.h"

/* FLOP/s (two a multiply-add) of all the pool's threads together, each with its registers full and
 * no memory touched: the best of a few trials of some milliseconds. */
double kp_gemm_peak(kp_pool *pool);

/* One thread's loop (fma_loop.c, once for each vector width): runs n steps, returns FLOPs a step.
 */
typedef int (*kp_fma_loop)(int64_t n);
