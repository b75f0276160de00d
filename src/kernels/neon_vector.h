/* Vectors of 4 floats for vector_body.inc and dot_body.inc. */
#ifndef TALLOW_KERNELS_NEON_VECTOR_H
#define TALLOW_KERNELS_NEON_VECTOR_H

#include <arm_neon.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "tensor/dtype.h"

#define ALWAYS_INLINE static inline __attribute__((always_inline))

enum { VW = 4 };
typedef float32x4_t vf;

#define v_zero()       vdupq_n_f32(0)
#define v_set1(x)      vdupq_n_f32(x)
#define v_load(p)      vld1q_f32(p)
#define v_store(p, v)  vst1q_f32(p, v)
#define v_store4(p, v) vst1q_f32(p, v)
#define v_add(a, b)    vaddq_f32(a, b)
#define v_sub(a, b)    vsubq_f32(a, b)
#define v_mul(a, b)    vmulq_f32(a, b)
#define v_div(a, b)    vdivq_f32(a, b)
/* Where either side is NaN these give NaN. */
#define v_max(a, b)    vmaxq_f32(a, b)
#define v_min(a, b)    vminq_f32(a, b)
#define v_fma(a, b, c) vfmaq_f32(c, a, b)
#define v_round(x)     vrndnq_f32(x)

/* x * 2^n for whole n in [-126, 127] and x near 1. */
ALWAYS_INLINE vf v_scale2(vf x, vf n)
{
	int32x4_t exponent = vshlq_n_s32(vaddq_s32(vcvtq_s32_f32(n), vdupq_n_s32(127)), 23);
	return vmulq_f32(x, vreinterpretq_f32_s32(exponent));
}

ALWAYS_INLINE vf v_zero_below(vf value, vf x, vf limit)
{
	return vreinterpretq_f32_u32(vbicq_u32(vreinterpretq_u32_f32(value), vcltq_f32(x, limit)));
}

ALWAYS_INLINE vf v_load_some(const float *p, int n)
{
	float some[VW] = {0};
	memcpy(some, p, (size_t)n * sizeof *some);
	return vld1q_f32(some);
}

ALWAYS_INLINE void v_store_some(float *p, vf v, int n)
{
	float some[VW];
	vst1q_f32(some, v);
	memcpy(p, some, (size_t)n * sizeof *some);
}

ALWAYS_INLINE vf v_set_from(vf v, int n, float rest)
{
	static const int32_t lanes[VW] = {0, 1, 2, 3};
	return vbslq_f32(vcltq_s32(vld1q_s32(lanes), vdupq_n_s32(n)), v, vdupq_n_f32(rest));
}

/* Four horizontal sums at once, every one in the same tree. */
ALWAYS_INLINE vf v_sum4(vf a, vf b, vf c, vf d)
{
	return vpaddq_f32(vpaddq_f32(a, b), vpaddq_f32(c, d));
}

ALWAYS_INLINE float v_sum(vf v)
{
	return vgetq_lane_f32(v_sum4(v, v, v, v), 0);
}

ALWAYS_INLINE float v_top(vf v)
{
	return vmaxvq_f32(v);
}

ALWAYS_INLINE vf widen_half(const enum dtype type, uint16x4_t half)
{
	if (type == DTYPE_F16)
		return vcvt_f32_f16(vreinterpret_f16_u16(half));
	return vreinterpretq_f32_u32(vshll_n_u16(half, 16));
}

/* Weights are aligned to nothing, which a load of bytes says. */
ALWAYS_INLINE vf v_widen(const enum dtype type, const void *p)
{
	if (type == DTYPE_F32)
		return vreinterpretq_f32_u8(vld1q_u8(p));
	return widen_half(type, vreinterpret_u16_u8(vld1_u8(p)));
}

ALWAYS_INLINE vf v_widen_some(const enum dtype type, const void *p, int n)
{
	unsigned char some[VW * sizeof(float)] = {0};
	memcpy(some, p, (size_t)n * (type == DTYPE_F32 ? sizeof(float) : sizeof(uint16_t)));
	return v_widen(type, some);
}

/* Round to nearest even; the addition cannot carry a NaN into another value because NaNs are replaced. */
ALWAYS_INLINE uint16x4_t narrow_half(const enum dtype type, vf v)
{
	if (type == DTYPE_F16)
		return vreinterpret_u16_f16(vcvt_f16_f32(v));
	uint32x4_t bits = vreinterpretq_u32_f32(v);
	uint32x4_t odd = vandq_u32(vshrq_n_u32(bits, 16), vdupq_n_u32(1));
	uint32x4_t rounded = vaddq_u32(bits, vaddq_u32(odd, vdupq_n_u32(0x7fff)));
	uint32x4_t quiet = vorrq_u32(bits, vdupq_n_u32(0x400000));
	return vshrn_n_u32(vbslq_u32(vceqq_f32(v, v), rounded, quiet), 16);
}

ALWAYS_INLINE void v_narrow(const enum dtype type, void *p, vf v)
{
	vst1_u8(p, vreinterpret_u8_u16(narrow_half(type, v)));
}

ALWAYS_INLINE void v_narrow_some(const enum dtype type, void *p, vf v, int n)
{
	uint16_t some[VW];
	vst1_u16(some, narrow_half(type, v));
	memcpy(p, some, (size_t)n * sizeof *some);
}

/* 4 x 4 */
ALWAYS_INLINE void v_transpose_block(float *out, size_t out_stride, const float *in, size_t in_stride)
{
	float32x4x2_t even = vtrnq_f32(vld1q_f32(in), vld1q_f32(in + in_stride));
	float32x4x2_t odd = vtrnq_f32(vld1q_f32(in + 2 * in_stride), vld1q_f32(in + 3 * in_stride));
	/* val[c] of a pair now holds columns c and 2 + c of its two rows. */
#pragma GCC unroll 2
	for (int c = 0; c < 2; c++) {
		float32x4_t low = vcombine_f32(vget_low_f32(even.val[c]), vget_low_f32(odd.val[c]));
		float32x4_t high = vcombine_f32(vget_high_f32(even.val[c]), vget_high_f32(odd.val[c]));
		vst1q_f32(out + (size_t)c * out_stride, low);
		vst1q_f32(out + (size_t)(2 + c) * out_stride, high);
	}
}

#endif
