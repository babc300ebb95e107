/* mirror.c: a copy, or a mapping. */
#include "mirror.h"

#include <stdlib.h>

#include "backend_impl.h"

struct kp_mirror {
    kp_backend *backend;
    char *host;
    void *device;
    int is_copy;
};

/* Weights, activations and what other programs keep need room too, and come later. */
static const double MOST_OF_FREE = 0.6;

kp_status kp_mirror_open(kp_mirror **out, kp_backend *b, void *host, size_t bytes, const char *what,
                         kp_err *err) {
    *out = NULL;
    kp_mirror *m = calloc(1, sizeof *m);
    if (!m) return kp_fail(err, KP_BAD_CONFIG, "%s: out of host memory", what);
    m->backend = b;
    m->host = host;
    m->is_copy = (double)bytes <= MOST_OF_FREE * (double)b->ops->available(b->impl);
    kp_status st = m->is_copy ? kp_backend_alloc(b, &m->device, bytes, what, err)
                              : b->ops->map(b->impl, host, bytes, &m->device, err);
    if (st) free(m), m = NULL;
    *out = m;
    return st;
}

const void *kp_mirror_memory(const kp_mirror *m) { return m->device; }

const char *kp_mirror_where(const kp_mirror *m) {
    if (m->is_copy) return "device memory";
    return kp_backend_kind(m->backend) == KP_CPU ? "host memory"
                                                 : "page-locked host memory, read over the bus";
}

kp_status kp_mirror_await(kp_mirror *m, kp_err *err) {
    return m->is_copy ? KP_OK : kp_backend_sync(m->backend, err);
}

kp_status kp_mirror_refresh(kp_mirror *m, size_t at, size_t bytes, kp_err *err) {
    if (!m->is_copy) return KP_OK;
    return kp_backend_upload(m->backend, (char *)m->device + at, m->host + at, bytes, err);
}

void kp_mirror_close(kp_mirror *m) {
    if (!m) return;
    if (m->is_copy) kp_backend_release(m->backend, m->device);
    else m->backend->ops->unmap(m->backend->impl, m->host);
    free(m);
}
