/* stats.c: see stats.h. */
#include "stats.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/philox.h"

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Sorts x in place. */
static double stat_in_place(kp_stat stat, double *x, int n) {
    if (n < 1) return NAN;
    int cut = 0;
    if (stat != KP_STAT_MEAN) {
        qsort(x, (size_t)n, sizeof *x, ascending);
        cut = stat == KP_STAT_IQM ? n / 4 : (n - 1) / 2;
    }
    double sum = 0;
    for (int i = cut; i < n - cut; i++) sum += x[i];
    return sum / (n - 2 * cut);
}

double kp_stat_of(kp_stat stat, const double *x, int n) {
    double *copy = n > 0 ? malloc((size_t)n * sizeof *copy) : NULL;
    if (!copy) return NAN;
    memcpy(copy, x, (size_t)n * sizeof *copy);
    double value = stat_in_place(stat, copy, n);
    free(copy);
    return value;
}

/* Linear between neighbours, as numpy.percentile. */
static double percentile(const double *sorted, int n, double share) {
    double at = share * (n - 1);
    int i = (int)at;
    return i + 1 < n ? sorted[i] + (at - i) * (sorted[i + 1] - sorted[i]) : sorted[n - 1];
}

kp_status kp_bootstrap(kp_estimate *estimate, kp_stat stat, const double *x, const int *n,
                       int n_strata, double level, uint64_t seed, kp_err *err) {
    int total = 0;
    for (int s = 0; s < n_strata; s++) total += n[s];
    *estimate = (kp_estimate){ NAN, NAN, NAN };
    if (total < 1) return KP_OK;
    double *drawn = calloc((size_t)total + KP_BOOTSTRAP_RESAMPLES, sizeof *drawn);
    if (!drawn) return kp_fail(err, KP_BAD_CONFIG, "statistics of %d runs: out of memory", total);
    double *result = drawn + total;
    for (int r = 0; r < KP_BOOTSTRAP_RESAMPLES; r++) {
        for (int s = 0, first = 0; s < n_strata; first += n[s++])
            for (int i = first; i < first + n[s]; i++) {
                kp_philox_block b = kp_philox(seed, KP_STREAM_BOOTSTRAP,
                                              (uint64_t)r << 32 | (uint32_t)i);
                drawn[i] = x[first + (int)kp_below(b.x[0], b.x[1], (uint64_t)n[s])];
            }
        result[r] = stat_in_place(stat, drawn, total);
    }
    qsort(result, KP_BOOTSTRAP_RESAMPLES, sizeof *result, ascending);
    estimate->value = kp_stat_of(stat, x, total);
    estimate->low = percentile(result, KP_BOOTSTRAP_RESAMPLES, (1 - level) / 2);
    estimate->high = percentile(result, KP_BOOTSTRAP_RESAMPLES, (1 + level) / 2);
    free(drawn);
    return KP_OK;
}
