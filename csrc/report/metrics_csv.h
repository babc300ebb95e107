/* metrics_csv.h: metrics.csv of a run, read back.
 *
 * The head names the columns, in any order; unknown ones are ignored, missing ones are NAN
 * throughout. An empty cell is NAN. A last line without its newline was cut off by a crash and is
 * left out. */
#pragma once
#include "kappa/status.h"

typedef enum { /* names: metrics_csv.c */
               KP_METRIC_MEMBER,
               KP_METRIC_AGENT_STEP,
               KP_METRIC_FRAMES,
               KP_METRIC_UPDATES,
               KP_METRIC_RETURN,
               KP_METRIC_EVAL_RETURN,
               KP_METRIC_WEIGHT_L2,
               KP_METRIC_SHARE_CLIPPED,
               KP_METRIC_ACCURACY,
               KP_METRIC_LOSS,
               KP_METRIC_PLASTICITY,
               KP_METRIC_DEAD_UNITS,
               KP_METRIC_EFFECTIVE_RANK,
               KP_METRIC_DISTANCE,
               KP_N_METRICS
} kp_metric;

typedef struct {
    double *cell; /* [n][KP_N_METRICS], owned */
    int n;
} kp_metrics;

/* KP_BAD_DATA with file and line for a cell that is no number, a row with too few or too many
 * cells, or a file without member and agent_step; KP_STORAGE where it cannot be read. */
kp_status kp_metrics_read(kp_metrics *metrics, const char *path, kp_err *err);
void kp_metrics_free(kp_metrics *metrics);
