/* blas_cuda.cu: see blas_cuda.h. cuBLAS counts columns first, so that it sees every matrix of ours
 * transposed, and is asked for C^T = B^T A^T. */
#include "blas_cuda.h"

#include <cublas_v2.h>
#include <limits.h>

kp_status kp_gemm_cuda(const kp_gemm *g, const kp_cuda *cuda, kp_err *err) {
    const long long shape[] = { g->m, g->n, g->k };
    for (int i = 0; i < 3; i++)
        if (shape[i] > INT_MAX)
            return kp_fail(err, KP_DEVICE,
                           "%s: a product of [%lld][%lld] and [%lld][%lld]: cuBLAS counts to %d",
                           g->op, shape[0], shape[2], shape[2], shape[1], INT_MAX);
    const int m = (int)g->m, n = (int)g->n, k = (int)g->k;
    const int a_row = g->a_transposed ? m : k, b_row = g->b_transposed ? k : n;
    const cublasOperation_t a_op = g->a_transposed ? CUBLAS_OP_T : CUBLAS_OP_N,
                            b_op = g->b_transposed ? CUBLAS_OP_T : CUBLAS_OP_N;
    const float one = 1.0f, beta = g->adds ? 1.0f : 0.0f;
    static const cublasComputeType_t compute[KP_N_PRECISIONS] = {
        CUBLAS_COMPUTE_32F, CUBLAS_COMPUTE_32F_FAST_TF32, CUBLAS_COMPUTE_32F_FAST_16BF
    };
    cublasStatus_t code = cublasGemmStridedBatchedEx(
        cuda->blas, b_op, a_op, n, m, k, &one, g->b, CUDA_R_32F, b_row, g->b_stride, g->a, CUDA_R_32F,
        a_row, g->a_stride, &beta, g->c, CUDA_R_32F, n, g->c_stride, g->count,
        compute[cuda->precision], CUBLAS_GEMM_DEFAULT);
    if (code == CUBLAS_STATUS_SUCCESS) return KP_OK;
    return kp_fail(err, KP_DEVICE,
                   "%s: cublasGemmStridedBatchedEx of %d times [%d][%d] and [%d][%d]: %s "
                   "(cuBLAS status %d)",
                   g->op, g->count, m, k, k, n, cublasGetStatusString(code), (int)code);
}
