/* allocations.c: law 6: a DQN learner allocates nothing after warm-up: acting, updates, target
 * copies, evaluations, rows of metrics. (tests/learn/CMakeLists.txt has the linker count.) */
#include "runs.h"

#include "count_allocations.h"
#include "learn/learner.h"

/* Returns how often rows were due on the way. */
static int step_until(void *learner, int64_t agent_step) {
    int rows = 0;
    kp_event event;
    kp_err err = { "" };
    while (kp_learner_dqn.agent_step(learner) < agent_step) {
        cr_assert_eq(kp_learner_dqn.step(learner, &event, &err), KP_OK, "%s", err.text);
        rows += event == KP_EVENT_ROWS;
    }
    return rows;
}

Test(allocations, none_after_warm_up, .timeout = 120) {
    char folder[KP_PATH];
    void *learner = NULL;
    kp_backend *backend = NULL;
    kp_err err = { "" };
    const char *const args[] = { "threads=2", "env.workers=2" };
    setenv("KAPPA_PYTHON", KP_TEST_PYTHON, 1);
    scratch_folder(folder);
    kp_config common = runs_config(2, args), member[3];
    for (int p = 0; p < 3; p++) member[p] = runs_member(&common, p);
    cr_assert_eq(kp_backend_open(&backend, "cpu", 2, &err), KP_OK, "%s", err.text);
    kp_learner_options o = {
        .backend = backend, .member = member, .P = 3, .checkpoint_dir = folder
    };
    cr_assert_eq(kp_learner_dqn.open(&learner, &o, &err), KP_OK, "%s", err.text);
    cr_assert_eq(kp_learner_dqn.start(learner, &err), KP_OK, "%s", err.text);

    step_until(learner,
               160); /* the first updates, target copy, evaluation (150) and rows are behind it */
    int64_t before = n_allocations, updates = kp_learner_dqn.progress(learner)->updates;
    cr_assert(before > 0, "allocations are counted");
    int rows = step_until(learner, 399);
    int64_t after = n_allocations;
    cr_expect_eq(after, before, "%ld allocations", (long)(after - before));
    cr_expect(rows == 4 && kp_learner_dqn.progress(learner)->updates - updates >= 50,
              "that was training: %d", rows);

    kp_learner_dqn.close(learner);
    kp_backend_close(backend);
    kp_folder_remove(folder, NULL);
}
