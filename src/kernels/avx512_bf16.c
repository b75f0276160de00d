/* bf16 x bf16 products with vdpbf16ps, for CPUs that have AVX512_BF16.
 *
 * The instruction multiplies pairs exactly and adds them to an f32 lane with its own rules: subnormal inputs and
 * results count as zero and every step rounds to nearest even. Against f32 arithmetic the error is that of rounding
 * activations to bf16, at most 2^-8 of each term.
 */
#if defined(__x86_64__)
#pragma GCC target("avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,prefer-vector-width=512")
#include <assert.h>
#include <immintrin.h>
#include <stdbool.h>

#include "kernels/avx512_vector.h"
#include "kernels/kernel_set.h"

#define TILE_ROWS             6
#define TILE_FEW_ROWS         3
#define DOT_STEP              BF16_PAD
#define DOT_VECTOR            __m512i
#define DOT_X_ELEMENT         uint16_t
#define DOT_LOAD_X(p)         _mm512_loadu_si512(p)
#define DOT_LOAD_X_SOME(p, n) ((void)(n), _mm512_loadu_si512(p)) /* padded with zeros */
#define DOT_MULTIPLY(s, a, b) _mm512_dpbf16_ps(s, (__m512bh)(a), (__m512bh)(b))

ALWAYS_INLINE int64_t element_bytes(const enum dtype type)
{
	(void)type;
	return 2;
}

ALWAYS_INLINE __m512i dot_load_weights(const enum dtype type, const unsigned char *w, int64_t k)
{
	(void)type;
	return _mm512_loadu_si512(w + k * 2);
}

ALWAYS_INLINE __m512i dot_load_weights_some(const enum dtype type, const unsigned char *w, int64_t k, int n)
{
	(void)type;
	return _mm512_maskz_loadu_epi16((1u << n) - 1, w + k * 2);
}

#include "kernels/dot_body.inc"

void avx512_bf16_dot(const struct dot_block *block)
{
	dot_block_run(DTYPE_BF16, block);
}
#endif
