/* report.h: what a set of runs shows: one row for each subject (a game; a stream's problem and data set)
 * and method, and learning curves.
 *
 *     kp_report *report = kp_report_open();
 *     for each folder: st = kp_report_add_run(report, dir, &err);
 *     st = kp_report_write(report, "report", &text, &err);
 *     if (text) ...                            there even where st says that gnuplot is missing
 *     kp_report_close(report);
 *
 * Runs belong to one method if their configurations agree in all but the seed, the subject and what
 * cannot change results (folders, threads, workers, logging, checkpoints). Subjects are never averaged
 * together: their scores have different units. A method is called by its run.method, else by what tells
 * it from the others. Where methods of one name differ in settings, the table has all of them and the
 * figure the best. Runs of two algorithms are two reports. */
#pragma once
#include "kappa/status.h"

typedef struct kp_report kp_report;

kp_report *kp_report_open(void); /* NULL: out of memory */

/* dir: a run directory (run/members.h), each member of which is one run. KP_BAD_CONFIG where the same seed
 * of the same method is there already: it would count twice. */
kp_status kp_report_add_run(kp_report *report, const char *dir, kp_err *err);

/* Every run directory among the subfolders of dir, a study's. Those that have logged nothing yet are
 * named under the table; KP_BAD_DATA where no other is there. */
kp_status kp_report_add_folder(kp_report *report, const char *dir, kp_err *err);

/* The table; text is yours to free. KP_BAD_DATA without runs, KP_BAD_CONFIG for runs of several
 * algorithms. */
kp_status kp_report_table(kp_report *report, char **text, kp_err *err);

/* The same for a terminal: columns that do not fit are left out, which a line under the table says.
 * columns 0: all fit. */
kp_status kp_report_table_within(kp_report *report, int columns, char **text, kp_err *err);

/* Subject i of the latest table, as it stands in files' names: "pong", "input_permuted-fashion-mnist";
 * NULL after the last. */
const char *kp_report_subject(const kp_report *report, int i);

/* Makes dir if need be and writes report.txt and, for each subject, curves-SUBJECT.csv, .gp and .png.
 * *text (yours to free) is the table, NULL only if there is none; it is there too where drawing
 * fails with KP_DEVICE. dir NULL: the table alone, nothing is written. */
kp_status kp_report_write(kp_report *report, const char *dir, char **text, kp_err *err);

void kp_report_close(kp_report *report); /* NULL is fine */
