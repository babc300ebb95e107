/* laws.c: whole runs on a real game. Law 1: a member equals the run alone. Law 2: stopped, killed
 * or robbed of a worker equals never stopped. Law 5: a member that goes non-finite stops alone. */
#include "runs.h"

#include <math.h>
#include <sys/wait.h>
#include <unistd.h>

static char home[KP_PATH]; /* of this test's runs */

static void setup(void) {
    setenv("KAPPA_PYTHON", KP_TEST_PYTHON, 1);
    scratch_folder(home);
}
static void teardown(void) { kp_folder_remove(home, NULL); }

TestSuite(laws, .init = setup, .fini = teardown);

static void path_of(char path[KP_PATH], const char *name) {
    cr_assert_eq(kp_path_join(path, home, name, NULL), KP_OK);
}

static kp_status train(const char *dir, const kp_config *member, int P, const kp_listener *listener,
                       kp_err *err) {
    return kp_train(&(kp_train_options){ .dir = dir,
                                         .member = member,
                                         .P = P,
                                         .listener = listener },
                    err);
}

static void train_whole(char dir[KP_PATH], const char *name, const kp_config *member, int P) {
    kp_err err = { "" };
    path_of(dir, name);
    cr_assert_eq(train(dir, member, P, NULL, &err), KP_OK, "%s", err.text);
}

static kp_status resume(const char *dir, const kp_listener *listener, kp_err *err) {
    return kp_train_resume(&(kp_train_options){ .dir = dir, .listener = listener }, 0, NULL, err);
}

static void expect_same_run(const char *a, const char *b, int P) {
    char *x = runs_text(a, "metrics.csv"), *y = runs_text(b, "metrics.csv");
    cr_expect_str_eq(x, y, "metrics.csv of %s and %s", a, b);
    free(x);
    free(y);
    for (int p = 0; p < P; p++) runs_expect_same_state(a, P, p, b, P, p);
}

/* ---- law 1 ----------------------------------------------------------------------------------- */

Test(laws, member_equals_itself_alone, .timeout = 600) {
    enum { ALL = 8 };
    static const struct {
        int P, first, threads, workers;
    } with[] = { { 1, 2, 2, 3 }, { 3, 0, 2, 3 }, { 3, 5, 1, 1 }, { 8, 0, 2, 1 }, { 8, 0, 1, 3 } };
    char alone[ALL][KP_PATH], dir[KP_PATH], name[64];
    kp_config common = runs_config(0, NULL), member[ALL];
    for (int id = 0; id < ALL; id++) {
        kp_config one = runs_member(&common, id);
        snprintf(name, sizeof name, "alone-%d", id);
        train_whole(alone[id], name, &one, 1);
    }
    for (size_t w = 0; w < sizeof with / sizeof *with; w++) {
        for (int p = 0; p < with[w].P; p++) {
            member[p] = runs_member(&common, with[w].first + p);
            member[p].threads = with[w].threads, member[p].env.workers = with[w].workers;
        }
        snprintf(name, sizeof name, "%d-from-%d-threads-%d-workers-%d", with[w].P, with[w].first,
                 with[w].threads, with[w].workers);
        train_whole(dir, name, member, with[w].P);
        for (int p = 0; p < with[w].P; p++) {
            runs_expect_same_rows(dir, p, alone[with[w].first + p], 0);
            runs_expect_same_state(dir, with[w].P, p, alone[with[w].first + p], 1, 0);
        }
    }
}

Test(laws, members_are_not_all_alike) { /* or the comparison above would say nothing */
    char a[KP_PATH], b[KP_PATH];
    kp_config common = runs_config(0, NULL), one = runs_member(&common, 0),
              other = runs_member(&common, 1);
    train_whole(a, "a", &one, 1);
    train_whole(b, "b", &other, 1);
    char *x = runs_rows(a, 0), *y = runs_rows(b, 0);
    cr_expect_str_neq(x, y);
    for (int i = 0; i < 2; i++) { /* the run did what a run does */
        const char *rows = i ? y : x;
        int n = 0;
        for (const char *at = rows; (at = strchr(at, '\n')); at++) n++;
        cr_expect_eq(n, 8, "a row each 50 agent steps: %s", rows);
    }
    free(x);
    free(y);
}

/* ---- law 2 ----------------------------------------------------------------------------------- */

typedef struct {
    int pieces, at;    /* told so often; what happens when it is */
    const char *phase; /* count in this phase only; NULL: all */
    int in_training;   /* count outside evaluations only */
    void (*what)(void);
} trip;

enum { EVALUATION = 40 }; /* pieces of work of one (runs.h) */

static void tell(void *context, const kp_progress *now) {
    trip *t = context;
    if (t->phase && strcmp(t->phase, now->phase)) return;
    if (t->in_training && !strcmp(now->phase, "evaluate")) return;
    if (++t->pieces == t->at) t->what();
}

static void stop(void) { kp_stop_request(SIGTERM); }
static void die(void) { kill(getpid(), SIGKILL); }
static void kill_workers(void) {
    pid_t worker[16];
    int n = runs_workers(worker, 16);
    cr_assert_geq(n, 2, "a worker for training and one for evaluation");
    for (int i = 0; i < n; i++) kill(worker[i], SIGKILL);
}

/* Stops each `stride` pieces of work; returns how often. An evaluation that was stopped begins
 * anew, and would never end where stops come faster: then only training is counted. */
static int train_in_parts(char dir[KP_PATH], const char *name, const kp_config *member, int P,
                          int stride) {
    kp_err err = { "" };
    int stops = 0;
    path_of(dir, name);
    for (;; stops++) {
        trip t = { .at = stride, .in_training = stride < EVALUATION, .what = stop };
        kp_listener listener = { tell, &t };
        kp_status st = stops ? resume(dir, &listener, &err)
                             : train(dir, member, P, &listener, &err);
        kp_stop_clear();
        if (st == KP_OK) return stops;
        cr_assert_eq(st, KP_INTERRUPTED, "stop %d: %s", stops, err.text);
    }
}

/* The soak (ctest -C Soak -L soak) stops after every piece of work in training. */
Test(laws, stopped_and_resumed_equals_never_stopped, .timeout = 3600) {
    const char *soak = getenv("KAPPA_TEST_STRIDE");
    char whole[KP_PATH], parts[KP_PATH];
    kp_config common = runs_config(0, NULL),
              member[2] = { runs_member(&common, 1), runs_member(&common, 2) };
    train_whole(whole, "whole", member, 2);
    int stops = train_in_parts(parts, "parts", member, 2, soak ? atoi(soak) : 43);
    cr_expect_geq(stops, 7, "%d stops", stops);
    expect_same_run(whole, parts, 2);
}

/* A rule with all the state that rules can have, and noise. */
Test(laws, stopped_and_resumed_with_every_part_of_an_update, .timeout = 600) {
    static const char *const rule[] = { "optim.rule=adaupgd",   "optim.upgd.sigma=0.01",
                                        "optim.shrink=1e-4",    "optim.perturb=1e-3",
                                        "optim.ewc.strength=1", "optim.si.strength=0.1",
                                        "optim.si.every=7",     "optim.l2init=1e-3" };
    char whole[KP_PATH], parts[KP_PATH];
    kp_config common = runs_config(KP_COUNT(rule), rule), member = runs_member(&common, 1);
    train_whole(whole, "whole", &member, 1);
    cr_expect_geq(train_in_parts(parts, "parts", &member, 1, 91), 2);
    expect_same_run(whole, parts, 1);
}

Test(laws, stopped_in_an_evaluation, .timeout = 120) {
    char whole[KP_PATH], parts[KP_PATH];
    kp_err err = { "" };
    kp_config common = runs_config(0, NULL), member = runs_member(&common, 1);
    train_whole(whole, "whole", &member, 1);
    path_of(parts, "parts");
    trip t = { .at = 57,
               .phase = "evaluate",
               .what = stop }; /* an evaluation is 40 steps: in the second */
    cr_assert_eq(train(parts, &member, 1, &(kp_listener){ tell, &t }, &err), KP_INTERRUPTED, "%s",
                 err.text);
    cr_expect(strstr(err.text, "saved at agent step 300"), "%s", err.text);
    kp_stop_clear();
    cr_assert_eq(resume(parts, NULL, &err), KP_OK, "%s", err.text);
    expect_same_run(whole, parts, 1);
}

/* The process that trains dies without a word, at first before anything was saved. */
Test(laws, killed_and_resumed_equals_never_stopped, .timeout = 120) {
    char whole[KP_PATH], parts[KP_PATH];
    kp_config common = runs_config(0, NULL), member = runs_member(&common, 1);
    kp_err err = { "" };
    train_whole(whole, "whole", &member, 1);
    path_of(parts, "parts");
    member.checkpoint.interval_seconds = 1e-3; /* after every piece of work */
    for (int i = 0; i < 3; i++) {
        pid_t child = fork();
        if (!child) {
            trip t = { .at = i ? 83 : 1, .what = die };
            kp_listener listener = { tell, &t };
            if (i) resume(parts, &listener, NULL);
            else train(parts, &member, 1, &listener, NULL);
            _exit(1);
        }
        int status = 0;
        cr_assert(waitpid(child, &status, 0) == child && WIFSIGNALED(status) &&
                      WTERMSIG(status) == SIGKILL,
                  "%d", status);
    }
    cr_assert_eq(resume(parts, NULL, &err), KP_OK, "%s", err.text);
    expect_same_run(whole, parts, 1);
}

Test(laws, a_worker_killed_in_mid_episode_changes_nothing, .timeout = 120) {
    char whole[KP_PATH], robbed[KP_PATH];
    kp_err err = { "" };
    kp_config common = runs_config(0, NULL),
              member[2] = { runs_member(&common, 1), runs_member(&common, 3) };
    train_whole(whole, "whole", member, 2);
    static const char *const phase[] = { "fill", "train", "evaluate" };
    for (int i = 0; i < 3; i++) {
        path_of(robbed, phase[i]);
        trip t = { .at = 23, .phase = phase[i], .what = kill_workers };
        cr_assert_eq(train(robbed, member, 2, &(kp_listener){ tell, &t }, &err), KP_OK, "%s",
                     err.text);
        cr_assert_geq(t.pieces, t.at, "workers were killed in the phase %s", phase[i]);
        expect_same_run(whole, robbed, 2);
    }
}

/* ---- law 5 ----------------------------------------------------------------------------------- */

Test(laws, a_member_that_goes_non_finite_stops_alone, .timeout = 120) {
    char whole[KP_PATH], parts[KP_PATH], alone[KP_PATH];
    kp_err err = { "" };
    kp_config common = runs_config(0, NULL), member[3];
    for (int p = 0; p < 3; p++) member[p] = runs_member(&common, p);
    member[1].optim.lr = 1000; /* a few updates, and numbers are too large for floats */
    cr_assert_eq(kp_config_set(&member[1], NULL, "optim.clip.kappa", "none", "test", NULL), KP_OK);
    path_of(whole, "whole");
    cr_expect_eq(train(whole, member, 3, NULL, &err), KP_NON_FINITE, "%s", err.text);
    cr_expect(strstr(err.text, "1 of 3 members stopped") &&
                  strstr(err.text, "the first (seed 1017) after update"),
              "%s", err.text);
    char *log = runs_text(whole, "log.txt");
    cr_expect(strstr(log, "member 1 (seed 1017): ") &&
                  strstr(log, " is not finite after update ") && strstr(log, "agent step "),
              "%s", log);
    free(log);
    for (int p = 0; p < 3; p += 2) {
        char name[32];
        snprintf(name, sizeof name, "alone-%d", p);
        train_whole(alone, name, &member[p], 1);
        runs_expect_same_rows(whole, p, alone, 0);
        runs_expect_same_state(whole, 3, p, alone, 1, 0);
    }
    kp_checkpoint *c = runs_checkpoint(whole); /* its weights are kept as they went wrong */
    int n_wrong = 0;
    for (int t = 0; t < RUNS_TENSORS; t++) {
        size_t n;
        const float *w = runs_tensor(c, "theta", t, 3, 1, &n);
        for (size_t e = 0; e < n; e++) n_wrong += !isfinite(w[e]);
    }
    cr_expect_gt(n_wrong, 0);
    kp_checkpoint_close(c);
    /* the same when it is stopped and resumed after that */
    path_of(parts, "parts");
    trip t = { .at = 60, .phase = "train", .what = stop };
    cr_assert_eq(train(parts, member, 3, &(kp_listener){ tell, &t }, &err), KP_INTERRUPTED, "%s",
                 err.text);
    kp_stop_clear();
    cr_expect_eq(resume(parts, NULL, &err), KP_NON_FINITE, "%s", err.text);
    expect_same_run(whole, parts, 3);
}

Test(laws, a_run_whose_members_have_all_stopped_ends) {
    char dir[KP_PATH];
    kp_err err = { "" };
    kp_run_state state;
    int exit_code;
    const char *const args[] = { "optim.lr=1000", "optim.clip.kappa=none",
                                 "train.agent_steps=1000000" };
    kp_config member = runs_config(3, args);
    path_of(dir, "run");
    cr_expect_eq(train(dir, &member, 1, NULL, &err), KP_NON_FINITE, "%s", err.text);
    cr_expect_eq(kp_rundir_peek(dir, &state, &exit_code, NULL, &err), KP_OK);
    cr_expect(state == KP_RUN_DONE && exit_code == KP_NON_FINITE, "%d %d", state, exit_code);
}

/* Whatever the rule, weights that have a bound keep it to the end. */
Test(laws, clipped_weights_lie_within_their_bounds) {
    static const int fan_in[] = { 4 * 64, 4 * 64, 32 * 16, 32 * 16, 64 * 9,
                                  64 * 9, 3136,   3136,    32,      32 };
    char dir[KP_PATH];
    kp_config common = runs_config(1, (const char *const[]){ "optim.lr=0.01" }), member = common;
    cr_assert_eq(kp_config_set(&member, NULL, "optim.clip.kappa", "0.5", "test", NULL), KP_OK);
    train_whole(dir, "run", &member, 1);
    kp_checkpoint *c = runs_checkpoint(dir);
    for (int t = 0; t < RUNS_TENSORS; t++) {
        size_t n;
        int at_bound = 0;
        const float *w = runs_tensor(c, "theta", t, 1, 0, &n);
        float bound = (float)(0.5 / sqrt(fan_in[t]));
        for (size_t e = 0; e < n; e++) {
            cr_assert(fabsf(w[e]) <= bound, "%s[%zu]: %.9g, beyond %.9g", runs_tensors[t], e,
                      (double)w[e], (double)bound);
            at_bound += fabsf(w[e]) == bound;
        }
        cr_expect_gt(at_bound, 0, "%s: none at its bound %g", runs_tensors[t], (double)bound);
    }
    kp_checkpoint_close(c);
}
