/* Weights of few bits with vpdpbusd on 512-bit vectors: one instruction multiplies four inputs for 16 outputs. */
#if defined(__x86_64__)
#pragma GCC target("avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,prefer-vector-width=512")
#include "kernels/avx512_quant_vector.h"

#define QUANT_FUNCTION avx512_vnni_quant

#define quant_weights(type, rows, word) quant_stored(type, rows, word)
#define quant_start(type, first)        ((void)(type), _mm512_set1_epi32(first))
#define quant_step(type, sum, w, x)     ((void)(type), _mm512_dpbusd_epi32(sum, w, x))
#define quant_step_pairs(sum, w, x)     _mm512_dpwssd_epi32(sum, w, x)

#define QUANT_WEIGHS true

ALWAYS_INLINE qi quant_weigh(qi stored, const unsigned char *p, const bool nibbles, const int zero, const int with_zero)
{
	const qi byte = _mm512_set1_epi16(0xff);
	qi factors = _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(const void *)p));
	if (nibbles)
		factors = _mm512_and_si512(factors, _mm512_set1_epi32(15));
	factors = _mm512_or_si512(_mm512_and_si512(factors, _mm512_set1_epi32(0xffff)), _mm512_slli_epi32(factors, 16));
	qi added = _mm512_sub_epi16(_mm512_set1_epi16((short)with_zero),
	                            _mm512_mullo_epi16(factors, _mm512_set1_epi16((short)zero)));
	qi even = _mm512_add_epi16(_mm512_mullo_epi16(quant_even(stored), factors), added);
	qi odd = _mm512_add_epi16(_mm512_mullo_epi16(quant_odd(stored), factors), added);
	return _mm512_or_si512(_mm512_and_si512(even, byte), _mm512_slli_epi16(odd, 8));
}

#include "kernels/quant_body.inc"
#endif
