/* dqn_update.c: whole DQN updates, from frame numbers to clipped weights, on every thread: one
 * agent, and a population. Network, loss and rule are those of preset dqn-cleanrl with kappa 2, as
 * the peer's (peers/dqn_update.py). The frames do not fit in a cache, and every minibatch is new.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/philox.h"
#include "bench.h"
#include "gemm_peak.h"
#include "learn/dqn_update.h"

enum { B = 32, STACK = 4, SIDE = 84, N_ACTIONS = 6, MAX_P = 8 };
enum { N_FRAMES = 20000 }; /* 141 MB */

static const double GAMMA = 0.99, KAPPA = 2.0, ROUND_S = 0.25;

typedef struct {
    int P;
    kp_backend *backend;
    kp_pool *pool; /* of the peak: its threads sleep while ours compute */
    uint8_t *frames;
    kp_dqn_update *update;
    uint64_t n_updates;
} bench;

static kp_status fill_frames(bench *b, kp_err *err) {
    enum { BLOCK = 1 << 16 };
    static uint8_t block[BLOCK];
    const size_t bytes = (size_t)N_FRAMES * SIDE * SIDE;
    kp_status st = kp_backend_alloc(b->backend, (void **)&b->frames, bytes, "frames", err);
    for (size_t at = 0; !st && at < bytes; at += BLOCK) {
        for (size_t i = 0; i < BLOCK; i += sizeof(kp_philox_block)) {
            kp_philox_block r = kp_philox(1, KP_STREAM_TEST, at + i);
            memcpy(block + i, &r, sizeof r);
        }
        size_t n = bytes - at < BLOCK ? bytes - at : BLOCK;
        st = kp_backend_upload(b->backend, b->frames + at, block, n, err);
    }
    return st;
}

static kp_status prepare(bench *b, int P, int n_threads, kp_err *err) {
    uint64_t seed[MAX_P];
    kp_optim_member member[MAX_P];
    for (int p = 0; p < P; p++) {
        seed[p] = (uint64_t)p;
        member[p] = (kp_optim_member){
            .lr = 1e-4,
            .beta1 = 0.9,
            .beta2 = 0.999,
            .eps = 1e-8,
            .grad_norm = INFINITY,
            .clip = { .kappa = KAPPA, .bias = 1, .last_layer = 1 },
        };
    }
    b->P = P;
    kp_status st = kp_backend_open(&b->backend, "cpu", n_threads, err);
    if (!st) st = kp_pool_open(&b->pool, n_threads, err);
    if (!st) st = fill_frames(b, err);
    const kp_dqn_update_options options = {
        .P = P,
        .B = B,
        .net = { .n_actions = N_ACTIONS,
                 .hidden = 512,
                 .stack = STACK,
                 .side = SIDE,
                 .padding = KP_VALID,
                 .init = KP_INIT_FAN_IN },
        .divide = 1,
        .loss = KP_MSE,
        .seed = seed,
        .optim = { .rule = KP_RULE_ADAM, .member = member },
        .frames = b->frames, /* of all members: stride 0 */
    };
    return st ? st : kp_dqn_update_open(&b->update, b->backend, &options, err);
}

static void release(bench *b) {
    kp_dqn_update_close(b->update);
    kp_pool_close(b->pool);
    if (b->backend) kp_backend_release(b->backend, b->frames);
    kp_backend_close(b->backend);
}

/* A new minibatch for every member: s is four frames in a row, s' the same a frame later. */
static void draw(bench *b) {
    kp_dqn_batch *batch = kp_dqn_update_batch(b->update);
    for (int i = 0; i < b->P * B; i++) {
        kp_philox_block r = kp_philox(b->n_updates, KP_STREAM_TEST, (uint64_t)i);
        int64_t first = (int64_t)kp_below(r.x[0], r.x[1], N_FRAMES - STACK);
        for (int k = 0; k < STACK; k++) {
            batch->s[i * STACK + k] = first + k;
            batch->s_next[i * STACK + k] = first + k + 1;
        }
        batch->action[i] = (int32_t)(r.x[2] % N_ACTIONS);
        batch->reward[i] = kp_uniform(r.x[3]);
        batch->discount[i] = (float)GAMMA;
    }
    b->n_updates++;
}

/* Updates a second of all members together, for ROUND_S. */
static kp_status run_round(bench *b, double *rate, kp_err *err) {
    int n = 0;
    double start = kp_now_s(), seconds = 0;
    kp_status st = KP_OK;
    for (; !st && seconds < ROUND_S; n++, seconds = kp_now_s() - start) {
        draw(b);
        st = kp_dqn_update_run(b->update, NULL, err);
    }
    *rate = n * b->P / seconds;
    return st;
}

/* Medians of ours and of the peak, in turns, both in updates a second. */
static kp_status measure(bench *b, int repeats, double *ours, double *peak, kp_err *err) {
    double rate[KP_BENCH_MAX_REPEATS], limit[KP_BENCH_MAX_REPEATS], unused;
    kp_status st = run_round(b, &unused, err); /* warms up */
    for (int r = 0; !st && r < repeats; r++) {
        limit[r] = kp_gemm_peak(b->pool) / kp_dqn_update_flops(b->update);
        st = run_round(b, &rate[r], err);
    }
    if (st) return st;
    *ours = kp_bench_median(rate, repeats);
    *peak = kp_bench_median(limit, repeats);
    return KP_OK;
}

static kp_status run(const kp_bench_options *o, const char *name, int P, double reach,
                     kp_err *err) {
    int repeats = kp_bench_repeats(o, 9);
    bench b = { 0 };
    double ours[2] = { NAN, NAN }, peak[2] = { NAN, NAN }, peer = NAN;
    kp_status st = prepare(&b, P, o->n_threads, err);
    if (!st) st = measure(&b, repeats, &ours[0], &peak[0], err);
    ours[1] = ours[0], peak[1] = peak[0];
    if (!st && o->with_peers) { /* between two of ours, so that a slow spell meets both */
        char arguments[64] = "";
        if (P > 1)
            snprintf(arguments, sizeof arguments, "--population %d --processes %d", P,
                     kp_pool_n_threads(b.pool));
        st = kp_bench_peer(o, "dqn_update.py", arguments, 1,
                           (const char *const[]){ "updates_per_s" }, &peer, err);
        if (!st) st = measure(&b, repeats, &ours[1], &peak[1], err);
    }
    if (!st) {
        kp_bench_result r = {
            .ours = 0.5 * (ours[0] + ours[1]),
            .peer = peer,
            .unit = "updates/s",
            .limit = 0.5 * (peak[0] + peak[1]),
            .limit_name = "multiply-add peak",
            .reach = reach,
            .repeats = repeats,
        };
        snprintf(r.name, sizeof r.name, "%s", name);
        double flops = kp_dqn_update_flops(b.update);
        snprintf(r.note, sizeof r.note, "%.3g GFLOP an update, %.0f GFLOP/s, peak %.0f",
                 1e-9 * flops, 1e-9 * flops * r.ours, 1e-9 * flops * r.limit);
        o->emit(o->context, &r);
    }
    release(&b);
    return st;
}

kp_status kp_bench_dqn_update(const kp_bench_options *o, kp_err *err) {
    return run(o, "dqn_update", 1, 1.9, err);
}

kp_status kp_bench_dqn_population(const kp_bench_options *o, kp_err *err) {
    return run(o, "dqn_population 8", 8, 2.0, err);
}
