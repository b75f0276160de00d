/* Products of f32 activations with bf16 weights in AVX2, 16 inputs at a time: as they lie in memory, the even ones of 8
 * pairs become floats by one shift and the odd ones by one mask, which is half of what widening 8 in their order takes
 * (and that was what the multipliers waited for). Activations are laid out to match: avx2_split_row.
 */
#if defined(__x86_64__)
#pragma GCC target("avx2,fma,f16c")
#include <assert.h>
#include <immintrin.h>
#include <stdbool.h>
#include <string.h>

#include "kernels/avx2_vector.h"
#include "kernels/kernel_set.h"

#define TILE_ROWS             3
#define TILE_FEW_ROWS         1
#define TILE_ONE_ROW          8
#define DOT_STEP              SPLIT_STEP
#define DOT_PARTS             2
#define DOT_VECTOR            vf
#define DOT_X_ELEMENT         float
#define DOT_LOAD_X(p)         v_load(p)
#define DOT_LOAD_X_SOME(p, n) ((void)(n), v_load(p)) /* padded with zeros */
#define DOT_MULTIPLY(s, a, b) add_product(s, a, b)

/* In place: gcc would take the form that overwrites a factor, and spill sums for the copies that it then needs. */
ALWAYS_INLINE vf add_product(vf sum, vf a, vf b)
{
#ifdef __clang__ /* the linter, which has no such registers */
	return v_fma(a, b, sum);
#else
	__asm__("vfmadd231ps %2, %1, %0" : "+x"(sum) : "x"(a), "x"(b));
	return sum;
#endif
}

ALWAYS_INLINE int64_t element_bytes(const enum dtype type)
{
	(void)type;
	return 2;
}

/* In memory, because the sums of a tile, its inputs and weights take all registers. */
#define ODD_PAIR ((long long)0xffff0000ffff0000)
static volatile const __m256i odd_mask = {ODD_PAIR, ODD_PAIR, ODD_PAIR, ODD_PAIR};

ALWAYS_INLINE vf dot_load_weights(const enum dtype type, const unsigned char *w, int64_t k, const int part)
{
	(void)type;
	/* Loaded for each part anew: gcc would keep the pairs of all outputs, and then has no registers for the sums. */
	__asm__("" ::: "memory");
	__m256i pairs = _mm256_loadu_si256((const __m256i *)(const void *)(w + k * 2));
	return _mm256_castsi256_ps(part == 0 ? _mm256_slli_epi32(pairs, 16) : _mm256_and_si256(pairs, odd_mask));
}

ALWAYS_INLINE vf dot_load_weights_some(const enum dtype type, const unsigned char *w, int64_t k, int n, const int part)
{
	uint16_t some[SPLIT_STEP] = {0};
	memcpy(some, w + k * 2, (size_t)n * sizeof *some);
	return dot_load_weights(type, (const unsigned char *)some, 0, part);
}

#include "kernels/dot_body.inc"

void avx2_split_dot(const struct dot_block *block)
{
	dot_block_run(DTYPE_BF16, block);
}

void avx2_split_row(float *out, const float *x, int64_t n)
{
	for (; n > 0; n -= SPLIT_STEP, x += SPLIT_STEP, out += SPLIT_STEP) {
		float step[SPLIT_STEP] = {0};
		memcpy(step, x, (size_t)(n < SPLIT_STEP ? n : SPLIT_STEP) * sizeof *step);
		__m256 low = _mm256_loadu_ps(step), high = _mm256_loadu_ps(step + 8);
		/* Pairs of quarters: 0 2 | 8 10 | 4 6 | 12 14. */
		__m256d even = _mm256_castps_pd(_mm256_shuffle_ps(low, high, 0x88));
		__m256d odd = _mm256_castps_pd(_mm256_shuffle_ps(low, high, 0xdd));
		_mm256_storeu_pd((double *)(void *)out, _mm256_permute4x64_pd(even, 0xd8));
		_mm256_storeu_pd((double *)(void *)(out + 8), _mm256_permute4x64_pd(odd, 0xd8));
	}
}
#endif
