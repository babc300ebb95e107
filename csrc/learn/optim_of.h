/* optim_of.h: from configurations to an optimizer's options; every learner trains by the same rules. */
#pragma once
#include "config/config.h"
#include "optim/optim.h"

kp_optim_member kp_optim_member_of(const kp_config *config);

/* What members have in common; member and seed: [P], borrowed. */
kp_optim_options kp_optim_options_of(const kp_config *config, const kp_optim_member *member,
                                     const uint64_t *seed);
