/* requirements.h: what the CUDA backend needs of a machine. Opening it asks for each in turn;
 * `kappa doctor` shows them. */
#pragma once
#include <stddef.h>

#include "kappa/status.h"

typedef struct {
    const char *what;
    /* KP_OK and what there is, in a few words; else KP_DEVICE with what there is and what to do. */
    kp_status (*check)(int device, char *found, size_t size, kp_err *err);
} kp_cuda_requirement;

enum { KP_CUDA_N_REQUIREMENTS = 3 };
extern const kp_cuda_requirement kp_cuda_requirements[KP_CUDA_N_REQUIREMENTS];

/* The first that is not met. */
kp_status kp_cuda_require(int device, kp_err *err);
