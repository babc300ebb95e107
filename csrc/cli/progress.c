/* progress.c: at most four redraws a second on a terminal, a line every ten seconds elsewhere. */
#include "progress.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/clock.h"

enum { MAX_ROWS = 16 };
static const double REDRAW_S = 0.25, LINE_S = 10.0;

void kp_show_init(kp_show *s, const char *const *name, int P) {
    *s = (kp_show){ .name = name,
                    .P = P,
                    .is_terminal = isatty(STDERR_FILENO),
                    .first_step = -1,
                    .shown_s = kp_now_s() };
}

/* 12345 -> 12.3k */
static const char *brief(char text[16], double x) {
    if (x < 10e3) snprintf(text, 16, "%.0f", x);
    else if (x < 1e6) snprintf(text, 16, "%.1fk", x * 1e-3);
    else snprintf(text, 16, "%.2fM", x * 1e-6);
    return text;
}

static const char *value(char text[24], double x, const char *format, double scale) {
    if (isnan(x)) return "-";
    snprintf(text, 24, format, x * scale);
    return text;
}

static const char *duration(char text[24], double s) {
    if (!isfinite(s) || s < 0) return "?";
    unsigned t = s < 1e9 ? (unsigned)(s + 0.5) : 1000000000u;
    if (t < 3600) snprintf(text, 24, "%u:%02u", t / 60, t % 60);
    else snprintf(text, 24, "%u:%02u:%02u", t / 3600, t / 60 % 60, t % 60);
    return text;
}

static double mean_of(const kp_progress *n, size_t offset) { /* over members that have the value */
    double sum = 0;
    int count = 0;
    for (int p = 0; p < n->P; p++) {
        double x;
        memcpy(&x, (const char *)&n->member[p] + offset, sizeof x);
        if (!isnan(x)) sum += x, count++;
    }
    return count ? sum / count : NAN;
}

static void update_rates(kp_show *s, const kp_progress *n, double t) {
    double dt = t - s->shown_s;
    if (s->first_step < 0) s->first_step = n->agent_step, s->first_updates = n->updates;
    else if (dt > 0) {
        double steps = (double)(n->agent_step - s->shown_step) * n->P / dt;
        double updates = (double)(n->updates - s->shown_updates) * n->P / dt;
        double keep = s->is_terminal ? 0.8 : 0.0;
        int fresh = s->rate_steps == 0 || s->phase != n->phase;
        s->rate_steps = fresh ? steps : keep * s->rate_steps + (1 - keep) * steps;
        s->rate_updates = fresh ? updates : keep * s->rate_updates + (1 - keep) * updates;
    }
    s->phase = n->phase;
    s->shown_step = n->agent_step, s->shown_updates = n->updates, s->shown_s = t;
}

static void summary(const kp_show *s, const kp_progress *n, int with_values, char *text,
                    size_t size) {
    char a[16], b[16], c[16], d[24], f[24], g[24];
    double left = (double)(n->agent_steps - n->agent_step) * n->P / s->rate_steps;
    int at = snprintf(text, size, "%-8s %s/%s %s", n->phase, brief(a, (double)n->agent_step),
                      brief(b, (double)n->agent_steps), n->unit);
    if (n->updates != n->agent_step) /* a stream's samples are its updates */
        at += snprintf(text + at, size - (size_t)at, "  %s updates  %.0f %s/s  %.1f updates/s",
                       brief(c, (double)n->updates), s->rate_steps, n->unit, s->rate_updates);
    else at += snprintf(text + at, size - (size_t)at, "  %.0f %s/s", s->rate_steps, n->unit);
    if (!strcmp(n->phase, "evaluate"))
        at += snprintf(text + at, size - (size_t)at, "  game step %lld", (long long)n->eval_step);
    if (!with_values) {
        snprintf(text + at, size - (size_t)at, "  left %s", duration(g, left));
        return;
    }
    for (int i = 0; i < KP_PROGRESS_VALUES; i++) {
        const kp_progress_value *v = &n->shown[i];
        double mean = mean_of(n, offsetof(kp_member_progress, value) + (size_t)i * sizeof mean);
        at += snprintf(text + at, size - (size_t)at, "  %s %s", v->name,
                       value(d, mean, v->format, v->scale));
    }
    snprintf(text + at, size - (size_t)at, "  clipped %s  left %s",
             value(f, mean_of(n, offsetof(kp_member_progress, share_clipped)), "%.2f%%", 100),
             duration(g, left));
}

/* A line that wraps would be two when it is erased. */
static void put_line(const char *text) {
    struct winsize w = { 0 };
    int columns = ioctl(STDERR_FILENO, TIOCGWINSZ, &w) || w.ws_col < 20 ? 80 : w.ws_col;
    fprintf(stderr, "%.*s\n", columns - 1, text);
}

static void erase(kp_show *s) {
    if (s->n_lines > 0) fprintf(stderr, "\r\033[%dA\033[J", s->n_lines);
    s->n_lines = 0;
}

static void draw(kp_show *s, const kp_progress *n) {
    char line[256];
    erase(s);
    if (n->P > 1) {
        int rows = n->P < MAX_ROWS ? n->P : MAX_ROWS;
        snprintf(line, sizeof line, "  %-34s %9s %9s %9s %9s", "run", n->shown[0].name,
                 n->shown[1].name, "|weights|", "clipped");
        put_line(line);
        for (int p = 0; p < rows; p++) {
            const kp_member_progress *m = &n->member[p];
            char a[24], b[24], c[24], d[24];
            snprintf(line, sizeof line, "  %-34.34s %9s %9s %9s %9s%s", s->name[p],
                     value(a, m->value[0], n->shown[0].format, n->shown[0].scale),
                     value(b, m->value[1], n->shown[1].format, n->shown[1].scale),
                     value(c, m->weight_l2, "%.2f", 1), value(d, m->share_clipped, "%.2f%%", 100),
                     m->stopped_at >= 0 ? "  stopped: non-finite" : "");
            put_line(line);
        }
        s->n_lines = rows + 1;
        if (n->P > rows) fprintf(stderr, "  ... and %d more\n", n->P - rows), s->n_lines++;
    }
    summary(s, n, n->P == 1, line, sizeof line);
    put_line(line);
    s->n_lines++;
    fflush(stderr);
}

void kp_show_tell(void *context, const kp_progress *n) {
    kp_show *s = context;
    double t = kp_now_s();
    if (s->first_step >= 0 && t - s->shown_s < (s->is_terminal ? REDRAW_S : LINE_S)) return;
    int first = s->first_step < 0;
    update_rates(s, n, t);
    if (first) return;
    if (s->is_terminal) {
        draw(s, n);
    } else {
        char line[256];
        summary(s, n, 1, line, sizeof line);
        fprintf(stderr, "%s\n", line);
    }
}
