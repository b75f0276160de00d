/* Reading memory with AVX2, and how fast its products of bytes and of bf16 weights are. */
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

/* The compiler may not know the values, else it would compute the result itself. */
static volatile const char int8_one = 1;
static volatile const short int16_one = 1;

/* What 8-bit weights take without dot-product instructions. Those of few bits are added in 16 bits before they are
 * multiplied to 32, and may go beyond this. */
uint64_t peak_avx2_int8(int n_rounds)
{
	__m256i sums[PEAK_AVX2_CHAINS], x = _mm256_set1_epi8(int8_one), ones = _mm256_set1_epi16(int16_one);
	for (int i = 0; i < PEAK_AVX2_CHAINS; i++)
		sums[i] = _mm256_setzero_si256();
	for (int round = 0; round < n_rounds; round++) {
#pragma GCC unroll 8
		for (int i = 0; i < PEAK_AVX2_CHAINS; i++) {
			PEAK_HIDE(x);
			__m256i pairs = _mm256_maddubs_epi16(x, x);
			sums[i] = _mm256_add_epi32(sums[i], _mm256_madd_epi16(pairs, ones));
		}
	}
	for (int i = 1; i < PEAK_AVX2_CHAINS; i++)
		sums[0] = _mm256_add_epi32(sums[0], sums[i]);
	return (uint64_t)_mm256_extract_epi32(sums[0], 0);
}

static volatile const int bf16_ones = 0x3F803F80;

/* f32 products with weights that become floats on the way, by shift and mask: each of a tile's rows takes them as they are,
 * as in avx2_bf16.c. */
uint64_t peak_avx2_bf16(int n_rounds)
{
	enum { ROWS = 3, VECTORS = PEAK_AVX2_BF16_CHAINS / ROWS };
	__m256 sums[ROWS][VECTORS];
	__m256i pairs = _mm256_set1_epi32(bf16_ones), odd = _mm256_set1_epi32((int)0xffff0000);
	__m256 x = _mm256_castsi256_ps(_mm256_and_si256(pairs, odd));
	for (int i = 0; i < PEAK_AVX2_BF16_CHAINS; i++)
		sums[i % ROWS][i / ROWS] = _mm256_setzero_ps();
	for (int round = 0; round < n_rounds; round++) {
#pragma GCC unroll 4
		for (int i = 0; i < VECTORS; i++) {
			PEAK_HIDE(pairs);
			__m256 weights =
			    _mm256_castsi256_ps(i % 2 == 0 ? _mm256_slli_epi32(pairs, 16) : _mm256_and_si256(pairs, odd));
#pragma GCC unroll 3
			for (int row = 0; row < ROWS; row++)
				sums[row][i] = _mm256_fmadd_ps(x, weights, sums[row][i]);
		}
	}
	for (int i = 1; i < PEAK_AVX2_BF16_CHAINS; i++)
		sums[0][0] = _mm256_add_ps(sums[0][0], sums[i % ROWS][i / ROWS]);
	return (uint64_t)_mm256_cvtss_f32(sums[0][0]);
}
#endif
