/* actor.h: epsilon-greedy actions of P members with E environments each.
 *
 * An agent's draw depends on its own seed, its environment and its own agent step only, so that it
 * acts the same in any population. Allocates nothing after opening. */
#pragma once
#include "base/philox.h"
#include "nn/net.h"

typedef struct {
    int P, E, stack, n_actions;
    int divide;                /* as in gather_stack.h */
    kp_stream_id stream;       /* KP_STREAM_ACT or KP_STREAM_EVAL_ACT */
    const uint64_t *seed;      /* [P], copied */
    const kp_net *net;         /* borrowed */
    const float *theta;        /* [P][N] backend memory, borrowed */
    const uint8_t *frames;     /* as in gather_stack.h, borrowed */
    int64_t frames_stride;
} kp_actor_options;

typedef struct kp_actor kp_actor;

enum { KP_ACTOR_ENV_SHIFT = 48 }; /* a draw's counter: (environment << 48) + the counter of kp_actor_act */

kp_status kp_actor_open(kp_actor **actor, kp_backend *backend, const kp_actor_options *options, kp_err *err);

/* [P][E][stack] host: the current observation of each environment; fill it before kp_actor_act. */
int64_t *kp_actor_stacks(kp_actor *actor);

/* action[P * E]: on entry -1 for environments that do not act, anything else for those that do; on
 * return their actions. counter: the draw's counter within an environment (agent step).
 * epsilon: [P]. Greedy: the first of equal maxima. The network runs only for members that need it. */
kp_status kp_actor_act(kp_actor *actor, const double *epsilon, uint64_t counter, int *action, kp_err *err);

void kp_actor_close(kp_actor *actor); /* NULL is fine */
