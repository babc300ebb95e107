/* progress.h: what a learner tells while it runs. Whoever listens prints; the learner does not. */
#pragma once
#include <stdint.h>

enum { KP_PROGRESS_VALUES = 2 };

typedef struct {        /* what a learner's members are best known by */
    const char *name;   /* "return", "accuracy" */
    const char *format; /* of printf, for the value times scale: "%.1f", "%.1f%%" */
    double scale;
} kp_progress_value;

typedef struct {            /* NAN where there is no value yet */
    double value[KP_PROGRESS_VALUES]; /* dqn: mean return of the training games finished in the latest
                               interval that had any, mean of the latest evaluation;
                               stream: accuracy and loss since the latest row */
    double weight_l2;
    double share_clipped;   /* share of clipped tensors' entries outside their bound before the clip */
    int64_t stopped_at;     /* update after which weights were non-finite; -1: running */
} kp_member_progress;

typedef struct {
    const char *phase;      /* "fill" (before the first update), "train", "evaluate" */
    const char *unit;       /* "steps", "samples" */
    kp_progress_value shown[KP_PROGRESS_VALUES];
    int P;
    int64_t agent_step, agent_steps; /* of each member, in this unit: now, at the end */
    int64_t updates;                 /* of each member */
    int64_t eval_step;      /* "evaluate": agent steps of the longest game so far */
    int eval_over;          /* "evaluate": games that are over */
    const kp_member_progress *member; /* [P] */
} kp_progress;

typedef struct {
    void (*tell)(void *context, const kp_progress *now); /* often; cheap when nothing is due */
    void *context;
} kp_listener;
