/* Blocks of weights in few bits in 512-bit vectors: what every function on them starts from. */
#ifndef TALLOW_KERNELS_AVX512_QUANT_VECTOR_H
#define TALLOW_KERNELS_AVX512_QUANT_VECTOR_H

#include <assert.h>
#include <immintrin.h>
#include <stdbool.h>
#include <string.h>

#include "kernels/kernel_set.h"

#ifndef ALWAYS_INLINE
#define ALWAYS_INLINE static inline __attribute__((always_inline))
#endif

typedef __m512i qi;
typedef __m512 qf;

#define QUANT_LANES 16
/* Measured on one row, one thread, from memory: with 4096 0.8 to 1 times as fast, with 16384 0.9 to 1.05 times. */
#define QUANT_FAR_BYTES 8192
/* Tiles that leave room for their sums in 32 registers. One row reads one strip at a time (measured on Zen 5: 1.05 to 1.15
 * times as fast as four, which are faster for two and three rows of the types with super-blocks); as many rows as possible
 * share a weight, unless its pieces or fine activations are what takes time. Short shared activations have twice as many
 * sums. */
#define QUANT_MOST_ROWS             8
#define QUANT_MAX_ROWS(type, grain) (quant_is_fine(grain) || quant_bits(type) == 6 ? 6 : 8)
#define QUANT_VECTORS(grain, rows)  ((rows) == 1 ? 1 : (rows) <= 3 && (grain) != GRAIN_SHORT ? 4 : (rows) <= 6 ? 2 : 1)
#define QUANT_PANEL_ROWS            6
#define QUANT_PANEL_VECTORS         2
/* Q6_K keeps three numbers for each output of a tile: those of five rows fit the registers. */
#define QUANT_PANEL_MOST(type, grain) (quant_bits(type) == 6 && !quant_is_fine(grain) ? 5 : QUANT_PANEL_ROWS)
/* Others are put together as fast as they are read again. */
#define QUANT_UNPACKS(type, grain)                                                                                     \
	(quant_has_rest(type) || quant_bits(type) == 2 || (quant_bits(type) != 8 && QUANT_SPLITS(type, grain)) ||          \
	 (quant_is_shared(grain) && quant_share(type, grain) != 16))

#define quant_load(p)   _mm512_loadu_si512(p)
#define quant_float(v)  _mm512_cvtepi32_ps(v)
#define quant_scales(p) _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)(p)))
#define quant_bf16_scales(p)                                                                                           \
	_mm512_castsi512_ps(                                                                                               \
	    _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(const void *)(p))), 16))
#define quant_unsigned_bytes(p) _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)(p)))
#define quant_signed_bytes(p)   _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(const void *)(p)))
#define quant_low_nibbles(p)    _mm512_and_si512(quant_unsigned_bytes(p), _mm512_set1_epi32(15))
#define quant_high_nibbles(p)   _mm512_srli_epi32(quant_unsigned_bytes(p), 4)
#define quant_add32(a, b)       _mm512_add_epi32(a, b)
#define quant_multiply32(a, b)  _mm512_mullo_epi32(a, b)
#define qf_zero()               _mm512_setzero_ps()
#define qf_load(p)              _mm512_loadu_ps(p)
#define qf_set1(x)              _mm512_set1_ps(x)
#define qf_mul(a, b)            _mm512_mul_ps(a, b)
#define qf_fma(a, b, c)         _mm512_fmadd_ps(a, b, c)

ALWAYS_INLINE void qf_store(float *out, qf v, int n)
{
	_mm512_mask_storeu_ps(out, (__mmask16)((1u << n) - 1), v);
}

ALWAYS_INLINE qi quant_x(const int8_t *values)
{
	int32_t four;
	memcpy(&four, values, sizeof four);
	return _mm512_set1_epi32(four);
}

ALWAYS_INLINE qi quant_both_high(const unsigned char *p)
{
	return _mm512_or_si512(quant_high_nibbles(p), _mm512_slli_epi32(quant_high_nibbles(p + QUANT_OUTPUTS), 16));
}

ALWAYS_INLINE qi quant_take(qi v, const int shift, const int mask)
{
	return _mm512_and_si512(shift ? _mm512_srli_epi16(v, (unsigned)shift) : v, _mm512_set1_epi8((char)mask));
}

#define quant_merge(a, b) _mm512_or_si512(a, b)

ALWAYS_INLINE qi quant_look_up(const uint8_t *levels, qi places)
{
	__m128i table = _mm_load_si128((const __m128i *)(const void *)levels);
	return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(table), places);
}

#include "kernels/quant_values.inc"

/* Bytes 0 and 2 of each word, 1 and 3, in 16 bits each. */
#define QUANT_PAIRS        true
#define quant_even(stored) _mm512_and_si512(stored, _mm512_set1_epi16(0xff))
#define quant_odd(stored)  _mm512_srli_epi16(stored, 8)

/* A factor for each lane, from a byte at p, as two of 16 bits. */
ALWAYS_INLINE qi quant_twice(const enum dtype type, const unsigned char *p)
{
	qi factors = _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(const void *)p));
	if (quant_of(type)->scale == SCALE_NIBBLES)
		factors = _mm512_and_si512(factors, _mm512_set1_epi32(15));
	return _mm512_shuffle_epi8(factors,
	                           _mm512_set_epi32(0x0d0c0d0c, 0x09080908, 0x05040504, 0x01000100, 0x0d0c0d0c, 0x09080908,
	                                            0x05040504, 0x01000100, 0x0d0c0d0c, 0x09080908, 0x05040504, 0x01000100,
	                                            0x0d0c0d0c, 0x09080908, 0x05040504, 0x01000100));
}

/* Bytes in 16 bits, without what zero adds, times their factors. */
#define quant_weigh_half(half, twice, zero) _mm512_mullo_epi16(_mm512_sub_epi16(half, _mm512_set1_epi16(zero)), twice)

#endif
