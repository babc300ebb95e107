/* metrics.h: metrics.csv, written. A row is one member at the end of one interval.
 *
 *     st = kp_metrics_log_open(&log, path, columns, n, KP_METRICS_NEW, &err);
 *     st = kp_metrics_log_row(log, value, &err);          kept in memory
 *     st = kp_metrics_log_flush(log, &err);               once an interval
 *     st = kp_metrics_log_sync(log, &n_bytes, &err);      on disk; n_bytes goes into the checkpoint
 *     kp_metrics_log_close(log);
 *
 * Holds no time of day, so that a resumed run's file equals that of a run never stopped, byte for
 * byte. Read back by report/metrics_csv.h. Allocates nothing after opening. */
#pragma once
#include <stdint.h>

#include "kappa/status.h"

enum { KP_METRICS_NEW = -1 };

typedef struct {
    const char *name;
    int is_integer;
} kp_metrics_column;

typedef union {
    int64_t i; /* columns with is_integer */
    double d;  /* the others; NAN is an empty cell */
} kp_metrics_value;

typedef struct kp_metrics_log kp_metrics_log;

/* column [n], names borrowed for the call. at: KP_METRICS_NEW starts the file; else the checkpoint's
 * n_bytes, and what was written after it is cut off. KP_STORAGE where the file is missing, shorter
 * than that, or has other columns. */
kp_status kp_metrics_log_open(kp_metrics_log **log, const char *path, const kp_metrics_column *column, int n,
                              int64_t at, kp_err *err);

/* value [n]: in the order of the columns, "%.9g" and decimal. */
kp_status kp_metrics_log_row(kp_metrics_log *log, const kp_metrics_value *value, kp_err *err);
kp_status kp_metrics_log_flush(kp_metrics_log *log, kp_err *err);
kp_status kp_metrics_log_sync(kp_metrics_log *log, int64_t *n_bytes, kp_err *err);

void kp_metrics_log_close(kp_metrics_log *log); /* rows not flushed are lost; NULL is fine */
