/* curves.c: learning curves of one subject, averaged over runs.
 *
 * Steps are cut into at most MAX_POINTS equal parts. A run's value in a part is the mean of
 * what it logged there; a part's point is the mean over runs. Only runs that logged something in a
 * part count in it. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plot.h"
#include "report_impl.h"
#include "stats.h"

enum { MAX_POINTS = 100 };

static double cell(const kp_member_run *run, int row, kp_metric metric) {
    return run->rows.cell[(size_t)row * KP_N_METRICS + metric];
}

/* The parts' width: MAX_POINTS of them reach the last step, none is narrower than the log's
 * interval. */
static double part_width(const kp_report *r, int subject) {
    double last = 0, interval = INFINITY;
    for (int i = 0; i < r->n; i++)
        for (int j = 0; j < r->run[i].rows.n && r->run[i].subject == subject; j++) {
            double step = cell(&r->run[i], j, KP_METRIC_AGENT_STEP),
                   before = j ? cell(&r->run[i], j - 1, KP_METRIC_AGENT_STEP) : 0;
            last = fmax(last, step);
            if (step > before) interval = fmin(interval, step - before);
        }
    if (!(last > 0)) return 1;
    double width = fmax(1, interval * ceil(last / interval / MAX_POINTS));
    return ceil(last / width) <= MAX_POINTS ? width : last / MAX_POINTS;
}

/* A run's mean within (end - width, end]; NAN if it logged nothing. Rows rise by step, so *row only
 * moves on. */
static double part_mean(const kp_member_run *run, kp_metric metric, double end, int *row) {
    double sum = 0;
    int n = 0;
    for (; *row < run->rows.n && cell(run, *row, KP_METRIC_AGENT_STEP) <= end; ++*row) {
        double x = cell(run, *row, metric);
        if (isfinite(x)) sum += x, n++;
    }
    return n ? sum / n : NAN;
}

static kp_status fill_curve(kp_curve *c, const kp_report *r, int subject, int method,
                            kp_metric metric, double width, double *x, int *row, kp_err *err) {
    memset(row, 0, (size_t)r->n * sizeof *row);
    for (int part = 1; part <= MAX_POINTS; part++) {
        kp_estimate e;
        int n = 0;
        for (int i = 0; i < r->n; i++) {
            if (r->run[i].subject != subject || r->run[i].method != method) continue;
            double mean = part_mean(&r->run[i], metric, part * width * (1 + 1e-12), &row[i]);
            if (isfinite(mean)) x[n++] = mean * kp_shown_of(metric)->factor;
        }
        if (!n) continue;
        kp_status st = kp_bootstrap(&e, KP_STAT_MEAN, x, &n, 1, 0.95, 0, err);
        if (st) return st;
        c->point[c->n++] = (kp_point){ part * width, e.value, e.low, e.high, n };
    }
    return KP_OK;
}

static kp_status write_csv(const kp_report *r, const kp_plot *plot, const char *dir,
                           const char *name, kp_err *err) {
    const kp_kind *kind = r->kind;
    char path[1024];
    snprintf(path, sizeof path, "%s/%s.csv", dir, name);
    FILE *f = fopen(path, "w");
    if (f)
        fprintf(f, "metric,method,%s,%s,runs,mean,low95,high95\n", kind->step_column,
                kind->second_column);
    for (int p = 0; f && p < plot->n; p++)
        for (int m = 0; m < plot->panel[p].n; m++) {
            const kp_curve *c = &plot->panel[p].curve[m];
            const char *metric = kp_shown_of(kp_report_metric(r, kind->panel[p]))->name;
            for (int i = 0; i < c->n; i++)
                fprintf(f, "%s,\"%s\",%.0f,%.12g,%d,%.9g,%.9g,%.9g\n", metric, c->label,
                        c->point[i].step, c->point[i].step * plot->second_per_step,
                        c->point[i].n_runs, c->point[i].value, c->point[i].low, c->point[i].high);
        }
    int failed = !f || ferror(f);
    if (f && fclose(f)) failed = 1;
    return failed ? kp_fail(err, KP_STORAGE, "%s: cannot be written: %s", path, strerror(errno))
                  : KP_OK;
}

kp_status kp_report_curves(const kp_report *r, int subject, const char *dir, kp_err *err) {
    const kp_kind *kind = r->kind;
    const int M = r->n_methods, n = kind->n_panels;
    kp_panel *panels = calloc((size_t)n, sizeof *panels);
    kp_curve *curves = calloc((size_t)n * M, sizeof *curves);
    kp_point *points = calloc((size_t)n * M * MAX_POINTS, sizeof *points);
    double *x = malloc((size_t)r->n * sizeof *x), second_per_step = 1;
    int *row = malloc((size_t)r->n * sizeof *row);
    kp_status st = KP_OK;
    if (!panels || !curves || !points || !x || !row) {
        st = kp_fail(err, KP_BAD_CONFIG, "report: out of memory");
        goto out;
    }
    for (int i = 0; i < r->n; i++)
        if (r->run[i].subject == subject)
            second_per_step = kp_kind_second_per_step(&r->run[i].config);
    double width = part_width(r, subject);
    for (int p = 0; p < n; p++) {
        kp_metric metric = kp_report_metric(r, kind->panel[p]);
        panels[p] = (kp_panel){ kp_shown_of(metric)->title, curves + p * M, 0 };
        for (int m = 0; m < M && !st; m++) {
            kp_curve *c = &panels[p].curve[panels[p].n];
            if (!r->is_drawn[subject * M + m]) continue;
            *c = (kp_curve){ r->method[m].label, r->method[m].style,
                             points + (size_t)(p * M + m) * MAX_POINTS, 0 };
            st = fill_curve(c, r, subject, m, metric, width, x, row, err);
            panels[p].n++;
        }
    }
    if (st) goto out;
    char name[160], title[256];
    snprintf(name, sizeof name, "curves-%s", r->subject[subject].file);
    snprintf(title, sizeof title, "%s: mean and 95%% interval over runs",
             r->subject[subject].label);
    kp_plot plot = { title, kind->step, kind->second, second_per_step, panels, n, kind->n_abreast };
    st = write_csv(r, &plot, dir, name, err);
    if (!st) st = kp_plot_write(&plot, dir, name, err);
out:
    free(panels);
    free(curves);
    free(points);
    free(x);
    free(row);
    return st;
}
