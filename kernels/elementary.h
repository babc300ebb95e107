/* elementary.h: exp, log, sine and cosine of our own: libm chooses its code by processor, CUDA has
 * another, and a difference in the last bit would reach the weights. Additions, fused multiply-adds and
 * IEEE division only, no branches: a loop over them vectorises. */
#pragma once
#include <string.h>

#include "kp_kernel.h"

KP_HD uint32_t kp_bits_of(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

KP_HD float kp_float_of(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* exp(x), within 2 units in the last place; 0 below -87 and infinite above 88, NaN for NaN. x = n ln 2 +
 * r, |r| <= ln(2) / 2, and the series of exp r to r^7. */
KP_HD float kp_exp(float x) {
    const float shift = 0x1.8p+23f; /* adding it rounds to a whole number, in the lowest bits */
    float n = fmaf(x, 0x1.715476p+0f, shift);
    uint32_t power = (kp_bits_of(n) + 127u) << 23; /* 2^n */
    n = n - shift;
    float r = fmaf(n, -0x1.62e4p-1f, x); /* ln 2's first bits: n times it is exact */
    r = fmaf(n, -0x1.7f7d1cp-20f, r);    /* and the rest */
    float y = 0x1.a01a02p-13f;           /* 1 / 7! */
    y = fmaf(y, r, 0x1.6c16c2p-10f);
    y = fmaf(y, r, 0x1.111112p-7f);
    y = fmaf(y, r, 0x1.555556p-5f);
    y = fmaf(y, r, 0x1.555556p-3f);
    y = fmaf(y, r, 0.5f);
    y = fmaf(y, r, 1.0f);
    y = fmaf(y, r, 1.0f);
    y = y * kp_float_of(power);
    y = x < -87.0f ? 0.0f : y;
    return x > 88.0f ? INFINITY : y;
}

/* ln(x) for normal x > 0, within 2 units in the last place of the larger of it and 0.1. x = 2^n m,
 * sqrt(1/2) <= m < sqrt(2); ln m = 2 atanh(s), s = (m - 1) / (m + 1), by its series to s^9. */
KP_HD float kp_ln(float x) {
    uint32_t bits = kp_bits_of(x), above = bits - 0x3f3504f3u; /* of sqrt(1/2) */
    int32_t n = (int32_t)above >> 23;
    float m = kp_float_of(bits - ((uint32_t)n << 23));
    float s = (m - 1.0f) / (m + 1.0f), q = s * s;
    float y = 0x1.c71c72p-4f; /* 1/9 */
    y = fmaf(y, q, 0x1.24924ap-3f);
    y = fmaf(y, q, 0x1.99999ap-3f);
    y = fmaf(y, q, 0x1.555556p-2f);
    y = fmaf(y, q, 1.0f);
    y = fmaf(s + s, y, (float)n * 0x1.7f7d1cp-20f);
    return fmaf((float)n, 0x1.62e4p-1f, y);
}

/* Cosine and sine of 2 pi k / 2^24, within 2^-23. The nearest quarter is taken off in whole numbers;
 * the series of what is left, at most pi/4, to its ninth power. */
KP_HD void kp_cos_sin_turn(uint32_t k, float *cosine, float *sine) {
    uint32_t quarter = (k + (1u << 21)) >> 22;
    float x = (float)(int32_t)(k - (quarter << 22)) * 0x1.921fb6p-22f, q = x * x; /* 2 pi / 2^24 */
    float c = 0x1.a01a02p-16f, s = 0x1.71de3ap-19f;                               /* 1/8!, 1/9! */
    c = fmaf(c, q, -0x1.6c16c2p-10f);
    c = fmaf(c, q, 0x1.555556p-5f);
    c = fmaf(c, q, -0.5f);
    c = fmaf(c, q, 1.0f);
    s = fmaf(s, q, -0x1.a01a02p-13f);
    s = fmaf(s, q, 0x1.111112p-7f);
    s = fmaf(s, q, -0x1.555556p-3f);
    s = fmaf(s * q, x, x);
    float a = quarter & 1u ? s : c, b = quarter & 1u ? c : s;
    *cosine = (quarter + 1u) & 2u ? -a : a;
    *sine = quarter & 2u ? -b : b;
}
