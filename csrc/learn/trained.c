/* trained.c: see trained.h. */
#include "trained.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "config/overrides.h"
#include "dqn_options.h"
#include "run/checkpoint.h"
#include "run/members.h"
#include "weights.h"

struct kp_trained {
    kp_config *member; /* [P] */
    uint64_t *seed;    /* [P] */
    int P, episodes;
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
    const kp_config *c = t->member;
    kp_evaluator_options o = {
        .P = t->P,
        .episodes = t->episodes,
        .stack = c->env.stack,
        .divide = c->net.input_scale == KP_INPUT_UNIT,
        .seed = t->seed,
        .env = kp_dqn_env_options_of(c, 1),
        .net = t->net,
        .theta = t->theta,
        .epsilon = isnan(epsilon) ? c->eval.epsilon : epsilon,
    };
    return kp_evaluator_open(&t->evaluator, t->backend, &o, err);
}

static kp_status open_all(kp_trained *t, const char *dir, const kp_trained_options *o,
                          char *warning, kp_err *err) {
    char folder[KP_PATH];
    kp_checkpoint *c = NULL;
    kp_status st = kp_members_read(dir, &t->member, &t->P, err);
    if (!st)
        st = kp_override(t->member, t->P, o->n_args, o->args, "would make it another run", err);
    if (!st) st = kp_path_join(folder, dir, "checkpoint", err);
    if (!st) st = kp_checkpoint_open(&c, folder, warning, err);
    if (!st && !c)
        st = kp_fail(err, KP_BAD_CONFIG,
                     "%s: has no checkpoint yet; it is written every checkpoint.interval_seconds, "
                     "on SIGTERM and at the end",
                     dir);
    if (!st && !(t->seed = calloc((size_t)t->P, sizeof *t->seed)))
        st = kp_fail(err, KP_BAD_CONFIG, "%s: out of host memory", dir);
    for (int p = 0; !st && p < t->P; p++) t->seed[p] = t->member[p].seed;
    if (!st) st = kp_backend_open(&t->backend, t->member->device, t->member->threads, err);
    if (!st) st = open_net(t, c, err);
    if (!st) {
        t->agent_step = kp_checkpoint_step(c);
        t->episodes = o->episodes ? o->episodes : t->member->eval.episodes;
        st = open_evaluator(t, o->epsilon, err);
    }
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
    if (st) {
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
kp_evaluator *kp_trained_evaluator(const kp_trained *t) { return t->evaluator; }

void kp_trained_close(kp_trained *t) {
    if (!t) return;
    kp_evaluator_close(t->evaluator);
    if (t->theta) kp_backend_release(t->backend, t->theta);
    kp_net_close(t->net);
    kp_backend_close(t->backend);
    free(t->seed);
    free(t->member);
    free(t);
}
