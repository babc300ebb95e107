/* adam_limits.h: the fused update without clip and tally, on a GPU. */
#pragma once
#include "adam_clip/adam_clip.h"

/* The launcher of a kp_op; args: kp_adam_clip_args, of which bound, tensor and tally are not used. */
KP_CUDA_C kp_status kp_bench_unclipped_cuda(const void *args, const kp_cuda *cuda, kp_err *err);
