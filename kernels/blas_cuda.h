/* blas_cuda.h: matrix products of a population, in row-major terms. blas_cuda.cu is the only file
 * that calls cuBLAS for them. */
#pragma once
#include "kp_kernel.h"

typedef struct {
    const char *op;  /* the operation it is part of, for messages */
    int count;       /* members, one product each */
    int64_t m, n, k; /* C is [m][n], a sum has k terms */
    int a_transposed, b_transposed; /* A lies as [k][m], not [m][k]; B as [n][k], not [k][n] */
    const float *a, *b;
    float *c;                             /* no overlap with a or b */
    int64_t a_stride, b_stride, c_stride; /* floats from one member's matrix to the next one's */
    int adds;                             /* C += A B; else C = A B, whatever C held */
} kp_gemm;

/* Puts the products on the stream. KP_DEVICE, with operation and shape, where cuBLAS refuses or
 * cannot count that far. */
KP_C kp_status kp_gemm_cuda(const kp_gemm *gemm, const kp_cuda *cuda, kp_err *err);
