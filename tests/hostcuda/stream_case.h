/* stream_case.h: blocks of samples for mlp_stream, as rows of launch_case.h. */
#pragma once
#include "kernels/mlp_case.h"

typedef struct {
    const char *name;
    kp_mlp_spec net;
    int rule, with_after, with_units; /* with_units: ever_active is wanted */
    int terms;                        /* l2 and l2init */
    int n;                            /* samples, of room for KP_STREAM_T */
    int spoiled; /* some inputs and weights are NaN, infinite, huge or tiny */
} kp_stream_spec;

enum { KP_STREAM_T = 4 };

extern const kp_stream_spec kp_stream_specs[]; /* ends with one without a name */

/* As kp_launch_differs (launch_case.h). */
int kp_stream_differs(const kp_stream_spec *spec, unsigned active, char *says, size_t size);
