/* train.c: `kappa train` and `kappa resume` as a user has them: what they print, signals, and law
 * 7: bad input has its message and exit code, and nothing that was saved is lost. */
#include "program.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>

#include "base/files.h"
#include "rom.h"
#include "scratch.h"

/* Some seconds of training, and the same with what the test asks for after it. */
#define SMALL                                                                                      \
    "dqn-dopamine", "env.game=breakout", "train.agent_steps=240", "train.replay_ratio=0.25",       \
        "net.hidden=16", "dqn.batch=4", "buffer.transitions=200", "buffer.min_transitions=40",     \
        "eval.interval_steps=120", "eval.episodes=1", "eval.max_agent_steps=30",                   \
        "log.interval_steps=40", "target.period=50", "threads=1", "env.workers=1", "seed=5"

static char home[KP_PATH];

static void setup(void) {
    setenv("KAPPA_PYTHON", KP_TEST_PYTHON, 1);
    scratch_folder(home);
    cr_assert(!chdir(home));
}
static void teardown(void) {
    umount2("disk", MNT_DETACH);
    kp_folder_remove(home, NULL);
}

TestSuite(train, .init = setup, .fini = teardown, .timeout = 120);

static void expect_says(const char *what, const program_said *p, int code, const char *message) {
    cr_expect_eq(p->code, code, "%s: exit code %d, not %d: %s", what, p->code, code, p->err);
    cr_expect(strstr(p->err, message), "%s: no '%s' in: %s", what, message, p->err);
    const char *last = strstr(p->err, "kappa: ");
    cr_expect(code == 0 || (last && strchr(last, '\n') == last + strlen(last) - 1),
              "%s: one line: %s", what, p->err);
}

static int64_t size_of(const char *path) {
    struct stat s;
    return stat(path, &s) ? 0 : (int64_t)s.st_size;
}

static void wait_for_more(const char *path, int64_t than) { /* bytes */
    for (int i = 0; i < 3000; i++) {
        if (size_of(path) > than) return;
        nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL);
    }
    cr_assert(0, "%s does not appear, or grow", path);
}

static void wait_for(const char *path) { wait_for_more(path, 0); }

/* Names of the checkpoints, oldest first, once there are `least`; yours to free. */
static char **wait_for_checkpoints(const char *folder, int least, int *n) {
    for (int i = 0; i < 3000; i++) {
        char **name = NULL;
        int all = 0;
        *n = 0;
        if (kp_file_exists(folder) && !kp_folder_list(folder, &name, &all, NULL))
            for (int k = 0; k < all; k++)
                if (name[k][0] == '0') name[(*n)++] = name[k];
        if (*n >= least) return name;
        free(name);
        nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL);
    }
    cr_assert(0, "%s has too few checkpoints", folder);
    return NULL;
}

/* ---- what a run says ------------------------------------------------------------------------- */

Test(train, a_run_leaves_what_it_says) {
    const program_said *p = PROGRAM("train", SMALL, "run.dir=a", "optim.clip.kappa=1",
                                    "population.size=2");
    cr_assert_eq(p->code, 0, "%s", p->err);
    cr_expect(strstr(p->out, "kappa report a "), "%s", p->out);
    cr_expect(strstr(p->err, "a: cpu, 1 thread, ") && strstr(p->err, "2 members\n") &&
                  strstr(p->err, "replay: "),
              "%s", p->err);
    cr_expect(strstr(p->err, "done: agent step 240, 50 updates"), "%s", p->err);
    cr_expect(!strchr(p->err, '\r') && !strchr(p->err, 033),
              "no cursor movement where no terminal is: %s", p->err);
    static const char *const file[] = { "a/config.yaml", "a/run.json", "a/metrics.csv", "a/log.txt",
                                        "a/checkpoint/0000000240/state.safetensors" };
    for (size_t i = 0; i < sizeof file / sizeof *file; i++)
        cr_expect(kp_file_exists(file[i]), "%s", file[i]);
    cr_expect(!kp_file_exists("a/checkpoint/replay"),
              "the replay of a run that is done is of no use");
    char *json = scratch_text("a/run.json");
    cr_expect(strstr(json, "\"done\"") && strstr(json, "0.12.1"), "%s", json);
    free(json);
    p = PROGRAM("resume", "a");
    cr_expect(p->code == 0 && strstr(p->out, "a: done already"), "%s%s", p->out, p->err);
    expect_says("again", PROGRAM("train", SMALL, "run.dir=a"), 2,
                "a: holds a run already; `kappa resume a`");
    p = PROGRAM("report", "a");
    cr_expect(p->code == 0 && strstr(p->out, "breakout") && strstr(p->out, " 2 "), "%s%s", p->out,
              p->err);
    /* config.yaml alone makes the same run again */
    cr_expect_eq(PROGRAM("train", "a/config.yaml", "run.dir=b")->code, 0);
    scratch_expect_same_text("a/metrics.csv", "b/metrics.csv");
}

/* ---- signals --------------------------------------------------------------------------------- */

Test(train, signals_save_and_resume_goes_on) {
    static const int signals[] = { SIGTERM, SIGUSR1, SIGINT };
    cr_assert_eq(PROGRAM("train", SMALL, "run.dir=whole")->code, 0);
    for (int i = 0; i < 3; i++) {
        char dir[16], run_dir[32], metrics[64];
        snprintf(dir, sizeof dir, "parts-%d", i);
        snprintf(run_dir, sizeof run_dir, "run.dir=%s", dir);
        snprintf(metrics, sizeof metrics, "%s/metrics.csv", dir);
        program_running r = PROGRAM_START("train", SMALL, run_dir);
        wait_for(metrics);
        kill(r.pid, signals[i]);
        expect_says(strsignal(signals[i]), program_end(r), 85, "saved at agent step ");
        cr_assert_eq(PROGRAM("resume", dir, "threads=2")->code, 0);
        scratch_expect_same_text("whole/metrics.csv", metrics);
    }
}

/* As `timeout` and Slurm send them: while workers start, and later. */
Test(train, signals_to_the_whole_group_leave_the_workers_alone) {
    static const char *const when[] = { "started", "b/metrics.csv" };
    static const char slow[] = "#!/bin/sh\necho > started\nsleep 1\nexec '" KP_TEST_PYTHON
                               "' \"$@\"\n";
    cr_assert_eq(PROGRAM("train", SMALL, "run.dir=whole")->code, 0);
    cr_assert_eq(kp_file_write("slow", slow, sizeof slow - 1, NULL), KP_OK);
    cr_assert(!chmod("slow", 0700) && !setenv("KAPPA_PYTHON", "./slow", 1));
    for (int i = 0; i < 2; i++) {
        char dir[2] = { (char)('a' + i), 0 }, run_dir[16], metrics[32];
        snprintf(run_dir, sizeof run_dir, "run.dir=%s", dir);
        snprintf(metrics, sizeof metrics, "%s/metrics.csv", dir);
        program_running r = PROGRAM_START("train", SMALL, run_dir);
        wait_for(when[i]);
        kill(-r.pid, SIGTERM);
        expect_says(when[i], program_end(r), 85, "saved at agent step ");
        cr_assert_eq(PROGRAM("resume", dir)->code, 0);
        scratch_expect_same_text("whole/metrics.csv", metrics);
    }
}

Test(train, events_stay_while_they_are_off) {
    static const char events[] = "a/events.out.tfevents.kappa", metrics[] = "a/metrics.csv";
    program_running r = PROGRAM_START("train", SMALL, "run.dir=a", "train.agent_steps=2000",
                                      "log.tensorboard=true");
    wait_for_more(events, 2000);
    kill(r.pid, SIGTERM);
    cr_assert_eq(program_end(r)->code, 85);
    const int64_t rows = size_of(metrics);
    uint8_t *before = NULL, *after = NULL;
    size_t n_before, n_after;
    cr_assert_eq(kp_file_read(events, &before, &n_before, NULL), KP_OK);
    cr_assert_gt(n_before, 2000);
    r = PROGRAM_START("resume", "a", "log.tensorboard=false");
    wait_for_more(metrics, rows);
    kill(r.pid, SIGTERM);
    cr_assert_eq(program_end(r)->code, 85);
    cr_assert_eq(PROGRAM("resume", "a")->code, 0);
    cr_assert_eq(kp_file_read(events, &after, &n_after, NULL), KP_OK);
    cr_expect(n_after > n_before && !memcmp(after, before, n_before), "%zu bytes, were %zu",
              n_after, n_before);
    free(before);
    free(after);
}

Test(train, a_second_process_is_refused) {
    char pid[32];
    program_running r = PROGRAM_START("train", SMALL, "run.dir=a", "train.agent_steps=100000");
    wait_for("a/metrics.csv");
    snprintf(pid, sizeof pid, "%d", (int)r.pid);
    expect_says("resume", PROGRAM("resume", "a"), 6, pid);
    expect_says("train", PROGRAM("train", SMALL, "run.dir=a"), 6, "a: in use by process ");
    kill(r.pid, SIGTERM);
    cr_expect_eq(program_end(r)->code, 85);
}

/* ---- law 7: arguments, ROMs, workers --------------------------------------------------------- */

Test(train, bad_input_has_its_message_and_exit_code) {
    static const struct {
        const char *arg;
        int code;
        const char *message;
    } bad[] = {
        { "optim.clip.kapa=2", 2,
          "command line: optim.clip.kapa is not a key; did you mean optim.clip.kappa?" },
        { "optim.lr=fast", 2, "command line: optim.lr: seen 'fast', expected a number above 0" },
        { "dqn.batch=1.5", 2,
          "command line: dqn.batch: seen '1.5', expected a whole number from 1" },
        { "dqn.gamma=2", 2, "command line: dqn.gamma: seen '2', expected a number from 0 to 1" },
        { "optim.clip.kappa=0", 2,
          "command line: optim.clip.kappa: seen '0', expected none (no clipping), a number above 0" },
        { "optim.clip.kappa=-1", 2, "command line: optim.clip.kappa: seen '-1'" },
        { "optim.clip.kappa=nan", 2, "command line: optim.clip.kappa: seen 'nan'" },
        { "train.replay_ratio=0", 2, "command line: train.replay_ratio: seen '0'" },
        { "buffer.min_transitions=300", 2, "buffer.min_transitions" },
        { "env.game=breakuot", 2,
          "env.game: breakuot is not a game; did you mean breakout? kappa list games has all" },
        { "env.game=chess", 2, "env.game: chess is not a game" },
        { "env.rom_dir=.", 3, "./breakout.bin: ROM missing; ale-py==0.12.1 brings it" },
        { "env.python=./bare", 4,
          "env: the Atari worker did not start (" KP_TEST_PYTHON ": No module named 'ale_py'); pip "
          "install ale-py==0.12.1" },
        { "env.python=/nowhere/python", 4,
          "env: the Atari worker did not start (/nowhere/python: No such file or directory)" },
        { "env.python=/bin/false", 4,
          "env: the Atari worker did not start (/bin/false: ended at once, exit code 1)" },
        { "buffer.transitions=1000000000", 2,
          "GiB are available; lower buffer.transitions or population.size" },
        { "device=cuda:99", 4, "device cuda" },
        { "precision=fp16", 2,
          "command line: precision: seen 'fp16', expected one of fp32|tf32|bf16" },
        { "device=tpu", 2, "device: seen 'tpu', expected auto, cpu, cuda or cuda:N" },
        { "run.dir=/proc/kappa", 6, "/proc/kappa: cannot make the folder" },
        { "--fast", 2, "--fast is not an option of `kappa train`; see kappa train --help" },
        { "fast", 2, "command line: fast" },
    };
    static const char script[] = "#!/bin/sh\nexec " KP_TEST_PYTHON
                                 " -S \"$@\"\n"; /* -S: without its packages */
    cr_assert_eq(kp_file_write("bare", script, sizeof script - 1, NULL), KP_OK);
    cr_assert(!chmod("bare", 0755));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        expect_says(bad[i].arg, PROGRAM("train", SMALL, "run.dir=a", bad[i].arg), bad[i].code,
                    bad[i].message);
        cr_expect(!kp_file_exists("a/run.json"), "%s: nothing ran", bad[i].arg);
    }
    expect_says(
        "tf32 on the CPU", PROGRAM("train", SMALL, "run.dir=a", "device=cpu", "precision=tf32"), 2,
        "precision: tf32 is for GPUs, and this is the cpu; leave it out, or use device=cuda");
    cr_expect_eq(PROGRAM("train", SMALL, "run.dir=a")->code, 0,
                 "put right, it runs in the same folder");
    expect_says("no arguments", PROGRAM("train"), 2, "name a preset or a file");
    expect_says("no preset", PROGRAM("train", "dqn-dopamin"), 2, "dqn-dopamin is neither a preset");
    expect_says("nothing to resume", PROGRAM("resume", "nowhere"), 2,
                "nowhere: there is no run to resume");
}

Test(train, an_altered_rom_is_refused) {
    rom_copy("breakout", "breakout.bin", 1);
    expect_says("altered", PROGRAM("train", SMALL, "run.dir=a", "env.rom_dir=."), 3,
                "/breakout.bin: altered ROM, MD5 ");
}

Test(train, weights_that_are_not_finite) {
    const program_said *p = PROGRAM("train", SMALL, "run.dir=a", "optim.lr=1000", "optim.eps=1e-8",
                                    "train.agent_steps=100000");
    expect_says(
        "lr 1000", p, 5,
        "1 of 1 members stopped with weights that are not finite, the first (seed 5) after update ");
    cr_expect(strstr(p->err, "member 0 (seed 5): ") &&
                  strstr(p->err, " is not finite after update "),
              "%s", p->err);
}

/* ---- law 7: storage -------------------------------------------------------------------------- */

static void cut_short(const char *path) {
    uint8_t *bytes = NULL;
    size_t n;
    cr_assert_eq(kp_file_read(path, &bytes, &n, NULL), KP_OK, "%s", path);
    cr_assert_eq(kp_file_write(path, bytes, n / 2, NULL), KP_OK);
    free(bytes);
}

Test(train, a_damaged_checkpoint_is_passed_over) {
    char path[KP_PATH];
    int n = 0;
    cr_assert_eq(PROGRAM("train", SMALL, "run.dir=whole")->code, 0);
    program_running r = PROGRAM_START("train", SMALL, "run.dir=a",
                                      "checkpoint.interval_seconds=0.01", "checkpoint.keep=3");
    free(wait_for_checkpoints("a/checkpoint", 3, &n));
    kill(r.pid, SIGKILL);
    cr_expect_eq(program_end(r)->code, 128 + SIGKILL);
    char **name = wait_for_checkpoints("a/checkpoint", 2, &n);
    snprintf(path, sizeof path, "a/checkpoint/%s/state.safetensors", name[n - 1]);
    free(name);
    cut_short(path);
    const program_said *p = PROGRAM("resume", "a", "checkpoint.interval_seconds=0");
    cr_expect_eq(p->code, 0, "%s", p->err);
    cr_expect(strstr(p->err, "a checkpoint is damaged, the one before it is used: "), "%s", p->err);
    scratch_expect_same_text("whole/metrics.csv", "a/metrics.csv");
}

Test(train, where_all_checkpoints_are_damaged_nothing_is_overwritten) {
    char path[KP_PATH];
    int n = 0;
    program_running r = PROGRAM_START("train", SMALL, "run.dir=a");
    wait_for("a/metrics.csv");
    kill(r.pid, SIGTERM);
    cr_assert_eq(program_end(r)->code, 85);
    char **name = wait_for_checkpoints("a/checkpoint", 1, &n);
    for (int i = 0; i < n; i++) {
        snprintf(path, sizeof path, "a/checkpoint/%s/state.safetensors", name[i]);
        cut_short(path);
    }
    char *before = scratch_text("a/metrics.csv");
    expect_says("all damaged", PROGRAM("resume", "a"), 6, "state.safetensors");
    char *after = scratch_text("a/metrics.csv");
    cr_expect_str_eq(before, after);
    cr_expect(kp_file_exists(path), "what is left of it is left");
    free(before);
    free(after);
    free(name);
}

Test(train, a_full_disk_ends_the_run_and_loses_nothing) {
    int n = 0;
    cr_assert_eq(kp_folder_make("disk", NULL), KP_OK);
    if (!scratch_disk("disk", 12 * 1024)) cr_skip_test("this user may not mount a disk");
    cr_assert_eq(PROGRAM("train", SMALL, "run.dir=whole")->code, 0);
    /* another file takes the room that the next checkpoint needs */
    program_running r = PROGRAM_START("train", SMALL, "run.dir=disk/a",
                                      "checkpoint.interval_seconds=0.01");
    free(wait_for_checkpoints("disk/a/checkpoint", 2, &n));
    if (system("head -c 12M /dev/zero >disk/other 2>/dev/null")) { /* it is cut short where the disk
                                                                      ends */
    }
    expect_says("full disk", program_end(r), 6, "No space left on device");
    cr_assert(!unlink("disk/other"));
    const program_said *p = PROGRAM("resume", "disk/a", "checkpoint.interval_seconds=0");
    cr_expect_eq(p->code, 0, "%s", p->err);
    cr_expect(strstr(p->err, "resumed at agent step "), "%s", p->err);
    scratch_expect_same_text("whole/metrics.csv", "disk/a/metrics.csv");
}
