/* evaluate.c: all games of all members in lockstep; a finished game idles until the last one is
 * over. */
#include "evaluate.h"

#include <math.h>
#include <stdlib.h>

#include "frames.h"
#include "run/signals.h"

enum { SLOTS_A_LANE = 64 }; /* only the latest stack is ever read */

struct kp_evaluator {
    int P, E, stack;
    uint64_t *seed;
    double *epsilon; /* [P] */
    kp_env *env;
    kp_ring *ring; /* the frames of the current stacks */
    kp_frames *frames;
    kp_actor *actor;
    int *action;      /* [P * E] */
    uint8_t *playing; /* [P * E] */
    kp_env_result *result;
};

kp_status kp_evaluator_open(kp_evaluator **out, kp_backend *backend, const kp_evaluator_options *o,
                            kp_err *err) {
    *out = NULL;
    kp_evaluator *v = calloc(1, sizeof *v);
    if (!v) return kp_fail(err, KP_BAD_CONFIG, "evaluation: out of host memory");
    v->P = o->P, v->E = o->episodes, v->stack = o->stack;
    size_t P = (size_t)o->P, lanes = P * (size_t)o->episodes;
    v->seed = calloc(P, sizeof *v->seed);
    v->epsilon = calloc(P, sizeof *v->epsilon);
    v->action = calloc(lanes, sizeof *v->action);
    v->playing = calloc(lanes, 1);
    v->result = calloc(lanes, sizeof *v->result);
    kp_status st = KP_OK;
    if (!v->seed || !v->epsilon || !v->action || !v->playing || !v->result)
        st = kp_fail(err, KP_BAD_CONFIG, "evaluation: out of host memory");
    for (int p = 0; !st && p < o->P; p++) v->seed[p] = o->seed[p], v->epsilon[p] = o->epsilon;
    kp_env_options env = o->env;
    env.n_envs = (int)lanes;
    env.stream = KP_STREAM_EVAL_ENV;
    if (!st) st = kp_env_open(&v->env, &env, err);
    if (!st && kp_env_n_actions(v->env) != kp_net_n_outputs(o->net))
        st = kp_fail(err, KP_BAD_CONFIG,
                     "evaluation: the network has %d outputs, but %s has %d actions",
                     kp_net_n_outputs(o->net), env.game, kp_env_n_actions(v->env));
    kp_ring_options ring = { .P = o->P,
                             .E = o->episodes,
                             .frame_bytes = KP_FRAME_BYTES,
                             .stack = o->stack,
                             .n_step = 1,
                             .transitions = (int64_t)SLOTS_A_LANE * o->episodes,
                             .gamma = 1 };
    if (!st) st = kp_ring_open(&v->ring, &ring, err);
    if (!st) st = kp_frames_open(&v->frames, backend, v->ring, "evaluation (eval.episodes)", err);
    kp_actor_options actor = { .P = o->P,
                               .E = o->episodes,
                               .stack = o->stack,
                               .n_actions = v->env ? kp_env_n_actions(v->env) : 0,
                               .divide = o->divide,
                               .stream = KP_STREAM_EVAL_ACT,
                               .seed = v->seed,
                               .net = o->net,
                               .theta = o->theta,
                               .frames = v->frames ? kp_frames_memory(v->frames) : NULL,
                               .frames_stride = v->ring ? kp_ring_frames_stride(v->ring) : 0 };
    if (!st) st = kp_actor_open(&v->actor, backend, &actor, err);
    if (st) {
        kp_evaluator_close(v);
        return st;
    }
    *out = v;
    return KP_OK;
}

/* Starts the games of the active members. Returns how many, or -1. */
static int start(kp_evaluator *v, int64_t index, int first, const uint8_t *active, double *returns,
                 kp_err *err, kp_status *st) {
    int n = 0;
    for (int i = 0; i < v->P * v->E; i++) {
        int p = i / v->E;
        returns[i] = NAN;
        v->playing[i] = !active || active[p];
        if (!v->playing[i]) continue;
        uint64_t game = (uint64_t)index << 16 | (uint64_t)(first + i % v->E);
        kp_philox_block r = kp_philox(v->seed[p], KP_STREAM_EVAL_ENV, game);
        const uint8_t *frame = NULL;
        *st = kp_env_reset(v->env, i, (uint64_t)r.x[0] << 32 | r.x[1], &frame, err);
        if (*st) return -1;
        kp_ring_begin(v->ring, i, frame);
        n++;
    }
    return n;
}

kp_status kp_evaluator_run(kp_evaluator *v, int64_t index, int first, const uint8_t *active,
                           double *returns, const kp_listener *listener, const kp_progress *now,
                           kp_err *err) {
    kp_status st = KP_OK;
    int games = start(v, index, first, active, returns, err, &st), left = games;
    /* a game has fewer than 2^24 agent steps */
    uint64_t base = ((uint64_t)first << KP_ACTOR_ENV_SHIFT) + ((uint64_t)index << 24);
    for (int64_t step = 0; !st && left > 0; step++) {
        if (kp_stop_requested())
            return kp_fail(err, KP_INTERRUPTED, "stopped during an evaluation");
        for (int i = 0; i < v->P * v->E; i++) {
            v->action[i] = v->playing[i] ? 0 : -1;
            if (v->playing[i])
                kp_ring_stack(v->ring, i, kp_actor_stacks(v->actor) + (int64_t)i * v->stack);
        }
        st = kp_frames_refresh(v->frames, err);
        if (!st) st = kp_actor_act(v->actor, v->epsilon, base + (uint64_t)step, v->action, err);
        if (!st) st = kp_env_step(v->env, v->action, v->result, err);
        if (!st) st = kp_frames_await(v->frames, err);
        for (int i = 0; !st && i < v->P * v->E; i++) {
            const kp_env_result *r = &v->result[i];
            if (!v->playing[i]) continue;
            if (r->game_over || r->truncated) {
                returns[i] = r->game_return;
                v->playing[i] = 0, left--;
            } else if (r->terminal) { /* a lost life, where the rules make it an end */
                kp_ring_begin(v->ring, i, r->first);
            } else {
                kp_ring_push(v->ring, i, v->action[i], r->reward, 0, r->frame);
            }
        }
        if (listener && listener->tell) {
            kp_progress told = *now;
            told.phase = "evaluate", told.eval_step = step + 1, told.eval_over += games - left;
            listener->tell(listener->context, &told);
        }
    }
    return st;
}

const kp_env *kp_evaluator_env(const kp_evaluator *v) { return v->env; }
int kp_evaluator_is_playing(const kp_evaluator *v, int game) { return v->playing[game]; }

void kp_evaluator_close(kp_evaluator *v) {
    if (!v) return;
    kp_actor_close(v->actor);
    kp_frames_close(v->frames);
    kp_ring_close(v->ring);
    kp_env_close(v->env);
    free(v->seed);
    free(v->epsilon);
    free(v->action);
    free(v->playing);
    free(v->result);
    free(v);
}
