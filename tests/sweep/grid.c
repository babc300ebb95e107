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
      "s.yaml:3: seed does not belong at the top of a study; expected schema, base, set or grid" },
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
      "dqn-cleanrl) nor a file (NAME.yaml)" },
    { "a population of its own", HEAD "set: { population.size: 2 }\ngrid: { seed: 0..1 }\n",
      "s.yaml: population.size: a study packs its runs into populations by itself; leave it out "
      "and list seeds" },
    { "a run that makes no sense", HEAD "grid: { dqn.batch: [32, 30000] }\n",
      "s.yaml: run pong-batch30000: buffer.min_transitions is 20000, less than dqn.batch, 30000" },
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
