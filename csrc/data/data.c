/* data.c: arrays from a set's files, checked against each other and against what the set must hold.
 */
#include "data.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "array.h"
#include "safetensors.h"
#include "sets.h"

typedef struct {
    kp_data data; /* first: its pointer is the owner's */
    kp_array features, label;
    int32_t *label32;
} owner;

/* An array of a safetensors file, in memory of its own. */
static kp_status copy(kp_array *a, const kp_safetensors *file, const char *name, const char *path,
                      kp_err *err) {
    kp_array seen;
    kp_status st = kp_safetensors_find(file, name, &seen, err);
    uint64_t bytes;
    if (!st) st = kp_array_measure(&seen, &bytes, path, err);
    if (st) return st;
    *a = seen;
    a->data = NULL;
    st = kp_array_take(&a->memory, bytes, path, err);
    if (st) return st;
    a->data = memcpy(a->memory, seen.data, bytes);
    return KP_OK;
}

static kp_status read_safetensors(owner *o, const char *path, kp_err *err) {
    kp_safetensors *file = NULL;
    kp_status st = kp_safetensors_open(&file, path, err);
    if (!st) st = copy(&o->features, file, "features", path, err);
    if (!st) st = copy(&o->label, file, "labels", path, err);
    kp_safetensors_close(file);
    return st;
}

static kp_status read_files(owner *o, const kp_set *set, const kp_set_split *split,
                            const kp_set_files *f, kp_err *err) {
    const char *first = f->file[0], *second = f->file[1];
    kp_status st = KP_OK;
    switch (f->form) {
    case KP_FORM_IDX:
        st = kp_idx_read(&o->features, first, split->images_md5, err);
        return st ? st : kp_idx_read(&o->label, second, split->labels_md5, err);
    case KP_FORM_NPY:
        st = kp_npy_read(&o->features, first, err);
        return st ? st : kp_npy_read(&o->label, second, err);
    case KP_FORM_CSV:
        return kp_csv_read(&o->features, &o->label, first, set->is_bytes, !set->is_label_last,
                           split->csv_md5, err);
    case KP_FORM_SAFETENSORS: break;
    }
    return read_safetensors(o, first, err);
}

/* Types, dimensions, and counts that agree; height and width as the file or the set has them. */
static kp_status check_shapes(owner *o, const char *features, const char *labels, kp_err *err) {
    const kp_array *x = &o->features, *y = &o->label;
    kp_data *d = &o->data;
    char text[96];
    if ((x->type != KP_U8 && x->type != KP_F32) || x->n_dims < 2)
        return kp_fail(err, KP_BAD_DATA,
                       "%s: features are %s, expected U8 or F32, samples first, of two or more "
                       "dimensions",
                       features, kp_array_describe(x, text));
    if ((y->type != KP_U8 && y->type != KP_I32 && y->type != KP_I64) || y->n_dims != 1)
        return kp_fail(err, KP_BAD_DATA,
                       "%s: labels are %s, expected U8, I32 or I64 of one dimension", labels,
                       kp_array_describe(y, text));
    if (!x->n || !y->n)
        return kp_fail(err, KP_BAD_DATA, "%s: is empty, %s; expected samples",
                       x->n ? labels : features, kp_array_describe(x->n ? y : x, text));
    if (x->shape[0] != y->n)
        return kp_fail(err, KP_BAD_DATA, "%s: %lld samples, but %s: %lld labels", features,
                       (long long)x->shape[0], labels, (long long)y->n);
    if (y->n > INT_MAX || x->n / y->n > INT_MAX)
        return kp_fail(err, KP_BAD_DATA, "%s: %s, expected at most %d samples and features",
                       features, kp_array_describe(x, text), INT_MAX);
    d->n = (int)y->n;
    d->n_inputs = (int)(x->n / y->n);
    d->height = x->n_dims == 3 ? (int)x->shape[1] : 1;
    d->width = d->n_inputs / d->height;
    return KP_OK;
}

static kp_status check_set(owner *o, const kp_set *set, const kp_set_split *split, int is_csv,
                           const char *features, kp_err *err) {
    kp_data *d = &o->data;
    char text[96];
    if (is_csv && set->height && d->n_inputs == set->height * set->width)
        d->height = set->height, d->width = set->width; /* a CSV has rows alone */
    if (set->height && (d->height != set->height || d->width != set->width))
        return kp_fail(err, KP_BAD_DATA, "%s: is %s, expected samples of %d x %d for %s", features,
                       kp_array_describe(&o->features, text), set->height, set->width,
                       set->about.name);
    if (set->height && (o->features.type == KP_U8) != set->is_bytes)
        return kp_fail(err, KP_BAD_DATA, "%s: is %s, expected %s for %s", features,
                       kp_array_describe(&o->features, text), set->is_bytes ? "U8" : "F32",
                       set->about.name);
    if (split->n && d->n != split->n)
        return kp_fail(
            err, KP_BAD_DATA,
            "%s: %d samples, expected the %d of %s; fetch it again, or read files of your "
            "own with data.set=custom",
            features, d->n, split->n, set->about.name);
    return KP_OK;
}

static int64_t label_at(const kp_array *y, int64_t i) {
    if (y->type == KP_U8) return ((const uint8_t *)y->data)[i];
    return y->type == KP_I32 ? ((const int32_t *)y->data)[i] : ((const int64_t *)y->data)[i];
}

static kp_status take_labels(owner *o, const kp_set *set, const char *labels, kp_err *err) {
    kp_data *d = &o->data;
    void *memory = NULL;
    int64_t most = set->n_classes ? set->n_classes - 1 : INT_MAX - 1, largest = 0;
    kp_status st = kp_array_take(&memory, (uint64_t)d->n * sizeof *o->label32, labels, err);
    o->label32 = memory;
    if (st) return st;
    for (int i = 0; i < d->n; i++) {
        int64_t label = label_at(&o->label, i);
        if (label < 0 || label > most)
            return kp_fail(err, KP_BAD_DATA,
                           "%s: label of sample %d (from 0) is %lld, expected 0 to %lld", labels, i,
                           (long long)label, (long long)most);
        o->label32[i] = (int32_t)label;
        if (label > largest) largest = label;
    }
    d->n_classes = set->n_classes ? set->n_classes : (int)largest + 1;
    d->label = o->label32;
    kp_array_free(&o->label);
    return KP_OK;
}

static kp_status check_finite(const owner *o, const char *features, kp_err *err) {
    const float *x = o->features.data;
    for (int64_t i = 0; i < o->features.n; i++)
        if (!isfinite(x[i]))
            return kp_fail(err, KP_BAD_DATA,
                           "%s: row %lld, column %lld (from 0) is %g, expected finite features",
                           features, (long long)(i / o->data.n_inputs),
                           (long long)(i % o->data.n_inputs), (double)x[i]);
    return KP_OK;
}

static kp_status transpose(owner *o, const char *path, kp_err *err) {
    kp_data *d = &o->data;
    uint8_t *x = o->features.data, *one = malloc((size_t)d->n_inputs);
    if (!one) return kp_fail(err, KP_BAD_CONFIG, "%s: out of host memory", path);
    for (int i = 0; i < d->n; i++, x += d->n_inputs) {
        memcpy(one, x, (size_t)d->n_inputs);
        for (int row = 0; row < d->height; row++)
            for (int column = 0; column < d->width; column++)
                x[row * d->width + column] = one[column * d->height + row];
    }
    free(one);
    return KP_OK;
}

kp_status kp_data_open(kp_data **out, const kp_data_options *options, kp_err *err) {
    const kp_set *set = NULL;
    kp_set_files f;
    *out = NULL;
    kp_status st = kp_set_of(options->set, &set, err);
    if (!st) st = kp_set_find(set, options->dir, options->is_test, &f, err);
    if (st == KP_BAD_DATA) kp_err_prefix(err, "data.set=%s: ", options->set);
    if (st) return st;
    owner *o = calloc(1, sizeof *o);
    if (!o) return kp_fail(err, KP_BAD_CONFIG, "data.set: out of host memory");
    const kp_set_split *split = &set->split[options->is_test];
    const char *features = f.file[0], *labels = *f.file[1] ? f.file[1] : features;
    kp_data *d = &o->data;
    st = read_files(o, set, split, &f, err);
    if (!st) st = check_shapes(o, features, labels, err);
    if (!st) st = check_set(o, set, split, f.form == KP_FORM_CSV, features, err);
    if (!st) st = take_labels(o, set, labels, err);
    if (!st && o->features.type == KP_F32) st = check_finite(o, features, err);
    if (!st && set->is_transposed) st = transpose(o, features, err);
    if (st) {
        kp_data_close(d);
        return st;
    }
    if (o->features.type == KP_U8) d->bytes = o->features.data;
    else d->floats = o->features.data;
    snprintf(d->source, sizeof d->source, "%.500s%s%.500s", features, *f.file[1] ? ", " : "",
             f.file[1]);
    *out = d;
    return KP_OK;
}

void kp_data_close(kp_data *data) {
    if (!data) return;
    owner *o = (owner *)data;
    kp_array_free(&o->features);
    kp_array_free(&o->label);
    free(o->label32);
    free(o);
}

kp_status kp_data_where(const char *name, const char *dir, char *found, size_t size, kp_err *err) {
    const kp_set *set = NULL;
    kp_set_files f;
    kp_status st = kp_set_of(name, &set, err);
    if (!st) st = kp_set_find(set, dir, 0, &f, err);
    if (!st) snprintf(found, size, "%s", f.folder);
    return st;
}
