/* learner.h: what a training loop offers to train.c, which owns the run directory.
 *
 * A learner trains P members in lockstep, one small piece of work at a time. Between two pieces its
 * whole state can be saved, and loaded into a learner that was opened alike; it then goes on bit for
 * bit. It knows nothing of files, signals or clocks. A new learner is one row of the table in train.c. */
#pragma once
#include "config/config.h"
#include "progress.h"
#include "run/checkpoint.h"
#include "run/log.h"
#include "run/metrics.h"
#include "backend/backend.h"

#define KP_REPLAY_FOLDER "replay"

typedef enum {
    KP_EVENT_NONE, /* a piece of work was done */
    KP_EVENT_ROWS, /* a row of metrics is due: read it with `row` before the next step */
    KP_EVENT_END   /* trained to the end, or every member has stopped */
} kp_event;

typedef struct {
    kp_backend *backend;         /* borrowed, as all below */
    const kp_config *member;     /* [P] agree in every key that is not per_member; copied */
    int P;
    const char *checkpoint_dir;  /* replay segments lie in its subfolder KP_REPLAY_FOLDER */
    const kp_listener *listener; /* told of progress inside long pieces of work; may be NULL */
    kp_log *log;                 /* what is worth a line; may be NULL */
} kp_learner_options;

typedef struct {
    const char *name; /* of the algorithm */
    const char *unit; /* of training's length: "agent step", "sample" */

    /* Plans all memory. Starts nothing: start or load comes next. */
    kp_status (*open)(void **learner, const kp_learner_options *options, kp_err *err);
    kp_status (*start)(void *learner, kp_err *err);

    /* KP_INTERRUPTED: a stop was requested inside a long piece of work, which will be done anew. */
    kp_status (*step)(void *learner, kp_event *event, kp_err *err);

    /* Borrowed for the learner's life. row: value [n columns]; 0 where the member has none. */
    const kp_metrics_column *(*columns)(const void *learner, int *n);
    int (*row)(const void *learner, int member, kp_metrics_value *value);

    const kp_progress *(*progress)(const void *learner);
    int64_t (*agent_step)(const void *learner);

    /* with_replay 0: weights, optimizer and counters only; loading that starts new games, fills the
     * replay again and is not exact. */
    kp_status (*save)(void *learner, kp_checkpoint_writer *writer, int with_replay, kp_err *err);
    kp_status (*load)(void *learner, const kp_checkpoint *checkpoint, kp_err *err);

    void (*close)(void *learner); /* NULL is fine */
} kp_learner;

extern const kp_learner kp_learner_dqn, kp_learner_stream;
