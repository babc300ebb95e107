/* trained.h: what a run's newest checkpoint has learned, opened to be played: networks and games, without
 * replay, optimizer or lock. A run that is being trained may be read as well.
 *
 *     st = kp_trained_open(&t, "runs/pong", &options, warning, &err);
 *     if (t) st = kp_trained_play(t, index, active, returns, NULL, &err);
 *     kp_trained_close(t); */
#pragma once
#include "config/config.h"
#include "evaluate.h"

typedef struct {
    const char *checkpoint;   /* the folder of one, whose name is its agent step; NULL: the run's newest */
    int episodes;             /* games of each member; 0: the run's eval.episodes */
    double epsilon;           /* NAN: the run's eval.epsilon */
    int n_args;
    const char *const *args;  /* "key=value" for keys that cannot change results; borrowed for the call */
} kp_trained_options;

typedef struct kp_trained kp_trained;

/* warning: "" or which damaged checkpoints were passed over. *trained stays NULL where the run has written
 * none yet. KP_BAD_CONFIG: arguments; KP_STORAGE: no run there, or all its checkpoints are damaged. */
kp_status kp_trained_open(kp_trained **trained, const char *dir, const kp_trained_options *options, char warning[512],
                          kp_err *err);

const kp_config *kp_trained_members(const kp_trained *trained, int *P); /* [P] borrowed */
int64_t kp_trained_agent_step(const kp_trained *trained);
int kp_trained_episodes(const kp_trained *trained);
int kp_trained_is_finite(const kp_trained *trained, int member); /* 0: training stopped it, do not play it */

/* kp_evaluator_run for all games of the active members, in turns of a few side by side, so that memory does
 * not grow with their number.
 *   active   [P]
 *   returns  [P][episodes] */
kp_status kp_trained_play(kp_trained *trained, int64_t index, const uint8_t *active, double *returns,
                          const kp_listener *listener, kp_err *err);

/* For a listener that looks on: the evaluator, and the number in it of the member's first game, which is
 * played in the first turn. */
kp_evaluator *kp_trained_evaluator(const kp_trained *trained);
int kp_trained_first_game(const kp_trained *trained, int member);

void kp_trained_close(kp_trained *trained); /* NULL is fine */
