/* report.c: runs, the subjects and methods they fall into, and what is written. */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "plot.h"
#include "report_impl.h"
#include "run/members.h"

kp_report *kp_report_open(void) { return calloc(1, sizeof(kp_report)); }

/* Keys in which runs of one method may differ. */
static int is_outside_method(const char *key) {
    static const char *const outside[] = { "seed", "env.game", "stream.problem", "data.set" };
    for (size_t i = 0; i < sizeof outside / sizeof *outside; i++)
        if (!strcmp(key, outside[i])) return 1;
    return !kp_key_changes_results(key);
}

static int same_method(const kp_config *a, const kp_config *b) {
    if (strcmp(a->preset, b->preset)) return 0;
    for (int i = 0; i < kp_n_keys(); i++)
        if (!is_outside_method(kp_key_at(i)->key) && !kp_config_same(a, b, i)) return 0;
    return 1;
}

static int same_subject(const kp_config *a, const kp_config *b) {
    char x[sizeof((kp_subject *)0)->label], y[sizeof x];
    kp_kind_subject(a, x, sizeof x);
    kp_kind_subject(b, y, sizeof y);
    return !strcmp(x, y);
}

static kp_status add_member(kp_report *r, const kp_config *config, const char *dir,
                            const kp_metrics *all, int member, kp_err *err) {
    for (int i = 0; i < r->n; i++)
        if (r->run[i].config.seed == config->seed && same_subject(&r->run[i].config, config) &&
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
    size_t n = strlen(label), size = sizeof((kp_method *)0)->label;
    if (n && n + 2 < size) n += (size_t)snprintf(label + n, size - n, ", ");
    if (n < size && snprintf(label + n, size - n, format, a, b) < 0) label[n] = 0; /* may be cut */
}

/* The name, if the study gave one; the preset, where presets differ; and every key that differs
 * between methods of one name and preset. */
static void label_method(kp_report *r, int m, const int *first) {
    const kp_config *c = &r->run[first[m]].config;
    kp_method *method = &r->method[m];
    char differs[KP_CONFIG_MAX_KEYS] = { 0 };
    int presets_differ = !*method->name && r->n_methods == 1;
    for (int a = 0; a < r->n_methods; a++) {
        const kp_config *other = &r->run[first[a]].config;
        if (strcmp(other->run.method, method->name)) continue;
        int same_preset = !strcmp(other->preset, c->preset);
        presets_differ |= !same_preset;
        for (int k = 0; k < kp_n_keys() && same_preset; k++)
            differs[k] |= !kp_config_same(other, c, k);
    }
    method->label[0] = 0;
    if (*method->name) append(method->label, "%s%s", method->name, "");
    if (presets_differ) append(method->label, "%s%s", *c->preset ? c->preset : "runs", "");
    for (int k = 0; k < kp_n_keys(); k++) {
        char text[KP_CONFIG_TEXT];
        const char *key = kp_key_at(k)->key, *dot = strrchr(key, '.');
        if (!differs[k] || is_outside_method(key)) continue;
        kp_config_get(c, k, text);
        append(method->label, "%s %s", dot ? dot + 1 : key, text);
    }
}

/* The first method of this name's first n letters; -1: none. */
static int find_name(const kp_report *r, const char *name, size_t n) {
    for (int m = 0; m < r->n_methods && n; m++)
        if (!strncmp(r->method[m].name, name, n) && !r->method[m].name[n]) return m;
    return -1;
}

/* The first method of m's name, or, for NAME+wc, of NAME. */
static int base_of(const kp_report *r, int m, int *is_clipped) {
    static const char clipped[] = "+wc";
    const char *name = r->method[m].name;
    size_t n = strlen(name), end = strlen(clipped);
    int base = n > end && !strcmp(name + n - end, clipped) ? find_name(r, name, n - end) : -1;
    *is_clipped = base >= 0;
    if (base < 0) base = find_name(r, name, n);
    return base < 0 ? m : base;
}

/* A name has one style, since a figure has one method of each; NAME+wc has NAME's colour and the
 * next dash, so that the two are seen as a pair. */
static void choose_styles(kp_report *r) {
    int n = 0, dashes = 1, is_clipped;
    for (int m = 0; m < r->n_methods; m++)
        if (base_of(r, m, &is_clipped), is_clipped) dashes = 2;
    for (int m = 0; m < r->n_methods; m++) {
        if (base_of(r, m, &is_clipped) != m) continue;
        r->method[m].style = n % KP_PLOT_COLOURS + n / KP_PLOT_COLOURS * dashes * KP_PLOT_COLOURS;
        n++;
    }
    for (int m = 0; m < r->n_methods; m++) {
        int base = base_of(r, m, &is_clipped);
        if (base != m) r->method[m].style = r->method[base].style + is_clipped * KP_PLOT_COLOURS;
    }
}

typedef struct {
    int n_runs;
    double steps, score; /* of the run that has come least far; mean */
} result;

static result result_of(const kp_report *r, int subject, int method) {
    const kp_column *score = r->kind->column;
    result x = { 0, INFINITY, 0 };
    for (int i = 0; i < r->n; i++) {
        const kp_member_run *run = &r->run[i];
        if (run->subject != subject || run->method != method) continue;
        x.n_runs++;
        double steps = kp_report_value(run, KP_METRIC_AGENT_STEP, KP_SPAN_LATEST);
        x.steps = fmin(x.steps, isfinite(steps) ? steps : 0);
        x.score += kp_report_value(run, kp_report_metric(r, score->metric), score->span);
    }
    if (!x.n_runs) return (result){ 0, -1, -INFINITY };
    x.score = isfinite(x.score) ? x.score / x.n_runs : -INFINITY;
    return x;
}

/* Of a name's settings the one that is drawn: all its runs have come as far as any setting's (one
 * that has diverged has not), and its mean score is the highest. */
static int is_better(result a, result b) {
    return a.steps != b.steps ? a.steps > b.steps : a.score > b.score;
}

static void choose_drawn(kp_report *r, result *of, int subject) {
    const int M = r->n_methods;
    for (int m = 0; m < M; m++) of[m] = result_of(r, subject, m);
    for (int m = 0; m < M; m++) {
        int is_drawn = of[m].n_runs > 0;
        for (int k = 0; k < M && is_drawn && *r->method[m].name; k++)
            if (!strcmp(r->method[k].name, r->method[m].name))
                is_drawn = !is_better(of[k], of[m]) && (k >= m || is_better(of[m], of[k]));
        r->is_drawn[subject * M + m] = (uint8_t)is_drawn;
    }
}

/* The run's method and subject: those of an earlier run, or new ones. */
static void number_run(kp_report *r, int *first, int i) {
    kp_member_run *run = &r->run[i];
    run->method = run->subject = -1;
    for (int m = 0; m < r->n_methods && run->method < 0; m++)
        if (same_method(&run->config, &r->run[first[m]].config)) run->method = m;
    for (int j = 0; j < i && run->subject < 0; j++)
        if (same_subject(&run->config, &r->run[j].config)) run->subject = r->run[j].subject;
    if (run->method < 0) first[run->method = r->n_methods++] = i;
    if (run->subject < 0) run->subject = r->n_subjects++;
}

static void name_subject(kp_subject *s, const kp_config *c) {
    kp_kind_subject(c, s->label, sizeof s->label);
    char *to = s->file;
    for (const char *at = s->label; *at; at++)
        if (*at != ' ') *to++ = *at == ',' ? '-' : *at;
    *to = 0;
}

kp_status kp_report_group(kp_report *r, kp_err *err) {
    if (!r->n) return kp_fail(err, KP_BAD_DATA, "report: no runs");
    for (int i = 1; i < r->n; i++)
        if (r->run[i].config.algorithm != r->run->config.algorithm)
            return kp_fail(err, KP_BAD_CONFIG,
                           "report: %s and %s are of different algorithms; report them apart",
                           r->run->dir, r->run[i].dir);
    int *first = malloc((size_t)r->n * sizeof *first);
    r->kind = kp_kind_of(r->run->config.algorithm);
    r->n_methods = r->n_subjects = 0;
    for (int i = 0; first && i < r->n; i++) number_run(r, first, i);
    free(r->method);
    free(r->subject);
    free(r->is_drawn);
    r->method = calloc((size_t)r->n_methods + 1, sizeof *r->method);
    r->subject = calloc((size_t)r->n_subjects + 1, sizeof *r->subject);
    r->is_drawn = calloc((size_t)r->n_subjects * (size_t)r->n_methods + 1, 1);
    result *of = malloc(((size_t)r->n_methods + 1) * sizeof *of);
    int complete = first && r->method && r->subject && r->is_drawn && of;
    for (int i = 0; complete && i < r->n; i++)
        name_subject(&r->subject[r->run[i].subject], &r->run[i].config);
    for (int m = 0; complete && m < r->n_methods; m++)
        r->method[m].name = r->run[first[m]].config.run.method;
    for (int m = 0; complete && m < r->n_methods; m++) label_method(r, m, first);
    if (complete) choose_styles(r);
    for (int s = 0; complete && s < r->n_subjects; s++) choose_drawn(r, of, s);
    free(of);
    free(first);
    return complete ? KP_OK : kp_fail(err, KP_BAD_CONFIG, "report: out of memory");
}

const char *kp_report_subject(const kp_report *report, int i) {
    return i < report->n_subjects ? report->subject[i].file : NULL;
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
    kp_status drawn = KP_OK; /* a subject that cannot be drawn leaves the others their curves */
    for (int s = 0; s < report->n_subjects && !st; s++) {
        kp_status one = kp_report_curves(report, s, dir, err);
        if (one == KP_DEVICE || one == KP_BAD_DATA) drawn = one;
        else st = one;
    }
    return st ? st : drawn;
}

void kp_report_close(kp_report *report) {
    if (!report) return;
    for (int i = 0; i < report->n; i++) kp_metrics_free(&report->run[i].rows);
    free(report->run);
    free(report->method);
    free(report->subject);
    free(report->is_drawn);
    free(report->silent);
    free(report);
}
