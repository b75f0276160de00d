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

#define quant_load(p)     _mm512_loadu_si512(p)
#define quant_scales(p)   _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)(p)))
#define quant_unsigned(p) _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)(p))))
#define quant_signed(p)   _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(const void *)(p))))

ALWAYS_INLINE qi quant_weights(const enum dtype type, qi stored, qi high, const int j, const int half)
{
	if (type == DTYPE_Q8)
		return stored;
	qi low = _mm512_and_si512(half ? _mm512_srli_epi16(stored, 4) : stored, _mm512_set1_epi8(15));
	if (type != DTYPE_Q6K)
		return low;
	qi bits = j < 2 ? _mm512_slli_epi16(high, (unsigned)(4 - 2 * j)) : _mm512_srli_epi16(high, (unsigned)(2 * j - 4));
	return _mm512_or_si512(low, _mm512_and_si512(bits, _mm512_set1_epi8(0x30)));
}

#endif
