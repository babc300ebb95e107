/* plot.c: see plot.h. gnuplot is a program of its own, found on PATH. */
#include "plot.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* Okabe and Ito's colours, told apart by the colour-blind; yellow, faint on white, is left out. */
static const char *const colours[] = { "#0072B2", "#D55E00", "#009E73", "#CC79A7",
                                       "#E69F00", "#56B4E9", "#000000" };
enum { N_COLOURS = sizeof colours / sizeof *colours, PANEL_HEIGHT = 300, HEAD_HEIGHT = 140 };

static int has_points(const kp_panel *p) {
    int n = 0;
    for (int i = 0; i < p->n; i++) n += p->curve[i].n;
    return n > 0;
}

/* In gnuplot's single quotes only a quote itself is special. */
static void put_quoted(FILE *f, const char *text) {
    fputc('\'', f);
    for (; *text; text++)
        fputs(*text == '\'' ? "''" : *text == '\n' ? " " : (char[]){ *text, 0 }, f);
    fputc('\'', f);
}

static void put_data(FILE *f, const kp_plot *p, double unit) {
    for (int i = 0; i < p->n; i++)
        for (int j = 0; j < p->panel[i].n; j++) {
            const kp_curve *c = &p->panel[i].curve[j];
            if (!c->n) continue;
            fprintf(f, "$data_%d_%d << END\n", i, j);
            for (int k = 0; k < c->n; k++)
                fprintf(f, "%.10g %.10g %.10g %.10g\n", c->point[k].step / unit, c->point[k].value,
                        c->point[k].low, c->point[k].high);
            fprintf(f, "END\n");
        }
}

static double last_step(const kp_plot *p) {
    double last = 0;
    for (int i = 0; i < p->n; i++)
        for (int j = 0; j < p->panel[i].n; j++) {
            const kp_curve *c = &p->panel[i].curve[j];
            if (c->n && c->point[c->n - 1].step > last) last = c->point[c->n - 1].step;
        }
    return last > 0 ? last : 1;
}

/* Steps are drawn in thousands or millions, so that the axes have short numbers. */
static double unit_of(double last, const char **name) {
    *name = last >= 2e6 ? " (million)" : last >= 2e3 ? " (thousand)" : "";
    return last >= 2e6 ? 1e6 : last >= 2e3 ? 1e3 : 1;
}

static void put_axes(FILE *f, const kp_plot *p, int is_first, int is_last) {
    const char *steps, *frames;
    double last = last_step(p);
    unit_of(last, &steps);
    unit_of(last * p->frames_per_step, &frames);
    if (is_first)
        fprintf(f,
                "set border 7\nset x2tics\nset x2label 'frames%s' offset 0,-0.5\n"
                "set key outside top center horizontal noenhanced\n",
                frames);
    else fprintf(f, "set border 3\nunset x2tics\nunset x2label\nunset key\n");
    if (is_last) fprintf(f, "set xlabel 'agent steps%s'\nset format x '%%g'\n", steps);
    else fprintf(f, "unset xlabel\nset format x ''\n");
}

/* Bands first, so that no line is under one. The key stands once, above the top panel. */
static void put_panel(FILE *f, const kp_plot *p, int i, int is_first, int is_last) {
    const kp_panel *panel = &p->panel[i];
    const char *comma = "plot ";
    fprintf(f, "set ylabel ");
    put_quoted(f, panel->title);
    fprintf(f, " noenhanced\n");
    put_axes(f, p, is_first, is_last);
    for (int band = 1; band >= 0; band--)
        for (int j = 0; j < panel->n; j++) {
            const kp_curve *c = &panel->curve[j];
            const char *colour = colours[c->style % N_COLOURS];
            if (!c->n) continue;
            if (band)
                fprintf(f,
                        "%s$data_%d_%d using 1:3:4 with filledcurves lc rgb '%s' fs transparent "
                        "solid 0.2 noborder notitle",
                        comma, i, j, colour);
            else {
                fprintf(f, "%s$data_%d_%d using 1:2 with %s lw 2 dt %d lc rgb '%s' title ", comma,
                        i, j, c->n == 1 ? "points pt 7" : "lines", c->style / N_COLOURS + 1,
                        colour);
                put_quoted(f, c->label);
            }
            comma = ", \\\n     ";
        }
    fprintf(f, "\n");
}

static void put_script(FILE *f, const kp_plot *p, const char *name, int n_panels) {
    const char *words;
    double last = last_step(p), last_frame = last * p->frames_per_step,
           unit = unit_of(last, &words);
    fprintf(f, "# Draw it: gnuplot %s.gp\n", name);
    fprintf(f, "set terminal pngcairo size 900,%d font 'sans,11' background '#ffffff'\nset output ",
            HEAD_HEIGHT + n_panels * PANEL_HEIGHT);
    char png[300];
    snprintf(png, sizeof png, "%s.png", name);
    put_quoted(f, png);
    fprintf(f, "\nset multiplot layout %d,1 title ", n_panels);
    put_quoted(f, p->title);
    fprintf(f, " noenhanced font 'sans,14'\n");
    put_data(f, p, unit);
    fprintf(f,
            "set lmargin 11\nset rmargin 4\nset grid xtics ytics lt 1 lc rgb '#dddddd'\nset ytics "
            "nomirror\nset xtics nomirror\n"
            "set xrange [0:%.10g]\nset x2range [0:%.10g]\n",
            last / unit, last_frame / unit_of(last_frame, &words));
    int shown = 0;
    for (int i = 0; i < p->n; i++) {
        if (!has_points(&p->panel[i])) continue;
        shown++;
        put_panel(f, p, i, shown == 1, shown == n_panels);
    }
    fprintf(f, "unset multiplot\n");
}

/* Runs gnuplot in dir; what it says on stderr goes to `said`. Returns its exit status, -1 where it
 * cannot be started (errno). */
static int run_gnuplot(const char *dir, char *script, char *said, size_t size) {
    int pipe_fd[2], status = -1;
    size_t n = 0;
    pid_t pid;
    posix_spawn_file_actions_t actions;
    char *argv[] = { "gnuplot", script, NULL };
    if (pipe2(pipe_fd, O_CLOEXEC)) return -1;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, pipe_fd[1], 2);
    posix_spawn_file_actions_addchdir_np(&actions, dir);
    int rc = posix_spawnp(&pid, "gnuplot", &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(pipe_fd[1]);
    if (!rc) {
        char bytes[512];
        ssize_t got;
        while ((got = read(pipe_fd[0], bytes, sizeof bytes)) > 0 || (got < 0 && errno == EINTR))
            for (ssize_t i = 0; i < got && n + 1 < size; i++)
                said[n++] = bytes[i] == '\n' ? ' ' : bytes[i];
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
        status = WIFEXITED(status) ? WEXITSTATUS(status) : 128;
    }
    said[n] = 0;
    close(pipe_fd[0]);
    errno = rc;
    return status;
}

kp_status kp_plot_write(const kp_plot *plot, const char *dir, const char *name, kp_err *err) {
    char script[256], path[1024], png[1024], said[256];
    int n_panels = 0;
    for (int i = 0; i < plot->n; i++) n_panels += has_points(&plot->panel[i]);
    if (!n_panels)
        return kp_fail(err, KP_BAD_DATA, "%s: the runs have logged nothing to draw yet",
                       plot->title);
    snprintf(script, sizeof script, "%s.gp", name);
    snprintf(path, sizeof path, "%s/%s", dir, script);
    snprintf(png, sizeof png, "%s/%s.png", dir, name);
    FILE *f = fopen(path, "w");
    if (f) put_script(f, plot, name, n_panels);
    int failed = !f || ferror(f);
    if (f && fclose(f)) failed = 1;
    if (failed) return kp_fail(err, KP_STORAGE, "%s: cannot be written: %s", path, strerror(errno));

    int status = run_gnuplot(dir, script, said, sizeof said);
    if (status == -1 || status == 127)
        return kp_fail(err, KP_DEVICE,
                       "gnuplot is not installed, so %s was not drawn; get it (apt install "
                       "gnuplot-nox) or draw %s "
                       "elsewhere",
                       png, path);
    if (status || access(png, R_OK)) {
        unlink(png);
        return kp_fail(err, KP_DEVICE, "gnuplot failed on %s (status %d): %s", path, status, said);
    }
    return KP_OK;
}
