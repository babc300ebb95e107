/* append.h: a file that grows, and is cut back to a checkpoint's length on resume. The room's own. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "base/files.h"

typedef struct {
    int fd;
    char path[KP_PATH];
    int64_t n_bytes;  /* in the file */
    size_t used, room;
    uint8_t *buffer;  /* [room] not yet in the file */
} kp_append;

/* at below 0: a new file. Else cut to `at` bytes; KP_STORAGE where it is missing or shorter. */
kp_status kp_append_open(kp_append *file, const char *path, int64_t at, size_t room, kp_err *err);
kp_status kp_append_put(kp_append *file, const void *bytes, size_t n, kp_err *err); /* n <= room */
kp_status kp_append_flush(kp_append *file, kp_err *err);
kp_status kp_append_sync(kp_append *file, int64_t *n_bytes, kp_err *err);
void kp_append_close(kp_append *file);
