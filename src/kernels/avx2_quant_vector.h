/* Half a block of quantised weights in 256-bit vectors: what every quant_function on them starts from. */
#ifndef TALLOW_KERNELS_AVX2_QUANT_VECTOR_H
#define TALLOW_KERNELS_AVX2_QUANT_VECTOR_H

#include <assert.h>
#include <immintrin.h>
#include <stdbool.h>
#include <string.h>

#include "kernels/kernel_set.h"

#define ALWAYS_INLINE static inline __attribute__((always_inline))

typedef __m256i qi;
typedef __m256 qf;

#define QUANT_LANES 8
/* Measured on one row: 3072 and 8192 are up to 0.1 slower. */
#define QUANT_FAR_BYTES 6144
#define QUANT_BY_STRIPS true
/* One row reads one strip at a time (measured on Zen 5, in turns: up to 1.45 times as fast as two). Rows share their loads of
 * activations as two vectors of outputs, unless words of several pieces make weights dear: those are shared by four rows
 * (measured there: 1.1 times as fast each, with vpdpbusd up to 1.18 times). Short shared activations have twice as many
 * sums. */
#define QUANT_MOST_ROWS             4
#define QUANT_MAX_ROWS(type, grain) (quant_has_rest(type) || (grain) == GRAIN_SHORT ? 4 : 3)
#define QUANT_VECTORS(grain, rows)  ((rows) == 1 || ((rows) <= 3 && (grain) != GRAIN_SHORT) ? 2 : 1)
#ifndef QUANT_PANEL_ROWS
#define QUANT_PANEL_ROWS 3
#endif
#define QUANT_PANEL_VECTORS        2
#define QUANT_UNPACKS(type, grain) (quant_bits(type) != 8 || QUANT_SPLITS(type, grain) || quant_is_shared(grain))
/* What takes many steps to unpack is worth it for more than one tile (measured on Zen 5, 4 to 16 rows: 1.1 to 1.4 times as
 * fast), but for values that would be weighed; so is what takes fewer and meets short activations (on Zen 3, 4 bits: 4 rows
 * 0.88 to 0.93, 5 to 8 1.03 to 1.1, 12 and 16 1.13 to 1.2 times). */
#define QUANT_MANY_ROWS(type, grain)                                                                                   \
	(quant_bits(type) <= 3 ? (QUANT_FOLDS ? 4 : DOT_FEW_ROWS + 1)                                                      \
	 : quant_has_rest(type) || (quant_bits(type) != 8 && QUANT_SPLITS(type, grain)) ? 4                                \
	 : (grain) == GRAIN_SHORT                                                       ? 5                                \
	                                                                                : DOT_FEW_ROWS + 1)

#define quant_load(p)   _mm256_loadu_si256((const __m256i *)(const void *)(p))
#define quant_float(v)  _mm256_cvtepi32_ps(v)
#define quant_scales(p) _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)(p)))
#define quant_bf16_scales(p)                                                                                           \
	_mm256_castsi256_ps(                                                                                               \
	    _mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(const void *)(p))), 16))
#define quant_unsigned_bytes(p) _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)(p)))
#define quant_signed_bytes(p)   _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)(p)))
#define quant_low_nibbles(p)    _mm256_and_si256(quant_unsigned_bytes(p), _mm256_set1_epi32(15))
#define quant_high_nibbles(p)   _mm256_srli_epi32(quant_unsigned_bytes(p), 4)
#define quant_add32(a, b)       _mm256_add_epi32(a, b)
#define quant_multiply32(a, b)  _mm256_mullo_epi32(a, b)
#define qf_zero()               _mm256_setzero_ps()
#define qf_load(p)              _mm256_loadu_ps(p)
#define qf_set1(x)              _mm256_set1_ps(x)
#define qf_mul(a, b)            _mm256_mul_ps(a, b)
#define qf_fma(a, b, c)         _mm256_fmadd_ps(a, b, c)

ALWAYS_INLINE void qf_store(float *out, qf v, int n)
{
	if (n == QUANT_LANES) {
		_mm256_storeu_ps(out, v);
		return;
	}
	float lanes[QUANT_LANES];
	_mm256_storeu_ps(lanes, v);
	memcpy(out, lanes, (size_t)n * sizeof *lanes);
}

ALWAYS_INLINE qi quant_x(const int8_t *values)
{
	int32_t four;
	memcpy(&four, values, sizeof four);
	return _mm256_set1_epi32(four);
}

ALWAYS_INLINE qi quant_both_high(const unsigned char *p)
{
	return _mm256_or_si256(quant_high_nibbles(p), _mm256_slli_epi32(quant_high_nibbles(p + QUANT_OUTPUTS), 16));
}

ALWAYS_INLINE qi quant_take(qi v, const int shift, const int mask)
{
	return _mm256_and_si256(shift ? _mm256_srli_epi16(v, shift) : v, _mm256_set1_epi8((char)mask));
}

#define quant_merge(a, b) _mm256_or_si256(a, b)

ALWAYS_INLINE qi quant_look_up(const uint8_t *levels, qi places)
{
	__m128i table = _mm_load_si128((const __m128i *)(const void *)levels);
	return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(table), places);
}

#include "kernels/quant_values.inc"

/* Bytes 0 and 2 of each word, 1 and 3, in 16 bits each. */
#define QUANT_PAIRS        true
#define quant_even(stored) _mm256_and_si256(stored, _mm256_set1_epi16(0xff))
#define quant_odd(stored)  _mm256_srli_epi16(stored, 8)

/* A factor for each lane, from a byte at p, as two of 16 bits. */
ALWAYS_INLINE qi quant_twice(const enum dtype type, const unsigned char *p)
{
	qi factors = _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)p));
	if (quant_of(type)->scale == SCALE_NIBBLES)
		factors = _mm256_and_si256(factors, _mm256_set1_epi32(15));
	return _mm256_shuffle_epi8(factors, _mm256_set_epi32(0x0d0c0d0c, 0x09080908, 0x05040504, 0x01000100, 0x0d0c0d0c,
	                                                     0x09080908, 0x05040504, 0x01000100));
}

/* Bytes in 16 bits, without what zero adds, times their factors. */
#define quant_weigh_half(half, twice, zero) _mm256_mullo_epi16(_mm256_sub_epi16(half, _mm256_set1_epi16(zero)), twice)

#endif
