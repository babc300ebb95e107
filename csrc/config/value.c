/* value.c: one value between text and its field. Files and the command line share it, so both are
 * equally strict: the whole text must be the value. */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"

static void *field(kp_config *c, const kp_key *k) { return (char *)c + k->offset; }
static const void *field_of(const kp_config *c, const kp_key *k) {
    return (const char *)c + k->offset;
}

/* Digits, sign, point and exponent only: strtod also takes hex, "inf" and leading blanks. */
static int parse_double(const char *text, double *value) {
    char *end;
    if (!*text || strspn(text, "+-.0123456789eE") != strlen(text)) return 0;
    *value = strtod(text, &end);
    return *end == 0 && end != text && isfinite(*value);
}

static int parse_int(const char *text, int64_t *value) {
    char *end;
    if (!*text || strspn(text, "+-0123456789") != strlen(text)) return 0;
    errno = 0;
    long long v = strtoll(text, &end, 10);
    *value = v;
    return *end == 0 && end != text && errno == 0;
}

static int parse_uint64(const char *text, uint64_t *value) {
    char *end;
    if (!*text || strspn(text, "0123456789") != strlen(text)) return 0;
    errno = 0;
    *value = strtoull(text, &end, 10);
    return *end == 0 && errno == 0;
}

static int in_range(const kp_key *k, double x) {
    return (k->above_min ? x > k->min : x >= k->min) && x <= k->max;
}

static void format_double(char *text, size_t size, double x) {
    if (x == floor(x) && fabs(x) < 1e15) {
        snprintf(text, size, "%.0f", x);
        return;
    }
    for (int digits = 6; digits <= 17; digits++) { /* the shortest that reads back to the bit */
        snprintf(text, size, "%.*g", digits, x);
        if (strtod(text, NULL) == x) return;
    }
}

/* What the key takes, in words. */
void kp_key_expected(const kp_key *k, char *text, size_t size) {
    char low[48], high[48], range[128] = "";
    format_double(low, sizeof low, k->min);
    format_double(high, sizeof high, k->max);
    if (k->above_min) snprintf(range, sizeof range, " above %s", low);
    else snprintf(range, sizeof range, " from %s", low);
    if (k->max < 1e15) {
        size_t n = strlen(range);
        snprintf(range + n, sizeof range - n, k->above_min ? ", at most %s" : " to %s", high);
    }
    switch (k->type) {
    case KP_KEY_ENUM: snprintf(text, size, "one of %s", k->names); break;
    case KP_KEY_BOOL: snprintf(text, size, "true or false"); break;
    case KP_KEY_INT:
    case KP_KEY_INT64: snprintf(text, size, "a whole number%s", range); break;
    case KP_KEY_UINT64:
        snprintf(text, size, "a whole number from 0 to %" PRIu64, UINT64_MAX);
        break;
    case KP_KEY_DOUBLE: snprintf(text, size, "a number%s", range); break;
    case KP_KEY_DOUBLE_OR_NONE: snprintf(text, size, "none or a number%s", range); break;
    case KP_KEY_KAPPA:
        snprintf(text, size,
                 "none (no clipping), a number above 0, or such values by name: {hidden: 5, "
                 "output: 1.5}");
        break;
    case KP_KEY_STRING: snprintf(text, size, "text of at most %zu bytes", k->size_bytes - 1); break;
    }
}

static int parse_enum(const char *names, const char *text) {
    size_t n = strlen(text);
    for (int i = 0;; i++) {
        size_t length = strcspn(names, "|");
        if (n && n == length && !strncmp(names, text, n)) return i;
        if (!names[length]) return -1;
        names += length + 1;
    }
}

static int parse_kappa(const char *text, double *kappa) {
    if (!strcmp(text, "none")) {
        *kappa = INFINITY;
        return 1;
    }
    return parse_double(text, kappa) && *kappa > 0;
}

/* Copies [from, to) without blanks or quotes around it; 0 if it does not fit or is empty. */
static int copy_word(char *word, size_t size, const char *from, const char *to) {
    while (from < to && isspace((unsigned char)*from)) from++;
    while (to > from && isspace((unsigned char)to[-1])) to--;
    if (to - from >= 2 && (*from == '"' || *from == '\'') && to[-1] == *from) from++, to--;
    if (to <= from || (size_t)(to - from) >= size) return 0;
    memcpy(word, from, (size_t)(to - from));
    word[to - from] = 0;
    return 1;
}

/* none, 2, or {hidden: 5, output: none}. Names a map leaves out are not clipped. */
static int parse_kappas(const char *text, kp_clip_options *clip, const char **why) {
    kp_clip_options o = *clip;
    memset(o.named, 0, sizeof o.named);
    o.n_named = 0;
    if (*text != '{') {
        if (!parse_kappa(text, &o.kappa)) return 0;
        *clip = o;
        return 1;
    }
    size_t n = strlen(text);
    if (text[n - 1] != '}') return 0;
    const char *at = text + 1, *end = text + n - 1;
    o.kappa = INFINITY;
    while (at < end) {
        const char *stop = memchr(at, ',', (size_t)(end - at));
        if (!stop) stop = end;
        const char *colon = memchr(at, ':', (size_t)(stop - at));
        char number[64];
        if (o.n_named == KP_MAX_NAMED_KAPPAS) {
            *why = "too many names; ";
            return 0;
        }
        if (!colon || !copy_word(o.named[o.n_named].name, sizeof o.named->name, at, colon) ||
            !copy_word(number, sizeof number, colon + 1, stop) ||
            !parse_kappa(number, &o.named[o.n_named].kappa))
            return 0;
        for (int i = 0; i < o.n_named; i++)
            if (!strcmp(o.named[i].name, o.named[o.n_named].name)) {
                *why = "the same name twice; ";
                return 0;
            }
        o.n_named++;
        at = stop + 1;
    }
    if (!o.n_named) return 0;
    *clip = o;
    return 1;
}

/* Well-formed, as YAML and JSON want their text (RFC 3629). */
static int is_utf8(const char *text) {
    static const uint32_t least[] = { 0, 0x80, 0x800, 0x10000 };
    for (const unsigned char *c = (const unsigned char *)text; *c;) {
        int more = *c < 0x80   ? 0
                   : *c < 0xc0 ? -1
                   : *c < 0xe0 ? 1
                   : *c < 0xf0 ? 2
                   : *c < 0xf8 ? 3
                               : -1;
        uint32_t code = more > 0 ? *c & (0x3fu >> more) : *c;
        c++;
        for (int i = 0; i < more; i++, c++) {
            if ((*c & 0xc0) != 0x80) return 0;
            code = code << 6 | (*c & 0x3fu);
        }
        if (more < 0 || code < least[more] || code > 0x10ffff || (code >> 11) == 0x1b) return 0;
    }
    return 1;
}

static int parse(const kp_key *k, void *at, const char *text, const char **why) {
    int64_t i;
    double x;
    int e;
    *why = "";
    switch (k->type) {
    case KP_KEY_ENUM:
        if ((e = parse_enum(k->names, text)) < 0) return 0;
        *(int *)at = e;
        return 1;
    case KP_KEY_BOOL:
        if ((e = parse_enum("false|true", text)) < 0) return 0;
        *(int *)at = e;
        return 1;
    case KP_KEY_INT:
        if (!parse_int(text, &i) || !in_range(k, (double)i)) return 0;
        *(int *)at = (int)i;
        return 1;
    case KP_KEY_INT64:
        if (!parse_int(text, &i) || !in_range(k, (double)i)) return 0;
        *(int64_t *)at = i;
        return 1;
    case KP_KEY_UINT64: return parse_uint64(text, at);
    case KP_KEY_DOUBLE_OR_NONE:
        if (!strcmp(text, "none")) {
            *(double *)at = INFINITY;
            return 1;
        } /* fall through */
    case KP_KEY_DOUBLE:
        if (!parse_double(text, &x) || !in_range(k, x)) return 0;
        *(double *)at = x;
        return 1;
    case KP_KEY_KAPPA: return parse_kappas(text, at, why);
    case KP_KEY_STRING:
        if (strlen(text) >= k->size_bytes) return 0;
        if (!is_utf8(text)) {
            *why = "which is not UTF-8, ";
            return 0;
        }
        for (const char *c = text; *c; c++)
            if ((unsigned char)*c < ' ') return 0; /* it could not be written back on one line */
        memset(at, 0, k->size_bytes);
        strcpy(at, text);
        return 1;
    }
    return 0;
}

static kp_status set_one(kp_config *config, kp_origins *origins, int i, const char *value,
                         const char *where, kp_err *err) {
    const kp_key *k = kp_key_at(i);
    const char *why;
    if (!parse(k, field(config, k), value, &why)) {
        char want[256];
        kp_key_expected(k, want, sizeof want);
        return kp_fail(err, KP_BAD_CONFIG, "%s: %s: seen %s%s%s, %sexpected %s", where, k->key,
                       *value ? "'" : "", *value ? value : "nothing", *value ? "'" : "", why, want);
    }
    if (origins) snprintf(origins->text[i], sizeof origins->text[i], "%s", where);
    return KP_OK;
}

/* What the algorithm has no use for says nothing about the run. */
static void forget_unused(kp_config *config, kp_origins *origins) {
    for (int i = 0; i < kp_n_keys(); i++)
        if (!kp_key_is_of(kp_key_at(i)->key, config->algorithm))
            set_one(config, origins, i, kp_key_at(i)->standard, "default", NULL);
}

kp_status kp_config_set(kp_config *config, kp_origins *origins, const char *key, const char *value,
                        const char *where, kp_err *err) {
    int i = kp_key_find(key), before = config->algorithm;
    if (i < 0) {
        const char *nearest = kp_key_nearest(key);
        return nearest ? kp_fail(err, KP_BAD_CONFIG, "%s: %s is not a key; did you mean %s?", where,
                                 key, nearest)
                       : kp_fail(err, KP_BAD_CONFIG,
                                 "%s: %s is not a key; kappa config --reference lists them all",
                                 where, key);
    }
    kp_status st = set_one(config, origins, i, value, where, err);
    if (!st && config->algorithm != before) forget_unused(config, origins);
    return st;
}

static void format_kappa(char *text, size_t size, double kappa) {
    if (isinf(kappa)) snprintf(text, size, "none");
    else format_double(text, size, kappa);
}

static void format_kappas(char *text, size_t size, const kp_clip_options *o) {
    if (!o->n_named) {
        format_kappa(text, size, o->kappa);
        return;
    }
    size_t n = 0;
    for (int i = 0; i < o->n_named && n < size; i++) {
        char number[32];
        format_kappa(number, sizeof number, o->named[i].kappa);
        n += (size_t)snprintf(text + n, size - n, "%s%s: %s", i ? ", " : "{", o->named[i].name,
                              number);
    }
    if (n < size) snprintf(text + n, size - n, "}");
}

void kp_config_get(const kp_config *config, int key, char *text) {
    const kp_key *k = kp_key_at(key);
    const void *at = field_of(config, k);
    const size_t size = KP_CONFIG_TEXT;
    switch (k->type) {
    case KP_KEY_ENUM: {
        const char *name = k->names;
        for (int i = *(const int *)at; i > 0; i--) name += strcspn(name, "|") + 1;
        snprintf(text, size, "%.*s", (int)strcspn(name, "|"), name);
        break;
    }
    case KP_KEY_BOOL: snprintf(text, size, "%s", *(const int *)at ? "true" : "false"); break;
    case KP_KEY_INT: snprintf(text, size, "%d", *(const int *)at); break;
    case KP_KEY_INT64: snprintf(text, size, "%" PRId64, *(const int64_t *)at); break;
    case KP_KEY_UINT64: snprintf(text, size, "%" PRIu64, *(const uint64_t *)at); break;
    case KP_KEY_DOUBLE:
    case KP_KEY_DOUBLE_OR_NONE: format_kappa(text, size, *(const double *)at); break;
    case KP_KEY_KAPPA: format_kappas(text, size, at); break;
    case KP_KEY_STRING: snprintf(text, size, "%s", (const char *)at); break;
    }
}

int kp_config_same(const kp_config *a, const kp_config *b, int key) {
    char x[KP_CONFIG_TEXT], y[KP_CONFIG_TEXT];
    kp_config_get(a, key, x);
    kp_config_get(b, key, y);
    return !strcmp(x, y);
}
