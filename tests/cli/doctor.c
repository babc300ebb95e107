/* doctor.c: `kappa doctor` on this machine, and with things taken away from it. */
#include "program.h"

#include <stdlib.h>
#include <sys/stat.h>

#include "base/files.h"
#include "rom.h"
#include "scratch.h"

/* The line that begins with state and what; "" if there is none. */
static const char *line_of(const char *text, const char *state, const char *what) {
    static char line[1024];
    char start[64];
    snprintf(start, sizeof start, "%-9s%-12s", state, what);
    for (; *text; text += strcspn(text, "\n"), text += *text == '\n')
        if (!strncmp(text, start, strlen(start))) {
            snprintf(line, sizeof line, "%.*s", (int)strcspn(text, "\n"), text);
            return line;
        }
    return "";
}

static void expect_line(const program_said *p, const char *state, const char *what,
                        const char *says) {
    const char *line = line_of(p->out, state, what);
    cr_expect(*line && strstr(line, says), "no line '%s %s ... %s' in: %s", state, what, says,
              p->out);
}

static void setup(void) { setenv("KAPPA_PYTHON", KP_TEST_PYTHON, 1); }

TestSuite(doctor, .init = setup, .timeout = 60);

Test(doctor, this_machine_trains) {
    const program_said *p = PROGRAM("doctor");
    cr_assert_eq(p->code, 0, "%s%s", p->out, p->err);
    static const char *const what[] = { "processor", "cores", "memory", "device",   "python",
                                        "ale-py",    "numpy", "ROMs",   "emulator", "folder" };
    for (size_t i = 0; i < sizeof what / sizeof *what; i++) expect_line(p, "ok", what[i], "");
    expect_line(p, "ok", "ale-py", "0.12.1");
    cr_expect(strstr(p->out,
                     "ok       data        fashion-mnist: 60000 samples of 784, 10 classes"),
              "%s", p->out);
    cr_expect(strstr(p->out, "ok       data        mnist-5k: 5000 samples of 784, "), "%s", p->out);
    cr_expect(strstr(p->out, "missing  data        mini-imagenet: not in "), "%s", p->out);
    expect_line(p, "ok", "emulator", "pong: ");
    cr_expect(atoi(strstr(line_of(p->out, "ok", "emulator"), "pong: ") + 6) > 50, "%s", p->out);
    cr_expect(!strstr(p->out, "wrong "), "%s", p->out);
#ifdef KAPPA_HAVE_CUDA
    cr_expect(strstr(p->out, "CUDA driver") && strstr(p->out, "CUDA device"), "%s", p->out);
    cr_expect(strstr(p->out, "cuBLAS"), "%s", p->out);
#else
    expect_line(p, "missing", "cuda", "this build has no CUDA backend");
#endif
    cr_expect(strstr(p->out, "\nTraining on the CPU works here: kappa train "), "%s", p->out);
}

Test(doctor, an_interpreter_without_ale_py) {
    char folder[KP_PATH], empty[KP_PATH];
    scratch_folder(folder);
    kp_path_join(empty, folder, "python", NULL);
    static const char script[] = "#!/bin/sh\nexec " KP_TEST_PYTHON
                                 " -S \"$@\"\n"; /* -S: without its packages */
    cr_assert_eq(kp_file_write(empty, script, sizeof script - 1, NULL), KP_OK);
    cr_assert(!chmod(empty, 0755));
    const program_said *p = PROGRAM("doctor", "--python", empty);
    cr_expect_eq(p->code, 4, "%d", p->code);
    expect_line(p, "ok", "python", "3.");
    expect_line(p, "missing", "ale-py", "pip install ale-py==0.12.1 numpy==");
    expect_line(p, "missing", "ROMs", "ale-py brings them");
    expect_line(p, "missing", "emulator", "not tried");
    cr_expect(strstr(p->err, "doctor: training cannot start here: ") &&
                  strstr(p->err, "has no ale-py 0.12.1"),
              "%s", p->err);
    kp_folder_remove(folder, NULL);
}

Test(doctor, no_interpreter) {
    const program_said *p = PROGRAM("doctor", "--python", "/nowhere/python");
    cr_expect_eq(p->code, 4, "%d", p->code);
    expect_line(p, "missing", "python", "/nowhere/python does not run");
}

Test(doctor, roms_that_are_missing_or_altered) {
    char folder[KP_PATH], rom[KP_PATH];
    scratch_folder(folder);
    const program_said *p = PROGRAM("doctor", "--rom-dir", folder);
    cr_expect_eq(p->code, 3, "%d", p->code);
    expect_line(p, "missing", "ROMs", "108 of 108 games");
    cr_expect(strstr(p->err, "0 intact ROMs in "), "%s", p->err);

    kp_path_join(rom, folder, "qbert.bin", NULL);
    rom_copy("qbert", rom, 0);
    p = PROGRAM("doctor", "--rom-dir", folder);
    cr_expect_eq(p->code, 0, "one game is enough to train: %s", p->err);
    expect_line(p, "ok", "ROMs", "1 of 108 games");
    expect_line(p, "missing", "ROMs", "107 of 108 games");
    expect_line(p, "ok", "emulator", "qbert: ");

    kp_path_join(rom, folder, "pong.bin", NULL);
    rom_copy("pong", rom, 1);
    p = PROGRAM("doctor", "--rom-dir", folder);
    cr_expect_eq(p->code, 3, "%d", p->code);
    expect_line(p, "wrong", "ROMs", "/pong.bin: altered ROM, MD5 ");
    cr_expect(strstr(p->err, "1 altered ROM in "), "%s", p->err);
    kp_folder_remove(folder, NULL);
}

Test(doctor, a_data_set_that_is_damaged) {
    char folder[KP_PATH], set[KP_PATH], path[KP_PATH];
    scratch_folder(folder);
    kp_path_join(set, folder, "mini-imagenet", NULL);
    kp_folder_make(set, NULL);
    kp_path_join(path, set, "a.safetensors", NULL);
    cr_assert_eq(kp_file_write(path, "not one", 7, NULL), KP_OK);
    setenv("KAPPA_DATA", folder, 1);
    const program_said *p = PROGRAM("doctor");
    cr_expect_eq(p->code, 0, "games need no data set: %s", p->err);
    char want[2 * KP_PATH];
    snprintf(want, sizeof want, "wrong    data        mini-imagenet: %s: 7 bytes, ", path);
    cr_expect(strstr(p->out, want), "\"%s\" not in: %s", want, p->out);
    kp_folder_remove(folder, NULL);
}

Test(doctor, a_folder_that_cannot_be_written) {
    cr_assert(!chdir("/proc"));
    const program_said *p = PROGRAM("doctor");
    cr_expect_eq(p->code, 6, "%d", p->code);
    expect_line(p, "wrong", "folder", "cannot write");
}

Test(doctor, without_gnuplot_training_works_all_the_same) {
    setenv("PATH", "/nowhere", 1);
    const program_said *p = PROGRAM("doctor");
    cr_expect_eq(p->code, 0, "%s", p->err);
    expect_line(p, "missing", "gnuplot", "apt install gnuplot-nox");
}
