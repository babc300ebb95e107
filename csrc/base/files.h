/* files.h: reading files whole, and writing them so that a crash leaves the old one or the new one.
 *
 * Failures are KP_STORAGE and name the path, what failed and, for a full disk, what to do. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "kappa/status.h"

enum { KP_PATH = 1024 }; /* longest path Kappa writes to, with its 0 */

/* "PATH: cannot WHAT: why", from errno. `what` is a verb: "write", "open". */
kp_status kp_storage_fail(kp_err *err, const char *path, const char *what);

/* path = folder/name; KP_STORAGE where it does not fit. */
kp_status kp_path_join(char path[KP_PATH], const char *folder, const char *name, kp_err *err);

/* Cuts slashes off the end, but for a "/" alone. */
void kp_path_trim(char *path);

/* *bytes is yours to free; a 0 stands after the last byte. Either may be NULL on failure only. */
kp_status kp_file_read(const char *path, uint8_t **bytes, size_t *n, kp_err *err);

/* Temporary name, fsync, rename, fsync of the folder. */
kp_status kp_file_write(const char *path, const void *bytes, size_t n, kp_err *err);

/* All n bytes to an open file; path is for the message. */
kp_status kp_file_put(int fd, const char *path, const void *bytes, size_t n, kp_err *err);

/* Size and XXH64 (seed 0) of a file's content. */
kp_status kp_file_checksum(const char *path, uint64_t *n, uint64_t *xxh64, kp_err *err);

int kp_file_exists(const char *path); /* of any kind */

/* The folder and those above it; fine where it is there. */
kp_status kp_folder_make(const char *path, kp_err *err);
kp_status kp_folder_sync(const char *path, kp_err *err);

/* The folder with what is in it; fine where it is not there. */
kp_status kp_folder_remove(const char *path, kp_err *err);

/* Names in the folder, sorted, without "." and "..". *names is one allocation, yours to free. */
kp_status kp_folder_list(const char *path, char ***names, int *n, kp_err *err);
