/* Weights of few bits with AVX-512 alone (F, BW, VL, DQ: Skylake-X), a block at a time, as in avx2_quant.c. Measured on
 * Zen 4, 1 to 64 rows, best of 15 in turns: 1.04 to 1.5 times as fast as AVX2's, at times twice.
 */
#if defined(__x86_64__)
#pragma GCC target("avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq,prefer-vector-width=512")
#include "kernels/avx512_quant_vector.h"

#define QUANT_FUNCTION avx512_quant

#define QUANT_FINE_ONLY(type)       quant_is_wide(type)
#define QUANT_STEPS(type)           (0x7fff / (2 * 127 * quant_largest(type)))
#define quant_start(first)          _mm512_set1_epi32(first)
#define quant_step(type, sum, w, x) ((void)(type), _mm512_add_epi16(sum, _mm512_maddubs_epi16(w, x)))
#define quant_step_pairs(sum, w, x) _mm512_add_epi32(sum, _mm512_madd_epi16(w, x))

#define QUANT_SHARED           GRAIN_SHORT
#define quant_add16(a, b)      _mm512_add_epi16(a, b)
#define quant_round16(a, bits) _mm512_mulhrs_epi16(a, _mm512_set1_epi16(1 << (15 - (bits))))

ALWAYS_INLINE qi quant_share_word(qi a, qi b, const int share)
{
	if (share == 7)
		return _mm512_add_epi8(_mm512_sub_epi8(a, b), _mm512_slli_epi16(b, 3));
	assert(share == 5);
	return _mm512_add_epi8(_mm512_add_epi8(a, b), _mm512_slli_epi16(b, 2));
}

#define quant_ones(n) _mm512_set1_epi16(n)

ALWAYS_INLINE qi quant_fold(qi sum, qi brief, qi factors)
{
	return _mm512_add_epi32(sum, _mm512_madd_epi16(brief, factors));
}

ALWAYS_INLINE qi quant_start_parts(const enum dtype type, qi a, qi b)
{
	return _mm512_mullo_epi16(_mm512_mask_blend_epi16(0xaaaaaaaa, a, b),
	                          _mm512_set1_epi16((short)-quant_of(type)->zero));
}

#define quant_start_folded(starts, offset) _mm512_madd_epi16(starts, _mm512_set1_epi32(offset))

#include "kernels/quant_body.inc"
#endif
