/* presets.c: every preset is the published setting it is named after. */
#include "config/config.h"

#include <criterion/criterion.h>
#include <string.h>

enum { N = 4 };
typedef struct {
    const char *key, *want[N];
} row;
static const char *const dqn_names[N] = { "dqn-dopamine", "dqn-tianshou", "dqn-paper",
                                          "dqn-cleanrl" };
static const char *const stream_names[N] = { "stream-input-permuted-mnist",
                                             "stream-input-permuted-fashion",
                                             "stream-label-permuted-emnist",
                                             "stream-label-permuted-mini-imagenet" };

/* clang-format off */
static const row dqn_rows[] = {
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
static const row stream_rows[] = {
    { "algorithm",           { "stream", "stream", "stream", "stream" } },
    { "train.samples",       { "1000000", "1000000", "1000000", "1000000" } },
    { "data.set",            { "mnist", "fashion-mnist", "emnist-balanced", "mini-imagenet" } },
    { "data.normalize",      { "symmetric", "symmetric", "symmetric", "none" } },
    { "data.order",          { "shuffled", "shuffled", "shuffled", "shuffled" } },
    { "stream.problem",      { "input_permuted", "input_permuted", "label_permuted", "label_permuted" } },
    { "stream.task_samples", { "5000", "5000", "2500", "2500" } },
    { "net.init",            { "fan_in", "fan_in", "fan_in", "fan_in" } },
    { "net.widths",          { "300-150", "300-150", "300-150", "300-150" } },
    { "net.activation",      { "leaky_relu", "leaky_relu", "leaky_relu", "leaky_relu" } },
    { "net.layer_norm",      { "false", "false", "false", "false" } },
    { "optim.rule",          { "adam", "adam", "adam", "adam" } },
    { "optim.lr",            { "0.0001", "0.0001", "0.0001", "0.0001" } },
    { "optim.beta1",         { "0.9", "0.9", "0.9", "0.9" } },
    { "optim.beta2",         { "0.999", "0.999", "0.999", "0.999" } },
    { "optim.eps",           { "1e-08", "1e-08", "1e-08", "1e-08" } },
    { "optim.grad_norm",     { "none", "none", "none", "none" } },
    { "optim.clip.kappa",    { "none", "none", "none", "none" } },
};
/* clang-format on */

static const struct {
    const char *const *names;
    const row *rows;
    size_t n;
} families[] = {
    { dqn_names, dqn_rows, sizeof dqn_rows / sizeof *dqn_rows },
    { stream_names, stream_rows, sizeof stream_rows / sizeof *stream_rows },
};
enum { FAMILIES = sizeof families / sizeof *families };

/* A preset pins what its name promises, whatever the defaults become. */
static void expect_value(const kp_config *c, const kp_origins *o, const char *preset, const row *r,
                         const char *want) {
    char got[KP_CONFIG_TEXT];
    int key = kp_key_find(r->key);
    kp_config_get(c, key, got);
    cr_expect(!strcmp(got, want), "%s: %s is %s, want %s", preset, r->key, got, want);
    if (strcmp(r->key, "optim.clip.kappa"))
        cr_expect(!strncmp(o->text[key], "preset ", 7), "%s: %s", preset, r->key);
}

Test(presets, values) {
    cr_assert(kp_n_presets() == FAMILIES * N);
    for (int f = 0; f < FAMILIES; f++)
        for (int p = 0; p < N; p++) {
            const char *name = families[f].names[p];
            kp_config c;
            kp_origins o;
            kp_err err = { "" };
            cr_expect_str_eq(kp_preset_at(f * N + p)->name, name);
            cr_assert(!kp_config_load(&c, &o, name, 0, NULL, &err), "%s", err.text);
            cr_expect_str_eq(c.preset, name);
            for (size_t i = 0; i < families[f].n; i++)
                expect_value(&c, &o, name, &families[f].rows[i], families[f].rows[i].want[p]);
        }
}

Test(presets, open_with_their_source) {
    for (int p = 0; p < kp_n_presets(); p++)
        cr_expect(kp_preset_at(p)->text[0] == '#', "%s", kp_preset_at(p)->name);
}
