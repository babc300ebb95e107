/* dqn_options.c: see dqn_options.h. The schema's enums stand in the order of their modules'. */
#include "dqn_options.h"

_Static_assert((int)KP_LOSS_MSE == (int)KP_MSE && (int)KP_LOSS_HUBER == (int)KP_HUBER, "dqn.loss");

kp_dqn_net_options kp_dqn_net_options_of(const kp_config *c, int n_actions) {
    return (kp_dqn_net_options){
        .n_actions = n_actions,
        .hidden = c->net.hidden,
        .stack = c->env.stack,
        .side = KP_FRAME_SIDE,
        .padding = (kp_padding)c->net.padding,
        .init = (kp_init)c->net.init,
    };
}

kp_env_options kp_dqn_env_options_of(const kp_config *c, int is_evaluation) {
    return (kp_env_options){
        .game = c->env.game,
        .python = *c->env.python ? c->env.python : NULL,
        .rom_dir = *c->env.rom_dir ? c->env.rom_dir : NULL,
        .n_workers = c->env.workers,
        .stream = is_evaluation ? KP_STREAM_EVAL_ENV : KP_STREAM_ENV,
        .rules = {
            .preprocess = (kp_preprocess)c->env.preprocessing,
            .frame_skip = c->env.frame_skip,
            .noop_max = c->env.noop_max,
            .fire_on_reset = c->env.fire_on_reset,
            .life_loss_ends = is_evaluation ? 0 : c->env.life_loss_ends,
            .sticky = c->env.sticky,
            .max_agent_steps = (int)(is_evaluation ? c->eval.max_agent_steps : c->env.max_agent_steps),
        },
    };
}

kp_evaluator_options kp_dqn_evaluator_options_of(const kp_config *c) {
    return (kp_evaluator_options){
        .episodes = c->eval.episodes,
        .stack = c->env.stack,
        .divide = c->net.input_scale == KP_INPUT_UNIT,
        .env = kp_dqn_env_options_of(c, 1),
        .epsilon = c->eval.epsilon,
    };
}
