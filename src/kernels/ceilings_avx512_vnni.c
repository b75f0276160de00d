/* How fast vpdpbusd is. */
#include "kernels/ceilings_simd.h"

#if defined(__x86_64__)
#pragma GCC target("avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")
#include <immintrin.h>

/* The compiler may not know the value, else it would compute the result itself. */
static volatile const char int8_one = 1;

uint64_t peak_avx512_vnni(int n_rounds)
{
	__m512i sums[PEAK_CHAINS];
	__m512i ones = _mm512_set1_epi8(int8_one);
	for (int i = 0; i < PEAK_CHAINS; i++)
		sums[i] = _mm512_setzero_si512();
	for (int round = 0; round < n_rounds; round++) {
#pragma GCC unroll 16
		for (int i = 0; i < PEAK_CHAINS; i++)
			sums[i] = _mm512_dpbusd_epi32(sums[i], ones, ones);
	}
	for (int i = 1; i < PEAK_CHAINS; i++)
		sums[0] = _mm512_add_epi32(sums[0], sums[i]);
	return (uint64_t)_mm512_reduce_add_epi32(sums[0]);
}
#endif
