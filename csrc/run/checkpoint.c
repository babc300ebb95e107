/* checkpoint.c: writing. Arrays go to the file as they are added; the head of the safetensors file
 * has room set aside, and is written last. */
#include "checkpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "checkpoint_impl.h"

enum { HEAD = 1 << 18 }; /* bytes for names and shapes; the format allows spaces after them */

struct kp_checkpoint_writer {
    int64_t step;
    char folder[KP_PATH], temp[KP_PATH], path[KP_PATH];
    int fd;
    uint64_t n_bytes; /* of data so far */
    json_t *head, *shared;
};

char *kp_hex64(char text[17], uint64_t x) {
    snprintf(text, 17, "%016" PRIx64, x);
    return text;
}

kp_status kp_checkpoint_path(char path[KP_PATH], const char *folder, int64_t step, const char *name,
                             kp_err *err) {
    char part[64];
    snprintf(part, sizeof part, "%0*lld%s%s", KP_STEP_DIGITS, (long long)step, name ? "/" : "",
             name ? name : "");
    return kp_path_join(path, folder, part, err);
}

int64_t kp_checkpoint_step_of(const char *name) {
    enum { MOST_DIGITS = 18 }; /* of any int64_t */
    size_t digits = strspn(name, "0123456789");
    if (digits < KP_STEP_DIGITS || digits > MOST_DIGITS || name[digits]) return -1;
    return strtoll(name, NULL, 10);
}

kp_status kp_checkpoint_list(const char *folder, int64_t **steps, int *n, kp_err *err) {
    char **names = NULL;
    int n_names = 0;
    *steps = NULL, *n = 0;
    if (!kp_file_exists(folder)) return KP_OK;
    kp_status st = kp_folder_list(folder, &names, &n_names, err);
    if (st) return st;
    *steps = malloc((size_t)n_names * sizeof **steps + 1);
    if (!*steps) st = kp_fail(err, KP_STORAGE, "%s: out of host memory", folder);
    for (int i = 0; !st && i < n_names;
         i++) { /* sorted by name: ascending, being of equal length */
        int64_t step = kp_checkpoint_step_of(names[i]);
        if (step >= 0) (*steps)[(*n)++] = step;
    }
    free(names);
    return st;
}

/* What interrupted saves left. */
static kp_status remove_partial(const char *folder, kp_err *err) {
    char **names = NULL, path[KP_PATH];
    int n = 0;
    kp_status st = kp_folder_list(folder, &names, &n, err);
    for (int i = 0; !st && i < n; i++)
        if (!strncmp(names[i], KP_PARTIAL, strlen(KP_PARTIAL))) {
            st = kp_path_join(path, folder, names[i], err);
            if (!st) st = kp_folder_remove(path, err);
        }
    free(names);
    return st;
}

kp_status kp_checkpoint_begin(kp_checkpoint_writer **out, const char *folder, int64_t step,
                              kp_err *err) {
    char partial[32];
    *out = NULL;
    kp_checkpoint_writer *w = calloc(1, sizeof *w);
    if (!w) return kp_fail(err, KP_STORAGE, "%s: out of host memory", folder);
    w->step = step;
    w->fd = -1;
    w->head = json_object();
    w->shared = json_array();
    snprintf(partial, sizeof partial, "%s-%0*lld", KP_PARTIAL, KP_STEP_DIGITS, (long long)step);
    snprintf(w->folder, sizeof w->folder, "%s", folder);
    kp_status st = kp_folder_make(folder, err);
    if (!st) st = remove_partial(folder, err);
    if (!st) st = kp_path_join(w->temp, folder, partial, err);
    if (!st) st = kp_path_join(w->path, w->temp, KP_STATE_FILE, err);
    if (!st) st = kp_folder_make(w->temp, err);
    if (!st) {
        w->fd = open(w->path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
        if (w->fd < 0 || lseek(w->fd, 8 + HEAD, SEEK_SET) < 0)
            st = kp_storage_fail(err, w->path, "write");
    }
    if (st) {
        kp_checkpoint_abandon(w);
        return st;
    }
    *out = w;
    return KP_OK;
}

kp_status kp_checkpoint_add(kp_checkpoint_writer *w, const char *name, kp_dtype type, int n_dims,
                            const int64_t *shape, const void *data, kp_err *err) {
    uint64_t n = kp_dtypes[type].size;
    if (json_object_get(w->head, name))
        return kp_fail(err, KP_STORAGE, "%s: the array %s is added twice", w->path, name);
    json_t *dims = json_array();
    for (int i = 0; i < n_dims; i++) {
        json_array_append_new(dims, json_integer(shape[i]));
        n *= (uint64_t)shape[i];
    }
    json_int_t begin = (json_int_t)w->n_bytes, end = begin + (json_int_t)n;
    json_t *row = json_pack("{s:s, s:o, s:[I, I]}", "dtype", kp_dtypes[type].name, "shape", dims,
                            "data_offsets", begin, end);
    if (json_object_set_new(w->head, name, row))
        return kp_fail(err, KP_STORAGE, "%s: out of host memory for the name %s", w->path, name);
    w->n_bytes += n;
    return kp_file_put(w->fd, w->path, data, n, err);
}

kp_status kp_checkpoint_share(kp_checkpoint_writer *w, const char *subfolder, const char *name,
                              uint64_t n_bytes, uint64_t xxh64, kp_err *err) {
    char hex[17];
    json_t *row = json_pack("{s:s, s:s, s:I, s:s}", "folder", subfolder, "name", name, "bytes",
                            (json_int_t)n_bytes, "xxh64", kp_hex64(hex, xxh64));
    if (json_array_append_new(w->shared, row))
        return kp_fail(err, KP_STORAGE, "%s: out of host memory", w->path);
    return KP_OK;
}

static kp_status write_head(kp_checkpoint_writer *w, kp_err *err) {
    uint64_t n = HEAD; /* little endian, as this machine is */
    char *head = malloc(sizeof n + HEAD);
    if (!head) return kp_fail(err, KP_STORAGE, "%s: out of host memory", w->path);
    memcpy(head, &n, sizeof n);
    memset(head + sizeof n, ' ', HEAD);
    size_t length = json_dumpb(w->head, head + sizeof n, HEAD, JSON_COMPACT);
    kp_status st = KP_OK;
    if (length > HEAD)
        st = kp_fail(err, KP_STORAGE, "%s: %zu bytes of array names and shapes; %d fit", w->path,
                     length, HEAD);
    if (!st && lseek(w->fd, 0, SEEK_SET) < 0) st = kp_storage_fail(err, w->path, "write");
    if (!st) st = kp_file_put(w->fd, w->path, head, sizeof n + HEAD, err);
    if (!st && fsync(w->fd)) st = kp_storage_fail(err, w->path, "write");
    free(head);
    return st;
}

static kp_status write_manifest(kp_checkpoint_writer *w, kp_err *err) {
    char path[KP_PATH], hex[17];
    uint64_t n, xxh64;
    kp_status st = kp_file_checksum(w->path, &n, &xxh64, err);
    if (!st) st = kp_path_join(path, w->temp, KP_MANIFEST_FILE, err);
    if (st) return st;
    json_t *manifest = json_pack("{s:i, s:I, s:[{s:s, s:I, s:s}], s:O}", "format",
                                 KP_CHECKPOINT_FORMAT, "agent_step", (json_int_t)w->step, "files",
                                 "name", KP_STATE_FILE, "bytes", (json_int_t)n, "xxh64",
                                 kp_hex64(hex, xxh64), "shared", w->shared);
    char *text = json_dumps(manifest, JSON_INDENT(1));
    json_decref(manifest);
    if (!text) return kp_fail(err, KP_STORAGE, "%s: out of host memory", path);
    st = kp_file_write(path, text, strlen(text), err);
    free(text);
    return st;
}

/* The whole folder appears under its name. One of the same step that stands there is swapped out,
 * so that at no time neither is there. */
static kp_status publish(kp_checkpoint_writer *w, kp_err *err) {
    char final[KP_PATH];
    kp_status st = kp_checkpoint_path(final, w->folder, w->step, NULL, err);
    if (st) return st;
    if (kp_file_exists(final)) {
        if (renameat2(AT_FDCWD, w->temp, AT_FDCWD, final, RENAME_EXCHANGE)) {
            st = kp_folder_remove(final, err); /* a file system that cannot swap (NFS) */
            if (!st && rename(w->temp, final)) st = kp_storage_fail(err, final, "write");
        }
    } else if (rename(w->temp, final)) {
        st = kp_storage_fail(err, final, "write");
    }
    return st ? st : kp_folder_sync(w->folder, err);
}

/* 1 if any of the kept manifests shares the file. */
static int is_shared(json_t *const *manifest, int n, const char *subfolder, const char *name) {
    for (int i = 0; i < n; i++) {
        size_t k;
        json_t *row;
        json_array_foreach(json_object_get(manifest[i], "shared"), k, row) {
            const char *folder = json_string_value(json_object_get(row, "folder"));
            const char *file = json_string_value(json_object_get(row, "name"));
            if (folder && file && !strcmp(folder, subfolder) && !strcmp(file, name)) return 1;
        }
    }
    return 0;
}

/* Deletes files of the writer's shared subfolders that no manifest names. */
static kp_status sweep_shared(const kp_checkpoint_writer *w, json_t *const *manifest, int n,
                              kp_err *err) {
    kp_status st = KP_OK;
    const char *done = "";
    size_t k;
    json_t *row;
    json_array_foreach(w->shared, k, row) {
        const char *subfolder = json_string_value(json_object_get(row, "folder"));
        char path[KP_PATH], file[KP_PATH], **names = NULL;
        int n_names = 0;
        if (!strcmp(subfolder, done)) continue;
        done = subfolder;
        st = kp_path_join(path, w->folder, subfolder, err);
        if (!st) st = kp_folder_list(path, &names, &n_names, err);
        for (int i = 0; !st && i < n_names; i++) {
            if (is_shared(manifest, n, subfolder, names[i])) continue;
            st = kp_path_join(file, path, names[i], err);
            if (!st && unlink(file) && errno != ENOENT) st = kp_storage_fail(err, file, "remove");
        }
        free(names);
        if (st) break;
    }
    return st;
}

/* Deletes all but the newest `keep`, then what only those needed. Newer ones than the one just
 * written were damaged, or this one could not have been: the run went on from before them. */
static kp_status prune(const kp_checkpoint_writer *w, int keep, kp_err *err) {
    char path[KP_PATH];
    int64_t *steps = NULL;
    json_t **manifest = NULL;
    int n = 0, n_manifests = 0;
    kp_status st = kp_checkpoint_list(w->folder, &steps, &n, err);
    int last = n;
    while (last > 0 && steps[last - 1] > w->step) last--;
    int first = last > keep ? last - keep : 0;
    for (int i = 0; !st && i < n; i++) {
        if (i >= first && i < last) continue;
        st = kp_checkpoint_path(path, w->folder, steps[i], NULL, err);
        if (!st) st = kp_folder_remove(path, err);
    }
    if (!st && !(manifest = calloc((size_t)n + 1, sizeof(json_t *))))
        st = kp_fail(err, KP_STORAGE, "%s: out of host memory", w->folder);
    for (int i = first; !st && i < last; i++) /* a damaged one needs nothing any more */
        n_manifests += !kp_checkpoint_manifest(&manifest[n_manifests], w->folder, steps[i], NULL);
    if (!st) st = sweep_shared(w, manifest, n_manifests, err);
    for (int i = 0; i < n_manifests; i++) json_decref(manifest[i]);
    free(manifest);
    free(steps);
    return st;
}

kp_status kp_checkpoint_commit(kp_checkpoint_writer *w, int keep, kp_err *err) {
    kp_status st = write_head(w, err);
    if (!st) st = write_manifest(w, err);
    if (!st) st = kp_folder_sync(w->temp, err);
    if (!st) st = publish(w, err);
    if (!st) st = prune(w, keep < 1 ? 1 : keep, err);
    kp_checkpoint_abandon(w); /* what is left under the temporary name */
    return st;
}

void kp_checkpoint_abandon(kp_checkpoint_writer *w) {
    if (!w) return;
    if (w->fd >= 0) close(w->fd);
    if (*w->temp) kp_folder_remove(w->temp, NULL);
    json_decref(w->head);
    json_decref(w->shared);
    free(w);
}
