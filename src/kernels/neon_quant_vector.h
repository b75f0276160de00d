/* A quarter of a block of quantised weights in 128-bit vectors: what every quant_function on them shares.
 *
 * Who includes it defines QUANT_FUNCTION and quant_multiply(sum, w, x), which adds to each of 4 sums the four products of
 * signed bytes that lie in its lane, and then includes quant_body.inc.
 */
#ifndef TALLOW_KERNELS_NEON_QUANT_VECTOR_H
#define TALLOW_KERNELS_NEON_QUANT_VECTOR_H

#include <arm_neon.h>
#include <assert.h>
#include <stdbool.h>
#include <string.h>

#include "kernels/kernel_set.h"

#define ALWAYS_INLINE static inline __attribute__((always_inline))

typedef int32x4_t qi;
typedef float32x4_t qf;

/* A row of a block whole, so that weights are read in the order of their addresses. */
#define QUANT_LANES                 4
#define QUANT_FAR_BYTES             1024
#define QUANT_MOST_ROWS             4
#define QUANT_MAX_ROWS(type, grain) 4
#define QUANT_VECTORS(grain, rows)  ((void)(rows), 4)
#define QUANT_PANEL_ROWS            4
#define QUANT_PANEL_VECTORS         4
#define QUANT_UNPACKS(type, grain)  (quant_bits(type) != 8 || (grain) == GRAIN_SHARED)

#define quant_load(p)                 vreinterpretq_s32_u8(vld1q_u8(p))
#define quant_scales(p)               vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8((const void *)(p))))
#define quant_bf16_scales(p)          vreinterpretq_f32_u32(vshll_n_u16(vreinterpret_u16_u8(vld1_u8((const void *)(p))), 16))
#define quant_float(v)                vcvtq_f32_s32(v)
#define quant_start(first)            vdupq_n_s32(first)
#define quant_step(type, s, w, x)     ((void)(type), quant_multiply(s, w, x))
#define quant_raise(sum, start, bits) vaddq_s32(start, vshlq_s32(sum, vdupq_n_s32(bits)))
#define qf_zero()                     vdupq_n_f32(0)
#define qf_load(p)                    vld1q_f32(p)
#define qf_set1(x)                    vdupq_n_f32(x)
#define qf_mul(a, b)                  vmulq_f32(a, b)
#define qf_fma(a, b, c)               vfmaq_f32(c, a, b)

ALWAYS_INLINE void qf_store(float *out, qf v, int n)
{
	if (n == QUANT_LANES) {
		vst1q_f32(out, v);
		return;
	}
	float lanes[QUANT_LANES];
	vst1q_f32(lanes, v);
	memcpy(out, lanes, (size_t)n * sizeof *lanes);
}

ALWAYS_INLINE qi quant_x(const int8_t *values)
{
	int32_t four;
	memcpy(&four, values, sizeof four);
	return vdupq_n_s32(four);
}

/* Four bytes, one for each lane. */
ALWAYS_INLINE uint16x4_t load_bytes(const unsigned char *p, const bool with_sign)
{
	uint32_t four;
	memcpy(&four, p, sizeof four);
	uint8x8_t bytes = vreinterpret_u8_u32(vdup_n_u32(four));
	return vget_low_u16(with_sign ? vreinterpretq_u16_s16(vmovl_s8(vreinterpret_s8_u8(bytes))) : vmovl_u8(bytes));
}

ALWAYS_INLINE qi quant_unsigned_bytes(const unsigned char *p)
{
	return vreinterpretq_s32_u32(vmovl_u16(load_bytes(p, false)));
}

ALWAYS_INLINE qi quant_signed_bytes(const unsigned char *p)
{
	return vmovl_s16(vreinterpret_s16_u16(load_bytes(p, true)));
}

#define quant_low_nibbles(p)   vandq_s32(quant_unsigned_bytes(p), vdupq_n_s32(15))
#define quant_high_nibbles(p)  vshrq_n_s32(quant_unsigned_bytes(p), 4)
#define quant_add32(a, b)      vaddq_s32(a, b)
#define quant_multiply32(a, b) vmulq_s32(a, b)

ALWAYS_INLINE qi quant_both_high(const unsigned char *p)
{
	uint16x4_t low = vshr_n_u16(load_bytes(p, false), 4), high = vshr_n_u16(load_bytes(p + QUANT_OUTPUTS, false), 4);
	return vreinterpretq_s32_u16(vzip1q_u16(vcombine_u16(low, low), vcombine_u16(high, high)));
}

ALWAYS_INLINE qi quant_step_pairs(qi sum, qi w, qi x)
{
	int16x8_t a = vreinterpretq_s16_s32(w), b = vreinterpretq_s16_s32(x);
	return vaddq_s32(sum, vpaddq_s32(vmull_s16(vget_low_s16(a), vget_low_s16(b)), vmull_high_s16(a, b)));
}

ALWAYS_INLINE qi quant_take(qi v, const int shift, const int mask)
{
	uint8x16_t moved = shift ? vshlq_u8(vreinterpretq_u8_s32(v), vdupq_n_s8((int8_t)-shift)) : vreinterpretq_u8_s32(v);
	return vreinterpretq_s32_u8(vandq_u8(moved, vdupq_n_u8((uint8_t)mask)));
}

#define quant_merge(a, b) vorrq_s32(a, b)

ALWAYS_INLINE qi quant_look_up(const uint8_t *levels, qi places)
{
	return vreinterpretq_s32_u8(vqtbl1q_u8(vld1q_u8(levels), vreinterpretq_u8_s32(places)));
}

#include "kernels/quant_values.inc"

#define QUANT_SIGNED           true
#define quant_as_signed(bytes) veorq_s32(bytes, vreinterpretq_s32_u8(vdupq_n_u8(0x80)))

#define QUANT_SHARED GRAIN_SHARED

ALWAYS_INLINE qi quant_share_word(qi a, qi b, const int share)
{
	return vreinterpretq_s32_u8(vmlaq_u8(vreinterpretq_u8_s32(a), vreinterpretq_u8_s32(b), vdupq_n_u8((uint8_t)share)));
}

#endif
