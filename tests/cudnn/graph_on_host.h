/* graph_on_host.h: cuDNN without a device. Plans are the real library's; what runs is its own
 * description of them, the JSON of the execution plan, worked out plainly on host memory. So all but
 * NVIDIA's kernels is put to the test: shapes, strides, offsets, roles, pointers. */
#pragma once
#include "backend/cuda/cudnn_impl.h"

typedef struct {
    int n_runs;
    void *stream, *workspace; /* of the last */
} graph_on_host;

extern graph_on_host graph_on_host_seen;

/* A context opened with a described device can run from here on. */
void graph_on_host_install(kp_cudnn *cudnn);
