/* train.c: `kappa train` and `kappa resume`. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "config/config.h"
#include "learn/train.h"
#include "progress.h"
#include "run/members.h"
#include "run/signals.h"

/* Names for the live table, "seed 3" where a member has none; one allocation, yours to free. */
static const char **name_members(const kp_config *member, int P, kp_err *err) {
    enum { SIZE = sizeof member->run.name };
    const char **name = malloc((size_t)P * (sizeof *name + SIZE));
    if (!name) {
        kp_fail(err, KP_BAD_CONFIG, "out of host memory for %d members", P);
        return NULL;
    }
    for (int p = 0; p < P; p++) {
        char *text = (char *)(name + P) + p * SIZE;
        if (*member[p].run.name) snprintf(text, SIZE, "%s", member[p].run.name);
        else snprintf(text, SIZE, "seed %" PRIu64, member[p].seed);
        name[p] = text;
    }
    return name;
}

kp_status kp_show_train(const char *dir, const kp_config *member, int P, const kp_origins *origins,
                        kp_err *err) {
    const char **name = name_members(member, P, err);
    if (!name) return KP_BAD_CONFIG;
    kp_show show;
    kp_show_init(&show, name, P);
    kp_listener listener = { kp_show_tell, &show };
    kp_train_options o = { .dir = dir,
                           .member = member,
                           .P = P,
                           .origins = origins,
                           .listener = &listener,
                           .log_to_stderr = !show.is_terminal };
    kp_status st = kp_train(&o, err);
    free(name);
    return st;
}

kp_status kp_show_resume(const char *dir, int n, const char *const *args, kp_err *err) {
    kp_config *member = NULL;
    const char **name = NULL;
    int P = 0;
    kp_show show;
    kp_status st = kp_members_read(dir, &member, &P, err);
    if (!st && !(name = name_members(member, P, err))) st = KP_BAD_CONFIG;
    if (!st) {
        kp_show_init(&show, name, P);
        kp_listener listener = { kp_show_tell, &show };
        kp_train_options o = { .dir = dir,
                               .listener = &listener,
                               .log_to_stderr = !show.is_terminal };
        st = kp_train_resume(&o, n, args, err);
    }
    free(name);
    free(member);
    return st;
}

static void say_where(const char *dir) {
    printf("%s: metrics.csv, log.txt, checkpoint/\nkappa report %s     table and curves\n", dir,
           dir);
}

static kp_status train(int argc, char **argv, kp_err *err) {
    kp_config config, *member = NULL;
    kp_origins origins;
    char dir[KP_PATH], name[256];
    kp_status st = kp_no_more_options(argc, argv, "train", err);
    if (!st && argc < 1)
        st = kp_fail(err, KP_BAD_CONFIG, "name a preset or a file; see kappa train --help");
    if (!st)
        st = kp_config_load(&config, &origins, argv[0], argc - 1, (const char *const *)(argv + 1),
                            err);
    if (st) return st;
    int P = config.population.size;
    member = malloc((size_t)P * sizeof *member);
    if (!member) return kp_fail(err, KP_BAD_CONFIG, "population.size is %d: out of host memory", P);
    for (int p = 0; p < P; p++) member[p] = kp_config_member(&config, p);
    kp_config_name(&config, name, sizeof name);
    if (*config.run.dir) snprintf(dir, sizeof dir, "%s", config.run.dir);
    else st = kp_path_join(dir, "runs", name, err);
    if (!st) st = kp_signals_install(err);
    if (!st) st = kp_show_train(dir, member, P, &origins, err);
    free(member);
    if (!st || st == KP_NON_FINITE) say_where(dir);
    return st;
}

static kp_status resume(int argc, char **argv, kp_err *err) {
    kp_run_state state = KP_RUN_NONE;
    int exit_code = 0;
    kp_status st = kp_no_more_options(argc, argv, "resume", err);
    if (!st && argc < 1)
        st = kp_fail(err, KP_BAD_CONFIG, "name a run's directory; see kappa resume --help");
    if (!st) st = kp_rundir_peek(argv[0], &state, &exit_code, NULL, err);
    if (!st && state == KP_RUN_NONE)
        st = kp_fail(err, KP_BAD_CONFIG, "%s: there is no run to resume (no run.json)", argv[0]);
    if (!st && state == KP_RUN_DONE) {
        printf("%s: done already\n", argv[0]);
        return KP_OK;
    }
    if (!st) st = kp_signals_install(err);
    if (!st) st = kp_show_resume(argv[0], argc - 1, (const char *const *)(argv + 1), err);
    if (!st || st == KP_NON_FINITE) say_where(argv[0]);
    return st;
}

const kp_command kp_command_train = {
    .name = "train",
    .what = "train one run, or a population of seeds",
    .run = train,
    .help =
        "usage: kappa train CONFIG [key=value ...]\n\n"
        "  CONFIG     a preset (kappa list presets) or a YAML file\n"
        "  key=value  settings over it; kappa config CONFIG --explain says what there is\n\n"
        "The run is kept in run.dir (default: runs/ and a name made of preset, game, kappa and seed).\n"
        "Ctrl-C, SIGTERM and SIGUSR1 save and stop with exit code 85; `kappa resume RUN` goes on bit for bit.\n\n"
        "examples: kappa train dqn-dopamine env.game=pong optim.clip.kappa=2 seed=3\n"
        "          kappa train experiments/pong.yaml population.size=4 run.dir=runs/pong\n",
};

const kp_command kp_command_resume = {
    .name = "resume",
    .what = "go on with a run that was stopped or killed",
    .run = resume,
    .help =
        "usage: kappa resume RUN [key=value ...]\n\n"
        "  RUN        a run's directory\n"
        "  key=value  settings that cannot change results: device, threads, env.workers, checkpoint.*, ...\n\n"
        "Goes on from the newest whole checkpoint, as if the run had never stopped. Exit code 0 where it\n"
        "was done already.\n\n"
        "example: kappa resume runs/pong threads=2\n",
};
