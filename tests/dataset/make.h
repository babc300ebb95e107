/* make.h: small files of each format, made in memory and put into a folder. */
#pragma once
#include <criterion/criterion.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/files.h"
#include "data/data.h"
#include "scratch.h"

typedef struct {
    uint8_t bytes[4096];
    size_t n;
} blob;

static inline void blob_add(blob *b, const void *bytes, size_t n) {
    cr_assert(b->n + n <= sizeof b->bytes);
    memcpy(b->bytes + b->n, bytes, n);
    b->n += n;
}

static inline void blob_put(const blob *b, const char *folder, const char *name) {
    char path[KP_PATH];
    kp_path_join(path, folder, name, NULL);
    remove(path); /* ext4 takes to disk at once what is written over, and nobody needs that here */
    FILE *f = fopen(path, "wb");
    cr_assert(f && fwrite(b->bytes, 1, b->n, f) == b->n && !fclose(f), "%s", path);
}

/* One member of a gzip file. */
__attribute__((unused)) static blob blob_gzip(const blob *b) {
    blob packed = { .n = 0 };
    z_stream z = { .next_in = (Bytef *)(uintptr_t)b->bytes, .avail_in = (uInt)b->n,
                   .next_out = packed.bytes, .avail_out = sizeof packed.bytes };
    cr_assert_eq(deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    cr_assert_eq(deflate(&z, Z_FINISH), Z_STREAM_END);
    packed.n = z.total_out;
    deflateEnd(&z);
    return packed;
}

__attribute__((unused)) static blob blob_text(const char *text) {
    blob b = { .n = 0 };
    blob_add(&b, text, strlen(text));
    return b;
}

/* dims end with a 0. Elements are 0, 1, 2, ..., or `last` for the last one; of `size` bytes, big endian. */
__attribute__((unused)) static blob blob_idx(int type, int size, const int *dims, int last) {
    blob b = { .bytes = { 0, 0, (uint8_t)type }, .n = 4 };
    int n = 1;
    for (; *dims; dims++) {
        blob_add(&b, (uint8_t[]){ 0, 0, (uint8_t)(*dims >> 8), (uint8_t)*dims }, 4);
        n *= *dims, b.bytes[3]++;
    }
    for (int i = 0; i < n; i++) {
        int x = i == n - 1 ? last : i;
        float f = (float)x;
        uint32_t bits = (uint32_t)x;
        if (type == 0x0d) memcpy(&bits, &f, 4);
        for (int k = size - 1; k >= 0; k--) blob_add(&b, &(uint8_t){ (uint8_t)(bits >> 8 * k) }, 1);
    }
    return b;
}

/* An NPY file of this header's text. */
__attribute__((unused)) static blob blob_npy(int version, const char *head, const void *data, size_t n) {
    blob b = { .n = 0 };
    size_t length = strlen(head), width = version == 1 ? 2 : 4;
    blob_add(&b, "\x93NUMPY", 6);
    blob_add(&b, (uint8_t[]){ (uint8_t)version, 0 }, 2);
    blob_add(&b, (uint8_t[]){ (uint8_t)length, (uint8_t)(length >> 8), 0, 0 }, width);
    blob_add(&b, head, length);
    blob_add(&b, data, n);
    return b;
}

__attribute__((unused)) static blob blob_safetensors(const char *head, const void *data, size_t n) {
    blob b = { .n = 0 };
    uint64_t length = strlen(head);
    blob_add(&b, &length, 8);
    blob_add(&b, head, length);
    blob_add(&b, data, n);
    return b;
}

static inline kp_status data_open(kp_data **d, const char *set, const char *folder, kp_err *err) {
    return kp_data_open(d, &(kp_data_options){ .set = set, .dir = folder }, err);
}

/* Fails as bad data, in one line that says this. */
__attribute__((unused)) static void expect_bad(const char *set, const char *folder, const char *name,
                                               const char *says) {
    kp_data *d = NULL;
    kp_err err = { "" };
    kp_status st = data_open(&d, set, folder, &err);
    cr_expect_eq(st, KP_BAD_DATA, "%s: status %d, %s", name, st, err.text);
    cr_expect(!d, "%s: something was opened", name);
    cr_expect(strstr(err.text, says), "%s: \"%s\" does not say \"%s\"", name, err.text, says);
    cr_expect(strstr(err.text, folder), "%s: \"%s\" names no file", name, err.text);
    cr_expect(!strchr(err.text, '\n') && strlen(err.text) < sizeof err.text - 1, "%s: %s", name, err.text);
    kp_data_close(d);
}

__attribute__((unused)) static kp_data *expect_open(const char *set, const char *folder) {
    kp_data *d = NULL;
    kp_err err = { "" };
    cr_assert_eq(data_open(&d, set, folder, &err), KP_OK, "%s", err.text);
    return d;
}
