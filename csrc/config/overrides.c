/* overrides.c: see overrides.h. */
#include "overrides.h"

#include <stdio.h>
#include <string.h>

/* What a run is called and who is in it: no matter of its results, and none of how to go on with
 * it. */
static int says_which_run(const char *key) {
    return !strcmp(key, "population.size") || !strncmp(key, "run.", 4);
}

kp_status kp_override(kp_config *member, int P, int n, const char *const *args, const char *reason,
                      kp_err *err) {
    kp_status st = KP_OK;
    for (int i = 0; !st && i < n; i++) {
        char key[96];
        const char *value = strchr(args[i], '=');
        if (!value || value == args[i] || (size_t)(value - args[i]) >= sizeof key)
            return kp_fail(err, KP_BAD_CONFIG,
                           "command line: %s: expected key=value, such as threads=2", args[i]);
        snprintf(key, sizeof key, "%.*s", (int)(value - args[i]), args[i]);
        if (kp_key_find(key) >= 0 && (kp_key_changes_results(key) || says_which_run(key)))
            return kp_fail(err, KP_BAD_CONFIG, "command line: %s %s", key, reason);
        for (int p = 0; !st && p < P; p++)
            st = kp_config_set(&member[p], NULL, key, value + 1, "command line", err);
    }
    for (int p = 0; !st && p < P; p++) st = kp_config_check(&member[p], err);
    return st;
}
