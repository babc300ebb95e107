/* md5.c: RFC 1321, block by block. */
#include "md5.h"

#include <stdio.h>
#include <string.h>

/* floor(2^32 |sin(i + 1)|) */
static const uint32_t sines[64] = {
    0xd76aa478, 0xe8c7b756, 0x242070db, 0xc1bdceee, 0xf57c0faf, 0x4787c62a, 0xa8304613, 0xfd469501,
    0x698098d8, 0x8b44f7af, 0xffff5bb1, 0x895cd7be, 0x6b901122, 0xfd987193, 0xa679438e, 0x49b40821,
    0xf61e2562, 0xc040b340, 0x265e5a51, 0xe9b6c7aa, 0xd62f105d, 0x02441453, 0xd8a1e681, 0xe7d3fbc8,
    0x21e1cde6, 0xc33707d6, 0xf4d50d87, 0x455a14ed, 0xa9e3e905, 0xfcefa3f8, 0x676f02d9, 0x8d2a4c8a,
    0xfffa3942, 0x8771f681, 0x6d9d6122, 0xfde5380c, 0xa4beea44, 0x4bdecfa9, 0xf6bb4b60, 0xbebfbc70,
    0x289b7ec6, 0xeaa127fa, 0xd4ef3085, 0x04881d05, 0xd9d4d039, 0xe6db99e5, 0x1fa27cf8, 0xc4ac5665,
    0xf4292244, 0x432aff97, 0xab9423a7, 0xfc93a039, 0x655b59c3, 0x8f0ccc92, 0xffeff47d, 0x85845dd1,
    0x6fa87e4f, 0xfe2ce6e0, 0xa3014314, 0x4e0811a1, 0xf7537e82, 0xbd3af235, 0x2ad7d2bb, 0xeb86d391,
};

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
        f += a + w + sines[i];
        int by = turn[i / 16][i % 4];
        a = d, d = c, c = b;
        b += f << by | f >> (32 - by);
    }
    h[0] += a, h[1] += b, h[2] += c, h[3] += d;
}

void kp_md5_begin(kp_md5_state *s) {
    *s = (kp_md5_state){ .h = { 0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476 } };
}

void kp_md5_add(kp_md5_state *s, const uint8_t *bytes, size_t n) {
    size_t waiting = s->n % 64, take = 64 - waiting < n ? 64 - waiting : n;
    if (!n) return;
    s->n += n;
    if (waiting) {
        memcpy(s->rest + waiting, bytes, take);
        if (waiting + take < 64) return;
        add_block(s->h, s->rest);
        bytes += take, n -= take;
    }
    for (; n >= 64; bytes += 64, n -= 64) add_block(s->h, bytes);
    if (n) memcpy(s->rest, bytes, n);
}

void kp_md5_end(kp_md5_state *s, char text[33]) {
    static const uint8_t padding[64] = { 0x80 };
    uint8_t length[8];
    for (int i = 0; i < 8; i++) length[i] = (uint8_t)(s->n * 8 >> 8 * i);
    kp_md5_add(s, padding, 1 + (119 - s->n % 64) % 64);
    kp_md5_add(s, length, sizeof length);
    for (int i = 0; i < 16; i++)
        snprintf(text + 2 * i, 3, "%02x", s->h[i / 4] >> 8 * (i % 4) & 255);
}

void kp_md5(const uint8_t *bytes, size_t n, char text[33]) {
    kp_md5_state s;
    kp_md5_begin(&s);
    kp_md5_add(&s, bytes, n);
    kp_md5_end(&s, text);
}
