/* append.c: a buffer in front of a file. A write that fails (disk full) is taken back, so that the
 * file always ends with a whole record and flushing again may succeed. */
#include "append.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

kp_status kp_append_open(kp_append *f, const char *path, int64_t at, size_t room, kp_err *err) {
    kp_status st = KP_OK;
    *f = (kp_append){ .fd = -1, .room = room };
    if (snprintf(f->path, sizeof f->path, "%s", path) >= (int)sizeof f->path)
        return kp_fail(err, KP_STORAGE, "%.200s...: the path is longer than %d bytes", path,
                       KP_PATH - 1);
    f->buffer = malloc(room);
    if (!f->buffer) return kp_fail(err, KP_STORAGE, "%s: out of host memory", path);
    f->fd = open(path, O_RDWR | O_CLOEXEC | (at < 0 ? O_CREAT | O_TRUNC : 0), 0666);
    struct stat s = { 0 };
    if (f->fd < 0 && errno == ENOENT)
        st = kp_fail(
            err, KP_STORAGE,
            "%s: missing, but the checkpoint continues it after %lld bytes; put it back, or "
            "start a new run",
            path, (long long)at);
    else if (f->fd < 0 || fstat(f->fd, &s)) st = kp_storage_fail(err, path, "write");
    else if (at >= 0 && s.st_size < at)
        st = kp_fail(
            err, KP_STORAGE,
            "%s: %lld bytes, but the checkpoint continues it after %lld; put the whole file "
            "back, or start a new run",
            path, (long long)s.st_size, (long long)at);
    else if (at >= 0 && (ftruncate(f->fd, at) || lseek(f->fd, at, SEEK_SET) < 0))
        st = kp_storage_fail(err, path, "write");
    f->n_bytes = at < 0 ? 0 : at;
    if (st) kp_append_close(f);
    return st;
}

kp_status kp_append_flush(kp_append *f, kp_err *err) {
    kp_status st = kp_file_put(f->fd, f->path, f->buffer, f->used, err);
    if (st) {
        if (!ftruncate(f->fd, f->n_bytes)) lseek(f->fd, f->n_bytes, SEEK_SET);
        return st;
    }
    f->n_bytes += (int64_t)f->used;
    f->used = 0;
    return KP_OK;
}

kp_status kp_append_put(kp_append *f, const void *bytes, size_t n, kp_err *err) {
    kp_status st = f->used + n > f->room ? kp_append_flush(f, err) : KP_OK;
    if (st) return st;
    memcpy(f->buffer + f->used, bytes, n);
    f->used += n;
    return KP_OK;
}

kp_status kp_append_sync(kp_append *f, int64_t *n_bytes, kp_err *err) {
    kp_status st = kp_append_flush(f, err);
    if (!st && fsync(f->fd)) st = kp_storage_fail(err, f->path, "write");
    *n_bytes = f->n_bytes;
    return st;
}

void kp_append_close(kp_append *f) {
    if (f->fd >= 0) close(f->fd);
    free(f->buffer);
    *f = (kp_append){ .fd = -1 };
}
