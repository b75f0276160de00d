/* Vectors of 8 floats for vector_body.inc and dot_body.inc. */
#ifndef TALLOW_KERNELS_AVX2_VECTOR_H
#define TALLOW_KERNELS_AVX2_VECTOR_H

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "tensor/dtype.h"

#define ALWAYS_INLINE static inline __attribute__((always_inline))

enum { VW = 8 };
typedef __m256 vf;

#define v_zero()       _mm256_setzero_ps()
#define v_set1(x)      _mm256_set1_ps(x)
#define v_load(p)      _mm256_loadu_ps(p)
#define v_store(p, v)  _mm256_storeu_ps(p, v)
#define v_store4(p, v) _mm_storeu_ps(p, v)
#define v_add(a, b)    _mm256_add_ps(a, b)
#define v_sub(a, b)    _mm256_sub_ps(a, b)
#define v_mul(a, b)    _mm256_mul_ps(a, b)
#define v_div(a, b)    _mm256_div_ps(a, b)
/* Where one side is NaN these give the second. */
#define v_max(a, b)    _mm256_max_ps(a, b)
#define v_min(a, b)    _mm256_min_ps(a, b)
#define v_fma(a, b, c) _mm256_fmadd_ps(a, b, c)
#define v_round(x)     _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)

/* x * 2^n for whole n in [-126, 127] and x near 1. */
ALWAYS_INLINE vf v_scale2(vf x, vf n)
{
	__m256i exponent = _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23);
	return _mm256_mul_ps(x, _mm256_castsi256_ps(exponent));
}

ALWAYS_INLINE __m256i first_lanes(int n)
{
	return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

ALWAYS_INLINE vf v_zero_below(vf value, vf x, vf limit)
{
	return _mm256_andnot_ps(_mm256_cmp_ps(x, limit, _CMP_LT_OQ), value);
}

ALWAYS_INLINE vf v_load_some(const float *p, int n)
{
	return _mm256_maskload_ps(p, first_lanes(n));
}

ALWAYS_INLINE void v_store_some(float *p, vf v, int n)
{
	_mm256_maskstore_ps(p, first_lanes(n), v);
}

ALWAYS_INLINE vf v_set_from(vf v, int n, float rest)
{
	return _mm256_blendv_ps(_mm256_set1_ps(rest), v, _mm256_castsi256_ps(first_lanes(n)));
}

/* Four horizontal sums for little more than the price of one, every one in the same tree. */
ALWAYS_INLINE __m128 v_sum4(vf a, vf b, vf c, vf d)
{
	__m256d ab = _mm256_castps_pd(_mm256_add_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b)));
	__m256d cd = _mm256_castps_pd(_mm256_add_ps(_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d)));
	vf halves =
	    _mm256_add_ps(_mm256_castpd_ps(_mm256_unpacklo_pd(ab, cd)), _mm256_castpd_ps(_mm256_unpackhi_pd(ab, cd)));
	return _mm_add_ps(_mm256_castps256_ps128(halves), _mm256_extractf128_ps(halves, 1));
}

ALWAYS_INLINE float v_sum(vf v)
{
	return _mm_cvtss_f32(v_sum4(v, v, v, v));
}

ALWAYS_INLINE float v_top(vf v)
{
	__m128 b = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
	b = _mm_max_ps(b, _mm_movehl_ps(b, b));
	return _mm_cvtss_f32(_mm_max_ss(b, _mm_movehdup_ps(b)));
}

ALWAYS_INLINE vf widen_half(const enum dtype type, __m128i half)
{
	if (type == DTYPE_F16)
		return _mm256_cvtph_ps(half);
	return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16));
}

ALWAYS_INLINE vf v_widen(const enum dtype type, const void *p)
{
	if (type == DTYPE_F32)
		return _mm256_loadu_ps(p);
	return widen_half(type, _mm_loadu_si128(p));
}

ALWAYS_INLINE vf v_widen_some(const enum dtype type, const void *p, int n)
{
	if (type == DTYPE_F32)
		return _mm256_maskload_ps(p, first_lanes(n));
	uint16_t some[8] = {0};
	memcpy(some, p, (size_t)n * sizeof *some);
	return widen_half(type, _mm_loadu_si128((const void *)some));
}

/* Round to nearest even; the addition cannot carry a NaN into another value because NaNs are replaced. */
ALWAYS_INLINE __m128i narrow_half(const enum dtype type, vf v)
{
	if (type == DTYPE_F16)
		return _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
	__m256i bits = _mm256_castps_si256(v);
	__m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
	__m256i rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
	__m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
	__m256i nan = _mm256_castps_si256(_mm256_cmp_ps(v, v, _CMP_UNORD_Q));
	rounded = _mm256_srli_epi32(_mm256_blendv_epi8(rounded, quiet, nan), 16);
	return _mm_packus_epi32(_mm256_castsi256_si128(rounded), _mm256_extracti128_si256(rounded, 1));
}

ALWAYS_INLINE void v_narrow(const enum dtype type, void *p, vf v)
{
	_mm_storeu_si128(p, narrow_half(type, v));
}

ALWAYS_INLINE void v_narrow_some(const enum dtype type, void *p, vf v, int n)
{
	uint16_t some[8];
	_mm_storeu_si128((void *)some, narrow_half(type, v));
	memcpy(p, some, (size_t)n * sizeof *some);
}

/* 8 x 8 */
ALWAYS_INLINE void v_transpose_block(float *out, size_t out_stride, const float *in, size_t in_stride)
{
	__m256 a[8], b[8];
#pragma GCC unroll 8
	for (int i = 0; i < 8; i++)
		a[i] = _mm256_loadu_ps(in + (size_t)i * in_stride);
#pragma GCC unroll 4
	for (int i = 0; i < 8; i += 2) {
		b[i] = _mm256_unpacklo_ps(a[i], a[i + 1]);
		b[i + 1] = _mm256_unpackhi_ps(a[i], a[i + 1]);
	}
#pragma GCC unroll 2
	for (int i = 0; i < 8; i += 4) {
		a[i] = _mm256_shuffle_ps(b[i], b[i + 2], 0x44);
		a[i + 1] = _mm256_shuffle_ps(b[i], b[i + 2], 0xee);
		a[i + 2] = _mm256_shuffle_ps(b[i + 1], b[i + 3], 0x44);
		a[i + 3] = _mm256_shuffle_ps(b[i + 1], b[i + 3], 0xee);
	}
	/* a[4h + c] now holds, in half l, rows 4h..4h+3 of column 4l + c. */
#pragma GCC unroll 4
	for (int c = 0; c < 4; c++) {
		_mm256_storeu_ps(out + (size_t)c * out_stride, _mm256_permute2f128_ps(a[c], a[4 + c], 0x20));
		_mm256_storeu_ps(out + (size_t)(4 + c) * out_stride, _mm256_permute2f128_ps(a[c], a[4 + c], 0x31));
	}
}

#endif
