/* weights.h: parameter-shaped buffers in checkpoints: one array a tensor, "theta/conv1.weight",
 * [P][PyTorch's dimensions], so that any safetensors reader sees a population's weights. */
#pragma once
#include "backend/backend.h"
#include "nn/layout.h"
#include "run/checkpoint.h"

/* buffer: [P][N] backend memory; group: "theta", "target", "m". */
kp_status kp_weights_load(const kp_checkpoint *checkpoint, const char *group, const kp_layout *layout,
                          kp_backend *backend, int P, float *buffer, kp_err *err);
kp_status kp_weights_pass(const kp_checkpoint_io *io, const char *group, const kp_layout *layout,
                          kp_backend *backend, int P, float *buffer, kp_err *err);
