/* bench.c: the table of benchmarks, and what they share. */
#include "bench.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

const kp_bench_row kp_bench_table[] = {
    { "adam_clip", "Adam and the clip in one pass: GB/s at 28 bytes a parameter",
      kp_bench_adam_clip, 1 },
    { "dqn_update", "one agent's DQN updates on all cores, from frame numbers to clipped weights",
      kp_bench_dqn_update, 0 },
    { "dqn_population", "the same of 8 agents together", kp_bench_dqn_population, 0 },
    { "dqn_end_to_end", "one agent learning Pong: games, replay and updates, in agent steps",
      kp_bench_dqn_end_to_end, 0 },
    { "atari_env", "Pong in worker processes, on one core and on two", kp_bench_atari_env, 0 },
    { "streaming", "a small network learning from a stream, alone and in populations",
      kp_bench_streaming, 0 },
    { "streaming_rules", "the same by every update rule, against sgd or adam with the clip",
      kp_bench_streaming_rules, 0 },
    { 0 },
};

int kp_bench_repeats(const kp_bench_options *o, int standard) {
    int n = o->repeats > 0 ? o->repeats : standard;
    return n < KP_BENCH_MAX_REPEATS ? n : KP_BENCH_MAX_REPEATS;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double kp_bench_median(double *x, int n) {
    qsort(x, (size_t)n, sizeof *x, ascending);
    return n % 2 ? x[n / 2] : 0.5 * (x[n / 2 - 1] + x[n / 2]);
}

/* Runs a script of peer_dir; *said is its last line, yours to release. */
static kp_status run_script(const kp_bench_options *o, const char *script, const char *arguments,
                            json_t **said, kp_err *err) {
    char command[1024], line[4096], last[4096] = "nothing";
    *said = NULL;
    if (snprintf(command, sizeof command, "'%s' '%s/%s' %s 2>&1", o->python, o->peer_dir, script,
                 arguments) >= (int)sizeof command)
        return kp_fail(err, KP_BAD_CONFIG, "bench peer %s: the command is longer than %zu bytes",
                       script, sizeof command);
    FILE *f = popen(command, "r");
    if (!f) return kp_fail(err, KP_DEVICE, "%s: cannot be started", command);
    while (fgets(line, sizeof line, f))
        if (line[0] != '\n') memcpy(last, line, sizeof last);
    last[strcspn(last, "\n")] = 0;
    if (pclose(f) == 0) *said = json_loads(last, 0, NULL);
    if (*said) return KP_OK;
    return kp_fail(err, KP_DEVICE, "bench peer %s failed under %s (it said: %.300s)", script,
                   o->python, last);
}

kp_status kp_bench_peer(const kp_bench_options *o, const char *script, const char *arguments, int n,
                        const char *const name[], double *value, kp_err *err) {
    json_t *json = NULL;
    kp_status st = run_script(o, script, arguments, &json, err);
    for (int i = 0; !st && i < n; i++) {
        json_t *v = json_object_get(json, name[i]);
        if (json_is_number(v)) value[i] = json_number_value(v);
        else
            st = kp_fail(err, KP_DEVICE, "bench peer %s: no number \"%s\" in its last line", script,
                         name[i]);
    }
    json_decref(json);
    return st;
}

kp_status kp_bench_peers_present(const kp_bench_options *o, char *versions, size_t size,
                                 kp_err *err) {
    json_t *json = NULL;
    const char *missing = NULL, *have = NULL;
    kp_status st = run_script(o, "check.py", "", &json, err);
    if (!st && json_unpack(json, "{s:s, s:s}", "missing", &missing, "have", &have))
        st = kp_fail(err, KP_DEVICE,
                     "bench peer check.py: no \"missing\" and \"have\" in its last line");
    if (!st && *missing)
        st =
            kp_fail(err, KP_DEVICE,
                    "bench --peers: %s has no %s; scripts/install-deps --peers installs the peers, "
                    "--python names another interpreter",
                    o->python, missing);
    if (!st) snprintf(versions, size, "%s", have);
    json_decref(json);
    return st;
}
