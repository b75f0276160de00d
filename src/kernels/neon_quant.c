/* Weights of few bits with what every AArch64 CPU has. A sum of two products fits 16 bits: 2 * 128 * 127 < 2^15, unless
 * both are of -128, which low halves can be.
 */
#if defined(__aarch64__)
#include "kernels/neon_quant_vector.h"

#define QUANT_FUNCTION neon_quant

ALWAYS_INLINE qi quant_multiply(qi sum, qi w, qi x)
{
	int8x16_t a = vreinterpretq_s8_s32(w), b = vreinterpretq_s8_s32(x);
	int16x8_t low = vmull_s8(vget_low_s8(a), vget_low_s8(b)), high = vmull_high_s8(a, b);
	return vpadalq_s16(sum, vpaddq_s16(low, high));
}

ALWAYS_INLINE qi quant_multiply_low(qi sum, qi w, qi x)
{
	int8x16_t a = vreinterpretq_s8_s32(w), b = vreinterpretq_s8_s32(x);
	int16x8_t low = vmull_s8(vget_low_s8(a), vget_low_s8(b)), high = vmull_high_s8(a, b);
	return vaddq_s32(sum, vpaddq_s32(vpaddlq_s16(low), vpaddlq_s16(high)));
}
#define quant_step_low(type, s, w, x) ((void)(type), quant_multiply_low(s, w, x))

#include "kernels/quant_body.inc"
#endif
