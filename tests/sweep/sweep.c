/* sweep.c: where a study's runs are, and where those go that are nowhere yet. Nothing is trained.
 */
#include "sweep/sweep.h"

#include <criterion/criterion.h>
#include <string.h>
#include <unistd.h>

#include "run/members.h"
#include "scratch.h"

#define HEAD                                                                                       \
    "schema: 1\nbase: dqn-dopamine\nset: { buffer.transitions: 1000, buffer.min_transitions: 100 }\n"
#define GRID(kappas, ratios, seeds)                                                                \
    HEAD "grid: { optim.clip.kappa: " kappas ", train.replay_ratio: " ratios ", seed: " seeds " }\n"

static char home[KP_PATH];

static void setup(void) { scratch_folder(home); }
static void teardown(void) { kp_folder_remove(home, NULL); }

TestSuite(sweep, .init = setup, .fini = teardown);

static kp_study study_of(const char *text) {
    kp_study s;
    kp_err err = { "" };
    cr_assert_eq(kp_study_from_text(&s, text, "s.yaml", &err), KP_OK, "%s", err.text);
    return s;
}

static kp_sweep plan(const char *text, int members) {
    kp_study study = study_of(text);
    kp_sweep sweep;
    kp_err err = { "" };
    cr_assert_eq(kp_sweep_plan(&sweep, &study, home, members, &err), KP_OK, "%s", err.text);
    kp_study_free(&study);
    return sweep;
}

static void expect_refused(const char *text, const char *message) {
    kp_study study = study_of(text);
    kp_sweep sweep;
    kp_err err = { "" };
    cr_expect_eq(kp_sweep_plan(&sweep, &study, home, 0, &err), KP_BAD_CONFIG);
    cr_expect(strstr(err.text, message), "no '%s' in: %s", message, err.text);
    kp_study_free(&study);
}

/* As a sweep leaves it that was stopped (or done, with that state) in this population. */
static void stand(const kp_sweep_population *p, kp_run_state state) {
    kp_rundir *dir = NULL;
    kp_err err = { "" };
    cr_assert_eq(kp_rundir_open(&dir, p->dir, KP_RUNDIR_NEW, &err), KP_OK, "%s", err.text);
    cr_assert_eq(kp_members_write(dir, p->member, NULL, p->P, &err), KP_OK, "%s", err.text);
    kp_run_info info = { .device = "cpu", .n_seeds = 0 };
    cr_assert_eq(kp_rundir_start(dir, &info, &err), KP_OK, "%s", err.text);
    cr_assert_eq(kp_rundir_finish(dir, state, 0, "", &err), KP_OK, "%s", err.text);
    kp_rundir_close(dir);
}

static void expect_population(const kp_sweep *s, int i, const char *folder, int P,
                              const char *first, kp_run_state state) {
    cr_assert(i < s->n, "%d populations", s->n);
    const kp_sweep_population *p = &s->population[i];
    cr_expect_str_eq(strrchr(p->dir, '/') + 1, folder);
    cr_expect(p->P == P && p->state == state && p->holder == 0, "%s: %d members, %s", folder, p->P,
              kp_run_state_name(p->state));
    cr_expect_str_eq(p->member[0].run.name, first);
}

Test(sweep, runs_that_agree_in_shape_are_one_population) {
    kp_sweep s = plan(GRID("[none, 2]", "[0.25, 1]", "0..2"), 0);
    cr_expect_eq(s.n, 2);
    expect_population(&s, 0, "population-000", 6, "pong-kappanone-rr0.25-s0", KP_RUN_NONE);
    expect_population(&s, 1, "population-001", 6, "pong-kappanone-rr1-s0", KP_RUN_NONE);
    cr_expect_str_eq(s.population[1].member[5].run.name, "pong-kappa2-rr1-s2");
    kp_sweep_free(&s);
    s = plan(GRID("[none, 2]", "[0.25, 1]", "0..2"), 4);
    cr_expect_eq(s.n, 4, "two of 6 are four of 3: %d", s.n);
    kp_sweep_free(&s);
    s = plan(GRID("none", "1", "0..39"), 0);
    cr_expect_eq(s.n, 3, "40 runs, at most 16 together: %d", s.n);
    kp_sweep_free(&s);
    s = plan("schema: 1\nset: { algorithm: stream }\ngrid: { seed: 0..64 }\n", 0);
    cr_expect_eq(s.n, 2, "65 streams, at most 64 together: %d", s.n);
    expect_population(&s, 0, "population-000", 33, "fashion-mnist-s0", KP_RUN_NONE);
    kp_sweep_free(&s);
}

Test(sweep, what_stands_there_stays_and_the_rest_is_added) {
    kp_sweep s = plan(GRID("[none, 2]", "[0.25, 1]", "0..1"), 0);
    stand(&s.population[0], KP_RUN_DONE);
    stand(&s.population[1], KP_RUN_STOPPED);
    kp_sweep_free(&s);
    /* a third kappa, and one seed fewer: the populations keep the seed that the study dropped */
    s = plan(GRID("[none, 2, 3]", "[0.25, 1]", "0"), 0);
    cr_expect_eq(s.n, 4);
    expect_population(&s, 0, "population-000", 4, "pong-kappanone-rr0.25-s0", KP_RUN_DONE);
    expect_population(&s, 1, "population-001", 4, "pong-kappanone-rr1-s0", KP_RUN_STOPPED);
    expect_population(&s, 2, "population-002", 1, "pong-kappa3-rr0.25", KP_RUN_NONE);
    expect_population(&s, 3, "population-003", 1, "pong-kappa3-rr1", KP_RUN_NONE);
    kp_sweep_free(&s);
    /* another study in the same folder: nothing of it stands there */
    s = plan(GRID("5", "0.25", "7"), 0);
    cr_expect_eq(s.n, 1);
    expect_population(&s, 0, "population-002", 1, s.population[0].member[0].run.name, KP_RUN_NONE);
    kp_sweep_free(&s);
}

Test(sweep, a_start_that_was_cut_short_is_made_again) {
    char dir[KP_PATH], lock[KP_PATH];
    kp_path_join(dir, home, "population-000", NULL);
    kp_path_join(lock, dir, "lock", NULL);
    cr_assert_eq(kp_folder_make(dir, NULL), KP_OK);
    cr_assert_eq(kp_file_write(lock, "1\n", 2, NULL), KP_OK);
    kp_sweep s = plan(GRID("2", "1", "0"), 0);
    cr_expect_eq(s.n, 1);
    expect_population(&s, 0, "population-000", 1, s.population[0].member[0].run.name, KP_RUN_NONE);
    kp_sweep_free(&s);
}

Test(sweep, settings_are_not_mixed) {
    kp_sweep s = plan(GRID("2", "1", "0..1"), 0);
    stand(&s.population[0], KP_RUN_DONE);
    kp_sweep_free(&s);
    expect_refused(
        HEAD "grid: { optim.clip.kappa: 2, train.replay_ratio: 1, seed: 0..1, optim.lr: 0.5 }\n",
        "run pong-s0 was made with optim.lr 6.25e-05, the study now has 0.5; choose another folder");
    s = plan(
        "schema: 1\nbase: dqn-dopamine\nset: { buffer.transitions: 1000, buffer.min_transitions: 100, threads: 7 }\n"
        "grid: { optim.clip.kappa: 2, train.replay_ratio: 1, seed: 0..1 }\n",
        0);
    cr_expect_eq(s.n, 1, "threads change nothing");
    /* the same runs in a second population */
    kp_path_join(s.population[0].dir, home, "population-001", NULL);
    stand(&s.population[0], KP_RUN_DONE);
    kp_sweep_free(&s);
    expect_refused(GRID("2", "1", "0..1"),
                   "stands in another population too; delete one of the two");
}
