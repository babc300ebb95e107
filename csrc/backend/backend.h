/* backend.h: where a population lives and computes. The engine knows a backend by this table.
 *
 *     kp_backend *be = NULL;
 *     st = kp_backend_open(&be, "auto", 0, &err);
 *     float *theta = NULL;
 *     if (!st) st = kp_backend_alloc(be, (void **)&theta, bytes, "weights", &err);
 *     ...
 *     kp_backend_close(be);         frees what it allocated */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "program.h"

typedef enum { KP_CPU, KP_CUDA } kp_device_kind;

/* One row for each backend. All functions are called from one thread. */
typedef struct {
    kp_device_kind kind;
    const char *name; /* "cpu", "cuda" */

    /* KP_DEVICE, with what to do, where the device or its libraries are missing or too old. */
    kp_status (*open)(void **impl, int device, int n_threads, kp_err *err);
    void (*close)(void *impl);
    void (*describe)(const void *impl, char *text, size_t size); /* of what it runs on, one line */
    const char *(*note)(const void *impl, int i); /* kp_backend_note; NULL: there are none */
    kp_status (*keep_choices)(void *impl, const char *folder, kp_err *err); /* NULL: it makes none */
    kp_status (*set_precision)(void *impl, kp_precision precision, kp_err *err); /* NULL: fp32 alone */

    /* Zeroed, 64-byte aligned. KP_BAD_CONFIG says what was asked, what was free, which setting lowers it. */
    kp_status (*alloc)(void *impl, void **memory, size_t bytes, const char *what, kp_err *err);
    void (*release)(void *impl, void *memory);

    /* Any host memory. After upload, from_host may be written again; after download, the data are
     * there. In order with run. */
    kp_status (*upload)(void *impl, void *to, const void *from_host, size_t bytes, kp_err *err);
    kp_status (*download)(void *impl, void *to_host, const void *from, size_t bytes, kp_err *err);
    kp_status (*sync)(void *impl, kp_err *err); /* waits for all that was asked for */

    /* What mirror.h and readback.h are made of. available: bytes of memory that mirrors may copy into,
     * 0 where programs read host memory anyway. map: page-aligned host memory at an address that
     * programs can read. A landing is host memory that a copy goes to while the host goes on: land
     * begins it, in order with run; landed waits until it is there. */
    size_t (*available)(void *impl);
    kp_status (*map)(void *impl, void *host, size_t bytes, void **device, kp_err *err);
    void (*unmap)(void *impl, void *host);
    kp_status (*landing_open)(void *impl, void **landing, size_t bytes, kp_err *err);
    kp_status (*land)(void *impl, void *landing, const void *from, size_t bytes, kp_err *err);
    kp_status (*landed)(void *impl, void *landing, const void **data, kp_err *err);
    void (*landing_close)(void *impl, void *landing);

    /* plan: from the sealed list of operations to whatever run needs (scratch, a graph). run: n times. */
    kp_status (*plan)(void *impl, kp_program *program, kp_err *err);
    kp_status (*run)(void *impl, kp_program *program, int n, const uint8_t *active, kp_err *err);
    void (*unplan)(void *impl, kp_program *program);
} kp_backend_ops;

/* device: "auto" (CUDA where one works, else the CPU), "cpu", "cuda" or "cuda:N".
 * n_threads: CPU threads, 0 for as many as the process may use. */
kp_status kp_backend_open(kp_backend **backend, const char *device, int n_threads, kp_err *err);
void kp_backend_close(kp_backend *backend);

kp_device_kind kp_backend_kind(const kp_backend *backend);
/* "cpu, 2 threads, AVX2"; "cuda:0, NVIDIA H100 80GB HBM3, sm_90, driver 13.0" */
const char *kp_backend_describe(const kp_backend *backend);
/* Lines for a log on choices made while programs were planned, oldest first; NULL after the last. */
const char *kp_backend_note(const kp_backend *backend, int i);
/* Before programs are planned: choices that results depend on to the last bit (which way a convolution is
 * done on a GPU) are taken from this folder where it has them, and kept in it. Made when there is one. */
kp_status kp_backend_keep_choices(kp_backend *backend, const char *folder, kp_err *err);
/* Before programs are planned; fp32 without. The description says it. KP_BAD_CONFIG: the backend has no such. */
kp_status kp_backend_set_precision(kp_backend *backend, kp_precision precision, kp_err *err);
const char *kp_precision_name(kp_precision precision); /* "fp32" */
int kp_backend_n_threads(const kp_backend *backend);

kp_status kp_backend_alloc(kp_backend *backend, void **memory, size_t bytes, const char *what,
                           kp_err *err);
void kp_backend_release(kp_backend *backend, void *memory); /* NULL is fine */
kp_status kp_backend_upload(kp_backend *backend, void *to, const void *from_host, size_t bytes,
                            kp_err *err);
kp_status kp_backend_download(kp_backend *backend, void *to_host, const void *from, size_t bytes,
                              kp_err *err);
kp_status kp_backend_sync(kp_backend *backend, kp_err *err);

extern const kp_backend_ops kp_backend_cpu;
#ifdef KAPPA_HAVE_CUDA
extern const kp_backend_ops kp_backend_cuda;
#endif
