/* overrides.h: "key=value" over runs that exist already: how they are carried out, not what they compute. */
#pragma once
#include "config.h"

/* member: [P]. KP_BAD_CONFIG for keys that change results: "command line: KEY reason". */
kp_status kp_override(kp_config *member, int P, int n, const char *const *args, const char *reason, kp_err *err);
