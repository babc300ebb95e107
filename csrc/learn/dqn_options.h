/* dqn_options.h: from a configuration to what the parts of the DQN learner are opened with; shared
 * with `kappa eval`, which plays a trained network without the learner. */
#pragma once
#include "config/config.h"
#include "dqn_update.h"
#include "env/env.h"
#include "evaluate.h"

kp_dqn_net_options kp_dqn_net_options_of(const kp_config *config, int n_actions);

/* The training games' rules, or those of evaluation: lives and the cap differ. n_envs stays 0. */
kp_env_options kp_dqn_env_options_of(const kp_config *config, int is_evaluation);
/* What the configuration says; P, seed, net and theta are the caller's to fill in. */
kp_evaluator_options kp_dqn_evaluator_options_of(const kp_config *config);
