/* sweep.h: a study on this machine: which of its runs are where, and what is left to do.
 *
 *     st = kp_sweep_plan(&sweep, &study, "runs/study", max_members, &err);
 *     for each population with state other than KP_RUN_DONE: train it in its folder
 *     kp_sweep_free(&sweep);
 *
 *     runs/study/population-000/    a run directory, whose members are runs of the study
 *     runs/study/population-001/    ...
 *
 * Runs that stand in a population already, known by their settings, stay there, whatever is added to the
 * study later; the others are packed (pack.h) into new ones. */
#pragma once
#include "base/files.h"
#include "grid.h"
#include "run/rundir.h"

typedef struct {
    char dir[KP_PATH];
    kp_config *member; /* [P] owned */
    int P;
    kp_run_state state;
    int holder;        /* process that is training it now, 0: none */
} kp_sweep_population;

typedef struct {
    kp_sweep_population *population; /* [n] owned, in order of their folders' numbers */
    int n;
} kp_sweep;

/* max_members: of a new population; 0: as many as the memory for their replay allows, at most 16, of
 * streams 64.
 * KP_BAD_CONFIG where a run of the study stands there with other settings: nothing is mixed. Only reads. */
kp_status kp_sweep_plan(kp_sweep *sweep, const kp_study *study, const char *dir, int max_members, kp_err *err);
void kp_sweep_free(kp_sweep *sweep);
