/* sweep.c: `kappa sweep` on real games: populations, what is done is skipped, what failed is tried
 * again and stops nothing, signals save. */
#include "program.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>

#include "base/files.h"
#include "rom.h"
#include "scratch.h"

static char home[KP_PATH];

static void write_file(const char *path, const char *text) {
    cr_assert_eq(kp_file_write(path, text, strlen(text), NULL), KP_OK, "%s", path);
}

static void setup(void) {
    setenv("KAPPA_PYTHON", KP_TEST_PYTHON, 1);
    scratch_folder(home);
    cr_assert(!chdir(home));
    write_file("s.yaml", "schema: 1\n"
                         "base: dqn-dopamine\n"
                         "set:\n"
                         "  train: { agent_steps: 160, replay_ratio: 0.25 }\n"
                         "  buffer: { transitions: 200, min_transitions: 40 }\n"
                         "  eval: { interval_steps: 80, episodes: 1, max_agent_steps: 20 }\n"
                         "  net.hidden: 16\n"
                         "  dqn.batch: 4\n"
                         "  log.interval_steps: 40\n"
                         "grid:\n"
                         "  env.game: [breakout, pong]\n"
                         "  optim.clip.kappa: [none, 1]\n"
                         "  seed: 0..1\n");
}
static void teardown(void) { kp_folder_remove(home, NULL); }

TestSuite(cli_sweep, .init = setup, .fini = teardown, .timeout = 120);

static void expect_in(const char *text, const char *wanted) {
    cr_expect(strstr(text, wanted), "no '%s' in: %s", wanted, text);
}
static void expect_not_in(const char *text, const char *bad) {
    cr_expect(!strstr(text, bad), "'%s' in: %s", bad, text);
}

Test(cli_sweep, a_dry_run_shows_and_does_nothing) {
    const program_said *p = PROGRAM("sweep", "s.yaml", "--dry-run", "--members", "3");
    cr_expect_eq(p->code, 0, "%s", p->err);
    expect_in(p->out, "runs/s: 8 runs in 4 populations");
    expect_in(
        p->out,
        "population-003   2 members  160 agent steps, replay ratio 0.25  to be trained\n    pong-kappa1-s0\n");
    cr_expect(!kp_file_exists("runs"));
}

Test(cli_sweep, one_failure_stops_nothing_and_is_tried_again) {
    cr_assert(!mkdir("roms", 0755));
    rom_copy("pong", "roms/pong.bin", 0);
    const program_said *p = PROGRAM("sweep", "s.yaml", "env.rom_dir=roms", "env.workers=1");
    cr_expect_eq(p->code, 3, "the code of what failed: %d", p->code);
    expect_in(p->err, "roms/breakout.bin: ROM missing");
    expect_in(p->err,
              "1 of 2 populations failed, the others are done; call again to try those once more");
    expect_in(p->out, "pong  ");
    expect_not_in(p->out, "breakout  ");
    p = PROGRAM("sweep", "s.yaml", "env.workers=1");
    cr_expect_eq(p->code, 0, "%s", p->err);
    expect_in(p->err, "population-000: 4 members\n");
    expect_in(p->err, "population-001: 4 members, done already\n");
    expect_in(p->out, "breakout  kappa none     2 ");
    expect_in(p->out, "pong      kappa 1        2 ");
    expect_in(p->out, "runs/s/report: report.txt, curves as CSV and PNG");
    cr_expect(kp_file_exists("runs/s/report/report.txt") &&
              kp_file_exists("runs/s/report/curves-pong.csv"));
    p = PROGRAM("sweep", "s.yaml");
    cr_expect_eq(p->code, 0);
    expect_in(p->err, "population-000: 4 members, done already\n");
    expect_not_in(p->err, "agent steps/s");
}

Test(cli_sweep, stopped_it_goes_on_to_the_same_end) {
    cr_assert_eq(PROGRAM("sweep", "s.yaml", "--dir", "whole", "env.workers=1")->code, 0);
    program_running r = PROGRAM_START("sweep", "s.yaml", "--dir", "parts", "threads=1",
                                      "env.workers=1");
    for (int i = 0; i < 3000 && !kp_file_exists("parts/population-001/metrics.csv"); i++)
        nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL);
    kill(r.pid, SIGINT);
    const program_said *p = program_end(r);
    cr_expect_eq(p->code, 85, "%s", p->err);
    expect_in(p->err, "kappa: parts: saved; the same command goes on\n");
    p = PROGRAM("sweep", "s.yaml", "--dir", "parts");
    cr_expect_eq(p->code, 0, "%s", p->err);
    expect_in(p->err, "population-000: 4 members, done already\n");
    expect_in(p->err, "resumed at agent step ");
    scratch_expect_same_text("whole/population-000/metrics.csv",
                             "parts/population-000/metrics.csv");
    scratch_expect_same_text("whole/population-001/metrics.csv",
                             "parts/population-001/metrics.csv");
}

Test(cli_sweep, bad_input) {
    static const struct {
        const char *study, *arg;
        int code;
        const char *message;
    } bad[] = {
        { "schema: 1\nbase: dqn-dopamine\ngrid:\n  optim.clip.kappa: []\n", "--dry-run", 2,
          "b.yaml:4: optim.clip.kappa: the list is empty, so there would be no run" },
        { "schema: 1\nbase: dqn-dopamine\n", "--dry-run", 2, "b.yaml: grid: has no keys" },
        { "schema: 1\nbase: dqn-dopamine\ngrid: { optim.clip.kappa: [1, 0] }\n", "--dry-run", 2,
          "b.yaml:3: optim.clip.kappa: seen '0'" },
        { "schema: 1\nbase: dqn-dopamine\ngrid: { seed: 0..1 }\n", "optim.lr=1", 2,
          "command line: optim.lr belongs into the study's file" },
        { "schema: 1\nbase: dqn-dopamine\ngrid: { seed: 0..1 }\n", "--members=none", 2,
          "--members none: expected a number" },
        { "schema: 1\nbase: dqn-dopamine\ngrid: { seed: 0..1 }\n", "--speed", 2,
          "--speed is not an option of `kappa sweep`" },
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        write_file("b.yaml", bad[i].study);
        const program_said *p = PROGRAM("sweep", "b.yaml", bad[i].arg);
        cr_expect_eq(p->code, bad[i].code, "%s", p->err);
        expect_in(p->err, bad[i].message);
    }
    cr_expect_eq(PROGRAM("sweep", "nowhere.yaml")->code, 6);
    cr_expect_eq(PROGRAM("sweep")->code, 2);
    cr_expect(!kp_file_exists("runs"));
}

Test(cli_sweep, members_that_stopped_are_told_each_time) {
    static const char study[] =
        "schema: 1\nbase: stream-input-permuted-fashion\n"
        "set: { train.samples: 200, stream.task_samples: 100, optim.rule: sgd }\n"
        "grid: { optim.lr: [0.001, 1000] }\n";
    cr_assert_eq(kp_file_write("n.yaml", study, sizeof study - 1, NULL), KP_OK);
    for (int again = 0; again < 2; again++) {
        const program_said *p = PROGRAM("sweep", "n.yaml");
        cr_expect_eq(p->code, 5, "%d: %s", p->code, p->err);
        expect_in(p->err, "1 of 1 population is done, but with members that stopped");
        expect_in(p->out, "n/report: report.txt");
        if (again) expect_in(p->err, "population-000: 2 members, done already\n");
    }
}

/* gnuplot is on no PATH, and one of the two games has no ROM. */
Test(cli_sweep, a_report_that_fails_hides_nothing) {
    cr_assert(!mkdir("roms", 0755));
    rom_copy("pong", "roms/pong.bin", 0);
    cr_assert(!setenv("PATH", "/nowhere", 1));
    const program_said *p = PROGRAM("sweep", "s.yaml", "env.rom_dir=roms", "env.workers=1");
    cr_expect_eq(p->code, 3, "the code of what failed: %d", p->code);
    expect_in(p->err, "gnuplot");
    expect_in(p->err, "1 of 2 populations failed");
}

Test(cli_sweep, arguments_that_would_be_lost_are_refused) {
    static const struct {
        const char *arg, *message;
    } bad[] = {
        { "run.name=x", "run.name belongs into the study's file" },
        { "population.size=3", "population.size belongs into the study's file" },
        { "--dir=", "--dir: seen nothing, expected a folder's name" },
        { "--members=4", "--members is given twice" },
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const program_said *p = PROGRAM("sweep", "s.yaml", "--dry-run", "--members", "3",
                                        bad[i].arg);
        cr_expect_eq(p->code, 2, "%s: %d", bad[i].arg, p->code);
        expect_in(p->err, bad[i].message);
    }
}
