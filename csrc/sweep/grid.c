/* grid.c: see grid.h. Runs of one method are equal only if two values of one key are; those of two
 * methods only if in every key some value is the same. So no runs are compared. */
#include "grid.h"

#include <assert.h>
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/settings.h"

enum { SET, GRID, METHODS, MAX_AXES = 32, MAX_VALUES = 4096 };

typedef struct { /* one key of the grid, or of a method */
    int key;     /* index in the schema */
    int line;
    int n;
    char (*value)[KP_CONFIG_TEXT]; /* [n], as kp_config_get writes them */
} axis;

typedef struct {
    axis axis[MAX_AXES];
    int n;
} grid;

typedef struct { /* a study without methods is one of one method without a name */
    grid grid;
    grid *own;                     /* [n_methods] keys of each method */
    const kp_settings_map *method; /* [n_methods], borrowed; NULL: the one without a name */
    int n_methods;
    const char *name; /* of the file */
} plan;

static void free_grid(grid *g) {
    for (int i = 0; i < g->n; i++) free(g->axis[i].value);
}

static void free_plan(plan *p) {
    free_grid(&p->grid);
    for (int m = 0; p->own && m < p->n_methods; m++) free_grid(&p->own[m]);
    free(p->own);
}

static const axis *find_axis(const grid *g, int key) {
    for (int i = 0; i < g->n; i++)
        if (g->axis[i].key == key) return &g->axis[i];
    return NULL;
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
            return kp_fail(err, KP_BAD_CONFIG, "%s: more than %d keys in the %s", where, MAX_AXES,
                           s->map < 0 ? "grid" : "method");
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

/* A method's name is the beginning of a folder's, and of a label in a CSV. */
static kp_status check_methods(const plan *p, kp_err *err) {
    for (int m = 0; p->method && m < p->n_methods; m++)
        for (const char *c = p->method[m].name; *c; c++)
            if (!isalnum((unsigned char)*c) && !strchr("._+-", *c))
                return kp_fail(err, KP_BAD_CONFIG,
                               "%s:%d: methods: seen '%s', expected a name of letters, digits and "
                               "any of . _ + -",
                               p->name, p->method[m].line, p->method[m].name);
    return KP_OK;
}

/* Origins are the same for every run, so a method's key has no line. */
static void set_origin(kp_origins *origins, const char *key, const char *name, int line) {
    char *text = origins->text[kp_key_find(key)];
    if (line) snprintf(text, sizeof *origins->text, "%s:%d", name, line);
    else snprintf(text, sizeof *origins->text, "%s, methods", name);
}

/* Reads `set` into the base configuration, `grid` and `methods` into the plan. */
static kp_status read_item(plan *p, kp_config *base, kp_origins *origins, const kp_setting *item,
                           kp_err *err) {
    char where[128];
    snprintf(where, sizeof where, "%s:%d", p->name, item->line);
    if (p->method && !strcmp(item->key, "run.method"))
        return kp_fail(err, KP_BAD_CONFIG, "%s: run.method is the method's name; leave it out",
                       where);
    if (item->section == SET)
        return item->element ? kp_fail(err, KP_BAD_CONFIG,
                                       "%s: %s: a list belongs under grid; set takes one value",
                                       where, item->key)
                             : kp_config_set(base, origins, item->key, item->value, where, err);
    int is_grid = item->section == GRID;
    kp_status st = add_setting(is_grid ? &p->grid : &p->own[item->map], item, where, err);
    if (!st) set_origin(origins, item->key, p->name, is_grid ? item->line : 0);
    return st;
}

/* No key has its values from two sections. */
static kp_status check_sections(const plan *p, const kp_settings *s, kp_err *err) {
    for (int i = 0; i < s->n; i++) {
        const kp_setting *item = &s->item[i];
        int key = kp_key_find(item->key);
        const axis *a = item->section == SET ? find_axis(&p->grid, key) : NULL;
        if (a)
            return kp_fail(err, KP_BAD_CONFIG, "%s:%d: %s is under both set and grid", p->name,
                           a->line, item->key);
        for (int m = 0; m < p->n_methods && item->section != METHODS; m++)
            if ((a = find_axis(&p->own[m], key)))
                return kp_fail(err, KP_BAD_CONFIG,
                               "%s:%d: %s is under both methods (%s) and %s (line %d)", p->name,
                               a->line, item->key, p->method[m].name,
                               item->section == SET ? "set" : "grid", item->line);
    }
    return KP_OK;
}

static int takes(const grid *own, int key, const char *value, const kp_config *base) {
    const axis *a = find_axis(own, key);
    char text[KP_CONFIG_TEXT];
    if (!a) {
        kp_config_get(base, key, text);
        return !strcmp(text, value);
    }
    for (int i = 0; i < a->n; i++)
        if (!strcmp(a->value[i], value)) return 1;
    return 0;
}

/* 1 if a value of each of a's keys is one of b's too. */
static int share_values(const grid *a, const grid *b, const kp_config *base) {
    for (int i = 0; i < a->n; i++) {
        int shared = !kp_key_changes_results(kp_key_at(a->axis[i].key)->key);
        for (int j = 0; j < a->axis[i].n && !shared; j++)
            shared = takes(b, a->axis[i].key, a->axis[i].value[j], base);
        if (!shared) return 0;
    }
    return 1;
}

static kp_status check_distinct(const plan *p, const kp_config *base, kp_err *err) {
    for (int m = 1; m < p->n_methods; m++)
        for (int k = 0; k < m; k++)
            if (share_values(&p->own[m], &p->own[k], base) &&
                share_values(&p->own[k], &p->own[m], base))
                return kp_fail(err, KP_BAD_CONFIG,
                               "%s:%d: methods: %s and %s (line %d) have the same values in every "
                               "key, so that runs would be made twice",
                               p->name, p->method[m].line, p->method[m].name, p->method[k].name,
                               p->method[k].line);
    return KP_OK;
}

static kp_status read_sections(plan *p, kp_config *base, kp_origins *origins, const kp_settings *s,
                               kp_err *err) {
    kp_status st = check_methods(p, err);
    if (p->method) set_origin(origins, "run.method", p->name, 0);
    for (int i = 0; i < s->n && !st; i++) st = read_item(p, base, origins, &s->item[i], err);
    if (!st) st = check_sections(p, s, err);
    if (!st && p->grid.n == 0 && !p->method)
        st = kp_fail(err, KP_BAD_CONFIG,
                     "%s: grid: has no keys; `grid: { seed: 0..4 }` makes five runs", p->name);
    return st ? st : check_distinct(p, base, err);
}

static const char *short_name(const char *key) {
    static const struct {
        const char *key, *name;
    } names[] = {
        { "env.game", "" },
        { "data.set", "" },
        { "stream.problem", "" },
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

static void append_axes(char *name, size_t size, const kp_config *c, const grid *g) {
    const char *subject = c->algorithm == KP_ALGORITHM_STREAM ? "data.set" : "env.game";
    char text[KP_CONFIG_TEXT];
    for (int i = 0; i < g->n; i++) {
        const char *key = kp_key_at(g->axis[i].key)->key;
        if (g->axis[i].n < 2 || !strcmp(key, subject)) continue;
        kp_config_get(c, g->axis[i].key, text);
        append(name, size, short_name(key), text);
    }
}

static void name_run(kp_config *c, const grid *own, const grid *g) {
    char name[96] = "";
    append(name, sizeof name, "", c->run.method);
    append(name, sizeof name, "", c->algorithm == KP_ALGORITHM_STREAM ? c->data.set : c->env.game);
    append_axes(name, sizeof name, c, own);
    append_axes(name, sizeof name, c, g);
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

/* Takes from *at, the place among the combinations, what belongs to this grid: its last key is
 * fastest. */
static kp_status choose(kp_config *c, const grid *g, int64_t *at, const char *name, kp_err *err) {
    kp_status st = KP_OK;
    for (int i = g->n - 1; i >= 0 && !st; i--) {
        const axis *a = &g->axis[i];
        st = kp_config_set(c, NULL, kp_key_at(a->key)->key, a->value[*at % a->n], name, err);
        *at /= a->n;
    }
    return st;
}

static kp_status make_run(kp_config *c, const plan *p, int method, int64_t at, kp_err *err) {
    kp_status st = choose(c, &p->grid, &at, p->name, err);
    if (!st) st = choose(c, &p->own[method], &at, p->name, err);
    if (!st && p->method)
        st = kp_config_set(c, NULL, "run.method", p->method[method].name, p->name, err);
    if (st) return st;
    name_run(c, &p->own[method], &p->grid);
    if (c->population.size != 1)
        return kp_fail(err, KP_BAD_CONFIG,
                       "%s: population.size: a study packs its runs into populations by itself; "
                       "leave it out and list seeds",
                       p->name);
    st = kp_config_check(c, err);
    if (st) kp_err_prefix(err, "%s: run %s: ", p->name, c->run.name);
    return st;
}

/* More than KP_STUDY_MAX_RUNS is some number above it. */
static int64_t n_combinations(const grid *g, int64_t times) {
    for (int i = 0; i < g->n && times <= KP_STUDY_MAX_RUNS; i++) times *= g->axis[i].n;
    return times;
}

static kp_status expand(kp_study *s, const plan *p, const kp_config *base, kp_err *err) {
    int64_t total = 0;
    for (int m = 0; m < p->n_methods && total <= KP_STUDY_MAX_RUNS; m++)
        total += n_combinations(&p->own[m], n_combinations(&p->grid, 1));
    if (total > KP_STUDY_MAX_RUNS)
        return kp_fail(err, KP_BAD_CONFIG, "%s: grid: more than %d runs", p->name,
                       KP_STUDY_MAX_RUNS);
    s->run = calloc((size_t)total, sizeof *s->run);
    if (!s->run)
        return kp_fail(err, KP_BAD_CONFIG, "%s: out of memory for %d runs", p->name, (int)total);
    kp_status st = KP_OK;
    for (int m = 0; m < p->n_methods && !st; m++) {
        int64_t n = n_combinations(&p->own[m], n_combinations(&p->grid, 1));
        for (int64_t at = 0; at < n && !st; at++, s->n++) {
            s->run[s->n] = *base;
            st = make_run(&s->run[s->n], p, m, at, err);
        }
    }
    return st ? st : make_names_unique(s, err);
}

kp_status kp_study_from_text(kp_study *study, const char *text, const char *name, kp_err *err) {
    static const char *const sections[] = { "set", "grid", "methods.*", NULL };
    kp_study s = { 0 };
    kp_settings settings = { 0 };
    plan p = { .name = name };
    kp_config base;
    kp_status st = kp_settings_read(&settings, text, name, sections, err);
    if (st) goto out;
    p.method = settings.n_maps ? settings.map : NULL;
    p.n_methods = settings.n_maps ? settings.n_maps : 1;
    p.own = calloc((size_t)p.n_methods, sizeof *p.own);
    if (!p.own) {
        st = kp_fail(err, KP_BAD_CONFIG, "%s: out of memory", name);
        goto out;
    }
    st = kp_config_layer(&base, &s.origins, *settings.base ? settings.base : NULL, name, err);
    if (st) {
        kp_err_prefix(err, "%s:%d: base: ", name, settings.base_line);
        goto out;
    }
    st = read_sections(&p, &base, &s.origins, &settings, err);
    if (!st) st = expand(&s, &p, &base, err);
out:
    kp_settings_free(&settings);
    free_plan(&p);
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
