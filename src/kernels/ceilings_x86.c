#include "kernels/ceilings_simd.h"

#if defined(__x86_64__)
#pragma GCC target("avx2,avx512f,avx512bw,avx512vl,avx512vnni,avx512bf16")
#include <immintrin.h>
#include <string.h>

#include "base/platform.h"
#include "kernels/amx.h"

static bool always(void)
{
	return true;
}

static bool has_avx2(void)
{
	struct platform_cpu cpu;
	platform_cpu(&cpu);
	return cpu.avx2;
}

static bool has_avx512(void)
{
	struct platform_cpu cpu;
	platform_cpu(&cpu);
	return cpu.avx512f && cpu.avx512bw;
}

static bool has_bf16(void)
{
	struct platform_cpu cpu;
	platform_cpu(&cpu);
	return cpu.avx512_bf16;
}

static bool has_vnni(void)
{
	struct platform_cpu cpu;
	platform_cpu(&cpu);
	return cpu.avx512_vnni;
}

static bool has_tiles(void)
{
	struct platform_cpu cpu;
	platform_cpu(&cpu);
	return cpu.amx_bf16 && amx->enable();
}

static uint64_t sum_lanes(__m512i sum)
{
	return (uint64_t)_mm512_reduce_add_epi64(sum);
}

static uint64_t read_avx2(const unsigned char *data, size_t n_bytes)
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

static uint64_t read_avx512(const unsigned char *data, size_t n_bytes)
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
static uint64_t read_avx512_prefetch(const unsigned char *data, size_t n_bytes)
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
static uint64_t read_avx512_streams(const unsigned char *data, size_t n_bytes)
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

const struct read_loop_row read_loops[] = {
    {"64-bit words", always, read_words},
    {"AVX2", has_avx2, read_avx2},
    {"AVX-512", has_avx512, read_avx512},
    {"AVX-512 with prefetch", has_avx512, read_avx512_prefetch},
    {"AVX-512, four streams", has_avx512, read_avx512_streams},
};
const int n_read_loops = sizeof read_loops / sizeof *read_loops;

/* The compiler may not know the values, else it would compute the result itself. */
static volatile const short bf16_one = 0x3F80;
static volatile const char int8_one = 1;

static uint64_t peak_bf16(int n_rounds)
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

static uint64_t peak_int8(int n_rounds)
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

static uint64_t peak_tiles(int n_rounds)
{
	return amx->peak(n_rounds);
}

/* 32 bf16 or 64 int8 in a vector, each multiplied and added. */
enum { BF16_OPERATIONS = PEAK_CHAINS * 2 * 32, INT8_OPERATIONS = PEAK_CHAINS * 2 * 64 };

const struct peak_loop_row peak_loops[] = {
    {ARITHMETIC_BF16, has_bf16, peak_bf16, BF16_OPERATIONS},
    {ARITHMETIC_INT8, has_vnni, peak_int8, INT8_OPERATIONS},
    {ARITHMETIC_TILES, has_tiles, peak_tiles, AMX_PEAK_OPERATIONS},
};
const int n_peak_loops = sizeof peak_loops / sizeof *peak_loops;
#endif
