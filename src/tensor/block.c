/* Block types: the table, and the scalar dequantisation of each. Bit fields are spelled out at each function, bit 0 of
 * a byte being its lowest; `d` and `dmin` are 16-bit floats, stored little endian.
 */
#include "tensor/block.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "tensor/block_iq.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "GGUF data is read as it lies");

enum { QUANTS = 32, SUPER = 256 }; /* values of a small block and of a super-block */

static float half_at(const unsigned char *at)
{
	uint16_t half;
	memcpy(&half, at, sizeof half);
	return f16_to_f32(half);
}

/* ---- plain numbers ---- */

static void dequantise_f32(const void *blocks, float *out, size_t n_values)
{
	memcpy(out, blocks, n_values * sizeof *out);
}

static void dequantise_f16(const void *blocks, float *out, size_t n_values)
{
	const unsigned char *at = blocks;
	for (size_t i = 0; i < n_values; i++)
		out[i] = half_at(at + 2 * i);
}

static void dequantise_bf16(const void *blocks, float *out, size_t n_values)
{
	const unsigned char *at = blocks;
	for (size_t i = 0; i < n_values; i++) {
		uint16_t bits;
		memcpy(&bits, at + 2 * i, sizeof bits);
		out[i] = bf16_to_f32(bits);
	}
}

/* ---- 32 values, one scale: byte j of the quants holds value j in its low half and value j + 16 in its high half ---- */

/* d, 32 signed bytes. */
static void dequantise_q8_0(const void *blocks, float *out, size_t n_values)
{
	const unsigned char *block = blocks;
	assert(n_values % QUANTS == 0);
	for (size_t i = 0; i < n_values; i += QUANTS, block += 34) {
		float d = half_at(block);
		for (int j = 0; j < QUANTS; j++)
			out[i + (size_t)j] = (float)(int8_t)block[2 + j] * d;
	}
}

/* d, quants, which count from -8. */
static void dequantise_q4_0(const void *blocks, float *out, size_t n_values)
{
	const unsigned char *block = blocks;
	assert(n_values % QUANTS == 0);
	for (size_t i = 0; i < n_values; i += QUANTS, block += 18) {
		float d = half_at(block);
		for (int j = 0; j < 16; j++) {
			out[i + (size_t)j] = d * (float)((block[2 + j] & 15) - 8);
			out[i + 16 + (size_t)j] = d * (float)((block[2 + j] >> 4) - 8);
		}
	}
}

/* d, minimum, quants. */
static void dequantise_q4_1(const void *blocks, float *out, size_t n_values)
{
	const unsigned char *block = blocks;
	assert(n_values % QUANTS == 0);
	for (size_t i = 0; i < n_values; i += QUANTS, block += 20) {
		float d = half_at(block), min = half_at(block + 2);
		for (int j = 0; j < 16; j++) {
			out[i + (size_t)j] = d * (float)(block[4 + j] & 15) + min;
			out[i + 16 + (size_t)j] = d * (float)(block[4 + j] >> 4) + min;
		}
	}
}

/* The fifth bits of 32 values: bit j belongs to value j. */
static int fifth_bit(const unsigned char *bits, int j)
{
	return (bits[j / 8] >> (j % 8) & 1) << 4;
}

/* d, fifth bits, quants, which count from -16. */
static void dequantise_q5_0(const void *blocks, float *out, size_t n_values)
{
	const unsigned char *block = blocks;
	assert(n_values % QUANTS == 0);
	for (size_t i = 0; i < n_values; i += QUANTS, block += 22) {
		float d = half_at(block);
		for (int j = 0; j < 16; j++) {
			int low = (block[6 + j] & 15) | fifth_bit(block + 2, j);
			int high = block[6 + j] >> 4 | fifth_bit(block + 2, j + 16);
			out[i + (size_t)j] = d * (float)(low - 16);
			out[i + 16 + (size_t)j] = d * (float)(high - 16);
		}
	}
}

/* d, minimum, fifth bits, quants. */
static void dequantise_q5_1(const void *blocks, float *out, size_t n_values)
{
	const unsigned char *block = blocks;
	assert(n_values % QUANTS == 0);
	for (size_t i = 0; i < n_values; i += QUANTS, block += 24) {
		float d = half_at(block), min = half_at(block + 2);
		for (int j = 0; j < 16; j++) {
			int low = (block[8 + j] & 15) | fifth_bit(block + 4, j);
			int high = block[8 + j] >> 4 | fifth_bit(block + 4, j + 16);
			out[i + (size_t)j] = d * (float)low + min;
			out[i + 16 + (size_t)j] = d * (float)high + min;
		}
	}
}

/* Unevenly spaced levels that 4 bits stand for. */
static const int8_t iq4_levels[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

static void levels_of_nibbles(const unsigned char *quants, const int8_t *levels, float scale, float *out)
{
	for (int j = 0; j < 16; j++) {
		out[j] = scale * (float)levels[quants[j] & 15];
		out[j + 16] = scale * (float)levels[quants[j] >> 4];
	}
}

/* d, quants, which are places among the levels. */
static void dequantise_iq4_nl(const void *blocks, float *out, size_t n_values)
{
	const unsigned char *block = blocks;
	assert(n_values % QUANTS == 0);
	for (size_t i = 0; i < n_values; i += QUANTS, block += 18)
		levels_of_nibbles(block + 2, iq4_levels, half_at(block), out + i);
}

/* exponent, quants: 4-bit floats (sign, 2 bits of exponent, 1 of mantissa) times 2^(exponent - 127), whose byte 255 is a
 * number like the others. The levels are twice what they stand for, so that they are integers, and the scale is half. */
static void dequantise_mxfp4(const void *blocks, float *out, size_t n_values)
{
	static const int8_t levels[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};
	const unsigned char *block = blocks;
	assert(n_values % QUANTS == 0);
	for (size_t i = 0; i < n_values; i += QUANTS, block += 17)
		levels_of_nibbles(block + 1, levels, ldexpf(1, block[0] - 128), out + i);
}

/* ---- super-blocks: 256 values in groups of 16 or 32, whose scales are small integers times the block's ---- */

/* scales[16] (low half: scale, high half: minimum), quants[64], d, dmin. Of each 128 values, 32 bytes hold value j of
 * group pair s in bits 2s and 2s + 1 of byte j. */
static void dequantise_q2_k(const void *blocks, float *out, size_t n_values)
{
	const unsigned char *block = blocks;
	assert(n_values % SUPER == 0);
	for (size_t i = 0; i < n_values; i += SUPER, block += 84) {
		float d = half_at(block + 80), dmin = half_at(block + 82);
		for (int group = 0; group < 16; group++) {
			const unsigned char *quants = block + 16 + group / 8 * 32 + group % 2 * 16;
			int shift = group % 8 / 2 * 2;
			float scale = d * (float)(block[group] & 15), min = dmin * (float)(block[group] >> 4);
			for (int j = 0; j < 16; j++)
				*out++ = scale * (float)(quants[j] >> shift & 3) - min;
		}
	}
}

int block_q3_k_factor(const void *block, int group)
{
	const unsigned char *scales = (const unsigned char *)block + 96;
	int low4 = scales[group % 8] >> (group / 8 * 4) & 15, high2 = scales[8 + group % 4] >> (group / 4 * 2) & 3;
	return (low4 | high2 << 4) - 32;
}

/* high bits[32], quants[64], scales[12], d. The quants lie as in Q2_K; bit g of high byte j belongs to value j of the
 * g-th 32 and takes 4 away where it is 0. Scale g, from -32: its low 4 bits in the halves of bytes 0..7, its high 2 bits
 * in bytes 8..11. */
static void dequantise_q3_k(const void *blocks, float *out, size_t n_values)
{
	const unsigned char *block = blocks;
	assert(n_values % SUPER == 0);
	for (size_t i = 0; i < n_values; i += SUPER, block += 110) {
		float d = half_at(block + 108);
		for (int group = 0; group < 16; group++) {
			const unsigned char *quants = block + 32 + group / 8 * 32 + group % 2 * 16, *high = block + group % 2 * 16;
			int shift = group % 8 / 2 * 2;
			float scale = d * (float)block_q3_k_factor(block, group);
			for (int j = 0; j < 16; j++) {
				int below = high[j] >> (group / 2) & 1 ? 0 : 4;
				*out++ = scale * (float)((quants[j] >> shift & 3) - below);
			}
		}
	}
}

/* Scale and minimum of group 0..7, 6 bits each in 12 bytes: groups 0..3 in the low 6 bits of bytes 0..3 and 4..7;
 * groups 4..7 have their low 4 bits in the halves of bytes 8..11 and their high 2 bits on top of those. */
static void group_factors(const unsigned char *packed, int group, unsigned char *scale, unsigned char *min)
{
	if (group < 4) {
		*scale = packed[group] & 63;
		*min = packed[group + 4] & 63;
	} else {
		*scale = (unsigned char)((packed[group + 4] & 15) | packed[group - 4] >> 6 << 4);
		*min = (unsigned char)(packed[group + 4] >> 4 | packed[group] >> 6 << 4);
	}
}

void block_q4_k_factors(const void *block, int group, unsigned char *scale, unsigned char *minimum)
{
	group_factors((const unsigned char *)block + 4, group, scale, minimum);
}

static void group_scale(const unsigned char *packed, int group, float *scale, float *min)
{
	unsigned char scale_factor, min_factor;
	group_factors(packed, group, &scale_factor, &min_factor);
	*scale = (float)scale_factor;
	*min = (float)min_factor;
}

/* d, dmin, scales[12], quants[128]: of each 64 values, 32 bytes hold the first 32 in their low halves. */
static void dequantise_q4_k(const void *blocks, float *out, size_t n_values)
{
	const unsigned char *block = blocks;
	assert(n_values % SUPER == 0);
	for (size_t i = 0; i < n_values; i += SUPER, block += 144) {
		float d = half_at(block), dmin = half_at(block + 2);
		for (int group = 0; group < 8; group++) {
			const unsigned char *quants = block + 16 + group / 2 * 32;
			float scale, min;
			group_scale(block + 4, group, &scale, &min);
			scale *= d;
			min *= dmin;
			for (int j = 0; j < 32; j++)
				*out++ = scale * (float)(quants[j] >> (group % 2 * 4) & 15) - min;
		}
	}
}

/* d, dmin, scales[12], fifth bits[32], quants[128]: as Q4_K; bit g of byte j is the fifth of value j of group g. */
static void dequantise_q5_k(const void *blocks, float *out, size_t n_values)
{
	const unsigned char *block = blocks;
	assert(n_values % SUPER == 0);
	for (size_t i = 0; i < n_values; i += SUPER, block += 176) {
		float d = half_at(block), dmin = half_at(block + 2);
		for (int group = 0; group < 8; group++) {
			const unsigned char *high = block + 16, *quants = block + 48 + group / 2 * 32;
			float scale, min;
			group_scale(block + 4, group, &scale, &min);
			scale *= d;
			min *= dmin;
			for (int j = 0; j < 32; j++) {
				int quant = (quants[j] >> (group % 2 * 4) & 15) | (high[j] >> group & 1) << 4;
				*out++ = scale * (float)quant - min;
			}
		}
	}
}

/* low bits[128], high bits[64], scales[16] (signed), d. Of each 128 values, 64 low bytes hold the first 64 in their low
 * halves, and bits 2g and 2g + 1 of high byte j belong to value j of the g-th 32. Quants count from -32. */
static void dequantise_q6_k(const void *blocks, float *out, size_t n_values)
{
	const unsigned char *block = blocks;
	assert(n_values % SUPER == 0);
	for (size_t i = 0; i < n_values; i += SUPER, block += 210) {
		float d = half_at(block + 208);
		for (int group = 0; group < 16; group++) {
			int half = group / 8, quarter = group % 8 / 2, first = group % 2 * 16;
			const unsigned char *low = block + half * 64 + quarter % 2 * 32 + first;
			const unsigned char *high = block + 128 + half * 32 + first;
			float scale = d * (float)(int8_t)block[192 + group];
			for (int j = 0; j < 16; j++) {
				int quant = (low[j] >> (quarter / 2 * 4) & 15) | (high[j] >> (quarter * 2) & 3) << 4;
				*out++ = scale * (float)(quant - 32);
			}
		}
	}
}

int block_iq4_xs_factor(const void *block, int group)
{
	const unsigned char *at = block;
	int low4 = at[4 + group / 2] >> (group % 2 * 4) & 15, high2 = at[2 + group / 4] >> (group % 4 * 2) & 3;
	return (low4 | high2 << 4) - 32;
}

/* d, high bits of scales (16 bits, little endian), low bits of scales[4], quants[128]. Scale of group g of 32 values, from
 * -32: its low 4 bits in half g % 2 of byte g / 2, its high 2 bits in bits 2g and 2g + 1. The quants of each group lie as
 * in IQ4_NL and stand for the same levels. */
static void dequantise_iq4_xs(const void *blocks, float *out, size_t n_values)
{
	const unsigned char *block = blocks;
	assert(n_values % SUPER == 0);
	for (size_t i = 0; i < n_values; i += SUPER, block += 136) {
		float d = half_at(block);
		for (int group = 0; group < 8; group++, out += QUANTS)
			levels_of_nibbles(block + 8 + group * 16, iq4_levels, d * (float)block_iq4_xs_factor(block, group), out);
	}
}

/* ---- super-blocks of the values -d, 0 and d ---- */

/* quants[64], d. Of each 128 values, bits 2g and 2g + 1 of byte j belong to value j of the g-th 32; quants count from -1. */
static void dequantise_tq2_0(const void *blocks, float *out, size_t n_values)
{
	const unsigned char *block = blocks;
	assert(n_values % SUPER == 0);
	for (size_t i = 0; i < n_values; i += SUPER, block += 66) {
		float d = half_at(block + 64);
		for (int group = 0; group < 8; group++)
			for (int j = 0; j < 32; j++)
				*out++ = d * (float)((block[group / 4 * 32 + j] >> (group % 4 * 2) & 3) - 1);
	}
}

/* n_digits values of each of n bytes, which are fractions of 256 in base 3: the first digits of all, then the second ones.
 * What is multiplied keeps 8 bits: only the fraction. */
static float *put_digits(float d, const unsigned char *bytes, int n, int n_digits, float *out)
{
	unsigned char power = 1;
	for (int digit = 0; digit < n_digits; digit++, power = (unsigned char)(power * 3))
		for (int j = 0; j < n; j++) {
			unsigned char fraction = (unsigned char)(bytes[j] * power);
			*out++ = d * (float)((fraction * 3 >> 8) - 1);
		}
	return out;
}

/* 5 digits in each of 32 bytes, 5 in each of 16, 4 in each of 4, d; digits count from -1. */
static void dequantise_tq1_0(const void *blocks, float *out, size_t n_values)
{
	const unsigned char *block = blocks;
	assert(n_values % SUPER == 0);
	for (size_t i = 0; i < n_values; i += SUPER, block += 54) {
		float d = half_at(block + 52);
		out = put_digits(d, block, 32, 5, out);
		out = put_digits(d, block + 32, 16, 5, out);
		out = put_digits(d, block + 48, 4, 4, out);
	}
}

/* ---- the table ---- */

static const struct block_type types[] = {
#define X(type, name, block, bytes, number) {name, number, block, bytes, true, type},
    DTYPE_STORED_TABLE(X)
#undef X
    /* known, not supported */
    {"Q8_1", 9, 32, 36, false, 0},
    {"Q8_K", 15, 256, 292, false, 0},
    {"I8", 24, 1, 1, false, 0},
    {"I16", 25, 1, 2, false, 0},
    {"I32", 26, 1, 4, false, 0},
    {"I64", 27, 1, 8, false, 0},
    {"F64", 28, 1, 8, false, 0},
    {"NVFP4", 40, 64, 36, false, 0},
    {"Q1_0", 41, 128, 18, false, 0},
    /* taken out of the format */
    {"Q4_2", 4, 0, 0, false, 0},
    {"Q4_3", 5, 0, 0, false, 0},
    {"Q4_0_4_4", 31, 0, 0, false, 0},
    {"Q4_0_4_8", 32, 0, 0, false, 0},
    {"Q4_0_8_8", 33, 0, 0, false, 0},
    {"IQ4_NL_4_4", 36, 0, 0, false, 0},
    {"IQ4_NL_4_8", 37, 0, 0, false, 0},
    {"IQ4_NL_8_8", 38, 0, 0, false, 0},
};

const struct block_type *block_type_find(uint32_t ggml_id)
{
	for (size_t i = 0; i < sizeof types / sizeof *types; i++)
		if (types[i].ggml_id == ggml_id)
			return &types[i];
	return NULL;
}

const char *block_type_supported(void)
{
#define X(type, name, block, bytes, number) ", " name
	static const char names[] = DTYPE_STORED_TABLE(X);
#undef X
	return names + 2;
}

void block_dequantise(enum dtype type, const void *blocks, float *out, size_t n_values)
{
	static void (*const functions[DTYPE_COUNT])(const void *, float *, size_t) = {
	    [DTYPE_F32] = dequantise_f32,     [DTYPE_F16] = dequantise_f16,       [DTYPE_BF16] = dequantise_bf16,
	    [DTYPE_Q8_0] = dequantise_q8_0,   [DTYPE_Q4_0] = dequantise_q4_0,     [DTYPE_Q4_1] = dequantise_q4_1,
	    [DTYPE_Q5_0] = dequantise_q5_0,   [DTYPE_Q5_1] = dequantise_q5_1,     [DTYPE_Q2_K] = dequantise_q2_k,
	    [DTYPE_Q3_K] = dequantise_q3_k,   [DTYPE_Q4_K] = dequantise_q4_k,     [DTYPE_Q5_K] = dequantise_q5_k,
	    [DTYPE_Q6_K] = dequantise_q6_k,   [DTYPE_IQ4_NL] = dequantise_iq4_nl, [DTYPE_IQ4_XS] = dequantise_iq4_xs,
	    [DTYPE_MXFP4] = dequantise_mxfp4, [DTYPE_IQ3_S] = dequantise_iq3_s,   [DTYPE_IQ3_XXS] = dequantise_iq3_xxs,
	    [DTYPE_IQ2_S] = dequantise_iq2_s, [DTYPE_IQ2_XS] = dequantise_iq2_xs, [DTYPE_IQ2_XXS] = dequantise_iq2_xxs,
	    [DTYPE_IQ1_M] = dequantise_iq1_m, [DTYPE_IQ1_S] = dequantise_iq1_s,   [DTYPE_TQ2_0] = dequantise_tq2_0,
	    [DTYPE_TQ1_0] = dequantise_tq1_0,
	};
	assert(functions[type]);
	functions[type](blocks, out, n_values);
}
