/* members.h: the configurations of a run's members, in its directory.
 *
 *     config.yaml         member 0's, with population.size the number of members
 *     members/0000.yaml   one for each member, where they differ in more than consecutive seeds
 *
 * Members may differ in keys that the schema calls per_member, and in run.name and run.dir. */
#pragma once
#include "config/config.h"
#include "rundir.h"

/* member [P], in order; origins are the same for all and may be NULL. config.yaml is written last:
 * where it stands, the rest does. KP_STORAGE; KP_BAD_CONFIG where it could not be read back. */
kp_status kp_members_write(kp_rundir *dir, const kp_config *member, const kp_origins *origins, int P, kp_err *err);

/* *member [*P] is yours to free, NULL on failure; each has population.size 1. KP_STORAGE: a file
 * cannot be read; KP_BAD_CONFIG: it says what it may not. */
kp_status kp_members_read(const char *dir, kp_config **member, int *P, kp_err *err);
