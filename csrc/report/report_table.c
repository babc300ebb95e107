/* report_table.c: the numbers of a run, and the table of methods. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "report_impl.h"
#include "stats.h"
#include "table.h"

enum { MAX_NOTES = 10 }; /* of a kind under the table */

static double cell(const kp_member_run *run, int row, kp_metric metric) {
    return run->rows.cell[(size_t)row * KP_N_METRICS + metric];
}

kp_metric kp_report_metric(const kp_report *r, kp_metric metric) {
    if (metric != KP_METRIC_EVAL_RETURN) return metric;
    for (int i = 0; i < r->n; i++)
        for (int j = 0; j < r->run[i].rows.n; j++)
            if (isfinite(cell(&r->run[i], j, metric))) return metric;
    return KP_METRIC_RETURN;
}

static double latest(const kp_member_run *run, kp_metric metric) {
    for (int i = run->rows.n - 1; i >= 0; i--)
        if (isfinite(cell(run, i, metric))) return cell(run, i, metric);
    return NAN;
}

/* The steps of a span: more than *from, at most *to. */
static void steps_of(const kp_member_run *run, kp_span span, double *from, double *to) {
    double task = (double)run->config.stream.task_samples, n_tasks;
    *from = 0, *to = latest(run, KP_METRIC_AGENT_STEP);
    n_tasks = ceil(*to / task);
    if (span == KP_SPAN_FIRST_TASK) *to = task;
    if (span == KP_SPAN_LAST_TASKS) *from = (n_tasks - ceil(n_tasks / 10)) * task;
}

double kp_report_value(const kp_member_run *run, kp_metric metric, kp_span span) {
    double from, to, before = 0, sum = 0, steps = 0;
    if (span == KP_SPAN_LATEST) return latest(run, metric);
    steps_of(run, span, &from, &to);
    for (int i = 0; i < run->rows.n; i++) {
        double step = cell(run, i, KP_METRIC_AGENT_STEP), x = cell(run, i, metric);
        if (before >= from && step <= to && isfinite(x))
            sum += x * (step - before), steps += step - before;
        before = step;
    }
    return steps > 0 ? sum / steps : NAN;
}

static int is_of(const kp_member_run *run, int subject, int method) {
    return run->subject == subject && run->method == method;
}

/* The numbers of a method's runs; returns how many have one. */
static int gather(const kp_report *r, int subject, int method, const kp_column *column, double *x) {
    kp_metric metric = kp_report_metric(r, column->metric);
    int n = 0;
    for (int i = 0; i < r->n; i++) {
        double value = is_of(&r->run[i], subject, method)
                           ? kp_report_value(&r->run[i], metric, column->span)
                           : NAN;
        if (isfinite(value)) x[n++] = value * kp_shown_of(metric)->factor;
    }
    return n;
}

/* Fewer digits for larger numbers, by the magnitude of `of`. */
static void add_numbers(kp_table *t, int digits, double of, int n, const double *x) {
    int d = fabs(of) >= 1000 ? 0 : fabs(of) >= 100 ? 1 : digits;
    if (n == 1) kp_table_add(t, "%.*f", d, x[0]);
    else kp_table_add(t, "%.*f … %.*f", d, x[0], d, x[1]);
}

static kp_status add_cell(kp_table *t, const kp_report *r, const kp_column *c, const double *x,
                          int n, double second_per_step, kp_err *err) {
    const int digits = kp_shown_of(kp_report_metric(r, c->metric))->digits;
    double value = NAN;
    kp_estimate e;
    switch (c->of_runs) {
    case KP_OF_RUNS_MEAN: value = kp_stat_of(KP_STAT_MEAN, x, n); break;
    case KP_OF_RUNS_MEDIAN: value = kp_stat_of(KP_STAT_MEDIAN, x, n); break;
    case KP_OF_RUNS_IQM: value = kp_stat_of(KP_STAT_IQM, x, n); break;
    case KP_OF_RUNS_INTERVAL: {
        kp_status st = n > 1 ? kp_bootstrap(&e, KP_STAT_MEAN, x, &n, 1, 0.95, 0, err) : KP_OK;
        if (n > 1 && !st) add_numbers(t, digits, e.value, 2, (double[]){ e.low, e.high });
        else kp_table_add(t, "-");
        return st;
    }
    case KP_OF_RUNS_LEAST:
    case KP_OF_RUNS_LEAST_SECOND:
        value = n ? x[0] : 0;
        for (int i = 1; i < n; i++) value = fmin(value, x[i]);
        kp_table_add(t, "%.0f", c->of_runs == KP_OF_RUNS_LEAST ? value : value * second_per_step);
        return KP_OK;
    }
    if (isfinite(value)) add_numbers(t, digits, value, 1, &value);
    else kp_table_add(t, "-");
    return KP_OK;
}

static kp_status add_row(kp_table *t, const kp_report *r, int subject, int method, double *x,
                         kp_err *err) {
    const kp_member_run *first = NULL;
    kp_status st = KP_OK;
    for (int i = 0; i < r->n && !first; i++)
        if (is_of(&r->run[i], subject, method)) first = &r->run[i];
    if (!first) return KP_OK;
    kp_table_add(t, "%s", r->subject[subject].label);
    kp_table_add(t, "%s", r->method[method].label);
    kp_table_add(t, "%d", gather(r, subject, method, r->kind->column, x));
    for (int c = 0; c < r->kind->n_columns && !st; c++) {
        const kp_column *column = &r->kind->column[c];
        int n = gather(r, subject, method, column, x);
        st = add_cell(t, r, column, x, n, kp_kind_second_per_step(&first->config), err);
    }
    kp_table_end_row(t);
    return st;
}

static void add_unfinished(FILE *f, const kp_report *r) {
    int n = 0;
    for (int i = 0; i < r->n; i++) {
        const kp_member_run *run = &r->run[i];
        double step = latest(run, KP_METRIC_AGENT_STEP), all = kp_kind_steps(&run->config);
        if (step >= all || n++ >= MAX_NOTES) continue;
        fprintf(f, "unfinished: %s, seed %" PRIu64 ": %.0f of %.0f %s\n", run->dir,
                run->config.seed, isfinite(step) ? step : 0, all, r->kind->step);
    }
    if (n > MAX_NOTES) fprintf(f, "unfinished: %d more\n", n - MAX_NOTES);
}

static int has_undrawn(const kp_report *r) {
    for (int i = 0; i < r->n; i++)
        if (!r->is_drawn[r->run[i].subject * r->n_methods + r->run[i].method]) return 1;
    return 0;
}

/* Says under the table what its numbers are, and which of them are not final. */
static char *add_notes(const kp_report *r, const char *table, const char *left_out) {
    char *bytes = NULL;
    size_t size;
    FILE *f = open_memstream(&bytes, &size);
    if (!f) return NULL;
    fprintf(f, "%s\n%s%s\ninterval: 95%%, stratified bootstrap, %d resamples\n%s", table,
            r->kind->score, kp_shown_of(kp_report_metric(r, r->kind->column->metric))->about,
            KP_BOOTSTRAP_RESAMPLES, r->kind->notes);
    if (has_undrawn(r))
        fprintf(f, "curves: of each method the settings with the best %s, by these same runs\n",
                r->kind->column->head);
    if (*left_out) fprintf(f, "left out, for want of room: %s\n", left_out);
    add_unfinished(f, r);
    for (int i = 0; i < r->n_silent && i < MAX_NOTES; i++)
        fprintf(f, "left out: %s: nothing logged yet\n", r->silent[i]);
    if (r->n_silent > MAX_NOTES) fprintf(f, "left out: %d more\n", r->n_silent - MAX_NOTES);
    int failed = ferror(f);
    if (fclose(f) || failed) {
        free(bytes);
        bytes = NULL;
    }
    return bytes;
}

enum { N_FIRST = 3 }; /* subject, method, runs: the columns before the kind's own */

/* Hides what a reader misses least until the table fits, and names it. */
static void fit(kp_table *t, const kp_kind *kind, int columns, char *left_out, size_t size) {
    size_t n = 0;
    for (int next = 1; next <= kind->n_columns; next++)
        for (int c = 0; c < kind->n_columns && kp_table_width(t) > columns; c++) {
            if (kind->column[c].given_up != next) continue;
            t->hidden[N_FIRST + c] = 1;
            n += (size_t)snprintf(left_out + n, size - n, "%s%s", n ? ", " : "",
                                  kind->column[c].head);
        }
}

kp_status kp_report_table_within(kp_report *report, int columns, char **text, kp_err *err) {
    kp_table t = { 0 };
    char *table = NULL, left_out[128] = "";
    double *x = NULL;
    kp_status st = kp_report_group(report, err);
    if (st) goto out;
    x = malloc((size_t)report->n * sizeof *x);
    if (!x) {
        st = kp_fail(err, KP_BAD_CONFIG, "report: out of memory");
        goto out;
    }
    kp_table_add(&t, "%s", report->kind->subject);
    kp_table_add(&t, "method");
    kp_table_add(&t, "runs");
    for (int c = 0; c < report->kind->n_columns; c++)
        kp_table_add(&t, "%s", report->kind->column[c].head);
    kp_table_end_row(&t);
    for (int s = 0; s < report->n_subjects && !st; s++)
        for (int m = 0; m < report->n_methods && !st; m++) st = add_row(&t, report, s, m, x, err);
    if (!st && columns) fit(&t, report->kind, columns, left_out, sizeof left_out);
    if (!st) st = kp_table_write(&t, &table, err);
    if (!st && !(*text = add_notes(report, table, left_out)))
        st = kp_fail(err, KP_BAD_CONFIG, "report: out of memory");
out:
    free(table);
    free(x);
    kp_table_free(&t);
    return st;
}

kp_status kp_report_table(kp_report *report, char **text, kp_err *err) {
    return kp_report_table_within(report, 0, text, err);
}
