/* Reading memory with AVX2. */
#include "kernels/ceilings_simd.h"

#if defined(__x86_64__)
#pragma GCC target("avx2,fma,f16c")
#include <immintrin.h>
#include <string.h>

uint64_t read_avx2(const unsigned char *data, size_t n_bytes)
{
	__m256i a = _mm256_setzero_si256(), b = a, c = a, d = a;
	for (size_t i = 0; i < n_bytes; i += 128) {
		const __m256i *at = (const __m256i *)(const void *)(data + i);
		a = _mm256_add_epi64(a, _mm256_loadu_si256(at));
		b = _mm256_add_epi64(b, _mm256_loadu_si256(at + 1));
		c = _mm256_add_epi64(c, _mm256_loadu_si256(at + 2));
		d = _mm256_add_epi64(d, _mm256_loadu_si256(at + 3));
	}
	a = _mm256_add_epi64(_mm256_add_epi64(a, b), _mm256_add_epi64(c, d));
	uint64_t lanes[4];
	memcpy(lanes, &a, sizeof lanes);
	return lanes[0] ^ lanes[1] ^ lanes[2] ^ lanes[3];
}
#endif
