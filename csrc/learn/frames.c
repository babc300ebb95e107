/* frames.c: passes on what the ring says is new. */
#include "frames.h"

#include <stdlib.h>

struct kp_frames {
    kp_ring *ring;
    kp_mirror *mirror;
};

kp_status kp_frames_open(kp_frames **out, kp_backend *backend, kp_ring *ring, const char *what,
                         kp_err *err) {
    *out = NULL;
    kp_frames *f = calloc(1, sizeof *f);
    if (!f) return kp_fail(err, KP_BAD_CONFIG, "%s: out of host memory", what);
    f->ring = ring;
    size_t bytes = (size_t)kp_ring_frames_stride(ring) * (size_t)kp_ring_get_options(ring)->P;
    kp_status st = kp_mirror_open(&f->mirror, backend, kp_ring_frames(ring), bytes, what, err);
    if (st) free(f), f = NULL;
    *out = f;
    return st;
}

const uint8_t *kp_frames_memory(const kp_frames *f) { return kp_mirror_memory(f->mirror); }
const char *kp_frames_where(const kp_frames *f) { return kp_mirror_where(f->mirror); }

kp_status kp_frames_await(kp_frames *f, kp_err *err) { return kp_mirror_await(f->mirror, err); }

kp_status kp_frames_refresh(kp_frames *f, kp_err *err) {
    size_t at = 0, bytes = 0;
    kp_status st = KP_OK;
    while (!st && kp_ring_fresh(f->ring, &at, &bytes))
        st = kp_mirror_refresh(f->mirror, at, bytes, err);
    return st;
}

void kp_frames_close(kp_frames *f) {
    if (!f) return;
    kp_mirror_close(f->mirror);
    free(f);
}
