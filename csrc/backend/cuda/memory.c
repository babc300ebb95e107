/* memory.c: device memory, and the ways to it and back.
 *
 * Uploads go through pinned memory of our own. From pageable memory CUDA may or may not wait for
 * the stream, and may or may not have read the source on return; so both are known. */
#include <string.h>

#include "cuda_impl.h"

enum { STAGING_ALIGN = 64 };

static kp_status out_of_memory(const kp_cuda_backend *c, size_t bytes, const char *what,
                               kp_err *err) {
    size_t n_free = 0, total = 0;
    cudaGetLastError();
    kp_status st = KP_CUDA_CALL(c, err, cudaMemGetInfo, &n_free, &total);
    if (st) return st;
    return kp_fail(err, KP_BAD_CONFIG,
                   "%s: %.1f MB asked for, %.1f MB of cuda:%d's %.1f MB are free; lower "
                   "population.size, buffer.transitions or dqn.batch",
                   what, (double)bytes * 1e-6, (double)n_free * 1e-6, c->device,
                   (double)total * 1e-6);
}

kp_status kp_cuda_alloc_undefined(kp_cuda_backend *c, void **memory, size_t bytes, const char *what,
                                  kp_err *err) {
    cudaError_t code = cudaMalloc(memory, bytes ? bytes : 1);
    if (code == cudaErrorMemoryAllocation) return out_of_memory(c, bytes, what, err);
    kp_status st = kp_cuda_check(c, code, "cudaMalloc", err);
    if (st) kp_err_prefix(err, "%s, %zu bytes: ", what, bytes);
    return st;
}

kp_status kp_cuda_alloc(void *impl, void **memory, size_t bytes, const char *what, kp_err *err) {
    kp_cuda_backend *c = impl;
    void *p = NULL;
    kp_status st = kp_cuda_enter(c, err);
    if (!st) st = kp_cuda_alloc_undefined(c, &p, bytes, what, err);
    if (!st && bytes) st = KP_CUDA_CALL(c, err, cudaMemsetAsync, p, 0, bytes, c->stream);
    if (st && p) cudaFree(p), p = NULL;
    *memory = p;
    return st;
}

/* cudaFree waits for what still uses the memory. */
void kp_cuda_release(void *impl, void *memory) {
    if (!kp_cuda_enter(impl, NULL)) cudaFree(memory);
}

kp_status kp_staging_open(kp_cuda_backend *c, kp_err *err) {
    kp_staging *s = &c->staging;
    void *memory = NULL;
    kp_status st = KP_CUDA_CALL(c, err, cudaHostAlloc, &memory,
                                (size_t)KP_STAGING_SEGMENTS * KP_STAGING_BYTES,
                                cudaHostAllocDefault);
    if (!st) s->memory = memory;
    for (int i = 0; !st && i < KP_STAGING_SEGMENTS; i++)
        st = KP_CUDA_CALL(c, err, cudaEventCreateWithFlags, &s->done[i], cudaEventDisableTiming);
    return st;
}

void kp_staging_close(kp_cuda_backend *c) {
    for (int i = 0; i < KP_STAGING_SEGMENTS; i++)
        if (c->staging.done[i]) cudaEventDestroy(c->staging.done[i]);
    if (c->staging.memory) cudaFreeHost(c->staging.memory);
}

/* Leaves a full segment for the next, which is free once the copies of the last round are done. */
static kp_status next_segment(kp_cuda_backend *c, kp_err *err) {
    kp_staging *s = &c->staging;
    kp_status st = KP_CUDA_CALL(c, err, cudaEventRecord, s->done[s->segment], c->stream);
    if (st) return st;
    s->segment = (s->segment + 1) % KP_STAGING_SEGMENTS;
    s->used = 0;
    return KP_CUDA_CALL(c, err, cudaEventSynchronize, s->done[s->segment]);
}

kp_status kp_cuda_upload(void *impl, void *to, const void *from, size_t bytes, kp_err *err) {
    kp_cuda_backend *c = impl;
    kp_staging *s = &c->staging;
    kp_status st = kp_cuda_enter(c, err);
    for (size_t done = 0, n; !st && done < bytes; done += n) {
        if (s->used == KP_STAGING_BYTES) st = next_segment(c, err);
        if (st) break;
        n = bytes - done;
        if (n > KP_STAGING_BYTES - s->used) n = KP_STAGING_BYTES - s->used;
        char *room = s->memory + (size_t)s->segment * KP_STAGING_BYTES + s->used;
        memcpy(room, (const char *)from + done, n);
        s->used += (n + STAGING_ALIGN - 1) / STAGING_ALIGN * STAGING_ALIGN;
        st = KP_CUDA_CALL(c, err, cudaMemcpyAsync, (char *)to + done, room, n,
                          cudaMemcpyHostToDevice, c->stream);
    }
    if (st) kp_err_prefix(err, "upload of %zu bytes: ", bytes);
    return st;
}

kp_status kp_cuda_download(void *impl, void *to, const void *from, size_t bytes, kp_err *err) {
    kp_cuda_backend *c = impl;
    kp_status st = kp_cuda_enter(c, err);
    if (!st && bytes)
        st = KP_CUDA_CALL(c, err, cudaMemcpyAsync, to, from, bytes, cudaMemcpyDeviceToHost,
                          c->stream);
    if (!st) st = KP_CUDA_CALL(c, err, cudaStreamSynchronize, c->stream);
    if (st) kp_err_prefix(err, "download of %zu bytes: ", bytes);
    return st;
}

kp_status kp_cuda_sync(void *impl, kp_err *err) {
    kp_cuda_backend *c = impl;
    kp_status st = kp_cuda_enter(c, err);
    return st ? st : KP_CUDA_CALL(c, err, cudaStreamSynchronize, c->stream);
}
