/* mirror.h: host memory that programs read: the frames of a replay. The host writes it at any time and
 * then says what has changed.
 *
 * On the CPU programs read the host's memory itself. A GPU reads a copy in its own memory where that is
 * large enough, else the host's memory, page-locked, over the bus. */
#pragma once
#include "backend.h"

typedef struct kp_mirror kp_mirror;

/* host: [bytes], page-aligned, borrowed; longer-lived than the mirror. what: for messages. */
kp_status kp_mirror_open(kp_mirror **mirror, kp_backend *backend, void *host, size_t bytes,
                         const char *what, kp_err *err);

const void *kp_mirror_memory(const kp_mirror *mirror); /* what programs read; backend memory */
const char *kp_mirror_where(const kp_mirror *mirror);  /* "device memory", for the log */

/* Before the host writes: waits for what still reads the old values, where it reads them here. */
kp_status kp_mirror_await(kp_mirror *mirror, kp_err *err);

/* The host has written [at, at + bytes): programs that run from now on read the new values. */
kp_status kp_mirror_refresh(kp_mirror *mirror, size_t at, size_t bytes, kp_err *err);

void kp_mirror_close(kp_mirror *mirror); /* NULL is fine; before the backend and the memory */
