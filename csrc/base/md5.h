/* md5.h: MD5 (RFC 1321), to tell ROMs and data sets apart; no protection against malice. */
#pragma once
#include <stddef.h>
#include <stdint.h>

/* text: 32 hex digits and a 0. */
void kp_md5(const uint8_t *bytes, size_t n, char text[33]);

/* The same of bytes that come in pieces: begin, add ..., end. */
typedef struct {
    uint32_t h[4];
    uint64_t n; /* bytes so far */
    uint8_t rest[64];
} kp_md5_state;

void kp_md5_begin(kp_md5_state *state);
void kp_md5_add(kp_md5_state *state, const uint8_t *bytes, size_t n);
void kp_md5_end(kp_md5_state *state, char text[33]);
