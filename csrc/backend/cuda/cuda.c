/* cuda.c: opening a GPU, and the table. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "cuda_impl.h"
#include "requirements.h"

void kp_cuda_note(kp_cuda_backend *c, const char *format, ...) {
    char *line = NULL;
    va_list list;
    va_start(list, format);
    if (vasprintf(&line, format, list) < 0) line = NULL;
    va_end(list);
    char **lines = line ? realloc(c->notes.line, (size_t)(c->notes.n + 1) * sizeof *lines) : NULL;
    if (lines) c->notes.line = lines, lines[c->notes.n++] = line;
    else free(line);
}

static const char *cuda_note(const void *impl, int i) {
    const kp_cuda_notes *notes = &((const kp_cuda_backend *)impl)->notes;
    return i < notes->n ? notes->line[i] : NULL;
}

static kp_status cuda_keep_choices(void *impl, const char *folder, kp_err *err) {
    kp_cuda_backend *c = impl;
    if (snprintf(c->choices_folder, KP_PATH, "%s", folder) < KP_PATH) return KP_OK;
    return kp_fail(err, KP_STORAGE, "%.200s...: the path is longer than %d bytes", folder,
                   KP_PATH - 1);
}

static kp_status cuda_set_precision(void *impl, kp_precision precision, kp_err *err) {
    kp_cuda_backend *c = impl;
    (void)err;
    c->precision = precision;
#ifdef KAPPA_HAVE_CUDNN
    return kp_cuda_conv_set_precision(c, err);
#else
    return KP_OK;
#endif
}

static void cuda_close(void *impl) {
    kp_cuda_backend *c = impl;
    int is_there = !kp_cuda_enter(c, NULL);
    if (is_there && c->stream) cudaStreamSynchronize(c->stream);
#ifdef KAPPA_HAVE_CUDNN
    kp_cuda_conv_close(c);
#endif
    if (is_there) {
        kp_staging_close(c);
        if (c->blas) cublasDestroy(c->blas);
        if (c->workspace) cudaFree(c->workspace);
        if (c->stream) cudaStreamDestroy(c->stream);
    }
    for (int i = 0; i < c->notes.n; i++) free(c->notes.line[i]);
    free(c->notes.line);
    free(c);
}

/* Default mode: a product has the precision that it is asked for by (NVIDIA allows TF32 and
 * emulation by modes of their own only). Pedantic mode would promise no more here, and leaves out
 * faster kernels. */
static kp_status set_math_mode(kp_cuda_backend *c, kp_err *err) {
    return KP_CUBLAS_CALL(c, err, cublasSetMathMode, c->blas, CUBLAS_DEFAULT_MATH);
}

/* A workspace of our own, set after the stream, which takes it away: cuBLAS then allocates nothing,
 * so that it can be captured, and gives the same bits in every run. Sizes: what NVIDIA recommends
 * from Hopper on, and its default pool before. */
static kp_status open_blas(kp_cuda_backend *c, int major, kp_err *err) {
    size_t bytes = (size_t)(major >= 9 ? 32 : 8) << 20;
    kp_status st = KP_CUBLAS_CALL(c, err, cublasCreate, &c->blas);
    if (!st) st = KP_CUBLAS_CALL(c, err, cublasSetStream, c->blas, c->stream);
    if (!st) st = kp_cuda_alloc_undefined(c, &c->workspace, bytes, "workspace of cuBLAS", err);
    if (!st) st = KP_CUBLAS_CALL(c, err, cublasSetWorkspace, c->blas, c->workspace, bytes);
    return st ? st : set_math_mode(c, err);
}

static kp_status cuda_open(void **impl, int device, int n_threads, kp_err *err) {
    (void)n_threads;
    *impl = NULL;
    kp_status st = kp_cuda_require(device, err);
    if (st) {
        kp_err_prefix(err, "device cuda:%d: ", device);
        return st;
    }
    kp_cuda_backend *c = calloc(1, sizeof *c);
    if (!c) return kp_fail(err, KP_BAD_CONFIG, "out of host memory");
    struct cudaDeviceProp device_is;
    int driver = 0;
    c->device = device;
    st = kp_cuda_enter(c, err);
    if (!st) st = KP_CUDA_CALL(c, err, cudaGetDeviceProperties, &device_is, device);
    if (!st) st = KP_CUDA_CALL(c, err, cudaDriverGetVersion, &driver);
    if (!st)
        st = KP_CUDA_CALL(c, err, cudaStreamCreateWithFlags, &c->stream, cudaStreamNonBlocking);
    if (!st) st = open_blas(c, device_is.major, err);
    if (!st) st = kp_staging_open(c, err);
#ifdef KAPPA_HAVE_CUDNN
    if (!st) st = kp_cuda_conv_open(c, err);
#endif
    if (st) {
        cuda_close(c);
        return st;
    }
    snprintf(c->description, sizeof c->description, "cuda:%d, %.100s, sm_%d%d, driver %d.%d",
             device, device_is.name, device_is.major, device_is.minor, driver / 1000,
             driver % 1000 / 10);
    *impl = c;
    return KP_OK;
}

static void cuda_describe(const void *impl, char *text, size_t size) {
    snprintf(text, size, "%s", ((const kp_cuda_backend *)impl)->description);
}

const kp_backend_ops kp_backend_cuda = {
    .kind = KP_CUDA,
    .name = "cuda",
    .open = cuda_open,
    .close = cuda_close,
    .describe = cuda_describe,
    .note = cuda_note,
    .keep_choices = cuda_keep_choices,
    .set_precision = cuda_set_precision,
    .alloc = kp_cuda_alloc,
    .release = kp_cuda_release,
    .upload = kp_cuda_upload,
    .download = kp_cuda_download,
    .sync = kp_cuda_sync,
    .available = kp_cuda_available,
    .map = kp_cuda_map,
    .unmap = kp_cuda_unmap,
    .landing_open = kp_cuda_landing_open,
    .land = kp_cuda_land,
    .landed = kp_cuda_landed,
    .landing_close = kp_cuda_landing_close,
    .plan = kp_cuda_plan,
    .run = kp_cuda_run,
    .unplan = kp_cuda_unplan,
};
