/* Weights of few bits with vpdpbusd on 512-bit vectors: one instruction multiplies four inputs for 16 outputs. */
#if defined(__x86_64__)
#pragma GCC target("avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,prefer-vector-width=512")
#include "kernels/avx512_quant_vector.h"

#define QUANT_FUNCTION avx512_vnni_quant

#define quant_start(first)          _mm512_set1_epi32(first)
#define quant_step(type, sum, w, x) ((void)(type), _mm512_dpbusd_epi32(sum, w, x))
#define quant_step_pairs(sum, w, x) _mm512_dpwssd_epi32(sum, w, x)

#define QUANT_SHARED                  GRAIN_SHARED
#define quant_raise(sum, start, bits) _mm512_add_epi32(start, _mm512_slli_epi32(sum, bits))

/* share: 2^n - 1, and what is shifted stays in its byte. */
ALWAYS_INLINE qi quant_share_word(qi a, qi b, const int share)
{
	qi times = _mm512_sub_epi8(_mm512_slli_epi16(b, share == 3 ? 2 : 3), b);
	return _mm512_add_epi8(a, times);
}

#define QUANT_WEIGHS true

ALWAYS_INLINE qi quant_weigh(qi stored, qi twice, const int zero, const int with_zero)
{
	qi added = _mm512_set1_epi16((short)with_zero);
	qi even = _mm512_add_epi16(quant_weigh_half(quant_even(stored), twice, (short)zero), added);
	qi odd = _mm512_add_epi16(quant_weigh_half(quant_odd(stored), twice, (short)zero), added);
	return _mm512_or_si512(quant_even(even), _mm512_slli_epi16(odd, 8));
}

#include "kernels/quant_body.inc"
#endif
