/* dqn_update.h: one DQN update of P members, from indices into the replay to clipped weights.
 *
 *     st = kp_dqn_update_open(&update, backend, &options, &err);
 *     kp_dqn_batch *batch = kp_dqn_update_batch(update);      host; fill it for the active members
 *     while (...) st = kp_dqn_update_run(update, active, &err);
 *     kp_dqn_update_close(update);
 *
 * Gather s and s', target(s'), online(s), TD loss, backward, optimizer, weight clip (Mnih et al. 2015;
 * double: van Hasselt et al. 2016; n-step: Sutton 1988 as in Hessel et al. 2018). Allocates nothing
 * after opening. */
#pragma once
#include "gather_stack/gather_stack.h"
#include "nn/net.h"
#include "optim/optim.h"
#include "td_loss/td_loss.h"
#include "td_stats/td_stats.h"

typedef struct {
    int n_actions, hidden, stack; /* stack: input channels */
    int side;                     /* of the square frame, 84 */
    kp_padding padding;           /* of the three convolutions */
    kp_init init;
} kp_dqn_net_options;

/* conv 32 8x8/4, 64 4x4/2, 64 3x3/1, FC hidden, FC actions; ReLU between (Mnih et al. 2015, Methods). */
void kp_dqn_net_spec(kp_net_spec *spec, const kp_dqn_net_options *options);

typedef struct {
    int P, B;
    kp_dqn_net_options net;
    int divide;                   /* 1: pixels / 255; 0: 0 to 255 */
    kp_td_kind loss;
    int double_q;
    const uint64_t *seed;         /* [P] of the initial weights */
    kp_optim_options optim;
    const uint8_t *frames;        /* backend memory, as in gather_stack.h; borrowed */
    int64_t frames_stride;
} kp_dqn_update_options;

typedef struct {                  /* host, owned by the update */
    int64_t *s, *s_next;          /* [P][B][stack] frame numbers; below 0: zeros */
    int32_t *action;              /* [P][B] */
    float *reward, *discount;     /* [P][B] as in td_loss.h */
} kp_dqn_batch;

typedef struct kp_dqn_update kp_dqn_update;

kp_status kp_dqn_update_open(kp_dqn_update **update, kp_backend *backend,
                             const kp_dqn_update_options *options, kp_err *err);
kp_dqn_batch *kp_dqn_update_batch(kp_dqn_update *update);

/* active: [P], NULL: all. */
kp_status kp_dqn_update_run(kp_dqn_update *update, const uint8_t *active, kp_err *err);

/* target <- online. */
kp_status kp_dqn_update_target(kp_dqn_update *update, const uint8_t *active, kp_err *err);

const kp_net *kp_dqn_update_net(const kp_dqn_update *update);
kp_optim *kp_dqn_update_optim(const kp_dqn_update *update);
float *kp_dqn_update_theta(const kp_dqn_update *update);  /* [P][N] backend memory */
float *kp_dqn_update_target_theta(const kp_dqn_update *update);
const float *kp_dqn_update_grad(const kp_dqn_update *update); /* of the latest update */
kp_td_sums *kp_dqn_update_sums(const kp_dqn_update *update); /* [P] backend memory; zero them by upload */
const float *kp_dqn_update_loss(const kp_dqn_update *update); /* [P] backend memory, of the latest update */

/* l2 norms of the weights and of the latest gradient, [P] host each; grad_l2 may be NULL. */
kp_status kp_dqn_update_norms(kp_dqn_update *update, float *theta_l2, float *grad_l2, kp_err *err);

double kp_dqn_update_flops(const kp_dqn_update *update); /* multiplies and adds of one member's update */

void kp_dqn_update_close(kp_dqn_update *update); /* NULL is fine */
