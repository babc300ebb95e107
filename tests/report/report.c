/* report.c: made-up runs on disk, through to the table, the curves and the picture. */
#include "report/report.h"

#include <criterion/criterion.h>
#include <math.h>
#include <png.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/config.h"
#include "report/metrics_csv.h"

#define HEAD                                                                                       \
    "member,seed,agent_step,frames,updates,episodes,return_mean,eval_return_mean,eval_return_std," \
    "eval_episodes,"                                                                               \
    "loss,q_mean,grad_norm,weight_l2,share_clipped,epsilon,non_finite\n"

static char root[] = "/tmp/kp-report-XXXXXX";

static void make_root(void) { cr_assert(mkdtemp(root)); }

static void remove_root(void) {
    char command[64];
    snprintf(command, sizeof command, "rm -r %s", root);
    cr_assert(!system(command));
}

TestSuite(report, .init = make_root, .fini = remove_root);

static const char *in_root(const char *name) {
    static char path[8][128];
    static int at;
    at = (at + 1) % 8;
    snprintf(path[at], sizeof path[at], "%s/%s", root, name);
    return path[at];
}

static void put_text(const char *path, const char *text) {
    FILE *f = fopen(path, "w");
    cr_assert(f && fputs(text, f) >= 0 && !fclose(f));
}

static char *text_of(const char *path) {
    FILE *f = fopen(path, "r");
    static char text[65536];
    cr_assert(f, "%s", path);
    text[fread(text, 1, sizeof text - 1, f)] = 0;
    fclose(f);
    return text;
}

/* A run of P members with seeds from `seed`. Member i logs the training return every 1,000 steps
 * and is evaluated every 2,000; its last evaluation is final + i. */
static const char *make_run(const char *name, int P, int seed, const char *game, const char *kappa,
                            int rows, double final) {
    char args[6][64], *text = NULL, path[200];
    const char *argv[6];
    for (int i = 0; i < 6; i++) argv[i] = args[i];
    snprintf(args[0], 64, "population.size=%d", P);
    snprintf(args[1], 64, "seed=%d", seed);
    snprintf(args[2], 64, "env.game=%s", game);
    snprintf(args[3], 64, "optim.clip.kappa=%s", kappa);
    snprintf(args[4], 64, "train.agent_steps=20000");
    snprintf(args[5], 64, "threads=%d", seed + 1); /* no part of a method */
    kp_config c;
    kp_origins o;
    kp_err err = { "" };
    cr_assert(!kp_config_load(&c, &o, "dqn-dopamine", 6, argv, &err), "%s", err.text);
    cr_assert(!kp_config_write(&c, &o, &text, &err), "%s", err.text);
    const char *dir = in_root(name);
    cr_assert(!mkdir(dir, 0777));
    snprintf(path, sizeof path, "%s/config.yaml", dir);
    put_text(path, text);
    free(text);
    snprintf(path, sizeof path, "%s/metrics.csv", dir);
    FILE *f = fopen(path, "w");
    cr_assert(f);
    fputs(HEAD, f);
    for (int row = 1; row <= rows; row++)
        for (int i = 0; i < P; i++) {
            double share = 1.0 * row / rows;
            fprintf(f, "%d,%d,%d,%d,0,0,%g,", i, seed + i, 1000 * row, 4000 * row,
                    final * share / 2 + i);
            if (row % 2 == 0) fprintf(f, "%g,1,10,", final * sqrt(share) + i);
            else fprintf(f, ",,,");
            fprintf(f, "0.1,1,,%g,%s,0.5,0\n", 20 + 10 * share,
                    strcmp(kappa, "none") ? "0.25" : "");
        }
    cr_assert(!fclose(f));
    return dir;
}

/* Two members of a study's population: they differ in kappa. */
static const char *make_mixed_run(const char *name, const char *game) {
    const char *dir = make_run(name, 2, 0, game, "none", 20, 10);
    char path[200];
    snprintf(path, sizeof path, "%s/members", dir);
    cr_assert(!mkdir(path, 0777));
    for (int i = 0; i < 2; i++) {
        char text[256];
        snprintf(path, sizeof path, "%s/members/%04d.yaml", dir, i);
        snprintf(text, sizeof text,
                 "schema: 1\nbase: dqn-dopamine\nseed: 0\nenv.game: %s\n"
                 "train.agent_steps: 20000\nthreads: 1\noptim.clip.kappa: %s\n",
                 game, i ? "2" : "none");
        put_text(path, text);
    }
    return dir;
}

static void add(kp_report *r, const char *dir) {
    kp_err err = { "" };
    cr_assert(!kp_report_add_run(r, dir, &err), "%s", err.text);
}

/* "a b c" for every run of blanks in between, to compare rows whatever their columns' widths. */
static int has_row(const char *table, const char *want) {
    char squeezed[65536], *to = squeezed;
    for (const char *c = table; *c; c++)
        if (*c != ' ' || (c[1] != ' ' && to > squeezed)) *to++ = *c;
    *to = 0;
    return strstr(squeezed, want) != NULL;
}

Test(report, rows_are_games_and_methods_whatever_folders_the_seeds_are_in) {
    kp_report *r = kp_report_open();
    char *text = NULL;
    kp_err err = { "" };
    add(r, make_run("a", 3, 0, "pong", "none", 20, 10)); /* 10, 11, 12 */
    add(r, make_run("b", 1, 3, "pong", "none", 20, 19)); /* and 19 */
    add(r, make_run("c", 1, 0, "pong", "2", 20, 1500));
    add(r, make_run("d", 1, 0, "qbert", "2", 12, 40));
    cr_assert(!kp_report_write(r, NULL, &text, &err), "%s", err.text);
    cr_expect(has_row(text,
                      "pong kappa none 4 13.00 10.25 … 17.00 11.50 11.50 30.00 - 20000 80000\n"),
              "%s", text);
    cr_expect(has_row(text, "pong kappa 2 1 1500 - 1500 1500 30.00 25.00 20000 80000\n"), "%s",
              text);
    cr_expect(has_row(text, "qbert kappa 2 1 40.00 - 40.00 40.00 30.00 25.00 12000 48000\n"), "%s",
              text);
    cr_expect(strstr(text, "latest evaluation"), "%s", text);
    cr_expect(strstr(text, "/d, seed 0: 12000 of 20000 agent steps\n"), "%s", text);
    cr_expect(!strstr(text, "unfinished: ") ||
                  !strstr(strstr(text, "unfinished: ") + 1, "unfinished: "),
              "%s", text);
    free(text);

    const char *again = make_run("again", 1, 1, "pong", "none", 2, 1);
    cr_expect(kp_report_add_run(r, again, &err) == KP_BAD_CONFIG);
    cr_expect(strstr(err.text, "/again: the same run as in ") && strstr(err.text, "/a (seed 1)"),
              "%s", err.text);
    kp_report_close(r);
}

Test(report, members_of_one_run_may_be_of_several_methods) {
    kp_report *r = kp_report_open();
    char *text = NULL;
    kp_err err = { "" };
    add(r, make_mixed_run("a", "pong"));
    cr_assert(!kp_report_table(r, &text, &err), "%s", err.text);
    cr_expect(has_row(text, "pong kappa none 1 10.00 - "), "%s", text);
    cr_expect(has_row(text, "pong kappa 2 1 11.00 - "), "%s", text);
    cr_expect_str_eq(kp_report_subject(r, 0), "pong");
    cr_expect_null(kp_report_subject(r, 1));
    free(text);
    kp_report_close(r);
}

Test(report, a_folder_stands_for_the_runs_in_it) {
    kp_report *r = kp_report_open();
    char *text = NULL;
    kp_err err = { "" };
    cr_assert(!mkdir(in_root("study"), 0777) && !mkdir(in_root("study/report"), 0777));
    put_text(in_root("study/study.yaml"), "schema: 1\n");
    cr_expect(kp_report_add_folder(r, in_root("study"), &err) == KP_BAD_DATA);
    cr_expect(strstr(err.text, "/study: neither a run"), "%s", err.text);
    cr_assert(!mkdir(in_root("study/late"), 0777));
    put_text(in_root("study/late/config.yaml"), "schema: 1\n");
    cr_expect(kp_report_add_folder(r, in_root("study"), &err) == KP_BAD_DATA);
    cr_expect(strstr(err.text, "/study: its runs have logged nothing yet"), "%s", err.text);
    make_run("study/a", 3, 0, "pong", "none", 20, 10);
    make_run("study/b", 2, 0, "pong", "2", 20, 20);
    kp_report_close(r);

    r = kp_report_open();
    cr_assert(!kp_report_add_folder(r, in_root("study"), &err), "%s", err.text);
    cr_assert(!kp_report_table(r, &text, &err), "%s", err.text);
    cr_expect(has_row(text, "pong kappa none 3 11.00 "), "%s", text);
    cr_expect(has_row(text, "pong kappa 2 2 20.50 "), "%s", text);
    cr_expect(strstr(text, "study/late: nothing logged yet\n"), "%s", text);
    free(text);

    put_text(in_root("study/b/metrics.csv"), "what\n");
    cr_expect(kp_report_add_folder(r, in_root("study"), &err) != KP_OK);
    kp_report_close(r);
}

Test(report, a_narrow_terminal_gets_fewer_columns) {
    kp_report *r = kp_report_open();
    char *text = NULL;
    kp_err err = { "" };
    add(r, make_run("a", 3, 0, "pong", "none", 20, 10));
    static const struct {
        int columns;
        const char *head, *says;
    } cases[] = {
        { 0, "runs return 95% interval median IQM weight l2 clipped % agent steps frames\n", "" },
        { 200, "runs return 95% interval median IQM weight l2 clipped % agent steps frames\n", "" },
        { 80, "runs return 95% interval weight l2 clipped %\n",
          "\nleft out, for want of room: frames, IQM, median, agent steps\n" },
        { 10, "game method runs return 95% interval\n",
          "\nleft out, for want of room: frames, IQM, median, agent steps, weight l2, clipped %\n" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cr_assert(!kp_report_table_within(r, cases[i].columns, &text, &err), "%s", err.text);
        int first = (int)strcspn(text, "\n");
        cr_expect(!cases[i].columns || first <= cases[i].columns || cases[i].columns == 10,
                  "%d columns: %s", cases[i].columns, text);
        cr_expect(has_row(text, cases[i].head), "%d columns: %s", cases[i].columns, text);
        cr_expect(strstr(text, cases[i].says) && (*cases[i].says || !strstr(text, "left out")),
                  "%d columns: %s", cases[i].columns, text);
        free(text);
    }
    kp_report_close(r);
}

static int png_size(const char *path, int *width, int *height) {
    png_image image = { .version = PNG_IMAGE_VERSION };
    if (!png_image_begin_read_from_file(&image, path)) return 0;
    *width = (int)image.width, *height = (int)image.height;
    image.format = PNG_FORMAT_RGB;
    png_bytep pixels = malloc(PNG_IMAGE_SIZE(image));
    int whole = png_image_finish_read(&image, NULL, pixels, 0, NULL), coloured = 0;
    for (size_t i = 0; i + 2 < PNG_IMAGE_SIZE(image); i += 3) /* #0072B2, the first method's line */
        coloured += pixels[i] == 0x00 && pixels[i + 1] == 0x72 && pixels[i + 2] == 0xB2;
    free(pixels);
    return whole && coloured > 100;
}

Test(report, curves_and_picture) {
    kp_report *r = kp_report_open();
    char *text = NULL;
    kp_err err = { "" };
    int width = 0, height = 0;
    add(r, make_run("a", 3, 0, "pong", "none", 20, 10));
    add(r, make_run("b", 2, 0, "pong", "{hidden: 5, output: 1.5}", 20, 20));
    kp_status st = kp_report_write(r, in_root("out/of/report"), &text, &err);
    if (system("command -v gnuplot >/dev/null")) cr_assert(st == KP_DEVICE, "%d", st);
    else {
        cr_assert(!st, "%s", err.text);
        cr_expect(png_size(in_root("out/of/report/curves-pong.png"), &width, &height),
                  "damaged or empty");
        cr_expect(width == 900 && height == 1040, "%dx%d", width, height);
    }
    cr_expect_str_eq(text_of(in_root("out/of/report/report.txt")), text);
    const char *csv = text_of(in_root("out/of/report/curves-pong.csv"));
    cr_expect(!strncmp(csv, "metric,method,agent_step,frames,runs,mean,low95,high95\n", 55));
    cr_expect(strstr(csv, "\neval_return_mean,\"kappa none\",20000,80000,3,11,"), "%s", csv);
    cr_expect(strstr(csv,
                     "\neval_return_mean,\"kappa {hidden: 5, output: 1.5}\",20000,80000,2,20.5,"),
              "%s", csv);
    cr_expect(!strstr(csv, "\neval_return_mean,\"kappa none\",19000,"),
              "a step without an evaluation has a point");
    cr_expect(strstr(csv, "\nweight_l2,\"kappa none\",1000,4000,3,20.5,20.5,20.5\n"), "%s", csv);
    cr_expect(strstr(csv,
                     "\npercent_clipped,\"kappa {hidden: 5, output: 1.5}\",1000,4000,2,25,25,25\n"),
              "%s", csv);
    cr_expect(!strstr(csv, "percent_clipped,\"kappa none\""));
    free(text);
    kp_report_close(r);
}

Test(report, without_gnuplot_the_table_is_there) {
    kp_report *r = kp_report_open();
    char *text = NULL;
    kp_err err = { "" };
    add(r, make_run("a", 1, 0, "pong", "none", 4, 10));
    setenv("PATH", "/nowhere", 1);
    kp_status st = kp_report_write(r, in_root("out"), &text, &err);
    setenv("PATH", "/usr/bin:/bin", 1);
    cr_expect(st == KP_DEVICE, "%d", st);
    cr_expect(strstr(err.text, "gnuplot is not installed") &&
                  strstr(err.text, "apt install gnuplot-nox"),
              "%s", err.text);
    cr_expect(text && has_row(text, "pong dqn-dopamine 1 10.00 - "), "%s", text);
    cr_expect(!access(in_root("out/curves-pong.csv"), R_OK) &&
              !access(in_root("out/curves-pong.gp"), R_OK));
    free(text);
    kp_report_close(r);
}

/* ---- streams --------------------------------------------------------------------------------- */

#define STREAM_HEAD                                                                                 \
    "member,agent_step,updates,task,accuracy,loss,loss_after,plasticity,inactive_units,dead_units," \
    "weight_l1,weight_l2,grad_l1,grad_l2,grad_l0,effective_rank,distance_from_init,share_clipped,"  \
    "share_clipped/layer1.weight\n"

enum { TASK = 1000, N_TASKS = 20 };

static const char *begin_stream(const char *name, const char *method, int seed, const char *set,
                                const char *kappa, FILE **metrics) {
    char args[6][64], *text = NULL, path[200];
    const char *argv[6];
    for (int i = 0; i < 6; i++) argv[i] = args[i];
    snprintf(args[0], 64, "seed=%d", seed);
    snprintf(args[1], 64, "run.method=%s", method);
    snprintf(args[2], 64, "optim.clip.kappa=%s", kappa);
    snprintf(args[3], 64, "train.samples=%d", N_TASKS * TASK);
    snprintf(args[4], 64, "stream.task_samples=%d", TASK);
    snprintf(args[5], 64, "data.set=%s", set);
    kp_config c;
    kp_origins o;
    kp_err err = { "" };
    cr_assert(!kp_config_load(&c, &o, "stream-input-permuted-fashion", 6, argv, &err), "%s",
              err.text);
    cr_assert(!kp_config_write(&c, &o, &text, &err), "%s", err.text);
    const char *dir = in_root(name);
    cr_assert(!mkdir(dir, 0777));
    snprintf(path, sizeof path, "%s/config.yaml", dir);
    put_text(path, text);
    free(text);
    snprintf(path, sizeof path, "%s/metrics.csv", dir);
    cr_assert((*metrics = fopen(path, "w")));
    fputs(STREAM_HEAD, *metrics);
    return dir;
}

static void put_row(FILE *f, int step, double accuracy, double loss, double dead, double l2,
                    const char *clipped) {
    fprintf(f, "0,%d,%d,%d,%.10g,%.10g,0.5,0.25,0.5,%.10g,99,%.10g,9,9,0.5,100,2,%s,%s\n", step,
            step, (step - 1) / TASK, accuracy, loss, dead, l2, clipped, clipped);
}

/* Online accuracy is 50% in the first task (rows of 250 and 750 samples), `accuracy` until the last
 * two tasks and 80% there; over all of them 0.025 + 0.85 accuracy + 0.08, and 1% more for each
 * seed. Losses: 2 in the first 250 samples, 1.2 after them. n_tasks: how far the run has come. */
static const char *make_stream(const char *name, const char *method, int seed, const char *set,
                               const char *kappa, double accuracy, int n_tasks) {
    FILE *f;
    const char *dir = begin_stream(name, method, seed, set, kappa, &f);
    const char *is_clipped = strcmp(kappa, "none") ? "0.02" : "";
    double more = 0.01 * seed;
    put_row(f, 250, 0.2 + more, 2, 0.5, 10, *is_clipped ? "0.5" : "");
    put_row(f, TASK, 0.6 + more, 1.2, 0.5, 10, *is_clipped ? "0.5" : "");
    for (int task = 1; task < n_tasks; task++) {
        int is_last = task >= N_TASKS - 2;
        for (int half = 1; half <= 2; half++)
            put_row(f, task * TASK + half * TASK / 2, (is_last ? 0.8 : accuracy) + more, 1.2,
                    is_last ? 0.1 : 0.5, is_last ? 30 : 10,
                    is_last || !*is_clipped ? is_clipped : "0.5");
    }
    cr_assert(!fclose(f));
    return dir;
}

Test(report, streams_by_problem_and_method) {
    kp_report *r = kp_report_open();
    char *text = NULL;
    kp_err err = { "" };
    for (int seed = 0; seed < 3; seed++) {
        char name[32];
        snprintf(name, sizeof name, "sgd%d", seed);
        add(r, make_stream(name, "sgd", seed, "fashion-mnist", "none", 0.5, N_TASKS));
    }
    add(r, make_stream("wc", "sgd+wc", 0, "fashion-mnist", "2", 0.6, N_TASKS));
    add(r, make_stream("mnist", "sgd", 0, "mnist", "none", 0.7, N_TASKS));
    cr_assert(!kp_report_write(r, NULL, &text, &err), "%s", err.text);
    cr_expect(has_row(text,
                      "problem method runs accuracy % 95% interval first task last tenth loss "
                      "plasticity dead % weight l2 clipped % samples\n"),
              "%s", text);
    /* 0.025 + 0.425 + 0.08 is 53%; 53, 54, 55 for the seeds */
    cr_expect(has_row(text, "input_permuted, fashion-mnist sgd 3 54.00 53.00 … 55.00 51.00 81.00 "
                            "1.210 0.250 10.00 30.00 - 20000\n"),
              "%s", text);
    cr_expect(has_row(text,
                      "input_permuted, fashion-mnist sgd+wc 1 61.50 - 50.00 80.00 1.210 0.250 "
                      "10.00 30.00 2.00 20000\n"),
              "%s", text);
    cr_expect(has_row(text, "input_permuted, mnist sgd 1 70.00 - 50.00 80.00 "), "%s", text);
    cr_expect(strstr(text, "\naccuracy: of the predictions before each update") &&
                  strstr(text, "\nsamples: of the run that has come least far\n") &&
                  !strstr(text, "unfinished") && !strstr(text, "curves:"),
              "%s", text);
    cr_expect_str_eq(kp_report_subject(r, 0), "input_permuted-fashion-mnist");
    cr_expect_str_eq(kp_report_subject(r, 1), "input_permuted-mnist");
    free(text);

    cr_assert(!kp_report_table_within(r, 108, &text, &err), "%s", err.text);
    cr_expect(has_row(text, "problem method runs accuracy % 95% interval first task last tenth "
                            "clipped %\n"),
              "%s", text);
    cr_expect(strstr(text, "\nleft out, for want of room: samples, loss, plasticity, dead %, "
                           "weight l2\n"),
              "%s", text);
    free(text);
    kp_report_close(r);
}

Test(report, rows_that_are_not_within_a_task_say_nothing_of_it) {
    kp_report *r = kp_report_open();
    char *text = NULL;
    kp_err err = { "" };
    FILE *f;
    const char *dir = begin_stream("a", "adam", 0, "mnist", "none", &f);
    put_row(f, 7000, 0.1, 1, 0.5, 10, "");
    put_row(f, 14000, 0.2, 1, 0.5, 10, "");
    put_row(f, 20000, 0.3, 2, 0.5, 10, "");
    cr_assert(!fclose(f));
    add(r, dir);
    cr_assert(!kp_report_table(r, &text, &err), "%s", err.text);
    /* (0.7 + 1.4 + 1.8) / 20, 26 / 20 */
    cr_expect(has_row(text, "input_permuted, mnist adam 1 19.50 - - - 1.300 0.250 - - - 20000\n"),
              "%s", text);
    free(text);
    kp_report_close(r);
}

Test(report, a_run_that_stopped_in_its_fifth_task) {
    kp_report *r = kp_report_open();
    char *text = NULL;
    kp_err err = { "" };
    add(r, make_stream("a", "adam", 0, "mnist", "none", 0.9, 5));
    cr_assert(!kp_report_table(r, &text, &err), "%s", err.text);
    /* (0.5 + 4 x 0.9) / 5; the last tenth of five tasks is the fifth */
    cr_expect(has_row(text, "adam 1 82.00 - 50.00 90.00 1.240 0.250 50.00 10.00 - 5000\n"), "%s",
              text);
    cr_expect(strstr(text, "/a, seed 0: 5000 of 20000 samples\n"), "%s", text);
    free(text);
    kp_report_close(r);
}

/* kappa 1: 0.9 but stopped half way; 2: 0.5; 3: 0.7, the best; 5: the same as 3 */
Test(report, the_figure_has_the_best_setting_of_each_method) {
    kp_report *r = kp_report_open();
    char *text = NULL;
    kp_err err = { "" };
    add(r, make_stream("s", "sgd", 0, "mnist", "none", 0.6, N_TASKS));
    add(r, make_stream("k1", "sgd+wc", 0, "mnist", "1", 0.9, 10));
    add(r, make_stream("k2", "sgd+wc", 0, "mnist", "2", 0.5, N_TASKS));
    add(r, make_stream("k3", "sgd+wc", 0, "mnist", "3", 0.7, N_TASKS));
    add(r, make_stream("k5", "sgd+wc", 0, "mnist", "5", 0.7, N_TASKS));
    add(r, make_stream("a", "adam", 0, "mnist", "4", 0.6, N_TASKS));
    add(r, make_stream("f5", "sgd+wc", 0, "fashion-mnist", "5", 0.7, N_TASKS)); /* no other there */
    kp_status st = kp_report_write(r, in_root("out"), &text, &err);
    cr_assert(!st || st == KP_DEVICE, "%s", err.text);
    for (int kappa = 1; kappa <= 5; kappa++) {
        char want[64];
        if (kappa == 4) continue;
        snprintf(want, sizeof want, "sgd+wc, kappa %d 1 ", kappa);
        cr_expect(has_row(text, want), "%s", text);
    }
    cr_expect(strstr(text, "\ncurves: of each method the settings with the best accuracy %, by "
                           "these same runs\n"),
              "%s", text);
    const char *csv = text_of(in_root("out/curves-input_permuted-mnist.csv"));
    cr_expect(!strncmp(csv, "metric,method,samples,tasks,runs,mean,low95,high95\n", 51), "%s", csv);
    cr_expect(strstr(csv, "\npercent_correct,\"sgd\",250,0.25,1,20,20,20\n"), "%s", csv);
    cr_expect(strstr(csv, "\npercent_correct,\"sgd+wc, kappa 3\",20000,20,1,80,80,80\n"), "%s",
              csv);
    cr_expect(strstr(csv, "\npercent_dead,\"adam\",20000,20,1,10,10,10\n"), "%s", csv);
    cr_expect(strstr(csv, "\nloss,") && strstr(csv, "\nplasticity,") &&
                  strstr(csv, "\nweight_l2,") && strstr(csv, "\npercent_clipped,") &&
                  strstr(csv, "\neffective_rank,") && strstr(csv, "\ndistance_from_init,"),
              "%s", csv);
    for (int kappa = 1; kappa <= 5; kappa++) {
        char label[64];
        snprintf(label, sizeof label, "\"sgd+wc, kappa %d\"", kappa);
        cr_expect(!strstr(csv, label) == (kappa != 3), "%s", label);
    }
    cr_expect(strstr(text_of(in_root("out/curves-input_permuted-fashion-mnist.csv")),
                     "\npercent_correct,\"sgd+wc, kappa 5\",20000,20,1,80,80,80\n"));
    /* the pair has one colour and two dashes, the third method the next colour */
    const char *gp = text_of(in_root("out/curves-input_permuted-mnist.gp"));
    cr_expect(strstr(gp, "dt 1 lc rgb '#0072B2' title 'sgd'") &&
                  strstr(gp, "dt 2 lc rgb '#0072B2' title 'sgd+wc, kappa 3'") &&
                  strstr(gp, "dt 1 lc rgb '#D55E00' title 'adam'") && !strstr(gp, "kappa 5"),
              "%s", gp);
    int width = 0, height = 0;
    if (!st) {
        cr_expect(png_size(in_root("out/curves-input_permuted-mnist.png"), &width, &height),
                  "damaged or empty");
        cr_expect(width == 1300 && height == 1330, "%dx%d", width, height);
    }
    free(text);
    kp_report_close(r);
}

Test(report, games_and_streams_are_two_reports) {
    kp_report *r = kp_report_open();
    char *text = NULL;
    kp_err err = { "" };
    add(r, make_run("a", 1, 0, "pong", "none", 4, 10));
    add(r, make_stream("b", "adam", 0, "mnist", "none", 0.9, 5));
    cr_expect(kp_report_table(r, &text, &err) == KP_BAD_CONFIG && !text);
    cr_expect(strstr(err.text, "/b are of different algorithms; report them apart"), "%s",
              err.text);
    kp_report_close(r);
}

/* ---- files ----------------------------------------------------------------------------------- */

static const struct {
    const char *name, *text;
    kp_status want;
    int rows;
    const char *message;
} files[] = {
    { "a whole file", "member,agent_step,return_mean\n0,10,1.5\n0,20,\n", KP_OK, 2, "" },
    { "a cut last line", "member,agent_step,return_mean\n0,10,1.5\n0,20,3", KP_OK, 1, "" },
    { "a line cut in its first cell", "member,agent_step,return_mean\n0,10,1.5\n0", KP_OK, 1, "" },
    { "a head alone", "member,agent_step,return_mean\n", KP_OK, 0, "" },
    { "other columns in another order", "x,return_mean,agent_step,member\nwhat,1.5,10,0\n", KP_OK,
      1, "" },
    { "no head", "0,10,1.5\n", KP_BAD_DATA, 0, ":1: no head with member and agent_step" },
    { "nothing", "", KP_BAD_DATA, 0, ": empty; the run has logged nothing yet" },
    { "a cell of letters", "member,agent_step,return_mean\n0,10,1.5\n0,20,3x\n", KP_BAD_DATA, 0,
      ":3: '3x' is not a number" },
    { "a short row", "member,agent_step,return_mean\n0,10\n", KP_BAD_DATA, 0,
      ":2: 2 cells, expected 3" },
    { "a long row", "member,agent_step,return_mean\n0,10,1,2\n", KP_BAD_DATA, 0,
      ":2: 4 cells, expected 3" },
    { "no step", "member,agent_step,return_mean\n0,,1\n", KP_BAD_DATA, 0,
      ":2: member or agent_step is empty" },
};

Test(report, metrics_files) {
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        kp_metrics m;
        kp_err err = { "" };
        char want[256];
        const char *path = in_root("metrics.csv");
        put_text(path, files[i].text);
        kp_status st = kp_metrics_read(&m, path, &err);
        snprintf(want, sizeof want, "%s%s", *files[i].message ? path : "", files[i].message);
        cr_expect(st == files[i].want && m.n == files[i].rows, "%s: status %d, %d rows",
                  files[i].name, st, m.n);
        cr_expect(!strcmp(err.text, want), "%s: '%s'", files[i].name, err.text);
        if (m.n)
            cr_expect(m.cell[KP_METRIC_RETURN] == 1.5 && m.cell[KP_METRIC_AGENT_STEP] == 10 &&
                          isnan(m.cell[KP_METRIC_WEIGHT_L2]),
                      "%s", files[i].name);
        kp_metrics_free(&m);
    }
}

Test(report, a_missing_run_names_its_file) {
    kp_report *r = kp_report_open();
    kp_err err = { "" };
    cr_expect(kp_report_add_run(r, in_root("none"), &err) == KP_STORAGE);
    cr_expect(strstr(err.text, "/none/config.yaml: cannot be read: "), "%s", err.text);
    char *text = NULL;
    cr_expect(kp_report_table(r, &text, &err) == KP_BAD_DATA && !text);
    kp_report_close(r);
}
