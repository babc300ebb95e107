/* optim_impl.h: the inside of an optimizer, for this folder only.
 *
 *     optim.c      memory, programs, what is done before and after each
 *     rules.c      the update rules
 *     parts.c      what stands around them: penalties, noise, shrink and perturb, consolidation */
#pragma once
#include "optim.h"
#include "optim_begin/optim_begin.h"

enum { KP_RULE_STATE = 3 };

/* What operations want anew for every update, such as a bias correction: a struct for each member. */
typedef void kp_optim_fill(const kp_optim *o, int member, int64_t step, void *to); /* step from 1 */
typedef struct {
    size_t bytes; /* a multiple of 4 */
    kp_optim_fill *fill;
    unsigned char *host; /* [P][block][bytes] */
    void *ahead;         /* [P][block][bytes] backend */
    void *now;           /* [P][bytes] backend: this update's; the same memory where block is 1 */
} kp_optim_feed;

typedef struct {
    const char *name;
    const char *state[KP_RULE_STATE]; /* names of [P][N] buffers; NULL: not so many */
    int takes_terms;                  /* l2 and l2init are in its loop */
    size_t hyper_bytes;
    kp_optim_fill *fill;
    kp_status (*add)(kp_optim *o, kp_program *program, kp_err *err);
} kp_optim_rule;

extern const kp_optim_rule kp_optim_rules[KP_N_RULES];

/* Which parts the update has: those that any member has. */
typedef struct {
    int norm_limit, momentum;
    int terms;     /* l2 or l2init, as below */
    int anchor;    /* l2init */
    int penalties; /* an operation of their own */
    int ewc, si;
    int shift; /* an operation after the rule */
    int noise; /* for the rule or for the shift */
} kp_optim_has;

struct kp_optim {
    kp_backend *backend;
    const kp_layout *layout;
    int P, block, centered, reference;
    kp_rule kind;
    const kp_optim_rule *rule;
    kp_noise_kind noise_kind;
    kp_optim_member *member; /* [P] */
    uint64_t *seed;          /* [P] */
    int64_t *step;           /* [P] */
    kp_optim_has has;

    float *theta;
    const float *grad;
    float *moment[KP_OPTIM_MAX_MOMENTS]; /* [P][N] backend: all that a checkpoint keeps */
    const char *moment_name[KP_OPTIM_MAX_MOMENTS];
    int n_moments;
    float *state[KP_RULE_STATE]; /* of them: the rule's; NULL: not in use */
    float *anchor;               /* theta_0, or what `reference` has for it */
    float *fisher, *mean;        /* EWC */
    float *path, *importance, *start; /* Synaptic Intelligence */

    kp_optim_feed feed[KP_BEGIN_FEEDS];
    int n_feeds;
    const kp_optim_feed *of_rule, *of_penalties, *of_noise, *of_shift;
    int32_t *cursor; /* [P] backend */

    int32_t *chunk_tensor;                 /* [n_chunks] backend */
    float *bound, *unbounded;              /* [P][n_tensors] backend; the latter all INFINITY */
    kp_clip_tally *tally;                  /* [P][n_chunks] backend */
    kp_tensor_tally *total;                /* [P][n_tensors] backend */
    double *partial;                       /* [P][n_chunks] backend, for the norm */
    float *norm_limit, *norm, *grad_scale; /* [P] backend */
    float *penalised;                      /* [P][N] backend: the gradient with penalties */
    float *largest;                        /* [P][n_chunks] backend: upgd's */

    float *noise;                  /* [P][N] backend */
    kp_noise_tensor *noise_tensor; /* [n_tensors] backend */
    int32_t *noise_place;          /* backend */
    int n_noise_groups;
    int64_t n_noise_blocks;

    float *before, *xi; /* [P][N], [P] backend: Synaptic Intelligence */
    kp_program *consolidate;
    uint8_t *due; /* [P] */

    float *bounds_host;    /* [P][n_tensors] of the options */
    float *bounds_free;    /* [P][n_tensors] where the clip is not due: INFINITY, or madam's */
    float *bounds_now;     /* [P][n_tensors] as last uploaded */
    int32_t *cursors_host; /* [P] all -1 */
};

/* ---- parts.c: each does nothing where the update has no such part ---- */

/* What members have in the two terms of the gradient, whichever operation adds them. */
double kp_optim_l2(const kp_optim *o, int member);
double kp_optim_l2init(const kp_optim *o, int member);

void kp_optim_find_parts(kp_optim *o);
kp_status kp_optim_open_parts(kp_optim *o, kp_err *err);
kp_status kp_optim_add_penalties(kp_optim *o, kp_program *program, kp_err *err);
kp_status kp_optim_add_shift(kp_optim *o, kp_program *program, kp_err *err);
kp_status kp_optim_add_path(kp_optim *o, kp_program *program, kp_err *err);

/* Fills o->noise. of_shift: for the operation after the rule, else for the rule. */
kp_status kp_optim_add_noise(kp_optim *o, kp_program *program, int of_shift, kp_err *err);

/* Bounds of madam within those of the options, from theta. */
kp_status kp_optim_limit_madam(kp_optim *o, kp_err *err);

/* ---- optim.c ---- */

/* [P][N], named, kept in checkpoints. */
kp_status kp_optim_add_moment(kp_optim *o, const char *name, float **memory, kp_err *err);
kp_status kp_optim_open_feed(kp_optim *o, size_t bytes, kp_optim_fill *fill, const kp_optim_feed **feed,
                             kp_err *err);
