/* Element types: names, sizes, and conversions of single numbers. Whole rows are the kernels' business. */
#include "tensor/dtype.h"

#include <assert.h>
#include <string.h>

#include "base/checked.h"

static const struct dtype_info infos[DTYPE_COUNT] = {
#define X(type, name, block, bytes, number) [type] = {name, block, bytes},
    DTYPE_TABLE(X)
#undef X
};

const struct dtype_info *dtype_info(enum dtype type)
{
	assert(type >= 0 && type < DTYPE_COUNT);
	return &infos[type];
}

bool dtype_parse(const char *name, size_t n_bytes, enum dtype *type)
{
	for (int i = 0; i < DTYPE_COUNT; i++)
		if (strlen(infos[i].name) == n_bytes && memcmp(infos[i].name, name, n_bytes) == 0) {
			*type = (enum dtype)i;
			return true;
		}
	return false;
}

bool dtype_bytes(enum dtype type, size_t n_elements, size_t *n_bytes)
{
	const struct dtype_info *info = dtype_info(type);
	size_t block = (size_t)info->block_elements;
	if (n_elements % block)
		return false;
	return checked_mul(n_elements / block, (size_t)info->block_bytes, n_bytes);
}

static uint32_t float_bits(float value)
{
	uint32_t bits;
	memcpy(&bits, &value, sizeof bits);
	return bits;
}

static float float_from_bits(uint32_t bits)
{
	float value;
	memcpy(&value, &bits, sizeof value);
	return value;
}

/* IEEE 754 binary16: 1 sign, 5 exponent (bias 15), 10 fraction. */
float f16_to_f32(uint16_t half)
{
	uint32_t sign = (uint32_t)(half & 0x8000) << 16;
	uint32_t exponent = half >> 10 & 31, fraction = half & 1023;
	if (exponent == 31) /* infinity; NaN, made quiet as the hardware does */
		return float_from_bits(sign | 0x7f800000u | fraction << 13 | (fraction ? 0x400000u : 0));
	if (exponent == 0) { /* zero and subnormals: fraction * 2^-24, exact in f32 */
		float magnitude = (float)fraction * 0x1p-24f;
		return sign ? -magnitude : magnitude;
	}
	return float_from_bits(sign | (exponent + 112) << 23 | fraction << 13);
}

uint16_t f32_to_f16(float value)
{
	uint32_t bits = float_bits(value);
	uint16_t sign = (uint16_t)(bits >> 16 & 0x8000);
	uint32_t magnitude = bits & 0x7fffffffu;
	if (magnitude > 0x7f800000u)
		return (uint16_t)(sign | 0x7e00 | (magnitude >> 13 & 0x3ff));
	if (magnitude >= 0x477ff000u) /* 65520 and more round to infinity */
		return sign | 0x7c00;
	if (magnitude < 0x38800000u) /* below 2^-14: subnormal; adding 0.5 leaves round(value / 2^-24) in the low bits */
		return (uint16_t)(sign | (float_bits(float_from_bits(magnitude) + 0.5f) - 0x3f000000u));
	uint32_t odd = magnitude >> 13 & 1;
	return (uint16_t)(sign | (magnitude - 0x38000000u + 0xfff + odd) >> 13);
}

uint16_t f32_to_bf16(float value)
{
	uint32_t bits = float_bits(value);
	if ((bits & 0x7fffffffu) > 0x7f800000u)
		return (uint16_t)(bits >> 16 | 0x40); /* rounding could turn it into infinity */
	return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
