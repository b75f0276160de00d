/* Which loops an AArch64 CPU can run, and those that every one of them can. */
#include "kernels/ceilings_simd.h"

#if defined(__aarch64__)
#include <arm_neon.h>

static bool always(const struct platform_cpu *cpu)
{
	(void)cpu;
	return true;
}

static bool has_dotprod(const struct platform_cpu *cpu)
{
	return cpu->neon_dotprod;
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

const struct peak_loop_row peak_loops[] = {
    {ARITHMETIC_INT8, 1 << ISA_NEON, has_dotprod, peak_neon_dotprod, PEAK_CHAINS * sizeof(int8x16_t) * 2},
};
const int n_peak_loops = sizeof peak_loops / sizeof *peak_loops;
#endif
