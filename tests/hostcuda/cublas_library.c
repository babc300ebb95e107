/* cublas_library.c: a shared library in the place of libcublas, whose functions say by their status
 * what they were given. INCOMPLETE: one is missing. */
#include <cublas_v2.h>

#define EXPORT __attribute__((visibility("default")))
static int here;

EXPORT const char *cublasGetStatusString(cublasStatus_t status) {
    return status == CUBLAS_STATUS_SUCCESS ? "from the library" : "?";
}
EXPORT cublasStatus_t cublasCreate_v2(cublasHandle_t *handle) {
    *handle = (cublasHandle_t)(void *)&here;
    return CUBLAS_STATUS_SUCCESS;
}
EXPORT cublasStatus_t cublasDestroy_v2(cublasHandle_t handle) {
    return (void *)handle == &here ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_INTERNAL_ERROR;
}
EXPORT cublasStatus_t cublasSetStream_v2(cublasHandle_t handle, cudaStream_t stream) {
    return (void *)handle == &here && stream ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_INTERNAL_ERROR;
}
EXPORT cublasStatus_t cublasSetWorkspace_v2(cublasHandle_t handle, void *workspace, size_t bytes) {
    return (void *)handle == &here && workspace && bytes == 7 ? CUBLAS_STATUS_SUCCESS
                                                              : CUBLAS_STATUS_INTERNAL_ERROR;
}
#ifndef INCOMPLETE
EXPORT cublasStatus_t cublasSetMathMode(cublasHandle_t handle, cublasMath_t mode) {
    return (void *)handle == &here && mode == CUBLAS_PEDANTIC_MATH ? CUBLAS_STATUS_SUCCESS
                                                                   : CUBLAS_STATUS_INTERNAL_ERROR;
}
#endif
/* Its arguments in order: handle, T, N, 1, 2, 3, &4, A, 32F, 5, 6, B, 16F, 7, 8, &9, C, 16BF, 10,
 * 11, 12, TF32, default. */
EXPORT cublasStatus_t cublasGemmStridedBatchedEx(
    cublasHandle_t handle, cublasOperation_t transa, cublasOperation_t transb, int m, int n, int k,
    const void *alpha, const void *A, cudaDataType Atype, int lda, long long int strideA,
    const void *B, cudaDataType Btype, int ldb, long long int strideB, const void *beta, void *C,
    cudaDataType Ctype, int ldc, long long int strideC, int batchCount,
    cublasComputeType_t computeType, cublasGemmAlgo_t algo) {
    int right = (void *)handle == &here && transa == CUBLAS_OP_T && transb == CUBLAS_OP_N &&
                m == 1 && n == 2 && k == 3 && *(const float *)alpha == 4 && lda == 5 &&
                strideA == 6 && ldb == 7 && strideB == 8 && *(const float *)beta == 9 &&
                ldc == 10 && strideC == 11 && batchCount == 12 &&
                (const float *)B == (const float *)A + 1 && (float *)C == (const float *)A + 2 &&
                Atype == CUDA_R_32F && Btype == CUDA_R_16F && Ctype == CUDA_R_16BF &&
                computeType == CUBLAS_COMPUTE_32F_FAST_TF32 && algo == CUBLAS_GEMM_DEFAULT;
    return right ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_INTERNAL_ERROR;
}
