/* dqn_end_to_end.c: one agent that learns Pong: emulators, acting, replay and updates, in agent
 * steps a second after learning has begun. The learner is that of `kappa train`, without its run
 * directory.
 *
 * Same work as peers/dqn_end_to_end.py: network and rule of preset dqn-dopamine with kappa 2, eight
 * games acted for together, an update every four agent steps. */
#include <math.h>
#include <stdio.h>

#include "bench.h"
#include "config/config.h"
#include "learn/learner.h"

static const double ROUND_S = 2.0, REACH = 2.0;

/* Epsilon is constant, so that the network acts from the first step on; nothing interrupts
 * training. */
static const char *const settings[] = {
    "env.game=pong",
    "env.count=8",
    "optim.clip.kappa=2",
    "train.replay_ratio=0.25",
    "epsilon.start=0.1",
    "epsilon.end=0.1",
    "buffer.transitions=20000",
    "buffer.min_transitions=1000",
    "target.period=250",
    "target.unit=updates",
    "eval.interval_steps=0",
    "log.interval_steps=1000000000",
    "device=cpu",
};

typedef struct {
    kp_backend *backend;
    void *learner;
} bench;

static kp_status prepare(bench *b, const kp_bench_options *o, kp_err *err) {
    kp_config config;
    kp_status st = kp_config_load(&config, NULL, "dqn-dopamine", (int)KP_COUNT(settings), settings,
                                  err);
    if (!st) st = kp_config_set(&config, NULL, "env.python", o->python, "--python", err);
    if (!st) st = kp_backend_open(&b->backend, config.device, o->n_threads, err);
    const kp_learner_options options = { .backend = b->backend,
                                         .member = &config,
                                         .P = 1,
                                         .checkpoint_dir = "." /* nothing is saved */ };
    if (!st) st = kp_learner_dqn.open(&b->learner, &options, err);
    if (!st) st = kp_learner_dqn.start(b->learner, err);
    return st;
}

static void release(bench *b) {
    kp_learner_dqn.close(b->learner);
    kp_backend_close(b->backend);
}

static const kp_progress *progress(const bench *b) { return kp_learner_dqn.progress(b->learner); }

/* Until `updates` more updates are made, and for at least `seconds`. */
static kp_status train(bench *b, int64_t updates, double seconds, kp_err *err) {
    int64_t until = progress(b)->updates + updates;
    double start = kp_now_s();
    kp_event event = KP_EVENT_NONE;
    kp_status st = KP_OK;
    while (!st && event != KP_EVENT_END &&
           (progress(b)->updates < until || kp_now_s() - start < seconds))
        st = kp_learner_dqn.step(b->learner, &event, err);
    if (!st && event == KP_EVENT_END)
        st = kp_fail(err, KP_NON_FINITE,
                     "bench dqn_end_to_end: training ended at agent step %lld, after update %lld",
                     (long long)progress(b)->agent_step, (long long)progress(b)->updates);
    return st;
}

/* Medians, in agent steps and updates a second. */
static kp_status measure(bench *b, int repeats, double *steps, double *updates, kp_err *err) {
    double step_rate[KP_BENCH_MAX_REPEATS], update_rate[KP_BENCH_MAX_REPEATS];
    kp_status st = train(b, 20, 0, err); /* fills the replay, warms up */
    for (int r = 0; !st && r < repeats; r++) {
        kp_progress before = *progress(b);
        double start = kp_now_s();
        st = train(b, 1, ROUND_S, err);
        double seconds = kp_now_s() - start;
        step_rate[r] = (double)(progress(b)->agent_step - before.agent_step) / seconds;
        update_rate[r] = (double)(progress(b)->updates - before.updates) / seconds;
    }
    if (st) return st;
    *steps = kp_bench_median(step_rate, repeats);
    *updates = kp_bench_median(update_rate, repeats);
    return KP_OK;
}

kp_status kp_bench_dqn_end_to_end(const kp_bench_options *o, kp_err *err) {
    int repeats = kp_bench_repeats(o, 5);
    bench b = { 0 };
    double ours[2] = { 0, 0 }, updates[2] = { 0, 0 }, peer = NAN;
    kp_status st = prepare(&b, o, err);
    if (!st) st = measure(&b, repeats, &ours[0], &updates[0], err);
    ours[1] = ours[0], updates[1] = updates[0];
    if (!st && o->with_peers) { /* between two of ours, so that a slow spell meets both */
        st = kp_bench_peer(o, "dqn_end_to_end.py", "", 1,
                           (const char *const[]){ "agent_steps_per_s" }, &peer, err);
        if (!st) st = measure(&b, repeats, &ours[1], &updates[1], err);
    }
    release(&b);
    if (st) return st;
    kp_bench_result r = {
        .name = "dqn_end_to_end",
        .ours = 0.5 * (ours[0] + ours[1]),
        .peer = peer,
        .unit = "agent steps/s",
        .limit = NAN,
        .reach = REACH,
        .repeats = repeats,
    };
    snprintf(r.note, sizeof r.note, "Pong, 8 games at once, %.3g updates/s beside them",
             0.5 * (updates[0] + updates[1]));
    o->emit(o->context, &r);
    return KP_OK;
}
