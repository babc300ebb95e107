/* errors.c: what CUDA and cuBLAS return, as messages; kernels/kp_cuda.h has the launchers' side. */
#include "cuda_impl.h"

/* These end the context: every later call returns them again, whichever comes first. */
static int is_from_earlier_work(cudaError_t code) {
    switch ((int)code) {
    case cudaErrorECCUncorrectable:
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchTimeout:
    case cudaErrorAssert:
    case cudaErrorHardwareStackError:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorLaunchFailure: return 1;
    default: return 0;
    }
}

kp_status kp_cuda_check(const kp_cuda_backend *c, cudaError_t code, const char *call, kp_err *err) {
    if (code == cudaSuccess) return KP_OK;
    cudaGetLastError(); /* it has been told */
    if (!is_from_earlier_work(code))
        return kp_fail(err, KP_DEVICE, "cuda:%d: %s: %s (CUDA error %d)", c->device, call,
                       cudaGetErrorString(code), (int)code);
    return kp_fail(err, KP_DEVICE,
                   "cuda:%d: %s (CUDA error %d), by work launched before %s told of it%s%s; "
                   "compute-sanitizer names the kernel",
                   c->device, cudaGetErrorString(code), (int)code, call,
                   c->last ? ", last of all program " : "", c->last ? c->last : "");
}

kp_status kp_cublas_check(const kp_cuda_backend *c, cublasStatus_t code, const char *call,
                          kp_err *err) {
    if (code == CUBLAS_STATUS_SUCCESS) return KP_OK;
    return kp_fail(err, KP_DEVICE, "cuda:%d: %s: %s (cuBLAS status %d)", c->device, call,
                   cublasGetStatusString(code), (int)code);
}

kp_status kp_cuda_enter(const kp_cuda_backend *c, kp_err *err) {
    return KP_CUDA_CALL(c, err, cudaSetDevice, c->device);
}
