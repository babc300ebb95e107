/* stream_case.h: a block of samples by mlp_stream's CUDA launcher under hostcuda and, from the same
 * inputs, sample by sample by the CPU's operations of the plain path. */
#pragma once
#include "kernels/mlp_case.h"

typedef struct {
    const char *name;
    kp_mlp_spec net;
    int rule, with_after, with_units; /* with_units: ever_active is wanted */
    int n;                            /* samples, of room for KP_STREAM_T */
} kp_stream_spec;

enum { KP_STREAM_P = 3, KP_STREAM_ALL = 7, KP_STREAM_T = 6 };

extern const kp_stream_spec kp_stream_specs[]; /* ends with one without a name */

/* As kp_launch_differs (launch_case.h). */
int kp_stream_differs(const kp_stream_spec *spec, unsigned active, char *says, size_t size);
