/* cublas.c: cuBLAS is loaded when it is asked for, from where the system finds it or where it lay
 * when Kappa was built, here the current folder. */
#include <criterion/criterion.h>
#include <cublas_v2.h>
#include <string.h>
#include <unistd.h>

#include "backend/cuda/cuda_impl.h"

static char found[200];
static kp_err err;

static kp_status load_from(const char *folder) {
    cr_assert(!chdir(folder), "%s", folder);
    return kp_cublas_load(found, sizeof found, &err);
}

Test(hostcuda_cublas, calls_are_passed_on) {
    float x[3] = { 0 }, alpha = 4, beta = 9;
    cublasHandle_t handle = NULL;
    cr_assert_eq(load_from(KP_TEST_CUBLAS), KP_OK, "%s", err.text);
    cr_expect(strstr(found, "/libcublas.so.99"), "%s", found);
    cr_expect_eq(cublasCreate(&handle), CUBLAS_STATUS_SUCCESS);
    cr_expect_eq(cublasSetStream(handle, (cudaStream_t)(void *)x), CUBLAS_STATUS_SUCCESS);
    cr_expect_eq(cublasSetWorkspace(handle, x, 7), CUBLAS_STATUS_SUCCESS);
    cr_expect_eq(cublasSetMathMode(handle, CUBLAS_PEDANTIC_MATH), CUBLAS_STATUS_SUCCESS);
    cr_expect_eq(cublasGemmStridedBatchedEx(handle, CUBLAS_OP_T, CUBLAS_OP_N, 1, 2, 3, &alpha, x,
                                            CUDA_R_32F, 5, 6, x + 1, CUDA_R_16F, 7, 8, &beta, x + 2,
                                            CUDA_R_16BF, 10, 11, 12, CUBLAS_COMPUTE_32F_FAST_TF32,
                                            CUBLAS_GEMM_DEFAULT),
                 CUBLAS_STATUS_SUCCESS);
    cr_expect_eq(cublasDestroy(handle), CUBLAS_STATUS_SUCCESS);
    cr_expect_str_eq(cublasGetStatusString(CUBLAS_STATUS_SUCCESS), "from the library");
}

Test(hostcuda_cublas, none) {
    cublasHandle_t handle = NULL;
    for (int i = 0; i < 2; i++) {
        cr_expect_eq(load_from("/"), KP_DEVICE);
        cr_expect(strstr(err.text, "libcublas.so.99: cannot open shared object file"), "%s",
                  err.text);
        cr_expect(strstr(err.text, "; install cuBLAS of CUDA 99, or name its folder in "
                                   "LD_LIBRARY_PATH, or use device=cpu"),
                  "%s", err.text);
    }
    cr_expect_eq(cublasCreate(&handle), CUBLAS_STATUS_NOT_INITIALIZED);
    cr_expect_str_eq(cublasGetStatusString(CUBLAS_STATUS_NOT_INITIALIZED),
                     "the library is not loaded");
}

Test(hostcuda_cublas, one_that_lacks_a_function) {
    cr_expect_eq(load_from(KP_TEST_CUBLAS_INCOMPLETE), KP_DEVICE);
    cr_expect_str_eq(err.text,
                     "libcublas.so.99 has no cublasSetMathMode; cuBLAS of CUDA 99 is needed");
}
