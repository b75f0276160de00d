/* 8-bit and 4-bit weights with AVX2, half a block at a time.
 *
 * vpmaddubsw adds two products in 16 bits and saturates. 4-bit weights leave room for the eight steps of a group
 * (8 * 2 * 15 * 127 < 2^15), so a group is summed in 16 bits. 8-bit weights become signed, and their sign moves to the
 * activations: 2 * 127 * 127 just fits.
 */
#pragma GCC target("avx2,fma,f16c")
#include <immintrin.h>
#include <stdbool.h>
#include <string.h>

#include "kernels/kernel_set.h"

#define ALWAYS_INLINE static inline __attribute__((always_inline))

typedef __m256i qi;
typedef __m256 qf;

#define QUANT_FUNCTION      avx2_quant
#define QUANT_LANES         8
#define QUANT_MAX_FEW_ROWS  4
#define QUANT_MAX_ROWS      4
#define QUANT_VECTORS(rows) ((rows) == 1 ? 4 : (rows) == 2 ? 2 : 1)

#define quant_load(p)   _mm256_loadu_si256((const __m256i *)(const void *)(p))
#define quant_scales(p) _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)(p)))
#define qf_zero()       _mm256_setzero_ps()
#define qf_set1(x)      _mm256_set1_ps(x)
#define qf_mul(a, b)    _mm256_mul_ps(a, b)
#define qf_fma(a, b, c) _mm256_fmadd_ps(a, b, c)

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

ALWAYS_INLINE qi quant_weights(const enum dtype type, qi stored, const int half)
{
	if (type == DTYPE_Q8)
		return _mm256_xor_si256(stored, _mm256_set1_epi8((char)0x80));
	return _mm256_and_si256(half ? _mm256_srli_epi16(stored, 4) : stored, _mm256_set1_epi8(15));
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
