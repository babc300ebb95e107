/* permutations.h: permutations from a file (data.permutations), so that another program's tasks can be followed. */
#pragma once
#include <stdint.h>

#include "kappa/status.h"

/* NPY, int32 or int64, [k][n], or [n] for one; every row has each of 0 .. n-1 once, else KP_BAD_DATA.
 *   rows  [k][n]  yours to free; NULL on failure */
kp_status kp_permutations_read(int32_t **rows, int *k, int n, const char *path, kp_err *err);
