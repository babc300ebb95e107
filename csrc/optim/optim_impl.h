/* optim_impl.h: the inside of an optimizer, for this folder only. */
#pragma once
#include "optim.h"
#include "optim_begin/optim_begin.h"

enum { KP_RULE_STATE = 3 };

/* What operations want anew for every update, such as a bias correction: a struct for each member. */
typedef struct {
    size_t bytes; /* a multiple of 4 */
    void (*fill)(const kp_optim *o, int member, int64_t step, void *to); /* step from 1 */
    unsigned char *host; /* [P][block][bytes] */
    void *ahead;         /* [P][block][bytes] backend */
    void *now;           /* [P][bytes] backend: this update's; the same memory where block is 1 */
} kp_optim_feed;

typedef struct {
    const char *name;
    const char *state[KP_RULE_STATE]; /* names of [P][N] buffers; NULL: not so many */
    kp_optim_feed feed;     /* bytes and fill */
    kp_status (*add)(kp_optim *o, kp_program *program, kp_err *err);
} kp_optim_rule;

extern const kp_optim_rule kp_optim_rules[KP_N_RULES];

/* Of the L2 term: sgd and rmsprop have no decay of their own, and add it there. */
double kp_optim_l2(const kp_optim *o, int member);

struct kp_optim {
    kp_backend *backend;
    const kp_layout *layout;
    int P, block;
    kp_rule kind;
    const kp_optim_rule *rule;
    kp_optim_member *member; /* [P] */
    int64_t *step;           /* [P] */

    float *theta;
    const float *grad;
    float *moment[KP_OPTIM_MAX_MOMENTS]; /* [P][N] backend: all that a checkpoint keeps */
    const char *moment_name[KP_OPTIM_MAX_MOMENTS];
    int n_moments;
    float *state[KP_RULE_STATE]; /* of them: the rule's; NULL: not in use */
    float *anchor;               /* of them: theta_0; NULL: no member has l2init */
    int has_momentum, has_anchor, with_terms; /* of any member: momentum; l2init; l2 or l2init */

    kp_optim_feed feed[KP_BEGIN_FEEDS]; /* the first is the rule's */
    int n_feeds;
    int32_t *cursor; /* [P] backend */

    int32_t *chunk_tensor;                 /* [n_chunks] backend */
    float *bound;                          /* [P][n_tensors] backend */
    kp_clip_tally *tally;                  /* [P][n_chunks] backend */
    kp_tensor_tally *total;                /* [P][n_tensors] backend */
    int limits_norm;                       /* any member has a finite grad_norm */
    double *partial;                       /* [P][n_chunks] backend, for the norm */
    float *norm_limit, *norm, *grad_scale; /* [P] backend */

    float *bounds_host;    /* [P][n_tensors] of the options */
    float *bounds_now;     /* [P][n_tensors] as last uploaded */
    int32_t *cursors_host; /* [P] all -1 */
};
