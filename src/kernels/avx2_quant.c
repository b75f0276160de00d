/* Weights of few bits with AVX2, half a block at a time.
 *
 * vpmaddubsw adds two products in 16 bits and saturates, which values of few bits are too small for: several steps fit a sum in
 * 16 bits (4 bits: all 8 of a group, 8 * 2 * 15 * 127 < 2^15) before it is folded into one of 32. Values that take a byte
 * become signed, and their sign moves to the activations: 2 * 128 * 127 just fits.
 */
#if defined(__x86_64__)
#pragma GCC target("avx2,fma,f16c")
#include "kernels/avx2_quant_vector.h"

#define QUANT_FUNCTION avx2_quant

ALWAYS_INLINE bool is_wide(const enum dtype type)
{
	return quant_largest(type) == 255;
}

#define QUANT_STEPS(type) (is_wide(type) ? 1 : 0x7fff / (2 * 127 * quant_largest(type)))

ALWAYS_INLINE qi quant_weights(const enum dtype type, qi low, qi high, const int word)
{
	qi stored = quant_stored(type, low, high, word);
	return is_wide(type) ? _mm256_xor_si256(stored, _mm256_set1_epi8((char)0x80)) : stored;
}

ALWAYS_INLINE qi quant_start(const enum dtype type, int32_t first)
{
	return is_wide(type) ? _mm256_setzero_si256() : _mm256_set1_epi32(first);
}

ALWAYS_INLINE qi quant_step(const enum dtype type, qi sum, qi w, qi x)
{
	if (is_wide(type))
		return _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w));
	return _mm256_add_epi16(sum, _mm256_maddubs_epi16(w, x));
}

#define quant_ones() _mm256_set1_epi16(1)

ALWAYS_INLINE qi quant_twice(const enum dtype type, const unsigned char *p)
{
	qi factors = _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)p));
	if (quant_of(type)->scale == SCALE_NIBBLES)
		factors = _mm256_and_si256(factors, _mm256_set1_epi32(15));
	return _mm256_shuffle_epi8(factors, _mm256_set_epi32(0x0d0c0d0c, 0x09080908, 0x05040504, 0x01000100, 0x0d0c0d0c,
	                                                     0x09080908, 0x05040504, 0x01000100));
}

ALWAYS_INLINE qi quant_fold(qi sum, qi brief, qi factors)
{
	return _mm256_add_epi32(sum, _mm256_madd_epi16(brief, factors));
}

ALWAYS_INLINE qi quant_start_parts(const enum dtype type, qi a, qi b, int32_t offset)
{
	qi both = _mm256_mullo_epi16(_mm256_blend_epi16(a, b, 0xaa), _mm256_set1_epi16((short)-quant_of(type)->zero));
	return _mm256_madd_epi16(both, _mm256_set1_epi32(offset));
}

#include "kernels/quant_body.inc"
#endif
