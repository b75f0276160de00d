/* Weights of few bits with AVX2, half a block at a time.
 *
 * vpmaddubsw adds two products in 16 bits and saturates, which values of few bits are too small for: several steps fit
 * a sum in 16 bits (4 bits: all 8 of a group, 8 * 2 * 15 * 127 < 2^15) before it is folded into one of 32. Values that
 * take a byte would need two more instructions; vpmaddwd multiplies them by fine activations in as many as vpmaddubsw
 * takes with its folding.
 *
 * Many rows go by four: one sum for all of a group leaves the registers for them (measured on Zen 3, Q4_1, one thread,
 * in turns: 10.4 cycles for a row by a vector by a group instead of 10.8 by three).
 */
#if defined(__x86_64__)
#pragma GCC target("avx2,fma,f16c")
#define QUANT_PANEL_ROWS 4
#include "kernels/avx2_quant_vector.h"

#define QUANT_FUNCTION avx2_quant

#define QUANT_FINE_ONLY(type)       quant_is_wide(type)
#define QUANT_STEPS(type)           (0x7fff / (2 * 127 * quant_largest(type)))
#define quant_start(first)          _mm256_set1_epi32(first)
#define quant_step(type, sum, w, x) ((void)(type), _mm256_add_epi16(sum, _mm256_maddubs_epi16(w, x)))
#define quant_step_pairs(sum, w, x) _mm256_add_epi32(sum, _mm256_madd_epi16(w, x))

#define QUANT_SHARED           GRAIN_SHORT
#define quant_add16(a, b)      _mm256_add_epi16(a, b)
#define quant_round16(a, bits) _mm256_mulhrs_epi16(a, _mm256_set1_epi16(1 << (15 - (bits))))

ALWAYS_INLINE qi quant_share_word(qi a, qi b, const int share)
{
	if (share == 7)
		return _mm256_add_epi8(_mm256_sub_epi8(a, b), _mm256_slli_epi16(b, 3));
	assert(share == 5);
	return _mm256_add_epi8(_mm256_add_epi8(a, b), _mm256_slli_epi16(b, 2));
}

#define quant_ones(n) _mm256_set1_epi16(n)

ALWAYS_INLINE qi quant_fold(qi sum, qi brief, qi factors)
{
	return _mm256_add_epi32(sum, _mm256_madd_epi16(brief, factors));
}

ALWAYS_INLINE qi quant_start_parts(const enum dtype type, qi a, qi b)
{
	return _mm256_mullo_epi16(_mm256_blend_epi16(a, b, 0xaa), _mm256_set1_epi16((short)-quant_of(type)->zero));
}

#define quant_start_folded(starts, offset) _mm256_madd_epi16(starts, _mm256_set1_epi32(offset))

#include "kernels/quant_body.inc"
#endif
