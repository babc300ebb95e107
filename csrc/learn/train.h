/* train.h: a run from its configuration to its end: directory, log, metrics, checkpoints, signals.
 *
 *     st = kp_train(&(kp_train_options){ .dir = "runs/pong", .member = config, .P = 1 }, &err);
 *     st = kp_train_resume(&(kp_train_options){ .dir = "runs/pong" }, n_args, args, &err);
 *
 * Returns KP_OK when trained to the end; KP_NON_FINITE likewise, but members went non-finite on the way
 * (the message names the first); KP_INTERRUPTED: saved, to be resumed. In all other cases the newest
 * checkpoint stays as it was, and run.json says why. */
#pragma once
#include "config/config.h"
#include "progress.h"

typedef struct {                 /* all borrowed for the call */
    const char *dir;             /* the run's directory; made if need be */
    const kp_config *member;     /* [P] agree in every key that is not per_member; kp_train only */
    int P;
    const kp_origins *origins;   /* may be NULL */
    const kp_listener *listener; /* may be NULL */
    int log_to_stderr;           /* lines of log.txt on standard error too */
} kp_train_options;

/* A new run. KP_BAD_CONFIG where the directory holds one already. */
kp_status kp_train(const kp_train_options *options, kp_err *err);

/* Goes on from the newest whole checkpoint, or from the beginning where there is none yet. args: [n]
 * "key=value" for keys that cannot change the run's results (device, threads, log, ...), others are
 * KP_BAD_CONFIG. A run that is done: KP_OK at once. */
kp_status kp_train_resume(const kp_train_options *options, int n, const char *const *args, kp_err *err);
