/* Weights of few bits with AVX2, half a block at a time.
 *
 * vpmaddubsw adds two products in 16 bits and saturates. 4-bit weights leave room for the eight steps of a group
 * (8 * 2 * 15 * 127 < 2^15), so a group is summed in 16 bits; 6-bit ones (2 * 63 * 127) do not. 8-bit weights become
 * signed, and their sign moves to the activations: 2 * 127 * 127 just fits.
 */
#if defined(__x86_64__)
#pragma GCC target("avx2,fma,f16c")
#include "kernels/avx2_quant_vector.h"

#define QUANT_FUNCTION avx2_quant

ALWAYS_INLINE bool sums_16_bits(const enum dtype type)
{
	return quant_bits(type) == 4;
}

ALWAYS_INLINE qi quant_weights(const enum dtype type, qi stored, qi high, const int j, const int half)
{
	return quant_bits(type) == 8 ? _mm256_xor_si256(stored, _mm256_set1_epi8((char)0x80))
	                             : quant_few_bits(type, stored, high, j, half);
}

ALWAYS_INLINE qi quant_start(const enum dtype type, int32_t first)
{
	return sums_16_bits(type) || quant_bits(type) == 8 ? _mm256_setzero_si256() : _mm256_set1_epi32(first);
}

ALWAYS_INLINE qi quant_step(const enum dtype type, qi sum, qi w, qi x)
{
	if (sums_16_bits(type))
		return _mm256_add_epi16(sum, _mm256_maddubs_epi16(w, x));
	qi pairs = quant_bits(type) == 8 ? _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w))
	                                 : _mm256_maddubs_epi16(w, x);
	return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

ALWAYS_INLINE qf quant_finish(const enum dtype type, qi sum, int32_t first)
{
	if (sums_16_bits(type))
		sum = _mm256_add_epi32(_mm256_madd_epi16(sum, _mm256_set1_epi16(1)), _mm256_set1_epi32(first));
	return _mm256_cvtepi32_ps(sum);
}

#include "kernels/quant_body.inc"
#endif
