/* Weights of few bits with vpdpbusd on 256-bit vectors, which multiplies four inputs for 8 outputs.
 *
 * Included after QUANT_FUNCTION and QUANT_DPBUSD, one of the two encodings of the instruction: avx2_vnni.c has that of
 * AVX-VNNI, tests/unit/test_quant.c that of AVX512VL with AVX512_VNNI. Intel's manual gives both one operation, so where only
 * the second can run it shows what these loops compute.
 */
#include "kernels/avx2_quant_vector.h"

ALWAYS_INLINE qi quant_weights(const enum dtype type, qi stored, qi high, const int j, const int half)
{
	return type == DTYPE_Q8 ? stored : quant_few_bits(type, stored, high, j, half);
}

ALWAYS_INLINE qi quant_start(const enum dtype type, int32_t first)
{
	(void)type;
	return _mm256_set1_epi32(first);
}

ALWAYS_INLINE qi quant_step(const enum dtype type, qi sum, qi w, qi x)
{
	(void)type;
	return QUANT_DPBUSD(sum, w, x);
}

ALWAYS_INLINE qf quant_finish(const enum dtype type, qi sum, int32_t first)
{
	(void)type, (void)first;
	return _mm256_cvtepi32_ps(sum);
}

#include "kernels/quant_body.h"
