/* sets_find.c: which of a folder's files are the set, and which folder it is. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "env/env.h"
#include "env/python.h"
#include "sets.h"

enum { MOST_PLACES = 4 };

typedef struct { /* names in a folder that may be the set's; counts above 1: which is not clear */
    const char *images, *labels, *csv, *features, *feature_labels, *safetensors;
    int n_images, n_labels, n_csv, n_safetensors;
} candidates;

static int is_named(const char *name, const char *stem) {
    size_t n = strlen(stem);
    return !strncmp(name, stem, n) && (!name[n] || !strcmp(name + n, ".gz"));
}

static int ends_in(const char *name, const char *end) {
    size_t n = strlen(name), m = strlen(end);
    return n > m && !strcmp(name + n - m, end);
}

static int is_idx(const char *name, int is_label) {
    const char *idx = strstr(name, "idx");
    return idx && (is_label ? idx[3] == '1' : idx[3] >= '2' && idx[3] <= '9');
}

static void consider(candidates *c, const char *name, const kp_set *set,
                     const kp_set_split *split) {
    if (set->has_any ? is_idx(name, 0) : split->images && is_named(name, split->images))
        c->images = name, c->n_images++;
    else if (set->has_any ? is_idx(name, 1) : split->labels && is_named(name, split->labels))
        c->labels = name, c->n_labels++;
    else if (set->has_any ? ends_in(name, ".csv") || ends_in(name, ".csv.gz")
                          : split->csv && is_named(name, split->csv))
        c->csv = name, c->n_csv++;
    else if (set->has_features && !strcmp(name, "features.npy")) c->features = name;
    else if (set->has_features && !strcmp(name, "labels.npy")) c->feature_labels = name;
    else if (set->has_features && ends_in(name, ".safetensors"))
        c->safetensors = name, c->n_safetensors++;
}

/* "a, b, c and 4 more" */
static const char *list_names(char **names, int n, char text[200]) {
    size_t used = 0;
    int i;
    for (i = 0; i < n && used + strlen(names[i]) < 150; i++)
        used += (size_t)snprintf(text + used, 200 - used, "%s%s", i ? ", " : "", names[i]);
    if (!n) snprintf(text, 200, "nothing");
    else if (!i) snprintf(text, 200, "%d files", n);
    else if (i < n) snprintf(text + used, 200 - used, " and %d more", n - i);
    return text;
}

static const char *expected(const kp_set *set, const kp_set_split *split, char text[256]) {
    if (set->has_any)
        return "one pair of IDX (*idx3-ubyte, *idx1-ubyte), or one .csv, each plain or .gz, or one "
               ".safetensors, or features.npy with labels.npy";
    if (set->has_features) return "features.npy with labels.npy, or one .safetensors";
    if (split->images)
        snprintf(text, 256, "%s and %s, or %s, each plain or .gz", split->images, split->labels,
                 split->csv);
    else snprintf(text, 256, "%s, plain or .gz", split->csv);
    return text;
}

/* Of the same file plain and packed, either will do. */
static int is_ambiguous(const kp_set *set, const candidates *c) {
    int n_forms = (c->images || c->labels) + (c->csv != NULL) + (c->features || c->feature_labels) +
                  (c->safetensors != NULL);
    return c->n_safetensors > 1 || (set->has_features && n_forms > 1) ||
           (set->has_any && (c->n_images > 1 || c->n_labels > 1 || c->n_csv > 1));
}

/* Of two files that need each other; *is_there where either is. */
static kp_status pair(kp_set_files *f, kp_set_form form, const char *first, const char *second,
                      const char *first_name, const char *second_name, int *is_there, kp_err *err) {
    if (!first && !second) return KP_OK;
    *is_there = 1;
    f->form = form;
    if (!first || !second)
        return kp_fail(err, KP_BAD_DATA, "%s: has %s, but not %s, which belongs to it", f->folder,
                       first ? first : second, first ? second_name : first_name);
    kp_status st = kp_path_join(f->file[0], f->folder, first, err);
    return st ? st : kp_path_join(f->file[1], f->folder, second, err);
}

static kp_status single(kp_set_files *f, kp_set_form form, const char *name, int *is_there,
                        kp_err *err) {
    if (!name) return KP_OK;
    *is_there = 1;
    f->form = form, f->file[1][0] = 0;
    return kp_path_join(f->file[0], f->folder, name, err);
}

/* *is_there is 0 where nothing in f->folder has to do with the set; the message says what is there
 * instead. */
static kp_status look(const kp_set *set, const kp_set_split *split, kp_set_files *f, int *is_there,
                      kp_err *err) {
    candidates c = { 0 };
    char **names = NULL, seen[200], wanted[256];
    int n = 0;
    *is_there = 0;
    if (kp_folder_list(f->folder, &names, &n, NULL))
        return kp_fail(err, KP_BAD_DATA, "%s: cannot open the folder: %s; %s", f->folder,
                       strerror(errno), set->about.how);
    for (int i = 0; i < n; i++) consider(&c, names[i], set, split);
    kp_status st = KP_OK;
    if (is_ambiguous(set, &c)) {
        *is_there = 1;
        st = kp_fail(err, KP_BAD_DATA, "%s: holds %s; expected %s, and no more", f->folder,
                     list_names(names, n, seen), expected(set, split, wanted));
    }
    if (!st)
        st = pair(f, KP_FORM_IDX, c.images, c.labels, split->images ? split->images : "*idx3-ubyte",
                  split->labels ? split->labels : "*idx1-ubyte", is_there, err);
    if (!st && !*is_there)
        st = pair(f, KP_FORM_NPY, c.features, c.feature_labels, "features.npy", "labels.npy",
                  is_there, err);
    if (!st && !*is_there) st = single(f, KP_FORM_SAFETENSORS, c.safetensors, is_there, err);
    if (!st && !*is_there) st = single(f, KP_FORM_CSV, c.csv, is_there, err);
    if (!st && !*is_there)
        st = kp_fail(err, KP_BAD_DATA, "%s: holds %s; expected %s", f->folder,
                     list_names(names, n, seen), expected(set, split, wanted));
    free(names);
    return st;
}

/* The usual places, those that fit a path. */
static int list_places(const kp_set *set, char places[MOST_PLACES][KP_PATH]) {
    static const char *const fixed[] = { "/usr/share/datasets", "data" };
    const char *root = getenv("KAPPA_DATA");
    char package[900];
    int n = 0;
    if (root && *root) n += !kp_path_join(places[n], root, set->about.name, NULL);
    for (int i = 0; i < 2; i++) n += !kp_path_join(places[n], fixed[i], set->about.name, NULL);
    if (set->package &&
        !kp_python_package(kp_env_python(), set->package, package, sizeof package, NULL))
        n += !kp_path_join(places[n], package, set->folder, NULL);
    return n;
}

static kp_status look_around(const kp_set *set, const kp_set_split *split, kp_set_files *f,
                             kp_err *err) {
    char places[MOST_PLACES][KP_PATH], text[300];
    size_t used = 0;
    int n = list_places(set, places), is_there = 0;
    for (int i = 0; i < n; i++) {
        memcpy(f->folder, places[i], KP_PATH);
        kp_err one = { "" };
        kp_status st = look(set, split, f, &is_there, &one);
        if (st && is_there && err) *err = one;
        if (is_there) return st;
        if (used < sizeof text)
            used += (size_t)snprintf(text + used, sizeof text - used, "%s%s", i ? ", " : "",
                                     places[i]);
    }
    return kp_fail(err, KP_BAD_DATA, "not in %s; %s", text, set->about.how);
}

kp_status kp_set_find(const kp_set *set, const char *dir, int is_test, kp_set_files *f,
                      kp_err *err) {
    const kp_set_split *split = &set->split[is_test];
    int is_there;
    if (!kp_set_has_split(set, is_test))
        return kp_fail(err, KP_BAD_CONFIG, "data.set: %s has no test split", set->about.name);
    if (!*dir && set->has_any)
        return kp_fail(err, KP_BAD_CONFIG,
                       "data.dir: is empty; data.set=custom reads the files of that folder");
    if (!*dir) return look_around(set, split, f, err);
    if (snprintf(f->folder, sizeof f->folder, "%s", dir) >= (int)sizeof f->folder)
        return kp_fail(err, KP_BAD_DATA, "%.200s...: the path is longer than %d bytes", dir,
                       KP_PATH - 1);
    return look(set, split, f, &is_there, err);
}
