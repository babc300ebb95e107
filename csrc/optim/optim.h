/* optim.h: one update of P members: global gradient norm, penalties, update rule, shrink and perturb,
 * clip, tally.
 *
 *     st = kp_optim_open(&optim, backend, layout, P, &options, theta, grad, &err);
 *     st = kp_optim_add_update(optim, program, &err);      once, after the backward pass
 *     while (...) {
 *         st = kp_optim_prepare(optim, 1, active, &err);   counts the step, uploads hyperparameters
 *         st = kp_program_run(program, active, &err);
 *         st = kp_optim_between(optim, 0, active, &err);
 *     }
 *
 * A program that makes one update may be repeated without the host in between, up to `block` times:
 * it begins with kp_optim_add_begin, n updates are announced together by kp_optim_prepare and run by
 * kp_program_repeat, and n is at most kp_optim_room.
 *
 * The order is fixed: gradient-norm clip, penalties, rule, shrink and perturb, weight clip; the moments
 * never see the weight clip. An update rule is one row of the table in rules.c. */
#pragma once
#include "backend/readback.h"
#include "clip_bounds.h"
#include "kappa/choices.h"
#include "noise/noise.h"
#include "tally_sum/tally_sum.h"

enum { KP_OPTIM_MAX_MOMENTS = 12, KP_OPTIM_MAX_BLOCK = 4096 };

typedef struct { /* what members may differ in */
    double lr, beta1, beta2, eps, momentum;
    double weight_decay;    /* adamw, upgd, adaupgd: decoupled; sgd, rmsprop: added to l2; else none */
    double grad_norm;       /* limit of the global norm; INFINITY: none */
    double l2, l2init;      /* penalty.h */
    double shrink, perturb; /* shift_clip.h */
    double madam_scale;     /* bound of madam, times the root mean square of a tensor's initial weights */
    struct { double beta, sigma; } upgd;               /* upgd.h */
    struct { double strength, decay; } ewc;            /* penalties.h; strength 0: off, as below */
    struct { double strength, xi; int64_t every; } si; /* si.h; every 0: where a task ends */
    kp_clip_options clip;
} kp_optim_member;

typedef struct {
    kp_rule rule;
    int centered;                  /* rmsprop: divide by the standard deviation */
    int reference;                 /* 1: L2 Init, shrink and perturb, upgd as the clipping authors' code has
                                      them (shift_clip.h, upgd.h) */
    kp_noise_kind noise;
    const uint64_t *seed;          /* [P] of the noise, copied; NULL: no member has any */
    int block;                     /* most updates that kp_optim_prepare may announce; 0: 1 */
    const kp_optim_member *member; /* [P], copied */
} kp_optim_options;

typedef struct kp_optim kp_optim;

/* theta, grad: [P][N] backend memory, borrowed; theta holds the initial weights, also where a checkpoint
 * is loaded after. layout: borrowed. KP_BAD_CONFIG names what does not go together. */
kp_status kp_optim_open(kp_optim **optim, kp_backend *backend, const kp_layout *layout, int P,
                        const kp_optim_options *options, float *theta, const float *grad, kp_err *err);

/* First operation of a program that is repeated: goes to the next of the updates that were announced.
 * Adds nothing where block is 1. */
kp_status kp_optim_add_begin(kp_optim *optim, kp_program *program, kp_err *err);
kp_status kp_optim_add_update(kp_optim *optim, kp_program *program, kp_err *err);

/* [P] backend memory: which of the announced updates a member is at, from 0. */
const int32_t *kp_optim_cursor(const kp_optim *optim);

/* How many updates may be announced now, at least 1: what changes only between programs (bounds with
 * optim.clip.when: once, consolidation with optim.si.every) is the same for all of them. May exceed block. */
int kp_optim_room(const kp_optim *optim, const uint8_t *active);

/* Before the program is run n times. active: [P] host, NULL: all. Allocates nothing. */
kp_status kp_optim_prepare(kp_optim *optim, int n, const uint8_t *active, kp_err *err);

/* After it: what is due between updates (consolidation of Synaptic Intelligence). is_task_end: the updates that come belong to another task. */
kp_status kp_optim_between(kp_optim *optim, int is_task_end, const uint8_t *active, kp_err *err);

/* What mlp_stream (mlp/mlp.h) takes to make the whole update itself, after kp_optim_prepare as before a
 * program; the memory is the optimizer's. 0 where the update has other parts: why_not says which. */
typedef struct {
    int rule;        /* kp_mlp_rule */
    float *state[2]; /* [P][N]; NULL where the rule has none */
    const float *anchor;
    const void *hyper; /* [P][block] of the rule's struct */
    const float *bound;
    kp_tensor_tally *total;
} kp_optim_fused;
int kp_optim_fuse(const kp_optim *optim, kp_optim_fused *fused, const char **why_not);

/* A member's step size from its next update on (schedules). */
void kp_optim_set_lr(kp_optim *optim, int member, double lr);

int64_t kp_optim_step(const kp_optim *optim, int member); /* updates made */

/* The counts of every tensor, total: [P][n_tensors] host. Read them after a run and a sync; set them
 * to start over (zeros) or to resume. */
kp_status kp_optim_tally(kp_optim *optim, kp_tensor_tally *total, kp_err *err);
kp_status kp_optim_open_readback(kp_optim *optim, kp_readback **readback, kp_err *err); /* of the same */
kp_status kp_optim_set_tally(kp_optim *optim, const kp_tensor_tally *total, kp_err *err);

/* norm: [P] host, of the latest update; NAN where no limit is set and the norm is not computed. */
kp_status kp_optim_grad_norm(kp_optim *optim, float *norm, kp_err *err);

/* What a checkpoint keeps: moment buffers ([P][N] backend memory, KP_OPTIM_MAX_MOMENTS at most) and
 * step counts ([P]). Everything else follows from these. */
int kp_optim_n_moments(const kp_optim *optim);
float *kp_optim_moment(const kp_optim *optim, int i, const char **name);
int64_t *kp_optim_steps(kp_optim *optim);

/* [P][n_tensors] backend memory: of the update that is made; INFINITY: not clipped. */
const float *kp_optim_bounds(const kp_optim *optim);

void kp_optim_close(kp_optim *optim); /* NULL is fine */
