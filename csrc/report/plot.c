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
_Static_assert((int)(sizeof colours / sizeof *colours) == (int)KP_PLOT_COLOURS,
               "styles count them");

enum { /* pixels; one panel a row is placed by gnuplot */
       PANEL_HEIGHT = 300,
       HEAD_HEIGHT = 140,
       ONE_WIDTH = 900,
       TWO_WIDTH = 1300,
       LEFT = 80, /* of a panel, for its title and numbers */
       RIGHT = 25,
       GAP = 35,  /* between rows */
       AXIS = 55, /* numbers and name of an axis */
       TITLE = 35,
       KEY_LINE = 20
};

typedef struct {
    int n_panels, rows; /* panels with points */
    int width, height;
    int key_columns, key_height; /* of two panels a row */
} layout;

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

/* Panel `at` of those that are drawn. The axes have numbers at the bottom of a column and at the
 * top row. */
static void put_axes(FILE *f, const kp_plot *p, const layout *l, int at) {
    const char *steps, *seconds;
    double last = last_step(p);
    unit_of(last, &steps);
    unit_of(last * p->second_per_step, &seconds);
    if (at < p->n_abreast && p->second_per_step > 0)
        fprintf(f, "set border 7\nset x2tics\nset x2label '%s%s' offset 0,-0.5\n", p->second,
                seconds);
    else fprintf(f, "set border 3\nunset x2tics\nunset x2label\n");
    if (at == 0 && p->n_abreast == 1)
        fprintf(f, "set key outside top center horizontal noenhanced\n");
    else fprintf(f, "unset key\n");
    if (at + p->n_abreast >= l->n_panels)
        fprintf(f, "set xlabel '%s%s'\nset format x '%%g'\n", p->step, steps);
    else fprintf(f, "unset xlabel\nset format x ''\n");
}

static void put_margins(FILE *f, const layout *l, int left, int right, int bottom, int top) {
    fprintf(f,
            "set lmargin at screen %.6f\nset rmargin at screen %.6f\n"
            "set bmargin at screen %.6f\nset tmargin at screen %.6f\n",
            (double)left / l->width, (double)right / l->width, 1 - (double)bottom / l->height,
            1 - (double)top / l->height);
}

/* The same size for all, whatever numbers its axes have. */
static void put_place(FILE *f, const kp_plot *p, const layout *l, int at) {
    int width = l->width / p->n_abreast, left = at % p->n_abreast * width,
        top = TITLE + l->key_height + AXIS + at / p->n_abreast * PANEL_HEIGHT;
    put_margins(f, l, left + LEFT, left + width - RIGHT, top + PANEL_HEIGHT - GAP, top);
}

static void put_line(FILE *f, const kp_curve *c, const char *what) {
    fprintf(f, "%s lw 2 dt %d lc rgb '%s' title ", what, c->style / KP_PLOT_COLOURS + 1,
            colours[c->style % KP_PLOT_COLOURS]);
    put_quoted(f, c->label);
}

/* A panel of nothing but the key, as wide as the picture. */
static void put_key(FILE *f, const kp_plot *p, const layout *l) {
    put_margins(f, l, LEFT, l->width - RIGHT, TITLE + l->key_height, TITLE);
    fprintf(f,
            "unset border\nunset tics\nunset grid\n"
            "set key center center horizontal noenhanced maxcols %d\nplot [0:1][0:1] ",
            l->key_columns);
    for (int j = 0; j < p->panel->n; j++) {
        fputs(j ? ", \\\n     " : "", f);
        put_line(f, &p->panel->curve[j], "NaN with lines");
    }
    fprintf(f, "\nset tics\n");
}

/* Bands first, so that no line is under one. The key stands once, above the first panel. */
static void put_panel(FILE *f, const kp_plot *p, const layout *l, int i, int at) {
    const kp_panel *panel = &p->panel[i];
    const char *comma = "plot ";
    fprintf(f, "set ylabel ");
    put_quoted(f, panel->title);
    fprintf(f, " noenhanced\n");
    put_axes(f, p, l, at);
    for (int band = 1; band >= 0; band--)
        for (int j = 0; j < panel->n; j++) {
            const kp_curve *c = &panel->curve[j];
            const char *colour = colours[c->style % KP_PLOT_COLOURS];
            if (!c->n) continue;
            if (band)
                fprintf(f,
                        "%s$data_%d_%d using 1:3:4 with filledcurves lc rgb '%s' fs transparent "
                        "solid 0.2 noborder notitle",
                        comma, i, j, colour);
            else {
                char data[64];
                snprintf(data, sizeof data, "$data_%d_%d using 1:2 with %s", i, j,
                         c->n == 1 ? "points pt 7" : "lines");
                fputs(comma, f);
                put_line(f, c, data);
            }
            comma = ", \\\n     ";
        }
    fprintf(f, "\n");
}

/* The key has as many columns as its longest label leaves room for. */
static layout lay_out(const kp_plot *p) {
    layout l = { 0 };
    int longest = 0, n = p->n ? p->panel->n : 0;
    for (int i = 0; i < p->n; i++) l.n_panels += has_points(&p->panel[i]);
    l.rows = (l.n_panels + p->n_abreast - 1) / p->n_abreast;
    if (p->n_abreast == 1) {
        l.width = ONE_WIDTH, l.height = HEAD_HEIGHT + l.rows * PANEL_HEIGHT;
        return l;
    }
    for (int j = 0; j < n; j++) {
        int length = (int)strlen(p->panel->curve[j].label);
        longest = length > longest ? length : longest;
    }
    l.width = TWO_WIDTH;
    l.key_columns = (l.width - LEFT - RIGHT) / (8 * longest + 60);
    l.key_columns = l.key_columns < 1 ? 1 : l.key_columns > n ? n : l.key_columns;
    l.key_height = n ? (n + l.key_columns - 1) / l.key_columns * KEY_LINE : 0;
    l.height = TITLE + l.key_height + AXIS + l.rows * PANEL_HEIGHT - GAP + AXIS;
    return l;
}

static void put_script(FILE *f, const kp_plot *p, const char *name) {
    const layout l = lay_out(p);
    const char *words;
    double last = last_step(p), last_second = last * p->second_per_step,
           unit = unit_of(last, &words);
    fprintf(f, "# Draw it: gnuplot %s.gp\n", name);
    fprintf(f, "set terminal pngcairo size %d,%d font 'sans,11' background '#ffffff'\nset output ",
            l.width, l.height);
    char png[300];
    snprintf(png, sizeof png, "%s.png", name);
    put_quoted(f, png);
    fprintf(f, "\nset multiplot ");
    if (p->n_abreast == 1) fprintf(f, "layout %d,1 ", l.n_panels);
    fprintf(f, "title ");
    put_quoted(f, p->title);
    fprintf(f, " noenhanced font 'sans,14'\n");
    put_data(f, p, unit);
    if (p->n_abreast == 1) fprintf(f, "set lmargin 11\nset rmargin 4\n");
    else put_key(f, p, &l);
    fprintf(f,
            "set grid xtics ytics lt 1 lc rgb '#dddddd'\nset ytics "
            "nomirror\nset xtics nomirror\n"
            "set xrange [0:%.10g]\n",
            last / unit);
    if (p->second_per_step > 0)
        fprintf(f, "set x2range [0:%.10g]\n", last_second / unit_of(last_second, &words));
    for (int i = 0, at = 0; i < p->n; i++)
        if (has_points(&p->panel[i])) {
            if (p->n_abreast > 1) put_place(f, p, &l, at);
            put_panel(f, p, &l, i, at++);
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
    if (!lay_out(plot).n_panels)
        return kp_fail(err, KP_BAD_DATA, "%s: the runs have logged nothing to draw yet",
                       plot->title);
    snprintf(script, sizeof script, "%s.gp", name);
    snprintf(path, sizeof path, "%s/%s", dir, script);
    snprintf(png, sizeof png, "%s/%s.png", dir, name);
    FILE *f = fopen(path, "w");
    if (f) put_script(f, plot, name);
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
