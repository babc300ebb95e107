/* report.c: `kappa report`. */
#include "report/report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "cli.h"
#include "run/rundir.h"
#include "terminal.h"

static kp_status run(int argc, char **argv, kp_err *err) {
    const char *dir = NULL;
    char beside[KP_PATH], *text = NULL;
    kp_report *report = NULL;
    kp_status st = kp_take_option(&argc, argv, "-o", &dir, err);
    if (!st) st = kp_no_more_options(argc, argv, "report", err);
    if (!st && !argc)
        st = kp_fail(
            err, KP_BAD_CONFIG,
            "report: name runs or folders of runs, such as runs/pong; see kappa report --help");
    if (!st && !(report = kp_report_open()))
        st = kp_fail(err, KP_BAD_CONFIG, "report: out of memory");
    for (int i = 0; i < argc && !st; i++) {
        kp_path_trim(argv[i]);
        st = kp_rundir_has_config(argv[i]) ? kp_report_add_run(report, argv[i], err)
                                           : kp_report_add_folder(report, argv[i], err);
    }
    if (!st && !dir) {
        st = argc == 1 ? kp_path_join(beside, argv[0], "report", err) : KP_OK;
        dir = argc == 1 ? beside : "report";
    }
    if (!st) st = kp_report_write(report, dir, &text, err);
    if (text) {
        char *fits = NULL;
        kp_report_table_within(report, kp_terminal_columns(), &fits, NULL);
        printf("%s\n%s/report.txt\n", fits ? fits : text, dir);
        for (int i = 0; kp_report_subject(report, i); i++)
            printf("%s/curves-%s.%s\n", dir, kp_report_subject(report, i),
                   st ? "csv" : "{png,csv}");
        free(fits);
    }
    free(text);
    kp_report_close(report);
    return st;
}

const kp_command kp_command_report = {
    .name = "report",
    .what = "a table and learning curves of runs",
    .run = run,
    .help = "usage: kappa report RUN ... [-o DIR]\n\n"
            "  RUN     a run, or a folder of runs (a study's)\n"
            "  -o DIR  where report.txt, curves-GAME.csv and curves-GAME.png go (for streams: the problem and\n"
            "          data set); else report/ in the run or the folder, or here where several are named\n\n"
            "Runs that differ in the seed alone are one row: means and a 95% interval.\n"
            "Curves need gnuplot; without it the rest is written, and the exit code is 4.\n\n"
            "example: kappa report runs/atari_replay_ratio_small\n",
};
