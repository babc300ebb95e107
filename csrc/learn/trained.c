/* trained.c: see trained.h. */
#include "trained.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/files.h"
#include "config/overrides.h"
#include "dqn_options.h"
#include "run/checkpoint.h"
#include "run/members.h"
#include "weights.h"

enum { MOST_GAMES = 128 }; /* side by side: an emulator and its frames are about 2 MB */

struct kp_trained {
    kp_config *member;  /* [P] */
    uint64_t *seed;     /* [P] */
    uint8_t *finite;    /* [P] */
    double *turn;       /* [P][E] returns of a turn */
    int P, E, episodes; /* E: games of a member side by side */
    int64_t agent_step;
    kp_backend *backend;
    kp_net *net;
    float *theta; /* [P][N] backend */
    kp_evaluator *evaluator;
};

/* The net's outputs are as many as the last bias has values. */
static kp_status open_net(kp_trained *t, const kp_checkpoint *c, kp_err *err) {
    const void *bias;
    size_t n = 0;
    kp_net_spec spec;
    kp_status st = kp_checkpoint_borrow(c, "theta/fc2.bias", KP_F32, &bias, &n, err);
    if (st) return st;
    kp_dqn_net_options o = kp_dqn_net_options_of(t->member, (int)(n / (size_t)t->P));
    kp_dqn_net_spec(&spec, &o);
    st = kp_net_open(&t->net, &spec, err);
    if (st) return st;
    const kp_layout *layout = kp_net_layout(t->net);
    st = kp_backend_alloc(t->backend, (void **)&t->theta,
                          (size_t)t->P * (size_t)layout->N * sizeof *t->theta, "weights", err);
    return st ? st : kp_weights_load(c, "theta", layout, t->backend, t->P, t->theta, err);
}

static kp_status open_evaluator(kp_trained *t, double epsilon, kp_err *err) {
    kp_evaluator_options o = kp_dqn_evaluator_options_of(t->member);
    o.P = t->P, o.episodes = t->E, o.seed = t->seed;
    o.net = t->net, o.theta = t->theta;
    if (!isnan(epsilon)) o.epsilon = epsilon;
    return kp_evaluator_open(&t->evaluator, t->backend, &o, err);
}

/* FOLDER/0000120000: the checkpoint of agent step 120000. */
static kp_status open_named(kp_checkpoint **c, const char *path, kp_err *err) {
    char folder[KP_PATH] = ".", text[KP_PATH], warning[512];
    struct stat s;
    size_t n = strlen(path);
    if (n >= sizeof text) return kp_fail(err, KP_STORAGE, "%.200s...: the path is too long", path);
    memcpy(text, path, n + 1);
    kp_path_trim(text);
    char *slash = strrchr(text, '/'), *name = slash ? slash + 1 : text;
    if (slash)
        snprintf(folder, sizeof folder, "%.*s", slash == text ? 1 : (int)(slash - text), text);
    if (stat(text, &s)) return kp_fail(err, KP_BAD_CONFIG, "%s: there is no such folder", path);
    int64_t step = kp_checkpoint_step_of(name);
    if (step < 0)
        return kp_fail(
            err, KP_BAD_CONFIG,
            "%s: is no checkpoint; they lie in the run's folder checkpoint and are named "
            "by their agent step, like 0000120000",
            path);
    return kp_checkpoint_open_state(c, folder, step, warning, err);
}

static kp_status open_checkpoint(kp_checkpoint **c, const char *dir, const kp_trained_options *o,
                                 char *warning, kp_err *err) {
    char folder[KP_PATH];
    if (o->checkpoint) return open_named(c, o->checkpoint, err);
    kp_status st = kp_path_join(folder, dir, "checkpoint", err);
    return st ? st : kp_checkpoint_open_state(c, folder, KP_CHECKPOINT_NEWEST, warning, err);
}

static kp_status open_members(kp_trained *t, const kp_checkpoint *c, int episodes, kp_err *err) {
    size_t P = (size_t)t->P;
    t->episodes = episodes ? episodes : t->member->eval.episodes;
    int most = t->P < MOST_GAMES ? MOST_GAMES / t->P : 1, turns = (t->episodes + most - 1) / most;
    t->E = (t->episodes + turns - 1) / turns;
    t->seed = calloc(P, sizeof *t->seed);
    t->finite = calloc(P, 1);
    t->turn = calloc(P * (size_t)t->E, sizeof *t->turn);
    if (!t->seed || !t->finite || !t->turn)
        return kp_fail(err, KP_BAD_CONFIG, "evaluation: out of host memory");
    for (int p = 0; p < t->P; p++) t->seed[p] = t->member[p].seed;
    return kp_checkpoint_get(c, "dqn.active", KP_U8, 1, (int64_t[]){ t->P }, t->finite, err);
}

/* The evaluator stays NULL where the run has no checkpoint yet. */
static kp_status open_all(kp_trained *t, const char *dir, const kp_trained_options *o,
                          char *warning, kp_err *err) {
    kp_checkpoint *c = NULL;
    kp_status st = kp_members_read(dir, &t->member, &t->P, err);
    if (!st && t->member->algorithm != KP_ALGORITHM_DQN)
        st = kp_fail(err, KP_BAD_CONFIG,
                     "%s: a stream has nothing to be evaluated in: its online accuracy is in "
                     "metrics.csv; kappa report shows it",
                     dir);
    if (!st)
        st = kp_override(t->member, t->P, o->n_args, o->args, "would make it another run", err);
    if (!st) st = open_checkpoint(&c, dir, o, warning, err);
    if (st || !c) return st;
    st = open_members(t, c, o->episodes, err);
    if (!st) st = kp_backend_open(&t->backend, t->member->device, t->member->threads, err);
    if (!st && kp_backend_kind(t->backend) != KP_CPU) /* which may play what a GPU has trained */
        st = kp_backend_set_precision(t->backend, (kp_precision)t->member->precision, err);
    if (!st) st = open_net(t, c, err);
    t->agent_step = kp_checkpoint_step(c);
    if (!st) st = open_evaluator(t, o->epsilon, err);
    kp_checkpoint_close(c);
    return st;
}

kp_status kp_trained_open(kp_trained **out, const char *dir, const kp_trained_options *o,
                          char warning[512], kp_err *err) {
    *out = NULL;
    warning[0] = 0;
    kp_trained *t = calloc(1, sizeof *t);
    if (!t) return kp_fail(err, KP_BAD_CONFIG, "%s: out of host memory", dir);
    kp_status st = open_all(t, dir, o, warning, err);
    if (st || !t->evaluator) {
        kp_trained_close(t);
        return st;
    }
    *out = t;
    return KP_OK;
}

const kp_config *kp_trained_members(const kp_trained *t, int *P) {
    *P = t->P;
    return t->member;
}
int64_t kp_trained_agent_step(const kp_trained *t) { return t->agent_step; }
int kp_trained_episodes(const kp_trained *t) { return t->episodes; }
int kp_trained_is_finite(const kp_trained *t, int member) { return t->finite[member]; }
kp_evaluator *kp_trained_evaluator(const kp_trained *t) { return t->evaluator; }
int kp_trained_first_game(const kp_trained *t, int member) { return member * t->E; }

kp_status kp_trained_play(kp_trained *t, int64_t index, const uint8_t *active, double *returns,
                          const kp_listener *listener, kp_err *err) {
    kp_status st = KP_OK;
    kp_progress now = { .P = t->P, .agent_step = t->agent_step };
    for (int first = 0; !st && first < t->episodes;
         first += t->E) { /* the last turn may play some too many */
        int n = t->episodes - first < t->E ? t->episodes - first : t->E;
        st = kp_evaluator_run(t->evaluator, index, first, active, t->turn, listener, &now, err);
        for (int p = 0; !st && p < t->P; p++) {
            memcpy(returns + (int64_t)p * t->episodes + first, t->turn + (int64_t)p * t->E,
                   (size_t)n * sizeof *returns);
            now.eval_over += active[p] ? t->E : 0;
        }
    }
    return st;
}

void kp_trained_close(kp_trained *t) {
    if (!t) return;
    kp_evaluator_close(t->evaluator);
    if (t->theta) kp_backend_release(t->backend, t->theta);
    kp_net_close(t->net);
    kp_backend_close(t->backend);
    free(t->seed);
    free(t->finite);
    free(t->turn);
    free(t->member);
    free(t);
}
