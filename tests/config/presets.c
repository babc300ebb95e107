/* presets.c: every preset is the published setting it is named after. */
#include "config/config.h"

#include <criterion/criterion.h>
#include <string.h>

enum { N = 4 };
static const char *const names[N] = { "dqn-dopamine", "dqn-tianshou", "dqn-paper", "dqn-cleanrl" };

/* clang-format off */
static const struct { const char *key, *want[N]; } rows[] = {
    { "algorithm",                 { "dqn", "dqn", "dqn", "dqn" } },
    { "train.agent_steps",         { "50000000", "10000000", "12500000", "10000000" } },
    { "train.replay_ratio",        { "0.25", "0.1", "0.1", "0.25" } },
    { "net.init",                  { "xavier", "fan_in", "fan_in", "fan_in" } },
    { "net.padding",               { "same", "valid", "valid", "valid" } },
    { "net.hidden",                { "512", "512", "512", "512" } },
    { "net.input_scale",           { "unit", "raw", "raw", "unit" } },
    { "dqn.loss",                  { "mse", "mse", "mse", "mse" } },
    { "dqn.double",                { "false", "true", "false", "false" } },
    { "dqn.n_step",                { "1", "3", "3", "1" } },
    { "dqn.gamma",                 { "0.99", "0.99", "0.99", "0.99" } },
    { "dqn.batch",                 { "32", "32", "32", "32" } },
    { "optim.rule",                { "adam", "adam", "adam", "adam" } },
    { "optim.lr",                  { "6.25e-05", "0.0001", "0.0001", "0.0001" } },
    { "optim.beta1",               { "0.9", "0.9", "0.9", "0.9" } },
    { "optim.beta2",               { "0.999", "0.999", "0.999", "0.999" } },
    { "optim.eps",                 { "0.00015", "1e-08", "1e-08", "1e-08" } },
    { "optim.grad_norm",           { "none", "none", "none", "none" } },
    { "optim.clip.kappa",          { "none", "none", "none", "none" } },
    { "epsilon.start",             { "1", "1", "1", "1" } },
    { "epsilon.end",               { "0.01", "0.05", "0.05", "0.01" } },
    { "epsilon.decay_agent_steps", { "250000", "1000000", "1000000", "1000000" } },
    { "epsilon.decay_from",        { "first_update", "start", "start", "start" } },
    { "env.count",                 { "1", "10", "1", "1" } },
    { "env.preprocessing",         { "dopamine", "tianshou", "tianshou", "cleanrl" } },
    { "env.frame_skip",            { "4", "4", "4", "4" } },
    { "env.stack",                 { "4", "4", "4", "4" } },
    { "env.sticky",                { "0.25", "0", "0", "0" } },
    { "env.noop_max",              { "0", "30", "30", "30" } },
    { "env.fire_on_reset",         { "false", "true", "true", "true" } },
    { "env.life_loss_ends",        { "false", "true", "true", "true" } },
    { "env.max_agent_steps",       { "27000", "27000", "27000", "27000" } },
    { "env.clip_rewards",          { "true", "true", "true", "true" } },
    { "buffer.transitions",        { "1000000", "100000", "1000000", "1000000" } },
    { "buffer.min_transitions",    { "20000", "320", "32", "80000" } },
    { "target.period",             { "8000", "500", "500", "1000" } },
    { "target.unit",               { "agent_steps", "updates", "updates", "agent_steps" } },
    { "eval.epsilon",              { "0.001", "0.005", "0", "0" } },
    { "eval.max_agent_steps",      { "27000", "27000", "27000", "27000" } },
};
/* clang-format on */

Test(presets, values) {
    cr_assert(kp_n_presets() == N);
    for (int p = 0; p < N; p++) {
        kp_config c;
        kp_err err = { "" };
        cr_expect_str_eq(kp_preset_at(p)->name, names[p]);
        cr_assert(!kp_config_load(&c, NULL, names[p], 0, NULL, &err), "%s", err.text);
        cr_expect_str_eq(c.preset, names[p]);
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
            char got[KP_CONFIG_TEXT];
            kp_config_get(&c, kp_key_find(rows[i].key), got);
            cr_expect(!strcmp(got, rows[i].want[p]), "%s: %s is %s, want %s", names[p], rows[i].key,
                      got, rows[i].want[p]);
        }
    }
}

/* A preset pins what its name promises, whatever the defaults become. */
Test(presets, no_pinned_value_is_a_default) {
    for (int p = 0; p < N; p++) {
        kp_config c;
        kp_origins o;
        cr_assert(!kp_config_load(&c, &o, names[p], 0, NULL, NULL));
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
            if (strcmp(rows[i].key, "optim.clip.kappa"))
                cr_expect(!strncmp(o.text[kp_key_find(rows[i].key)], "preset ", 7), "%s: %s",
                          names[p], rows[i].key);
    }
}

Test(presets, open_with_their_source) {
    for (int p = 0; p < N; p++) cr_expect(kp_preset_at(p)->text[0] == '#', "%s", names[p]);
}
