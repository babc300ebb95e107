/* metrics.c: what is written reads back, and a resumed file equals one never interrupted. */
#include "run/metrics.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

#include "report/metrics_csv.h"
#include "scratch.h"

static char folder[KP_PATH], path[KP_PATH];

static void setup(void) {
    scratch_folder(folder);
    kp_path_join(path, folder, "metrics.csv", NULL);
}

static void teardown(void) { kp_folder_remove(folder, NULL); }

TestSuite(metrics, .init = setup, .fini = teardown);

static const kp_metrics_column columns[] = {
    { "member", 1 }, { "agent_step", 1 }, { "return", 0 }, { "weight_l2", 0 }
};
enum { N = 4 };

static void put_rows(kp_metrics_log *log, int from, int to) {
    for (int i = from; i < to; i++) {
        kp_metrics_value v[N] = { { .i = i % 3 },
                                  { .i = INT64_C(10000000000) + i },
                                  { .d = i % 4 ? i / 3.0 : NAN },
                                  { .d = (double)(1.0f / 3) } };
        kp_err err = { "" };
        cr_assert_eq(kp_metrics_log_row(log, v, &err), KP_OK, "%s", err.text);
    }
}

static char *content(void) {
    uint8_t *bytes = NULL;
    size_t n;
    cr_assert_eq(kp_file_read(path, &bytes, &n, NULL), KP_OK);
    return (char *)bytes;
}

Test(metrics, rows_are_as_promised) {
    kp_metrics_log *log = NULL;
    kp_err err = { "" };
    cr_assert_eq(kp_metrics_log_open(&log, path, columns, N, KP_METRICS_NEW, &err), KP_OK, "%s",
                 err.text);
    put_rows(log, 0, 2);
    char *text = content();
    cr_expect_str_eq(text, "member,agent_step,return,weight_l2\n", "rows wait for the flush");
    free(text);
    cr_assert_eq(kp_metrics_log_flush(log, &err), KP_OK);
    text = content();
    cr_expect_str_eq(text, "member,agent_step,return,weight_l2\n"
                           "0,10000000000,,0.333333343\n"
                           "1,10000000001,0.333333333,0.333333343\n");
    free(text);
    kp_metrics_log_close(log);
    kp_metrics read;
    cr_assert_eq(kp_metrics_read(&read, path, &err), KP_OK, "%s", err.text);
    cr_assert_eq(read.n, 2);
    cr_expect_eq(read.cell[KP_N_METRICS + KP_METRIC_AGENT_STEP], 10000000001.0);
    cr_expect(isnan(read.cell[KP_METRIC_RETURN]));
    kp_metrics_free(&read);
}

Test(metrics, resumed_equals_never_stopped) {
    kp_metrics_log *log = NULL;
    int64_t at = 0;
    kp_err err = { "" };
    cr_assert_eq(kp_metrics_log_open(&log, path, columns, N, KP_METRICS_NEW, &err), KP_OK);
    put_rows(log, 0, 20000); /* more than the buffer holds */
    cr_assert_eq(kp_metrics_log_flush(log, &err), KP_OK);
    kp_metrics_log_close(log);
    char *want = content();

    cr_assert_eq(kp_metrics_log_open(&log, path, columns, N, KP_METRICS_NEW, &err), KP_OK);
    put_rows(log, 0, 7000);
    cr_assert_eq(kp_metrics_log_sync(log, &at, &err), KP_OK);
    put_rows(log, 7000, 15000);
    cr_assert_eq(kp_metrics_log_flush(log, &err), KP_OK);
    put_rows(log, 15000, 15003);
    kp_metrics_log_close(log); /* as a crash: the last rows never arrive */
    cr_assert_eq(kp_metrics_log_open(&log, path, columns, N, at, &err), KP_OK, "%s", err.text);
    char *cut = content();
    cr_expect_eq((int64_t)strlen(cut), at, "rows after the checkpoint are cut off");
    free(cut);
    put_rows(log, 7000, 20000);
    cr_assert_eq(kp_metrics_log_sync(log, &at, &err), KP_OK);
    kp_metrics_log_close(log);
    char *got = content();
    cr_expect(!strcmp(got, want), "the files differ; %zu and %zu bytes", strlen(got), strlen(want));
    cr_expect_eq(at, (int64_t)strlen(want));
    free(want);
    free(got);
}

Test(metrics, a_missing_shorter_or_other_file_is_refused) {
    kp_metrics_log *log = NULL;
    kp_err err = { "" };
    cr_expect_eq(kp_metrics_log_open(&log, path, columns, N, 35, &err), KP_STORAGE);
    cr_expect(strstr(err.text, "missing") && strstr(err.text, path), "%s", err.text);
    cr_expect_null(log);
    cr_expect(!kp_file_exists(path), "a missing file is not made");
    cr_assert_eq(kp_file_write(path, "member,agent_step,return,weight_l2\n0,", 37, NULL), KP_OK);
    cr_expect_eq(kp_metrics_log_open(&log, path, columns, N, 40, &err), KP_STORAGE);
    cr_expect(strstr(err.text, "37 bytes") && strstr(err.text, "40"), "%s", err.text);
    cr_expect_eq(kp_metrics_log_open(&log, path, columns, N - 1, 35, &err), KP_STORAGE);
    cr_expect(strstr(err.text, "columns"), "%s", err.text);
    cr_expect_eq(kp_metrics_log_open(&log, path, columns, N, 35, &err), KP_OK, "%s", err.text);
    kp_metrics_log_close(log);
}

Test(metrics, a_full_disk_leaves_whole_rows_and_flushing_again_goes_on) {
    kp_metrics_log *log = NULL;
    kp_err err = { "" };
    cr_assert_eq(kp_metrics_log_open(&log, path, columns, N, KP_METRICS_NEW, &err), KP_OK);
    put_rows(log, 0, 100);
    scratch_limit_file_size(1000);
    cr_expect_eq(kp_metrics_log_flush(log, &err), KP_STORAGE);
    scratch_limit_file_size(-1);
    cr_expect(strstr(err.text, path), "%s", err.text);
    char *text = content();
    cr_expect_str_eq(text, "member,agent_step,return,weight_l2\n");
    free(text);
    cr_assert_eq(kp_metrics_log_flush(log, &err), KP_OK);
    kp_metrics_log_close(log);
    kp_metrics read;
    cr_assert_eq(kp_metrics_read(&read, path, &err), KP_OK, "%s", err.text);
    cr_expect_eq(read.n, 100);
    kp_metrics_free(&read);
}
