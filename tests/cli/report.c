/* report.c: `kappa report` on runs made up here: one, several, a study's folder, without gnuplot.
 */
#include "program.h"

#include <stdlib.h>

#include "base/files.h"
#include "run/members.h"
#include "scratch.h"

static char folder[KP_PATH];

static void setup(void) { scratch_folder(folder); }
static void teardown(void) { kp_folder_remove(folder, NULL); }

TestSuite(cli_report, .init = setup, .fini = teardown);

static const char *in_folder(const char *name) {
    static char path[8][KP_PATH];
    static int at;
    at = (at + 1) % 8;
    cr_assert_eq(kp_path_join(path[at], folder, name, NULL), KP_OK);
    return path[at];
}

/* Two members, kappa none and 2, with a seed each; `rows` rows of metrics. */
static const char *make_run(const char *name, int seed, int rows) {
    static const char *const kappa[] = { "optim.clip.kappa=none", "optim.clip.kappa=2" };
    const char *path = in_folder(name);
    char seed_is[32], *metrics = NULL;
    kp_rundir *dir = NULL;
    kp_config member[2];
    kp_origins origins;
    kp_err err = { "" };
    size_t n;
    snprintf(seed_is, sizeof seed_is, "seed=%d", seed);
    for (int i = 0; i < 2; i++)
        cr_assert_eq(kp_config_load(&member[i], &origins, "dqn-dopamine", 3,
                                    (const char *[]){ kappa[i], seed_is,
                                                      "train.agent_steps=20000" },
                                    &err),
                     KP_OK, "%s", err.text);
    cr_assert_eq(kp_rundir_open(&dir, path, KP_RUNDIR_NEW, &err), KP_OK, "%s", err.text);
    cr_assert_eq(kp_members_write(dir, member, &origins, 2, &err), KP_OK, "%s", err.text);
    FILE *f = open_memstream(&metrics, &n);
    fputs(rows ? "member,agent_step,return_mean,weight_l2,share_clipped\n" : "", f);
    for (int row = 1; row <= rows; row++)
        for (int i = 0; i < 2; i++)
            fprintf(f, "%d,%d,%d,%d,%s\n", i, 1000 * row, row * (i + 1) + seed, 20 + row,
                    i ? "0.25" : "");
    cr_assert(!fclose(f));
    cr_assert_eq(kp_rundir_write(dir, "metrics.csv", metrics, n, &err), KP_OK, "%s", err.text);
    free(metrics);
    kp_rundir_close(dir);
    return path;
}

static int has_png(const char *path) {
    uint8_t *bytes = NULL;
    size_t n = 0;
    int is = !kp_file_read(path, &bytes, &n, NULL) && n > 1000 && !memcmp(bytes, "\x89PNG", 4);
    free(bytes);
    return is;
}

static void expect_in(const char *text, const char *want) {
    cr_expect(strstr(text, want), "\"%s\" not in: %s", want, text);
}

static int has_gnuplot(void) { return !system("command -v gnuplot >/dev/null"); }

Test(cli_report, a_run_gets_its_table_and_curves_beside_it) {
    if (!has_gnuplot()) cr_skip_test("no gnuplot");
    char named[KP_PATH + 1], want[KP_PATH + 64];
    snprintf(named, sizeof named, "%s/", make_run("a", 0, 20)); /* as a shell completes it */
    const program_said *p = PROGRAM("report", named);
    cr_assert_eq(p->code, 0, "%s", p->err);
    cr_expect(!*p->err, "%s", p->err);
    expect_in(p->out, "kappa none");
    expect_in(p->out, "kappa 2");
    snprintf(want, sizeof want, "\n%s\n%s\n", in_folder("a/report/report.txt"),
             in_folder("a/report/curves-pong.{png,csv}"));
    expect_in(p->out, want);
    cr_expect(has_png(in_folder("a/report/curves-pong.png")));
    uint8_t *text = NULL;
    size_t n;
    cr_assert_eq(kp_file_read(in_folder("a/report/report.txt"), &text, &n, NULL), KP_OK);
    cr_expect(!strncmp((char *)text, p->out, n), "the file says: %s", (char *)text);
    free(text);
}

Test(cli_report, a_folder_of_runs_is_one_report) {
    if (!has_gnuplot()) cr_skip_test("no gnuplot");
    make_run("study/a", 0, 20);
    make_run("study/b", 1, 20);
    make_run("study/c", 2, 0);                /* not begun yet */
    for (int again = 0; again < 2; again++) { /* its own report is no run */
        const program_said *p = PROGRAM("report", in_folder("study"));
        cr_assert_eq(p->code, 0, "%s", p->err);
        expect_in(p->out, "pong  kappa none     2   20.50  20.00 … 21.00");
        expect_in(p->out, "study/c: nothing logged yet\n");
        cr_expect(has_png(in_folder("study/report/curves-pong.png")));
    }
}

Test(cli_report, several_runs_go_where_they_are_told) {
    if (!has_gnuplot()) cr_skip_test("no gnuplot");
    const char *a = make_run("a", 0, 20), *b = make_run("b", 1, 20);
    const program_said *p = PROGRAM("report", a, b, "-o", in_folder("out/of/it"));
    cr_assert_eq(p->code, 0, "%s", p->err);
    cr_expect(has_png(in_folder("out/of/it/curves-pong.png")) &&
              !kp_file_exists(in_folder("a/report")));
    p = PROGRAM("report", a, a);
    cr_expect_eq(p->code, 2);
    expect_in(p->err, "it would count twice");
}

Test(cli_report, without_gnuplot_the_table_is_printed) {
    make_run("a", 0, 20);
    setenv("PATH", "/nowhere", 1);
    const program_said *p = PROGRAM("report", in_folder("a"));
    cr_expect_eq(p->code, 4, "%d", p->code);
    expect_in(p->err, "gnuplot is not installed");
    cr_expect(strchr(p->err, '\n') == p->err + strlen(p->err) - 1, "%s", p->err);
    expect_in(p->out, "kappa none");
    expect_in(p->out, "/a/report/curves-pong.csv\n");
    cr_expect(kp_file_exists(in_folder("a/report/curves-pong.csv")));
}

Test(cli_report, what_cannot_be_reported_is_named) {
    make_run("silent/a", 0, 0);
    const program_said *p = PROGRAM("report", in_folder("silent"));
    cr_expect_eq(p->code, 3);
    expect_in(p->err, "/silent: its runs have logged nothing yet");
    p = PROGRAM("report", in_folder("silent/a"));
    cr_expect_eq(p->code, 3);
    expect_in(p->err, "/silent/a/metrics.csv: empty");
    cr_assert_eq(kp_folder_make(in_folder("empty"), NULL), KP_OK);
    p = PROGRAM("report", in_folder("empty"));
    cr_expect_eq(p->code, 3);
    expect_in(p->err, "/empty: neither a run (config.yaml, metrics.csv) nor a folder of runs");
}
