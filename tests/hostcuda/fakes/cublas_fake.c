/* cublas_fake.c: products in plain C; a sum runs in index order, in doubles, and is rounded once.
 * Factors are rounded to what the precision has, though cuBLAS only may.
 *
 * Arguments that cuBLAS documents as errors get its status. Those that it does not look at and that
 * would do harm on a GPU (matrices of the result that overlap each other or an operand, addresses
 * that are not a float's) end the process, exit 97, with a line on stderr. */
#include <cublas_v2.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "../runtime/runtime.h"

typedef struct {
    const char *name;
    const float *at;
    int64_t rows, columns, row_stride, column_stride; /* of op(X) */
    int64_t stride; /* floats from one matrix of the batch to the next */
    int64_t floats; /* from the first to the last of one matrix */
} matrix;

__attribute__((noreturn, format(printf, 1, 2))) static void die(const char *format, ...) {
    va_list list;
    va_start(list, format);
    fputs("cublasGemmStridedBatchedEx: ", stderr);
    vfprintf(stderr, format, list);
    fputc('\n', stderr);
    va_end(list);
    _Exit(97);
}

/* op(X) is rows x columns; X lies column by column, ld apart. */
static matrix matrix_of(const char *name, const float *at, cublasOperation_t op, int rows,
                        int columns, int ld, int64_t stride) {
    matrix x = { name, at, rows, columns, 1, ld, stride, 0 };
    if (op != CUBLAS_OP_N) x.row_stride = ld, x.column_stride = 1;
    x.floats = (rows - 1) * x.row_stride + (columns - 1) * x.column_stride + 1;
    return x;
}

static int ld_is_bad(cublasOperation_t op, int rows, int columns, int ld) {
    int least = op == CUBLAS_OP_N ? rows : columns;
    return ld < (least > 1 ? least : 1);
}

static int op_is_bad(cublasOperation_t op) { return op < CUBLAS_OP_N || op > CUBLAS_OP_C; }

static void check_address(const matrix *x) {
    if (!x->at || (uintptr_t)x->at % sizeof(float)) die("%s is %p", x->name, (const void *)x->at);
}

/* Where all matrices of the batch lie, from the first float to the last. */
static void find_range(const matrix *x, int batch, uintptr_t *begin, uintptr_t *end) {
    int64_t last = (batch - 1) * x->stride, low = last < 0 ? last : 0, high = last > 0 ? last : 0;
    *begin = (uintptr_t)(x->at + low), *end = (uintptr_t)(x->at + high + x->floats);
}

/* Stricter than cuBLAS, which allows matrices that lie between each other: nobody means to. */
static void check_overlap(const matrix *c, const matrix *x, int batch) {
    uintptr_t begin, end, c_begin, c_end;
    find_range(x, batch, &begin, &end), find_range(c, batch, &c_begin, &c_end);
    if (begin < c_end && c_begin < end) die("C overlaps %s", x->name);
}

typedef struct {
    matrix a, b, c;
    float *to; /* c */
    int bits;  /* of fraction that factors lose */
    float alpha, beta;
    int count;
} product;

/* Of a float32's 23 bits of fraction; -1: not in the fake. */
static int dropped_bits(cublasComputeType_t compute) {
    switch (compute) {
    case CUBLAS_COMPUTE_32F: return 0;
    case CUBLAS_COMPUTE_32F_FAST_TF32: return 13;
    case CUBLAS_COMPUTE_32F_FAST_16BF: return 16;
    }
    return -1;
}

/* To nearest, ties away from zero; infinities and NaN stay. */
static double factor(float x, int bits) {
    union {
        float x;
        uint32_t bits;
    } is = { x };
    if (bits && (is.bits & 0x7f800000) != 0x7f800000)
        is.bits = (is.bits + (1u << (bits - 1))) >> bits << bits;
    return (double)is.x;
}

enum { TILE = 4 }; /* of C, [TILE][TILE] sums at a time; A and B are padded to it with zeros */

static int64_t padded(int64_t n) { return (n + TILE - 1) / TILE * TILE; }

static void multiply(const product *p, int batch) {
    const int64_t m = p->c.rows, n = p->c.columns, k = p->a.columns, rows = padded(m);
    const float *a = p->a.at + batch * p->a.stride, *b = p->b.at + batch * p->b.stride;
    float *c = p->to + batch * p->c.stride;
    double *a_packed = calloc((size_t)((rows + TILE) * k + 1), sizeof *a_packed),
           *b_packed = a_packed + rows * k; /* [k][rows], [k][TILE] */
    if (!a_packed) die("no memory");
    for (int64_t l = 0; l < k; l++)
        for (int64_t i = 0; i < m; i++)
            a_packed[l * rows + i] = factor(a[i * p->a.row_stride + l * p->a.column_stride],
                                            p->bits);
    for (int64_t j0 = 0; j0 < n; j0 += TILE) {
        const int64_t columns = n - j0 < TILE ? n - j0 : TILE;
        for (int64_t l = 0; l < k; l++)
            for (int64_t j = 0; j < columns; j++)
                b_packed[l * TILE + j] =
                    factor(b[l * p->b.row_stride + (j0 + j) * p->b.column_stride], p->bits);
        for (int64_t i0 = 0; i0 < m; i0 += TILE) {
            double sum[TILE][TILE] = { { 0 } };
            for (int64_t l = 0; l < k; l++)
                for (int j = 0; j < TILE; j++)
                    for (int i = 0; i < TILE; i++)
                        sum[j][i] += a_packed[l * rows + i0 + i] * b_packed[l * TILE + j];
            for (int64_t j = 0; j < columns; j++)
                for (int64_t i = 0; i < TILE && i0 + i < m; i++) {
                    float *at = &c[i0 + i + (j0 + j) * p->c.column_stride];
                    double x = (double)p->alpha * sum[j][i];
                    *at = (float)(p->beta == 0 ? x : x + (double)p->beta * (double)*at);
                }
        }
    }
    free(a_packed);
}

static void multiply_all(void *context) {
    const product *p = context;
    for (int i = 0; i < p->count; i++) multiply(p, i);
}

cublasStatus_t cublasGemmStridedBatchedEx(cublasHandle_t handle, cublasOperation_t transa,
                                          cublasOperation_t transb, int m, int n, int k,
                                          const void *alpha, const void *A, cudaDataType Atype,
                                          int lda, long long int strideA, const void *B,
                                          cudaDataType Btype, int ldb, long long int strideB,
                                          const void *beta, void *C, cudaDataType Ctype, int ldc,
                                          long long int strideC, int batchCount,
                                          cublasComputeType_t computeType, cublasGemmAlgo_t algo) {
    const float *alpha_is = alpha, *beta_is = beta;
    if (!handle) return CUBLAS_STATUS_NOT_INITIALIZED;
    if (m < 0 || n < 0 || k < 0 || batchCount < 0 || !alpha || !beta || op_is_bad(transa) ||
        op_is_bad(transb) || ld_is_bad(transa, m, k, lda) || ld_is_bad(transb, k, n, ldb) ||
        ld_is_bad(CUBLAS_OP_N, m, n, ldc))
        return CUBLAS_STATUS_INVALID_VALUE;
    int bits = dropped_bits(computeType);
    if (Atype != CUDA_R_32F || Btype != CUDA_R_32F || Ctype != CUDA_R_32F || bits < 0 ||
        algo != CUBLAS_GEMM_DEFAULT)
        return CUBLAS_STATUS_NOT_SUPPORTED; /* by the fake */
    if (!m || !n || !batchCount) return CUBLAS_STATUS_SUCCESS;
    const product p = { .a = matrix_of("A", A, transa, m, k, lda, strideA),
                        .b = matrix_of("B", B, transb, k, n, ldb, strideB),
                        .c = matrix_of("C", C, CUBLAS_OP_N, m, n, ldc, strideC),
                        .to = C,
                        .bits = bits,
                        .alpha = *alpha_is,
                        .beta = *beta_is,
                        .count = batchCount };
    check_address(&p.c);
    if (batchCount > 1 && llabs(strideC) < p.c.floats)
        die("C's matrices overlap: stride %lld, %lld floats each", strideC, (long long)p.c.floats);
    if (k) {
        check_address(&p.a), check_overlap(&p.c, &p.a, batchCount);
        check_address(&p.b), check_overlap(&p.c, &p.b, batchCount);
    }
    cudaStream_t stream = hostcuda_blas_of(handle).stream;
    if (!stream) multiply_all((void *)&p);
    else if (hostcuda_enqueue(stream, multiply_all, &p, sizeof p))
        return CUBLAS_STATUS_EXECUTION_FAILED;
    return CUBLAS_STATUS_SUCCESS;
}
