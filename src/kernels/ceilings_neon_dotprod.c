/* How fast sdot is. */
#include "kernels/ceilings_simd.h"

#if defined(__aarch64__)
#pragma GCC target("arch=armv8.2-a+dotprod")
#include <arm_neon.h>

/* The compiler may not know the value, else it would compute the result itself. */
static volatile const int8_t int8_one = 1;

uint64_t peak_neon_dotprod(int n_rounds)
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
#endif
