/* Weights of few bits with sdot, for CPUs that have the dot product instructions of Armv8.2. */
#if defined(__aarch64__)
#pragma GCC target("arch=armv8.2-a+dotprod")
#include "kernels/neon_quant_vector.h"

#define QUANT_FUNCTION neon_dotprod_quant

ALWAYS_INLINE qi quant_multiply(qi sum, qi w, qi x)
{
	return vdotq_s32(sum, vreinterpretq_s8_s32(w), vreinterpretq_s8_s32(x));
}

#include "kernels/quant_body.inc"
#endif
