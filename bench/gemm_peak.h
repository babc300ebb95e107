/* gemm_peak.h: what this machine's multiply-add units can do, the limit of convolutions and matrix
 * products. Measured, since clocks, hypervisors and sibling threads make any printed figure wrong.
 */
#pragma once
#include <stdint.h>

#include "base/pool.h"

/* FLOP/s (two a multiply-add) of all the pool's threads together, each with its registers full and
 * no memory touched: the best of a few trials of some milliseconds. */
double kp_gemm_peak(kp_pool *pool);

/* Likewise pairs of a square root and a division by it, which Adam has one of for each weight. */
double kp_root_peak(kp_pool *pool);

/* Passes a second, of all threads together, that read and write n floats (a multiple of 16) of each of n_arrays that
 * are the thread's own. NAN: no memory for them, or more than 256 arrays. */
double kp_pass_peak(kp_pool *pool, int n_arrays, int64_t n);

/* One thread's loop (fma_loop.c, once for each vector width): runs n steps, returns FLOPs (or
 * pairs, stream_limits.c) a step.
 */
typedef int (*kp_fma_loop)(int64_t n);
