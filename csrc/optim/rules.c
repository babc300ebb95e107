/* rules.c: the update rules (presets.md, "Update rules"): what each needs computed on the host for
 * every step, and its operations. */
#include "adam_clip/adam_clip.h"
#include "optim_impl.h"
#include "rmsprop_clip/rmsprop_clip.h"
#include "sgd_clip/sgd_clip.h"

/* What all rules that end in the clip have in common. */
#define COMMON(o)                                                                                  \
    .P = (o)->P, .n_chunks = (o)->layout->n_chunks, .n_tensors = (o)->layout->n_tensors,           \
    .theta = (o)->theta, .grad = (o)->grad, .tensor = (o)->chunk_tensor, .bound = (o)->bound,      \
    .grad_scale = (o)->limits_norm ? (o)->grad_scale : NULL, .hyper = (o)->feed[0].now,            \
    .tally = (o)->tally
#define TERMS(o) .anchor = (o)->anchor, .with_terms = (o)->with_terms

double kp_optim_l2(const kp_optim *o, int member) {
    const kp_optim_member *m = &o->member[member];
    int adds_decay = o->kind == KP_RULE_SGD || o->kind == KP_RULE_RMSPROP;
    return m->l2 + (adds_decay ? m->weight_decay : 0);
}

static void fill_adam(const kp_optim *o, int member, int64_t step, void *hyper) {
    const kp_optim_member *m = &o->member[member];
    double t = (double)step;
    *(kp_adam_hyper *)hyper = (kp_adam_hyper){
        .beta1 = (float)m->beta1,
        .one_minus_beta1 = (float)(1.0 - m->beta1),
        .beta2 = (float)m->beta2,
        .one_minus_beta2 = (float)(1.0 - m->beta2),
        .eps = (float)m->eps,
        .step_size = (float)(m->lr / (1.0 - pow(m->beta1, t))),
        .rsqrt_bc2 = (float)(1.0 / sqrt(1.0 - pow(m->beta2, t))),
        .decay = 1.0f,
        .l2 = (float)kp_optim_l2(o, member),
        .l2init = (float)m->l2init,
    };
}

static void fill_adamw(const kp_optim *o, int member, int64_t step, void *hyper) {
    const kp_optim_member *m = &o->member[member];
    fill_adam(o, member, step, hyper);
    ((kp_adam_hyper *)hyper)->decay = (float)(1.0 - m->lr * m->weight_decay);
}

static kp_status add_adam(kp_optim *o, kp_program *program, kp_err *err) {
    return KP_ADD(program, err, adam_clip, COMMON(o), TERMS(o), .m = o->state[0], .v = o->state[1]);
}

static void fill_sgd(const kp_optim *o, int member, int64_t step, void *hyper) {
    const kp_optim_member *m = &o->member[member];
    (void)step;
    *(kp_sgd_hyper *)hyper = (kp_sgd_hyper){
        .step_size = (float)m->lr,
        .momentum = (float)m->momentum,
        .l2 = (float)kp_optim_l2(o, member),
        .l2init = (float)m->l2init,
    };
}

static kp_status add_sgd(kp_optim *o, kp_program *program, kp_err *err) {
    return KP_ADD(program, err, sgd_clip, COMMON(o), TERMS(o), .u = o->state[0]);
}

static void fill_rmsprop(const kp_optim *o, int member, int64_t step, void *hyper) {
    const kp_optim_member *m = &o->member[member];
    (void)step;
    *(kp_rmsprop_hyper *)hyper = (kp_rmsprop_hyper){
        .beta = (float)m->beta2,
        .one_minus_beta = (float)(1.0 - m->beta2),
        .eps = (float)m->eps,
        .step_size = (float)m->lr,
        .l2 = (float)kp_optim_l2(o, member),
        .l2init = (float)m->l2init,
    };
}

static kp_status add_rmsprop(kp_optim *o, kp_program *program, kp_err *err) {
    return KP_ADD(program, err, rmsprop_clip, COMMON(o), TERMS(o), .v = o->state[0],
                  .mean = o->state[1]);
}

#define HYPER(type, how)                                                                           \
    { .bytes = sizeof(type), .fill = how }
const kp_optim_rule kp_optim_rules[KP_N_RULES] = {
    [KP_RULE_ADAM] = { "adam", { "m", "v" }, HYPER(kp_adam_hyper, fill_adam), add_adam },
    [KP_RULE_ADAMW] = { "adamw", { "m", "v" }, HYPER(kp_adam_hyper, fill_adamw), add_adam },
    [KP_RULE_SGD] = { "sgd", { "u" }, HYPER(kp_sgd_hyper, fill_sgd), add_sgd },
    [KP_RULE_RMSPROP] = { "rmsprop",
                          { "v", "mean" },
                          HYPER(kp_rmsprop_hyper, fill_rmsprop),
                          add_rmsprop },
};
