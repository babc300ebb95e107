/* idx.c: IDX, the format of MNIST: 0, 0, type, dimensions; each dimension in 32 bits, elements, all
 * big endian. */
#include <string.h>

#include "array.h"
#include "source.h"

static uint32_t big_endian(const uint8_t *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static kp_status read_head(kp_array *a, kp_source *s, const char *path, kp_err *err) {
    uint8_t magic[4], dims[4 * KP_ARRAY_DIMS];
    kp_status st = kp_source_take(s, magic, 4, "its magic number", err);
    if (st) return st;
    if (magic[0] || magic[1])
        return kp_fail(err, KP_BAD_DATA,
                       "%s: begins with %02x%02x%02x%02x, expected the magic number of IDX, as "
                       "00000803 (images) or 00000801 (labels)",
                       path, magic[0], magic[1], magic[2], magic[3]);
    switch (magic[2]) {
    case 0x08: a->type = KP_U8; break;
    case 0x0c: a->type = KP_I32; break;
    case 0x0d: a->type = KP_F32; break;
    default:
        return kp_fail(err, KP_BAD_DATA,
                       "%s: elements of type %02x, expected 08 (unsigned bytes), 0c (int32) or 0d "
                       "(float32)",
                       path, magic[2]);
    }
    a->n_dims = magic[3];
    if (a->n_dims < 1 || a->n_dims > KP_ARRAY_DIMS)
        return kp_fail(err, KP_BAD_DATA, "%s: %d dimensions, expected 1 to %d", path, a->n_dims,
                       KP_ARRAY_DIMS);
    st = kp_source_take(s, dims, 4 * (size_t)a->n_dims, "its dimensions", err);
    for (int i = 0; i < a->n_dims && !st; i++) a->shape[i] = big_endian(dims + (size_t)4 * i);
    return st;
}

kp_status kp_idx_read(kp_array *a, const char *path, const char *md5, kp_err *err) {
    kp_source *s = NULL;
    uint64_t bytes = 0;
    *a = (kp_array){ 0 };
    kp_status st = kp_source_open(&s, path, md5 != NULL, err);
    if (!st) st = read_head(a, s, path, err);
    if (!st) st = kp_array_measure(a, &bytes, path, err);
    if (!st) st = kp_array_fill(a, bytes, s, path, err);
    if (!st && md5) st = kp_source_check_md5(s, md5, err);
    if (!st && a->type != KP_U8)
        for (int64_t i = 0; i < a->n; i++) {
            uint32_t x = big_endian((const uint8_t *)a->data + 4 * i);
            memcpy((uint8_t *)a->data + 4 * i, &x, 4);
        }
    kp_source_close(s);
    if (st) kp_array_free(a);
    return st;
}
