/* backend.c: choosing a backend, and the bookkeeping that all of them share. */
#include "backend.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend_impl.h"
#include "base/pool.h"

static kp_status choose(const kp_backend_ops **ops, int *index, const char *device, kp_err *err) {
    *index = 0;
    if (!strcmp(device, "cpu")) {
        *ops = &kp_backend_cpu;
        return KP_OK;
    }
    if (!strncmp(device, "cuda", 4)) {
        char *end = NULL;
        if (device[4] == ':') *index = (int)strtol(device + 5, &end, 10);
        if (device[4] && (device[4] != ':' || end == device + 5 || *end || *index < 0))
            return kp_fail(err, KP_BAD_CONFIG, "device: '%s' is not auto, cpu, cuda or cuda:N",
                           device);
#ifdef KAPPA_HAVE_CUDA
        *ops = &kp_backend_cuda;
        return KP_OK;
#else
        return kp_fail(err, KP_DEVICE,
                       "device %s: this build has no CUDA backend (it is built where nvcc is); "
                       "use device=cpu",
                       device);
#endif
    }
    return kp_fail(err, KP_BAD_CONFIG, "device: '%s' is not auto, cpu, cuda or cuda:N", device);
}

kp_status kp_backend_open(kp_backend **backend, const char *device, int n_threads, kp_err *err) {
    *backend = NULL;
    kp_backend *b = calloc(1, sizeof *b);
    if (!b) return kp_fail(err, KP_BAD_CONFIG, "out of host memory");
    b->n_threads = n_threads > 0 ? n_threads : kp_cpus_allowed();

    int index = 0;
    kp_status st = KP_OK;
    if (!strcmp(device, "auto")) {
#ifdef KAPPA_HAVE_CUDA
        b->ops = &kp_backend_cuda;
        if (b->ops->open(&b->impl, 0, b->n_threads, NULL)) b->ops = NULL;
#endif
        if (!b->ops) device = "cpu";
    }
    if (!b->ops) {
        st = choose(&b->ops, &index, device, err);
        if (!st) st = b->ops->open(&b->impl, index, b->n_threads, err);
        if (st) {
            free(b);
            return st;
        }
    }
    b->ops->describe(b->impl, b->description, sizeof b->description);
    *backend = b;
    return KP_OK;
}

void kp_backend_close(kp_backend *b) {
    if (!b) return;
    for (int i = 0; i < b->n_memory; i++) b->ops->release(b->impl, b->memory[i]);
    free(b->memory);
    b->ops->close(b->impl);
    free(b);
}

kp_device_kind kp_backend_kind(const kp_backend *b) { return b->ops->kind; }
const char *kp_backend_describe(const kp_backend *b) { return b->description; }
const char *kp_backend_note(const kp_backend *b, int i) {
    return b->ops->note ? b->ops->note(b->impl, i) : NULL;
}
kp_status kp_backend_keep_choices(kp_backend *b, const char *folder, kp_err *err) {
    return b->ops->keep_choices ? b->ops->keep_choices(b->impl, folder, err) : KP_OK;
}
const char *kp_precision_name(kp_precision precision) {
    static const char *const name[] = { "fp32", "tf32", "bf16" };
    return name[precision];
}
kp_status kp_backend_set_precision(kp_backend *b, kp_precision precision, kp_err *err) {
    const char *name = kp_precision_name(precision);
    if (!b->ops->set_precision) {
        if (precision == KP_PRECISION_FP32) return KP_OK;
        return kp_fail(err, KP_BAD_CONFIG,
                       "precision: %s is for GPUs, and this is the %s; leave it out, or use "
                       "device=cuda",
                       name, b->ops->name);
    }
    kp_status st = b->ops->set_precision(b->impl, precision, err);
    size_t used = strlen(b->description);
    if (!st && precision != KP_PRECISION_FP32)
        snprintf(b->description + used, sizeof b->description - used, ", %s", name);
    return st;
}
int kp_backend_n_threads(const kp_backend *b) { return b->n_threads; }

kp_status kp_backend_alloc(kp_backend *b, void **memory, size_t bytes, const char *what,
                           kp_err *err) {
    *memory = NULL;
    if (b->n_memory == b->capacity) {
        int capacity = b->capacity ? 2 * b->capacity : 64;
        void **list = realloc(b->memory, (size_t)capacity * sizeof *list);
        if (!list) return kp_fail(err, KP_BAD_CONFIG, "out of host memory for %s", what);
        b->memory = list;
        b->capacity = capacity;
    }
    kp_status st = b->ops->alloc(b->impl, memory, bytes, what, err);
    if (!st) b->memory[b->n_memory++] = *memory;
    return st;
}

void kp_backend_release(kp_backend *b, void *memory) {
    if (!memory) return;
    for (int i = 0; i < b->n_memory; i++)
        if (b->memory[i] == memory) {
            b->memory[i] = b->memory[--b->n_memory];
            b->ops->release(b->impl, memory);
            return;
        }
}

kp_status kp_backend_upload(kp_backend *b, void *to, const void *from, size_t bytes, kp_err *err) {
    return b->ops->upload(b->impl, to, from, bytes, err);
}
kp_status kp_backend_download(kp_backend *b, void *to, const void *from, size_t bytes,
                              kp_err *err) {
    return b->ops->download(b->impl, to, from, bytes, err);
}
kp_status kp_backend_sync(kp_backend *b, kp_err *err) { return b->ops->sync(b->impl, err); }
