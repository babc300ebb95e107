/* safetensors.c: 8 bytes of length, a JSON object of that length, the arrays' bytes. */
#include "safetensors.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/files.h"

struct kp_safetensors {
    char path[KP_PATH];
    uint8_t *file; /* mapped */
    size_t n_bytes;
    const uint8_t *data; /* in file, after the head */
    uint64_t n_data;
    json_t *head;
};

typedef struct {
    const char *name;
    uint64_t begin, end;
} extent;

static const struct {
    const char *name;
    size_t bits;
} sizes[] = { /* of all types that the format has */
              { "F64", 64 },    { "I64", 64 },   { "U64", 64 },  { "F32", 32 },    { "I32", 32 },
              { "U32", 32 },    { "F16", 16 },   { "BF16", 16 }, { "I16", 16 },    { "U16", 16 },
              { "I8", 8 },      { "U8", 8 },     { "BOOL", 8 },  { "F8_E5M2", 8 }, { "C64", 64 },
              { "F8_E4M3", 8 }, { "F8_E8M0", 8 }
};

static size_t bits_of(const char *dtype) {
    for (size_t i = 0; dtype && i < sizeof sizes / sizeof *sizes; i++)
        if (!strcmp(sizes[i].name, dtype)) return sizes[i].bits;
    return 0;
}

static kp_status map(kp_safetensors *f, kp_err *err) {
    struct stat s;
    int fd = open(f->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return kp_fail(err, KP_BAD_DATA, "%s: cannot open: %s", f->path, strerror(errno));
    kp_status st = KP_OK;
    if (fstat(fd, &s) || !S_ISREG(s.st_mode))
        st = kp_fail(err, KP_BAD_DATA, "%s: is no file", f->path);
    else if (s.st_size < 8)
        st = kp_fail(err, KP_BAD_DATA, "%s: %lld bytes, shorter than a safetensors file can be",
                     f->path, (long long)s.st_size);
    if (!st) {
        f->n_bytes = (size_t)s.st_size;
        void *file = mmap(NULL, f->n_bytes, PROT_READ, MAP_PRIVATE, fd, 0);
        if (file == MAP_FAILED)
            st = kp_fail(err, KP_BAD_DATA, "%s: cannot read: %s", f->path, strerror(errno));
        else f->file = file;
    }
    close(fd);
    return st;
}

static kp_status parse_head(kp_safetensors *f, kp_err *err) {
    json_error_t error;
    uint64_t n = 0;
    for (int i = 0; i < 8; i++) n |= (uint64_t)f->file[i] << 8 * i;
    if (n > f->n_bytes - 8)
        return kp_fail(
            err, KP_BAD_DATA,
            "%s: a head of %llu bytes in a file of %zu; it is cut off, or no safetensors", f->path,
            (unsigned long long)n, f->n_bytes);
    f->head = json_loadb((const char *)f->file + 8, n, JSON_REJECT_DUPLICATES, &error);
    if (!f->head)
        return kp_fail(err, KP_BAD_DATA, "%s: its head is no JSON: %.100s", f->path, error.text);
    if (!json_is_object(f->head))
        return kp_fail(err, KP_BAD_DATA, "%s: its head is no JSON object", f->path);
    f->data = f->file + 8 + n;
    f->n_data = f->n_bytes - 8 - n;
    return KP_OK;
}

/* Where an array lies, once its type and shape are of that size. */
static kp_status measure(const kp_safetensors *f, const char *name, const json_t *row, extent *e,
                         kp_err *err) {
    const json_t *shape = json_object_get(row, "shape"),
                 *ends = json_object_get(row, "data_offsets");
    const json_t *first = json_array_get(ends, 0), *second = json_array_get(ends, 1);
    const char *dtype = json_string_value(json_object_get(row, "dtype"));
    uint64_t size = bits_of(dtype) / 8;
    int whole = json_is_array(shape) && json_array_size(ends) == 2 && json_is_integer(first) &&
                json_is_integer(second) && json_integer_value(first) >= 0;
    for (size_t i = 0; whole && i < json_array_size(shape); i++) {
        const json_t *dim = json_array_get(shape, i);
        whole = json_is_integer(dim) && json_integer_value(dim) >= 0 &&
                !__builtin_mul_overflow(size, (uint64_t)json_integer_value(dim), &size);
    }
    if (dtype && !bits_of(dtype))
        return kp_fail(err, KP_BAD_DATA, "%s: %.80s is of the unknown type %.20s", f->path, name,
                       dtype);
    if (!whole || !dtype)
        return kp_fail(err, KP_BAD_DATA,
                       "%s: its head is damaged at %.80s: no dtype, shape and data_offsets",
                       f->path, name);
    *e = (extent){ name, (uint64_t)json_integer_value(first), 0 };
    json_int_t end = json_integer_value(second);
    if (end < (json_int_t)e->begin || (uint64_t)end > f->n_data)
        return kp_fail(
            err, KP_BAD_DATA,
            "%s: %.80s lies at %llu to %lld of %llu bytes; the file is cut off or damaged", f->path,
            name, (unsigned long long)e->begin, (long long)end, (unsigned long long)f->n_data);
    e->end = (uint64_t)end;
    if (e->end - e->begin != size)
        return kp_fail(err, KP_BAD_DATA,
                       "%s: %.80s has %llu bytes, but its type and shape make %llu", f->path, name,
                       (unsigned long long)(e->end - e->begin), (unsigned long long)size);
    return KP_OK;
}

static int by_place(const void *a, const void *b) {
    const extent *x = a, *y = b;
    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    return x->end < y->end ? -1 : x->end > y->end;
}

static kp_status check_extents(const kp_safetensors *f, extent *all, size_t n, kp_err *err) {
    uint64_t at = 0;
    qsort(all, n, sizeof *all, by_place);
    for (size_t i = 0; i < n; at = all[i++].end)
        if (all[i].begin != at)
            return kp_fail(err, KP_BAD_DATA, "%s: %.80s begins at byte %llu, expected %llu: %s",
                           f->path, all[i].name, (unsigned long long)all[i].begin,
                           (unsigned long long)at,
                           all[i].begin < at ? "arrays overlap" : "there is a gap");
    if (at != f->n_data)
        return kp_fail(err, KP_BAD_DATA,
                       "%s: %llu bytes follow the last array; the file is damaged", f->path,
                       (unsigned long long)(f->n_data - at));
    return KP_OK;
}

static int is_array(const char *name) { return strcmp(name, "__metadata__") != 0; }

static kp_status check_head(kp_safetensors *f, kp_err *err) {
    size_t n = 0;
    const char *name;
    json_t *row;
    kp_status st = KP_OK;
    extent *all = calloc(json_object_size(f->head) + 1, sizeof *all);
    if (!all) return kp_fail(err, KP_BAD_CONFIG, "%s: out of host memory", f->path);
    json_object_foreach(f->head, name, row) {
        if (!st && is_array(name)) st = measure(f, name, row, &all[n++], err);
    }
    if (!st) st = check_extents(f, all, n, err);
    free(all);
    return st;
}

kp_status kp_safetensors_open(kp_safetensors **out, const char *path, kp_err *err) {
    *out = NULL;
    if (strlen(path) >= KP_PATH)
        return kp_fail(err, KP_BAD_DATA, "%.200s...: the path is longer than %d bytes", path,
                       KP_PATH - 1);
    kp_safetensors *f = calloc(1, sizeof *f);
    if (!f) return kp_fail(err, KP_BAD_CONFIG, "%s: out of host memory", path);
    strcpy(f->path, path);
    kp_status st = map(f, err);
    if (!st) st = parse_head(f, err);
    if (!st) st = check_head(f, err);
    if (st) {
        kp_safetensors_close(f);
        return st;
    }
    *out = f;
    return KP_OK;
}

void kp_safetensors_close(kp_safetensors *f) {
    if (!f) return;
    if (f->file) munmap(f->file, f->n_bytes);
    json_decref(f->head);
    free(f);
}

int kp_safetensors_has(const kp_safetensors *f, const char *name) {
    return is_array(name) && json_object_get(f->head, name) != NULL;
}

kp_status kp_safetensors_find(const kp_safetensors *f, const char *name, kp_array *a, kp_err *err) {
    const json_t *row = json_object_get(f->head, name), *shape = json_object_get(row, "shape");
    *a = (kp_array){ 0 };
    if (!row || !is_array(name))
        return kp_fail(err, KP_BAD_DATA, "%s: has no array %s", f->path, name);
    const char *dtype = json_string_value(json_object_get(row, "dtype"));
    int type = 0;
    while (type < KP_N_DTYPES && strcmp(kp_dtypes[type].name, dtype)) type++;
    if (type == KP_N_DTYPES || json_array_size(shape) > KP_ARRAY_DIMS)
        return kp_fail(err, KP_BAD_DATA,
                       "%s: %s is %s of %zu dimensions, expected F32 or a whole type, "
                       "at most %d",
                       f->path, name, dtype, json_array_size(shape), KP_ARRAY_DIMS);
    a->type = (kp_dtype)type;
    for (; a->n_dims < (int)json_array_size(shape); a->n_dims++)
        a->shape[a->n_dims] = json_integer_value(json_array_get(shape, (size_t)a->n_dims));
    uint64_t bytes;
    json_int_t begin = json_integer_value(json_array_get(json_object_get(row, "data_offsets"), 0));
    a->data = (void *)(uintptr_t)(f->data + begin);
    return kp_array_measure(a, &bytes, f->path, err);
}
