/* pack.h: runs that may train as one population, grouped.
 *
 * Runs agree in a population in every key that is not per_member in the schema (shape, schedule,
 * game); run.name and run.dir are each run's own. The methods of a study (grid.h) train apart: a term
 * that one of them has would cost the others time. */
#pragma once
#include "config/config.h"

typedef struct {
    int n;    /* members */
    int *run; /* [n] indices into the runs, ascending; owned by the packing */
} kp_group;

typedef struct {
    kp_group *group; /* [n] in the order of their first run */
    int n;
} kp_packing;

/* max_members: of one population, at least 1. A group of more is split into populations of nearly
 * equal size. */
kp_status kp_pack(kp_packing *packing, const kp_config *run, int n_runs, int max_members,
                  kp_err *err);
void kp_packing_free(kp_packing *packing);
