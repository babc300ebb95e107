/* metrics_csv.c: see metrics_csv.h. */
#include "metrics_csv.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_COLUMNS = 256 };

static const char *const names[KP_N_METRICS] = {
    "member",         "agent_step",         "frames",
    "updates",        "return_mean",        "eval_return_mean",
    "weight_l2",      "share_clipped",      "accuracy",
    "loss",           "plasticity",         "dead_units",
    "effective_rank", "distance_from_init",
};

/* Ends the cell at its comma and moves *at behind it; *at is NULL after the last. */
static char *next_cell(char **at) {
    char *cell = *at, *comma = strchr(cell, ',');
    if (comma) *comma = 0;
    *at = comma ? comma + 1 : NULL;
    return cell;
}

/* column[i]: which metric cell i is, -1 for others. Returns their number, -1 for a head that is
 * none. */
static int read_head(char *line, int *column) {
    int n = 0, needed = 0;
    for (char *at = line; at; n++) {
        if (n == MAX_COLUMNS) return -1;
        const char *name = next_cell(&at);
        column[n] = -1;
        for (int m = 0; m < KP_N_METRICS; m++)
            if (!strcmp(name, names[m])) column[n] = m;
        needed += column[n] == KP_METRIC_MEMBER || column[n] == KP_METRIC_AGENT_STEP;
    }
    return needed == 2 ? n : -1;
}

static kp_status read_row(double *row, char *line, const int *column, int n_columns,
                          const char *path, int number, kp_err *err) {
    int n = 0;
    for (int m = 0; m < KP_N_METRICS; m++) row[m] = NAN;
    for (char *at = line; at; n++) {
        char *cell = next_cell(&at), *end;
        if (n >= n_columns || column[n] < 0 || !*cell) continue;
        row[column[n]] = strtod(cell, &end);
        if (*end)
            return kp_fail(err, KP_BAD_DATA, "%s:%d: '%s' is not a number", path, number, cell);
    }
    if (n != n_columns)
        return kp_fail(err, KP_BAD_DATA, "%s:%d: %d cells, expected %d", path, number, n,
                       n_columns);
    if (!(row[KP_METRIC_MEMBER] >= 0) || !(row[KP_METRIC_AGENT_STEP] >= 0))
        return kp_fail(err, KP_BAD_DATA, "%s:%d: member or agent_step is empty", path, number);
    return KP_OK;
}

kp_status kp_metrics_read(kp_metrics *metrics, const char *path, kp_err *err) {
    kp_metrics m = { 0 };
    char *line = NULL;
    size_t size = 0;
    ssize_t length;
    int column[MAX_COLUMNS], n_columns = 0, capacity = 0;
    kp_status st = KP_OK;
    FILE *f = fopen(path, "r");
    if (!f) {
        st = kp_fail(err, KP_STORAGE, "%s: cannot be read: %s", path, strerror(errno));
        goto out;
    }
    for (int number = 1; !st && (length = getline(&line, &size, f)) > 0 && line[length - 1] == '\n';
         number++) {
        line[length - 1] = 0;
        if (number == 1) {
            n_columns = read_head(line, column);
            if (n_columns < 0)
                st = kp_fail(err, KP_BAD_DATA, "%s:1: no head with member and agent_step", path);
            continue;
        }
        if (m.n == capacity) {
            capacity = capacity ? 2 * capacity : 256;
            double *grown = realloc(m.cell, (size_t)capacity * KP_N_METRICS * sizeof *grown);
            if (!grown) {
                st = kp_fail(err, KP_BAD_CONFIG, "%s: out of memory", path);
                break;
            }
            m.cell = grown;
        }
        st = read_row(m.cell + (size_t)m.n * KP_N_METRICS, line, column, n_columns, path, number,
                      err);
        if (!st) m.n++;
    }
    if (!st && ferror(f))
        st = kp_fail(err, KP_STORAGE, "%s: cannot be read: %s", path, strerror(errno));
    if (!st && !n_columns)
        st = kp_fail(err, KP_BAD_DATA, "%s: empty; the run has logged nothing yet", path);
out:
    if (f) fclose(f);
    free(line);
    if (st) kp_metrics_free(&m);
    *metrics = m;
    return st;
}

void kp_metrics_free(kp_metrics *metrics) {
    free(metrics->cell);
    memset(metrics, 0, sizeof *metrics);
}
