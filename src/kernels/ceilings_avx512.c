/* Reading memory with AVX-512, and how fast its products of bytes are without VNNI. */
#include "kernels/ceilings_simd.h"

#if defined(__x86_64__)
#pragma GCC target("avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq")
#include <immintrin.h>

static uint64_t sum_lanes(__m512i sum)
{
	return (uint64_t)_mm512_reduce_add_epi64(sum);
}

uint64_t read_avx512(const unsigned char *data, size_t n_bytes)
{
	__m512i a = _mm512_setzero_si512(), b = a, c = a, d = a;
	for (size_t i = 0; i < n_bytes; i += 256) {
		a = _mm512_add_epi64(a, _mm512_loadu_si512(data + i));
		b = _mm512_add_epi64(b, _mm512_loadu_si512(data + i + 64));
		c = _mm512_add_epi64(c, _mm512_loadu_si512(data + i + 128));
		d = _mm512_add_epi64(d, _mm512_loadu_si512(data + i + 192));
	}
	return sum_lanes(_mm512_add_epi64(_mm512_add_epi64(a, b), _mm512_add_epi64(c, d)));
}

/* Software prefetch some lines ahead: more misses in flight than the hardware asks for by itself. */
uint64_t read_avx512_prefetch(const unsigned char *data, size_t n_bytes)
{
	enum { AHEAD_BYTES = 2048 };
	__m512i a = _mm512_setzero_si512(), b = a;
	for (size_t i = 0; i < n_bytes; i += 128) {
		_mm_prefetch((const char *)data + i + AHEAD_BYTES, _MM_HINT_T0);
		_mm_prefetch((const char *)data + i + AHEAD_BYTES + 64, _MM_HINT_T0);
		a = _mm512_add_epi64(a, _mm512_loadu_si512(data + i));
		b = _mm512_add_epi64(b, _mm512_loadu_si512(data + i + 64));
	}
	return sum_lanes(_mm512_add_epi64(a, b));
}

/* Four streams a quarter apart, as a kernel reads four rows: more memory banks at once. */
uint64_t read_avx512_streams(const unsigned char *data, size_t n_bytes)
{
	enum { AHEAD_BYTES = 1024 };
	size_t quarter = n_bytes / 4;
	__m512i sums[4] = {_mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512()};
	for (size_t i = 0; i < quarter; i += 64)
		for (int j = 0; j < 4; j++) {
			const unsigned char *at = data + j * quarter + i;
			_mm_prefetch((const char *)at + AHEAD_BYTES, _MM_HINT_T0);
			sums[j] = _mm512_add_epi64(sums[j], _mm512_loadu_si512(at));
		}
	return sum_lanes(_mm512_add_epi64(_mm512_add_epi64(sums[0], sums[1]), _mm512_add_epi64(sums[2], sums[3])));
}

/* The compiler may not know the values, else it would compute the result itself. */
static volatile const char int8_one = 1;
static volatile const short int16_one = 1;

/* What 8-bit weights take without dot-product instructions. Those of few bits are added in 16 bits before they are
 * multiplied to 32, and may go beyond this. */
uint64_t peak_avx512_int8(int n_rounds)
{
	__m512i sums[PEAK_CHAINS], x = _mm512_set1_epi8(int8_one), ones = _mm512_set1_epi16(int16_one);
	for (int i = 0; i < PEAK_CHAINS; i++)
		sums[i] = _mm512_setzero_si512();
	for (int round = 0; round < n_rounds; round++) {
#pragma GCC unroll 16
		for (int i = 0; i < PEAK_CHAINS; i++) {
			PEAK_HIDE(x);
			__m512i pairs = _mm512_maddubs_epi16(x, x);
			sums[i] = _mm512_add_epi32(sums[i], _mm512_madd_epi16(pairs, ones));
		}
	}
	for (int i = 1; i < PEAK_CHAINS; i++)
		sums[0] = _mm512_add_epi32(sums[0], sums[i]);
	return (uint64_t)_mm512_reduce_add_epi32(sums[0]);
}
#endif
