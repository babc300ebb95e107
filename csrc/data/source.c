/* source.c: read and inflate. zlib's own gz functions pass over bytes behind the last member and
 * take a file that is not gzip as it is; here both are looked at. */
#include "source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "base/files.h"
#include "base/md5.h"

enum {
    BUFFER = 1 << 16,
    GZIP = 15 + 16,     /* window bits for zlib: 32 KiB, with a gzip header */
    MOST_PACKED = 1032, /* deflate makes of a byte at most that many */
};

struct kp_source {
    char path[KP_PATH];
    int fd, is_gzip, with_md5;
    int between; /* members of a gzip file: one has ended, the next has not begun */
    uint64_t n_file, n_read;
    z_stream z; /* next_in, avail_in: what of `in` is left, gzip or not */
    kp_md5_state md5;
    uint8_t in[BUFFER];
};

static kp_status fail(const kp_source *s, kp_err *err, const char *what) {
    return kp_fail(err, KP_BAD_DATA, "%s: cannot %s: %s", s->path, what, strerror(errno));
}

/* More of the file into `in`; avail_in stays 0 at its end. */
static kp_status fill(kp_source *s, kp_err *err) {
    ssize_t got;
    do got = read(s->fd, s->in, BUFFER);
    while (got < 0 && errno == EINTR);
    if (got < 0) return fail(s, err, "read");
    s->z.next_in = s->in, s->z.avail_in = (uInt)got;
    return KP_OK;
}

static kp_status begin(kp_source *s, kp_err *err) {
    struct stat file;
    s->fd = open(s->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* which does not wait for a pipe */
    if (s->fd < 0 || fstat(s->fd, &file)) return fail(s, err, "open");
    if (!S_ISREG(file.st_mode))
        return kp_fail(err, KP_BAD_DATA, "%s: is %s, expected a file", s->path,
                       S_ISDIR(file.st_mode) ? "a folder" : "a device or a pipe");
    s->n_file = (uint64_t)file.st_size;
    kp_status st = fill(s, err);
    if (st) return st;
    if (!s->z.avail_in) return kp_fail(err, KP_BAD_DATA, "%s: is empty; fetch it again", s->path);
    s->is_gzip = s->z.avail_in >= 2 && s->in[0] == 0x1f && s->in[1] == 0x8b;
    if (s->is_gzip && inflateInit2(&s->z, GZIP) != Z_OK) {
        s->is_gzip = 0;
        return kp_fail(err, KP_BAD_CONFIG, "%s: out of host memory", s->path);
    }
    return KP_OK;
}

kp_status kp_source_open(kp_source **out, const char *path, int with_md5, kp_err *err) {
    *out = NULL;
    kp_source *s = calloc(1, sizeof *s);
    if (!s) return kp_fail(err, KP_BAD_CONFIG, "%s: out of host memory", path);
    s->fd = -1, s->with_md5 = with_md5;
    kp_md5_begin(&s->md5);
    kp_status st = KP_OK;
    if (snprintf(s->path, sizeof s->path, "%s", path) >= (int)sizeof s->path)
        st = kp_fail(err, KP_BAD_DATA, "%.200s...: the path is longer than %d bytes", path,
                     KP_PATH - 1);
    if (!st) st = begin(s, err);
    if (st) {
        kp_source_close(s);
        return st;
    }
    *out = s;
    return KP_OK;
}

void kp_source_close(kp_source *s) {
    if (!s) return;
    if (s->is_gzip) inflateEnd(&s->z);
    if (s->fd >= 0) close(s->fd);
    free(s);
}

static kp_status copy(kp_source *s, uint8_t *bytes, size_t n, size_t *got, kp_err *err) {
    while (*got < n) {
        kp_status st = s->z.avail_in ? KP_OK : fill(s, err);
        if (st || !s->z.avail_in) return st;
        size_t part = n - *got < s->z.avail_in ? n - *got : s->z.avail_in;
        memcpy(bytes + *got, s->z.next_in, part);
        s->z.next_in += part, s->z.avail_in -= (uInt)part, *got += part;
    }
    return KP_OK;
}

static kp_status inflate_into(kp_source *s, uint8_t *bytes, size_t n, size_t *got, kp_err *err) {
    while (*got < n) {
        kp_status st = s->z.avail_in ? KP_OK : fill(s, err);
        if (st) return st;
        if (!s->z.avail_in && s->between) return KP_OK;
        if (!s->z.avail_in)
            return kp_fail(err, KP_BAD_DATA,
                           "%s: the gzip data ends early, after %llu bytes of the file; it is cut "
                           "off: fetch it again",
                           s->path, (unsigned long long)s->n_file);
        if (s->between && s->z.next_in[0] != 0x1f)
            return kp_fail(err, KP_BAD_DATA, "%s: bytes follow the gzip data; fetch it again",
                           s->path);
        if (s->between && inflateReset(&s->z) != Z_OK) return fail(s, err, "unpack");
        s->between = 0;
        uInt room = n - *got < BUFFER ? (uInt)(n - *got) : BUFFER;
        s->z.next_out = bytes + *got, s->z.avail_out = room;
        int rc = inflate(&s->z, Z_NO_FLUSH);
        *got += room - s->z.avail_out;
        if (rc == Z_STREAM_END) s->between = 1;
        else if (rc != Z_OK && rc != Z_BUF_ERROR)
            return kp_fail(err, KP_BAD_DATA,
                           "%s: the gzip data is damaged (zlib: %s); fetch it again", s->path,
                           s->z.msg ? s->z.msg : zError(rc));
    }
    return KP_OK;
}

kp_status kp_source_read(kp_source *s, void *bytes, size_t n, size_t *got, kp_err *err) {
    *got = 0;
    kp_status st = (s->is_gzip ? inflate_into : copy)(s, bytes, n, got, err);
    if (s->with_md5) kp_md5_add(&s->md5, bytes, *got);
    s->n_read += *got;
    return st;
}

kp_status kp_source_take(kp_source *s, void *bytes, size_t n, const char *what, kp_err *err) {
    size_t got;
    uint64_t before = s->n_read;
    kp_status st = kp_source_read(s, bytes, n, &got, err);
    if (st || got == n) return st;
    return kp_fail(
        err, KP_BAD_DATA,
        "%s: ends after %llu bytes, expected %llu with %s; it is cut off: fetch it again", s->path,
        (unsigned long long)s->n_read, (unsigned long long)(before + n), what);
}

kp_status kp_source_end(kp_source *s, kp_err *err) {
    uint8_t byte;
    size_t got;
    uint64_t before = s->n_read;
    kp_status st = kp_source_read(s, &byte, 1, &got, err);
    if (!st && got)
        st = kp_fail(err, KP_BAD_DATA,
                     "%s: more bytes follow the %llu that its header promises; fetch it again",
                     s->path, (unsigned long long)before);
    return st;
}

uint64_t kp_source_most(const kp_source *s) {
    return s->is_gzip ? s->n_file * MOST_PACKED : s->n_file;
}

kp_status kp_source_check_md5(kp_source *s, const char *md5, kp_err *err) {
    char seen[33];
    kp_md5_state state = s->md5;
    kp_md5_end(&state, seen);
    if (strcmp(seen, md5))
        return kp_fail(err, KP_BAD_DATA,
                       "%s: altered: its content has MD5 %s, expected %s; fetch it again, or read "
                       "files of your own with data.set=custom",
                       s->path, seen, md5);
    return KP_OK;
}
