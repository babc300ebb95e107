/* files.c: whole files. A rename is durable only once its folder is synced, so both are done. */
#include "files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

enum { BUFFER = 1 << 16 };

kp_status kp_storage_fail(kp_err *err, const char *path, const char *what) {
    int why = errno;
    const char *next = why == ENOSPC || why == EDQUOT ? "; free some space there, then resume"
                       : why == EACCES || why == EROFS || why == EPERM
                           ? "; choose a folder that you may write to (run.dir)"
                       : why == EFBIG ? "; raise the limit on file sizes (ulimit -f)"
                                      : "";
    return kp_fail(err, KP_STORAGE, "%s: cannot %s: %s%s", path, what, strerror(why), next);
}

kp_status kp_path_join(char path[KP_PATH], const char *folder, const char *name, kp_err *err) {
    if (snprintf(path, KP_PATH, "%s/%s", folder, name) >= KP_PATH)
        return kp_fail(err, KP_STORAGE, "%.200s...: the path is longer than %d bytes", folder,
                       KP_PATH - 1);
    return KP_OK;
}

int kp_file_exists(const char *path) {
    struct stat s;
    return lstat(path, &s) == 0;
}

void kp_path_trim(char *path) {
    for (size_t n = strlen(path); n > 1 && path[n - 1] == '/';) path[--n] = 0;
}

kp_status kp_file_read(const char *path, uint8_t **out, size_t *n_out, kp_err *err) {
    kp_status st = KP_OK;
    size_t n = 0, room = BUFFER;

    *out = NULL, *n_out = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return kp_storage_fail(err, path, "open");
    struct stat s;
    if (!fstat(fd, &s) && s.st_size > 0)
        room = (size_t)s.st_size + 2; /* the 0 and room to see the end */
    uint8_t *bytes = malloc(room), *more = bytes;
    for (ssize_t got = 1;
         more && got != 0;) { /* files that do not say their size (/proc) are read too */
        got = read(fd, bytes + n, room - 1 - n);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) {
            st = kp_storage_fail(err, path, "read");
            goto out;
        }
        n += (size_t)got;
        if (n + 1 == room && (more = realloc(bytes, room *= 2))) bytes = more;
    }
    if (!more) {
        st = kp_fail(err, KP_STORAGE, "%s: out of host memory after %zu bytes", path, n);
        goto out;
    }
    bytes[n] = 0;
    *out = bytes, *n_out = n, bytes = NULL;
out:
    free(bytes);
    close(fd);
    return st;
}

kp_status kp_file_put(int fd, const char *path, const void *bytes, size_t n, kp_err *err) {
    const char *at = bytes;
    while (n > 0) {
        ssize_t put = write(fd, at, n);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return kp_storage_fail(err, path, "write");
        at += put, n -= (size_t)put;
    }
    return KP_OK;
}

static kp_status sync_parent(const char *path, kp_err *err) {
    const char *slash = strrchr(path, '/');
    char folder[KP_PATH] = ".";
    if (slash == path) snprintf(folder, sizeof folder, "/");
    else if (slash) snprintf(folder, sizeof folder, "%.*s", (int)(slash - path), path);
    return kp_folder_sync(folder, err);
}

kp_status kp_file_write(const char *path, const void *bytes, size_t n, kp_err *err) {
    char temp[KP_PATH];
    if (snprintf(temp, sizeof temp, "%s.part", path) >= (int)sizeof temp)
        return kp_fail(err, KP_STORAGE, "%.200s...: the path is longer than %d bytes", path,
                       KP_PATH - 6);
    int fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0) return kp_storage_fail(err, path, "write");
    kp_status st = kp_file_put(fd, path, bytes, n, err);
    if (!st && fsync(fd)) st = kp_storage_fail(err, path, "write");
    if (close(fd) && !st) st = kp_storage_fail(err, path, "write");
    if (!st && rename(temp, path)) st = kp_storage_fail(err, path, "write");
    if (st) {
        unlink(temp);
        return st;
    }
    return sync_parent(path, err);
}

kp_status kp_file_checksum(const char *path, uint64_t *n, uint64_t *xxh64, kp_err *err) {
    kp_status st = KP_OK;
    XXH64_state_t *state = NULL;
    uint8_t *buffer = NULL;

    *n = 0, *xxh64 = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return kp_storage_fail(err, path, "open");
    state = XXH64_createState();
    buffer = malloc(BUFFER);
    if (!state || !buffer) {
        st = kp_fail(err, KP_STORAGE, "%s: out of host memory", path);
        goto out;
    }
    XXH64_reset(state, 0);
    for (;;) {
        ssize_t got = read(fd, buffer, BUFFER);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) {
            st = kp_storage_fail(err, path, "read");
            goto out;
        }
        if (got == 0) break;
        XXH64_update(state, buffer, (size_t)got);
        *n += (uint64_t)got;
    }
    *xxh64 = XXH64_digest(state);
out:
    XXH64_freeState(state);
    free(buffer);
    close(fd);
    return st;
}

kp_status kp_folder_make(const char *path, kp_err *err) {
    char at[KP_PATH];
    if (snprintf(at, sizeof at, "%s", path) >= (int)sizeof at)
        return kp_fail(err, KP_STORAGE, "%.200s...: the path is longer than %d bytes", path,
                       KP_PATH - 1);
    for (char *c = at + 1;; c++) {
        if (*c && *c != '/') continue;
        char kept = *c;
        *c = 0;
        if (mkdir(at, 0777) && errno != EEXIST) return kp_storage_fail(err, at, "make the folder");
        *c = kept;
        if (!kept) break;
    }
    struct stat s;
    if (stat(path, &s)) return kp_storage_fail(err, path, "open");
    if (!S_ISDIR(s.st_mode)) return kp_fail(err, KP_STORAGE, "%s: is a file, not a folder", path);
    return KP_OK;
}

kp_status kp_folder_sync(const char *path, kp_err *err) {
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return kp_storage_fail(err, path, "open");
    /* EINVAL: a file system that has no such thing and needs none */
    kp_status st = fsync(fd) && errno != EINVAL ? kp_storage_fail(err, path, "sync") : KP_OK;
    close(fd);
    return st;
}

static int remove_one(const char *path, const struct stat *s, int type, struct FTW *ftw) {
    (void)s, (void)type, (void)ftw;
    return remove(path);
}

kp_status kp_folder_remove(const char *path, kp_err *err) {
    if (!kp_file_exists(path)) return KP_OK;
    if (nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS))
        return kp_storage_fail(err, path, "remove");
    return KP_OK;
}

static int compare(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

kp_status kp_folder_list(const char *path, char ***out, int *n_out, kp_err *err) {
    kp_status st = KP_OK;
    char *text = NULL, **names = NULL;
    size_t used = 0, room = 0;
    int n = 0;

    *out = NULL, *n_out = 0;
    DIR *dir = opendir(path);
    if (!dir) return kp_storage_fail(err, path, "open");
    for (struct dirent *d; (d = readdir(dir));) {
        if (!strcmp(d->d_name, ".") || !strcmp(d->d_name, "..")) continue;
        size_t length = strlen(d->d_name) + 1;
        if (used + length > room) {
            room = 2 * (used + length);
            char *more = realloc(text, room);
            if (!more) goto memory;
            text = more;
        }
        memcpy(text + used, d->d_name, length);
        used += length, n++;
    }
    names = malloc((size_t)n * sizeof *names + used + 1);
    if (!names) goto memory;
    char *copy = (char *)(names + n);
    if (used) memcpy(copy, text, used);
    for (int i = 0; i < n; i++, copy += strlen(copy) + 1) names[i] = copy;
    qsort(names, (size_t)n, sizeof *names, compare);
    *out = names, *n_out = n;
    goto out;
memory:
    st = kp_fail(err, KP_STORAGE, "%s: out of host memory", path);
out:
    free(text);
    closedir(dir);
    return st;
}
