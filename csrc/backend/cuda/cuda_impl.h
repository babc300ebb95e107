/* cuda_impl.h: the inside of the CUDA backend, for this folder only.
 *
 * All work goes on one stream, so that it happens in the order in which it was asked for, and nothing
 * but download, sync and a full staging ring makes the host wait for it. */
#pragma once
#include <cublas_v2.h>
#include <cuda_runtime_api.h>

#include "backend/backend_impl.h"
#include "base/files.h"

enum {
    KP_STAGING_SEGMENTS = 4,
    KP_STAGING_BYTES = 1 << 20, /* of a segment: some 30 us of PCIe */
};

/* Pinned memory on the way to the device. What is copied out of it is read later, so a segment is
 * written again only when the copies out of it are done. */
typedef struct {
    char *memory; /* [segments][bytes] */
    int segment;  /* that is being filled */
    size_t used;  /* of it */
    cudaEvent_t done[KP_STAGING_SEGMENTS]; /* the last copy out of a segment that was left */
} kp_staging;

/* What the user may want to know of choices made, a line each. */
typedef struct {
    char **line; /* owned */
    int n;
} kp_cuda_notes;

typedef struct {
    int device;
    char description[192];
    cudaStream_t stream;
    cublasHandle_t blas;
    kp_precision precision;
    void *workspace; /* of cuBLAS */
    kp_staging staging;
    struct kp_conv_engine *conv; /* NULL: none */
    char choices_folder[KP_PATH]; /* of the run; "": none */
    kp_cuda_notes notes;
    const char *last; /* name of the program that was run last; NULL: none, or it is closed */
} kp_cuda_backend;

/* memory.c */
kp_status kp_staging_open(kp_cuda_backend *c, kp_err *err);
void kp_staging_close(kp_cuda_backend *c);
kp_status kp_cuda_alloc(void *impl, void **memory, size_t bytes, const char *what, kp_err *err);
kp_status kp_cuda_alloc_undefined(kp_cuda_backend *c, void **memory, size_t bytes, const char *what,
                                  kp_err *err); /* as alloc, but the contents are undefined */
void kp_cuda_release(void *impl, void *memory);
kp_status kp_cuda_upload(void *impl, void *to, const void *from, size_t bytes, kp_err *err);
kp_status kp_cuda_download(void *impl, void *to, const void *from, size_t bytes, kp_err *err);
kp_status kp_cuda_sync(void *impl, kp_err *err);

/* host_memory.c */
size_t kp_cuda_available(void *impl);
kp_status kp_cuda_map(void *impl, void *host, size_t bytes, void **device, kp_err *err);
void kp_cuda_unmap(void *impl, void *host);
kp_status kp_cuda_landing_open(void *impl, void **landing, size_t bytes, kp_err *err);
kp_status kp_cuda_land(void *impl, void *landing, const void *from, size_t bytes, kp_err *err);
kp_status kp_cuda_landed(void *impl, void *landing, const void **data, kp_err *err);
void kp_cuda_landing_close(void *impl, void *landing);

/* conv_engine.c: convolutions of one member by cuDNN, which is looked for when the first is planned. The
 * variable KAPPA_CONV is auto (or not set), cudnn or im2col; KP_BAD_CONFIG: it is something else. */
#ifdef KAPPA_HAVE_CUDNN
kp_status kp_cuda_conv_open(kp_cuda_backend *c, kp_err *err);
/* Of the backend, before anything is planned. cuDNN has no bf16 for float32 images: products do without it;
 * KP_BAD_CONFIG where it is asked for. */
kp_status kp_cuda_conv_set_precision(kp_cuda_backend *c, kp_err *err);
void kp_cuda_conv_close(kp_cuda_backend *c);
#endif

/* cuda.c: adds a line; without memory for it there is none. */
void kp_cuda_note(kp_cuda_backend *c, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* plan.c: what record puts on the stream becomes a graph and is not done. It may not wait or allocate. */
typedef kp_status kp_cuda_record(const kp_cuda_backend *c, const void *what, kp_err *err);
kp_status kp_cuda_make_graph(const kp_cuda_backend *c, kp_cuda_record *record, const void *what,
                             cudaGraphExec_t *exec, kp_err *err);
kp_status kp_cuda_plan(void *impl, kp_program *program, kp_err *err);
kp_status kp_cuda_run(void *impl, kp_program *program, int n, const uint8_t *active, kp_err *err);
void kp_cuda_unplan(void *impl, kp_program *program);

/* errors.c: KP_OK, or KP_DEVICE with the device, the call and what CUDA says of it. */
kp_status kp_cuda_check(const kp_cuda_backend *c, cudaError_t code, const char *call, kp_err *err);
kp_status kp_cublas_check(const kp_cuda_backend *c, cublasStatus_t code, const char *call,
                          kp_err *err);

#define KP_CUDA_CALL(c, err, function, ...)   kp_cuda_check(c, function(__VA_ARGS__), #function, err)
#define KP_CUBLAS_CALL(c, err, function, ...) kp_cublas_check(c, function(__VA_ARGS__), #function, err)

/* The thread's device; every function of the table begins with it. */
kp_status kp_cuda_enter(const kp_cuda_backend *c, kp_err *err);

/* cublas.c: loads the library, once in a process; found is where it lies. */
kp_status kp_cublas_load(char *found, size_t size, kp_err *err);
