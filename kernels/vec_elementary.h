/* vec_elementary.h: elementary.h's functions for vectors, operation for operation; a compiler makes narrow
 * vectors or none of loops over them. */
#pragma once
#include "vec.h"

typedef uint32_t kp_vec_words __attribute__((vector_size(KP_VEC_BYTES), may_alias));
typedef int32_t kp_vec_ints __attribute__((vector_size(KP_VEC_BYTES), may_alias));
typedef uint64_t kp_vec_wide __attribute__((vector_size(KP_VEC_BYTES), may_alias));

/* Of the lower halves, in 64 bits. */
KP_HD kp_vec_wide kp_vec_product(kp_vec_wide a, kp_vec_wide b) {
#if defined(__AVX512F__)
    return (kp_vec_wide)_mm512_mul_epu32((__m512i)a, (__m512i)b);
#elif defined(__AVX2__) && defined(__FMA__)
    return (kp_vec_wide)_mm256_mul_epu32((__m256i)a, (__m256i)b);
#else
    return (a & 0xffffffffu) * (b & 0xffffffffu);
#endif
}

/* Up to 2^31. */
KP_HD kp_vec kp_vec_of_words(kp_vec_words x) {
    return __builtin_convertvector((kp_vec_ints)x, kp_vec);
}

/* a where the bit is 1 (of 0 and 1), else b. */
KP_HD kp_vec kp_vec_either(kp_vec_words bit, kp_vec a, kp_vec b) {
    const kp_vec_words mask = -bit;
    return (kp_vec)(((kp_vec_words)a & mask) | ((kp_vec_words)b & ~mask));
}

/* kp_ln */
KP_HD kp_vec kp_vec_ln(kp_vec x) {
    const kp_vec_words bits = (kp_vec_words)x;
    const kp_vec_ints n = (kp_vec_ints)(bits - 0x3f3504f3u) >> 23;
    const kp_vec of_n = __builtin_convertvector(n, kp_vec);
    const kp_vec m = (kp_vec)(bits - ((kp_vec_words)n << 23));
    const kp_vec s = (m - 1.0f) / (m + 1.0f), q = s * s;
    kp_vec y = kp_vec_all(0x1.c71c72p-4f);
    y = kp_vec_fma(y, q, kp_vec_all(0x1.24924ap-3f));
    y = kp_vec_fma(y, q, kp_vec_all(0x1.99999ap-3f));
    y = kp_vec_fma(y, q, kp_vec_all(0x1.555556p-2f));
    y = kp_vec_fma(y, q, kp_vec_all(1.0f));
    y = kp_vec_fma(s + s, y, of_n * 0x1.7f7d1cp-20f);
    return kp_vec_fma(of_n, kp_vec_all(0x1.62e4p-1f), y);
}

/* kp_cos_sin_turn */
KP_HD void kp_vec_cos_sin_turn(kp_vec_words k, kp_vec *cosine, kp_vec *sine) {
    const kp_vec_words quarter = (k + (1u << 21)) >> 22;
    const kp_vec x = kp_vec_of_words(k - (quarter << 22)) * 0x1.921fb6p-22f, q = x * x;
    kp_vec c = kp_vec_all(0x1.a01a02p-16f), s = kp_vec_all(0x1.71de3ap-19f);
    c = kp_vec_fma(c, q, kp_vec_all(-0x1.6c16c2p-10f));
    c = kp_vec_fma(c, q, kp_vec_all(0x1.555556p-5f));
    c = kp_vec_fma(c, q, kp_vec_all(-0.5f));
    c = kp_vec_fma(c, q, kp_vec_all(1.0f));
    s = kp_vec_fma(s, q, kp_vec_all(-0x1.a01a02p-13f));
    s = kp_vec_fma(s, q, kp_vec_all(0x1.111112p-7f));
    s = kp_vec_fma(s, q, kp_vec_all(-0x1.555556p-3f));
    s = kp_vec_fma(s * q, x, x);
    const kp_vec a = kp_vec_either(quarter & 1u, s, c), b = kp_vec_either(quarter & 1u, c, s);
    *cosine = (kp_vec)((kp_vec_words)a ^ ((quarter + 1u) & 2u) << 30);
    *sine = (kp_vec)((kp_vec_words)b ^ (quarter & 2u) << 30);
}
