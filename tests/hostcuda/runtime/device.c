/* device.c: the machine, errors, and which handles are alive. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime_impl.h"

enum { MAX_HANDLES = 4096 };

hostcuda_machine hostcuda_has = {
    .n_devices = 1,
    .driver = 13000,
    .major = 9,
    .memory = (size_t)1 << 30,
    .shared_bytes = 227 << 10,
    .multiprocessors = 132,
};
hostcuda_counts hostcuda_did;

static cudaError_t last, broken;
static int current;
static struct {
    hostcuda_kind kind;
    void *handle;
} alive[MAX_HANDLES];
static int n_alive;

void hostcuda_stop(const char *format, ...) {
    va_list list;
    va_start(list, format);
    fputs("hostcuda: ", stderr);
    vfprintf(stderr, format, list);
    fputc('\n', stderr);
    va_end(list);
    _Exit(97);
}

cudaError_t hostcuda_say(cudaError_t code) {
    if (code) last = code;
    return code;
}

cudaError_t hostcuda_begin(void) { return hostcuda_say(broken); }

cudaError_t hostcuda_begin_unsafe(void) {
    if (!broken && hostcuda_is_capturing()) {
        hostcuda_spoil_captures();
        return hostcuda_say(cudaErrorStreamCaptureUnsupported);
    }
    return hostcuda_begin();
}

void hostcuda_break(cudaError_t code) { broken = code; }
int hostcuda_is_broken(void) { return broken != cudaSuccess; }
int hostcuda_current(void) { return current; }

cudaError_t cudaGetLastError(void) {
    cudaError_t code = broken ? broken : last;
    last = cudaSuccess;
    return code;
}

const char *cudaGetErrorString(cudaError_t error) {
    switch (error) {
    case cudaSuccess: return "no error";
    case cudaErrorInvalidValue: return "invalid argument";
    case cudaErrorMemoryAllocation: return "out of memory";
    case cudaErrorInvalidConfiguration: return "invalid configuration argument";
    case cudaErrorInsufficientDriver:
        return "CUDA driver version is insufficient for CUDA runtime version";
    case cudaErrorNoDevice: return "no CUDA-capable device is detected";
    case cudaErrorInvalidDevice: return "invalid device ordinal";
    case cudaErrorInvalidResourceHandle: return "invalid resource handle";
    case cudaErrorIllegalAddress: return "an illegal memory access was encountered";
    case cudaErrorStreamCaptureUnsupported:
        return "operation not permitted when stream is capturing";
    case cudaErrorStreamCaptureInvalidated:
        return "operation failed due to a previous error during capture";
    case cudaErrorStreamCaptureImplicit:
        return "operation would make the legacy stream depend on a capturing blocking stream";
    default: return "unrecognized error code";
    }
}

/* ---- devices ---- */

cudaError_t cudaDriverGetVersion(int *version) {
    if (!version) return hostcuda_say(cudaErrorInvalidValue);
    *version = hostcuda_has.driver;
    return cudaSuccess;
}

cudaError_t cudaGetDeviceCount(int *count) {
    HOSTCUDA_BEGIN();
    if (!count) return hostcuda_say(cudaErrorInvalidValue);
    *count = 0;
    if (hostcuda_has.driver / 1000 < CUDART_VERSION / 1000)
        return hostcuda_say(cudaErrorInsufficientDriver);
    if (!hostcuda_has.n_devices) return hostcuda_say(cudaErrorNoDevice);
    *count = hostcuda_has.n_devices;
    return cudaSuccess;
}

static cudaError_t check_device(int device) {
    int n = 0;
    cudaError_t code = cudaGetDeviceCount(&n);
    return code ? code : device < 0 || device >= n ? cudaErrorInvalidDevice : cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *properties, int device) {
    cudaError_t code = properties ? check_device(device) : cudaErrorInvalidValue;
    if (code) return hostcuda_say(code);
    memset(properties, 0, sizeof *properties);
    snprintf(properties->name, sizeof properties->name, "hostcuda %d", device);
    properties->totalGlobalMem = hostcuda_has.memory;
    properties->major = hostcuda_has.major;
    properties->minor = hostcuda_has.minor;
    return cudaSuccess;
}

cudaError_t cudaSetDevice(int device) {
    cudaError_t code = check_device(device);
    if (!code) current = device;
    return hostcuda_say(code);
}

/* ---- handles ---- */

void *hostcuda_new(hostcuda_kind kind, size_t bytes) {
    void *handle = calloc(1, bytes);
    if (!handle || n_alive == MAX_HANDLES) hostcuda_stop("%d handles are alive", n_alive);
    alive[n_alive].kind = kind;
    alive[n_alive++].handle = handle;
    return handle;
}

static int find(const void *handle) {
    int i = 0;
    while (i < n_alive && alive[i].handle != handle) i++;
    return i;
}

int hostcuda_is(hostcuda_kind kind, const void *handle) {
    int i = find(handle);
    return i < n_alive && alive[i].kind == kind;
}

void hostcuda_delete(const void *handle) {
    int i = find(handle);
    free(alive[i].handle);
    alive[i] = alive[--n_alive];
}

void *hostcuda_next(hostcuda_kind kind, const void *after) {
    for (int i = after ? find(after) + 1 : 0; i < n_alive; i++)
        if (alive[i].kind == kind) return alive[i].handle;
    return NULL;
}

int hostcuda_n_alive(void) { return n_alive + hostcuda_n_allocations(); }
