/* grid.c: see grid.h. Runs are equal only if two values of one key are, so only those are compared.
 */
#include "grid.h"

#include <assert.h>
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/settings.h"

enum { SET, GRID, MAX_AXES = 32, MAX_VALUES = 4096 };

typedef struct { /* one key of the grid */
    int key;     /* index in the schema */
    int line;
    int n;
    char (*value)[KP_CONFIG_TEXT]; /* [n], as kp_config_get writes them */
} axis;

typedef struct {
    axis axis[MAX_AXES];
    int n;
} grid;

static void free_grid(grid *g) {
    for (int i = 0; i < g->n; i++) free(g->axis[i].value);
}

/* Adds one value, refusing what the key does not take and what the axis has already. */
static kp_status add_value(axis *a, const char *value, const char *where, kp_err *err) {
    const char *key = kp_key_at(a->key)->key;
    char text[KP_CONFIG_TEXT];
    kp_config c;
    kp_config_defaults(&c, NULL);
    kp_status st = kp_config_set(&c, NULL, key, value, where, err);
    if (st) return st;
    kp_config_get(&c, a->key, text);
    for (int i = 0; i < a->n; i++)
        if (!strcmp(a->value[i], text))
            return kp_fail(err, KP_BAD_CONFIG,
                           "%s: %s: %s stands twice, so that its runs would be made twice", where,
                           key, text);
    if (a->n == MAX_VALUES)
        return kp_fail(err, KP_BAD_CONFIG, "%s: %s: more than %d values", where, key, MAX_VALUES);
    void *grown = realloc(a->value, (size_t)(a->n + 1) * sizeof *a->value);
    if (!grown) return kp_fail(err, KP_BAD_CONFIG, "%s: out of memory", where);
    a->value = grown;
    memcpy(a->value[a->n++], text, sizeof text);
    return KP_OK;
}

/* 0..4 for whole numbers: both ends belong to it. */
static int parse_range(const kp_key *k, const char *text, uint64_t *first, uint64_t *last) {
    int end = 0;
    if (k->type != KP_KEY_INT && k->type != KP_KEY_INT64 && k->type != KP_KEY_UINT64) return 0;
    return strspn(text, "0123456789.") == strlen(text) &&
           sscanf(text, "%" SCNu64 "..%" SCNu64 "%n", first, last, &end) == 2 && end > 0 &&
           !text[end];
}

static kp_status add_setting(grid *g, const kp_setting *s, const char *where, kp_err *err) {
    int key = kp_key_find(s->key);
    if (key < 0) {
        kp_config c;
        kp_config_defaults(&c, NULL);
        return kp_config_set(&c, NULL, s->key, s->value, where, err); /* names the nearest key */
    }
    if (s->element < 0)
        return kp_fail(err, KP_BAD_CONFIG, "%s: %s: the list is empty, so there would be no run",
                       where, s->key);
    if (s->element <= 1) {
        if (g->n == MAX_AXES)
            return kp_fail(err, KP_BAD_CONFIG, "%s: more than %d keys in the grid", where,
                           MAX_AXES);
        g->axis[g->n++] = (axis){ .key = key, .line = s->line };
    }
    assert(g->n > 0); /* a list's elements come in order, the first begins its axis */
    axis *a = &g->axis[g->n - 1];
    uint64_t first, last;
    if (!parse_range(kp_key_at(key), s->value, &first, &last))
        return add_value(a, s->value, where, err);
    if (last < first)
        return kp_fail(err, KP_BAD_CONFIG, "%s: %s: the range %s is empty", where, s->key,
                       s->value);
    if (last - first >= MAX_VALUES)
        return kp_fail(err, KP_BAD_CONFIG, "%s: %s: more than %d values", where, s->key,
                       MAX_VALUES);
    kp_status st = KP_OK;
    for (uint64_t x = first; x <= last && !st; x++) {
        char text[32];
        snprintf(text, sizeof text, "%" PRIu64, x);
        st = add_value(a, text, where, err);
    }
    return st;
}

/* Reads `set` into the base configuration and `grid` into g. */
static kp_status read_sections(grid *g, kp_config *base, kp_origins *origins, const kp_settings *s,
                               const char *name, kp_err *err) {
    kp_status st = KP_OK;
    for (int i = 0; i < s->n && !st; i++) {
        const kp_setting *item = &s->item[i];
        char where[128];
        snprintf(where, sizeof where, "%s:%d", name, item->line);
        if (item->section == GRID) {
            st = add_setting(g, item, where, err);
            if (!st)
                snprintf(origins->text[kp_key_find(item->key)], sizeof *origins->text, "%s", where);
        } else if (item->element) {
            st = kp_fail(err, KP_BAD_CONFIG,
                         "%s: %s: a list belongs under grid; set takes one value", where,
                         item->key);
        } else {
            st = kp_config_set(base, origins, item->key, item->value, where, err);
        }
    }
    for (int i = 0; i < s->n && !st; i++)
        for (int j = 0; j < g->n && !st && s->item[i].section == SET; j++)
            if (kp_key_find(s->item[i].key) == g->axis[j].key)
                st = kp_fail(err, KP_BAD_CONFIG, "%s:%d: %s is under both set and grid", name,
                             g->axis[j].line, s->item[i].key);
    if (!st && g->n == 0)
        st = kp_fail(err, KP_BAD_CONFIG,
                     "%s: grid: has no keys; `grid: { seed: 0..4 }` makes five runs", name);
    return st;
}

static const char *short_name(const char *key) {
    static const struct {
        const char *key, *name;
    } names[] = {
        { "env.game", "" },
        { "seed", "s" },
        { "train.replay_ratio", "rr" },
        { "optim.rule", "" },
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!strcmp(names[i].key, key)) return names[i].name;
    const char *dot = strrchr(key, '.');
    return dot ? dot + 1 : key;
}

/* Appends -NAMEvalue with what a folder's name can hold. */
static void append(char *name, size_t size, const char *label, const char *value) {
    size_t n = strlen(name);
    n += (size_t)snprintf(name + n, size - n, "%s%s", n ? "-" : "", label);
    for (; *value && n + 1 < size; value++) {
        if (*value == ',') name[n++] = '_';
        else if (isalnum((unsigned char)*value) || strchr("._-+", *value)) name[n++] = *value;
    }
    name[n < size ? n : size - 1] = 0;
}

static void name_run(kp_config *c, const grid *g) {
    char name[96] = "", text[KP_CONFIG_TEXT];
    append(name, sizeof name, "", c->env.game);
    for (int i = 0; i < g->n; i++) {
        const char *key = kp_key_at(g->axis[i].key)->key;
        if (g->axis[i].n < 2 || !strcmp(key, "env.game")) continue;
        kp_config_get(c, g->axis[i].key, text);
        append(name, sizeof name, short_name(key), text);
    }
    memset(c->run.name, 0, sizeof c->run.name);
    snprintf(c->run.name, sizeof c->run.name, "%s", name);
}

typedef struct {
    const char *name;
    int run;
} named_run;

static int by_name(const void *a, const void *b) {
    const named_run *x = a, *y = b;
    int order = strcmp(x->name, y->name);
    return order ? order : (x->run > y->run) - (x->run < y->run);
}

/* Values that differ only in what a folder's name cannot hold get the run's number. */
static kp_status make_names_unique(kp_study *s, kp_err *err) {
    named_run *sorted = malloc((size_t)s->n * sizeof *sorted);
    if (!sorted) return kp_fail(err, KP_BAD_CONFIG, "study: out of memory");
    for (int i = 0; i < s->n; i++) sorted[i] = (named_run){ s->run[i].run.name, i };
    qsort(sorted, (size_t)s->n, sizeof *sorted, by_name);
    for (int i = s->n - 1; i > 0; i--) {
        if (strcmp(sorted[i].name, sorted[i - 1].name)) continue;
        char *name = s->run[sorted[i].run].run.name;
        size_t n = strlen(name);
        snprintf(name + n, sizeof s->run->run.name - n, "-run%d", sorted[i].run);
    }
    free(sorted);
    return KP_OK;
}

static kp_status expand(kp_study *s, const grid *g, const kp_config *base, const char *name,
                        kp_err *err) {
    int64_t n = 1;
    for (int i = 0; i < g->n; i++) {
        n *= g->axis[i].n;
        if (n > KP_STUDY_MAX_RUNS)
            return kp_fail(err, KP_BAD_CONFIG, "%s: grid: more than %d runs", name,
                           KP_STUDY_MAX_RUNS);
    }
    s->run = calloc((size_t)n, sizeof *s->run);
    if (!s->run) return kp_fail(err, KP_BAD_CONFIG, "%s: out of memory for %d runs", name, (int)n);
    kp_status st = KP_OK;
    for (s->n = 0; s->n < n && !st; s->n++) {
        kp_config *c = &s->run[s->n];
        int64_t rest = s->n;
        *c = *base;
        for (int i = g->n - 1; i >= 0 && !st; i--) {
            const axis *a = &g->axis[i];
            st = kp_config_set(c, NULL, kp_key_at(a->key)->key, a->value[rest % a->n], name, err);
            rest /= a->n;
        }
        name_run(c, g);
        if (!st && c->population.size != 1)
            st = kp_fail(err, KP_BAD_CONFIG,
                         "%s: population.size: a study packs its runs into populations by itself; "
                         "leave it out and list seeds",
                         name);
        if (!st && (st = kp_config_check(c, err)))
            kp_err_prefix(err, "%s: run %s: ", name, c->run.name);
    }
    return st ? st : make_names_unique(s, err);
}

kp_status kp_study_from_text(kp_study *study, const char *text, const char *name, kp_err *err) {
    static const char *const sections[] = { "set", "grid", NULL };
    kp_study s = { 0 };
    kp_settings settings = { 0 };
    grid g = { 0 };
    kp_config base;
    kp_status st = kp_settings_read(&settings, text, name, sections, err);
    if (st) goto out;
    st = kp_config_layer(&base, &s.origins, *settings.base ? settings.base : NULL, name, err);
    if (st) {
        kp_err_prefix(err, "%s:%d: base: ", name, settings.base_line);
        goto out;
    }
    st = read_sections(&g, &base, &s.origins, &settings, name, err);
    if (!st) st = expand(&s, &g, &base, name, err);
out:
    kp_settings_free(&settings);
    free_grid(&g);
    if (st) kp_study_free(&s);
    *study = s;
    return st;
}

kp_status kp_study_load(kp_study *study, const char *path, kp_err *err) {
    char *text = NULL;
    memset(study, 0, sizeof *study);
    kp_status st = kp_text_read(&text, path, err);
    if (!st) st = kp_study_from_text(study, text, path, err);
    free(text);
    return st;
}

void kp_study_free(kp_study *study) {
    free(study->run);
    memset(study, 0, sizeof *study);
}
