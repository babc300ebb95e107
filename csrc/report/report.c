/* report.c: runs, the methods they fall into, and the table. */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "report_impl.h"
#include "run/members.h"
#include "stats.h"
#include "table.h"

enum { MAX_NOTES = 10 }; /* of a kind under the table */

kp_report *kp_report_open(void) { return calloc(1, sizeof(kp_report)); }

/* Keys in which runs of one method may differ. */
static int is_outside_method(const char *key) {
    return !kp_key_changes_results(key) || !strcmp(key, "seed") || !strcmp(key, "env.game");
}

static int same_method(const kp_config *a, const kp_config *b) {
    if (strcmp(a->preset, b->preset)) return 0;
    for (int i = 0; i < kp_n_keys(); i++)
        if (!is_outside_method(kp_key_at(i)->key) && !kp_config_same(a, b, i)) return 0;
    return 1;
}

static kp_status add_member(kp_report *r, const kp_config *config, const char *dir,
                            const kp_metrics *all, int member, kp_err *err) {
    for (int i = 0; i < r->n; i++)
        if (r->run[i].config.seed == config->seed &&
            !strcmp(r->run[i].config.env.game, config->env.game) &&
            same_method(&r->run[i].config, config))
            return kp_fail(err, KP_BAD_CONFIG,
                           "%s: the same run as in %s (seed %" PRIu64 "); it would count twice",
                           dir, r->run[i].dir, config->seed);
    if (r->n == r->capacity) {
        int capacity = r->capacity ? 2 * r->capacity : 16;
        kp_member_run *grown = realloc(r->run, (size_t)capacity * sizeof *grown);
        if (!grown) return kp_fail(err, KP_BAD_CONFIG, "%s: out of memory", dir);
        r->run = grown, r->capacity = capacity;
    }
    kp_member_run *run = &r->run[r->n];
    memset(run, 0, sizeof *run);
    run->config = *config;
    snprintf(run->dir, sizeof run->dir, "%s", dir);
    run->rows.cell = malloc(((size_t)all->n + 1) * KP_N_METRICS * sizeof *run->rows.cell);
    if (!run->rows.cell) return kp_fail(err, KP_BAD_CONFIG, "%s: out of memory", dir);
    for (int i = 0; i < all->n; i++) {
        const double *row = all->cell + (size_t)i * KP_N_METRICS;
        if (member < 0 || row[KP_METRIC_MEMBER] == member)
            memcpy(run->rows.cell + (size_t)run->rows.n++ * KP_N_METRICS, row,
                   KP_N_METRICS * sizeof *row);
    }
    r->n++;
    return KP_OK;
}

kp_status kp_report_add_run(kp_report *report, const char *dir, kp_err *err) {
    char path[KP_PATH];
    kp_metrics metrics = { 0 };
    kp_config *member = NULL;
    int P = 0;
    kp_status st = kp_members_read(dir, &member, &P, err);
    if (!st) st = kp_path_join(path, dir, "metrics.csv", err);
    if (!st) st = kp_metrics_read(&metrics, path, err);
    for (int i = 0; i < P && !st; i++)
        st = add_member(report, &member[i], dir, &metrics, P == 1 ? -1 : i, err);
    free(member);
    kp_metrics_free(&metrics);
    return st;
}

static kp_status add_silent(kp_report *r, const char *dir, kp_err *err) {
    char(*grown)[KP_PATH] = realloc(r->silent, ((size_t)r->n_silent + 1) * sizeof *grown);
    if (!grown) return kp_fail(err, KP_BAD_CONFIG, "%s: out of memory", dir);
    r->silent = grown;
    snprintf(r->silent[r->n_silent++], sizeof *r->silent, "%s", dir);
    return KP_OK;
}

kp_status kp_report_add_folder(kp_report *report, const char *dir, kp_err *err) {
    char **name = NULL, sub[KP_PATH], path[KP_PATH];
    int n = 0, n_runs = 0, n_before = report->n_silent;
    kp_status st = kp_folder_list(dir, &name, &n, err);
    for (int i = 0; i < n && !st; i++) {
        struct stat metrics;
        st = kp_path_join(sub, dir, name[i], err);
        if (!st) st = kp_path_join(path, sub, "config.yaml", err);
        if (st || !kp_file_exists(path)) continue;
        st = kp_path_join(path, sub, "metrics.csv", err);
        if (!st && (stat(path, &metrics) || !metrics.st_size)) st = add_silent(report, sub, err);
        else if (!st) st = kp_report_add_run(report, sub, err), n_runs++;
    }
    free(name);
    if (st || n_runs) return st;
    return kp_fail(err, KP_BAD_DATA,
                   report->n_silent > n_before
                       ? "%s: its runs have logged nothing yet"
                       : "%s: neither a run (config.yaml, metrics.csv) nor a folder of runs",
                   dir);
}

static void append(char *label, const char *format, const char *a, const char *b) {
    size_t n = strlen(label), size = sizeof *((kp_report *)0)->label;
    if (n && n + 2 < size) n += (size_t)snprintf(label + n, size - n, ", ");
    if (n < size && snprintf(label + n, size - n, format, a, b) < 0) label[n] = 0; /* may be cut */
}

static const kp_config *config_of(const kp_report *r, int method) {
    for (int i = 0; i < r->n; i++)
        if (r->run[i].method == method) return &r->run[i].config;
    return NULL;
}

/* The preset, where presets differ, and every key that differs between methods of one preset. */
static void label_methods(kp_report *r) {
    for (int m = 0; m < r->n_methods; m++) {
        const kp_config *c = config_of(r, m);
        char differs[KP_CONFIG_MAX_KEYS] = { 0 }, presets_differ = 0;
        for (int a = 0; a < r->n_methods; a++) {
            const kp_config *other = config_of(r, a);
            presets_differ |= strcmp(other->preset, c->preset) != 0;
            for (int k = 0; k < kp_n_keys(); k++)
                if (!strcmp(other->preset, c->preset) && !kp_config_same(other, c, k))
                    differs[k] = 1;
        }
        r->label[m][0] = 0;
        if (presets_differ || r->n_methods == 1)
            append(r->label[m], "%s%s", *c->preset ? c->preset : "runs", "");
        for (int k = 0; k < kp_n_keys(); k++) {
            char text[KP_CONFIG_TEXT];
            const char *key = kp_key_at(k)->key, *dot = strrchr(key, '.');
            if (!differs[k] || is_outside_method(key)) continue;
            kp_config_get(c, k, text);
            append(r->label[m], "%s %s", dot ? dot + 1 : key, text);
        }
    }
}

kp_status kp_report_group(kp_report *r, kp_err *err) {
    if (!r->n) return kp_fail(err, KP_BAD_DATA, "report: no runs");
    r->n_methods = r->n_games = 0;
    for (int i = 0; i < r->n; i++) {
        kp_member_run *run = &r->run[i];
        run->method = run->game = -1;
        for (int j = 0; j < i; j++) {
            if (same_method(&run->config, &r->run[j].config)) run->method = r->run[j].method;
            if (!strcmp(run->config.env.game, r->run[j].config.env.game))
                run->game = r->run[j].game;
        }
        if (run->method < 0) run->method = r->n_methods++;
        if (run->game < 0) run->game = r->n_games++;
    }
    free(r->label);
    free(r->game);
    r->label = calloc((size_t)r->n_methods, sizeof *r->label);
    r->game = calloc((size_t)r->n_games, sizeof *r->game);
    if (!r->label || !r->game) return kp_fail(err, KP_BAD_CONFIG, "report: out of memory");
    for (int i = 0; i < r->n; i++)
        memcpy(r->game[r->run[i].game], r->run[i].config.env.game, sizeof *r->game);
    label_methods(r);
    return KP_OK;
}

kp_metric kp_report_return(const kp_report *r) {
    for (int i = 0; i < r->n; i++)
        for (int j = 0; j < r->run[i].rows.n; j++)
            if (isfinite(r->run[i].rows.cell[(size_t)j * KP_N_METRICS + KP_METRIC_EVAL_RETURN]))
                return KP_METRIC_EVAL_RETURN;
    return KP_METRIC_RETURN;
}

/* The latest value that was logged; NAN if there is none. */
static double latest(const kp_member_run *run, kp_metric metric) {
    for (int i = run->rows.n - 1; i >= 0; i--) {
        double x = run->rows.cell[(size_t)i * KP_N_METRICS + metric];
        if (isfinite(x)) return x;
    }
    return NAN;
}

/* The latest values of a method's runs on a game; returns their number. */
static int gather(const kp_report *r, int game, int method, kp_metric metric, double *x) {
    int n = 0;
    for (int i = 0; i < r->n; i++) {
        double value = r->run[i].game == game && r->run[i].method == method
                           ? latest(&r->run[i], metric)
                           : NAN;
        if (isfinite(value)) x[n++] = value;
    }
    return n;
}

static void add_number(kp_table *t, double x) {
    if (!isfinite(x)) kp_table_add(t, "-");
    else kp_table_add(t, fabs(x) >= 1000 ? "%.0f" : fabs(x) >= 100 ? "%.1f" : "%.2f", x);
}

static kp_status add_row(kp_table *t, const kp_report *r, int game, int method, double *x,
                         kp_err *err) {
    kp_estimate e;
    int n = gather(r, game, method, kp_report_return(r), x);
    kp_status st = kp_bootstrap(&e, KP_STAT_MEAN, x, &n, 1, 0.95, 0, err);
    if (st) return st;
    kp_table_add(t, "%s", r->game[game]);
    kp_table_add(t, "%s", r->label[method]);
    kp_table_add(t, "%d", n);
    add_number(t, e.value);
    if (n > 1)
        kp_table_add(t,
                     fabs(e.value) >= 1000  ? "%.0f … %.0f"
                     : fabs(e.value) >= 100 ? "%.1f … %.1f"
                                            : "%.2f … %.2f",
                     e.low, e.high);
    else kp_table_add(t, "-");
    add_number(t, kp_stat_of(KP_STAT_MEDIAN, x, n));
    add_number(t, kp_stat_of(KP_STAT_IQM, x, n));
    n = gather(r, game, method, KP_METRIC_WEIGHT_L2, x);
    add_number(t, kp_stat_of(KP_STAT_MEAN, x, n));
    n = gather(r, game, method, KP_METRIC_SHARE_CLIPPED, x);
    add_number(t, 100 * kp_stat_of(KP_STAT_MEAN, x, n));
    n = gather(r, game, method, KP_METRIC_AGENT_STEP, x);
    double least = n ? x[0] : 0;
    for (int i = 1; i < n; i++) least = fmin(least, x[i]);
    kp_table_add(t, "%.0f", least);
    kp_table_add(t, "%.0f", least * config_of(r, method)->env.frame_skip);
    kp_table_end_row(t);
    return KP_OK;
}

static int has_runs(const kp_report *r, int game, int method) {
    for (int i = 0; i < r->n; i++)
        if (r->run[i].game == game && r->run[i].method == method) return 1;
    return 0;
}

/* Says under the table what its numbers are, and which of them are not final. */
static char *add_notes(const kp_report *r, const char *table, const char *left_out) {
    char *bytes = NULL;
    size_t size;
    int n_unfinished = 0;
    FILE *f = open_memstream(&bytes, &size);
    if (!f) return NULL;
    fprintf(f,
            "%s\nreturn: mean over runs of each run's latest %s\n"
            "interval: 95%%, stratified bootstrap, %d resamples\n"
            "agent steps, frames: of the run that has come least far\n",
            table,
            kp_report_return(r) == KP_METRIC_RETURN
                ? "training return (games finished in a log interval)"
                : "evaluation (whole games, unclipped)",
            KP_BOOTSTRAP_RESAMPLES);
    if (*left_out) fprintf(f, "left out, for want of room: %s\n", left_out);
    for (int i = 0; i < r->n; i++) {
        double step = latest(&r->run[i], KP_METRIC_AGENT_STEP);
        if (step >= (double)r->run[i].config.train.agent_steps || n_unfinished++ >= MAX_NOTES)
            continue;
        fprintf(f, "unfinished: %s, seed %" PRIu64 ": %.0f of %" PRId64 " agent steps\n",
                r->run[i].dir, r->run[i].config.seed, isfinite(step) ? step : 0,
                r->run[i].config.train.agent_steps);
    }
    if (n_unfinished > MAX_NOTES) fprintf(f, "unfinished: %d more\n", n_unfinished - MAX_NOTES);
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

static const char *const head[] = { "game",         "method",      "runs",  "return",
                                    "95% interval", "median",      "IQM",   "weight l2",
                                    "clipped %",    "agent steps", "frames" };

/* Hides what a reader misses least until the table fits, and names it. */
static void fit(kp_table *t, int columns, char *left_out, size_t size) {
    static const int order[] = { 10, 6, 5, 9, 7, 8 };
    size_t n = 0;
    for (size_t i = 0; i < sizeof order / sizeof *order && kp_table_width(t) > columns; i++) {
        t->hidden[order[i]] = 1;
        n += (size_t)snprintf(left_out + n, size - n, "%s%s", n ? ", " : "", head[order[i]]);
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
    for (size_t i = 0; i < sizeof head / sizeof *head; i++) kp_table_add(&t, "%s", head[i]);
    kp_table_end_row(&t);
    for (int g = 0; g < report->n_games && !st; g++)
        for (int m = 0; m < report->n_methods && !st; m++)
            if (has_runs(report, g, m)) st = add_row(&t, report, g, m, x, err);
    if (!st && columns) fit(&t, columns, left_out, sizeof left_out);
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

const char *kp_report_game(const kp_report *report, int i) {
    return i < report->n_games ? report->game[i] : NULL;
}

static kp_status write_text(const char *dir, const char *name, const char *text, kp_err *err) {
    char path[1100];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "w");
    int failed = !f || fputs(text, f) < 0;
    if (f && fclose(f)) failed = 1;
    return failed ? kp_fail(err, KP_STORAGE, "%s: cannot be written: %s", path, strerror(errno))
                  : KP_OK;
}

kp_status kp_report_write(kp_report *report, const char *dir, char **text, kp_err *err) {
    *text = NULL;
    kp_status st = kp_report_table(report, text, err);
    if (st || !dir) return st;
    st = kp_folder_make(dir, err);
    if (!st) st = write_text(dir, "report.txt", *text, err);
    kp_status drawn = KP_OK; /* a game that cannot be drawn leaves the others their curves */
    for (int g = 0; g < report->n_games && !st; g++) {
        kp_status one = kp_report_curves(report, g, dir, err);
        if (one == KP_DEVICE || one == KP_BAD_DATA) drawn = one;
        else st = one;
    }
    return st ? st : drawn;
}

void kp_report_close(kp_report *report) {
    if (!report) return;
    for (int i = 0; i < report->n; i++) kp_metrics_free(&report->run[i].rows);
    free(report->run);
    free(report->label);
    free(report->game);
    free(report->silent);
    free(report);
}
