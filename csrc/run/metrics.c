/* metrics.c: rows are formatted as they come; the head is checked when a file is continued. */
#include "metrics.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "append.h"

enum { CELL = 32, MAX_HEAD = 4096, ROOM = 1 << 18 };

struct kp_metrics_log {
    kp_append file;
    int n;
    uint8_t *is_integer; /* [n] */
    char *row;           /* [n * CELL] */
};

static kp_status head_of(char head[MAX_HEAD], const kp_metrics_column *column, int n, kp_err *err) {
    size_t used = 0;
    for (int i = 0; i < n; i++) {
        int put = snprintf(head + used, MAX_HEAD - used, "%s%s", column[i].name,
                           i + 1 < n ? "," : "\n");
        if ((size_t)put >= MAX_HEAD - used)
            return kp_fail(err, KP_BAD_CONFIG,
                           "metrics: the names of %d columns are longer than %d bytes", n,
                           MAX_HEAD);
        used += (size_t)put;
    }
    return KP_OK;
}

static kp_status check_head(const kp_metrics_log *log, const char *head, kp_err *err) {
    char seen[MAX_HEAD] = "";
    ssize_t n = pread(log->file.fd, seen, strlen(head), 0);
    if (n != (ssize_t)strlen(head) || strcmp(seen, head)) {
        seen[strcspn(seen, "\n")] = 0;
        return kp_fail(err, KP_STORAGE,
                       "%s: columns \"%.120s\", expected \"%.*s\"; put the file of this run back",
                       log->file.path, seen,
                       (int)strcspn(head, "\n") < 120 ? (int)strcspn(head, "\n") : 120, head);
    }
    return KP_OK;
}

kp_status kp_metrics_log_open(kp_metrics_log **out, const char *path,
                              const kp_metrics_column *column, int n, int64_t at, kp_err *err) {
    char head[MAX_HEAD] = "";
    *out = NULL;
    kp_metrics_log *log = calloc(1, sizeof *log);
    if (!log) return kp_fail(err, KP_STORAGE, "%s: out of host memory", path);
    log->n = n;
    log->file.fd = -1;
    log->is_integer = calloc((size_t)n, 1);
    log->row = malloc((size_t)n * CELL);
    kp_status st = log->is_integer && log->row
                       ? KP_OK
                       : kp_fail(err, KP_STORAGE, "%s: out of host memory", path);
    if (!st) st = head_of(head, column, n, err);
    if (!st) st = kp_append_open(&log->file, path, at, ROOM, err);
    if (!st)
        st = at < 0 ? kp_append_put(&log->file, head, strlen(head), err)
                    : check_head(log, head, err);
    if (!st && at < 0) st = kp_append_flush(&log->file, err);
    if (st) {
        kp_metrics_log_close(log);
        return st;
    }
    for (int i = 0; i < n; i++) log->is_integer[i] = (uint8_t)column[i].is_integer;
    *out = log;
    return KP_OK;
}

kp_status kp_metrics_log_row(kp_metrics_log *log, const kp_metrics_value *value, kp_err *err) {
    char *at = log->row;
    for (int i = 0; i < log->n; i++) {
        if (log->is_integer[i]) at += snprintf(at, CELL, "%" PRId64, value[i].i);
        else if (!isnan(value[i].d)) at += snprintf(at, CELL, "%.9g", value[i].d);
        *at++ = i + 1 < log->n ? ',' : '\n';
    }
    return kp_append_put(&log->file, log->row, (size_t)(at - log->row), err);
}

kp_status kp_metrics_log_flush(kp_metrics_log *log, kp_err *err) {
    return kp_append_flush(&log->file, err);
}

kp_status kp_metrics_log_sync(kp_metrics_log *log, int64_t *n_bytes, kp_err *err) {
    return kp_append_sync(&log->file, n_bytes, err);
}

void kp_metrics_log_close(kp_metrics_log *log) {
    if (!log) return;
    kp_append_close(&log->file);
    free(log->is_integer);
    free(log->row);
    free(log);
}
