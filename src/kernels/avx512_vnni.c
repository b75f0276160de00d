/* Weights of few bits with vpdpbusd on 512-bit vectors: one instruction multiplies four inputs for 16 outputs. */
#if defined(__x86_64__)
#pragma GCC target("avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,prefer-vector-width=512")
#include "kernels/avx512_quant_vector.h"

#define QUANT_FUNCTION avx512_vnni_quant
#define QUANT_LANES    16
/* Tiles that leave room for their sums in 32 registers. A few rows wait for memory, so that they share out its streams
 * and as many rows as possible share a weight; many rows share their loads of activations, too. */
#define QUANT_MAX_FEW_ROWS  8
#define QUANT_MAX_ROWS      6
#define QUANT_VECTORS(rows) ((rows) <= 3 ? 4 : (rows) <= 6 ? 2 : 1)

#define qf_zero()       _mm512_setzero_ps()
#define qf_set1(x)      _mm512_set1_ps(x)
#define qf_mul(a, b)    _mm512_mul_ps(a, b)
#define qf_fma(a, b, c) _mm512_fmadd_ps(a, b, c)

ALWAYS_INLINE void qf_store(float *out, qf v, int n)
{
	_mm512_mask_storeu_ps(out, (__mmask16)((1u << n) - 1), v);
}

ALWAYS_INLINE qi quant_x(const int8_t *values)
{
	int32_t four;
	memcpy(&four, values, sizeof four);
	return _mm512_set1_epi32(four);
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

#include "kernels/quant_body.h"
#endif
