/* stream_allocations.c: law 6: a stream's learner allocates nothing after it was opened: blocks,
 * tasks, rows of metrics. (tests/learn/CMakeLists.txt has the linker count.) */
#include "streams.h"

#include "count_allocations.h"
#include "learn/learner.h"

static const char *const settings[][3] = {
    { "stream.path=fused", "stream.problem=label_permuted" },
    { "stream.path=plain", "optim.cbp.rate=0.01", "optim.perturb=0.001" },
    { "optim.rule=upgd", "optim.si.strength=1", "optim.ewc.strength=1" },
};

static void expect_none(const kp_config *common) {
    kp_config member[3];
    void *learner = NULL;
    kp_backend *backend = NULL;
    kp_event event = KP_EVENT_NONE;
    kp_err err = { "" };
    int rows = 0;
    for (int p = 0; p < 3; p++) member[p] = streams_member(common, p);
    cr_assert_eq(kp_backend_open(&backend, "cpu", 2, &err), KP_OK, "%s", err.text);
    kp_learner_options o = { .backend = backend, .member = member, .P = 3 };
    cr_assert_eq(kp_learner_stream.open(&learner, &o, &err), KP_OK, "%s", err.text);
    int64_t before = n_allocations;
    cr_assert(before > 0, "allocations are counted");
    while (event != KP_EVENT_END) {
        cr_assert_eq(kp_learner_stream.step(learner, &event, &err), KP_OK, "%s", err.text);
        rows += event == KP_EVENT_ROWS;
    }
    int64_t after = n_allocations;
    cr_expect_eq(after, before, "%ld allocations", (long)(after - before));
    cr_expect_eq(rows, 12, "that was training: %d", rows);
    kp_learner_stream.close(learner);
    kp_backend_close(backend);
}

Test(stream_allocations, none_after_opening, .timeout = 120) {
    char home[KP_PATH];
    scratch_folder(home);
    streams_make_data(home, 0);
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
        int n = 0;
        while (n < 3 && settings[i][n]) n++;
        kp_config common = streams_config(home, n, settings[i]);
        common.threads = 2;
        expect_none(&common);
    }
    kp_folder_remove(home, NULL);
}
