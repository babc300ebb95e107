/* sweep.c: see sweep.h. */
#include "sweep.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "env/env.h"
#include "pack.h"
#include "replay/ring.h"
#include "run/members.h"

enum { MOST_MEMBERS = 16, MOST_STREAMS = 64 };
#define PREFIX "population-"
static const double MEMORY_SHARE =
    0.8; /* of what is available; the rest is for networks and emulators */

/* ---- what is there --------------------------------------------------------------------------- */

/* 1 if they agree in every key that changes results; else *key is the first they differ in. */
static int same_settings(const kp_config *a, const kp_config *b, int *key) {
    for (*key = 0; *key < kp_n_keys(); ++*key)
        if (kp_key_changes_results(kp_key_at(*key)->key) && !kp_config_same(a, b, *key)) return 0;
    return 1;
}

/* The study's run with these settings, whatever it is called: names change when a grid grows. Else
 * the one with this name, which then has other settings. -1: the study has neither. */
static int find_run(const kp_study *study, const kp_config *there) {
    int key;
    for (int i = 0; i < study->n; i++)
        if (same_settings(there, &study->run[i], &key)) return i;
    for (int i = 0; i < study->n; i++)
        if (!strcmp(study->run[i].run.name, there->run.name)) return i;
    return -1;
}

static kp_status check_same(const kp_config *there, const kp_config *wanted, const char *dir,
                            kp_err *err) {
    char a[KP_CONFIG_TEXT], b[KP_CONFIG_TEXT];
    int key;
    if (same_settings(there, wanted, &key)) return KP_OK;
    kp_config_get(there, key, a);
    kp_config_get(wanted, key, b);
    return kp_fail(
        err, KP_BAD_CONFIG,
        "%s: run %s was made with %s %.80s, the study now has %.80s; choose another folder "
        "with --dir, or delete this one",
        dir, wanted->run.name, kp_key_at(key)->key, a, b);
}

static kp_sweep_population *add(kp_sweep *s, const char *folder, int number, kp_err *err) {
    char name[64];
    kp_sweep_population *grown = realloc(s->population, (size_t)(s->n + 1) * sizeof *grown);
    if (!grown) {
        kp_fail(err, KP_BAD_CONFIG, "%s: out of host memory", folder);
        return NULL;
    }
    s->population = grown;
    kp_sweep_population *p = &grown[s->n];
    *p = (kp_sweep_population){ .state = KP_RUN_NONE };
    snprintf(name, sizeof name, PREFIX "%03d", number);
    if (kp_path_join(p->dir, folder, name, err)) return NULL;
    s->n++;
    return p;
}

/* One population that stands there; marks its runs in placed. Runs that the study no longer has are
 * left alone, and so is a population of nothing else. */
static kp_status look(kp_sweep *s, const kp_study *study, const char *folder, int number,
                      uint8_t *placed, kp_err *err) {
    int exit_code, n_wanted = 0;
    kp_sweep_population *p = add(s, folder, number, err);
    if (!p) return KP_BAD_CONFIG;
    kp_status st = kp_rundir_peek(p->dir, &p->state, &exit_code, &p->holder, err);
    if (!st && p->state == KP_RUN_NONE) {
        s->n--; /* a start that was cut short: nothing is lost */
        return KP_OK;
    }
    if (!st) st = kp_members_read(p->dir, &p->member, &p->P, err);
    for (int i = 0; !st && i < p->P; i++) {
        int run = find_run(study, &p->member[i]);
        if (run < 0) continue;
        if (placed[run])
            st = kp_fail(err, KP_BAD_CONFIG,
                         "%s: run %s stands in another population too; delete one of the two",
                         p->dir, study->run[run].run.name);
        if (!st) st = check_same(&p->member[i], &study->run[run], p->dir, err);
        placed[run] = 1, n_wanted++;
    }
    if (!st && n_wanted == 0) {
        free(p->member);
        s->n--;
    }
    return st;
}

static kp_status look_around(kp_sweep *s, const kp_study *study, const char *folder,
                             uint8_t *placed, kp_err *err) {
    char **name = NULL;
    int n = 0;
    if (!kp_file_exists(folder)) return KP_OK;
    kp_status st = kp_folder_list(folder, &name, &n, err);
    for (int i = 0; !st && i < n; i++) {
        int number, end = 0;
        if (sscanf(name[i], PREFIX "%d%n", &number, &end) != 1 || name[i][end] || number < 0)
            continue;
        st = look(s, study, folder, number, placed, err);
    }
    free(name);
    return st;
}

/* ---- what is to be added --------------------------------------------------------------------- */

/* A stream has no replay: a member is a few megabytes. */
static int members_that_fit(const kp_config *c) {
    if (c->algorithm == KP_ALGORITHM_STREAM) return MOST_STREAMS;
    kp_ring_options one = { .P = 1,
                            .E = c->env.count,
                            .frame_bytes = KP_FRAME_BYTES,
                            .stack = c->env.stack,
                            .n_step = c->dqn.n_step,
                            .transitions = c->buffer.transitions };
    double fit = MEMORY_SHARE * (double)kp_memory_available() / (double)kp_ring_bytes(&one);
    return fit >= MOST_MEMBERS ? MOST_MEMBERS : fit < 1 ? 1 : (int)fit;
}

/* A population in the first folder that holds no run yet. */
static kp_sweep_population *add_new(kp_sweep *s, const char *folder, int *next, kp_err *err) {
    int exit_code;
    for (;;) {
        kp_sweep_population *p = add(s, folder, (*next)++, err);
        if (!p || kp_rundir_peek(p->dir, &p->state, &exit_code, &p->holder, err)) return NULL;
        if (p->state == KP_RUN_NONE) return p;
        s->n--;
    }
}

static kp_status pack_rest(kp_sweep *s, const kp_study *study, const char *folder,
                           const uint8_t *placed, int max_members, kp_err *err) {
    kp_config *rest = malloc((size_t)study->n * sizeof *rest + 1);
    kp_packing packing = { 0 };
    int n = 0, next = 0;
    if (!rest) return kp_fail(err, KP_BAD_CONFIG, "%s: out of host memory", folder);
    for (int i = 0; i < study->n; i++)
        if (!placed[i]) rest[n++] = study->run[i];
    if (max_members == 0) {
        max_members = MOST_STREAMS;
        for (int i = 0; i < n; i++) {
            int fit = members_that_fit(&rest[i]);
            if (fit < max_members) max_members = fit;
        }
    }
    kp_status st = n ? kp_pack(&packing, rest, n, max_members, err) : KP_OK;
    for (int g = 0; !st && g < packing.n; g++) {
        kp_sweep_population *p = add_new(s, folder, &next, err);
        if (!p || !(p->member = malloc((size_t)packing.group[g].n * sizeof *p->member)))
            st = p ? kp_fail(err, KP_BAD_CONFIG, "%s: out of host memory", folder) : KP_BAD_CONFIG;
        for (int i = 0; !st && i < packing.group[g].n; i++)
            p->member[p->P++] = rest[packing.group[g].run[i]];
    }
    kp_packing_free(&packing);
    free(rest);
    return st;
}

static int by_number(const void *a, const void *b) {
    const char *x = ((const kp_sweep_population *)a)->dir,
               *y = ((const kp_sweep_population *)b)->dir;
    size_t n = strlen(x), m = strlen(y);
    return n == m ? strcmp(x, y) : n < m ? -1 : 1;
}

kp_status kp_sweep_plan(kp_sweep *sweep, const kp_study *study, const char *dir, int max_members,
                        kp_err *err) {
    uint8_t *placed = calloc((size_t)study->n + 1, 1);
    memset(sweep, 0, sizeof *sweep);
    if (!placed) return kp_fail(err, KP_BAD_CONFIG, "%s: out of host memory", dir);
    kp_status st = look_around(sweep, study, dir, placed, err);
    if (!st) st = pack_rest(sweep, study, dir, placed, max_members, err);
    free(placed);
    if (sweep->n) qsort(sweep->population, (size_t)sweep->n, sizeof *sweep->population, by_number);
    if (st) kp_sweep_free(sweep);
    return st;
}

void kp_sweep_free(kp_sweep *sweep) {
    for (int i = 0; i < sweep->n; i++) free(sweep->population[i].member);
    free(sweep->population);
    memset(sweep, 0, sizeof *sweep);
}
