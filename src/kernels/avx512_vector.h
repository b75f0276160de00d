/* Vectors of 16 floats for vector_body.inc and dot_body.inc. */
#ifndef TALLOW_KERNELS_AVX512_VECTOR_H
#define TALLOW_KERNELS_AVX512_VECTOR_H

#include <immintrin.h>
#include <stddef.h>

#include "tensor/dtype.h"

#define ALWAYS_INLINE static inline __attribute__((always_inline))

enum { VW = 16 };
typedef __m512 vf;

#define v_zero()       _mm512_setzero_ps()
#define v_set1(x)      _mm512_set1_ps(x)
#define v_load(p)      _mm512_loadu_ps(p)
#define v_store(p, v)  _mm512_storeu_ps(p, v)
#define v_store4(p, v) _mm_storeu_ps(p, v)
#define v_add(a, b)    _mm512_add_ps(a, b)
#define v_sub(a, b)    _mm512_sub_ps(a, b)
#define v_mul(a, b)    _mm512_mul_ps(a, b)
#define v_div(a, b)    _mm512_div_ps(a, b)
/* Where one side is NaN these give the second. */
#define v_max(a, b)    _mm512_max_ps(a, b)
#define v_min(a, b)    _mm512_min_ps(a, b)
#define v_fma(a, b, c) _mm512_fmadd_ps(a, b, c)
#define v_round(x)     _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)
#define v_scale2(x, n) _mm512_scalef_ps(x, n)

ALWAYS_INLINE __mmask16 first_lanes(int n)
{
	return (__mmask16)((1u << n) - 1);
}

ALWAYS_INLINE vf v_zero_below(vf value, vf x, vf limit)
{
	return _mm512_mask_mov_ps(value, _mm512_cmp_ps_mask(x, limit, _CMP_LT_OQ), _mm512_setzero_ps());
}

ALWAYS_INLINE vf v_load_some(const float *p, int n)
{
	return _mm512_maskz_loadu_ps(first_lanes(n), p);
}

ALWAYS_INLINE void v_store_some(float *p, vf v, int n)
{
	_mm512_mask_storeu_ps(p, first_lanes(n), v);
}

ALWAYS_INLINE vf v_set_from(vf v, int n, float rest)
{
	return _mm512_mask_mov_ps(_mm512_set1_ps(rest), first_lanes(n), v);
}

/* Four horizontal sums for little more than the price of one, every one in the same tree. */
ALWAYS_INLINE __m128 v_sum4(vf a, vf b, vf c, vf d)
{
	__m512d ab = _mm512_castps_pd(_mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b)));
	__m512d cd = _mm512_castps_pd(_mm512_add_ps(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d)));
	vf quarters =
	    _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(ab, cd)), _mm512_castpd_ps(_mm512_unpackhi_pd(ab, cd)));
	__m256 halves = _mm256_add_ps(_mm512_castps512_ps256(quarters), _mm512_extractf32x8_ps(quarters, 1));
	return _mm_add_ps(_mm256_castps256_ps128(halves), _mm256_extractf128_ps(halves, 1));
}

ALWAYS_INLINE float v_sum(vf v)
{
	return _mm_cvtss_f32(v_sum4(v, v, v, v));
}

ALWAYS_INLINE float v_top(vf v)
{
	__m256 a = _mm256_max_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
	__m128 b = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
	b = _mm_max_ps(b, _mm_movehl_ps(b, b));
	return _mm_cvtss_f32(_mm_max_ss(b, _mm_movehdup_ps(b)));
}

ALWAYS_INLINE vf widen_half(const enum dtype type, __m256i half)
{
	if (type == DTYPE_F16)
		return _mm512_cvtph_ps(half);
	return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
}

ALWAYS_INLINE vf v_widen(const enum dtype type, const void *p)
{
	if (type == DTYPE_F32)
		return _mm512_loadu_ps(p);
	return widen_half(type, _mm256_loadu_si256(p));
}

ALWAYS_INLINE vf v_widen_some(const enum dtype type, const void *p, int n)
{
	if (type == DTYPE_F32)
		return _mm512_maskz_loadu_ps(first_lanes(n), p);
	return widen_half(type, _mm256_maskz_loadu_epi16(first_lanes(n), p));
}

/* Round to nearest even; the addition cannot carry a NaN into another value because NaNs are replaced. */
ALWAYS_INLINE __m256i narrow_half(const enum dtype type, vf v)
{
	if (type == DTYPE_F16)
		return _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
	__m512i bits = _mm512_castps_si512(v);
	__m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
	__m512i rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
	__mmask16 nan = _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q);
	rounded = _mm512_mask_or_epi32(rounded, nan, bits, _mm512_set1_epi32(0x400000));
	return _mm512_cvtepi32_epi16(_mm512_srli_epi32(rounded, 16));
}

ALWAYS_INLINE void v_narrow(const enum dtype type, void *p, vf v)
{
	_mm256_storeu_si256(p, narrow_half(type, v));
}

ALWAYS_INLINE void v_narrow_some(const enum dtype type, void *p, vf v, int n)
{
	_mm256_mask_storeu_epi16(p, first_lanes(n), narrow_half(type, v));
}

/* 16 x 16: first within pairs and quads of rows, then 128-bit lanes. */
ALWAYS_INLINE void v_transpose_block(float *out, size_t out_stride, const float *in, size_t in_stride)
{
	__m512 a[16], b[16];
#pragma GCC unroll 16
	for (int i = 0; i < 16; i++)
		a[i] = _mm512_loadu_ps(in + (size_t)i * in_stride);
#pragma GCC unroll 8
	for (int i = 0; i < 16; i += 2) {
		b[i] = _mm512_unpacklo_ps(a[i], a[i + 1]);
		b[i + 1] = _mm512_unpackhi_ps(a[i], a[i + 1]);
	}
#pragma GCC unroll 4
	for (int i = 0; i < 16; i += 4) {
		a[i] = _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(b[i]), _mm512_castps_pd(b[i + 2])));
		a[i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(b[i]), _mm512_castps_pd(b[i + 2])));
		a[i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(b[i + 1]), _mm512_castps_pd(b[i + 3])));
		a[i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(b[i + 1]), _mm512_castps_pd(b[i + 3])));
	}
	/* a[4q + c] now holds, in lane l, rows 4q..4q+3 of column 4l + c. */
#pragma GCC unroll 4
	for (int c = 0; c < 4; c++) {
		__m512 low01 = _mm512_shuffle_f32x4(a[c], a[4 + c], 0x44), high01 = _mm512_shuffle_f32x4(a[c], a[4 + c], 0xee);
		__m512 low23 = _mm512_shuffle_f32x4(a[8 + c], a[12 + c], 0x44);
		__m512 high23 = _mm512_shuffle_f32x4(a[8 + c], a[12 + c], 0xee);
		_mm512_storeu_ps(out + (size_t)c * out_stride, _mm512_shuffle_f32x4(low01, low23, 0x88));
		_mm512_storeu_ps(out + (size_t)(4 + c) * out_stride, _mm512_shuffle_f32x4(low01, low23, 0xdd));
		_mm512_storeu_ps(out + (size_t)(8 + c) * out_stride, _mm512_shuffle_f32x4(high01, high23, 0x88));
		_mm512_storeu_ps(out + (size_t)(12 + c) * out_stride, _mm512_shuffle_f32x4(high01, high23, 0xdd));
	}
}

#endif
