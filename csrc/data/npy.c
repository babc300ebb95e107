/* npy.c: NPY, the format of numpy.save: a magic number, a version, and a Python dictionary of three
 * keys in text; then the elements. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "array.h"
#include "permutations.h"
#include "source.h"

typedef struct {
    char descr[24], shape[160];
    int is_fortran; /* -1: not said */
} head;

static const struct {
    const char *descr;
    kp_dtype type;
} types[] = { { "<f4", KP_F32 }, { "|u1", KP_U8 }, { "<i4", KP_I32 }, { "<i8", KP_I64 } };

static const char *skip_space(const char *at) { return at + strspn(at, " \t\r\n"); }

/* 'text' or (text), without its marks; NULL where there is none or no room. */
static const char *take_between(const char *at, char first, char last, char *text, size_t size) {
    if (*at != first) return NULL;
    const char *end = strchr(at + 1, last);
    if (!end || (size_t)(end - at - 1) >= size) return NULL;
    snprintf(text, size, "%.*s", (int)(end - at - 1), at + 1);
    return end + 1;
}

/* {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }; 0 where it is anything else. */
static int parse_head(const char *at, head *h) {
    char key[24];
    *h = (head){ .is_fortran = -1 };
    at = skip_space(at);
    if (*at++ != '{') return 0;
    while (*(at = skip_space(at)) != '}') {
        at = take_between(at, '\'', '\'', key, sizeof key);
        if (!at) return 0;
        at = skip_space(at);
        if (*at++ != ':') return 0;
        at = skip_space(at);
        if (!strcmp(key, "descr")) {
            at = take_between(at, '\'', '\'', h->descr, sizeof h->descr);
        } else if (!strcmp(key, "shape")) {
            at = take_between(at, '(', ')', h->shape, sizeof h->shape);
        } else if (!strcmp(key, "fortran_order")) {
            h->is_fortran = !strncmp(at, "True", 4);
            at = h->is_fortran ? at + 4 : !strncmp(at, "False", 5) ? at + 5 : NULL;
        } else {
            return 0;
        }
        if (!at) return 0;
        at = skip_space(at);
        if (*at == ',') at++;
        else if (*at != '}') return 0;
    }
    return *h->descr && h->is_fortran >= 0;
}

/* "3, 4" or "3," or "". */
static int parse_shape(const char *at, kp_array *a) {
    char *end;
    for (a->n_dims = 0; *(at = skip_space(at)); at = skip_space(end) + (*skip_space(end) == ',')) {
        a->shape[a->n_dims] = strtoll(at, &end, 10);
        if (end == at || *at < '0' || *at > '9' || (*skip_space(end) && *skip_space(end) != ','))
            return 0;
        if (++a->n_dims == KP_ARRAY_DIMS) return !*skip_space(end);
    }
    return a->n_dims > 0;
}

static kp_status understand(kp_array *a, const char *text, const char *path, kp_err *err) {
    head h;
    if (!parse_head(text, &h))
        return kp_fail(err, KP_BAD_DATA,
                       "%s: its header is %.100s, expected a plain array's {'descr': '<f4', "
                       "'fortran_order': False, 'shape': (...), }",
                       path, text);
    size_t i = 0, n = sizeof types / sizeof *types;
    while (i < n && strcmp(types[i].descr, h.descr)) i++;
    if (i == n)
        return kp_fail(err, KP_BAD_DATA,
                       "%s: elements are '%s', expected '<f4', '|u1', '<i4' or '<i8'; save it with "
                       ".astype('<f4') or .astype('<i8')",
                       path, h.descr);
    a->type = types[i].type;
    if (h.is_fortran)
        return kp_fail(
            err, KP_BAD_DATA,
            "%s: is in Fortran order, expected C order; save numpy.ascontiguousarray of it", path);
    if (!parse_shape(h.shape, a))
        return kp_fail(err, KP_BAD_DATA, "%s: its shape is (%s), expected 1 to %d dimensions", path,
                       h.shape, KP_ARRAY_DIMS);
    return KP_OK;
}

static kp_status read_head(kp_array *a, kp_source *s, const char *path, kp_err *err) {
    uint8_t start[8], length[4] = { 0 };
    char *text = NULL;
    kp_status st = kp_source_take(s, start, sizeof start, "its magic number and version", err);
    if (st) return st;
    if (memcmp(start, "\x93NUMPY", 6))
        return kp_fail(err, KP_BAD_DATA,
                       "%s: begins with %02x%02x%02x%02x, expected NPY's \\x93NUMPY", path,
                       start[0], start[1], start[2], start[3]);
    if (start[6] < 1 || start[6] > 3 || start[7])
        return kp_fail(err, KP_BAD_DATA, "%s: NPY version %d.%d, expected 1.0, 2.0 or 3.0", path,
                       start[6], start[7]);
    st = kp_source_take(s, length, start[6] == 1 ? 2 : 4, "the length of its header", err);
    uint32_t n = (uint32_t)length[0] | (uint32_t)length[1] << 8 | (uint32_t)length[2] << 16 |
                 (uint32_t)length[3] << 24;
    if (!st && n > kp_source_most(s))
        st = kp_fail(err, KP_BAD_DATA, "%s: a header of %u bytes, more than the file holds", path,
                     n);
    if (!st && !(text = calloc(1, (size_t)n + 1)))
        st = kp_fail(err, KP_BAD_CONFIG, "%s: out of host memory", path);
    if (!st) st = kp_source_take(s, text, n, "its header", err);
    for (uint32_t i = 0; i < n && !st; i++) /* it goes into messages of one line */
        if (text[i] == '\n' || text[i] == 0) text[i] = ' ';
    if (!st) st = understand(a, text, path, err);
    free(text);
    return st;
}

kp_status kp_npy_read(kp_array *a, const char *path, kp_err *err) {
    kp_source *s = NULL;
    uint64_t bytes = 0;
    *a = (kp_array){ 0 };
    kp_status st = kp_source_open(&s, path, 0, err);
    if (!st) st = read_head(a, s, path, err);
    if (!st) st = kp_array_measure(a, &bytes, path, err);
    if (!st) st = kp_array_fill(a, bytes, s, path, err);
    kp_source_close(s);
    if (st) kp_array_free(a);
    return st;
}

kp_status kp_permutations_read(int32_t **rows, int *k, int n, const char *path, kp_err *err) {
    kp_array a;
    char text[96];
    uint8_t *seen = NULL;
    int32_t *out = NULL;
    *rows = NULL, *k = 0;
    kp_status st = kp_npy_read(&a, path, err);
    if (st) return st;
    if ((a.type != KP_I32 && a.type != KP_I64) || a.n_dims > 2 || a.shape[a.n_dims - 1] != n ||
        a.n == 0 || a.n / n > INT32_MAX) {
        st = kp_fail(err, KP_BAD_DATA,
                     "%s: is %s, expected I32 or I64, one row a task and %d columns", path,
                     kp_array_describe(&a, text), n);
        goto out;
    }
    out = malloc((size_t)a.n * sizeof *out);
    seen = calloc((size_t)n, 1);
    if (!out || !seen) {
        st = kp_fail(err, KP_BAD_CONFIG, "%s: out of host memory", path);
        goto out;
    }
    for (int64_t i = 0; i < a.n && !st; i++) {
        int64_t x = a.type == KP_I32 ? ((const int32_t *)a.data)[i] : ((const int64_t *)a.data)[i];
        if (i % n == 0) memset(seen, 0, (size_t)n);
        if (x < 0 || x >= n || seen[x]++)
            st =
                kp_fail(err, KP_BAD_DATA,
                        "%s: row %lld, column %lld is %lld, expected each of 0 to %d once in a row "
                        "(rows and columns from 0)",
                        path, (long long)(i / n), (long long)(i % n), (long long)x, n - 1);
        else out[i] = (int32_t)x;
    }
    if (!st) *rows = out, *k = (int)(a.n / n), out = NULL;
out:
    free(out);
    free(seen);
    kp_array_free(&a);
    return st;
}
