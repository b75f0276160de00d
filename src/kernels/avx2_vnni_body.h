/* 8-bit and 4-bit weights with vpdpbusd on 256-bit vectors, which multiplies four inputs for 8 outputs.
 *
 * Included after QUANT_FUNCTION and QUANT_DPBUSD, one of the two encodings of the instruction: avx2_vnni.c has that of
 * AVX-VNNI, tests/unit/test_quant.c that of AVX512VL with AVX512_VNNI. Intel's manual gives both one operation, so where only
 * the second can run it shows what these loops compute.
 */
#include "kernels/avx2_quant_vector.h"

ALWAYS_INLINE qi quant_weights(const enum dtype type, qi stored, const int half)
{
	return type == DTYPE_Q8 ? stored : quant_nibbles(stored, half);
}

ALWAYS_INLINE qi quant_start(const enum dtype type, const struct quant_group *group)
{
	(void)type;
	return _mm256_set1_epi32(group->offset);
}

ALWAYS_INLINE qi quant_step(const enum dtype type, qi sum, qi w, qi x)
{
	(void)type;
	return QUANT_DPBUSD(sum, w, x);
}

ALWAYS_INLINE qf quant_finish(const enum dtype type, qi sum, const struct quant_group *group)
{
	(void)type, (void)group;
	return _mm256_cvtepi32_ps(sum);
}

#include "kernels/quant_body.h"
