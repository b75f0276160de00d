/* 8-bit and 4-bit weights with AVX2, half a block at a time.
 *
 * vpmaddubsw adds two products in 16 bits and saturates. 4-bit weights leave room for the eight steps of a group
 * (8 * 2 * 15 * 127 < 2^15), so a group is summed in 16 bits. 8-bit weights become signed, and their sign moves to the
 * activations: 2 * 127 * 127 just fits.
 */
#if defined(__x86_64__)
#pragma GCC target("avx2,fma,f16c")
#include "kernels/avx2_quant_vector.h"

#define QUANT_FUNCTION avx2_quant

ALWAYS_INLINE qi quant_weights(const enum dtype type, qi stored, const int half)
{
	return type == DTYPE_Q8 ? _mm256_xor_si256(stored, _mm256_set1_epi8((char)0x80)) : quant_nibbles(stored, half);
}

ALWAYS_INLINE qi quant_start(const enum dtype type, const struct quant_group *group)
{
	(void)type, (void)group;
	return _mm256_setzero_si256();
}

ALWAYS_INLINE qi quant_step(const enum dtype type, qi sum, qi w, qi x)
{
	if (type == DTYPE_Q4)
		return _mm256_add_epi16(sum, _mm256_maddubs_epi16(w, x));
	qi pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w));
	return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

ALWAYS_INLINE qf quant_finish(const enum dtype type, qi sum, const struct quant_group *group)
{
	if (type == DTYPE_Q4)
		sum = _mm256_add_epi32(_mm256_madd_epi16(sum, _mm256_set1_epi16(1)), _mm256_set1_epi32(group->offset));
	return _mm256_cvtepi32_ps(sum);
}

#include "kernels/quant_body.h"
#endif
