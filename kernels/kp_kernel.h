/* kp_kernel.h: what every operation is made of. Included by the operation's header, from C, CUDA and
 * the host harness alike.
 *
 * An operation is a folder kernels/NAME: NAME.h (the arguments and the element arithmetic), NAME.c
 * (one slice of one member on the CPU), NAME.cu (the launcher for all members), and one line in
 * ops.h. NAME.c is compiled once for each vector width and defines, as KP_ISA(kp_op_NAME), one kp_op;
 * everything else in it is static.
 *
 * How a CPU runs it. For each member the operation has n_slices(args) slices, a number fixed by the
 * shape alone. Any thread may run any slices, in any order, at any time within the step: a slice
 * writes only what is its own, and never divides a sum. Hence results do not depend on the number of
 * threads, nor on how many members are trained together. */
#pragma once
#include <math.h>
#include <stddef.h>
#include <stdint.h>

#include "kappa/choices.h"
#include "kappa/status.h"

#define KP_CHUNK 1024 /* floats; every tensor is padded to a multiple with zeros */
#define KP_COUNT(array) (sizeof(array) / sizeof((array)[0]))

#ifdef __CUDACC__
#define KP_HD static __host__ __device__ __forceinline__
#else
#define KP_HD static inline __attribute__((always_inline, unused))
#endif

#ifdef __cplusplus
#define KP_C extern "C"
#else
#define KP_C extern
#endif

/* Before a launcher's declaration. In a build without CUDA it is NULL unless a program links one, as the
 * tests on an emulated device do. */
#if defined(KAPPA_CUDA_KERNELS) || defined(__cplusplus)
#define KP_CUDA_C KP_C
#else
#define KP_CUDA_C KP_C __attribute__((weak))
#endif

#ifndef KP_ALIGN16
#define KP_ALIGN16 __attribute__((aligned(16))) /* a struct of hyperparameters loads as float4s */
#endif

/* What a launcher works with. The CUDA backend owns all of it (csrc/backend/cuda); a launcher only
 * puts work on the stream: it allocates nothing and waits for nothing, so that what it launches can be
 * captured as a graph. */
typedef struct {
    struct CUstream_st *stream; /* cudaStream_t */
    struct cublasContext *blas; /* cublasHandle_t: its stream and workspace are set */
    kp_precision precision;     /* of products */
    struct kp_conv_engine *conv; /* conv/conv_engine.h; NULL: none */
    void *scratch;         /* cuda_scratch_bytes of device memory, 256-byte aligned, contents undefined */
    const uint8_t *active; /* [P] device memory, 0: that member's state stays as it is */
} kp_cuda;

typedef struct {
    int begin, end;
} kp_slices;

typedef struct kp_op {
    const char *name;
    size_t args_bytes; /* sizeof(kp_NAME_args); its first field is `int P`, the number of members */

    /* Slices of one member: >= 1, a function of the shape only. */
    int (*n_slices)(const void *args);

    /* Bytes of private memory that cpu() wants, 64-byte aligned, contents undefined. NULL: none. */
    size_t (*scratch_bytes)(const void *args);

    /* Slices slices.begin .. slices.end - 1 of one member. Allocates nothing, cannot fail. */
    void (*cpu)(const void *args, int member, kp_slices slices, void *scratch);

    /* Launches the whole operation for all members. State (weights, moments, running sums) of a member
     * that is not active is left alone; what is made anew in every run (activations, gradients) need
     * not be. NULL where the build has no CUDA. */
    kp_status (*cuda)(const void *args, const kp_cuda *cuda, kp_err *err);

    /* Bytes of device memory that cuda() wants as scratch. NULL: none. */
    size_t (*cuda_scratch_bytes)(const void *args);
} kp_op;

/* The name of an operation compiled for this vector width: kp_op_NAME_avx2. */
#define KP_ISA(name)             KP_ISA_JOIN(name, KP_ISA_SUFFIX)
#define KP_ISA_JOIN(name, isa)   KP_ISA_PASTE(name, isa)
#define KP_ISA_PASTE(name, isa)  name##_##isa
#ifndef KP_ISA_SUFFIX
#define KP_ISA_SUFFIX generic
#endif

/* A whole member. */
KP_HD kp_slices kp_all_slices(const kp_op *op, const void *args) {
    return (kp_slices){ 0, op->n_slices(args) };
}

/* The half-open range of `total` items that these of `n` slices own; slices differ by at most 1. */
KP_HD void kp_slice_range(int64_t total, int n, kp_slices slices, int64_t *begin, int64_t *end) {
    *begin = total * slices.begin / n;
    *end = total * slices.end / n;
}
