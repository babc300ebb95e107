/* stream.c: streams as a user has them: what they print, what they leave, exit codes. */
#include "program.h"

#include <signal.h>
#include <stdlib.h>
#include <time.h>

#include "learn/streams.h"

static char home[KP_PATH];

static void setup(void) {
    scratch_folder(home);
    cr_assert(!chdir(home));
    streams_make_data("data", 0);
}
static void teardown(void) { kp_folder_remove(home, NULL); }

TestSuite(cli_stream, .init = setup, .fini = teardown, .timeout = 120);

#define SMALL                                                                                      \
    "stream-input-permuted-mnist", "data.set=custom", "data.dir=data", "net.widths=19-12",         \
        "stream.task_samples=100", "threads=1", "device=cpu", "optim.lr=0.003"

static void expect_says(const program_said *p, int code, const char *out, const char *message) {
    cr_expect_eq(p->code, code, "exit code %d, not %d: %s", p->code, code, p->err);
    cr_expect(strstr(p->out, out), "no '%s' in: %s", out, p->out);
    cr_expect(strstr(p->err, message), "no '%s' in: %s", message, p->err);
}

Test(cli_stream, a_run_leaves_what_it_says) {
    expect_says(PROGRAM("train", SMALL, "train.samples=300", "population.size=2", "run.dir=a"), 0,
                "kappa report a ", "done: sample 300, 300 updates; ");
    char *log = scratch_text("a/log.txt"), *config = scratch_text("a/config.yaml");
    cr_expect(strstr(log,
                     "data/train-images-idx3-ubyte, data/train-labels-idx1-ubyte: 200 samples of "
                     "30 inputs, 4 classes\n"),
              "%s", log);
    cr_expect(strstr(log, "path: fused, "), "%s", log);
    cr_expect(strstr(config, "  task_samples: 100  # command line\n") && !strstr(config, "\nenv:"),
              "%s", config);
    free(log);
    free(config);
    cr_expect(streams_last("a", 1, "accuracy") > 0.3);
    expect_says(PROGRAM("resume", "a"), 0, "a: done already", "");
    expect_says(PROGRAM("train", SMALL, "train.samples=100", "optim.clip.kappa=2"), 0,
                "runs/input_permuted-custom-adam-kappa2-s0: metrics.csv", "");
    expect_says(PROGRAM("train", SMALL, "train.samples=100", "run.dir=b", "optim.rule=upgd",
                        "optim.weight_decay=0.01"),
                0, "", "path: plain, gradients in memory: ");
}

Test(cli_stream, a_signal_saves_and_resuming_goes_on) {
    program_running r = PROGRAM_START("train", SMALL, "train.samples=1000000000", "run.dir=a",
                                      "checkpoint.interval_seconds=0.05");
    for (int i = 0; i < 3000 && !kp_file_exists("a/checkpoint"); i++)
        nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL);
    kill(r.pid, SIGTERM);
    expect_says(program_end(r), 85, "", "kappa: a: saved at sample ");
    r = PROGRAM_START("resume", "a");
    nanosleep(&(struct timespec){ .tv_nsec = 300000000 }, NULL);
    kill(r.pid, SIGTERM);
    expect_says(program_end(r), 85, "", "resumed at sample ");
}

Test(cli_stream, exit_codes) {
    expect_says(PROGRAM("train", SMALL, "data.dir=nowhere"), 3, "", "nowhere: cannot open the folder");
    streams_put("data", "train-images-idx3-ubyte", "\0\0\x08\x03", 4);
    expect_says(PROGRAM("train", SMALL), 3, "", "train-images-idx3-ubyte: ");
    cr_expect(!kp_file_exists("runs/input_permuted-custom-adam-kappanone-s0/run.json"),
              "it can be tried again");
    streams_make_data("data", 0);
    expect_says(PROGRAM("train", SMALL, "optim.rule=sgd", "optim.lr=1000"), 5, "",
                "1 of 1 members stopped with weights that are not finite");
    expect_says(PROGRAM("train", SMALL, "stream.path=fused", "optim.grad_norm=1", "run.dir=b"), 2,
                "", "stream.path is fused, which these settings cannot be: optim.grad_norm ");
    expect_says(PROGRAM("train", SMALL, "data.set=mnst"), 2, "",
                "kappa: data.set: mnst is not known; kappa list data has them all");
}

Test(cli_stream, there_is_nothing_to_evaluate) {
    expect_says(PROGRAM("train", SMALL, "train.samples=100", "run.dir=a"), 0, "", "");
    expect_says(PROGRAM("eval", "a"), 2, "",
                "kappa: a: a stream has nothing to be evaluated in: its online accuracy is in "
                "metrics.csv; kappa report shows it\n");
}

Test(cli_stream, a_study_of_streams) {
    static const char study[] = "# Which?\nschema: 1\nbase: stream-input-permuted-mnist\n"
                                "set:\n  data: { set: custom, dir: data }\n  net.widths: 19-12\n"
                                "  train.samples: 200\n  stream.task_samples: 100\n"
                                "grid: { optim.rule: [sgd, adam], seed: 0..19 }\n";
    streams_put(".", "s.yaml", study, strlen(study));
    expect_says(PROGRAM("sweep", "s.yaml", "--dry-run"), 0, "runs/s: 40 runs in 2 populations", "");
    expect_says(PROGRAM("sweep", "s.yaml"), 0, "", "");
    cr_expect(streams_last("runs/s/population-001", 19, "accuracy") > 0.2);
    expect_says(PROGRAM("sweep", "s.yaml", "--dry-run"), 0, "runs/s: 40 runs in 2 populations", "");
}
