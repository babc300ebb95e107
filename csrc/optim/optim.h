/* optim.h: one update of P members: global gradient norm, update rule, clip, tally.
 *
 *     st = kp_optim_open(&optim, backend, layout, P, &options, theta, grad, &err);
 *     st = kp_optim_add_update(optim, program, &err);      once, after the backward pass
 *     while (...) {
 *         st = kp_optim_prepare(optim, active, &err);      counts the step, uploads hyperparameters
 *         st = kp_program_run(program, active, &err);
 *     }
 *
 * The order is fixed: gradient-norm clip, rule, weight clip; the moments never see the weight clip.
 * An update rule is one row of the table in optim.c. */
#pragma once
#include "backend/readback.h"
#include "clip_bounds.h"
#include "kappa/choices.h"
#include "tally_sum/tally_sum.h"

typedef struct { /* what members may differ in */
    double lr, beta1, beta2, eps, momentum, weight_decay;
    double grad_norm; /* limit of the global norm; INFINITY: none */
    kp_clip_options clip;
} kp_optim_member;

typedef struct {
    kp_rule rule;
    int centered;                  /* rmsprop: divide by the standard deviation */
    const kp_optim_member *member; /* [P], copied */
} kp_optim_options;

typedef struct kp_optim kp_optim;

/* theta, grad: [P][N] backend memory, borrowed. layout: borrowed. */
kp_status kp_optim_open(kp_optim **optim, kp_backend *backend, const kp_layout *layout, int P,
                        const kp_optim_options *options, float *theta, const float *grad, kp_err *err);
kp_status kp_optim_add_update(kp_optim *optim, kp_program *program, kp_err *err);

/* Before each run of the program. active: [P] host, NULL: all. Allocates nothing. */
kp_status kp_optim_prepare(kp_optim *optim, const uint8_t *active, kp_err *err);

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

/* What a checkpoint keeps: moment buffers ([P][N] backend memory, in the order of the table) and
 * step counts ([P]). */
int kp_optim_n_moments(const kp_optim *optim);
float *kp_optim_moment(const kp_optim *optim, int i, const char **name);
int64_t *kp_optim_steps(kp_optim *optim);

/* [P][n_tensors] backend memory: of the update that is made; INFINITY: not clipped. */
const float *kp_optim_bounds(const kp_optim *optim);

void kp_optim_close(kp_optim *optim); /* NULL is fine */
