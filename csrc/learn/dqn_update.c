/* dqn_update.c: three programs: update, target copy, norms. */
#include "dqn_update.h"

#include <stdlib.h>
#include <string.h>

#include "copy/copy.h"
#include "grad_norm/grad_norm.h"

struct kp_dqn_update {
    kp_backend *backend;
    int P, B, stack;
    kp_net *net;
    kp_pass *online, *target, *online_next; /* online_next: double DQN only */
    kp_optim *optim;
    kp_program *update, *copy, *norms;

    float *theta, *target_theta, *grad; /* [P][N] */
    int64_t *s, *s_next;                /* backend copies of the batch */
    int32_t *action;
    float *reward, *discount;
    float *td, *loss;            /* [P][B], [P] */
    kp_td_sums *sums;            /* [P] */
    double *partial;             /* [P][n_chunks] of the norms */
    float *limit, *norm, *scale; /* [2][P]: weights, gradient */

    kp_dqn_batch batch;
};

void kp_dqn_net_spec(kp_net_spec *spec, const kp_dqn_net_options *o) {
    static const struct {
        const char *name;
        int out, kernel, stride;
    } conv[] = {
        { "conv1", 32, 8, 4 },
        { "conv2", 64, 4, 2 },
        { "conv3", 64, 3, 1 },
    };
    *spec = (kp_net_spec){ .h = o->side, .w = o->side, .c = o->stack, .n_layers = 5 };
    for (int i = 0; i < 3; i++) {
        kp_layer_spec *l = &spec->layer[i];
        *l = (kp_layer_spec){ .kind = KP_CONV,
                              .input = i - 1,
                              .out = conv[i].out,
                              .kernel = conv[i].kernel,
                              .stride = conv[i].stride,
                              .padding = o->padding,
                              .activation = KP_RELU,
                              .init = o->init };
        strcpy(l->name, conv[i].name);
    }
    spec->layer[3] = (kp_layer_spec){ .kind = KP_DENSE,
                                      .name = "fc1",
                                      .input = 2,
                                      .out = o->hidden,
                                      .activation = KP_RELU,
                                      .init = o->init };
    spec->layer[4] = (kp_layer_spec){ .kind = KP_DENSE,
                                      .name = "fc2",
                                      .input = 3,
                                      .out = o->n_actions,
                                      .activation = KP_LINEAR,
                                      .init = o->init };
}

/* ---- opening --------------------------------------------------------------------------------- */

static kp_status alloc_all(kp_dqn_update *u, kp_err *err) {
    const kp_layout *l = kp_net_layout(u->net);
    size_t P = (size_t)u->P, PB = P * (size_t)u->B, N = (size_t)l->N;
    kp_status st = KP_OK;
#define BACKEND(pointer, n, what)                                                                  \
    if (!st)                                                                                       \
    st = kp_backend_alloc(u->backend, (void **)&u->pointer, (n) * sizeof *u->pointer, what, err)
    BACKEND(theta, P * N, "weights (population.size)");
    BACKEND(target_theta, P * N, "target network (population.size)");
    BACKEND(grad, P * N, "gradients (population.size)");
    BACKEND(s, PB * (size_t)u->stack, "minibatch");
    BACKEND(s_next, PB * (size_t)u->stack, "minibatch");
    BACKEND(action, PB, "minibatch");
    BACKEND(reward, PB, "minibatch");
    BACKEND(discount, PB, "minibatch");
    BACKEND(td, PB, "minibatch");
    BACKEND(loss, P, "minibatch");
    BACKEND(sums, P, "running sums");
    BACKEND(partial, P * (size_t)l->n_chunks, "norms");
    BACKEND(limit, P, "norms");
    BACKEND(norm, 2 * P, "norms");
    BACKEND(scale, P, "norms");
#undef BACKEND
    if (st) return st;
    kp_dqn_batch *b = &u->batch;
    b->s = calloc(PB * (size_t)u->stack, sizeof *b->s);
    b->s_next = calloc(PB * (size_t)u->stack, sizeof *b->s_next);
    b->action = calloc(PB, sizeof *b->action);
    b->reward = calloc(PB, sizeof *b->reward);
    b->discount = calloc(PB, sizeof *b->discount);
    if (!b->s || !b->s_next || !b->action || !b->reward || !b->discount)
        return kp_fail(err, KP_BAD_CONFIG, "minibatch: out of host memory");
    return KP_OK;
}

static kp_status init_weights(kp_dqn_update *u, const uint64_t *seed, kp_err *err) {
    const kp_layout *l = kp_net_layout(u->net);
    float *member = calloc((size_t)l->N, sizeof *member);
    if (!member) return kp_fail(err, KP_BAD_CONFIG, "initial weights: out of host memory");
    kp_status st = KP_OK;
    for (int p = 0; !st && p < u->P; p++) {
        kp_layout_init(l, seed[p], member);
        size_t bytes = (size_t)l->N * sizeof *member;
        st = kp_backend_upload(u->backend, u->theta + p * l->N, member, bytes, err);
        if (!st) st = kp_backend_upload(u->backend, u->target_theta + p * l->N, member, bytes, err);
    }
    free(member);
    return st;
}

static kp_status add_gather(kp_dqn_update *u, const kp_dqn_update_options *o, kp_pass *pass,
                            const int64_t *index, kp_err *err) {
    return KP_ADD(u->update, err, gather_stack, .P = u->P, .B = u->B, .stack = u->stack,
                  .out = kp_net_input(u->net), .divide = o->divide, .frames = o->frames,
                  .frames_stride = o->frames_stride, .index = index, .y = kp_pass_input(pass));
}

static kp_status build_update(kp_dqn_update *u, const kp_dqn_update_options *o, kp_err *err) {
    int A = o->net.n_actions;
    kp_status st = kp_program_open(&u->update, u->backend, u->P, "dqn update", err);
    if (!st) st = add_gather(u, o, u->target, u->s_next, err);
    if (!st) st = kp_pass_add_forward(u->target, u->update, u->target_theta, err);
    if (!st && o->double_q) st = kp_pass_add_forward(u->online_next, u->update, u->theta, err);
    if (!st) st = add_gather(u, o, u->online, u->s, err);
    if (!st) st = kp_pass_add_forward(u->online, u->update, u->theta, err);
    if (!st)
        st = KP_ADD(u->update, err, td_loss, .P = u->P, .B = u->B, .A = A, .kind = o->loss,
                    .q = kp_pass_output(u->online), .q_next = kp_pass_output(u->target),
                    .q_next_online = o->double_q ? kp_pass_output(u->online_next) : NULL,
                    .action = u->action, .reward = u->reward, .discount = u->discount,
                    .dq = kp_pass_output_gradient(u->online), .td = u->td, .loss = u->loss);
    if (!st)
        st = KP_ADD(u->update, err, td_stats, .P = u->P, .B = u->B, .A = A,
                    .q = kp_pass_output(u->online), .loss = u->loss, .sums = u->sums);
    if (!st) st = kp_pass_add_backward(u->online, u->update, u->theta, u->grad, err);
    if (!st) st = kp_optim_add_update(u->optim, u->update, err);
    if (!st) st = kp_program_seal(u->update, err);
    return st;
}

static kp_status build_copy(kp_dqn_update *u, kp_err *err) {
    kp_status st = kp_program_open(&u->copy, u->backend, u->P, "target copy", err);
    if (!st)
        st = KP_ADD(u->copy, err, copy, .P = u->P, .n = kp_net_layout(u->net)->N, .from = u->theta,
                    .to = u->target_theta);
    if (!st) st = kp_program_seal(u->copy, err);
    return st;
}

static kp_status build_norms(kp_dqn_update *u, kp_err *err) {
    int n_chunks = kp_net_layout(u->net)->n_chunks;
    const float *of[2] = { u->theta, u->grad };
    kp_status st = kp_program_open(&u->norms, u->backend, u->P, "norms", err);
    for (int i = 0; !st && i < 2; i++) {
        st = KP_ADD(u->norms, err, grad_norm_chunks, .P = u->P, .n_chunks = n_chunks, .grad = of[i],
                    .partial = u->partial);
        if (!st)
            st = KP_ADD(u->norms, err, grad_norm_scale, .P = u->P, .n_chunks = n_chunks,
                        .partial = u->partial, .limit = u->limit, .norm = u->norm + i * u->P,
                        .scale = u->scale);
    }
    if (!st) st = kp_program_seal(u->norms, err);
    return st;
}

kp_status kp_dqn_update_open(kp_dqn_update **out, kp_backend *backend,
                             const kp_dqn_update_options *o, kp_err *err) {
    *out = NULL;
    kp_dqn_update *u = calloc(1, sizeof *u);
    if (!u) return kp_fail(err, KP_BAD_CONFIG, "DQN: out of host memory");
    u->backend = backend, u->P = o->P, u->B = o->B, u->stack = o->net.stack;
    kp_net_spec spec;
    kp_dqn_net_spec(&spec, &o->net);
    kp_status st = kp_net_open(&u->net, &spec, err);
    if (!st) st = alloc_all(u, err);
    if (!st) st = init_weights(u, o->seed, err);
    if (!st) st = kp_pass_open(&u->online, u->net, backend, o->P, o->B, 1, err);
    if (!st) st = kp_pass_open_over(&u->target, u->online, err);
    if (!st && o->double_q) st = kp_pass_open_over(&u->online_next, u->online, err);
    if (!st)
        st = kp_optim_open(&u->optim, backend, kp_net_layout(u->net), o->P, &o->optim, u->theta,
                           u->grad, err);
    if (!st) st = build_update(u, o, err);
    if (!st) st = build_copy(u, err);
    if (!st) st = build_norms(u, err);
    if (st) {
        kp_dqn_update_close(u);
        return st;
    }
    *out = u;
    return KP_OK;
}

/* ---- running --------------------------------------------------------------------------------- */

static kp_status upload_batch(kp_dqn_update *u, kp_err *err) {
    size_t PB = (size_t)u->P * (size_t)u->B, indices = PB * (size_t)u->stack;
    const kp_dqn_batch *b = &u->batch;
    kp_status st = kp_backend_upload(u->backend, u->s, b->s, indices * sizeof *b->s, err);
    if (!st)
        st = kp_backend_upload(u->backend, u->s_next, b->s_next, indices * sizeof *b->s_next, err);
    if (!st) st = kp_backend_upload(u->backend, u->action, b->action, PB * sizeof *b->action, err);
    if (!st) st = kp_backend_upload(u->backend, u->reward, b->reward, PB * sizeof *b->reward, err);
    if (!st)
        st = kp_backend_upload(u->backend, u->discount, b->discount, PB * sizeof *b->discount, err);
    return st;
}

kp_status kp_dqn_update_run(kp_dqn_update *u, const uint8_t *active, kp_err *err) {
    kp_status st = upload_batch(u, err);
    if (!st) st = kp_optim_prepare(u->optim, 1, active, err);
    if (!st) st = kp_program_run(u->update, active, err);
    if (!st) st = kp_optim_between(u->optim, 0, active, err);
    return st;
}

kp_status kp_dqn_update_target(kp_dqn_update *u, const uint8_t *active, kp_err *err) {
    return kp_program_run(u->copy, active, err);
}

kp_status kp_dqn_update_norms(kp_dqn_update *u, float *theta_l2, float *grad_l2, kp_err *err) {
    size_t bytes = (size_t)u->P * sizeof(float);
    kp_status st = kp_program_run(u->norms, NULL, err);
    if (!st) st = kp_backend_download(u->backend, theta_l2, u->norm, bytes, err);
    if (!st && grad_l2) st = kp_backend_download(u->backend, grad_l2, u->norm + u->P, bytes, err);
    return st;
}

kp_dqn_batch *kp_dqn_update_batch(kp_dqn_update *u) { return &u->batch; }
const kp_net *kp_dqn_update_net(const kp_dqn_update *u) { return u->net; }
kp_optim *kp_dqn_update_optim(const kp_dqn_update *u) { return u->optim; }
float *kp_dqn_update_theta(const kp_dqn_update *u) { return u->theta; }
float *kp_dqn_update_target_theta(const kp_dqn_update *u) { return u->target_theta; }
const float *kp_dqn_update_grad(const kp_dqn_update *u) { return u->grad; }
kp_td_sums *kp_dqn_update_sums(const kp_dqn_update *u) { return u->sums; }
const float *kp_dqn_update_loss(const kp_dqn_update *u) { return u->loss; }

/* Backward costs two forwards but for the first layer's data gradient, which is not computed. */
double kp_dqn_update_flops(const kp_dqn_update *u) {
    double forward = kp_net_flops(u->net), first = kp_net_layer_flops(u->net, 0);
    return u->B * (forward * (u->online_next ? 5 : 4) - first);
}

void kp_dqn_update_close(kp_dqn_update *u) {
    if (!u) return;
    kp_program_close(u->update);
    kp_program_close(u->copy);
    kp_program_close(u->norms);
    kp_optim_close(u->optim);
    kp_pass_close(u->target);
    kp_pass_close(u->online_next);
    kp_pass_close(u->online);
    kp_net_close(u->net);
    void *memory[] = { u->theta,  u->target_theta, u->grad,     u->s,    u->s_next,
                       u->action, u->reward,       u->discount, u->td,   u->loss,
                       u->sums,   u->partial,      u->limit,    u->norm, u->scale };
    for (size_t i = 0; i < KP_COUNT(memory); i++) kp_backend_release(u->backend, memory[i]);
    free(u->batch.s);
    free(u->batch.s_next);
    free(u->batch.action);
    free(u->batch.reward);
    free(u->batch.discount);
    free(u);
}
