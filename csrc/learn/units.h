/* units.h: methods that replace hidden units of a small network while it learns (units/units.h has them):
 * continual backprop and ReDo, with any rule and with clipping.
 *
 *     st = kp_units_open(&units, backend, &shape, layout, P, &options, optim, theta, work, &err);
 *     st = kp_units_add(units, program, &err);      after kp_optim_add_update, before mlp_after
 *     st = kp_units_pass(units, &io, &err);         with the rest of the learner's state
 *     kp_units_close(units);
 *
 * The order is gradient, penalties, rule, clip, cbp, redo; so a loss after the update is that of the
 * network with its new units. The program must leave x in work: it is the plain path's. The optimizer's
 * step counts, and so Adam's bias corrections, are a member's and go on. The tally of clipped weights
 * does not count new ones. A rule that multiplies weights (madam) can never use a new unit, whose outgoing
 * weights are 0. */
#pragma once
#include "nn/layout.h"
#include "optim/optim.h"
#include "run/checkpoint.h"
#include "units/units.h"

typedef struct { /* what members may differ in */
    uint64_t seed;
    double cbp_rate, cbp_decay; /* rate 0: this member has none */
    int64_t cbp_maturity;       /* samples */
    double redo_tau;
} kp_units_member;

typedef struct {
    const kp_units_member *member; /* [P] */
    int64_t redo_every;            /* samples; 0: none */
} kp_units_options;

typedef struct kp_units kp_units;

/* Where no member has a method, the calls below do nothing. theta: [P][N], work: [P][kp_mlp_work]; these
 * and optim, whose moments and bounds are used, are borrowed. Moments whose names end in "anchor"
 * follow theta where a weight is new; others become 0. KP_BAD_CONFIG: no hidden units. */
kp_status kp_units_open(kp_units **units, kp_backend *backend, const kp_mlp_shape *shape,
                        const kp_layout *layout, int P, const kp_units_options *options,
                        const kp_optim *optim, float *theta, const float *work, kp_err *err);
kp_status kp_units_add(kp_units *units, kp_program *program, kp_err *err);

/* Units replaced so far: [P] host each; zeros where a method is not in use. */
kp_status kp_units_replaced(kp_units *units, int64_t *cbp, int64_t *redo, kp_err *err);

/* All state, as arrays "cbp.*" and "redo.*". */
kp_status kp_units_pass(kp_units *units, const kp_checkpoint_io *io, kp_err *err);

void kp_units_close(kp_units *units); /* NULL is fine */
