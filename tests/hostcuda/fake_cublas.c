/* fake_cublas.c: the fake of cuBLAS multiplies as documented and catches what it says it catches.
 */
#include <criterion/criterion.h>
#include <cublas_v2.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kp_kernel.h"

/* A call as cuBLAS sees it, column by column: C [2][3] = op(A) [2][2] op(B) [2][3], twice. */
typedef struct {
    cublasHandle_t handle;
    cublasOperation_t ta, tb;
    int m, n, k, lda, ldb, ldc, batch;
    const float *alpha, *beta, *a, *b;
    float *c;
    long long a_stride, b_stride, c_stride;
    cudaDataType type[3]; /* of A, B, C */
    cublasComputeType_t compute;
} call;

static const float one = 1, zero = 0;
static float memory[64]; /* A at 0, B at 16, C at 32 */
#define A (memory)
#define B (memory + 16)
#define C (memory + 32)

static call good(void) {
    static cublasHandle_t handle;
    if (!handle) cr_assert_eq(cublasCreate(&handle), CUBLAS_STATUS_SUCCESS);
    return (call){ handle,
                   CUBLAS_OP_N,
                   CUBLAS_OP_N,
                   2,
                   3,
                   2,
                   2,
                   2,
                   2,
                   2,
                   &one,
                   &zero,
                   A,
                   B,
                   C,
                   4,
                   6,
                   6,
                   { CUDA_R_32F, CUDA_R_32F, CUDA_R_32F },
                   CUBLAS_COMPUTE_32F };
}

static cublasStatus_t make(const call *x) {
    return cublasGemmStridedBatchedEx(x->handle, x->ta, x->tb, x->m, x->n, x->k, x->alpha, x->a,
                                      x->type[0], x->lda, x->a_stride, x->b, x->type[1], x->ldb,
                                      x->b_stride, x->beta, x->c, x->type[2], x->ldc, x->c_stride,
                                      x->batch, x->compute, CUBLAS_GEMM_DEFAULT);
}

/* op(A) = [1 2; 3 4] and the identity, op(B) = [1 0 5; 0 1 7] both times, however they lie. */
static void fill(call *x) {
    static const float a[2][2] = { { 1, 2 }, { 3, 4 } }, b[2][3] = { { 1, 0, 5 }, { 0, 1, 7 } };
    x->ldb = x->tb == CUBLAS_OP_N ? 2 : 3;
    for (int i = 0; i < 2; i++)
        for (int k = 0; k < 2; k++) {
            int at = x->ta == CUBLAS_OP_N ? i + 2 * k : k + 2 * i;
            A[at] = a[i][k], A[4 + at] = i == k;
        }
    for (int k = 0; k < 2; k++)
        for (int j = 0; j < 3; j++) {
            int at = x->tb == CUBLAS_OP_N ? k + 2 * j : j + 3 * k;
            B[at] = B[6 + at] = b[k][j];
        }
}

Test(cublas_fake, multiplies_however_the_operands_lie) {
    static const float want[12] = { 1, 3, 2, 4, 19, 43, 1, 0, 0, 1, 5, 7 };
    for (int way = 0; way < 4; way++) {
        call x = good();
        x.ta = way & 1 ? CUBLAS_OP_T : CUBLAS_OP_N, x.tb = way & 2 ? CUBLAS_OP_T : CUBLAS_OP_N;
        fill(&x);
        for (int i = 0; i < 12; i++) C[i] = NAN; /* beta 0: not looked at */
        cr_expect_eq(make(&x), CUBLAS_STATUS_SUCCESS);
        for (int i = 0; i < 12; i++)
            cr_expect_eq(C[i], want[i], "way %d: C[%d] is %g", way, i, (double)C[i]);
        x.beta = &one;
        cr_expect_eq(make(&x), CUBLAS_STATUS_SUCCESS);
        cr_expect_eq(C[5], 86, "beta 1 adds: %g", (double)C[5]);
    }
}

#define EDIT(name, ...)                                                                            \
    static void name(call *x) { __VA_ARGS__; }
EDIT(no_handle, x->handle = NULL)
EDIT(negative, x->k = -1)
EDIT(negative_batch, x->batch = -1)
EDIT(short_lda, x->lda = 1)
EDIT(short_ldb, x->ldb = 1)
EDIT(short_transposed_ldb, x->tb = CUBLAS_OP_T, x->ldb = 2)
EDIT(short_ldc, x->ldc = 1)
EDIT(no_alpha, x->alpha = NULL)
EDIT(no_beta, x->beta = NULL)
EDIT(no_such_op, x->ta = (cublasOperation_t)7)
EDIT(half_a, x->type[0] = CUDA_R_16F)
EDIT(half_b, x->type[1] = CUDA_R_16BF)
EDIT(half_c, x->type[2] = CUDA_R_16F)
EDIT(no_such_compute, x->compute = (cublasComputeType_t)1)
EDIT(nothing, x->n = 0, x->c = NULL)
EDIT(no_c, x->c = NULL)
EDIT(no_a, x->a = NULL)
EDIT(crooked, x->b = (const float *)(const void *)((const char *)B + 2))
EDIT(close_results, x->c_stride = 5)
EDIT(one_result, x->c_stride = 0)
EDIT(in_place, x->c = B)
EDIT(over_the_end, x->c = A + 7)

static const struct {
    const char *name;
    void (*edit)(call *x);
    cublasStatus_t status;
    const char *says; /* before exit 97 */
} misuses[] = {
    { "no handle", no_handle, CUBLAS_STATUS_NOT_INITIALIZED, NULL },
    { "a negative size", negative, CUBLAS_STATUS_INVALID_VALUE, NULL },
    { "a negative batch", negative_batch, CUBLAS_STATUS_INVALID_VALUE, NULL },
    { "lda shorter than a column", short_lda, CUBLAS_STATUS_INVALID_VALUE, NULL },
    { "ldb shorter than a column", short_ldb, CUBLAS_STATUS_INVALID_VALUE, NULL },
    { "ldb of a transposed B", short_transposed_ldb, CUBLAS_STATUS_INVALID_VALUE, NULL },
    { "ldc shorter than a column", short_ldc, CUBLAS_STATUS_INVALID_VALUE, NULL },
    { "no alpha", no_alpha, CUBLAS_STATUS_INVALID_VALUE, NULL },
    { "no beta", no_beta, CUBLAS_STATUS_INVALID_VALUE, NULL },
    { "an operation that is none", no_such_op, CUBLAS_STATUS_INVALID_VALUE, NULL },
    { "A of halves", half_a, CUBLAS_STATUS_NOT_SUPPORTED, NULL },
    { "B of halves", half_b, CUBLAS_STATUS_NOT_SUPPORTED, NULL },
    { "C of halves", half_c, CUBLAS_STATUS_NOT_SUPPORTED, NULL },
    { "a precision that is none", no_such_compute, CUBLAS_STATUS_NOT_SUPPORTED, NULL },
    { "nothing to do", nothing, CUBLAS_STATUS_SUCCESS, NULL },
    { "no result", no_c, 0, "C is (nil)" },
    { "no operand", no_a, 0, "A is (nil)" },
    { "half a float", crooked, 0, "B is 0x" },
    { "results that overlap", close_results, 0, "C's matrices overlap: stride 5, 6 floats each" },
    { "results at one address", one_result, 0, "C's matrices overlap: stride 0, 6 floats each" },
    { "a result in place of an operand", in_place, 0, "C overlaps B" },
    { "a result over the end of the second operand", over_the_end, 0, "C overlaps A" },
};

/* Of make(x) in a process of its own; its stderr, up to size. */
static int exit_code(const call *x, char *says, size_t size) {
    int to[2], status = -1;
    cr_assert(!pipe(to));
    fflush(NULL);
    pid_t child = fork();
    if (!child) {
        dup2(to[1], STDERR_FILENO);
        _exit((int)make(x));
    }
    close(to[1]);
    FILE *from = fdopen(to[0], "r");
    says[fread(says, 1, size - 1, from)] = 0;
    fclose(from);
    cr_assert_eq(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

Test(cublas_fake, misuse_is_told) {
    for (size_t i = 0; i < KP_COUNT(misuses); i++) {
        call x = good();
        char says[256];
        fill(&x);
        misuses[i].edit(&x);
        int code = exit_code(&x, says, sizeof says),
            want = misuses[i].says ? 97 : (int)misuses[i].status;
        cr_expect_eq(code, want, "%s: exit %d", misuses[i].name, code);
        cr_expect(strstr(says, misuses[i].says ? misuses[i].says : ""), "%s: %s", misuses[i].name,
                  says);
    }
}
