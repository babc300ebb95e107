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

enum { MOST_MEMBERS = 16 };
#define PREFIX "population-"
static const double MEMORY_SHARE = 0.8; /* of what is available; the rest is for networks and emulators */

/* ---- what is there ------------------------------------------------------------------------------- */

static int find_run(const kp_study *study, const char *name) {
    for (int i = 0; i < study->n; i++)
        if (!strcmp(study->run[i].run.name, name)) return i;
    return -1;
}

static kp_status check_same(const kp_config *there, const kp_config *wanted, const char *dir, kp_err *err) {
    char a[KP_CONFIG_TEXT], b[KP_CONFIG_TEXT];
    for (int k = 0; k < kp_n_keys(); k++) {
        const char *key = kp_key_at(k)->key;
        if (!kp_key_changes_results(key) || kp_config_same(there, wanted, k)) continue;
        kp_config_get(there, k, a);
        kp_config_get(wanted, k, b);
        return kp_fail(err, KP_BAD_CONFIG, "%s: run %s was made with %s %.80s, the study now has %.80s; choose another "
                       "folder with --dir, or delete this one", dir, wanted->run.name, key, a, b);
    }
    return KP_OK;
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

/* One population that stands there; marks its runs in placed. Runs that the study no longer has are left
 * alone, and so is a population of nothing else. */
static kp_status look(kp_sweep *s, const kp_study *study, const char *folder, int number, uint8_t *placed, kp_err *err) {
    char config[KP_PATH];
    int exit_code, n_wanted = 0;
    kp_sweep_population *p = add(s, folder, number, err);
    if (!p) return KP_BAD_CONFIG;
    kp_status st = kp_path_join(config, p->dir, "config.yaml", err);
    if (!st && !kp_file_exists(config)) {
        s->n--; /* a start that was cut short: nothing is lost */
        return KP_OK;
    }
    if (!st) st = kp_members_read(p->dir, &p->member, &p->P, err);
    for (int i = 0; !st && i < p->P; i++) {
        int run = find_run(study, p->member[i].run.name);
        if (run < 0) continue;
        if (placed[run])
            st = kp_fail(err, KP_BAD_CONFIG, "%s: run %s stands in another population too; delete one of the two", p->dir,
                         study->run[run].run.name);
        if (!st) st = check_same(&p->member[i], &study->run[run], p->dir, err);
        placed[run] = 1, n_wanted++;
    }
    if (!st) st = kp_rundir_peek(p->dir, &p->state, &exit_code, &p->holder, err);
    if (!st && n_wanted == 0) {
        free(p->member);
        s->n--;
    }
    return st;
}

static kp_status look_around(kp_sweep *s, const kp_study *study, const char *folder, uint8_t *placed, int *next,
                             kp_err *err) {
    char **name = NULL;
    int n = 0;
    *next = 0;
    if (!kp_file_exists(folder)) return KP_OK;
    kp_status st = kp_folder_list(folder, &name, &n, err);
    for (int i = 0; !st && i < n; i++) {
        int number, end = 0;
        if (sscanf(name[i], PREFIX "%d%n", &number, &end) != 1 || name[i][end] || number < 0) continue;
        st = look(s, study, folder, number, placed, err);
        if (number >= *next) *next = number + 1;
    }
    free(name);
    return st;
}

/* ---- what is to be added -------------------------------------------------------------------------- */

static int members_that_fit(const kp_config *c) {
    kp_ring_options one = { .P = 1, .E = c->env.count, .frame_bytes = KP_FRAME_BYTES, .stack = c->env.stack,
                            .n_step = c->dqn.n_step, .transitions = c->buffer.transitions };
    double fit = MEMORY_SHARE * (double)kp_memory_available() / (double)kp_ring_bytes(&one);
    return fit >= MOST_MEMBERS ? MOST_MEMBERS : fit < 1 ? 1 : (int)fit;
}

static kp_status pack_rest(kp_sweep *s, const kp_study *study, const char *folder, const uint8_t *placed, int next,
                           int max_members, kp_err *err) {
    kp_config *rest = malloc((size_t)study->n * sizeof *rest + 1);
    kp_packing packing = { 0 };
    int n = 0;
    if (!rest) return kp_fail(err, KP_BAD_CONFIG, "%s: out of host memory", folder);
    for (int i = 0; i < study->n; i++)
        if (!placed[i]) rest[n++] = study->run[i];
    if (max_members == 0) {
        max_members = MOST_MEMBERS;
        for (int i = 0; i < n; i++) {
            int fit = members_that_fit(&rest[i]);
            if (fit < max_members) max_members = fit;
        }
    }
    kp_status st = n ? kp_pack(&packing, rest, n, max_members, err) : KP_OK;
    for (int g = 0; !st && g < packing.n; g++) {
        kp_sweep_population *p = add(s, folder, next++, err);
        if (!p || !(p->member = malloc((size_t)packing.group[g].n * sizeof *p->member)))
            st = p ? kp_fail(err, KP_BAD_CONFIG, "%s: out of host memory", folder) : KP_BAD_CONFIG;
        for (int i = 0; !st && i < packing.group[g].n; i++) p->member[p->P++] = rest[packing.group[g].run[i]];
    }
    kp_packing_free(&packing);
    free(rest);
    return st;
}

kp_status kp_sweep_plan(kp_sweep *sweep, const kp_study *study, const char *dir, int max_members, kp_err *err) {
    int next = 0;
    uint8_t *placed = calloc((size_t)study->n + 1, 1);
    memset(sweep, 0, sizeof *sweep);
    if (!placed) return kp_fail(err, KP_BAD_CONFIG, "%s: out of host memory", dir);
    kp_status st = look_around(sweep, study, dir, placed, &next, err);
    if (!st) st = pack_rest(sweep, study, dir, placed, next, max_members, err);
    free(placed);
    if (st) kp_sweep_free(sweep);
    return st;
}

void kp_sweep_free(kp_sweep *sweep) {
    for (int i = 0; i < sweep->n; i++) free(sweep->population[i].member);
    free(sweep->population);
    memset(sweep, 0, sizeof *sweep);
}
