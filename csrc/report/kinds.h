/* kinds.h: what a report shows of each algorithm's runs: the columns of its table, the panels of its
 * figure, the axes. A new algorithm is a row of kinds.c. */
#pragma once
#include "config/config.h"
#include "metrics_csv.h"

typedef struct {
    const char *name;  /* in the CSV of curves */
    const char *title; /* of its panel */
    double factor;     /* from metrics.csv to what is shown */
    int digits;        /* after the point */
    const char *about; /* ends the line under the table that explains the score */
} kp_shown;

/* How a metric is shown, wherever it is. */
const kp_shown *kp_shown_of(kp_metric metric);

typedef enum {           /* of one run's rows, one number */
               KP_SPAN_LATEST, /* the latest that was logged */
               KP_SPAN_RUN,    /* means by samples, over rows that lie within: all of them, */
               KP_SPAN_FIRST_TASK,
               KP_SPAN_LAST_TASKS /* the last tenth of the tasks, at least one */
} kp_span;

typedef enum { /* of the runs' numbers */
               KP_OF_RUNS_MEAN,
               KP_OF_RUNS_INTERVAL,
               KP_OF_RUNS_MEDIAN,
               KP_OF_RUNS_IQM,
               KP_OF_RUNS_LEAST,
               KP_OF_RUNS_LEAST_SECOND /* in units of the second axis */
} kp_of_runs;

typedef struct {
    const char *head;
    kp_metric metric;
    kp_span span;
    kp_of_runs of_runs;
    int given_up; /* where room is short: first the column with 1, then 2, ...; 0: never */
} kp_column;

typedef struct {
    const char *subject;     /* what runs are compared on: head of the first column */
    const kp_column *column; /* [n_columns] after subject, method and runs; the first is the score */
    int n_columns;
    const kp_metric *panel; /* [n_panels] */
    int n_panels, n_abreast;
    const char *step, *step_column; /* of the first axis, in words and in the CSV */
    const char *second, *second_column;
    const char *score, *notes; /* under the table: before kp_shown.about, after the interval */
} kp_kind;

const kp_kind *kp_kind_of(int algorithm);

/* Of a run: its length in steps, and units of the second axis in a step. */
double kp_kind_steps(const kp_config *config);
double kp_kind_second_per_step(const kp_config *config);

/* What it is compared on: "pong", "input_permuted, fashion-mnist". */
void kp_kind_subject(const kp_config *config, char *text, size_t size);
