/* optim_of.c: see optim_of.h. The schema's enums stand in the order of their modules'. */
#include "optim_of.h"

kp_optim_member kp_optim_member_of(const kp_config *c) {
    return (kp_optim_member){
        .lr = c->optim.lr,
        .beta1 = c->optim.beta1,
        .beta2 = c->optim.beta2,
        .eps = c->optim.eps,
        .momentum = c->optim.momentum,
        .weight_decay = c->optim.weight_decay,
        .grad_norm = c->optim.grad_norm,
        .l2 = c->optim.l2,
        .l2init = c->optim.l2init,
        .shrink = c->optim.shrink,
        .perturb = c->optim.perturb,
        .madam_scale = c->optim.madam_scale,
        .upgd = { .beta = c->optim.upgd.beta, .sigma = c->optim.upgd.sigma },
        .ewc = { .strength = c->optim.ewc.strength, .decay = c->optim.ewc.decay },
        .si = { .strength = c->optim.si.strength,
                .xi = c->optim.si.xi,
                .every = c->optim.si.every },
        .clip = c->optim.clip,
    };
}

kp_optim_options kp_optim_options_of(const kp_config *c, const kp_optim_member *member,
                                     const uint64_t *seed) {
    return (kp_optim_options){
        .rule = (kp_rule)c->optim.rule,
        .centered = c->optim.centered,
        .reference = c->optim.variant == KP_VARIANT_REFERENCE,
        .noise = (kp_noise_kind)c->optim.noise,
        .seed = seed,
        .member = member,
    };
}
