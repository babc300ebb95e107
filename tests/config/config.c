/* config.c: what configurations refuse, with the whole message; what they write reads back. */
#include "config/config.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HEAD   "schema: 1\n"
#define STREAM HEAD "base: stream-input-permuted-mnist\n"

static const struct {
    const char *name, *text, *want;
} bad_files[] = {
    { "a misspelt key", HEAD "optim.clip.kapa: 2\n",
      "f.yaml:2: optim.clip.kapa is not a key; did you mean optim.clip.kappa?" },
    { "a misspelt key in a map", HEAD "optim:\n  clip:\n    kapa: 2\n",
      "f.yaml:4: optim.clip.kapa is not a key; did you mean optim.clip.kappa?" },
    { "a key without its group", HEAD "kappa: 2\n",
      "f.yaml:2: kappa is not a key; did you mean optim.clip.kappa?" },
    { "a key like none", HEAD "quite.different: 2\n",
      "f.yaml:2: quite.different is not a key; kappa config --reference lists them all" },
    { "a repeated key", HEAD "seed: 1\nseed: 2\n", "f.yaml:3: seed is set twice, first in line 2" },
    { "a key repeated in another spelling", HEAD "optim: { lr: 1 }\noptim.lr: 2\n",
      "f.yaml:3: optim.lr is set twice, first in line 2" },
    { "letters after a number", HEAD "optim.lr: 1e-4x\n",
      "f.yaml:2: optim.lr: seen '1e-4x', expected a number above 0, at most 1000" },
    { "a fraction for a whole number", HEAD "dqn.n_step: 3.5\n",
      "f.yaml:2: dqn.n_step: seen '3.5', expected a whole number from 1 to 100" },
    { "yes for true", HEAD "dqn.double: yes\n",
      "f.yaml:2: dqn.double: seen 'yes', expected true or false" },
    { "a name outside the list", HEAD "dqn.loss: l1\n",
      "f.yaml:2: dqn.loss: seen 'l1', expected one of mse|huber" },
    { "out of range", HEAD "dqn.gamma: 1.5\n",
      "f.yaml:2: dqn.gamma: seen '1.5', expected a number from 0 to 1" },
    { "not a number", HEAD "optim.lr: nan\n",
      "f.yaml:2: optim.lr: seen 'nan', expected a number above 0, at most 1000" },
    { "a number after a number", HEAD "optim.lr: 1e-4-5\n",
      "f.yaml:2: optim.lr: seen '1e-4-5', expected a number above 0, at most 1000" },
    { "beyond every double", HEAD "checkpoint.interval_seconds: 1e999\n",
      "f.yaml:2: checkpoint.interval_seconds: seen '1e999', expected a number from 0 to "
      "1000000000" },
    { "a step size of 0", HEAD "optim.lr: 0\n",
      "f.yaml:2: optim.lr: seen '0', expected a number above 0, at most 1000" },
    { "a hexadecimal fraction", HEAD "dqn.gamma: 0x1p-1\n",
      "f.yaml:2: dqn.gamma: seen '0x1p-1', expected a number from 0 to 1" },
    { "hexadecimal", HEAD "seed: 0x10\n",
      "f.yaml:2: seed: seen '0x10', expected a whole number from 0 to 18446744073709551615" },
    { "a seed beyond 64 bits", HEAD "seed: 18446744073709551616\n",
      "f.yaml:2: seed: seen '18446744073709551616', expected a whole number from 0 to "
      "18446744073709551615" },
    { "nothing", HEAD "optim.lr:\n",
      "f.yaml:2: optim.lr: seen nothing, expected a number above 0, at most 1000" },
    { "a list", HEAD "seed: [1, 2]\n", "f.yaml:2: seed: seen a list, expected one value" },
    { "a study", HEAD "grid: { seed: 0..4 }\n",
      "f.yaml: a study (it has a grid), expected the configuration of one run; kappa sweep f.yaml" },
    { "an alias", HEAD "env.count: &a 2\nenv.stack: *a\n",
      "f.yaml:3: env.stack: seen an alias (*name), which is not supported, expected one value" },
    { "kappa 0", HEAD "optim.clip.kappa: 0\n",
      "f.yaml:2: optim.clip.kappa: seen '0', expected none (no clipping), a number above 0, or "
      "such values by name: "
      "{hidden: 5, output: 1.5}" },
    { "a kappa below 0 by name", HEAD "optim.clip.kappa: { hidden: -1 }\n",
      "f.yaml:2: optim.clip.kappa: seen '{hidden: -1}', expected none (no clipping), a number "
      "above 0, or such values "
      "by name: {hidden: 5, output: 1.5}" },
    { "the same name twice", HEAD "optim.clip.kappa: { fc1: 1, fc1: 2 }\n",
      "f.yaml:2: optim.clip.kappa: seen '{fc1: 1, fc1: 2}', the same name twice; expected none (no "
      "clipping), a number "
      "above 0, or such values by name: {hidden: 5, output: 1.5}" },
    { "no schema", "seed: 1\n",
      "f.yaml: `schema: 1` is missing; every configuration file begins with it" },
    { "an empty file", "",
      "f.yaml: `schema: 1` is missing; every configuration file begins with it" },
    { "comments alone", "# nothing\n\n  # here",
      "f.yaml: `schema: 1` is missing; every configuration file begins with it" },
    { "two documents", HEAD "---\nseed: 2\n",
      "f.yaml: two documents (---) in one file, expected one" },
    { "another schema", "schema: 2\n", "f.yaml:1: schema: seen '2', this program reads 1" },
    { "a list at the top", "- 1\n", "f.yaml: expected a map of keys" },
    { "an unknown base", HEAD "base: dqn-dopamin\n",
      "f.yaml:2: base: dqn-dopamin is neither a preset (dqn-dopamine, dqn-tianshou, dqn-paper, "
      "dqn-cleanrl, stream-input-permuted-mnist, stream-input-permuted-fashion, "
      "stream-label-permuted-emnist, stream-label-permuted-mini-imagenet) nor a file "
      "(NAME.yaml)" },
    { "a start beyond the buffer", HEAD "buffer: { transitions: 100, min_transitions: 101 }\n",
      "buffer.min_transitions is 101, more than buffer.transitions, 100: the first update would "
      "never come" },
    { "a start below one batch", HEAD "buffer.min_transitions: 31\n",
      "buffer.min_transitions is 31, less than dqn.batch, 32" },
    { "a buffer too small for its environments",
      HEAD "env.count: 20\nbuffer: { transitions: 99, min_transitions: 32 }\n",
      "buffer.transitions is 99: each of 20 environments needs 5, dqn.n_step + env.stack" },
    { "an end before the first update", HEAD "train.agent_steps: 19999\n",
      "train.agent_steps is 19999: training would end before its first update "
      "(buffer.min_transitions is 20000)" },
    { "clip once, but when?", HEAD "optim.clip.when: once\n",
      "optim.clip.when is once: say after which update in optim.clip.at (1 or later)" },
    { "a setting of another algorithm", HEAD "algorithm: stream\nenv.game: pong\n",
      "f.yaml:3: env.game is a setting of dqn, and the algorithm here is stream" },
    { "the same before the algorithm", HEAD "env.game: pong\nalgorithm: stream\n",
      "f.yaml:2: env.game is a setting of dqn, and the algorithm here is stream" },
    { "the same over a base", HEAD "base: dqn-paper\nstream.task_samples: 100\n",
      "f.yaml:3: stream.task_samples is a setting of stream, and the algorithm here is dqn" },
    { "widths that are none", STREAM "net.widths: 300,150\n",
      "net.widths: seen '300,150', expected units of 1 to 7 hidden layers, such as 300-150, each "
      "at most 99999" },
    { "a width of 0", STREAM "net.widths: 300-0\n",
      "net.widths: seen '300-0', expected units of 1 to 7 hidden layers, such as 300-150, each at "
      "most 99999" },
    { "eight widths", STREAM "net.widths: 1-2-3-4-5-6-7-8\n",
      "net.widths: seen '1-2-3-4-5-6-7-8', expected units of 1 to 7 hidden layers, such as "
      "300-150, each at most 99999" },
    { "files of nowhere", STREAM "data.set: custom\n",
      "data.set is custom: say in data.dir where its files are" },
    { "permutations of nothing", STREAM "stream.problem: stationary\ndata.permutations: a.npy\n",
      "data.permutations: a stationary stream (stream.problem) permutes nothing" },
    { "units that cannot grow", STREAM "optim: { rule: madam, redo.every: 100 }\n",
      "optim.rule: madam multiplies weights, so it could not use a unit of optim.redo.every, whose "
      "outgoing weights begin at 0" },
    { "too many tasks", STREAM "train.samples: 9007199254740992\nstream.task_samples: 1\n",
      "stream.task_samples is 1: more than 1073741824 tasks in 9007199254740992 samples" },
    { "no such device", HEAD "device: gpu\n",
      "device: seen 'gpu', expected auto, cpu, cuda or cuda:N" },
};

Test(config, bad_files) {
    for (size_t i = 0; i < sizeof bad_files / sizeof *bad_files; i++) {
        kp_config c;
        kp_err err = { "" };
        kp_status st = kp_config_from_text(&c, NULL, bad_files[i].text, "f.yaml", &err);
        cr_expect(st == KP_BAD_CONFIG, "%s: status %d", bad_files[i].name, st);
        cr_expect(!strcmp(err.text, bad_files[i].want), "%s: got  '%s'\nwant '%s'",
                  bad_files[i].name, err.text, bad_files[i].want);
    }
}

Test(config, broken_yaml_names_its_line) {
    kp_config c;
    kp_err err = { "" };
    cr_assert(kp_config_from_text(&c, NULL, HEAD "seed: [1\nfoo: }\n", "f.yaml", &err) ==
              KP_BAD_CONFIG);
    cr_expect(!strncmp(err.text, "f.yaml:3: not YAML: ", 20), "%s", err.text);
}

static const struct {
    const char *name, *arg, *want;
} bad_args[] = {
    { "no value", "seed", "command line: seed: expected key=value, such as optim.clip.kappa=2" },
    { "no key", "=3", "command line: =3: expected key=value, such as optim.clip.kappa=2" },
    { "a misspelt key", "optim.clip.kapa=2",
      "command line: optim.clip.kapa is not a key; did you mean optim.clip.kappa?" },
    { "a bad value", "optim.lr=1e-4x",
      "command line: optim.lr: seen '1e-4x', expected a number above 0, at most 1000" },
    { "a blank before a number", "seed= 3",
      "command line: seed: seen ' 3', expected a whole number from 0 to 18446744073709551615" },
    { "a number beyond int", "env.count=4294967297",
      "command line: env.count: seen '4294967297', expected a whole number from 1 to 1024" },
    { "text that no YAML file can hold", "run.name=\xff",
      "command line: run.name: seen '\xff', which is not UTF-8, expected text of at most 127 bytes" },
    { "half of a UTF-16 pair", "run.name=\xed\xa0\x80",
      "command line: run.name: seen '\xed\xa0\x80', which is not UTF-8, expected text of at most "
      "127 bytes" },
    { "an eps that divides 0 by 0", "optim.eps=0",
      "command line: optim.eps: seen '0', expected a number from 1e-37 to 1000" },
    { "a weight decay that is none of the rule's", "optim.weight_decay=0.5",
      "optim.weight_decay is 0.5, and optim.rule adam has none: set optim.l2, or "
      "optim.rule=adamw" },
    { "a momentum that is none of the rule's", "optim.momentum=0.9",
      "optim.momentum is 0.9, and optim.rule adam has none: it is of sgd" },
    { "centered, and not rmsprop", "optim.centered=true",
      "optim.centered is true, and optim.rule is adam: it is of rmsprop" },
};

Test(config, bad_args) {
    for (size_t i = 0; i < sizeof bad_args / sizeof *bad_args; i++) {
        kp_config c;
        kp_err err = { "" };
        kp_status st = kp_config_load(&c, NULL, "dqn-dopamine", 1, &bad_args[i].arg, &err);
        cr_expect(st == KP_BAD_CONFIG, "%s: status %d", bad_args[i].name, st);
        cr_expect(!strcmp(err.text, bad_args[i].want), "%s: got '%s'", bad_args[i].name, err.text);
    }
}

static const char *origin(const kp_origins *o, const char *key) {
    return o->text[kp_key_find(key)];
}

static void put_file(const char *path, const char *text) {
    FILE *f = fopen(path, "w");
    cr_assert(f && fputs(text, f) >= 0 && !fclose(f));
}

Test(config, later_layers_win_and_are_remembered) {
    char dir[] = "/tmp/kp-config-XXXXXX", base[64], file[64];
    cr_assert(mkdtemp(dir));
    snprintf(base, sizeof base, "%s/base.yaml", dir);
    snprintf(file, sizeof file, "%s/pong.yaml", dir);
    put_file(base, HEAD "base: dqn-tianshou\nenv.game: qbert\nenv.stack: 2\n");
    put_file(file, HEAD "base: base.yaml\nenv:\n  game: breakout\nseed: 5\n");
    const char *args[] = { "seed=6", "optim.clip.kappa={hidden: 5, output: 1.5}" };
    kp_config c;
    kp_origins o;
    kp_err err = { "" };
    kp_status st = kp_config_load(&c, &o, file, 2, args, &err);
    cr_assert(!st, "%s", err.text);
    char want[128];
    cr_expect_str_eq(c.preset, "dqn-tianshou");
    cr_expect_str_eq(c.env.game, "breakout");
    snprintf(want, sizeof want, "%s:4", file);
    cr_expect_str_eq(origin(&o, "env.game"), want);
    cr_expect(c.env.stack == 2);
    snprintf(want, sizeof want, "%s:4", base);
    cr_expect_str_eq(origin(&o, "env.stack"), want);
    cr_expect(c.seed == 6);
    cr_expect_str_eq(origin(&o, "seed"), "command line");
    cr_expect_str_eq(origin(&o, "optim.lr"), "preset dqn-tianshou");
    cr_expect_str_eq(origin(&o, "checkpoint.keep"), "default");
    cr_expect(isinf(c.optim.clip.kappa) && c.optim.clip.n_named == 2);
    cr_expect_str_eq(c.optim.clip.named[1].name, "output");
    cr_expect(c.optim.clip.named[1].kappa == 1.5);

    put_file(base, HEAD "base: pong.yaml\n");
    cr_expect(kp_config_load(&c, &o, file, 0, NULL, &err) == KP_BAD_CONFIG);
    cr_expect(strstr(err.text, "based on each other"), "%s", err.text);
    remove(base);
    st = kp_config_load(&c, &o, file, 0, NULL, &err);
    cr_expect(st == KP_STORAGE && strstr(err.text, "pong.yaml:2: base: ") &&
                  strstr(err.text, "cannot be read"),
              "%s", err.text);
    remove(file);
    rmdir(dir);
}

/* A base may be of another algorithm: what it set for that is forgotten, and set for this at will.
 */
Test(config, a_file_may_change_the_algorithm) {
    char dir[] = "/tmp/kp-config-XXXXXX", file[64];
    cr_assert(mkdtemp(dir));
    snprintf(file, sizeof file, "%s/s.yaml", dir);
    put_file(file, HEAD "base: dqn-tianshou\nalgorithm: stream\nstream.task_samples: 7\n");
    kp_config c, standard, back;
    kp_origins o;
    kp_err err = { "" };
    char *text = NULL;
    const char *args[] = { "net.widths=5-6" };
    cr_assert(!kp_config_load(&c, &o, file, 1, args, &err), "%s", err.text);
    kp_config_defaults(&standard, NULL);
    for (int i = 0; i < kp_n_keys(); i++)
        if (!kp_key_is_of(kp_key_at(i)->key, KP_ALGORITHM_STREAM)) {
            cr_expect(kp_config_same(&c, &standard, i), "%s", kp_key_at(i)->key);
            cr_expect_str_eq(o.text[i], "default", "%s", kp_key_at(i)->key);
        }
    cr_expect(c.optim.lr == 1e-4 && c.net.init == 0 && c.stream.task_samples == 7);
    cr_expect_str_eq(origin(&o, "optim.lr"), "preset dqn-tianshou");
    cr_assert(!kp_config_write(&c, &o, &text, &err));
    cr_expect(!strstr(text, "env:") && !strstr(text, "replay_ratio") && strstr(text, "\ndata:\n") &&
                  strstr(text, "  widths: 5-6  # command line\n"),
              "%s", text);
    cr_assert(!kp_config_from_text(&back, NULL, text, "config.yaml", &err), "%s", err.text);
    cr_expect(!memcmp(&c, &back, sizeof c), "%s", text);
    free(text);
    const char *bad[] = { "algorithm=dqn", "net.widths=5" };
    cr_expect(kp_config_load(&c, NULL, file, 2, bad, &err) == KP_BAD_CONFIG);
    cr_expect_str_eq(err.text, "command line: net.widths is a setting of stream, and the algorithm "
                               "here is dqn");
    kp_config_defaults(&c, NULL);
    cr_assert(!kp_config_set(&c, NULL, "net.widths", "5", "test", NULL)); /* as a grid may */
    cr_expect(kp_config_check(&c, &err) == KP_BAD_CONFIG);
    cr_expect_str_eq(err.text, "net.widths is a setting of stream, and the algorithm here is dqn");
    remove(file);
    rmdir(dir);
}

static const struct {
    int n;
    const char *args[4], *want;
} named[] = {
    { 1, { "optim.clip.kappa=1" }, "input_permuted-mnist-adam-kappa1-s0" },
    { 3,
      { "optim.rule=sgd", "stream.problem=stationary", "population.size=3" },
      "stationary-mnist-sgd-kappanone-s0-2" },
    { 1, { "run.name=a" }, "a" },
};

Test(config, names_of_streams) {
    for (size_t i = 0; i < sizeof named / sizeof *named; i++) {
        kp_config c;
        kp_err err = { "" };
        char name[128];
        cr_assert(!kp_config_load(&c, NULL, "stream-input-permuted-mnist", named[i].n,
                                  named[i].args, &err),
                  "%s", err.text);
        kp_config_name(&c, name, sizeof name);
        cr_expect_str_eq(name, named[i].want);
    }
}

/* Every type, with values whose shortest decimal form is long. */
Test(config, written_configurations_read_back_to_the_bit) {
    const char *args[] = { "seed=18446744073709551600",
                           "optim.lr=0.1000000000000000055511151231257827",
                           "optim.eps=4.9406564584124654e-37",
                           "train.replay_ratio=0.30000000000000004",
                           "optim.grad_norm=10",
                           "optim.clip.kappa={fc1.weight: 3.0000000000000004, fc1: none}",
                           "run.name=a \"b\" \\c # d: e",
                           "run.dir=",
                           "env.python=null",
                           "train.agent_steps=9007199254740992" };
    kp_config c, back;
    kp_origins o;
    kp_err err = { "" };
    char *text = NULL, *explained = NULL;
    memset(&back, 0xA5, sizeof back);
    cr_assert(!kp_config_load(&c, &o, "dqn-paper", sizeof args / sizeof *args, args, &err), "%s",
              err.text);
    cr_assert(!kp_config_write(&c, &o, &text, &err));
    cr_assert(!kp_config_from_text(&back, NULL, text, "config.yaml", &err), "%s\n%s", err.text,
              text);
    cr_expect(!memcmp(&c, &back, sizeof c), "%s", text);
    cr_expect(strstr(text, "  lr: 0.1  # command line\n"), "%s", text);
    cr_expect(strstr(text, "    scale: fan_in  # default\n"), "%s", text);
    cr_expect(strstr(text, "  period: 500  # preset dqn-tianshou\n"), "%s", text);

    cr_assert(!kp_config_explain(&c, &o, &explained, &err));
    memset(&back, 0xA5, sizeof back);
    cr_assert(!kp_config_from_text(&back, NULL, explained, "config.yaml", &err), "%s", err.text);
    cr_expect(!memcmp(&c, &back, sizeof c));
    cr_expect(strstr(explained,
                     "# Step size.\n  # a number above 0, at most 1000; default 6.25e-05\n"),
              "%s", explained);
    free(text);
    free(explained);
}

Test(config, reference_has_every_key) {
    char *text = NULL;
    cr_assert(!kp_config_reference(&text, NULL));
    for (int i = 0; i < kp_n_keys(); i++) {
        char cell[128];
        snprintf(cell, sizeof cell, "\n| `%s` | ", kp_key_at(i)->key);
        cr_expect(strstr(text, cell), "%s", kp_key_at(i)->key);
        cr_expect(kp_key_find(kp_key_at(i)->key) == i, "%s stands twice in the table",
                  kp_key_at(i)->key);
    }
    int bars = 0;
    for (char *line = text; *line; line++) {
        if (*line == '|') bars++;
        if (*line == '\n') {
            cr_expect(bars == 6, "a row of %d bars", bars);
            bars = 0;
        }
    }
    free(text);
}

/* What a population's members may differ in: these and no others. */
Test(config, per_member_keys) {
    static const char *const want[] = {
        "seed",
        "optim.lr",
        "optim.beta1",
        "optim.beta2",
        "optim.eps",
        "optim.momentum",
        "optim.weight_decay",
        "optim.l2",
        "optim.l2init",
        "optim.shrink",
        "optim.perturb",
        "optim.madam_scale",
        "optim.upgd.beta",
        "optim.upgd.sigma",
        "optim.ewc.strength",
        "optim.ewc.decay",
        "optim.si.strength",
        "optim.si.xi",
        "optim.cbp.rate",
        "optim.cbp.decay",
        "optim.cbp.maturity",
        "optim.redo.tau",
        "optim.grad_norm",
        "optim.clip.kappa",
        "optim.clip.scale",
        "optim.clip.bias",
        "optim.clip.norm",
        "optim.clip.logstd",
        "optim.clip.noisy_sigma",
        "optim.clip.last_layer",
        "optim.clip.when",
        "optim.clip.at",
    };
    size_t n = 0;
    for (int i = 0; i < kp_n_keys(); i++)
        if (kp_key_at(i)->per_member) {
            cr_assert(n < sizeof want / sizeof *want);
            cr_expect_str_eq(kp_key_at(i)->key, want[n]);
            n++;
        }
    cr_expect(n == sizeof want / sizeof *want, "%zu keys", n);
}

Test(config, a_failed_load_leaves_the_configuration_alone) {
    kp_config c, before;
    kp_config_defaults(&c, NULL);
    before = c;
    const char *args[] = { "seed=3", "optim.lr=-1" };
    cr_expect(kp_config_load(&c, NULL, NULL, 2, args, NULL) == KP_BAD_CONFIG);
    cr_expect(!memcmp(&c, &before, sizeof c));
}

Test(config, members_take_the_next_seeds) {
    kp_config c;
    const char *args[] = { "seed=7", "population.size=4" };
    cr_assert(!kp_config_load(&c, NULL, "dqn-dopamine", 2, args, NULL));
    kp_config member = kp_config_member(&c, 3);
    cr_expect(member.seed == 10 && member.population.size == 1);
    int seed = kp_key_find("seed"), lr = kp_key_find("optim.lr");
    cr_expect(!kp_config_same(&c, &member, seed) && kp_config_same(&c, &member, lr));
}
