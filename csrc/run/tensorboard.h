/* tensorboard.h: scalars in a TensorBoard event file (events.out.tfevents.*).
 *
 * A TFRecord is length, masked CRC-32C of it, a protobuf Event, its masked CRC-32C; numbers are little
 * endian. Resumed as metrics.h is: by the number of bytes the checkpoint kept. */
#pragma once
#include <stdint.h>

#include "kappa/status.h"

enum { KP_TENSORBOARD_NEW = -1 };

typedef struct kp_tensorboard kp_tensorboard;

/* path: must contain "tfevents". at: as in kp_metrics_log_open. */
kp_status kp_tensorboard_open(kp_tensorboard **board, const char *path, int64_t at, kp_err *err);

/* tag "eval_return/member 3"; NAN is left out. */
kp_status kp_tensorboard_scalar(kp_tensorboard *board, const char *tag, int64_t step, double value, kp_err *err);
kp_status kp_tensorboard_flush(kp_tensorboard *board, kp_err *err);
kp_status kp_tensorboard_sync(kp_tensorboard *board, int64_t *n_bytes, kp_err *err);
void kp_tensorboard_close(kp_tensorboard *board); /* NULL is fine */
