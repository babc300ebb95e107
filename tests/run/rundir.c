/* rundir.c: one process at a time, and run.json through a run's life; log.txt. */
#include "run/rundir.h"

#include <criterion/criterion.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kappa/version.h"
#include "run/log.h"
#include "scratch.h"

static char folder[KP_PATH], run[KP_PATH];

static void setup(void) {
    scratch_folder(folder);
    kp_path_join(run, folder, "runs/x", NULL);
}

static void teardown(void) { kp_folder_remove(folder, NULL); }

TestSuite(rundir, .init = setup, .fini = teardown);

static char *content(const char *name) { /* yours to free */
    char path[KP_PATH];
    uint8_t *text = NULL;
    size_t n;
    kp_err err = { "" };
    kp_path_join(path, run, name, NULL);
    cr_assert_eq(kp_file_read(path, &text, &n, &err), KP_OK, "%s", err.text);
    return (char *)text;
}

static const uint64_t seeds[] = { 3, 4, UINT64_MAX };
static const char *libraries[][2] = { { "jansson", "2.14" }, { "zstd", NULL } };
static const kp_run_info info = {
    .device = "cpu: 2 threads", .n_seeds = 3, .seed = seeds, .n_libraries = 2, .library = libraries
};

Test(rundir, run_json_tells_the_life_of_a_run) {
    kp_rundir *dir = NULL;
    kp_run_state state;
    int code, holder;
    kp_err err = { "" };
    cr_assert_eq(kp_rundir_peek(run, &state, &code, &holder, &err), KP_OK, "%s", err.text);
    cr_expect_eq(state, KP_RUN_NONE);

    cr_assert_eq(kp_rundir_open(&dir, run, KP_RUNDIR_NEW, &err), KP_OK, "%s", err.text);
    cr_assert_eq(kp_rundir_write(dir, "config.yaml", "seed: 3\n", 8, &err), KP_OK);
    cr_assert_eq(kp_rundir_start(dir, &info, &err), KP_OK, "%s", err.text);
    cr_assert_eq(kp_rundir_peek(run, &state, &code, &holder, &err), KP_OK, "%s", err.text);
    cr_expect_eq(state, KP_RUN_RUNNING);
    cr_expect_eq(holder, getpid());
    char *text = content("run.json"), *config = content("config.yaml");
    const char *want[] = { "\"version\": \"" KP_VERSION "\"",
                           "\"commit\":",
                           "\"host\":",
                           "\"device\": \"cpu: 2 threads\"",
                           "\"jansson\": \"2.14\"",
                           "\"zstd\": null",
                           "\"resumed\": 0",
                           "\"state\": \"running\"",
                           "\"started\": \"2",
                           "18446744073709551615" };
    for (size_t i = 0; i < sizeof want / sizeof *want; i++)
        cr_expect(strstr(text, want[i]), "no %s in %s", want[i], text);
    cr_expect_str_eq(config, "seed: 3\n");
    free(text);
    free(config);

    cr_assert_eq(kp_rundir_finish(dir, KP_RUN_STOPPED, KP_INTERRUPTED, "SIGTERM", &err), KP_OK);
    kp_rundir_close(dir);
    cr_assert_eq(kp_rundir_peek(run, &state, &code, &holder, &err), KP_OK);
    cr_expect(state == KP_RUN_STOPPED && code == 85 && holder == 0, "%d %d %d", state, code,
              holder);

    cr_assert_eq(kp_rundir_open(&dir, run, KP_RUNDIR_RESUME, &err), KP_OK, "%s", err.text);
    cr_assert_eq(kp_rundir_start(dir, &info, &err), KP_OK);
    text = content("run.json");
    cr_expect(strstr(text, "\"resumed\": 1") && strstr(text, "\"running\"") &&
                  !strstr(text, "SIGTERM"),
              "%s", text);
    free(text);
    cr_assert_eq(kp_rundir_finish(dir, KP_RUN_DONE, KP_OK, NULL, &err), KP_OK);
    kp_rundir_close(dir);
    cr_assert_eq(kp_rundir_peek(run, &state, &code, NULL, &err), KP_OK);
    cr_expect(state == KP_RUN_DONE && code == 0);
}

Test(rundir, new_and_resume_want_what_they_say) {
    kp_rundir *dir = NULL;
    kp_err err = { "" };
    cr_expect_eq(kp_rundir_open(&dir, run, KP_RUNDIR_RESUME, &err), KP_BAD_CONFIG);
    cr_expect_null(dir);
    cr_expect(!kp_file_exists(run), "nothing is made for a resume");
    cr_assert_eq(kp_rundir_open(&dir, run, KP_RUNDIR_EITHER, &err), KP_OK, "%s", err.text);
    cr_assert_eq(kp_rundir_start(dir, &info, &err), KP_OK);
    kp_rundir_close(dir);
    cr_expect_eq(kp_rundir_open(&dir, run, KP_RUNDIR_NEW, &err), KP_BAD_CONFIG);
    cr_expect(strstr(err.text, "kappa resume"), "%s", err.text);
    cr_expect_eq(kp_rundir_open(&dir, run, KP_RUNDIR_EITHER, &err), KP_OK);
    kp_rundir_close(dir);
}

Test(rundir, a_second_process_is_refused_and_told_who_holds_it) {
    int up[2], down[2];
    char byte;
    kp_rundir *dir = NULL;
    kp_err err = { "" };
    cr_assert(!pipe(up) && !pipe(down));
    pid_t child = fork();
    if (child == 0) {
        kp_status st = kp_rundir_open(&dir, run, KP_RUNDIR_NEW, NULL);
        if (!st) st = kp_rundir_start(dir, &info, NULL);
        if (write(up[1], st ? "n" : "y", 1) != 1 || read(down[0], &byte, 1) != 1) _exit(9);
        _exit(0); /* without closing: the kernel gives the lock back */
    }
    cr_assert(read(up[0], &byte, 1) == 1 && byte == 'y');
    char want[64];
    snprintf(want, sizeof want, "in use by process %d", (int)child);
    cr_expect_eq(kp_rundir_open(&dir, run, KP_RUNDIR_EITHER, &err), KP_STORAGE);
    cr_expect(strstr(err.text, want) && strstr(err.text, run), "%s", err.text);
    cr_expect_null(dir);
    kp_run_state state;
    int code, holder;
    cr_assert_eq(kp_rundir_peek(run, &state, &code, &holder, NULL), KP_OK);
    cr_expect_eq(holder, child);
    cr_assert(write(down[1], "x", 1) == 1);
    waitpid(child, NULL, 0);
    cr_assert_eq(kp_rundir_peek(run, &state, &code, &holder, NULL), KP_OK);
    cr_expect(state == KP_RUN_RUNNING && holder == 0, "a killed run is running and held by none");
    cr_expect_eq(kp_rundir_open(&dir, run, KP_RUNDIR_RESUME, &err), KP_OK, "%s", err.text);
    kp_rundir_close(dir);
}

Test(rundir, an_unwritable_place_is_named) {
    kp_rundir *dir = NULL;
    kp_err err = { "" };
    if (geteuid() != 0) { /* root may write anywhere */
        cr_expect_eq(kp_rundir_open(&dir, "/proc/kappa/x", KP_RUNDIR_NEW, &err), KP_STORAGE);
    }
    char path[KP_PATH];
    kp_path_join(path, folder, "file", NULL);
    cr_assert_eq(kp_file_write(path, "x", 1, NULL), KP_OK);
    kp_path_join(path, folder, "file/run", NULL);
    cr_expect_eq(kp_rundir_open(&dir, path, KP_RUNDIR_NEW, &err), KP_STORAGE);
    cr_expect(strstr(err.text, "Not a directory"), "%s", err.text);
    cr_expect_null(dir);
}

Test(rundir, a_damaged_run_json_is_named_with_its_line) {
    char path[KP_PATH];
    kp_run_state state;
    int code;
    kp_err err = { "" };
    cr_assert_eq(kp_folder_make(run, NULL), KP_OK);
    kp_path_join(path, run, "run.json", NULL);
    cr_assert_eq(kp_file_write(path, "{\n \"state\": \"run", 15, NULL), KP_OK);
    cr_expect_eq(kp_rundir_peek(run, &state, &code, NULL, &err), KP_STORAGE);
    cr_expect(strstr(err.text, "run.json:2:"), "%s", err.text);
}

Test(rundir, a_full_disk_is_said) {
    kp_rundir *dir = NULL;
    kp_err err = { "" };
    char big[1 << 16];
    memset(big, 'x', sizeof big);
    cr_assert_eq(kp_folder_make(run, NULL), KP_OK);
    if (!scratch_disk(run, 32)) cr_skip_test("no permission to mount a small disk");
    cr_assert_eq(kp_rundir_open(&dir, run, KP_RUNDIR_NEW, &err), KP_OK, "%s", err.text);
    cr_expect_eq(kp_rundir_write(dir, "config.yaml", big, sizeof big, &err), KP_STORAGE);
    cr_expect(strstr(err.text, "No space left") && strstr(err.text, "config.yaml"), "%s", err.text);
    cr_expect_eq(kp_rundir_start(dir, &info, &err), KP_OK, "the failed file took room: %s",
                 err.text);
    kp_rundir_close(dir);
    umount(run);
}

Test(rundir, log_lines_carry_the_time_and_never_break) {
    char path[KP_PATH];
    kp_log *log = NULL;
    cr_assert_eq(kp_folder_make(run, NULL), KP_OK);
    kp_path_join(path, run, "log.txt", NULL);
    for (int i = 0; i < 2; i++) { /* the second one appends */
        cr_assert_eq(kp_log_open(&log, path, 0, NULL), KP_OK);
        kp_log_line(log, "member %d:\nstopped", i);
        kp_log_close(log);
    }
    char *text = content("log.txt");
    int year, rest = 0;
    cr_expect_eq(sscanf(text, "%d-%*d-%*dT%*d:%*d:%*dZ %n", &year, &rest), 1);
    cr_expect_eq(rest, 21);
    cr_expect(!strncmp(text + 21, "member 0: stopped\n2", 19), "%s", text);
    cr_expect(strstr(text, "Z member 1: stopped\n"), "%s", text);
    free(text);
    kp_log_line(NULL, "no log");
    cr_expect_eq(kp_log_open(&log, "/nowhere/log.txt", 0, NULL), KP_STORAGE);
}

Test(rundir, a_log_on_a_full_disk_does_not_stop_the_run) {
    kp_log *log = NULL;
    cr_assert_eq(kp_log_open(&log, "/dev/full", 0, NULL), KP_OK);
    kp_log_line(log, "lost");
    kp_log_close(log);
}
