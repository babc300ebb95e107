/* cublas_handle.c: the part of the cuBLAS fake that makes handles and sets them up. */
#include <cublas_v2.h>
#include <stdint.h>
#include <stdio.h>

#include "../runtime/runtime_impl.h"
#include "backend/cuda/cuda_impl.h"

struct cublasContext {
    hostcuda_blas set;
};

kp_status kp_cublas_load(char *found, size_t size, kp_err *err) {
    if (hostcuda_has.no_cublas)
        return kp_fail(err, KP_DEVICE, "libcublas.so.%d: cannot open it", CUBLAS_VER_MAJOR);
    snprintf(found, size, "tests/hostcuda/fakes");
    return KP_OK;
}

const char *cublasGetStatusString(cublasStatus_t status) {
    static const struct {
        cublasStatus_t status;
        const char *name;
    } names[] = {
        { CUBLAS_STATUS_SUCCESS, "CUBLAS_STATUS_SUCCESS" },
        { CUBLAS_STATUS_NOT_INITIALIZED, "CUBLAS_STATUS_NOT_INITIALIZED" },
        { CUBLAS_STATUS_INVALID_VALUE, "CUBLAS_STATUS_INVALID_VALUE" },
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (names[i].status == status) return names[i].name;
    return "unknown";
}

/* Allocates, so it is not for a capture. */
cublasStatus_t cublasCreate_v2(cublasHandle_t *handle) {
    int n = 0;
    if (!handle) return CUBLAS_STATUS_INVALID_VALUE;
    if (cudaGetDeviceCount(&n) || hostcuda_begin_unsafe()) return CUBLAS_STATUS_NOT_INITIALIZED;
    *handle = hostcuda_new(BLAS, sizeof **handle);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasDestroy_v2(cublasHandle_t handle) {
    if (!hostcuda_is(BLAS, handle)) return CUBLAS_STATUS_NOT_INITIALIZED;
    hostcuda_delete(handle);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetStream_v2(cublasHandle_t handle, cudaStream_t stream) {
    if (!hostcuda_is(BLAS, handle)) return CUBLAS_STATUS_NOT_INITIALIZED;
    if (stream && !hostcuda_is(STREAM, stream)) return CUBLAS_STATUS_INVALID_VALUE;
    handle->set.stream = stream;
    handle->set.workspace_bytes = 0; /* "unconditionally resets the workspace" */
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetWorkspace_v2(cublasHandle_t handle, void *workspace, size_t bytes) {
    if (!hostcuda_is(BLAS, handle)) return CUBLAS_STATUS_NOT_INITIALIZED;
    if ((uintptr_t)workspace % 256 || !hostcuda_is_device(workspace, bytes))
        return CUBLAS_STATUS_INVALID_VALUE;
    handle->set.workspace_bytes = bytes;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetMathMode(cublasHandle_t handle, cublasMath_t mode) {
    if (!hostcuda_is(BLAS, handle)) return CUBLAS_STATUS_NOT_INITIALIZED;
    if (mode != CUBLAS_DEFAULT_MATH && mode != CUBLAS_PEDANTIC_MATH &&
        mode != CUBLAS_TF32_TENSOR_OP_MATH)
        return CUBLAS_STATUS_INVALID_VALUE;
    handle->set.math = mode;
    return CUBLAS_STATUS_SUCCESS;
}

hostcuda_blas hostcuda_blas_of(cublasHandle_t handle) {
    if (!hostcuda_is(BLAS, handle)) hostcuda_stop("%p is no cuBLAS handle", (void *)handle);
    return handle->set;
}
