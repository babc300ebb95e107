/* eval.c: `kappa eval`: whole games with the weights of a run's newest checkpoint. */
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/files.h"
#include "cli.h"
#include "gif.h"
#include "learn/trained.h"
#include "report/stats.h"
#include "report/table.h"
#include "run/members.h"
#include "run/rundir.h"
#include "run/signals.h"

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
    int is_folder; /* of runs */
    int n_runs, n_members,
        n_stopped; /* runs seen, members with a row, and without finite weights */
    int was_filmed;
} evaluation;

/* What looks on while the games are played. */
typedef struct {
    const evaluation *e;
    kp_trained *trained;
    const char *dir;
    int n_games;
    kp_gif *gif; /* NULL: none is wanted */
    int gif_game, max_frames, is_filming, was_cut;
    kp_status st; /* of the GIF */
    kp_err err;
    int is_terminal;
    double shown_s;
} onlooker;

static void show(onlooker *o, const kp_progress *now) {
    double t = kp_now_s();
    if (t - o->shown_s < (o->is_terminal ? 0.25 : 10)) return;
    fprintf(stderr, "%s%s: %d of %d games over, agent step %" PRId64 " of the longest%s",
            o->is_terminal ? "\r\033[K" : "", o->dir,
            now->eval_over < o->n_games ? now->eval_over : o->n_games, o->n_games, now->eval_step,
            o->is_terminal ? "" : "\n");
    fflush(stderr);
    o->shown_s = t;
}

static kp_status begin_gif(onlooker *o, int game, double frame_seconds, kp_err *err) {
    int height;
    kp_env_screen(kp_evaluator_env(kp_trained_evaluator(o->trained)), game, &height);
    o->gif_game = game, o->is_filming = 1;
    o->max_frames = (int)(o->e->gif_seconds / frame_seconds);
    return kp_gif_open(&o->gif, o->e->gif_path, 160, height, kp_atari_palette, frame_seconds, err);
}

/* A game that has just ended still shows its last screen. */
static void film(onlooker *o) {
    kp_evaluator *v = kp_trained_evaluator(o->trained);
    int height;
    const uint8_t *screen = kp_env_screen(kp_evaluator_env(v), o->gif_game, &height);
    o->was_cut = kp_gif_frames(o->gif) == o->max_frames;
    if (!o->was_cut) o->st = kp_gif_frame(o->gif, screen, &o->err);
    if (o->was_cut || o->st || !kp_evaluator_is_playing(v, o->gif_game)) o->is_filming = 0;
}

static void look(void *context, const kp_progress *now) {
    onlooker *o = context;
    if (o->is_filming) film(o);
    show(o, now);
}

/* Ends the film of games that were played (st KP_OK) or not. */
static kp_status end_gif(onlooker *o, kp_status st) {
    if (!o->gif) return KP_OK;
    int n = kp_gif_frames(o->gif);
    if (st || o->st) {
        kp_gif_abandon(o->gif);
        return o->st;
    }
    o->st = kp_gif_finish(o->gif, &o->err);
    if (!o->st)
        fprintf(stderr, "%s: %d frames%s\n", o->e->gif_path, n,
                o->was_cut ? ", the rest of the game is cut off (--gif-seconds)" : "");
    return o->st;
}

/* run.name where it is the member's own. */
static void name_of(const kp_config *member, int P, int p, char name[160]) {
    int same = 0;
    for (int i = 0; i < P; i++) same += !strcmp(member[i].run.name, member[p].run.name);
    if (same == 1 && *member[p].run.name) snprintf(name, 160, "%s", member[p].run.name);
    else snprintf(name, 160, "seed %" PRIu64, member[p].seed);
}

enum { ALL = -1, NOT_HERE = -2 };

/* The member asked for, by name or by number. In a folder a run may lack it. */
static kp_status choose(const evaluation *e, const kp_config *member, int P, const char *dir,
                        int *chosen, kp_err *err) {
    char *end = NULL, name[160];
    *chosen = ALL;
    if (!e->member) return KP_OK;
    for (int p = 0; p < P; p++) {
        name_of(member, P, p, name);
        if (strcmp(name, e->member)) continue;
        *chosen = p;
        return KP_OK;
    }
    long index = strtol(e->member, &end, 10);
    if (end != e->member && !*end && index >= 0 && index < P) {
        *chosen = (int)index;
        return KP_OK;
    }
    *chosen = NOT_HERE;
    if (e->is_folder) return KP_OK;
    name_of(member, P, 0, name);
    return kp_fail(err, KP_BAD_CONFIG,
                   "%s: has no member %s; it has %d, numbered from 0, the first is called %s", dir,
                   e->member, P, name);
}

/* n 0: a member that is not played, its weights not being finite. */
static void put_row(evaluation *e, const char *dir, const char *name, int64_t step,
                    const kp_estimate *mean, const double *ends, int n) {
    static const char *const none[] = { "-", "not finite", "-", "-" };
    kp_table_add(&e->table, "%s", dir);
    kp_table_add(&e->table, "%s", name);
    kp_table_add(&e->table, "%" PRId64, step);
    kp_table_add(&e->table, "%d", n);
    for (int i = 0; !n && i < 4; i++) kp_table_add(&e->table, "%s", none[i]);
    if (n) {
        kp_table_add(&e->table, "%.2f", mean->value);
        kp_table_add(&e->table, n > 1 ? "%.2f … %.2f" : "-", mean->low, mean->high);
        kp_table_add(&e->table, "%g", ends[0]);
        kp_table_add(&e->table, "%g", ends[1]);
    }
    kp_table_end_row(&e->table);
}

static json_t *number(double x) { return isfinite(x) ? json_real(x) : json_null(); }

/* Rewards are whole numbers, so that sums are exact. */
static kp_status put_member(evaluation *e, const char *dir, const kp_config *c, const char *name,
                            int p, int64_t step, const double *returns, int n, kp_err *err) {
    kp_estimate mean = { NAN, NAN, NAN };
    double ends[2] = { n ? returns[0] : NAN, n ? returns[0] : NAN };
    kp_status st = n ? kp_bootstrap(&mean, KP_STAT_MEAN, returns, &n, 1, 0.95, 0, err) : KP_OK;
    if (st) return st;
    for (int i = 1; i < n; i++)
        ends[0] = fmin(ends[0], returns[i]), ends[1] = fmax(ends[1], returns[i]);
    e->n_members++;
    if (!e->json) {
        put_row(e, dir, name, step, &mean, ends, n);
        return KP_OK;
    }
    json_t *all = json_array(), *o;
    for (int i = 0; i < n; i++) json_array_append_new(all, json_real(returns[i]));
    o = json_pack("{s:s, s:i, s:s, s:s, s:I, s:f, s:i, s:o, s:o, s:o, s:o, s:o, s:o}", "run", dir,
                  "member", p, "name", name, "game", c->env.game, "agent_step", (json_int_t)step,
                  "epsilon", isnan(e->options.epsilon) ? c->eval.epsilon : e->options.epsilon,
                  "games", n, "mean", number(mean.value), "low", number(mean.low), "high",
                  number(mean.high), "min", number(ends[0]), "max", number(ends[1]), "returns",
                  all);
    char *text = o ? json_dumps(o, JSON_REAL_PRECISION(9)) : NULL;
    if (text) printf("%s\n", text), fflush(stdout);
    else st = kp_fail(err, KP_BAD_CONFIG, "eval: out of host memory");
    free(text);
    json_decref(o);
    return st;
}

static kp_status play(evaluation *e, const char *dir, kp_trained *t, int chosen, kp_err *err) {
    int P, n = kp_trained_episodes(t), filmed = -1;
    const kp_config *member = kp_trained_members(t, &P);
    uint8_t *active = calloc((size_t)P, 1);
    double *returns = calloc((size_t)P * (size_t)n, sizeof *returns);
    onlooker o = {
        .e = e, .trained = t, .dir = dir, .is_terminal = isatty(STDERR_FILENO), .shown_s = kp_now_s()
    };
    kp_listener listener = { look, &o };
    kp_status st = active && returns ? KP_OK
                                     : kp_fail(err, KP_BAD_CONFIG, "%s: out of host memory", dir);
    for (int p = P - 1; !st && p >= 0; p--) {
        active[p] = (chosen == ALL || chosen == p) && kp_trained_is_finite(t, p);
        if (active[p]) filmed = p, o.n_games += n;
    }
    if (!st && e->gif_path && !e->was_filmed && filmed >= 0) {
        st = begin_gif(&o, kp_trained_first_game(t, filmed),
                       member->env.frame_skip / FRAMES_PER_SECOND, err);
        e->was_filmed = 1;
    }
    if (!st) st = kp_trained_play(t, e->index, active, returns, &listener, err);
    if (o.is_terminal) fprintf(stderr, "\r\033[K");
    kp_status film_st = end_gif(&o, st);
    for (int p = 0; !st && p < P; p++) {
        char name[160];
        if (chosen != ALL && chosen != p) continue;
        name_of(member, P, p, name);
        e->n_stopped += !active[p];
        st = put_member(e, dir, &member[p], name, p, kp_trained_agent_step(t),
                        returns + (size_t)p * (size_t)n, active[p] ? n : 0, err);
    }
    if (!st && film_st) { /* the games were played all the same */
        *err = o.err;
        st = film_st;
    }
    free(active);
    free(returns);
    return st;
}

static kp_status evaluate_run(evaluation *e, const char *dir, kp_err *err) {
    char warning[512];
    kp_config *member = NULL;
    kp_trained *t = NULL;
    int P, chosen = ALL;
    e->n_runs++;
    kp_status st = kp_members_read(dir, &member, &P, err);
    if (!st) st = choose(e, member, P, dir, &chosen, err);
    free(member);
    if (st || chosen == NOT_HERE) return st;
    st = kp_trained_open(&t, dir, &e->options, warning, err);
    if (*warning)
        fprintf(stderr, "%s: a checkpoint is damaged, the one before it is used: %s\n", dir,
                warning);
    if (!st && !t && e->is_folder) fprintf(stderr, "%s: has no checkpoint yet, left out\n", dir);
    else if (!st && !t)
        st = kp_fail(
            err, KP_BAD_CONFIG,
            "%s: has no checkpoint yet; it is written every checkpoint.interval_seconds, on "
            "SIGTERM and at the end",
            dir);
    else if (!st) st = play(e, dir, t, chosen, err);
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
    if (e->options.checkpoint)
        return kp_fail(err, KP_BAD_CONFIG,
                       "%s: is a folder of runs; --checkpoint is of one run: name that", dir);
    e->is_folder = 1;
    kp_status st = kp_folder_list(dir, &name, &n, err);
    for (int i = 0; !st && i < n; i++) {
        st = kp_path_join(sub, dir, name[i], err);
        if (!st && kp_rundir_has_config(sub)) st = evaluate_run(e, sub, err);
    }
    free(name);
    if (st || e->n_members) return st;
    if (!e->n_runs)
        return kp_fail(err, KP_BAD_CONFIG,
                       "%s: neither a run (config.yaml, checkpoint) nor a folder of runs", dir);
    if (e->member)
        return kp_fail(err, KP_BAD_CONFIG, "%s: none of its %d runs has a member %s to play", dir,
                       e->n_runs, e->member);
    return kp_fail(err, KP_BAD_CONFIG, "%s: none of its %d runs has a checkpoint yet", dir,
                   e->n_runs);
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
    if (!st) st = kp_take_option(argc, argv, "--checkpoint", &e->options.checkpoint, err);
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
    kp_path_trim(argv[0]);
    for (size_t i = 0; i < sizeof head / sizeof *head; i++) kp_table_add(&e.table, "%s", head[i]);
    kp_table_end_row(&e.table);
    st = kp_signals_install(err); /* so that a half GIF does not stay */
    if (!st) st = evaluate_folder(&e, argv[0], err);
    if (st == KP_INTERRUPTED) kp_fail(err, st, "stopped; the same command plays these games again");
    if (!st && e.n_stopped)
        st = kp_fail(err, KP_NON_FINITE,
                     "%s: %d of %d members have weights that are not finite and did not play",
                     argv[0], e.n_stopped, e.n_members);
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
    .help = "usage: kappa eval RUN [--episodes N] [--member M] [--epsilon E] [--gif FILE]\n"
            "                  [--checkpoint DIR] [--json] [key=value ...]\n\n"
            "  RUN             a run, or a folder of runs (a study's)\n"
            "  --episodes N    games of each member (default: the run's eval.episodes)\n"
            "  --member M      one member, by its name or its number from 0\n"
            "  --epsilon E     share of random actions (default: the run's eval.epsilon)\n"
            "  --index I       the games of the run's evaluation I (0: the first, a row of\n"
            "                  metrics.csv) instead of games that training never plays\n"
            "  --checkpoint D  RUN/checkpoint/STEP, or a copy of it (default: the newest)\n"
            "  --gif FILE      the first game of the first member, in its colours\n"
            "  --gif-seconds   longest GIF (default 60)\n"
            "  --json          one object a member, with the return of every game\n"
            "  key=value       settings that cannot change results: device, threads,\n"
            "                  env.workers, env.rom_dir, ...\n\n"
            "Plays with the newest whole checkpoint, by the rules of the run's own\n"
            "evaluations: whole games, returns not clipped. The interval is a 95% bootstrap\n"
            "over a member's games; it says nothing of other seeds. The same call gives the\n"
            "same returns, and more games begin with those of fewer. A run that is being\n"
            "trained may be evaluated too: it is only read. Members whose weights are not\n"
            "finite do not play; the exit code is then 5.\n\n"
            "example: kappa eval runs/pong --episodes 30 --gif pong.gif\n",
};
