/* stats.h: what a handful of seeds says, and how surely (Agarwal et al. 2021, "Deep RL at the edge
 * of the statistical precipice").
 *
 * Scores are [n_strata][...]: one stratum for each task (game), its runs inside. Resampling draws
 * runs with replacement within each stratum, so every resample has the same tasks. Numbers come
 * from KP_STREAM_BOOTSTRAP, so the same scores always give the same interval. */
#pragma once
#include <stdint.h>

#include "kappa/status.h"

typedef enum { KP_STAT_MEAN, KP_STAT_MEDIAN, KP_STAT_IQM } kp_stat;

typedef struct {
    double value, low, high;
} kp_estimate; /* low, high: ends of the interval */

enum { KP_BOOTSTRAP_RESAMPLES = 2000 };

/* x: [n] host, in any order; left alone. NAN where n is 0 or memory is short. The median of an even
 * number is the mean of the middle two; the interquartile mean leaves out floor(n/4) at either end
 * (scipy's trim_mean at 0.25, as in rliable). */
double kp_stat_of(kp_stat stat, const double *x, int n);

/* The statistic over all scores together, with its percentile interval.
 *   x       [sum of n]  scores, stratum after stratum
 *   n       [n_strata]  runs of each
 *   level   0.95 for a 95% interval
 * One score for each stratum gives an interval without width. */
kp_status kp_bootstrap(kp_estimate *estimate, kp_stat stat, const double *x, const int *n,
                       int n_strata, double level, uint64_t seed, kp_err *err);
