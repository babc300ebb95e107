/* atari_env.c: agent steps a second of emulators in worker processes, with the rules of preset
 * dqn-dopamine: on one core, where program and worker share it, and on two.
 *
 * Both are pinned, since ale-py in one process has one core, too (peers/atari_env.py). */
#include <math.h>
#include <sched.h>
#include <stdio.h>

#include "base/philox.h"
#include "base/pool.h"
#include "bench.h"
#include "env/env.h"

enum { N_ENVS = 8 };

static const double ROUND_S = 1.0;

static const struct {
    const char *name;
    int n_workers; /* and cores */
    double reach;
} rows[] = { { "atari_env 1 worker", 1, 0.95 }, { "atari_env 2 workers", 2, 1.8 } };

typedef struct {
    kp_env *env;
    uint64_t n_steps; /* of each environment */
} bench;

/* The last n CPUs of `all`: the first often serves interrupts. */
static cpu_set_t last_cpus(const cpu_set_t *all, int n) {
    cpu_set_t some;
    CPU_ZERO(&some);
    for (int cpu = CPU_SETSIZE - 1; cpu >= 0 && n > 0; cpu--)
        if (CPU_ISSET(cpu, all)) CPU_SET(cpu, &some), n--;
    return some;
}

static kp_status prepare(bench *b, const kp_bench_options *o, int n_workers, kp_err *err) {
    kp_env_options options = {
        .game = "pong",
        .python = o->python,
        .n_envs = N_ENVS,
        .n_workers = n_workers,
        .stream = KP_STREAM_ENV,
        .rules = { .preprocess = KP_PREPROCESS_DOPAMINE,
                   .frame_skip = 4,
                   .sticky = 0.25,
                   .max_agent_steps = 27000 },
    };
    kp_status st = kp_env_open(&b->env, &options, err);
    for (int i = 0; !st && i < N_ENVS; i++) st = kp_env_reset(b->env, i, (uint64_t)i, NULL, err);
    return st;
}

/* Agent steps a second of all environments together, for ROUND_S; random actions. */
static kp_status run_round(bench *b, double *rate, kp_err *err) {
    kp_env_result result[N_ENVS];
    int action[N_ENVS], n = 0;
    double start = kp_now_s(), seconds = 0;
    kp_status st = KP_OK;
    for (; !st && seconds < ROUND_S; n++, seconds = kp_now_s() - start) {
        for (int i = 0; i < N_ENVS; i++) {
            uint32_t r = kp_philox(b->n_steps, KP_STREAM_TEST, (uint64_t)i).x[0];
            action[i] = (int)(r % (uint32_t)kp_env_n_actions(b->env));
        }
        st = kp_env_step(b->env, action, result, err);
        b->n_steps++;
    }
    *rate = n * N_ENVS / seconds;
    return st;
}

static kp_status measure(bench *b, int repeats, double *median, kp_err *err) {
    double rate[KP_BENCH_MAX_REPEATS], unused;
    kp_status st = run_round(b, &unused, err); /* warms up */
    for (int r = 0; !st && r < repeats; r++) st = run_round(b, &rate[r], err);
    if (!st) *median = kp_bench_median(rate, repeats);
    return st;
}

/* Ours before and after the peer, which has the last CPU alone. */
static kp_status run_row(const kp_bench_options *o, int row, const cpu_set_t *all, kp_err *err) {
    int repeats = kp_bench_repeats(o, 5);
    bench b = { 0 };
    double ours[2] = { 0, 0 }, peer = NAN;
    cpu_set_t one = last_cpus(all, 1), mine = last_cpus(all, rows[row].n_workers);
    sched_setaffinity(0, sizeof mine, &mine); /* children inherit it */
    kp_status st = prepare(&b, o, rows[row].n_workers, err);
    if (!st) st = measure(&b, repeats, &ours[0], err);
    ours[1] = ours[0];
    if (!st && o->with_peers) {
        sched_setaffinity(0, sizeof one, &one);
        st = kp_bench_peer(o, "atari_env.py", "", 1, (const char *const[]){ "agent_steps_per_s" },
                           &peer, err);
        sched_setaffinity(0, sizeof mine, &mine);
        if (!st) st = measure(&b, repeats, &ours[1], err);
    }
    kp_env_close(b.env);
    sched_setaffinity(0, sizeof *all, all);
    if (st) return st;
    kp_bench_result r = {
        .ours = 0.5 * (ours[0] + ours[1]),
        .peer = peer,
        .unit = "agent steps/s",
        .limit = NAN,
        .reach = rows[row].reach,
        .repeats = repeats,
    };
    snprintf(r.name, sizeof r.name, "%s", rows[row].name);
    snprintf(r.note, sizeof r.note,
             "Pong, %d environments on %d core%s; peer: ale-py in one process on one core", N_ENVS,
             rows[row].n_workers, rows[row].n_workers > 1 ? "s" : "");
    o->emit(o->context, &r);
    return KP_OK;
}

kp_status kp_bench_atari_env(const kp_bench_options *o, kp_err *err) {
    cpu_set_t all;
    if (sched_getaffinity(0, sizeof all, &all))
        return kp_fail(err, KP_DEVICE, "bench atari_env: this process's CPUs cannot be read");
    kp_status st = KP_OK;
    for (size_t i = 0; !st && i < KP_COUNT(rows); i++)
        if (rows[i].n_workers <= kp_cpus_allowed()) st = run_row(o, (int)i, &all, err);
    return st;
}
