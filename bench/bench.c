/* bench.c: the table of benchmarks, and what they share. */
#include "bench.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

const kp_bench_row kp_bench_table[] = {
    { "adam_clip", "Adam and the clip in one pass: GB/s at 28 bytes a parameter", kp_bench_adam_clip },
    { "dqn_update", "one agent's DQN updates on all cores, from frame numbers to clipped weights",
      kp_bench_dqn_update },
    { "dqn_population", "the same of 8 agents together", kp_bench_dqn_population },
    { 0 },
};

double kp_bench_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double kp_bench_median(double *x, int n) {
    qsort(x, (size_t)n, sizeof *x, ascending);
    return n % 2 ? x[n / 2] : 0.5 * (x[n / 2 - 1] + x[n / 2]);
}

kp_status kp_bench_peer(const kp_bench_options *o, const char *script, const char *arguments, int n,
                        const char *const name[], double *value, kp_err *err) {
    char command[1024], line[1024], last[1024] = "nothing";
    snprintf(command, sizeof command, "'%s' '%s/%s' %s 2>&1", o->python, o->peer_dir, script, arguments);
    FILE *f = popen(command, "r");
    if (!f) return kp_fail(err, KP_DEVICE, "%s: cannot be started", command);
    while (fgets(line, sizeof line, f))
        if (line[0] != '\n') memcpy(last, line, sizeof last);
    last[strcspn(last, "\n")] = 0;
    int rc = pclose(f);
    json_t *json = rc == 0 ? json_loads(last, 0, NULL) : NULL;
    if (!json)
        return kp_fail(err, KP_DEVICE, "bench peer %s failed (it said: %.300s); install %s/requirements.txt for %s",
                       script, last, o->peer_dir, o->python);
    kp_status st = KP_OK;
    for (int i = 0; i < n; i++) {
        json_t *v = json_object_get(json, name[i]);
        if (!json_is_number(v)) {
            st = kp_fail(err, KP_DEVICE, "bench peer %s: no number \"%s\" in: %.300s", script, name[i], last);
            break;
        }
        value[i] = json_number_value(v);
    }
    json_decref(json);
    return st;
}
