/* eval.c: `kappa eval`: a run's weights play what the run itself played, and a GIF shows it. */
#include "program.h"

#include <gif_lib.h>
#include <jansson.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>

#include "base/files.h"
#include "scratch.h"

static char home[KP_PATH];

#define SMALL                                                                                      \
    "dqn-tianshou", "env.game=breakout", "env.count=1", "train.agent_steps=160",                   \
        "train.replay_ratio=0.25", "net.hidden=16", "dqn.batch=4", "buffer.transitions=200",       \
        "buffer.min_transitions=40", "eval.interval_steps=80", "eval.episodes=3",                  \
        "eval.epsilon=0.5", "eval.max_agent_steps=200", "threads=1", "log.interval_steps=80",      \
        "env.workers=1", "optim.clip.kappa=1", "population.size=2"

/* The run is trained once; each test has a copy. Tests are processes of their own, so the
 * environment says where. */
#define TEMPLATE "KP_TEST_EVAL_RUN"

ReportHook(PRE_ALL)(struct criterion_test_set *all) {
    (void)all;
    static char made[KP_PATH];
    setenv("KAPPA_PYTHON", KP_TEST_PYTHON, 1);
    scratch_folder(made);
    setenv(TEMPLATE, made, 1);
    if (chdir(made) || PROGRAM("train", SMALL, "run.dir=runs/a")->code) abort();
}
ReportHook(POST_ALL)(struct criterion_global_stats *stats) {
    (void)stats;
    kp_folder_remove(getenv(TEMPLATE), NULL);
}

static void setup(void) {
    char copy[KP_PATH + 32];
    scratch_folder(home);
    cr_assert(!chdir(home));
    snprintf(copy, sizeof copy, "cp -r '%s/runs' .", getenv(TEMPLATE));
    cr_assert(!system(copy));
}
static void teardown(void) { kp_folder_remove(home, NULL); }

TestSuite(cli_eval, .init = setup, .fini = teardown, .timeout = 120);

static double last_eval(const char *metrics, int member, const char *column) {
    char *text = scratch_text(metrics), *rest = NULL;
    int wanted = 0;
    double value = NAN;
    char *line = strtok_r(text, "\n", &rest), *found = strstr(line, column);
    for (char *at = line; at < found; at++) wanted += *at == ',';
    for (line = strtok_r(NULL, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        char *at = line;
        for (int i = 0; i < wanted; i++) at = strchr(at, ',') + 1;
        if (atoi(line) == member) value = strtod(at, NULL);
    }
    free(text);
    return value;
}

Test(cli_eval, plays_what_the_run_played) {
    double mean[2];
    const program_said *p = PROGRAM("eval", "runs/a", "--index", "1",
                                    "--json"); /* the run's last, with its last weights */
    cr_assert_eq(p->code, 0, "%s", p->err);
    json_error_t at;
    const char *text = p->out;
    for (int i = 0; i < 2; i++, text = strchr(text, '\n') + 1) {
        json_t *o = json_loads(text, JSON_DISABLE_EOF_CHECK, &at);
        cr_assert(o, "%s: %s", at.text, text);
        double least = INFINITY;
        json_t *all = json_object_get(o, "returns");
        cr_expect_eq(json_array_size(all), 3);
        for (size_t k = 0; k < json_array_size(all); k++)
            least = fmin(least, json_number_value(json_array_get(all, k)));
        mean[i] = json_number_value(json_object_get(o, "mean"));
        cr_expect_eq(json_integer_value(json_object_get(o, "member")), i);
        cr_expect_eq(json_integer_value(json_object_get(o, "agent_step")), 160);
        cr_expect_float_eq(mean[i], last_eval("runs/a/metrics.csv", i, "eval_return_mean"), 1e-6,
                           "member %d: %s", i, text);
        cr_expect_eq(least, last_eval("runs/a/metrics.csv", i, "eval_return_min"), "member %d: %s",
                     i, text);
        json_decref(o);
    }
    cr_expect(mean[0] > 0 || mean[1] > 0, "somebody hits the ball: %s", p->out);
}

Test(cli_eval, the_same_call_gives_the_same_games) {
    static char first[sizeof((program_said *)0)->out];
    const program_said *p = PROGRAM("eval", "runs/a", "--episodes", "4", "--json", "--epsilon",
                                    "0.9");
    cr_assert_eq(p->code, 0, "%s", p->err);
    strcpy(first, p->out);
    p = PROGRAM("eval", "runs/a", "--episodes=4", "--json", "--epsilon=0.9", "threads=2",
                "env.workers=3");
    cr_expect_str_eq(p->out, first);
    /* one member alone plays as it does among the others */
    p = PROGRAM("eval", "runs/a", "--episodes=4", "--json", "--epsilon=0.9", "--member", "1");
    cr_expect_str_eq(p->out, strchr(first, '\n') + 1);
    cr_expect(strcmp(PROGRAM("eval", "runs/a", "--episodes=4", "--json", "--epsilon=0.9",
                             "--index=0")
                         ->out,
                     first),
              "other games than the run's own");
}

Test(cli_eval, a_table_of_a_run_and_of_a_folder) {
    const program_said *p = PROGRAM("eval", "runs/a/");
    cr_expect_eq(p->code, 0);
    cr_expect(strstr(p->out, "run     member  agent step  games  return"), "%s", p->out);
    cr_expect(strstr(p->out, "runs/a  seed 0         160      3 "), "%s", p->out);
    cr_assert_eq(PROGRAM("train", SMALL, "run.dir=runs/b", "seed=7", "population.size=1")->code, 0);
    p = PROGRAM("eval", "runs", "--episodes=1");
    cr_expect(strstr(p->out, "runs/a  seed 1 ") && strstr(p->out, "runs/b  seed 7 "), "%s", p->out);
}

Test(cli_eval, a_gif_shows_the_game) {
    int error, colours = 0;
    uint8_t seen[256] = { 0 };
    const program_said *p = PROGRAM("eval", "runs/a", "--member=1", "--gif", "a.gif",
                                    "--gif-seconds=5");
    cr_assert_eq(p->code, 0, "%s", p->err);
    cr_expect(strstr(p->err, "a.gif: 75 frames, the rest of the game is cut off"), "%s", p->err);
    cr_expect(!kp_file_exists("a.gif.partial"));
    GifFileType *gif = DGifOpenFileName("a.gif", &error);
    cr_assert(gif && DGifSlurp(gif) == GIF_OK, "%d", error);
    cr_expect(gif->SWidth == 320 && gif->SHeight == 210 && gif->ImageCount == 75,
              "%d x %d, %d frames", gif->SWidth, gif->SHeight, gif->ImageCount);
    const SavedImage *first = &gif->SavedImages[0], *last = &gif->SavedImages[74];
    cr_expect(first->ImageDesc.Width == 320 && first->ImageDesc.Height == 210,
              "the first frame is whole");
    cr_expect(last->ImageDesc.Width * last->ImageDesc.Height < 320 * 210,
              "later ones hold what moved");
    for (int i = 0; i < 320 * 210; i++) seen[first->RasterBits[i]] = 1;
    for (int i = 0; i < 256; i++) colours += seen[i];
    cr_expect(colours >= 8, "rows of bricks in six colours, walls, background: %d", colours);
    const GifColorType *brick = &gif->SColorMap->Colors[first->RasterBits[60 * 320 + 160]];
    cr_expect(brick->Red == 200 && brick->Green == 72 && brick->Blue == 72,
              "the top row of bricks is red: %d %d %d", brick->Red, brick->Green, brick->Blue);
    int centiseconds = 0;
    for (int i = 0; i < gif->ImageCount; i++) {
        GraphicsControlBlock control;
        cr_assert_eq(DGifSavedExtensionToGCB(gif, i, &control), GIF_OK);
        centiseconds += control.DelayTime;
    }
    cr_expect_eq(centiseconds, 500, "75 agent steps of 4 frames at 60 a second take 5 s, not %d",
                 centiseconds);
    DGifCloseFile(gif, &error);
}

/* ---- what a user may meet
 * ------------------------------------------------------------------------- */

/* Games of at most `cap` agent steps; one member. */
static void train_short(const char *dir, const char *name, const char *cap, const char *more) {
    char run_dir[64], run_name[64];
    snprintf(run_dir, sizeof run_dir, "run.dir=%s", dir);
    snprintf(run_name, sizeof run_name, "run.name=%s", name);
    const program_said *p = PROGRAM("train", SMALL, "population.size=1", run_dir, run_name, cap,
                                    more);
    cr_assert(p->code == 0 || p->code == 5, "%s", p->err);
}

Test(cli_eval, more_games_begin_with_those_of_fewer) { /* of 16 members 8 games fit side by side,
                                                          others take turns */
    char want[512];
    const program_said *p = PROGRAM("train", SMALL, "population.size=16", "run.dir=many",
                                    "eval.interval_steps=0", "train.agent_steps=48");
    cr_assert_eq(p->code, 0, "%s", p->err);
    p = PROGRAM("eval", "many", "--member=3", "--episodes=9", "--json");
    const char *returns = strstr(p->out, "\"returns\": [");
    cr_assert(returns && strlen(returns) < sizeof want && strstr(p->out, "\"games\": 9"), "%s%s",
              p->out, p->err);
    strcpy(want, returns);
    p = PROGRAM("eval", "many", "--member=3", "--episodes=8", "--json");
    returns = strstr(p->out, "\"returns\": [");
    cr_assert(returns, "%s", p->err);
    size_t n = strcspn(returns, "]");
    cr_expect(!strncmp(returns, want, n) && want[n] == ',', "%s does not begin as %s", want,
              returns);
    cr_expect(strpbrk(want, "123456789"), "or it would say nothing: %s", want);
}

Test(cli_eval, a_folder_of_runs) {
    cr_assert_eq(kp_folder_remove("runs", NULL), KP_OK);
    train_short("runs/a", "alpha", "eval.max_agent_steps=20", "seed=1");
    train_short("runs/b", "beta", "eval.max_agent_steps=20", "seed=2");
    const program_said *p = PROGRAM("eval", "runs", "--member=beta", "--gif=b.gif");
    cr_expect(p->code == 0 && strstr(p->out, "runs/b  beta ") && !strstr(p->out, "alpha"), "%s%s",
              p->out, p->err);
    cr_expect(kp_file_exists("b.gif"));
    p = PROGRAM("eval", "runs", "--gif=first.gif");
    const char *said = strstr(p->err, "first.gif: ");
    cr_expect(p->code == 0 && said && !strstr(said + 1, "first.gif: "), "one game is filmed: %s",
              p->err);
    p = PROGRAM("eval", "runs", "--member=gamma");
    cr_expect(p->code == 2 && strstr(p->err, "runs: none of its 2 runs has a member gamma to play"),
              "%d: %s", p->code, p->err);
    p = PROGRAM("eval", "runs", "--checkpoint=runs/a/checkpoint/0000000160");
    cr_expect(p->code == 2 &&
                  strstr(p->err, "runs: is a folder of runs; --checkpoint is of one run"),
              "%d: %s", p->code, p->err);
    cr_assert_eq(kp_folder_remove("runs/a/checkpoint", NULL), KP_OK);
    p = PROGRAM("eval", "runs");
    cr_expect(p->code == 0 && strstr(p->out, "beta") &&
                  strstr(p->err, "runs/a: has no checkpoint yet, left out"),
              "%d: %s", p->code, p->err);
}

Test(cli_eval, a_checkpoint_by_name) {
    static char newest[sizeof((program_said *)0)->out];
    strcpy(newest, PROGRAM("eval", "runs/a", "--json")->out);
    cr_assert_eq(kp_folder_make("kept", NULL), KP_OK);
    cr_assert(!rename("runs/a/checkpoint/0000000160", "kept/0000000160"));
    const program_said *p = PROGRAM("eval", "runs/a", "--json", "--checkpoint=kept/0000000160/");
    cr_expect(p->code == 0, "%s", p->err);
    cr_expect_str_eq(p->out, newest);
    p = PROGRAM("eval", "runs/a", "--checkpoint=kept/0000000170");
    cr_expect(p->code == 2 && strstr(p->err, "kept/0000000170: there is no such folder"), "%d: %s",
              p->code, p->err);
    p = PROGRAM("eval", "runs/a", "--checkpoint=kept");
    cr_expect(p->code == 2 && strstr(p->err, "kept: is no checkpoint; "), "%d: %s", p->code,
              p->err);
    cr_assert(!truncate("kept/0000000160/state.safetensors", 1000));
    p = PROGRAM("eval", "runs/a", "--checkpoint=kept/0000000160");
    cr_expect(p->code == 6 && strstr(p->err, "state.safetensors: altered: 1000 bytes"), "%d: %s",
              p->code, p->err);
}

Test(cli_eval, a_member_that_is_not_finite_does_not_play) {
    const program_said *p = PROGRAM("train", SMALL, "population.size=1", "run.dir=nan",
                                    "optim.lr=1000", "optim.eps=1e-8", "optim.clip.kappa=none",
                                    "train.agent_steps=600");
    cr_assert_eq(p->code, 5, "%d: %s", p->code, p->err);
    p = PROGRAM("eval", "nan", "--gif=nan.gif");
    cr_expect(p->code == 5 && strstr(p->out, "not finite"), "%d: %s", p->code, p->out);
    cr_expect(strstr(p->err,
                     "nan: 1 of 1 members have weights that are not finite and did not play"),
              "%s", p->err);
    cr_expect(!kp_file_exists("nan.gif"));
    p = PROGRAM("eval", "nan", "--json");
    cr_expect(strstr(p->out, "\"games\": 0, \"mean\": null"), "%s", p->out);
}

Test(cli_eval, a_damaged_newest_checkpoint_is_passed_over) {
    cr_assert(!rename("runs/a/checkpoint/0000000160", "whole"));
    program_running r = PROGRAM_START("train", SMALL, "run.dir=runs/b", "train.agent_steps=100000",
                                      "eval.interval_steps=0", "checkpoint.interval_seconds=0.05");
    char **name = NULL, path[KP_PATH];
    int n = 0, n_whole = 0;
    for (int i = 0; i < 2000 && n_whole < 2; i++, n_whole = 0) {
        nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL);
        free(name);
        name = NULL, n = 0;
        if (kp_file_exists("runs/b/checkpoint"))
            kp_folder_list("runs/b/checkpoint", &name, &n, NULL);
        for (int k = 0; k < n; k++) n_whole += name[k][0] == '0';
        if (n_whole >= 2) break;
    }
    /* a run in training may be read */
    const program_said *p = PROGRAM("eval", "runs/b", "--episodes=1");
    cr_expect(p->code == 0 && !strstr(p->err, "damaged"), "%d: %s", p->code, p->err);
    kill(r.pid, SIGTERM);
    cr_expect_eq(program_end(r)->code, 85);
    free(name);
    cr_assert_eq(kp_folder_list("runs/b/checkpoint", &name, &n, NULL), KP_OK);
    const char *newest = "";
    for (int k = 0; k < n; k++)
        if (name[k][0] == '0') newest = name[k];
    snprintf(path, sizeof path, "runs/b/checkpoint/%s/state.safetensors", newest);
    cr_assert(!truncate(path, 1000), "%s", path);
    p = PROGRAM("eval", "runs/b", "--episodes=1");
    cr_expect(p->code == 0 &&
                  strstr(p->err, "a checkpoint is damaged, the one before it is used: "),
              "%d: %s", p->code, p->err);
    free(name);
}

Test(cli_eval, a_stopped_film_leaves_no_half_picture) {
    program_running r = PROGRAM_START("eval", "runs/a", "--episodes=100", "--gif=a.gif");
    for (int i = 0; i < 2000 && !kp_file_exists("a.gif.partial"); i++)
        nanosleep(&(struct timespec){ .tv_nsec = 5000000 }, NULL);
    cr_expect(kp_file_exists("a.gif.partial"));
    kill(r.pid, SIGTERM);
    const program_said *p = program_end(r);
    cr_expect(p->code == 85 && strstr(p->err, "stopped; the same command plays these games again"),
              "%d: %s", p->code, p->err);
    cr_expect(!kp_file_exists("a.gif") && !kp_file_exists("a.gif.partial"));
}

Test(cli_eval, bad_input) {
    static const struct {
        const char *run, *arg;
        int code;
        const char *message;
    } bad[] = {
        { "nowhere", "--json", 2, "nowhere: there is no such folder" },
        { ".", "--json", 2, ".: neither a run (config.yaml, checkpoint) nor a folder of runs" },
        { "runs/a", "--member=2", 2, "runs/a: has no member 2; it has 2, numbered from 0" },
        { "runs/a", "--member=best", 2, "runs/a: has no member best" },
        { "runs/a", "--episodes=0", 2, "--episodes 0: expected a number from 1 to 10000" },
        { "runs/a", "--episodes=1.5", 2, "whole numbers" },
        { "runs/a", "--epsilon=2", 2, "--epsilon 2: expected a number from 0 to 1" },
        { "runs/a", "--gif=/nowhere/a.gif", 6,
          "/nowhere/a.gif.partial: cannot write: No such file or directory" },
        { "runs/a", "--gif=pipe", 6, "pipe: is there already, and is no file" },
        { "runs/a", "seed=3", 2, "command line: seed would make it another run" },
        { "runs/a", "env.rom_dir=.", 3, "breakout.bin: ROM missing" },
        { "runs/a", "--loud", 2, "--loud is not an option of `kappa eval`" },
    };
    struct stat pipe;
    cr_assert(!mkfifo("pipe", 0600));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const program_said *p = PROGRAM("eval", bad[i].run, bad[i].arg);
        cr_expect(p->code == bad[i].code && strstr(p->err, bad[i].message),
                  "%s: %d, not %d '%s': %s", bad[i].arg, p->code, bad[i].code, bad[i].message,
                  p->err);
    }
    cr_expect(!stat("pipe", &pipe) && S_ISFIFO(pipe.st_mode), "what is no file is not replaced");
    cr_assert(!truncate("runs/a/checkpoint/0000000160/state.safetensors", 1000));
    const program_said *p = PROGRAM("eval", "runs/a");
    cr_expect(p->code == 6 && strstr(p->err, "state.safetensors"), "%d: %s", p->code, p->err);
    cr_assert_eq(kp_folder_remove("runs/a/checkpoint", NULL), KP_OK);
    p = PROGRAM("eval", "runs/a");
    cr_expect(p->code == 2 && strstr(p->err, "runs/a: has no checkpoint yet"), "%d: %s", p->code,
              p->err);
}

Test(cli_eval, a_full_disk_leaves_no_half_picture) {
    cr_assert_eq(kp_folder_make("disk", NULL), KP_OK);
    if (!scratch_disk("disk", 8)) cr_skip_test("this user may not mount a disk");
    const program_said *p = PROGRAM("eval", "runs/a", "--gif", "disk/a.gif");
    cr_expect(p->code == 6 &&
                  strstr(p->err, "disk/a.gif.partial: cannot write: No space left on device"),
              "%d: %s", p->code, p->err);
    cr_expect(!kp_file_exists("disk/a.gif") && !kp_file_exists("disk/a.gif.partial"));
    cr_expect(strstr(p->out, "runs/a  seed 0 "), "the returns are told all the same: %s", p->out);
    umount2("disk", MNT_DETACH);
}
