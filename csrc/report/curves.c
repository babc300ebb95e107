/* curves.c: learning curves of one game, averaged over runs.
 *
 * Agent steps are cut into at most MAX_POINTS equal parts. A run's value in a part is the mean of
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

enum { MAX_POINTS = 100, N_PANELS = 3 };

typedef struct {
    kp_metric metric;
    const char *name, *title;
    double factor;
} panel_kind;

static int is_of(const kp_member_run *run, int game, int method) {
    return run->game == game && run->method == method;
}

static double cell(const kp_member_run *run, int row, kp_metric metric) {
    return run->rows.cell[(size_t)row * KP_N_METRICS + metric];
}

/* The parts' width: MAX_POINTS of them reach the last step, none is narrower than the log's
 * interval. */
static double part_width(const kp_report *r, int game) {
    double last = 0, interval = INFINITY;
    for (int i = 0; i < r->n; i++)
        for (int j = 0; j < r->run[i].rows.n && r->run[i].game == game; j++) {
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

static kp_status fill_curve(kp_curve *c, const kp_report *r, int game, const panel_kind *kind,
                            double width, double *x, int *row, kp_err *err) {
    memset(row, 0, (size_t)r->n * sizeof *row);
    for (int part = 1; part <= MAX_POINTS; part++) {
        kp_estimate e;
        int n = 0;
        for (int i = 0; i < r->n; i++) {
            if (!is_of(&r->run[i], game, c->style)) continue;
            double mean = part_mean(&r->run[i], kind->metric, part * width * (1 + 1e-12), &row[i]);
            if (isfinite(mean)) x[n++] = mean * kind->factor;
        }
        if (!n) continue;
        kp_status st = kp_bootstrap(&e, KP_STAT_MEAN, x, &n, 1, 0.95, 0, err);
        if (st) return st;
        c->point[c->n++] = (kp_point){ part * width, e.value, e.low, e.high, n };
    }
    return KP_OK;
}

static kp_status write_csv(const kp_plot *plot, const panel_kind *kinds, const char *dir,
                           const char *name, kp_err *err) {
    char path[1024];
    snprintf(path, sizeof path, "%s/%s.csv", dir, name);
    FILE *f = fopen(path, "w");
    if (f) fprintf(f, "metric,method,agent_step,frames,runs,mean,low95,high95\n");
    for (int p = 0; f && p < plot->n; p++)
        for (int m = 0; m < plot->panel[p].n; m++) {
            const kp_curve *c = &plot->panel[p].curve[m];
            for (int i = 0; i < c->n; i++)
                fprintf(f, "%s,\"%s\",%.0f,%.0f,%d,%.9g,%.9g,%.9g\n", kinds[p].name, c->label,
                        c->point[i].step, c->point[i].step * plot->frames_per_step,
                        c->point[i].n_runs, c->point[i].value, c->point[i].low, c->point[i].high);
        }
    int failed = !f || ferror(f);
    if (f && fclose(f)) failed = 1;
    return failed ? kp_fail(err, KP_STORAGE, "%s: cannot be written: %s", path, strerror(errno))
                  : KP_OK;
}

kp_status kp_report_curves(const kp_report *r, int game, const char *dir, kp_err *err) {
    const int is_eval = kp_report_return(r) == KP_METRIC_EVAL_RETURN;
    const panel_kind kinds[N_PANELS] = {
        { kp_report_return(r), is_eval ? "eval_return_mean" : "return_mean",
          is_eval ? "evaluation return" : "training return", 1 },
        { KP_METRIC_WEIGHT_L2, "weight_l2", "weight norm (l2)", 1 },
        { KP_METRIC_SHARE_CLIPPED, "percent_clipped", "weights clipped (%)", 100 },
    };
    const int M = r->n_methods;
    kp_panel panels[N_PANELS];
    kp_curve *curves = calloc((size_t)N_PANELS * M, sizeof *curves);
    kp_point *points = calloc((size_t)N_PANELS * M * MAX_POINTS, sizeof *points);
    double *x = malloc((size_t)r->n * sizeof *x);
    int *row = malloc((size_t)r->n * sizeof *row), frames_per_step = 1;
    kp_status st = KP_OK;
    if (!curves || !points || !x || !row) {
        st = kp_fail(err, KP_BAD_CONFIG, "report: out of memory");
        goto out;
    }
    for (int i = 0; i < r->n; i++)
        if (r->run[i].game == game) frames_per_step = r->run[i].config.env.frame_skip;
    double width = part_width(r, game);
    for (int p = 0; p < N_PANELS; p++) {
        panels[p] = (kp_panel){ kinds[p].title, curves + p * M, M };
        for (int m = 0; m < M && !st; m++) {
            curves[p * M + m] = (kp_curve){ r->label[m], m,
                                            points + (size_t)(p * M + m) * MAX_POINTS, 0 };
            st = fill_curve(&curves[p * M + m], r, game, &kinds[p], width, x, row, err);
        }
    }
    if (st) goto out;
    char name[80], title[160];
    snprintf(name, sizeof name, "curves-%s", r->game[game]);
    snprintf(title, sizeof title, "%s: mean and 95%% interval over runs", r->game[game]);
    kp_plot plot = { title, frames_per_step, panels, N_PANELS };
    st = write_csv(&plot, kinds, dir, name, err);
    if (!st) st = kp_plot_write(&plot, dir, name, err);
out:
    free(curves);
    free(points);
    free(x);
    free(row);
    return st;
}
