#include "kernels/ceilings_simd.h"

#if defined(__aarch64__)
#pragma GCC target("arch=armv8.2-a+dotprod")
#include <arm_neon.h>

#include "base/platform.h"

static bool always(void)
{
	return true;
}

static bool has_dotprod(void)
{
	struct platform_cpu cpu;
	platform_cpu(&cpu);
	return cpu.neon_dotprod;
}

static uint64_t read_neon(const unsigned char *data, size_t n_bytes)
{
	uint64x2_t sums[4] = {vdupq_n_u64(0), vdupq_n_u64(0), vdupq_n_u64(0), vdupq_n_u64(0)};
	for (size_t i = 0; i < n_bytes; i += 64)
#pragma GCC unroll 4
		for (int j = 0; j < 4; j++)
			sums[j] = vaddq_u64(sums[j], vreinterpretq_u64_u8(vld1q_u8(data + i + 16 * j)));
	return vaddvq_u64(vaddq_u64(vaddq_u64(sums[0], sums[1]), vaddq_u64(sums[2], sums[3])));
}

const struct read_loop_row read_loops[] = {
    {"64-bit words", always, read_words},
    {"NEON", always, read_neon},
};
const int n_read_loops = sizeof read_loops / sizeof *read_loops;

/* The compiler may not know the value, else it would compute the result itself. */
static volatile const int8_t int8_one = 1;

static uint64_t peak_int8(int n_rounds)
{
	int32x4_t sums[PEAK_CHAINS];
	int8x16_t ones = vdupq_n_s8(int8_one);
	for (int i = 0; i < PEAK_CHAINS; i++)
		sums[i] = vdupq_n_s32(0);
	for (int round = 0; round < n_rounds; round++) {
#pragma GCC unroll 16
		for (int i = 0; i < PEAK_CHAINS; i++)
			sums[i] = vdotq_s32(sums[i], ones, ones);
	}
	for (int i = 1; i < PEAK_CHAINS; i++)
		sums[0] = vaddq_s32(sums[0], sums[i]);
	return (uint64_t)vaddvq_s32(sums[0]);
}

const struct peak_loop_row peak_loops[] = {
    {ARITHMETIC_INT8, has_dotprod, peak_int8, PEAK_CHAINS * sizeof(int8x16_t) * 2},
};
const int n_peak_loops = sizeof peak_loops / sizeof *peak_loops;
#endif
