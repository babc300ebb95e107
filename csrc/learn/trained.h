/* trained.h: what a run's newest checkpoint has learned, opened to be played: networks and games, without
 * replay, optimizer or lock. A run that is being trained may be read as well.
 *
 *     st = kp_trained_open(&t, "runs/pong", &options, warning, &err);
 *     st = kp_evaluator_run(kp_trained_evaluator(t), index, NULL, returns, NULL, &now, &err);
 *     kp_trained_close(t); */
#pragma once
#include "config/config.h"
#include "evaluate.h"

typedef struct {
    int episodes;             /* games of each member; 0: the run's eval.episodes */
    double epsilon;           /* NAN: the run's eval.epsilon */
    int n_args;
    const char *const *args;  /* "key=value" for keys that cannot change results; borrowed for the call */
} kp_trained_options;

typedef struct kp_trained kp_trained;

/* warning: "" or which damaged checkpoints were passed over. KP_BAD_CONFIG: no run there, or none of its
 * checkpoints is written yet; KP_STORAGE: all are damaged. */
kp_status kp_trained_open(kp_trained **trained, const char *dir, const kp_trained_options *options, char warning[512],
                          kp_err *err);

const kp_config *kp_trained_members(const kp_trained *trained, int *P); /* [P] borrowed */
int64_t kp_trained_agent_step(const kp_trained *trained);
int kp_trained_episodes(const kp_trained *trained);
kp_evaluator *kp_trained_evaluator(const kp_trained *trained);

void kp_trained_close(kp_trained *trained); /* NULL is fine */
