/* tensorboard.c: protobuf by hand. Event { 1: double wall_time, 2: int64 step, 3: string
 * file_version, 5: Summary }, Summary { 1: repeated Value }, Value { 1: string tag, 2: float
 * simple_value }. */
#include "tensorboard.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "append.h"

enum { MAX_TAG = 256, MAX_EVENT = MAX_TAG + 64, ROOM = 1 << 16 };

struct kp_tensorboard {
    kp_append file;
    uint32_t crc[256]; /* CRC-32C (Castagnoli), a byte at a time */
};

static void fill_table(uint32_t table[256]) {
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int bit = 0; bit < 8; bit++) c = c & 1 ? c >> 1 ^ 0x82f63b78u : c >> 1;
        table[i] = c;
    }
}

static uint32_t masked_crc(const kp_tensorboard *b, const uint8_t *bytes, size_t n) {
    uint32_t c = ~0u;
    for (size_t i = 0; i < n; i++) c = b->crc[(c ^ bytes[i]) & 255] ^ c >> 8;
    c = ~c;
    return (c >> 15 | c << 17) + 0xa282ead8u;
}

static uint8_t *put_varint(uint8_t *at, uint64_t x) {
    for (; x >= 128; x >>= 7) *at++ = (uint8_t)(x | 128);
    *at++ = (uint8_t)x;
    return at;
}

static uint8_t *put_bytes(uint8_t *at, int field, const void *bytes, size_t n) {
    *at++ = (uint8_t)(field << 3 | 2);
    at = put_varint(at, n);
    memcpy(at, bytes, n);
    return at + n;
}

static uint8_t *put_little(uint8_t *at, uint64_t x, int n) {
    for (int i = 0; i < n; i++) *at++ = (uint8_t)(x >> 8 * i);
    return at;
}

static uint8_t *put_wall_time(uint8_t *at) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    double seconds = (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
    uint64_t bits;
    memcpy(&bits, &seconds, sizeof bits);
    *at++ = 1 << 3 | 1;
    return put_little(at, bits, 8);
}

static kp_status put_record(kp_tensorboard *b, const uint8_t *event, size_t n, kp_err *err) {
    uint8_t record[MAX_EVENT + 16];
    uint8_t *at = put_little(record, n, 8);
    at = put_little(at, masked_crc(b, record, 8), 4);
    memcpy(at, event, n);
    at = put_little(at + n, masked_crc(b, event, n), 4);
    return kp_append_put(&b->file, record, (size_t)(at - record), err);
}

kp_status kp_tensorboard_open(kp_tensorboard **out, const char *path, int64_t at, kp_err *err) {
    static const char version[] = "brain.Event:2";
    *out = NULL;
    kp_tensorboard *b = calloc(1, sizeof *b);
    if (!b) return kp_fail(err, KP_STORAGE, "%s: out of host memory", path);
    fill_table(b->crc);
    kp_status st = kp_append_open(&b->file, path, at, ROOM, err);
    if (!st && at < 0) {
        uint8_t event[MAX_EVENT];
        uint8_t *end = put_bytes(put_wall_time(event), 3, version, sizeof version - 1);
        st = put_record(b, event, (size_t)(end - event), err);
        if (!st) st = kp_append_flush(&b->file, err);
    }
    if (st) {
        kp_tensorboard_close(b);
        return st;
    }
    *out = b;
    return KP_OK;
}

kp_status kp_tensorboard_scalar(kp_tensorboard *b, const char *tag, int64_t step, double value,
                                kp_err *err) {
    if (isnan(value)) return KP_OK;
    size_t length = strlen(tag);
    if (length > MAX_TAG)
        return kp_fail(err, KP_BAD_CONFIG, "%s: the tag %.40s... is longer than %d bytes",
                       b->file.path, tag, MAX_TAG);
    uint8_t scalar[MAX_TAG + 16], summary[MAX_TAG + 24], event[MAX_EVENT];
    float single = (float)value;
    uint32_t bits;
    memcpy(&bits, &single, sizeof bits);
    uint8_t *end = put_bytes(scalar, 1, tag, length);
    *end++ = 2 << 3 | 5;
    end = put_little(end, bits, 4);
    end = put_bytes(summary, 1, scalar, (size_t)(end - scalar));
    uint8_t *at = put_wall_time(event);
    *at++ = 2 << 3 | 0;
    at = put_varint(at, (uint64_t)step);
    at = put_bytes(at, 5, summary, (size_t)(end - summary));
    return put_record(b, event, (size_t)(at - event), err);
}

kp_status kp_tensorboard_flush(kp_tensorboard *b, kp_err *err) {
    return kp_append_flush(&b->file, err);
}

kp_status kp_tensorboard_sync(kp_tensorboard *b, int64_t *n_bytes, kp_err *err) {
    return kp_append_sync(&b->file, n_bytes, err);
}

void kp_tensorboard_close(kp_tensorboard *b) {
    if (!b) return;
    kp_append_close(&b->file);
    free(b);
}
