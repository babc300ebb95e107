/* md5.c: one call over bytes in memory. */
#include "md5.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static void add_block(uint32_t h[4], const uint8_t *p) {
    static const uint8_t turn[4][4] = {
        { 7, 12, 17, 22 }, { 5, 9, 14, 20 }, { 4, 11, 16, 23 }, { 6, 10, 15, 21 }
    };
    uint32_t a = h[0], b = h[1], c = h[2], d = h[3];
    for (unsigned i = 0; i < 64; i++) {
        uint32_t f, w;
        unsigned at;
        if (i < 16) f = (b & c) | (~b & d), at = i;
        else if (i < 32) f = (d & b) | (~d & c), at = (5 * i + 1) % 16;
        else if (i < 48) f = b ^ c ^ d, at = (3 * i + 5) % 16;
        else f = c ^ (b | ~d), at = 7 * i % 16;
        w = (uint32_t)p[4 * at] | (uint32_t)p[4 * at + 1] << 8 | (uint32_t)p[4 * at + 2] << 16 |
            (uint32_t)p[4 * at + 3] << 24;
        f += a + w + (uint32_t)(int64_t)floor(fabs(sin((double)(i + 1))) * 4294967296.0);
        int by = turn[i / 16][i % 4];
        a = d, d = c, c = b;
        b += f << by | f >> (32 - by);
    }
    h[0] += a, h[1] += b, h[2] += c, h[3] += d;
}

void kp_md5(const uint8_t *bytes, size_t n, char text[33]) {
    uint32_t h[4] = { 0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476 };
    size_t whole = n / 64 * 64, rest = n - whole;
    for (size_t i = 0; i < whole; i += 64) add_block(h, bytes + i);
    uint8_t tail[128] = { 0 };
    if (rest) memcpy(tail, bytes + whole, rest);
    tail[rest] = 0x80;
    size_t end = rest < 56 ? 64 : 128;
    for (int i = 0; i < 8; i++) tail[end - 8 + (size_t)i] = (uint8_t)((uint64_t)n * 8 >> 8 * i);
    for (size_t i = 0; i < end; i += 64) add_block(h, tail + i);
    for (int i = 0; i < 16; i++) snprintf(text + 2 * i, 3, "%02x", h[i / 4] >> 8 * (i % 4) & 255);
}
