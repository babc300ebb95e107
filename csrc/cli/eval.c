/* eval.c: `kappa eval`: whole games with the weights of a run's newest checkpoint. */
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/files.h"
#include "cli.h"
#include "gif.h"
#include "learn/trained.h"
#include "report/stats.h"
#include "report/table.h"
#include "run/rundir.h"

enum { NEW_GAMES = 1 << 23, MAX_GAMES = 10000 }; /* evaluations of a run have numbers far below */
static const double FRAMES_PER_SECOND = 60;      /* of the console */

typedef struct {
    kp_trained_options options;
    const char *member; /* name or index; NULL: all */
    int64_t index;
    const char *gif_path;
    double gif_seconds;
    int json;
    kp_table table;
    int n_runs, n_members; /* tried, played */
} evaluation;

/* What looks on while the games are played. */
typedef struct {
    const evaluation *e;
    kp_trained *trained;
    const char *dir;
    int first, last; /* games that are played */
    kp_gif *gif;
    int gif_game, max_frames, was_cut;
    kp_status st; /* of the GIF */
    kp_err *err;
    int is_terminal;
    double shown_s;
} onlooker;

static double now_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void show(onlooker *o, int64_t step) {
    double t = now_s();
    if (t - o->shown_s < (o->is_terminal ? 0.25 : 10)) return;
    int over = 0;
    for (int i = o->first; i < o->last; i++)
        over += !kp_evaluator_is_playing(kp_trained_evaluator(o->trained), i);
    fprintf(stderr, "%s%s: %d of %d games over, agent step %" PRId64 " of the longest%s",
            o->is_terminal ? "\r\033[K" : "", o->dir, over, o->last - o->first, step,
            o->is_terminal ? "" : "\n");
    fflush(stderr);
    o->shown_s = t;
}

static void film(onlooker *o) {
    kp_evaluator *v = kp_trained_evaluator(o->trained);
    int height, P;
    const kp_config *member = kp_trained_members(o->trained, &P);
    if (o->st || o->was_cut || !kp_evaluator_is_playing(v, o->gif_game)) return;
    const uint8_t *screen = kp_env_screen(kp_evaluator_env(v), o->gif_game, &height);
    if (!o->gif) {
        int centiseconds = (int)lround(100 * member->env.frame_skip / FRAMES_PER_SECOND);
        o->max_frames = (int)(100 * o->e->gif_seconds / centiseconds);
        o->st = kp_gif_open(&o->gif, o->e->gif_path, 160, height, kp_atari_palette, centiseconds,
                            o->err);
    }
    if (!o->st && kp_gif_frames(o->gif) < o->max_frames)
        o->st = kp_gif_frame(o->gif, screen, o->err);
    else o->was_cut = !o->st;
}

static void look(void *context, const kp_progress *now) {
    onlooker *o = context;
    if (o->e->gif_path) film(o);
    show(o, now->eval_step);
}

/* The member asked for, -1: all, by name or by index. */
static kp_status choose(const evaluation *e, const kp_trained *t, const char *dir, int *chosen,
                        kp_err *err) {
    int P;
    const kp_config *member = kp_trained_members(t, &P);
    char *end = NULL;
    *chosen = -1;
    if (!e->member) return KP_OK;
    for (int p = 0; p < P; p++)
        if (!strcmp(member[p].run.name, e->member)) {
            *chosen = p;
            return KP_OK;
        }
    long index = strtol(e->member, &end, 10);
    if (end != e->member && !*end && index >= 0 && index < P) {
        *chosen = (int)index;
        return KP_OK;
    }
    return kp_fail(err, KP_BAD_CONFIG, "%s: has no member %s; it has %d, numbered from 0%s%s", dir,
                   e->member, P, *member->run.name ? ", the first is called " : "",
                   member->run.name);
}

/* Rewards are whole numbers, so that sums are exact. */
static kp_status put_member(evaluation *e, const char *dir, const kp_config *c, int p, int64_t step,
                            const double *returns, int n, kp_err *err) {
    kp_estimate mean;
    char name[160];
    double least = returns[0], most = returns[0];
    kp_status st = kp_bootstrap(&mean, KP_STAT_MEAN, returns, &n, 1, 0.95, 0, err);
    if (st) return st;
    for (int i = 1; i < n; i++) least = fmin(least, returns[i]), most = fmax(most, returns[i]);
    if (*c->run.name) snprintf(name, sizeof name, "%s", c->run.name);
    else snprintf(name, sizeof name, "seed %" PRIu64, c->seed);
    e->n_members++;
    if (!e->json) {
        kp_table_add(&e->table, "%s", dir);
        kp_table_add(&e->table, "%s", name);
        kp_table_add(&e->table, "%" PRId64, step);
        kp_table_add(&e->table, "%d", n);
        kp_table_add(&e->table, "%.2f", mean.value);
        kp_table_add(&e->table, n > 1 ? "%.2f … %.2f" : "-", mean.low, mean.high);
        kp_table_add(&e->table, "%g", least);
        kp_table_add(&e->table, "%g", most);
        kp_table_end_row(&e->table);
        return KP_OK;
    }
    json_t *all = json_array(), *o;
    for (int i = 0; i < n; i++) json_array_append_new(all, json_real(returns[i]));
    o = json_pack("{s:s, s:i, s:s, s:s, s:I, s:i, s:f, s:f, s:f, s:o}", "run", dir, "member", p,
                  "name", name, "game", c->env.game, "agent_step", (json_int_t)step, "games", n,
                  "mean", mean.value, "low", mean.low, "high", mean.high, "returns", all);
    char *text = o ? json_dumps(o, JSON_REAL_PRECISION(9)) : NULL;
    if (text) printf("%s\n", text);
    else st = kp_fail(err, KP_BAD_CONFIG, "eval: out of host memory");
    free(text);
    json_decref(o);
    return st;
}

static kp_status end_gif(onlooker *o, kp_status st, kp_err *err) {
    if (o->gif && !st) {
        fprintf(stderr, "%s: %d frames%s\n", o->e->gif_path, kp_gif_frames(o->gif),
                o->was_cut ? ", the rest of the game is cut off (--gif-seconds)" : "");
        st = kp_gif_finish(o->gif, err);
    } else {
        kp_gif_abandon(o->gif);
    }
    return st;
}

static kp_status play(evaluation *e, const char *dir, kp_trained *t, kp_err *err) {
    int P, chosen = -1, n = kp_trained_episodes(t);
    const kp_config *member = kp_trained_members(t, &P);
    uint8_t *active = calloc((size_t)P, 1);
    double *returns = calloc((size_t)P * (size_t)n, sizeof *returns);
    kp_status st = active && returns ? KP_OK
                                     : kp_fail(err, KP_BAD_CONFIG, "%s: out of host memory", dir);
    if (!st) st = choose(e, t, dir, &chosen, err);
    for (int p = 0; !st && p < P; p++) active[p] = chosen < 0 || chosen == p;
    int first = chosen < 0 ? 0 : chosen, last = chosen < 0 ? P : chosen + 1;
    onlooker o = { .e = e,
                   .trained = t,
                   .dir = dir,
                   .first = first * n,
                   .last = last * n,
                   .gif_game = first * n,
                   .err = err,
                   .is_terminal = isatty(STDERR_FILENO),
                   .shown_s = now_s() };
    kp_listener listener = { look, &o };
    kp_progress now = { .P = P };
    if (!st)
        st = kp_evaluator_run(kp_trained_evaluator(t), e->index, active, returns, &listener, &now,
                              err);
    if (o.is_terminal) fprintf(stderr, "\r\033[K");
    st = end_gif(&o, st ? st : o.st, err);
    for (int p = first; !st && p < last; p++)
        st = put_member(e, dir, &member[p], p, kp_trained_agent_step(t), returns + p * n, n, err);
    free(active);
    free(returns);
    return st;
}

static kp_status evaluate_run(evaluation *e, const char *dir, kp_err *err) {
    char warning[512];
    kp_trained *t = NULL;
    e->n_runs++;
    kp_status st = kp_trained_open(&t, dir, &e->options, warning, err);
    if (*warning)
        fprintf(stderr, "%s: a checkpoint is damaged, the one before it is used: %s\n", dir,
                warning);
    if (!st) st = play(e, dir, t, err);
    kp_trained_close(t);
    return st;
}

/* A run, or a folder of runs such as a study's. */
static kp_status evaluate_folder(evaluation *e, const char *dir, kp_err *err) {
    char **name = NULL, sub[KP_PATH];
    int n = 0;
    if (kp_rundir_has_config(dir)) return evaluate_run(e, dir, err);
    if (!kp_file_exists(dir))
        return kp_fail(err, KP_BAD_CONFIG, "%s: there is no such folder", dir);
    kp_status st = kp_folder_list(dir, &name, &n, err);
    for (int i = 0; !st && i < n; i++) {
        st = kp_path_join(sub, dir, name[i], err);
        if (!st && kp_rundir_has_config(sub)) st = evaluate_run(e, sub, err);
    }
    free(name);
    if (!st && !e->n_runs)
        st = kp_fail(err, KP_BAD_CONFIG,
                     "%s: neither a run (config.yaml, checkpoint) nor a folder of runs", dir);
    return st;
}

static kp_status take_number(int *argc, char **argv, const char *name, double least, double most,
                             double *value, kp_err *err) {
    const char *text = NULL;
    char *end = NULL;
    kp_status st = kp_take_option(argc, argv, name, &text, err);
    if (st || !text) return st;
    double x = strtod(text, &end);
    if (end == text || *end || !(x >= least && x <= most))
        return kp_fail(err, KP_BAD_CONFIG, "%s %s: expected a number from %g to %g", name, text,
                       least, most);
    *value = x;
    return KP_OK;
}

static kp_status take_options(evaluation *e, int *argc, char **argv, kp_err *err) {
    double episodes = 0, index = NEW_GAMES;
    e->json = kp_take_flag(argc, argv, "--json");
    kp_status st = take_number(argc, argv, "--episodes", 1, MAX_GAMES, &episodes, err);
    if (!st) st = take_number(argc, argv, "--epsilon", 0, 1, &e->options.epsilon, err);
    if (!st) st = take_number(argc, argv, "--index", 0, NEW_GAMES, &index, err);
    if (!st) st = take_number(argc, argv, "--gif-seconds", 1, 3600, &e->gif_seconds, err);
    if (!st) st = kp_take_option(argc, argv, "--member", &e->member, err);
    if (!st) st = kp_take_option(argc, argv, "--gif", &e->gif_path, err);
    if (!st) st = kp_no_more_options(*argc, argv, "eval", err);
    if (!st && *argc < 1)
        st = kp_fail(err, KP_BAD_CONFIG, "name a run's directory; see kappa eval --help");
    if (!st && (episodes != floor(episodes) || index != floor(index)))
        st = kp_fail(err, KP_BAD_CONFIG, "--episodes and --index take whole numbers");
    e->options.episodes = (int)episodes, e->index = (int64_t)index;
    return st;
}

static kp_status evaluate(int argc, char **argv, kp_err *err) {
    static const char *const head[] = { "run",    "member",       "agent step", "games",
                                        "return", "95% interval", "min",        "max" };
    evaluation e = { .options = { .epsilon = NAN }, .gif_seconds = 60 };
    char *text = NULL;
    kp_status st = take_options(&e, &argc, argv, err);
    if (st) return st;
    e.options.n_args = argc - 1, e.options.args = (const char *const *)(argv + 1);
    for (size_t n = strlen(argv[0]); n > 1 && argv[0][n - 1] == '/';) argv[0][--n] = 0;
    for (size_t i = 0; i < sizeof head / sizeof *head; i++) kp_table_add(&e.table, "%s", head[i]);
    kp_table_end_row(&e.table);
    st = evaluate_folder(&e, argv[0], err);
    if (!e.json && e.n_members > 0 && !kp_table_write(&e.table, &text, st ? NULL : err))
        fputs(text, stdout);
    free(text);
    kp_table_free(&e.table);
    return st;
}

const kp_command kp_command_eval = {
    .name = "eval",
    .what = "play whole games with trained weights, on a GIF if asked",
    .run = evaluate,
    .help =
        "usage: kappa eval RUN [--episodes N] [--member M] [--epsilon E] [--gif FILE] [--json] [key=value ...]\n\n"
        "  RUN            a run, or a folder of runs (a study's)\n"
        "  --episodes N   games of each member (default: the run's eval.episodes)\n"
        "  --member M     one member, by its name or its number from 0\n"
        "  --epsilon E    share of random actions (default: the run's eval.epsilon)\n"
        "  --index I      the games of the run's evaluation I (0: the first) instead of games it has not played\n"
        "  --gif FILE     the first game (of the member), in its colours\n"
        "  --gif-seconds  longest GIF (default 60)\n"
        "  --json         one object a member, with the return of every game\n"
        "  key=value      settings that cannot change results: device, threads, env.workers, ...\n\n"
        "Plays with the newest whole checkpoint, by the rules of the run's own evaluations: whole games, returns\n"
        "not clipped. The same call gives the same returns. A run that is being trained may be evaluated too.\n\n"
        "example: kappa eval runs/pong --episodes 30 --gif pong.gif\n",
};
