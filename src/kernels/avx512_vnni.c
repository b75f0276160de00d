/* Weights of few bits with vpdpbusd on 512-bit vectors: one instruction multiplies four inputs for 16 outputs. */
#if defined(__x86_64__)
#pragma GCC target("avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,prefer-vector-width=512")
#include "kernels/avx512_quant_vector.h"

#define QUANT_FUNCTION avx512_vnni_quant

#define quant_weights(type, low, high, word) quant_stored(type, low, high, word)

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

#include "kernels/quant_body.inc"
#endif
