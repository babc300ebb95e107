/* runs.h: small DQN runs on a real game, whole or stopped on the way, and what they left. */
#pragma once
#include <criterion/criterion.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "learn/train.h"
#include "run/checkpoint.h"
#include "run/rundir.h"
#include "run/signals.h"
#include "scratch.h"

enum { RUNS_MAX_P = 8 };

/* Everything a run has, in some seconds: two environments, a replay that wraps, double Q, three steps,
 * target copies, evaluations cut at their cap. min_transitions is not a multiple of anything. */
__attribute__((unused)) static kp_config runs_config_of(const char *preset, int n, const char *const *more) {
    static const char *const small[] = {
        "env.game=breakout", "env.count=2", "env.workers=1", "threads=1", "train.agent_steps=400",
        "train.replay_ratio=0.25", "net.hidden=32", "dqn.batch=8", "buffer.transitions=256",
        "buffer.min_transitions=61", "epsilon.decay_agent_steps=250", "target.period=20",
        "eval.interval_steps=150", "eval.episodes=2", "eval.max_agent_steps=40", "log.interval_steps=50",
        "checkpoint.interval_seconds=0",
    };
    enum { N = sizeof small / sizeof *small };
    const char *args[N + 24];
    kp_config c;
    kp_err err = { "" };
    memcpy(args, small, sizeof small);
    for (int i = 0; i < n; i++) args[N + i] = more[i];
    cr_assert_eq(kp_config_load(&c, NULL, preset, N + n, args, &err), KP_OK, "%s", err.text);
    return c;
}

__attribute__((unused)) static kp_config runs_config(int n, const char *const *more) {
    return runs_config_of("dqn-tianshou", n, more);
}

/* Members that differ in all that members may: seed, kappa, step size. `id` is who, not where. */
__attribute__((unused)) static kp_config runs_member(const kp_config *common, int id) {
    static const char *const kappa[] = { "none", "1", "0.5", "{hidden: 1, output: 0.25}" };
    char seed[32], lr[32];
    kp_config c = *common;
    snprintf(seed, sizeof seed, "%d", 1000 + 17 * id);
    snprintf(lr, sizeof lr, "%g", 1e-4 * (1 + id % 3));
    cr_assert_eq(kp_config_set(&c, NULL, "seed", seed, "test", NULL), KP_OK);
    cr_assert_eq(kp_config_set(&c, NULL, "optim.lr", lr, "test", NULL), KP_OK);
    cr_assert_eq(kp_config_set(&c, NULL, "optim.clip.kappa", kappa[id % 4], "test", NULL), KP_OK);
    return c;
}

/* ---- what a run left ---------------------------------------------------------------------------- */

__attribute__((unused)) static char *runs_text(const char *dir, const char *name) { /* yours to free */
    char path[KP_PATH];
    cr_assert_eq(kp_path_join(path, dir, name, NULL), KP_OK);
    return scratch_text(path);
}

static const char *const runs_tensors[] = { "conv1.weight", "conv1.bias", "conv2.weight", "conv2.bias", "conv3.weight",
                                            "conv3.bias",   "fc1.weight", "fc1.bias",     "fc2.weight", "fc2.bias" };
enum { RUNS_TENSORS = sizeof runs_tensors / sizeof *runs_tensors };

/* One member's part of an array of the newest checkpoint: all of it is [P][n]. Borrowed from c. */
__attribute__((unused)) static const float *runs_tensor(const kp_checkpoint *c, const char *group, int t, int P, int p,
                                                        size_t *n) {
    char name[64];
    const void *data;
    kp_err err = { "" };
    snprintf(name, sizeof name, "%s/%s", group, runs_tensors[t]);
    cr_assert_eq(kp_checkpoint_borrow(c, name, KP_F32, &data, n, &err), KP_OK, "%s", err.text);
    *n /= (size_t)P;
    return (const float *)data + *n * (size_t)p;
}

__attribute__((unused)) static kp_checkpoint *runs_checkpoint(const char *dir) {
    char path[KP_PATH], warning[512];
    kp_checkpoint *c = NULL;
    kp_err err = { "" };
    cr_assert_eq(kp_path_join(path, dir, "checkpoint", &err), KP_OK);
    cr_assert_eq(kp_checkpoint_open(&c, path, warning, &err), KP_OK, "%s", err.text);
    cr_assert(c && !*warning, "%s: %s", dir, warning);
    return c;
}

/* Member p of the run in a (of P) has the weights, target and moments of member q of the run in b (of Q). */
__attribute__((unused)) static void runs_expect_same_state(const char *a, int P, int p, const char *b, int Q, int q) {
    static const char *const groups[] = { "theta", "target", "m", "v" };
    kp_checkpoint *ca = runs_checkpoint(a), *cb = runs_checkpoint(b);
    for (size_t g = 0; g < sizeof groups / sizeof *groups; g++)
        for (int t = 0; t < RUNS_TENSORS; t++) {
            size_t n, m;
            const float *x = runs_tensor(ca, groups[g], t, P, p, &n), *y = runs_tensor(cb, groups[g], t, Q, q, &m);
            cr_expect(n == m && !memcmp(x, y, n * sizeof *x), "%s/%s: member %d of %s and member %d of %s", groups[g],
                      runs_tensors[t], p, a, q, b);
        }
    kp_checkpoint_close(ca);
    kp_checkpoint_close(cb);
}

/* Member's rows of metrics.csv without their first column, which is its place; yours to free. */
__attribute__((unused)) static char *runs_rows(const char *dir, int member) {
    char *all = runs_text(dir, "metrics.csv"), *rows = calloc(1, strlen(all) + 1), *line, *rest = NULL;
    for (line = strtok_r(all, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        char *comma = strchr(line, ',');
        cr_assert(comma);
        if (atoi(line) == member && line[0] != 'm') strcat(strcat(rows, comma), "\n");
    }
    free(all);
    cr_assert(*rows, "%s has rows of member %d", dir, member);
    return rows;
}

__attribute__((unused)) static void runs_expect_same_rows(const char *a, int p, const char *b, int q) {
    char *x = runs_rows(a, p), *y = runs_rows(b, q);
    cr_expect_str_eq(x, y, "member %d of %s and member %d of %s", p, a, q, b);
    free(x);
    free(y);
}

/* ---- workers ------------------------------------------------------------------------------------ */

/* Child processes of this one; returns how many (at most `most`). */
__attribute__((unused)) static int runs_workers(pid_t *pid, int most) {
    char path[64];
    int n = 0, child, used = 0;
    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    char *text = NULL;
    size_t size = 0;
    FILE *f = fopen(path, "r");
    cr_assert(f, "%s", path);
    if (getline(&text, &size, f) > 0)
        for (char *at = text; n < most && sscanf(at, "%d%n", &child, &used) == 1; at += used) pid[n++] = child;
    fclose(f);
    free(text);
    return n;
}
