/* runtime.h: the CUDA runtime for tests, in C, on the CPU; for what nobody may rely on, it chooses
 * what does most harm.
 *
 * Device memory cannot be touched by the host: who tries ends the process, exit 97, with a line on
 * stderr. It is open only while a kernel or a copy runs, starts as NaN, ends at a page that is never
 * open, and is closed for good when freed.
 *
 * Work given to a stream is done when the host waits (for the stream, an event, or in cudaFree), and no
 * earlier; arguments are copied at once, memory is read then. So what is not waited for shows as stale
 * data, also where the real runtime would happen to have waited, as for copies to pageable memory.
 *
 * A stream that captures makes a graph of the work; calls that CUDA forbids in the meantime fail and
 * spoil the capture, as in thread-local mode. Errors of running kernels stay: every later call returns
 * them. One host thread. */
#pragma once
#include <stddef.h>

#include "cublas_v2.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The machine, to be set before the first call. */
typedef struct {
    int n_devices;     /* 1 */
    int driver;        /* 13000: CUDA 13.0; 0: there is none */
    int major, minor;  /* 9.0 */
    size_t memory;     /* of a device, bytes; 1 GiB */
    int shared_bytes;  /* that a block can ask for at launch; 227 KiB */
    int multiprocessors; /* 132, a block on each */
    int no_cublas;     /* cuBLAS cannot be loaded */
    cudaError_t fails; /* what running the next kernel ends in; cudaSuccess: nothing special */
} hostcuda_machine;
extern hostcuda_machine hostcuda_has;

/* How many copies, kernels and graphs have been given to streams, and how often the host has waited. */
typedef struct {
    int copies, kernels, graphs, waits, allocations;
} hostcuda_counts;
extern hostcuda_counts hostcuda_did;

/* What kernels have taken, for events: 1 ms each, and what they add themselves. */
extern double hostcuda_clock_ms;

/* Memory, streams, events, graphs and handles of libraries that have not been given back. */
int hostcuda_n_alive(void);

/* Work for a stream: run(context) in its turn, on a copy of context. */
cudaError_t hostcuda_enqueue(cudaStream_t stream, void (*run)(void *context), const void *context,
                             size_t bytes);

/* The same for a kernel; a pointer in its arguments, [from, bytes) of context, that is the
 * host's is found out, as a rule. */
cudaError_t hostcuda_enqueue_kernel(cudaStream_t stream, void (*run)(void *context),
                                    const void *context, size_t bytes, size_t from);

/* For the NULL stream, which does its work at once: may it? */
cudaError_t hostcuda_legacy(void);

/* What has been set of a cuBLAS handle. */
typedef struct {
    cudaStream_t stream;    /* NULL: products are made at once */
    size_t workspace_bytes; /* 0: its own */
    int math;               /* cublasMath_t */
} hostcuda_blas;
hostcuda_blas hostcuda_blas_of(cublasHandle_t handle);

#ifdef __cplusplus
}
#endif
