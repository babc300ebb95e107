/* members.c: see members.h. */
#include "members.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/settings.h"

static int is_own(const kp_key *k) {
    return k->per_member || !strcmp(k->key, "run.name") || !strcmp(k->key, "run.dir") ||
           !strcmp(k->key, "population.size");
}

/* What kp_config_member makes of the first is what they are. */
static int follow_first(const kp_config *member, int P) {
    for (int i = 1; i < P; i++) {
        kp_config want = kp_config_member(&member[0], i), got = kp_config_member(&member[i], 0);
        if (strcmp(want.preset, got.preset)) return 0;
        for (int k = 0; k < kp_n_keys(); k++)
            if (!kp_config_same(&want, &got, k)) return 0;
    }
    return 1;
}

static kp_status write_one(kp_rundir *dir, const char *name, const kp_config *c,
                           const kp_origins *o, kp_err *err) {
    char *text = NULL;
    kp_status st = kp_config_write(c, o, &text, err);
    if (!st) st = kp_rundir_write(dir, name, text, strlen(text), err);
    free(text);
    return st;
}

kp_status kp_members_write(kp_rundir *dir, const kp_config *member, const kp_origins *origins,
                           int P, kp_err *err) {
    char folder[KP_PATH], name[32];
    kp_config first = member[0];
    first.population.size = P;
    kp_status st = kp_config_check(&first, err);
    if (!st) st = kp_rundir_file(dir, "members", folder, err);
    if (!st) st = kp_folder_remove(folder, err); /* of a start that was cut short */
    if (!st && !follow_first(member, P)) {
        st = kp_folder_make(folder, err);
        for (int i = 0; i < P && !st; i++) {
            kp_config one = kp_config_member(&member[i], 0);
            snprintf(name, sizeof name, "members/%04d.yaml", i);
            st = write_one(dir, name, &one, origins, err);
        }
    }
    return st ? st : write_one(dir, "config.yaml", &first, origins, err);
}

static kp_status read_one(kp_config *c, const char *dir, const char *name, char path[KP_PATH],
                          kp_err *err) {
    char *text = NULL;
    kp_status st = kp_path_join(path, dir, name, err);
    if (!st) st = kp_text_read(&text, path, err);
    if (!st) st = kp_config_from_text(c, NULL, text, path, err);
    free(text);
    return st;
}

/* One program trains all members, so they agree in what makes its shape and schedule. */
static kp_status check_alike(const kp_config *c, const kp_config *first, const char *path,
                             kp_err *err) {
    for (int k = 0; k < kp_n_keys(); k++) {
        char got[KP_CONFIG_TEXT], want[KP_CONFIG_TEXT];
        if (is_own(kp_key_at(k)) || kp_config_same(c, first, k)) continue;
        kp_config_get(c, k, got);
        kp_config_get(first, k, want);
        return kp_fail(err, KP_BAD_CONFIG,
                       "%s: %s is %.100s, but %.100s in config.yaml; members of one run share it",
                       path, kp_key_at(k)->key, got, want);
    }
    return KP_OK;
}

kp_status kp_members_read(const char *dir, kp_config **out, int *P, kp_err *err) {
    char path[KP_PATH], name[32];
    kp_config first, *member = NULL;
    *out = NULL, *P = 0;
    kp_status st = read_one(&first, dir, "config.yaml", path, err);
    int n = st ? 0 : first.population.size;
    if (!st) st = kp_path_join(path, dir, "members", err);
    if (!st && !(member = calloc((size_t)n, sizeof *member)))
        st = kp_fail(err, KP_BAD_CONFIG, "%s: no host memory for %d configurations", dir, n);
    int has_files = !st && kp_file_exists(path);
    for (int i = 0; i < n && !st; i++) {
        if (!has_files) {
            member[i] = kp_config_member(&first, i);
            continue;
        }
        snprintf(name, sizeof name, "members/%04d.yaml", i);
        st = read_one(&member[i], dir, name, path, err);
        if (!st) st = check_alike(&member[i], &first, path, err);
        member[i].population.size = 1;
    }
    if (st) {
        free(member);
        return st;
    }
    *out = member, *P = n;
    return KP_OK;
}
