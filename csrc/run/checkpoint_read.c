/* checkpoint_read.c: reading. All files of a checkpoint are checked before any of it is believed.
 */
#include <stdlib.h>
#include <string.h>

#include "checkpoint_impl.h"
#include "data/safetensors.h"

struct kp_checkpoint {
    int64_t step;
    char path[KP_PATH];
    kp_safetensors *state;
};

kp_status kp_checkpoint_manifest(json_t **manifest, const char *folder, int64_t step, kp_err *err) {
    char path[KP_PATH];
    uint8_t *text = NULL;
    size_t n;
    json_error_t error;
    *manifest = NULL;
    kp_status st = kp_checkpoint_path(path, folder, step, KP_MANIFEST_FILE, err);
    if (!st) st = kp_file_read(path, &text, &n, err);
    if (st) return st;
    json_t *m = json_loadb((const char *)text, n, JSON_REJECT_DUPLICATES, &error);
    free(text);
    if (!m)
        return kp_fail(err, KP_STORAGE, "%s:%d: %s; the file is damaged", path, error.line,
                       error.text);
    json_int_t format = json_integer_value(json_object_get(m, "format"));
    if (format != KP_CHECKPOINT_FORMAT)
        st = kp_fail(err, KP_STORAGE, "%s: format %lld; this version reads %d", path,
                     (long long)format, KP_CHECKPOINT_FORMAT);
    else if (json_integer_value(json_object_get(m, "agent_step")) != step)
        st = kp_fail(err, KP_STORAGE, "%s: is the manifest of another agent step", path);
    if (st) json_decref(m);
    else *manifest = m;
    return st;
}

static kp_status check_file(const char *path, const json_t *row, kp_err *err) {
    uint64_t n, xxh64;
    char seen[17];
    const char *want = json_string_value(json_object_get(row, "xxh64"));
    kp_status st = kp_file_checksum(path, &n, &xxh64, err);
    if (st) return st;
    json_int_t n_want = json_integer_value(json_object_get(row, "bytes"));
    if (!want || strcmp(kp_hex64(seen, xxh64), want) || (json_int_t)n != n_want)
        return kp_fail(err, KP_STORAGE,
                       "%s: altered: %llu bytes with checksum %s, not %lld with %s", path,
                       (unsigned long long)n, seen, (long long)n_want,
                       want ? want : "one in the manifest");
    return KP_OK;
}

static kp_status check_files(const char *folder, int64_t step, const json_t *manifest,
                             int with_shared, kp_err *err) {
    char path[KP_PATH], part[KP_PATH];
    size_t i;
    json_t *row;
    json_array_foreach(json_object_get(manifest, "files"), i, row) {
        const char *name = json_string_value(json_object_get(row, "name"));
        kp_status st = kp_checkpoint_path(path, folder, step, name ? name : "?", err);
        if (!st) st = check_file(path, row, err);
        if (st) return st;
    }
    json_array_foreach(with_shared ? json_object_get(manifest, "shared") : NULL, i, row) {
        const char *subfolder = json_string_value(json_object_get(row, "folder"));
        const char *name = json_string_value(json_object_get(row, "name"));
        kp_status st = kp_path_join(part, folder, subfolder ? subfolder : "?", err);
        if (!st) st = kp_path_join(path, part, name ? name : "?", err);
        if (!st) st = check_file(path, row, err);
        if (st) return st;
    }
    return KP_OK;
}

static kp_status open_one(kp_checkpoint **out, const char *folder, int64_t step, int with_shared,
                          kp_err *err) {
    json_t *manifest = NULL;
    *out = NULL;
    kp_checkpoint *c = calloc(1, sizeof *c);
    if (!c) return kp_fail(err, KP_STORAGE, "%s: out of host memory", folder);
    c->step = step;
    kp_status st = kp_checkpoint_manifest(&manifest, folder, step, err);
    if (!st) st = check_files(folder, step, manifest, with_shared, err);
    if (!st) st = kp_checkpoint_path(c->path, folder, step, KP_STATE_FILE, err);
    if (!st && kp_safetensors_open(&c->state, c->path, err)) st = KP_STORAGE;
    json_decref(manifest);
    if (st) {
        kp_checkpoint_close(c);
        return st;
    }
    *out = c;
    return KP_OK;
}

/* *last: the newest step that was there, -1: none. */
static kp_status open_newest(kp_checkpoint **out, const char *folder, int with_shared,
                             char warning[512], int64_t *last, kp_err *err) {
    int64_t *steps = NULL;
    int n = 0;
    size_t used = 0;
    *out = NULL;
    warning[0] = 0;
    kp_status st = kp_checkpoint_list(folder, &steps, &n, err);
    *last = n > 0 ? steps[n - 1] : -1;
    for (int i = n - 1; !st && !*out && i >= 0; i--) {
        kp_err why = { "" };
        if (!open_one(out, folder, steps[i], with_shared, &why)) break;
        int put = snprintf(warning + used, 512 - used, "%s%s", used ? "; " : "", why.text);
        used = used + (size_t)put < 511 ? used + (size_t)put : 511;
    }
    if (!st && n > 0 && !*out)
        st = kp_fail(err, KP_STORAGE, "%s: all %d checkpoints are damaged: %.360s", folder, n,
                     warning);
    free(steps);
    return st;
}

kp_status kp_checkpoint_open(kp_checkpoint **out, const char *folder, char warning[512],
                             kp_err *err) {
    int64_t last;
    return open_newest(out, folder, 1, warning, &last, err);
}

/* A writer deletes only after a newer one has appeared. */
static int has_newer(const char *folder, int64_t last) {
    int64_t *steps = NULL;
    int n = 0,
        newer = !kp_checkpoint_list(folder, &steps, &n, NULL) && n > 0 && steps[n - 1] > last;
    free(steps);
    return newer;
}

kp_status kp_checkpoint_open_state(kp_checkpoint **out, const char *folder, int64_t step,
                                   char warning[512], kp_err *err) {
    enum { TRIES = 20 };
    int64_t last;
    kp_status st = KP_OK;
    warning[0] = 0;
    if (step != KP_CHECKPOINT_NEWEST) return open_one(out, folder, step, 0, err);
    for (int i = 0; i < TRIES; i++) {
        st = open_newest(out, folder, 0, warning, &last, err);
        if ((!st && !warning[0]) || !has_newer(folder, last)) break;
        if (i + 1 < TRIES) kp_checkpoint_close(*out);
    }
    return st;
}

void kp_checkpoint_close(kp_checkpoint *c) {
    if (!c) return;
    kp_safetensors_close(c->state);
    free(c);
}

int64_t kp_checkpoint_step(const kp_checkpoint *c) { return c->step; }
int kp_checkpoint_has(const kp_checkpoint *c, const char *name) {
    return kp_safetensors_has(c->state, name);
}

static kp_status find(const kp_checkpoint *c, const char *name, kp_dtype type, kp_array *a,
                      kp_err *err) {
    if (kp_safetensors_find(c->state, name, a, err)) return KP_STORAGE;
    if (a->type != type)
        return kp_fail(err, KP_STORAGE, "%s: %s is %s, expected %s", c->path, name,
                       kp_dtypes[a->type].name, kp_dtypes[type].name);
    return KP_OK;
}

kp_status kp_checkpoint_get(const kp_checkpoint *c, const char *name, kp_dtype type, int n_dims,
                            const int64_t *shape, void *out, kp_err *err) {
    kp_array a, want = { .type = type, .n_dims = n_dims };
    char seen[96], expected[96];
    kp_status st = find(c, name, type, &a, err);
    if (st) return st;
    for (int i = 0; i < n_dims; i++) want.shape[i] = shape[i];
    if (a.n_dims != n_dims || memcmp(a.shape, want.shape, sizeof a.shape) != 0)
        return kp_fail(err, KP_STORAGE, "%s: %s is %s, expected %s; the configuration is another",
                       c->path, name, kp_array_describe(&a, seen),
                       kp_array_describe(&want, expected));
    if (a.n) memcpy(out, a.data, (size_t)a.n * kp_dtypes[type].size);
    return KP_OK;
}

kp_status kp_checkpoint_pass(const kp_checkpoint_io *io, const char *name, kp_dtype type,
                             int n_dims, const int64_t *shape, void *data, kp_err *err) {
    return io->to ? kp_checkpoint_add(io->to, name, type, n_dims, shape, data, err)
                  : kp_checkpoint_get(io->from, name, type, n_dims, shape, data, err);
}

kp_status kp_checkpoint_borrow(const kp_checkpoint *c, const char *name, kp_dtype type,
                               const void **out, size_t *n, kp_err *err) {
    kp_array a;
    kp_status st = find(c, name, type, &a, err);
    if (st) return st;
    *out = a.data;
    *n = (size_t)a.n;
    return KP_OK;
}
