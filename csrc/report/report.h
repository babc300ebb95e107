/* report.h: what a set of runs shows: one row for each game and method, and learning curves.
 *
 *     kp_report *report = kp_report_open();
 *     for each folder: st = kp_report_add_run(report, dir, &err);
 *     st = kp_report_write(report, "report", &text, &err);     print text even where st says
 * gnuplot is missing kp_report_close(report);
 *
 * Runs belong to one method if their configurations agree in all but the seed, the game and what
 * cannot change results (folders, threads, workers, logging, checkpoints). Games are never averaged
 * together: their returns have different units. */
#pragma once
#include "kappa/status.h"

typedef struct kp_report kp_report;

kp_report *kp_report_open(void); /* NULL: out of memory */

/* dir: holds config.yaml and metrics.csv; each member is one run. KP_BAD_CONFIG where the same seed
 * of the same method is there already: it would count twice. */
kp_status kp_report_add_run(kp_report *report, const char *dir, kp_err *err);

/* The table; text is yours to free. KP_BAD_DATA without runs. */
kp_status kp_report_table(kp_report *report, char **text, kp_err *err);

/* Makes dir if need be and writes report.txt and, for each game, curves-GAME.csv, .gp and .png.
 * *text (yours to free) is the table, NULL only if there is none; it is there too where drawing
 * fails with KP_DEVICE. dir NULL: the table alone, nothing is written. */
kp_status kp_report_write(kp_report *report, const char *dir, char **text, kp_err *err);

void kp_report_close(kp_report *report); /* NULL is fine */
