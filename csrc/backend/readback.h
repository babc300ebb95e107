/* readback.h: results that the host reads without holding up the device. Each is copied, in order with
 * the runs of programs, to a place of its own, and read some runs later: a GPU has then long begun the
 * next. On the CPU nothing is late.
 *
 *     st = kp_program_run(update, NULL, &err);
 *     if (!st) st = kp_readback_post(tally, n_updates, &err);
 *     const kp_tensor_tally *t;
 *     while (!st && !(st = kp_readback_take(tally, 0, (const void **)&t, &of_update, &err)) && t) ... */
#pragma once
#include "backend.h"

enum { KP_READBACK_LATE = 2 }; /* posts that a result of a GPU may be behind */

typedef struct kp_readback kp_readback;

/* from: [bytes] backend memory, borrowed. */
kp_status kp_readback_open(kp_readback **readback, kp_backend *backend, const void *from,
                           size_t bytes, kp_err *err);

/* Asks for the contents that `from` has after all that was run so far. At most KP_READBACK_LATE + 1
 * may be under way: take after each post. */
kp_status kp_readback_post(kp_readback *readback, int64_t tag, kp_err *err);

/* The oldest result that is due, or with `drain` any, in order; *data is NULL where there is none. Which
 * are due depends on the number of posts only, not on how fast the device is. *data is valid until the
 * next post. */
kp_status kp_readback_take(kp_readback *readback, int drain, const void **data, int64_t *tag,
                           kp_err *err);

void kp_readback_close(kp_readback *readback); /* NULL is fine; before the backend */
