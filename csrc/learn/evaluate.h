/* evaluate.h: whole games with the current networks, apart from training: own environments, own
 * random numbers, unclipped returns (Machado et al. 2018 for what a return is).
 *
 * Evaluation `index` of a member plays the same games in any population, and after a resume. Game g of it
 * does not depend on how many there are: a longer evaluation begins with the games of a shorter one. */
#pragma once
#include "actor.h"
#include "env/env.h"
#include "progress.h"

typedef struct {
    int P, episodes;            /* games of each member, played side by side */
    int stack, divide;
    const uint64_t *seed;       /* [P] */
    kp_env_options env;         /* n_envs and the stream are filled in here */
    const kp_net *net;
    const float *theta;         /* [P][N] backend memory, borrowed */
    double epsilon;
} kp_evaluator_options;

typedef struct kp_evaluator kp_evaluator;

kp_status kp_evaluator_open(kp_evaluator **evaluator, kp_backend *backend, const kp_evaluator_options *options,
                            kp_err *err);

/* Plays until every game of the active members is over.
 *   first      number of the first game, the others follow; all below 65536
 *   active     [P], NULL: all; other members' returns become NAN
 *   returns    [P][episodes]
 *   listener   told `now` with the phase "evaluate"; may be NULL
 * KP_INTERRUPTED when kp_stop_requested(): nothing is kept, the same evaluation can be run again. */
kp_status kp_evaluator_run(kp_evaluator *evaluator, int64_t index, int first, const uint8_t *active,
                           double *returns, const kp_listener *listener, const kp_progress *now,
                           kp_err *err);

/* For a listener that looks on: the games, member after member, `episodes` of each, and whether one is
 * still being played. */
const kp_env *kp_evaluator_env(const kp_evaluator *evaluator);
int kp_evaluator_is_playing(const kp_evaluator *evaluator, int game);

void kp_evaluator_close(kp_evaluator *evaluator); /* NULL is fine */
