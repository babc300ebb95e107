/* grid.h: a study file as a list of runs.
 *
 *     schema: 1
 *     base: dqn-dopamine
 *     set:  { train.agent_steps: 100000 }
 *     grid: { env.game: [pong, qbert], optim.clip.kappa: [none, 1, {hidden: 5}], seed: 0..4 }
 *
 * Every combination of the grid's values is one run, in the order of the file, the last key
 * fastest. Methods, where the file has some, are whole sets of keys by name:
 *
 *     methods:
 *       sgd:    { optim.rule: sgd }
 *       sgd+wc: { optim: { rule: sgd, clip.kappa: [1, 2] } }   # two settings of one method
 *       adam:   {}
 *
 * The study is then methods x grid, method after method, each with the combinations of its own
 * values; run.method is the name, by which reports call the runs. A key stands in one section only,
 * and no run of a method may be one of another's. */
#pragma once
#include "config/config.h"

enum { KP_STUDY_MAX_RUNS = 20000 };

typedef struct {
    kp_config *run; /* [n], owned; run.name is set, unique, and safe as a folder's name:
                       pong-kappa2-rr0.25-s0, or METHOD-pong-..., and for streams the data set */
    int n;
    kp_origins origins; /* the same for every run */
} kp_study;

/* A relative base is relative to the file. KP_BAD_CONFIG with file and line: unknown keys, empty
 * grids and lists, values or methods that are the same, runs that kp_config_check refuses. */
kp_status kp_study_load(kp_study *study, const char *path, kp_err *err);
kp_status kp_study_from_text(kp_study *study, const char *text, const char *name, kp_err *err);
void kp_study_free(kp_study *study);
