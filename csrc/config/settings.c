/* settings.c: see settings.h. libfyaml parses; repeated keys are found here, since one key has
 * several spellings. */
#include "settings.h"

#include <errno.h>
#include <libfyaml.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_SETTINGS = 4096, MAX_FILE_BYTES = 1 << 20 };

typedef struct {
    kp_settings *out;
    const char *name;
    const char *const *sections;
    int map; /* the named map that is being walked, -1: none */
} reader;

static int line_of(struct fy_node *scalar, int otherwise) {
    struct fy_token *token = scalar ? fy_node_get_scalar_token(scalar) : NULL;
    const struct fy_mark *mark = token ? fy_token_start_mark(token) : NULL;
    return mark ? mark->line + 1 : otherwise;
}

/* The scalar's text, 0-ended; 0 where it is no scalar, too long, or holds a 0. */
static int scalar_text(struct fy_node *node, char *text, size_t size) {
    size_t n = 0;
    text[0] = 0;
    if (!node) return 1; /* `key:` with nothing after it */
    if (!fy_node_is_scalar(node) || fy_node_is_alias(node)) return 0;
    const char *s = fy_node_get_scalar(node, &n);
    if (!s) return 1;
    if (n >= size || memchr(s, 0, n)) return 0;
    memcpy(text, s, n);
    text[n] = 0;
    return 1;
}

/* {hidden: 5, output: 1.5} */
static int map_text(struct fy_node *map, char *text, size_t size) {
    void *at = NULL;
    struct fy_node_pair *pair;
    size_t n = (size_t)snprintf(text, size, "{");
    while ((pair = fy_node_mapping_iterate(map, &at))) {
        char name[64], value[64];
        if (!scalar_text(fy_node_pair_key(pair), name, sizeof name) ||
            !scalar_text(fy_node_pair_value(pair), value, sizeof value))
            return 0;
        n += (size_t)snprintf(text + n, size - n, "%s%s: %s", n > 1 ? ", " : "", name, value);
        if (n + 2 > size) return 0;
    }
    snprintf(text + n, size - n, "}");
    return 1;
}

static kp_status add(reader *r, const char *key, int section, int element, int line,
                     struct fy_node *value, kp_err *err) {
    kp_settings *s = r->out;
    if (s->n == MAX_SETTINGS)
        return kp_fail(err, KP_BAD_CONFIG, "%s:%d: more than %d values in one file", r->name, line,
                       MAX_SETTINGS);
    if (s->n == s->capacity) {
        int capacity = s->capacity ? 2 * s->capacity : 32;
        kp_setting *item = realloc(s->item, (size_t)capacity * sizeof *item);
        if (!item) return kp_fail(err, KP_BAD_CONFIG, "%s: out of memory", r->name);
        s->item = item, s->capacity = capacity;
    }
    kp_setting *new = &s->item[s->n];
    memset(new, 0, sizeof *new);
    snprintf(new->key, sizeof new->key, "%s", key);
    new->section = section, new->map = r->map, new->element = element, new->line = line;
    int is_map = value && fy_node_is_mapping(value);
    if (element >= 0 && !(is_map ? map_text(value, new->value, sizeof new->value)
                                 : scalar_text(value, new->value, sizeof new->value)))
        return kp_fail(err, KP_BAD_CONFIG, "%s:%d: %s: seen %s, expected one value", r->name, line,
                       key,
                       value && fy_node_is_sequence(value) ? "a list"
                       : is_map                            ? "a map of maps or of long values"
                       : value && fy_node_is_alias(value)
                           ? "an alias (*name), which is not supported"
                           : "a value that is too long");
    for (int i = 0; i < s->n && element <= 1;
         i++) { /* a list was looked up with its first element */
        const kp_setting *old = &s->item[i];
        if (old->section == section && old->map == r->map && !strcmp(old->key, key))
            return kp_fail(err, KP_BAD_CONFIG, "%s:%d: %s is set twice, first in line %d", r->name,
                           line, key, old->line);
    }
    s->n++;
    return KP_OK;
}

static kp_status add_list(reader *r, const char *key, int section, int line, struct fy_node *list,
                          kp_err *err) {
    void *at = NULL;
    struct fy_node *value;
    int element = 0;
    kp_status st = KP_OK;
    while (!st && (value = fy_node_sequence_iterate(list, &at)))
        st = add(r, key, section, ++element, fy_node_is_scalar(value) ? line_of(value, line) : line,
                 value, err);
    return st || element ? st : add(r, key, section, -1, line, NULL, err);
}

/* Walks a map whose keys stand under `prefix`. A map ends the walk where its key is one of the
 * schema. */
static kp_status walk(reader *r, struct fy_node *map, const char *prefix, int section,
                      kp_err *err) {
    void *at = NULL;
    struct fy_node_pair *pair;
    kp_status st = KP_OK;
    while (!st && (pair = fy_node_mapping_iterate(map, &at))) {
        struct fy_node *key_node = fy_node_pair_key(pair), *value = fy_node_pair_value(pair);
        char word[96], key[96];
        int line = line_of(key_node, 1);
        if (!scalar_text(key_node, word, sizeof word) || !*word)
            return kp_fail(err, KP_BAD_CONFIG, "%s:%d: this key is no plain name", r->name, line);
        if (snprintf(key, sizeof key, "%s%s%s", prefix, *prefix ? "." : "", word) >=
            (int)sizeof key)
            return kp_fail(err, KP_BAD_CONFIG, "%s:%d: %s.%s is not a key", r->name, line, prefix,
                           word);
        if (value && fy_node_is_mapping(value) && kp_key_find(key) < 0)
            st = walk(r, value, key, section, err);
        else if (value && fy_node_is_sequence(value) && r->sections)
            st = add_list(r, key, section, line, value, err);
        else st = add(r, key, section, 0, line, value, err);
    }
    return st;
}

/* *is_named: 1 for a section of maps by name. */
static int find_section(const char *const *sections, const char *name, int *is_named) {
    for (int i = 0; sections[i]; i++) {
        size_t n = strcspn(sections[i], ".");
        *is_named = sections[i][n] != 0;
        if (!strncmp(sections[i], name, n) && !name[n]) return i;
    }
    return -1;
}

static kp_status begin_map(reader *r, struct fy_node *key, int section, int line, kp_err *err) {
    kp_settings *s = r->out;
    kp_settings_map new = { .section = section, .line = line };
    if (!scalar_text(key, new.name, sizeof new.name) || !*new.name)
        return kp_fail(err, KP_BAD_CONFIG, "%s:%d: expected a name of at most %zu bytes", r->name,
                       line, sizeof new.name - 1);
    for (int i = 0; i < s->n_maps; i++)
        if (s->map[i].section == section && !strcmp(s->map[i].name, new.name))
            return kp_fail(err, KP_BAD_CONFIG, "%s:%d: %s stands twice, first in line %d", r->name,
                           line, new.name, s->map[i].line);
    kp_settings_map *grown = realloc(s->map, (size_t)(s->n_maps + 1) * sizeof *grown);
    if (!grown) return kp_fail(err, KP_BAD_CONFIG, "%s: out of memory", r->name);
    s->map = grown;
    r->map = s->n_maps;
    s->map[s->n_maps++] = new;
    return KP_OK;
}

/* sgd: { optim.rule: sgd }, ... */
static kp_status walk_named(reader *r, struct fy_node *maps, int section, kp_err *err) {
    void *at = NULL;
    struct fy_node_pair *pair;
    kp_status st = KP_OK;
    while (!st && (pair = fy_node_mapping_iterate(maps, &at))) {
        struct fy_node *key = fy_node_pair_key(pair), *value = fy_node_pair_value(pair);
        int line = line_of(key, 1);
        st = begin_map(r, key, section, line, err);
        if (!st && (!value || !fy_node_is_mapping(value)))
            st = kp_fail(err, KP_BAD_CONFIG,
                         "%s:%d: %s: expected a map of keys, {} where it has none of its own",
                         r->name, line, r->out->map[r->map].name);
        if (!st) st = walk(r, value, "", section, err);
    }
    r->map = -1;
    return st;
}

/* A study: schema, base and the sections at the top level, nothing else. */
static kp_status walk_sections(reader *r, struct fy_node *root, kp_err *err) {
    void *at = NULL;
    struct fy_node_pair *pair;
    kp_status st = KP_OK;
    while (!st && (pair = fy_node_mapping_iterate(root, &at))) {
        struct fy_node *key_node = fy_node_pair_key(pair), *value = fy_node_pair_value(pair);
        char word[96];
        int line = line_of(key_node, 1), is_named;
        if (!scalar_text(key_node, word, sizeof word)) *word = 0;
        int section = find_section(r->sections, word, &is_named);
        if (section >= 0) {
            if (!value || !fy_node_is_mapping(value))
                return kp_fail(err, KP_BAD_CONFIG, "%s:%d: %s: expected a map of %s", r->name, line,
                               word, is_named ? "names, each with a map of keys" : "keys");
            st = is_named ? walk_named(r, value, section, err) : walk(r, value, "", section, err);
        } else if (!strcmp(word, "schema") || !strcmp(word, "base")) {
            st = add(r, word, -1, 0, line, value, err);
        } else {
            return kp_fail(err, KP_BAD_CONFIG,
                           "%s:%d: %s does not belong at the top of a study; expected "
                           "schema, base, set, grid or methods",
                           r->name, line, *word ? word : "this");
        }
    }
    return st;
}

/* Takes schema and base out of the list. */
static kp_status take_header(reader *r, kp_err *err) {
    kp_settings *s = r->out;
    int kept = 0, has_schema = 0;
    for (int i = 0; i < s->n; i++) {
        kp_setting *item = &s->item[i];
        if (item->section < 0 && !strcmp(item->key, "schema")) {
            if (strcmp(item->value, "1"))
                return kp_fail(err, KP_BAD_CONFIG, "%s:%d: schema: seen '%s', this program reads 1",
                               r->name, item->line, item->value);
            has_schema = 1;
        } else if (item->section < 0 && !strcmp(item->key, "base")) {
            if (!*item->value ||
                snprintf(s->base, sizeof s->base, "%s", item->value) >= (int)sizeof s->base)
                return kp_fail(err, KP_BAD_CONFIG, "%s:%d: base: expected a preset or a file",
                               r->name, item->line);
            s->base_line = item->line;
        } else {
            s->item[kept++] = *item;
        }
    }
    s->n = kept;
    return has_schema
               ? KP_OK
               : kp_fail(err, KP_BAD_CONFIG,
                         "%s: `schema: 1` is missing; every configuration file begins with it",
                         r->name);
}

static kp_status parse_failed(struct fy_diag *diag, const char *name, kp_err *err) {
    void *at = NULL;
    struct fy_diag_error *e = fy_diag_errors_iterate(diag, &at);
    if (!e) return kp_fail(err, KP_BAD_CONFIG, "%s: not YAML", name);
    return kp_fail(err, KP_BAD_CONFIG, "%s:%d: not YAML: %.*s", name, e->line,
                   (int)strcspn(e->msg, "\n"), e->msg);
}

static kp_status walk_root(reader *r, struct fy_node *root, kp_err *err) {
    kp_status st = KP_OK;
    int is_map = root && fy_node_is_mapping(root);
    int has_grid = is_map && fy_node_mapping_lookup_by_string(root, "grid", 4);
    if (!r->sections &&
        (has_grid || (is_map && fy_node_mapping_lookup_by_string(root, "methods", 7))))
        return kp_fail(err, KP_BAD_CONFIG,
                       "%s: a study (it has %s), expected the configuration of one run; "
                       "kappa sweep %s",
                       r->name, has_grid ? "a grid" : "methods", r->name);
    if (is_map) st = r->sections ? walk_sections(r, root, err) : walk(r, root, "", -1, err);
    else if (root && !(fy_node_is_scalar(root) && fy_node_is_null(root)))
        st = kp_fail(err, KP_BAD_CONFIG, "%s: expected a map of keys", r->name);
    return st ? st : take_header(r, err);
}

kp_status kp_settings_read(kp_settings *settings, const char *text, const char *name,
                           const char *const *sections, kp_err *err) {
    reader r = { settings, name, sections, -1 };
    struct fy_parser *parser = NULL;
    struct fy_document *document = NULL, *second = NULL;
    struct fy_diag *diag = NULL;
    kp_status st = KP_OK;
    memset(settings, 0, sizeof *settings);
    diag = fy_diag_create(NULL);
    if (diag) {
        fy_diag_set_collect_errors(diag, true);
        struct fy_parse_cfg cfg = { .diag = diag,
                                    .flags = FYPCF_ALLOW_DUPLICATE_KEYS | FYPCF_COLLECT_DIAG };
        parser = fy_parser_create(&cfg);
    }
    if (!parser || fy_parser_set_string(parser, text, strlen(text))) {
        st = kp_fail(err, KP_BAD_CONFIG, "%s: out of memory", name);
        goto out;
    }
    document = fy_parse_load_document(parser);
    if (document) second = fy_parse_load_document(parser);
    if (fy_parser_get_stream_error(parser)) st = parse_failed(diag, name, err);
    else if (second)
        st = kp_fail(err, KP_BAD_CONFIG, "%s: two documents (---) in one file, expected one", name);
    else st = walk_root(&r, document ? fy_document_root(document) : NULL, err);
out:
    if (second) fy_parse_document_destroy(parser, second);
    if (document) fy_parse_document_destroy(parser, document);
    if (parser) fy_parser_destroy(parser);
    if (diag) fy_diag_destroy(diag);
    return st;
}

void kp_settings_free(kp_settings *settings) {
    free(settings->item);
    free(settings->map);
    memset(settings, 0, sizeof *settings);
}

kp_status kp_text_read(char **text, const char *path, kp_err *err) {
    kp_status st = KP_OK;
    char *bytes = NULL;
    FILE *f = fopen(path, "rb");
    if (!f) return kp_fail(err, KP_STORAGE, "%s: cannot be read: %s", path, strerror(errno));
    bytes = malloc(MAX_FILE_BYTES + 1);
    if (!bytes) {
        st = kp_fail(err, KP_BAD_CONFIG, "%s: out of memory", path);
        goto out;
    }
    size_t n = fread(bytes, 1, MAX_FILE_BYTES + 1, f);
    if (ferror(f)) {
        st = kp_fail(err, KP_STORAGE, "%s: cannot be read: %s", path, strerror(errno));
        goto out;
    }
    if (n > MAX_FILE_BYTES || memchr(bytes, 0, n)) {
        st = kp_fail(err, KP_BAD_CONFIG, "%s: not a configuration file (binary, or over %d bytes)",
                     path, MAX_FILE_BYTES);
        goto out;
    }
    bytes[n] = 0;
    *text = bytes;
    bytes = NULL;
out:
    free(bytes);
    fclose(f);
    return st;
}
