/* requirements.c: driver, device, cuBLAS. */
#include "requirements.h"

#include <stdio.h>

#include "cuda_impl.h"

enum { LEAST_MAJOR = 8 }; /* compute capability; cmake/cuda.cmake compiles for no older one */

/* NVIDIA's name for the oldest driver of a CUDA version. */
static int driver_branch(int cuda_major) { return cuda_major >= 13 ? 580 : 525; }

/* Within one major version, any driver runs what any toolkit has compiled. */
static kp_status check_driver(int device, char *found, size_t size, kp_err *err) {
    (void)device;
    int driver = 0, needed = CUDART_VERSION / 1000;
    cudaError_t code = cudaDriverGetVersion(&driver);
    if (code != cudaSuccess || !driver)
        return kp_fail(err, KP_DEVICE,
                       "no NVIDIA driver is loaded; install R%d or later, or use device=cpu",
                       driver_branch(needed));
    if (driver / 1000 < needed)
        return kp_fail(
            err, KP_DEVICE,
            "the NVIDIA driver is for CUDA %d.%d, this build needs %d.0 or later; update "
            "the driver to R%d or later, or use device=cpu",
            driver / 1000, driver % 1000 / 10, needed, driver_branch(needed));
    snprintf(found, size, "for CUDA %d.%d; this build's runtime, %d.%d, needs %d.0 or later",
             driver / 1000, driver % 1000 / 10, needed, CUDART_VERSION % 1000 / 10, needed);
    return KP_OK;
}

static kp_status check_device(int device, char *found, size_t size, kp_err *err) {
    int n = 0;
    struct cudaDeviceProp is;
    cudaError_t code = cudaGetDeviceCount(&n);
    if (code == cudaErrorInsufficientDriver)
        return kp_fail(err, KP_DEVICE, "none is found without such a driver; use device=cpu");
    if (code == cudaErrorNoDevice || (code == cudaSuccess && !n))
        return kp_fail(err, KP_DEVICE,
                       "no CUDA device is found (CUDA_VISIBLE_DEVICES hides those that it does not "
                       "name); use device=cpu");
    if (code == cudaSuccess && device >= n)
        return kp_fail(err, KP_DEVICE, "there is no cuda:%d, the last is cuda:%d", device, n - 1);
    if (code == cudaSuccess) code = cudaGetDeviceProperties(&is, device);
    if (code != cudaSuccess)
        return kp_fail(err, KP_DEVICE, "%s (CUDA error %d); see nvidia-smi, or use device=cpu",
                       cudaGetErrorString(code), (int)code);
    if (is.major < LEAST_MAJOR)
        return kp_fail(err, KP_DEVICE,
                       "%.100s has compute capability %d.%d, %d.0 or later (A100, RTX 30, H100) is "
                       "needed; use another device, or device=cpu",
                       is.name, is.major, is.minor, LEAST_MAJOR);
    snprintf(found, size,
             "%.100s, compute capability %d.%d (%d.0 or later is needed), %.1f GiB, cuda:%d of %d",
             is.name, is.major, is.minor, LEAST_MAJOR,
             (double)is.totalGlobalMem / (double)(1 << 30), device, n);
    return KP_OK;
}

static kp_status check_cublas(int device, char *found, size_t size, kp_err *err) {
    (void)device;
    return kp_cublas_load(found, size, err);
}

const kp_cuda_requirement kp_cuda_requirements[KP_CUDA_N_REQUIREMENTS] = {
    { "CUDA driver", check_driver },
    { "CUDA device", check_device },
    { "cuBLAS", check_cublas },
};

kp_status kp_cuda_require(int device, kp_err *err) {
    char found[256];
    for (int i = 0; i < KP_CUDA_N_REQUIREMENTS; i++) {
        kp_status st = kp_cuda_requirements[i].check(device, found, sizeof found, err);
        if (st) return st;
    }
    return KP_OK;
}
