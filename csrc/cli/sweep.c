/* sweep.c: `kappa sweep`: a study's populations, one after the other, then its table and curves. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "config/overrides.h"
#include "report/report.h"
#include "run/signals.h"
#include "sweep/sweep.h"

typedef struct {
    int n_args;
    const char *const *args; /* "key=value" for how to run, not what */
    int failed, not_finite;  /* populations; not_finite: done, with members that stopped */
    kp_status first_status;
    kp_err first;
} sweep_run;

static const char *plural(int n) { return n == 1 ? "" : "s"; }

/* runs/NAME of studies/NAME.yaml */
static kp_status default_dir(char dir[KP_PATH], const char *study, kp_err *err) {
    char name[256];
    const char *slash = strrchr(study, '/');
    snprintf(name, sizeof name, "%s", slash ? slash + 1 : study);
    char *dot = strrchr(name, '.');
    if (dot && dot != name) *dot = 0;
    return kp_path_join(dir, "runs", name, err);
}

static void show_plan(const kp_sweep *sweep, const kp_study *study, const char *dir) {
    printf("%s: %d run%s in %d population%s\n", dir, study->n, plural(study->n), sweep->n,
           plural(sweep->n));
    for (int i = 0; i < sweep->n; i++) {
        const kp_sweep_population *p = &sweep->population[i];
        const kp_config *c = p->member;
        printf("  %s  %2d member%s  ", strrchr(p->dir, '/') + 1, p->P, p->P == 1 ? " " : "s");
        if (c->algorithm == KP_ALGORITHM_STREAM) printf("%" PRId64 " samples", c->train.samples);
        else
            printf("%" PRId64 " agent steps, replay ratio %g", c->train.agent_steps,
                   c->train.replay_ratio);
        printf("  %s\n", p->holder                 ? "running now"
                         : p->state == KP_RUN_NONE ? "to be trained"
                                                   : kp_run_state_name(p->state));
        for (int m = 0; m < p->P; m++) printf("    %s\n", p->member[m].run.name);
    }
    fflush(stdout);
}

static kp_status override(kp_sweep *sweep, const sweep_run *r, kp_err *err) {
    kp_status st = KP_OK;
    for (int i = 0; !st && i < sweep->n; i++)
        st = kp_override(sweep->population[i].member, sweep->population[i].P, r->n_args, r->args,
                         "belongs into the study's file, so that the file says what was run", err);
    return st;
}

/* Trains or resumes one population. Only an interruption ends the sweep; failures are told and
 * kept. */
static kp_status run_one(sweep_run *r, const kp_sweep_population *p, const kp_origins *origins,
                         kp_err *err) {
    kp_err mine = { "" };
    kp_status st = p->state == KP_RUN_NONE ? kp_show_train(p->dir, p->member, p->P, origins, &mine)
                                           : kp_show_resume(p->dir, r->n_args, r->args, &mine);
    if (st == KP_INTERRUPTED) {
        *err = mine;
        return st;
    }
    if (!st) return KP_OK;
    fprintf(stderr, "kappa: %s\n", mine.text);
    if (st == KP_NON_FINITE) r->not_finite++; /* to its end, and so for good */
    else if (!r->failed++) r->first_status = st, r->first = mine;
    return KP_OK;
}

static kp_status run_all(sweep_run *r, kp_sweep *sweep, const kp_origins *origins, kp_err *err) {
    kp_status st = KP_OK;
    for (int i = 0; !st && i < sweep->n; i++) {
        kp_sweep_population *p = &sweep->population[i];
        int exit_code;
        /* the plan may be hours old, and another process at work on the same study */
        st = kp_rundir_peek(p->dir, &p->state, &exit_code, &p->holder, err);
        if (st) break;
        fprintf(stderr, "[%d/%d] %s: %d member%s%s\n", i + 1, sweep->n, p->dir, p->P, plural(p->P),
                p->state == KP_RUN_DONE ? ", done already"
                : p->holder             ? ", being trained by another process"
                                        : "");
        r->not_finite += p->state == KP_RUN_DONE && exit_code == KP_NON_FINITE;
        if (p->state == KP_RUN_DONE || p->holder) continue;
        st = run_one(r, p, origins, err);
    }
    return st;
}

/* The table of what there is, and where the rest is. */
static kp_status report(const kp_sweep *sweep, const char *dir, kp_err *err) {
    char folder[KP_PATH], metrics[KP_PATH], *text = NULL;
    kp_report *report = kp_report_open();
    int n = 0;
    if (!report) return kp_fail(err, KP_BAD_CONFIG, "report: out of memory");
    kp_status st = kp_path_join(folder, dir, "report", err);
    for (int i = 0; !st && i < sweep->n; i++) {
        st = kp_path_join(metrics, sweep->population[i].dir, "metrics.csv", err);
        if (st || !kp_file_exists(metrics)) continue;
        st = kp_report_add_run(report, sweep->population[i].dir, err), n++;
    }
    if (!st && n) st = kp_report_write(report, folder, &text, err);
    if (text) printf("\n%s\n%s: report.txt, curves as CSV and PNG\n", text, folder);
    free(text);
    kp_report_close(report);
    return st;
}

static kp_status conclude(const sweep_run *r, const kp_sweep *sweep, kp_err *err) {
    if (!r->failed && !r->not_finite) return KP_OK;
    if (!r->failed)
        return kp_fail(
            err, KP_NON_FINITE,
            "%d of %d population%s done, but with members that stopped: weights that are not "
            "finite; log.txt in its folder names them",
            r->not_finite, sweep->n, sweep->n == 1 ? " is" : "s are");
    if (sweep->n == 1) {
        err->text[0] = 0; /* said already */
        return r->first_status;
    }
    return kp_fail(err, r->first_status,
                   "%d of %d populations failed, the others are done; call again to try those once "
                   "more. The first: %.300s",
                   r->failed, sweep->n, r->first.text);
}

static kp_status sweep_study(int argc, char **argv, kp_err *err) {
    char dir[KP_PATH];
    const char *given_dir = NULL, *members = "0";
    char *end = NULL;
    kp_study study = { 0 };
    kp_sweep sweep = { 0 };
    int is_dry = kp_take_flag(&argc, argv, "--dry-run");
    kp_status st = kp_take_option(&argc, argv, "--dir", &given_dir, err);
    if (!st) st = kp_take_option(&argc, argv, "--members", &members, err);
    if (!st) st = kp_no_more_options(argc, argv, "sweep", err);
    if (!st && argc < 1)
        st = kp_fail(err, KP_BAD_CONFIG, "name a study's file; see kappa sweep --help");
    long most = strtol(members, &end, 10);
    if (!st && (*end || end == members || most < 0 || most > 4096))
        st = kp_fail(err, KP_BAD_CONFIG, "--members %s: expected a number from 1 to 4096", members);
    if (st) return st;
    sweep_run r = { .n_args = argc - 1, .args = (const char *const *)(argv + 1) };
    st = kp_study_load(&study, argv[0], err);
    if (!st && given_dir && (!*given_dir || strlen(given_dir) >= sizeof dir))
        st = kp_fail(err, KP_BAD_CONFIG, "--dir: %s, expected a folder's name",
                     *given_dir ? "seen too long a path" : "seen nothing");
    if (!st && given_dir) strcpy(dir, given_dir);
    else if (!st) st = default_dir(dir, argv[0], err);
    if (!st) st = kp_sweep_plan(&sweep, &study, dir, (int)most, err);
    if (!st) st = override(&sweep, &r, err);
    if (!st) show_plan(&sweep, &study, dir);
    if (!st && !is_dry) {
        st = kp_signals_install(err);
        if (!st) st = run_all(&r, &sweep, &study.origins, err);
        if (!st) {
            kp_status told = report(&sweep, dir, err);
            if (told) fprintf(stderr, "kappa: %s\n", err->text), err->text[0] = 0;
            st = conclude(&r, &sweep, err); /* what became of the runs says more than the report */
            if (!st) st = told;
        } else if (st == KP_INTERRUPTED) {
            kp_fail(err, st, "%s: saved; the same command goes on", dir);
        }
    }
    kp_sweep_free(&sweep);
    kp_study_free(&study);
    return st;
}

const kp_command kp_command_sweep = {
    .name = "sweep",
    .what = "train a study: every run of a grid, as populations",
    .run = sweep_study,
    .help =
        "usage: kappa sweep STUDY [--dir DIR] [--members N] [--dry-run] [key=value ...]\n\n"
        "  STUDY      a YAML file with base, set, methods and grid (experiments/ has some)\n"
        "  --dir      where the runs are kept (default: runs/ and the study's name)\n"
        "  --members  most members of one population (default: what the memory allows, at most 16, of streams 64)\n"
        "  --dry-run  show the populations, train nothing\n"
        "  key=value  settings that cannot change results: device, threads, env.workers, ...\n\n"
        "Runs that agree in all but seed and hyperparameters train as one population. What is done is skipped,\n"
        "what was stopped goes on, what failed is tried again; one failure does not stop the others. Ctrl-C\n"
        "saves. Ends with a table and curves in DIR/report, for which gnuplot is needed (exit code 4 without).\n\n"
        "example: kappa sweep experiments/quickstart.yaml\n",
};
