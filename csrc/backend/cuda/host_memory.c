/* host_memory.c: host memory that the device reads (mirror.h), and that its results go to
 * (readback.h). */
#include <stdlib.h>

#include "cuda_impl.h"

size_t kp_cuda_available(void *impl) {
    size_t n_free = 0, total = 0;
    if (kp_cuda_enter(impl, NULL) || cudaMemGetInfo(&n_free, &total)) return 0;
    return n_free;
}

kp_status kp_cuda_map(void *impl, void *host, size_t bytes, void **device, kp_err *err) {
    kp_cuda_backend *c = impl;
    kp_status st = kp_cuda_enter(c, err);
    if (!st) st = KP_CUDA_CALL(c, err, cudaHostRegister, host, bytes, cudaHostRegisterMapped);
    if (st) {
        kp_err_prefix(err, "page-locking %.1f MB of host memory (limit: ulimit -l): ",
                      (double)bytes * 1e-6);
        return st;
    }
    st = KP_CUDA_CALL(c, err, cudaHostGetDevicePointer, device, host, 0);
    if (st) cudaHostUnregister(host);
    return st;
}

void kp_cuda_unmap(void *impl, void *host) {
    kp_cuda_backend *c = impl;
    if (kp_cuda_enter(c, NULL)) return;
    cudaStreamSynchronize(c->stream);
    cudaHostUnregister(host);
}

typedef struct {
    void *memory; /* pinned: else the copy would make the host wait */
    cudaEvent_t done;
} landing;

kp_status kp_cuda_landing_open(void *impl, void **out, size_t bytes, kp_err *err) {
    kp_cuda_backend *c = impl;
    *out = NULL;
    landing *l = calloc(1, sizeof *l);
    if (!l) return kp_fail(err, KP_BAD_CONFIG, "results: out of host memory");
    kp_status st = kp_cuda_enter(c, err);
    if (!st) st = KP_CUDA_CALL(c, err, cudaHostAlloc, &l->memory, bytes, cudaHostAllocDefault);
    if (!st) st = KP_CUDA_CALL(c, err, cudaEventCreateWithFlags, &l->done, cudaEventDisableTiming);
    if (st) kp_cuda_landing_close(c, l);
    else *out = l;
    return st;
}

kp_status kp_cuda_land(void *impl, void *to, const void *from, size_t bytes, kp_err *err) {
    kp_cuda_backend *c = impl;
    landing *l = to;
    kp_status st = kp_cuda_enter(c, err);
    if (!st)
        st = KP_CUDA_CALL(c, err, cudaMemcpyAsync, l->memory, from, bytes, cudaMemcpyDeviceToHost,
                          c->stream);
    return st ? st : KP_CUDA_CALL(c, err, cudaEventRecord, l->done, c->stream);
}

kp_status kp_cuda_landed(void *impl, void *from, const void **data, kp_err *err) {
    kp_cuda_backend *c = impl;
    landing *l = from;
    kp_status st = kp_cuda_enter(c, err);
    if (!st) st = KP_CUDA_CALL(c, err, cudaEventSynchronize, l->done);
    *data = st ? NULL : l->memory;
    return st;
}

void kp_cuda_landing_close(void *impl, void *memory) {
    landing *l = memory;
    if (!kp_cuda_enter(impl, NULL)) {
        if (l->done) cudaEventDestroy(l->done);
        if (l->memory) cudaFreeHost(l->memory); /* waits for a copy to it */
    }
    free(l);
}
