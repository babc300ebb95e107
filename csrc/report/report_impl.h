/* report_impl.h: what report.c (runs, methods, table) and curves.c share. */
#pragma once
#include "base/files.h"
#include "config/config.h"
#include "kinds.h"
#include "metrics_csv.h"
#include "report.h"

typedef struct {
    kp_config config; /* of this member: its own seed */
    kp_metrics rows;  /* its own, owned */
    char dir[KP_PATH];
    int method, subject;
} kp_member_run;

typedef struct {
    char label[128]; /* "pong", "input_permuted, fashion-mnist" */
    char file[128];  /* the same, as a part of a file's name */
} kp_subject;

typedef struct {
    char label[256];
    const char *name; /* run.method, borrowed of a run; "": none */
    int style;        /* of its curves */
} kp_method;

struct kp_report {
    kp_member_run *run;
    int n, capacity;
    const kp_kind *kind;       /* this and what follows: set by kp_report_group */
    int n_methods, n_subjects; /* numbered by first appearance */
    kp_method *method;         /* [n_methods] */
    kp_subject *subject;       /* [n_subjects] */
    uint8_t *is_drawn;         /* [n_subjects][n_methods] 0: has no runs, or is not the best setting of
                                  its name */
    char (*silent)[KP_PATH];  /* [n_silent] folders of runs that have logged nothing yet */
    int n_silent;
};

kp_status kp_report_group(kp_report *report, kp_err *err);

/* The metric that stands for this one in the whole report, so that rows compare: return in
 * evaluation is return in training where no run has been evaluated. */
kp_metric kp_report_metric(const kp_report *report, kp_metric metric);

/* One number of a run, in the metric's own unit; NAN if it has logged none. */
double kp_report_value(const kp_member_run *run, kp_metric metric, kp_span span);

/* curves-SUBJECT.{csv,gp,png} in dir. */
kp_status kp_report_curves(const kp_report *report, int subject, const char *dir, kp_err *err);
