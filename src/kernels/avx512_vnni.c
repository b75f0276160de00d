/* Weights of few bits with vpdpbusd on 512-bit vectors: one instruction multiplies four inputs for 16 outputs. */
#if defined(__x86_64__)
#pragma GCC target("avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,prefer-vector-width=512")
#include "kernels/avx512_quant_vector.h"

#define QUANT_FUNCTION avx512_vnni_quant

ALWAYS_INLINE qi quant_weights(const enum dtype type, qi stored, qi high, const int j, const int half)
{
	return quant_bits(type) == 8 ? stored : quant_few_bits(type, stored, high, j, half);
}

ALWAYS_INLINE qi quant_start(const enum dtype type, int32_t first)
{
	(void)type;
	return _mm512_set1_epi32(first);
}

ALWAYS_INLINE qi quant_step(const enum dtype type, qi sum, qi w, qi x)
{
	(void)type;
	return _mm512_dpbusd_epi32(sum, w, x);
}

ALWAYS_INLINE qf quant_finish(const enum dtype type, qi sum, int32_t first)
{
	(void)type, (void)first;
	return _mm512_cvtepi32_ps(sum);
}

#include "kernels/quant_body.inc"
#endif
