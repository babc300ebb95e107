/* readback.c: a ring of landings. */
#include "readback.h"

#include <assert.h>
#include <stdlib.h>

#include "backend_impl.h"

enum { PLACES = KP_READBACK_LATE + 1 };

struct kp_readback {
    kp_backend *backend;
    const void *from;
    size_t bytes;
    int late;
    void *landing[PLACES];
    int64_t tag[PLACES];
    uint64_t posted, taken;
};

kp_status kp_readback_open(kp_readback **out, kp_backend *b, const void *from, size_t bytes,
                           kp_err *err) {
    *out = NULL;
    kp_readback *r = calloc(1, sizeof *r);
    if (!r) return kp_fail(err, KP_BAD_CONFIG, "results: out of host memory");
    r->backend = b, r->from = from, r->bytes = bytes;
    r->late = kp_backend_kind(b) == KP_CPU ? 0 : KP_READBACK_LATE;
    kp_status st = KP_OK;
    for (int i = 0; !st && i < PLACES; i++)
        st = b->ops->landing_open(b->impl, &r->landing[i], bytes, err);
    if (st) {
        kp_readback_close(r);
        return st;
    }
    *out = r;
    return KP_OK;
}

kp_status kp_readback_post(kp_readback *r, int64_t tag, kp_err *err) {
    assert(r->posted - r->taken < PLACES);
    int i = (int)(r->posted % PLACES);
    kp_status st = r->backend->ops->land(r->backend->impl, r->landing[i], r->from, r->bytes, err);
    if (st) return st;
    r->tag[i] = tag;
    r->posted++;
    return KP_OK;
}

kp_status kp_readback_take(kp_readback *r, int drain, const void **data, int64_t *tag,
                           kp_err *err) {
    *data = NULL;
    if (r->posted - r->taken <= (uint64_t)(drain ? 0 : r->late)) return KP_OK;
    int i = (int)(r->taken % PLACES);
    kp_status st = r->backend->ops->landed(r->backend->impl, r->landing[i], data, err);
    if (st) return st;
    *tag = r->tag[i];
    r->taken++;
    return KP_OK;
}

void kp_readback_close(kp_readback *r) {
    if (!r) return;
    for (int i = 0; i < PLACES; i++)
        if (r->landing[i]) r->backend->ops->landing_close(r->backend->impl, r->landing[i]);
    free(r);
}
