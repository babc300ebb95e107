/* report_impl.h: what report.c (runs, methods, table) and curves.c share. */
#pragma once
#include "base/files.h"
#include "config/config.h"
#include "metrics_csv.h"
#include "report.h"

typedef struct {
    kp_config config; /* of this member: its own seed */
    kp_metrics rows;  /* its own, owned */
    char dir[KP_PATH];
    int method, game;
} kp_member_run;

struct kp_report {
    kp_member_run *run;
    int n, capacity;
    int n_methods, n_games; /* numbered by first appearance; set by kp_report_group */
    char (*label)[256];     /* [n_methods] */
    char (*game)[64];       /* [n_games] */
    char (*silent)[KP_PATH];  /* [n_silent] folders of runs that have logged nothing yet */
    int n_silent;
};

kp_status kp_report_group(kp_report *report, kp_err *err);

/* Evaluation where any run has it, else training; the same for the whole report, so that rows
 * compare. */
kp_metric kp_report_return(const kp_report *report);

/* curves-GAME.{csv,gp,png} in dir. */
kp_status kp_report_curves(const kp_report *report, int game, const char *dir, kp_err *err);
