/* vec.h: vectors of the width that this file is compiled for. Each function is one IEEE operation for
 * each element, so that the bits do not depend on the width. */
#pragma once
#include "kp_kernel.h"

#if defined(__AVX512F__)
#include <immintrin.h>
#define KP_VEC_BYTES 64
typedef int32_t kp_vec_count __attribute__((vector_size(64), may_alias));
typedef __m512 kp_vec;
KP_HD kp_vec kp_vec_fma(kp_vec a, kp_vec b, kp_vec c) { return _mm512_fmadd_ps(a, b, c); }
KP_HD kp_vec kp_vec_all(float x) { return _mm512_set1_ps(x); }
KP_HD kp_vec kp_vec_sqrt(kp_vec a) { return _mm512_sqrt_ps(a); }
KP_HD kp_vec kp_vec_min(kp_vec a, kp_vec b) { return _mm512_min_ps(a, b); }
KP_HD kp_vec kp_vec_max(kp_vec a, kp_vec b) { return _mm512_max_ps(a, b); }
KP_HD kp_vec_count kp_vec_same(kp_vec_count n, kp_vec a, kp_vec b) {
    __mmask16 same = _mm512_cmpeq_epi32_mask(_mm512_castps_si512(a), _mm512_castps_si512(b));
    return (kp_vec_count)_mm512_mask_add_epi32((__m512i)n, same, (__m512i)n, _mm512_set1_epi32(1));
}
KP_HD kp_vec kp_vec_normal(kp_vec a) { /* its exponent is not 0 */
    const __m512i exponent = _mm512_set1_epi32(0x7f800000);
    return _mm512_maskz_mov_ps(_mm512_test_epi32_mask(_mm512_castps_si512(a), exponent), a);
}
KP_HD kp_vec kp_vec_of_bytes(const uint8_t *p) {
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)p)));
}
KP_HD uint64_t kp_vec_nonzero(kp_vec a) {
    return _mm512_cmp_ps_mask(a, _mm512_setzero_ps(), _CMP_NEQ_UQ);
}
#elif defined(__AVX2__) && defined(__FMA__)
#include <immintrin.h>
#define KP_VEC_BYTES 32
typedef int32_t kp_vec_count __attribute__((vector_size(32), may_alias));
typedef __m256 kp_vec;
KP_HD kp_vec kp_vec_fma(kp_vec a, kp_vec b, kp_vec c) { return _mm256_fmadd_ps(a, b, c); }
KP_HD kp_vec kp_vec_all(float x) { return _mm256_set1_ps(x); }
KP_HD kp_vec kp_vec_sqrt(kp_vec a) { return _mm256_sqrt_ps(a); }
KP_HD kp_vec kp_vec_min(kp_vec a, kp_vec b) { return _mm256_min_ps(a, b); }
KP_HD kp_vec kp_vec_max(kp_vec a, kp_vec b) { return _mm256_max_ps(a, b); }
KP_HD kp_vec_count kp_vec_same(kp_vec_count n, kp_vec a, kp_vec b) {
    __m256i same = _mm256_cmpeq_epi32(_mm256_castps_si256(a), _mm256_castps_si256(b));
    return (kp_vec_count)_mm256_sub_epi32((__m256i)n, same); /* -1 where they are */
}
KP_HD kp_vec kp_vec_normal(kp_vec a) {
    __m256 size = _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a);
    return _mm256_and_ps(a, _mm256_cmp_ps(size, _mm256_set1_ps(0x1p-126f), _CMP_NLT_UQ));
}
KP_HD kp_vec kp_vec_of_bytes(const uint8_t *p) {
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)p)));
}
KP_HD uint64_t kp_vec_nonzero(kp_vec a) {
    return (uint64_t)_mm256_movemask_ps(_mm256_cmp_ps(a, _mm256_setzero_ps(), _CMP_NEQ_UQ));
}
#else
#define KP_VEC_BYTES 16
typedef int32_t kp_vec_count __attribute__((vector_size(16), may_alias));
typedef float kp_vec __attribute__((vector_size(16), may_alias));
KP_HD kp_vec kp_vec_fma(kp_vec a, kp_vec b, kp_vec c) {
    for (int i = 0; i < 4; i++) c[i] = fmaf(a[i], b[i], c[i]);
    return c;
}
KP_HD kp_vec kp_vec_all(float x) { return (kp_vec){ x, x, x, x }; }
KP_HD kp_vec kp_vec_sqrt(kp_vec a) {
    for (int i = 0; i < 4; i++) a[i] = sqrtf(a[i]);
    return a;
}
KP_HD kp_vec kp_vec_min(kp_vec a, kp_vec b) {
    for (int i = 0; i < 4; i++) a[i] = a[i] < b[i] ? a[i] : b[i];
    return a;
}
KP_HD kp_vec kp_vec_max(kp_vec a, kp_vec b) {
    for (int i = 0; i < 4; i++) a[i] = a[i] > b[i] ? a[i] : b[i];
    return a;
}
KP_HD kp_vec_count kp_vec_same(kp_vec_count n, kp_vec a, kp_vec b) {
    return n - ((kp_vec_count)a == (kp_vec_count)b); /* -1 where they are */
}
KP_HD kp_vec kp_vec_normal(kp_vec a) {
    for (int i = 0; i < 4; i++) a[i] = fabsf(a[i]) < 0x1p-126f ? 0.0f : a[i];
    return a;
}
KP_HD kp_vec kp_vec_of_bytes(const uint8_t *p) { return (kp_vec){ p[0], p[1], p[2], p[3] }; }
KP_HD uint64_t kp_vec_nonzero(kp_vec a) {
    uint64_t bits = 0;
    for (int i = 0; i < 4; i++) bits |= (uint64_t)(a[i] != 0.0f) << i;
    return bits;
}
#endif

/* Above: min(a, b) is a < b ? a : b, and max alike: b where one is NaN. same: one more in each element of
 * n where a and b have the same bits. normal: a, or +0 where a is subnormal or
 * 0. of_bytes: KP_VEC bytes as numbers. nonzero: a bit for each element, NaN included. */

#define KP_VEC    (KP_VEC_BYTES / 4) /* floats */
/* Where fmaf is a call, unrolled loops win nothing and take minutes to compile. */
#ifdef __FP_FAST_FMAF
#define KP_UNROLL _Pragma("GCC unroll 16")
#else
#define KP_UNROLL _Pragma("GCC unroll 1")
#endif

typedef float kp_vec_at __attribute__((vector_size(KP_VEC_BYTES), aligned(4), may_alias));
KP_HD kp_vec kp_vec_load(const float *p) { return (kp_vec) * (const kp_vec_at *)p; }
KP_HD void kp_vec_store(float *p, kp_vec x) { *(kp_vec_at *)p = (kp_vec_at)x; }

/* The sum of 16 values in the order of a tree: i + 8, i + 4, i + 2, i + 1. */
KP_HD float kp_vec_add_lanes(const kp_vec *v) {
#if defined(__AVX2__) && defined(__FMA__)
#if defined(__AVX512F__)
    __m256 eight = _mm512_castps512_ps256(v[0]) + _mm512_extractf32x8_ps(v[0], 1);
#else
    __m256 eight = v[0] + v[1];
#endif
    __m128 four = _mm256_castps256_ps128(eight) + _mm256_extractf128_ps(eight, 1);
#else
    kp_vec four = (v[0] + v[2]) + (v[1] + v[3]);
#endif
    return (four[0] + four[2]) + (four[1] + four[3]);
}
