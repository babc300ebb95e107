/* runtime.c: the emulated CUDA runtime does late what may be late, keeps the host out of device
 * memory, and refuses what CUDA refuses. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hostcuda/runtime/runtime.h"

static cudaStream_t stream;
static char *device; /* 1000 bytes */

static void open_all(void) {
    cr_assert_eq(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), cudaSuccess);
    cr_assert_eq(cudaMalloc((void **)&device, 1000), cudaSuccess);
}

TestSuite(hostcuda_runtime, .init = open_all);

static cudaError_t up(void *to, const void *from, size_t bytes) {
    return cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, stream);
}
static cudaError_t down(void *to, const void *from, size_t bytes) {
    return cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, stream);
}

/* ---- late ---- */

Test(hostcuda_runtime, copies_happen_when_the_host_waits) {
    char from[3] = "ab", to[3] = "..";
    up(device, from, 2);
    from[1] = 'c'; /* read late: this is what arrives */
    down(to, device, 2);
    cr_expect_str_eq(to, "..");
    cr_assert_eq(cudaStreamSynchronize(stream), cudaSuccess);
    cr_expect_str_eq(to, "ac");
}

Test(hostcuda_runtime, an_event_is_reached_before_what_came_after_it) {
    char to[3] = "..";
    cudaEvent_t event;
    cr_assert_eq(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), cudaSuccess);
    cr_expect_eq(cudaEventSynchronize(event), cudaSuccess, "never recorded");
    up(device, "xy", 2);
    down(to, device, 1);
    cudaEventRecord(event, stream);
    down(to + 1, device + 1, 1);
    cr_expect_eq(cudaEventSynchronize(event), cudaSuccess);
    cr_expect_str_eq(to, "x.");
    cudaFree(device);
    cr_expect_str_eq(to, "xy", "freeing waits");
}

Test(hostcuda_runtime, new_memory_holds_nan) {
    float x = 0;
    down(&x, device + 996, 4);
    cudaStreamSynchronize(stream);
    cr_expect(isnan(x), "%g", (double)x);
}

/* ---- the host's own hands ---- */

static char *freed, *host;

static void reads(void) { (void)*(volatile char *)(device + 12); }
static void writes(void) { *(volatile char *)(device + 999) = 0; }
static void reads_the_first(void) { (void)*(volatile char *)device; }
static void passes_the_end(void) { (void)*(volatile char *)(device + 1024); }
static void reads_freed(void) { (void)*(volatile char *)freed; }
static void copies_freed(void) { memcpy(host, freed, 8); }

static void kernel_passes_the_end(void *context) { (*(char **)context)[1100] = 0; }
static void launches(void) {
    hostcuda_enqueue_kernel(stream, kernel_passes_the_end, &device, sizeof device, 0);
    cudaStreamSynchronize(stream);
}
static void launches_with_host_memory(void) {
    hostcuda_enqueue_kernel(stream, kernel_passes_the_end, &host, sizeof host, 0);
}
static void launches_with_freed_memory(void) {
    hostcuda_enqueue_kernel(stream, kernel_passes_the_end, &freed, sizeof freed, 0);
}

static const struct {
    void (*does)(void);
    const char *says;
} culprits[] = {
    { reads, "hostcuda: host read of device memory: byte 12 of 1000\n" },
    { reads_the_first, "hostcuda: host read of device memory: byte 0 of 1000\n" },
    { writes, "hostcuda: host write of device memory: byte 999 of 1000\n" },
    { passes_the_end,
      "hostcuda: host read of what lies beside device memory: byte 1024 of 1000\n" },
    { reads_freed, "hostcuda: host read of freed device memory: byte 0 of 50\n" },
    { copies_freed, "hostcuda: host read of freed device memory: byte 0 of 50\n" },
    { launches, "hostcuda: kernel write of what lies beside device memory: byte 1100 of 1000\n" },
    { launches_with_host_memory, "hostcuda: kernel is given the host address 0x" },
    { launches_with_freed_memory, "hostcuda: kernel is given an address of freed device memory\n" },
};

Test(hostcuda_runtime, who_touches_what_is_not_his) {
    cudaMalloc((void **)&freed, 50);
    cudaFree(freed);
    char *pages = calloc(1 << 20, 1); /* somewhere in it the address is not taken for a count */
    host = pages + ((uintptr_t)pages % ((uintptr_t)1 << 32) < 1 << 16 ? 1 << 16 : 0);
    up(device, host, 100); /* memory has been open before */
    cudaStreamSynchronize(stream);
    for (size_t i = 0; i < sizeof culprits / sizeof *culprits; i++) {
        int ends[2], status = 0;
        char says[200] = "";
        cr_assert(!pipe(ends));
        pid_t child = fork();
        if (!child) {
            dup2(ends[1], STDERR_FILENO);
            culprits[i].does();
            _exit(0);
        }
        close(ends[1]);
        for (size_t n = 0; n + 1 < sizeof says;) {
            ssize_t got = read(ends[0], says + n, sizeof says - 1 - n);
            if (got <= 0) break;
            n += (size_t)got;
        }
        close(ends[0]);
        waitpid(child, &status, 0);
        cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 97, "%zu: status %#x", i,
                  (unsigned)status);
        cr_expect(!strncmp(says, culprits[i].says, strlen(culprits[i].says)), "not '%s': %s",
                  culprits[i].says, says);
    }
    free(pages);
}

/* ---- refusals ---- */

Test(hostcuda_runtime, arguments_that_are_wrong) {
    char bytes[2000];
    void *memory;
    cudaEvent_t event;
    cudaStream_t gone;
    cudaGraph_t graph;
    cudaStreamCreateWithFlags(&gone, 0);
    cudaStreamDestroy(gone);
    cr_expect_eq(up(device, bytes, 1001), cudaErrorInvalidValue, "past the end");
    cr_expect_eq(up(device + 900, bytes, 101), cudaErrorInvalidValue, "past the end");
    cr_expect_eq(up(bytes, device, 10), cudaErrorInvalidValue, "the wrong way");
    cr_expect_eq(down(device, bytes, 10), cudaErrorInvalidValue, "the wrong way");
    cr_expect_eq(up(device, device + 500, 10), cudaErrorInvalidValue, "not the host's");
    cr_expect_eq(up(device, NULL, 10), cudaErrorInvalidValue);
    cr_expect_eq(up(NULL, bytes, 10), cudaErrorInvalidValue);
    cr_expect_eq(cudaMemsetAsync(device, 0, 1001, stream), cudaErrorInvalidValue);
    cr_expect_eq(cudaMemsetAsync(device, 0, 1, gone), cudaErrorInvalidResourceHandle);
    cr_expect_eq(cudaMalloc(NULL, 1), cudaErrorInvalidValue);
    cr_expect_eq(cudaFree(bytes), cudaErrorInvalidValue);
    cr_expect_eq(cudaFree(device + 1), cudaErrorInvalidValue);
    cr_expect_eq(cudaFreeHost(device), cudaErrorInvalidValue);
    cr_expect_eq(cudaFree(NULL), cudaSuccess);
    cr_expect_eq(cudaHostAlloc(&memory, 0, 0), cudaErrorInvalidValue);
    cr_expect_eq(cudaStreamSynchronize(gone), cudaErrorInvalidResourceHandle);
    cr_expect_eq(cudaStreamCreateWithFlags(&gone, 8), cudaErrorInvalidValue);
    cr_expect_eq(cudaEventCreateWithFlags(NULL, 0), cudaErrorInvalidValue);
    cr_expect_eq(cudaEventRecord((cudaEvent_t)bytes, stream), cudaErrorInvalidResourceHandle);
    cudaEventCreateWithFlags(&event, 0);
    cr_expect_eq(cudaEventRecord(event, NULL), cudaErrorInvalidResourceHandle);
    cr_expect_eq(cudaEventDestroy((cudaEvent_t)stream), cudaErrorInvalidResourceHandle);
    cr_expect_eq(cudaStreamEndCapture(stream, &graph), cudaErrorIllegalState);
    cr_expect_eq(cudaStreamBeginCapture(NULL, cudaStreamCaptureModeThreadLocal),
                 cudaErrorStreamCaptureUnsupported);
    cr_expect_eq(cudaGraphLaunch(NULL, stream), cudaErrorInvalidValue);
    cr_expect_eq(cudaSetDevice(1), cudaErrorInvalidDevice);
    cr_expect_eq(cudaGetLastError(), cudaErrorInvalidDevice);
    cr_expect_eq(cudaGetLastError(), cudaSuccess);
}

Test(hostcuda_runtime, memory_is_bounded) {
    size_t n_free, total;
    void *memory;
    hostcuda_has.memory = 1 << 20;
    cr_expect_eq(cudaMalloc(&memory, 1 << 20), cudaErrorMemoryAllocation, "1024 bytes are taken");
    cr_expect_null(memory);
    cr_expect_eq(cudaMalloc(&memory, (1 << 20) - 1024), cudaSuccess);
    cr_expect_eq(cudaMemGetInfo(&n_free, &total), cudaSuccess);
    cr_expect_eq(n_free, 0);
    cr_expect_eq(total, 1 << 20);
    cudaFree(memory);
    cr_expect_eq(cudaMalloc(&memory, 1 << 19), cudaSuccess);
}

/* ---- captures ---- */

static void add_one(void *context) { ++**(int **)context; }

Test(hostcuda_runtime, a_graph_is_recorded_and_replayed) {
    cudaGraph_t graph;
    cudaGraphExec_t exec;
    int got = 0, *at = (int *)(void *)device;
    cudaMemsetAsync(device, 0, 4, stream);
    cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal);
    for (int i = 0; i < 2; i++) hostcuda_enqueue_kernel(stream, add_one, &at, sizeof at, 0);
    cr_assert_eq(cudaStreamEndCapture(stream, &graph), cudaSuccess);
    cr_assert_eq(cudaGraphInstantiate(&exec, graph, 0), cudaSuccess);
    cudaGraphDestroy(graph);
    for (int i = 0; i < 3; i++) cr_expect_eq(cudaGraphLaunch(exec, stream), cudaSuccess);
    cudaGraphExecDestroy(exec); /* what has been launched runs all the same */
    down(&got, device, 4);
    cudaStreamSynchronize(stream);
    cr_expect_eq(got, 6, "%d", got);
}

static cudaError_t wait_for_it(void) { return cudaStreamSynchronize(stream); }
static cudaError_t allocate(void) { return cudaMalloc((void **)&freed, 8); }
static cudaError_t release(void) { return cudaFree(device); }
static cudaError_t pin(void) { return cudaHostAlloc((void **)&freed, 8, 0); }
static cudaError_t use_legacy_stream(void) { return hostcuda_legacy(); }

Test(hostcuda_runtime, calls_that_spoil_a_capture) {
    static cudaError_t (*const calls[])(void) = { wait_for_it, allocate, release, pin,
                                                  use_legacy_stream };
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        cudaGraph_t graph = (cudaGraph_t)device;
        int *at = (int *)(void *)device, alive = hostcuda_n_alive();
        cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal);
        cudaError_t code = calls[i]();
        cr_expect_eq(code, calls[i] == use_legacy_stream ? cudaErrorStreamCaptureImplicit
                                                         : cudaErrorStreamCaptureUnsupported);
        cr_expect_eq(hostcuda_enqueue_kernel(stream, add_one, &at, sizeof at, 0),
                     cudaErrorStreamCaptureInvalidated);
        cr_expect_eq(cudaStreamEndCapture(stream, &graph), cudaErrorStreamCaptureInvalidated);
        cr_expect_null(graph);
        cr_expect_eq(hostcuda_n_alive(), alive);
        cr_expect_eq(cudaStreamSynchronize(stream), cudaSuccess, "and out of it");
    }
}

Test(hostcuda_runtime, errors_of_kernels_stay) {
    int *at = (int *)(void *)device;
    hostcuda_has.fails = cudaErrorIllegalAddress;
    cr_expect_eq(hostcuda_enqueue_kernel(stream, add_one, &at, sizeof at, 0), cudaSuccess);
    cr_expect_eq(cudaStreamSynchronize(stream), cudaErrorIllegalAddress);
    cr_expect_eq(cudaGetLastError(), cudaErrorIllegalAddress);
    cr_expect_eq(cudaFree(device), cudaErrorIllegalAddress);
    cr_expect_eq(hostcuda_enqueue_kernel(stream, add_one, &at, sizeof at, 0),
                 cudaErrorIllegalAddress);
}

/* ---- cuBLAS handles ---- */

Test(hostcuda_runtime, a_new_stream_takes_the_workspace_away) {
    cublasHandle_t handle = NULL;
    cr_assert_eq(cublasCreate(&handle), CUBLAS_STATUS_SUCCESS);
    cr_expect_eq(cublasSetWorkspace(handle, device, 1000), CUBLAS_STATUS_SUCCESS);
    cr_expect_eq(hostcuda_blas_of(handle).workspace_bytes, 1000);
    cr_expect_eq(cublasSetStream(handle, stream), CUBLAS_STATUS_SUCCESS);
    cr_expect_eq(hostcuda_blas_of(handle).workspace_bytes, 0);
    cr_expect_eq(cublasSetWorkspace(handle, device + 8, 100), CUBLAS_STATUS_INVALID_VALUE);
    cr_expect_eq(cublasSetWorkspace(handle, device, 1001), CUBLAS_STATUS_INVALID_VALUE);
    cr_expect_eq(cublasSetStream(handle, (cudaStream_t)device), CUBLAS_STATUS_INVALID_VALUE);
    cr_expect_eq(cublasSetMathMode(handle, (cublasMath_t)99), CUBLAS_STATUS_INVALID_VALUE);
    cr_expect_eq(cublasDestroy(handle), CUBLAS_STATUS_SUCCESS);
    cr_expect_eq(cublasDestroy(handle), CUBLAS_STATUS_NOT_INITIALIZED);
    cr_expect_eq(cublasCreate(NULL), CUBLAS_STATUS_INVALID_VALUE);
}
