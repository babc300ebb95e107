/* grid.c: studies expand in a fixed order, refuse what would run twice or never, and pack by shape.
 */
#include "sweep/grid.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "sweep/pack.h"

#define HEAD "schema: 1\nbase: dqn-dopamine\n"

static kp_study study_of(const char *text) {
    kp_study s;
    kp_err err = { "" };
    cr_assert(!kp_study_from_text(&s, text, "s.yaml", &err), "%s", err.text);
    return s;
}

Test(grid, last_key_is_fastest_and_names_tell_runs_apart) {
    static const char *const want[] = {
        "pong-kappanone-rr0.25-s0",  "pong-kappanone-rr0.25-s1", "pong-kappanone-rr1-s0",
        "pong-kappanone-rr1-s1",     "pong-kappa2-rr0.25-s0",    "pong-kappa2-rr0.25-s1",
        "pong-kappa2-rr1-s0",        "pong-kappa2-rr1-s1",       "qbert-kappanone-rr0.25-s0",
        "qbert-kappanone-rr0.25-s1", "qbert-kappanone-rr1-s0",   "qbert-kappanone-rr1-s1",
        "qbert-kappa2-rr0.25-s0",    "qbert-kappa2-rr0.25-s1",   "qbert-kappa2-rr1-s0",
        "qbert-kappa2-rr1-s1",
    };
    kp_study s = study_of(
        "# Does it help?\n" HEAD "set: { train.agent_steps: 100000, env: { stack: 2 } }\n"
        "grid:\n  env.game: [pong, qbert]\n  optim.clip.kappa: [none, 2]  # none: the baseline\n"
        "  train.replay_ratio: [0.25, 1]\n  seed: 0..1\n  dqn.batch: 16\n");
    cr_assert(s.n == 16, "%d", s.n);
    for (int i = 0; i < s.n; i++) {
        const kp_config *c = &s.run[i];
        cr_expect(!strcmp(c->run.name, want[i]), "run %d: %s", i, c->run.name);
        cr_expect(c->train.agent_steps == 100000 && c->env.stack == 2 && c->dqn.batch == 16);
        cr_expect(c->seed == (uint64_t)(i & 1) && c->train.replay_ratio == (i & 2 ? 1 : 0.25));
        cr_expect(i & 4 ? c->optim.clip.kappa == 2 : isinf(c->optim.clip.kappa));
        cr_expect(!strcmp(c->env.game, i & 8 ? "qbert" : "pong"));
    }
    cr_expect_str_eq(s.origins.text[kp_key_find("seed")], "s.yaml:9");
    cr_expect_str_eq(s.origins.text[kp_key_find("optim.lr")], "preset dqn-dopamine");
    kp_study_free(&s);
}

Test(grid, maps_of_kappas_and_mixed_lists) {
    kp_study s = study_of(
        HEAD "grid: { optim.clip.kappa: [{hidden: 5, output: 1.5}, 3], seed: [7, 2..4] }\n");
    cr_assert(s.n == 8);
    cr_expect_str_eq(s.run[0].run.name, "pong-kappahidden5_output1.5-s7");
    cr_expect(s.run[0].optim.clip.n_named == 2 && s.run[0].optim.clip.named[1].kappa == 1.5);
    cr_expect(s.run[4].optim.clip.n_named == 0 && s.run[4].optim.clip.kappa == 3);
    cr_expect(s.run[3].seed == 4 && s.run[7].seed == 4);
    kp_study_free(&s);
}

Test(grid, names_are_unique_and_safe) {
    kp_study s = study_of(HEAD "grid: { env.rom_dir: [\"a/b\", ab, \"../c d\"] }\n");
    cr_assert(s.n == 3);
    cr_expect_str_eq(s.run[0].run.name, "pong-rom_dirab");
    cr_expect_str_eq(s.run[1].run.name, "pong-rom_dirab-run1");
    cr_expect_str_eq(s.run[2].run.name, "pong-rom_dir..cd");
    kp_study_free(&s);
}

Test(grid, methods_come_before_the_grid_each_with_its_own_values) {
    static const struct {
        const char *name, *method;
        double lr, kappa, decay;
        int rule; /* kp_rule, in the schema's order: 0 adam, 2 sgd */
    } want[] = {
        { "sgd-pong-lr0.1-s0", "sgd", 0.1, INFINITY, 0, 2 },
        { "sgd-pong-lr0.1-s1", "sgd", 0.1, INFINITY, 0, 2 },
        { "sgd-pong-lr0.01-s0", "sgd", 0.01, INFINITY, 0, 2 },
        { "sgd-pong-lr0.01-s1", "sgd", 0.01, INFINITY, 0, 2 },
        { "sgd+wc-pong-kappa1-lr0.1-s0", "sgd+wc", 0.1, 1, 0, 2 },
        { "sgd+wc-pong-kappa1-lr0.1-s1", "sgd+wc", 0.1, 1, 0, 2 },
        { "sgd+wc-pong-kappa1-lr0.01-s0", "sgd+wc", 0.01, 1, 0, 2 },
        { "sgd+wc-pong-kappa1-lr0.01-s1", "sgd+wc", 0.01, 1, 0, 2 },
        { "sgd+wc-pong-kappa2.5-lr0.1-s0", "sgd+wc", 0.1, 2.5, 0, 2 },
        { "sgd+wc-pong-kappa2.5-lr0.1-s1", "sgd+wc", 0.1, 2.5, 0, 2 },
        { "sgd+wc-pong-kappa2.5-lr0.01-s0", "sgd+wc", 0.01, 2.5, 0, 2 },
        { "sgd+wc-pong-kappa2.5-lr0.01-s1", "sgd+wc", 0.01, 2.5, 0, 2 },
        { "base-pong-lr0.1-s0", "base", 0.1, INFINITY, 0, 0 },
        { "base-pong-lr0.1-s1", "base", 0.1, INFINITY, 0, 0 },
        { "base-pong-lr0.01-s0", "base", 0.01, INFINITY, 0, 0 },
        { "base-pong-lr0.01-s1", "base", 0.01, INFINITY, 0, 0 },
        { "decay-pong-lr0.1-s0", "decay", 0.1, INFINITY, 0.5, 0 },
        { "decay-pong-lr0.1-s1", "decay", 0.1, INFINITY, 0.5, 0 },
        { "decay-pong-lr0.01-s0", "decay", 0.01, INFINITY, 0.5, 0 },
        { "decay-pong-lr0.01-s1", "decay", 0.01, INFINITY, 0.5, 0 },
    };
    enum { N = sizeof want / sizeof *want };
    kp_study s = study_of(HEAD "methods:\n"
                               "  sgd: { optim.rule: sgd }\n"
                               "  sgd+wc: { optim: { rule: sgd, clip.kappa: [1, 2.5] } }\n"
                               "  base: {}\n"
                               "  decay: { optim.l2: 0.5 }\n"
                               "grid: { optim.lr: [0.1, 0.01], seed: 0..1 }\n");
    cr_assert(s.n == N, "%d", s.n);
    for (int i = 0; i < N; i++) {
        const kp_config *c = &s.run[i];
        cr_expect(!strcmp(c->run.name, want[i].name), "run %d: %s", i, c->run.name);
        cr_expect(!strcmp(c->run.method, want[i].method), "run %d: %s", i, c->run.method);
        cr_expect(c->optim.lr == want[i].lr && c->optim.clip.kappa == want[i].kappa &&
                      c->optim.l2 == want[i].decay && c->optim.rule == want[i].rule &&
                      c->seed == (uint64_t)(i & 1),
                  "run %d: lr %g, kappa %g, decay %g, rule %d, seed %d", i, c->optim.lr,
                  c->optim.clip.kappa, c->optim.l2, c->optim.rule, (int)c->seed);
    }
    cr_expect_str_eq(s.origins.text[kp_key_find("optim.rule")], "s.yaml, methods");
    cr_expect_str_eq(s.origins.text[kp_key_find("run.method")], "s.yaml, methods");
    cr_expect_str_eq(s.origins.text[kp_key_find("optim.lr")], "s.yaml:8");
    kp_study_free(&s);
}

Test(grid, methods_need_no_grid_and_streams_are_named_by_their_data) {
    kp_study s = study_of("schema: 1\nset: { algorithm: stream, data.set: mnist }\n"
                          "methods: { sgd: { optim.rule: sgd }, adam: {} }\n");
    cr_assert(s.n == 2, "%d", s.n);
    cr_expect_str_eq(s.run[0].run.name, "sgd-mnist");
    cr_expect_str_eq(s.run[1].run.name, "adam-mnist");
    kp_study_free(&s);
    s = study_of(
        "schema: 1\nset: { algorithm: stream }\n"
        "grid: { stream.problem: [input_permuted, stationary], data.set: [mnist, mnist-5k] }\n");
    cr_assert(s.n == 4, "%d", s.n);
    cr_expect_str_eq(s.run[0].run.name, "mnist-input_permuted");
    cr_expect_str_eq(s.run[3].run.name, "mnist-5k-stationary");
    kp_study_free(&s);
}

Test(grid, methods_may_share_values_if_a_key_tells_them_apart) {
    /* one and two share a kappa, and two and three; one and three a step size */
    kp_study s = study_of(HEAD "methods:\n"
                               "  one: { optim.clip.kappa: [1, 2], optim.lr: 0.5 }\n"
                               "  two: { optim.clip.kappa: [2, 3], optim.lr: 0.25 }\n"
                               "  three: { optim.clip.kappa: 3, optim.lr: 0.5 }\n");
    cr_expect(s.n == 5, "%d", s.n);
    kp_study_free(&s);
}

static const struct {
    const char *name, *text, *want;
} bad[] = {
    { "no grid", HEAD, "s.yaml: grid: has no keys; `grid: { seed: 0..4 }` makes five runs" },
    { "an empty grid", HEAD "grid: {}\n",
      "s.yaml: grid: has no keys; `grid: { seed: 0..4 }` makes five runs" },
    { "an empty list", HEAD "grid:\n  seed: []\n",
      "s.yaml:4: seed: the list is empty, so there would be no run" },
    { "an empty range", HEAD "grid: { seed: 4..0 }\n", "s.yaml:3: seed: the range 4..0 is empty" },
    { "an endless range", HEAD "grid: { seed: 0..99999999 }\n",
      "s.yaml:3: seed: more than 4096 values" },
    { "a range of fractions", HEAD "grid: { optim.lr: 1..2 }\n",
      "s.yaml:3: optim.lr: seen '1..2', expected a number above 0, at most 1000" },
    { "one value in two spellings", HEAD "grid: { optim.clip.kappa: [2, 2.0] }\n",
      "s.yaml:3: optim.clip.kappa: 2 stands twice, so that its runs would be made twice" },
    { "a range over a value", HEAD "grid: { seed: [3, 0..4] }\n",
      "s.yaml:3: seed: 3 stands twice, so that its runs would be made twice" },
    { "an unknown key", HEAD "grid:\n  seed: 0..1\n  optim.clip.kapa: [1]\n",
      "s.yaml:5: optim.clip.kapa is not a key; did you mean optim.clip.kappa?" },
    { "an unknown key in set", HEAD "set: { sed: 1 }\ngrid: { seed: 0..1 }\n",
      "s.yaml:3: sed is not a key; did you mean seed?" },
    { "a key on its own", HEAD "seed: 3\ngrid: { seed: 0..1 }\n",
      "s.yaml:3: seed does not belong at the top of a study; expected schema, base, set, "
      "grid or methods" },
    { "set and grid", HEAD "set: { seed: 3 }\ngrid: { seed: 0..1 }\n",
      "s.yaml:4: seed is under both set and grid" },
    { "a list in set", HEAD "set: { seed: [3] }\ngrid: { seed: 0..1 }\n",
      "s.yaml:3: seed: a list belongs under grid; set takes one value" },
    { "a repeated key", HEAD "grid:\n  seed: [1, 2]\n  seed: [3]\n",
      "s.yaml:5: seed is set twice, first in line 4" },
    { "a bad value", HEAD "grid:\n  optim.lr: [1e-4,\n    1e-4x]\n",
      "s.yaml:5: optim.lr: seen '1e-4x', expected a number above 0, at most 1000" },
    { "an unknown base", "schema: 1\nbase: dqn\ngrid: { seed: 0..1 }\n",
      "s.yaml:2: base: dqn is neither a preset (dqn-dopamine, dqn-tianshou, dqn-paper, "
      "dqn-cleanrl, stream-input-permuted-mnist, stream-input-permuted-fashion, "
      "stream-label-permuted-emnist, stream-label-permuted-mini-imagenet) nor a file (NAME.yaml)" },
    { "a key of another algorithm", HEAD "methods: { a: { net.widths: 20 } }\n",
      "s.yaml: run a-pong: net.widths is a setting of stream, and the algorithm here is dqn" },
    { "a population of its own", HEAD "set: { population.size: 2 }\ngrid: { seed: 0..1 }\n",
      "s.yaml: population.size: a study packs its runs into populations by itself; leave it out "
      "and list seeds" },
    { "a run that makes no sense", HEAD "grid: { dqn.batch: [32, 30000] }\n",
      "s.yaml: run pong-batch30000: buffer.min_transitions is 20000, less than dqn.batch, 30000" },
    { "a key of methods and grid", HEAD "methods:\n  a: { optim.lr: 1 }\ngrid: { optim.lr: 2 }\n",
      "s.yaml:4: optim.lr is under both methods (a) and grid (line 5)" },
    { "a key of methods and set", HEAD "set: { optim.lr: 2 }\nmethods:\n  b: { optim.lr: 1 }\n",
      "s.yaml:5: optim.lr is under both methods (b) and set (line 3)" },
    { "two methods that are one",
      HEAD
      "methods:\n  a: { optim.l2: 1 }\n  b: { optim.l2: 1.0, optim.lr: 6.25e-5 }\n",
      "s.yaml:5: methods: b and a (line 4) have the same values in every key, so that runs would be "
      "made twice" },
    { "two methods that share a setting",
      HEAD
      "methods:\n  a: { optim.l2: [0, 1] }\n  b: {}\n  c: { optim.l2: 2 }\n",
      "s.yaml:5: methods: b and a (line 4) have the same values in every key, so that runs would be "
      "made twice" },
    { "two methods that differ in what changes nothing",
      HEAD "methods: { a: { threads: 1 }, b: { threads: 2 } }\n",
      "s.yaml:3: methods: b and a (line 3) have the same values in every key, so that runs would be "
      "made twice" },
    { "two methods of one name",
      HEAD "methods:\n  a: { optim.l2: 1 }\n  a: { optim.l2: 2 }\n",
      "s.yaml:5: a stands twice, first in line 4" },
    { "a method of no keys", HEAD "methods:\n  a:\n",
      "s.yaml:4: a: expected a map of keys, {} where it has none of its own" },
    { "methods that are a list", HEAD "methods: [a, b]\n",
      "s.yaml:3: methods: expected a map of names, each with a map of keys" },
    { "a method's name that no folder can have", HEAD "methods:\n  a/b: {}\n",
      "s.yaml:4: methods: seen 'a/b', expected a name of letters, digits and any of . _ + -" },
    { "a method's name that is too long",
      HEAD "methods:\n  a23456789012345678901234567890123456789012345678901234567890wxyz: {}\n",
      "s.yaml:4: expected a name of at most 63 bytes" },
    { "a method's name twice", HEAD "methods: { a: { run.method: b } }\n",
      "s.yaml:3: run.method is the method's name; leave it out" },
    { "an unknown key in a method", HEAD "methods:\n  a:\n    optim.clip.kapa: 1\n",
      "s.yaml:5: optim.clip.kapa is not a key; did you mean optim.clip.kappa?" },
    { "an empty list in a method", HEAD "methods:\n  a: { optim.l2: [] }\n",
      "s.yaml:4: optim.l2: the list is empty, so there would be no run" },
    { "a method's run that makes no sense", HEAD "methods: { a: { dqn.batch: 30000 } }\n",
      "s.yaml: run a-pong: buffer.min_transitions is 20000, less than dqn.batch, 30000" },
    { "too many runs of methods",
      HEAD "methods: { a: { optim.l2: 1 }, b: { optim.l2: 2 } }\n"
           "grid: { seed: 0..999, env.noop_max: 0..10 }\n",
      "s.yaml: grid: more than 20000 runs" },
    { "too many runs", HEAD "grid: { seed: 0..999, env.noop_max: 0..99 }\n",
      "s.yaml: grid: more than 20000 runs" },
};

Test(grid, bad_studies) {
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        kp_study s;
        kp_err err = { "" };
        kp_status st = kp_study_from_text(&s, bad[i].text, "s.yaml", &err);
        cr_expect(st == KP_BAD_CONFIG && s.run == NULL, "%s: status %d", bad[i].name, st);
        cr_expect(!strcmp(err.text, bad[i].want), "%s: got  '%s'\nwant '%s'", bad[i].name, err.text,
                  bad[i].want);
    }
}

Test(pack, shape_and_schedule_separate_what_members_may_differ_in_does_not) {
    kp_study s = study_of(
        HEAD "grid:\n  optim.clip.kappa: [none, {hidden: 2}]\n  train.replay_ratio: [1, 0.25]\n"
             "  optim.lr: [1e-4, 1e-3]\n  seed: 0..2\n");
    kp_packing p;
    kp_err err = { "" };
    cr_assert(s.n == 24);
    cr_assert(!kp_pack(&p, s.run, s.n, 100, &err), "%s", err.text);
    cr_assert(p.n == 2, "%d populations", p.n);
    for (int g = 0; g < 2; g++) {
        cr_expect(p.group[g].n == 12);
        for (int i = 0; i < p.group[g].n; i++)
            cr_expect(s.run[p.group[g].run[i]].train.replay_ratio == (g ? 0.25 : 1));
    }
    cr_expect(p.group[0].run[0] == 0 && p.group[1].run[0] == 6);
    kp_packing_free(&p);

    cr_assert(!kp_pack(&p, s.run, s.n, 5, &err));
    cr_assert(p.n == 6);
    int seen[24] = { 0 };
    for (int g = 0; g < p.n; g++) {
        cr_expect(p.group[g].n == 4, "group %d: %d members", g, p.group[g].n);
        for (int i = 0; i < p.group[g].n; i++) {
            seen[p.group[g].run[i]]++;
            cr_expect(i == 0 || p.group[g].run[i] > p.group[g].run[i - 1]);
        }
    }
    for (int i = 0; i < 24; i++) cr_expect(seen[i] == 1, "run %d is in %d groups", i, seen[i]);
    kp_packing_free(&p);

    cr_assert(!kp_pack(&p, s.run, 7, 6, &err));
    cr_assert(p.n == 2, "%d", p.n);
    cr_expect(p.group[0].n == 6 && p.group[1].n == 1 && p.group[1].run[0] == 6);
    kp_packing_free(&p);
    cr_expect(kp_pack(&p, s.run, s.n, 0, &err) == KP_BAD_CONFIG);
    kp_study_free(&s);
}

Test(pack, methods_train_apart) {
    kp_study s = study_of(
        HEAD "methods: { a: { optim.l2: 1 }, b: {}, c: { optim.l2: 2 } }\n"
             "grid: { optim.lr: [1e-4, 1e-3], seed: 0..2 }\n");
    kp_packing p;
    kp_err err = { "" };
    cr_assert(!kp_pack(&p, s.run, s.n, 100, &err), "%s", err.text);
    cr_assert(p.n == 3, "%d populations", p.n);
    for (int g = 0; g < 3; g++)
        for (int i = 0; i < 6; i++)
            cr_expect(p.group[g].n == 6 && p.group[g].run[i] == 6 * g + i, "population %d", g);
    kp_packing_free(&p);
    kp_study_free(&s);
}
