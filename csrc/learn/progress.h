/* progress.h: what a learner tells while it runs. Whoever listens prints; the learner does not. */
#pragma once
#include <stdint.h>

typedef struct {            /* NAN where there is no value yet */
    double return_mean;     /* of the training games finished in the latest interval that had any */
    double eval_return;     /* mean of the latest evaluation */
    double weight_l2;
    double share_clipped;   /* share of clipped tensors' entries outside their bound before the clip */
    int64_t stopped_at;     /* update after which weights were non-finite; -1: running */
} kp_member_progress;

typedef struct {
    const char *phase;      /* "fill" (before the first update), "train", "evaluate" */
    int P;
    int64_t agent_step, agent_steps; /* of each member: now, at the end */
    int64_t updates;                 /* of each member */
    int64_t eval_step;      /* "evaluate": agent steps of the longest game so far */
    int eval_over;          /* "evaluate": games that are over */
    const kp_member_progress *member; /* [P] */
} kp_progress;

typedef struct {
    void (*tell)(void *context, const kp_progress *now); /* often; cheap when nothing is due */
    void *context;
} kp_listener;
