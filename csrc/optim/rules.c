/* rules.c: the update rules (presets.md, "Update rules"): what each needs computed on the host for
 * every step, and its operations. */
#include "adam_clip/adam_clip.h"
#include "madam_clip/madam_clip.h"
#include "optim_impl.h"
#include "rmsprop_clip/rmsprop_clip.h"
#include "sgd_clip/sgd_clip.h"
#include "upgd/upgd.h"

/* The gradient that the rule sees. Penalties of their own operation have the scale in them. */
static const float *gradient(const kp_optim *o) {
    return o->has.penalties ? o->penalised : o->grad;
}
static const float *scale(const kp_optim *o) {
    return o->has.norm_limit && !o->has.penalties ? o->grad_scale : NULL;
}

/* What all rules have in common: what follows one clips in its place. */
#define COMMON(o)                                                                                  \
    .P = (o)->P, .n_chunks = (o)->layout->n_chunks, .n_tensors = (o)->layout->n_tensors,           \
    .theta = (o)->theta, .grad = gradient(o), .grad_scale = scale(o), .tensor = (o)->chunk_tensor, \
    .bound = (o)->has.shift ? (o)->unbounded : (o)->bound, .hyper = (o)->of_rule->now,             \
    .tally = (o)->tally

/* Terms that are in the rule's loop. */
static int has_terms(const kp_optim *o) { return o->has.terms && !o->has.penalties; }
#define TERMS(o)                                                                                   \
    .anchor = has_terms(o) && !(o)->reference ? (o)->anchor : NULL, .with_terms = has_terms(o)
static float l2(const kp_optim *o, int p) { return has_terms(o) ? (float)kp_optim_l2(o, p) : 0; }
static float l2init(const kp_optim *o, int p) {
    return has_terms(o) ? (float)kp_optim_l2init(o, p) : 0;
}

/* ---- adam, adamw ----------------------------------------------------------------------------- */

static void fill_adam(const kp_optim *o, int p, int64_t step, void *hyper) {
    const kp_optim_member *m = &o->member[p];
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
        .l2 = l2(o, p),
        .l2init = l2init(o, p),
    };
}

static void fill_adamw(const kp_optim *o, int p, int64_t step, void *hyper) {
    const kp_optim_member *m = &o->member[p];
    fill_adam(o, p, step, hyper);
    ((kp_adam_hyper *)hyper)->decay = (float)(1.0 - m->lr * m->weight_decay);
}

static kp_status add_adam(kp_optim *o, kp_program *program, kp_err *err) {
    return KP_ADD(program, err, adam_clip, COMMON(o), TERMS(o), .m = o->state[0], .v = o->state[1]);
}

/* ---- sgd ------------------------------------------------------------------------------------- */

static void fill_sgd(const kp_optim *o, int p, int64_t step, void *hyper) {
    const kp_optim_member *m = &o->member[p];
    (void)step;
    *(kp_sgd_hyper *)hyper = (kp_sgd_hyper){
        .step_size = (float)m->lr,
        .momentum = (float)m->momentum,
        .l2 = l2(o, p),
        .l2init = l2init(o, p),
    };
}

static kp_status add_sgd(kp_optim *o, kp_program *program, kp_err *err) {
    return KP_ADD(program, err, sgd_clip, COMMON(o), TERMS(o), .u = o->state[0]);
}

/* ---- rmsprop --------------------------------------------------------------------------------- */

static void fill_rmsprop(const kp_optim *o, int p, int64_t step, void *hyper) {
    const kp_optim_member *m = &o->member[p];
    (void)step;
    *(kp_rmsprop_hyper *)hyper = (kp_rmsprop_hyper){
        .beta = (float)m->beta2,
        .one_minus_beta = (float)(1.0 - m->beta2),
        .eps = (float)m->eps,
        .step_size = (float)m->lr,
        .l2 = l2(o, p),
        .l2init = l2init(o, p),
    };
}

static kp_status add_rmsprop(kp_optim *o, kp_program *program, kp_err *err) {
    return KP_ADD(program, err, rmsprop_clip, COMMON(o), TERMS(o), .v = o->state[0],
                  .mean = o->state[1]);
}

/* ---- madam ----------------------------------------------------------------------------------- */

static void fill_madam(const kp_optim *o, int p, int64_t step, void *hyper) {
    const kp_optim_member *m = &o->member[p];
    *(kp_madam_hyper *)hyper = (kp_madam_hyper){
        .step_size = (float)m->lr,
        .beta = (float)m->beta2,
        .one_minus_beta = (float)(1.0 - m->beta2),
        .rsqrt_bc = (float)(1.0 / sqrt(1.0 - pow(m->beta2, (double)step))),
    };
}

static kp_status add_madam(kp_optim *o, kp_program *program, kp_err *err) {
    return KP_ADD(program, err, madam_clip, COMMON(o), .v = o->state[0]);
}

/* ---- upgd, adaupgd --------------------------------------------------------------------------- */

static void fill_upgd(const kp_optim *o, int p, int64_t step, void *hyper) {
    const kp_optim_member *m = &o->member[p];
    double t = (double)step;
    *(kp_upgd_hyper *)hyper = (kp_upgd_hyper){
        .step_size = (float)m->lr,
        .decay = (float)(1.0 - m->lr * m->weight_decay),
        .sigma = (float)m->upgd.sigma,
        .beta_utility = (float)m->upgd.beta,
        .one_minus_beta_utility = (float)(1.0 - m->upgd.beta),
        .bc = o->reference ? (float)(1.0 - pow(m->upgd.beta, t)) : 1.0f,
        .beta1 = (float)m->beta1,
        .one_minus_beta1 = (float)(1.0 - m->beta1),
        .beta2 = (float)m->beta2,
        .one_minus_beta2 = (float)(1.0 - m->beta2),
        .eps = (float)m->eps,
        .inverse_bc1 = (float)(1.0 / (1.0 - pow(m->beta1, t))),
        .rsqrt_bc2 = (float)(1.0 / sqrt(1.0 - pow(m->beta2, t))),
    };
}

static kp_status add_upgd(kp_optim *o, kp_program *program, kp_err *err) {
    kp_status st = kp_optim_add_noise(o, program, 0, err);
    if (!st)
        st = KP_ADD(program, err, upgd_utility, .P = o->P, .n_chunks = o->layout->n_chunks,
                    .theta = o->theta, .grad = gradient(o), .grad_scale = scale(o),
                    .hyper = o->of_rule->now, .utility = o->state[0], .largest = o->largest);
    if (!st)
        st = KP_ADD(program, err, upgd_clip, COMMON(o), .utility = o->state[0], .m = o->state[1],
                    .v = o->state[2], .largest = o->largest, .noise = o->noise);
    return st;
}

#define HYPER(type, how) .hyper_bytes = sizeof(type), .fill = how
const kp_optim_rule kp_optim_rules[KP_N_RULES] = {
    [KP_RULE_ADAM] = { "adam", { "m", "v" }, 1, HYPER(kp_adam_hyper, fill_adam), add_adam },
    [KP_RULE_ADAMW] = { "adamw", { "m", "v" }, 1, HYPER(kp_adam_hyper, fill_adamw), add_adam },
    [KP_RULE_SGD] = { "sgd", { "u" }, 1, HYPER(kp_sgd_hyper, fill_sgd), add_sgd },
    [KP_RULE_RMSPROP] = { "rmsprop",
                          { "v", "mean" },
                          1,
                          HYPER(kp_rmsprop_hyper, fill_rmsprop),
                          add_rmsprop },
    [KP_RULE_MADAM] = { "madam", { "v" }, 0, HYPER(kp_madam_hyper, fill_madam), add_madam },
    [KP_RULE_UPGD] = { "upgd", { "utility" }, 0, HYPER(kp_upgd_hyper, fill_upgd), add_upgd },
    [KP_RULE_ADAUPGD] = { "adaupgd",
                          { "utility", "m", "v" },
                          0,
                          HYPER(kp_upgd_hyper, fill_upgd),
                          add_upgd },
};
