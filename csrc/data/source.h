/* source.h: the bytes of a file in order, unpacked where it is gzip (told by its first bytes, not by its name).
 *
 * Failures are KP_BAD_DATA and name the file: it cannot be opened, is empty, its gzip is cut off or damaged. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "kappa/status.h"

typedef struct kp_source kp_source;

/* with_md5: kp_source_check_md5 will be asked. */
kp_status kp_source_open(kp_source **source, const char *path, int with_md5, kp_err *err);
void kp_source_close(kp_source *source); /* NULL is fine */

/* Up to n bytes; *got is less than n at the end alone. */
kp_status kp_source_read(kp_source *source, void *bytes, size_t n, size_t *got, kp_err *err);

/* Exactly n bytes, which are `what` ("its header"). */
kp_status kp_source_take(kp_source *source, void *bytes, size_t n, const char *what, kp_err *err);

/* Nothing may follow. */
kp_status kp_source_end(kp_source *source, kp_err *err);

/* No more bytes than these can come, all in all: asked before memory is taken for what a header promises. */
uint64_t kp_source_most(const kp_source *source);

/* Of what was read until now, which is all. */
kp_status kp_source_check_md5(kp_source *source, const char *md5, kp_err *err);
