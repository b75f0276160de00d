/* How fast vdpbf16ps is. */
#include "kernels/ceilings_simd.h"

#if defined(__x86_64__)
#pragma GCC target("avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")
#include <immintrin.h>

/* The compiler may not know the value, else it would compute the result itself. */
static volatile const short bf16_one = 0x3F80;

uint64_t peak_avx512_bf16(int n_rounds)
{
	__m512 sums[PEAK_CHAINS];
	__m512i ones = _mm512_set1_epi16(bf16_one);
	for (int i = 0; i < PEAK_CHAINS; i++)
		sums[i] = _mm512_setzero_ps();
	for (int round = 0; round < n_rounds; round++) {
#pragma GCC unroll 16
		for (int i = 0; i < PEAK_CHAINS; i++)
			sums[i] = _mm512_dpbf16_ps(sums[i], (__m512bh)ones, (__m512bh)ones);
	}
	for (int i = 1; i < PEAK_CHAINS; i++)
		sums[0] = _mm512_add_ps(sums[0], sums[i]);
	return (uint64_t)_mm512_reduce_add_ps(sums[0]);
}
#endif
