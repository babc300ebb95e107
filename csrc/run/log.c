/* log.c: one write() a line, so that lines of several threads or processes never mix. */
#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/files.h"

enum { LINE = 1024, TIME = 21 }; /* "2026-01-31T23:59:59Z " */

struct kp_log {
    int fd, to_stderr;
    _Atomic int failed; /* said once */
    char path[KP_PATH];
};

kp_status kp_log_open(kp_log **out, const char *path, int to_stderr, kp_err *err) {
    *out = NULL;
    kp_log *log = calloc(1, sizeof *log);
    if (!log) return kp_fail(err, KP_STORAGE, "log: out of host memory");
    log->fd = -1;
    log->to_stderr = to_stderr;
    if (path) {
        snprintf(log->path, sizeof log->path, "%s", path);
        log->fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
        if (log->fd < 0) {
            kp_status st = kp_storage_fail(err, path, "write");
            free(log);
            return st;
        }
    }
    *out = log;
    return KP_OK;
}

static void show(const char *text, size_t n) {
    while (n > 0) {
        ssize_t put = write(STDERR_FILENO, text, n);
        if (put < 0 && errno != EINTR) return;
        if (put > 0) text += put, n -= (size_t)put;
    }
}

void kp_log_line(kp_log *log, const char *format, ...) {
    if (!log) return;
    char line[TIME + LINE + 1], *text = line + TIME;
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, LINE, format, args);
    va_end(args);
    if (n < 0) return;
    if (n >= LINE) n = LINE - 1;
    for (int i = 0; i < n; i++)
        if (text[i] == '\n') text[i] = ' ';
    text[n++] = '\n';
    if (log->to_stderr) show(text, (size_t)n);
    if (log->fd < 0) return;

    time_t now = time(NULL);
    struct tm utc;
    char stamp[TIME + 1];
    strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%SZ ", gmtime_r(&now, &utc));
    memcpy(line, stamp, TIME);
    kp_err err;
    if (kp_file_put(log->fd, log->path, line, TIME + (size_t)n, &err) && log->to_stderr &&
        !atomic_exchange(&log->failed, 1)) {
        int m = snprintf(line, sizeof line, "%s; log lines are lost\n", err.text);
        show(line, (size_t)m < sizeof line ? (size_t)m : sizeof line - 1);
    }
}

void kp_log_close(kp_log *log) {
    if (!log) return;
    if (log->fd >= 0) close(log->fd);
    free(log);
}
