/* Blocks of 256 values that are points of grids. As in block.c: bit 0 of a byte is its lowest, `d` is a 16-bit float, and
 * numbers of several bytes lie little endian. In IQ2 and IQ3 a value is scale * level, with a sign; the signs of 8 values
 * are one byte (1: negative) or a code of 7 bits, which leaves out the last: there is an even number of negative ones.
 */
#include "tensor/block_iq.h"

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "tensor/block_grids.h"
#include "tensor/dtype.h"

enum { SUPER = 256 };

static unsigned bits16(const unsigned char *at)
{
	uint16_t bits;
	memcpy(&bits, at, sizeof bits);
	return bits;
}

static uint32_t bits32(const unsigned char *at)
{
	uint32_t bits;
	memcpy(&bits, at, sizeof bits);
	return bits;
}

static float half_at(const unsigned char *at)
{
	return f16_to_f32((uint16_t)bits16(at));
}

/* Half n of a row of bytes, the low one first. */
static unsigned nibble(const unsigned char *bytes, int n)
{
	return bytes[n / 2] >> (n % 2 * 4) & 15;
}

static unsigned signs_of(unsigned code)
{
	return code | (unsigned)__builtin_parity(code) << 7;
}

static float *put_signed(float scale, const int8_t *point, int n_values, unsigned signs, float *out)
{
	for (int j = 0; j < n_values; j++) {
		float value = scale * (float)point[j];
		*out++ = signs >> j & 1 ? -value : value;
	}
	return out;
}

static float *put_shifted(float scale, const int8_t *point, bool down, float *out)
{
	for (int j = 0; j < 8; j++)
		*out++ = scale * ((float)point[j] + (down ? -0.125f : 0.125f));
	return out;
}

/* d, low bits of places[32], per 32 values 16 bits: 3 high bits of the place for each 8 values, then 3 bits of scale
 * and whether an eighth is taken away or added. */
void dequantise_iq1_s(const void *blocks, float *out, size_t n_values)
{
	const struct block_grids *grids = block_grids();
	const unsigned char *block = blocks;
	assert(n_values % SUPER == 0);
	for (size_t i = 0; i < n_values; i += SUPER, block += 50) {
		float d = half_at(block);
		for (int group = 0; group < 8; group++) {
			unsigned high = bits16(block + 34 + 2 * group);
			float scale = d * (float)(2 * (high >> 12 & 7) + 1);
			for (int j = 0; j < 4; j++) {
				unsigned place = block[2 + 4 * group + j] | (high >> (3 * j) & 7) << 8;
				out = put_shifted(scale, grids->iq1[place], high >> 15, out);
			}
		}
	}
}

/* low bits of places[32], per 8 values 4 bits: the 3 high bits of the place, and whether an eighth is taken away or
 * added; 4 times 16 bits: 3 bits of scale for each 16 values, and on top a quarter of d, the lowest first. */
void dequantise_iq1_m(const void *blocks, float *out, size_t n_values)
{
	const struct block_grids *grids = block_grids();
	const unsigned char *block = blocks;
	assert(n_values % SUPER == 0);
	for (size_t i = 0; i < n_values; i += SUPER, block += 56) {
		unsigned half = 0;
		for (int j = 0; j < 4; j++)
			half |= bits16(block + 48 + 2 * j) >> 12 << (4 * j);
		float d = f16_to_f32((uint16_t)half);
		for (int j = 0; j < 32; j++) {
			unsigned high = nibble(block + 32, j), factor = bits16(block + 48 + j / 8 * 2) >> (j / 2 % 4 * 3) & 7;
			const int8_t *point = grids->iq1[block[j] | (high & 7) << 8];
			out = put_shifted(d * (float)(2 * factor + 1), point, high >> 3, out);
		}
	}
}

/* d, per 32 values: places[4], then 32 bits: 4 codes of signs, 4 bits of scale. */
void dequantise_iq2_xxs(const void *blocks, float *out, size_t n_values)
{
	const struct block_grids *grids = block_grids();
	const unsigned char *block = blocks;
	assert(n_values % SUPER == 0);
	for (size_t i = 0; i < n_values; i += SUPER, block += 66) {
		float d = half_at(block);
		for (int group = 0; group < 8; group++) {
			const unsigned char *places = block + 2 + 8 * group;
			uint32_t codes = bits32(places + 4);
			float scale = d * (0.5f + (float)(codes >> 28)) * 0.25f;
			for (int j = 0; j < 4; j++)
				out = put_signed(scale, grids->iq2_xxs[places[j]], 8, signs_of(codes >> (7 * j) & 127), out);
		}
	}
}

/* d, per 8 values 16 bits: the place, a code of signs; 4 bits of scale for each 16 values. */
void dequantise_iq2_xs(const void *blocks, float *out, size_t n_values)
{
	const struct block_grids *grids = block_grids();
	const unsigned char *block = blocks;
	assert(n_values % SUPER == 0);
	for (size_t i = 0; i < n_values; i += SUPER, block += 74) {
		float d = half_at(block);
		for (int j = 0; j < 32; j++) {
			unsigned bits = bits16(block + 2 + 2 * j);
			float scale = d * (0.5f + (float)nibble(block + 66, j / 2)) * 0.25f;
			out = put_signed(scale, grids->iq2_xs[bits & 511], 8, signs_of(bits >> 9), out);
		}
	}
}

/* d, low bits of places[32], signs[32], high bits of places (2 for each), 4 bits of scale for each 16 values. */
void dequantise_iq2_s(const void *blocks, float *out, size_t n_values)
{
	const struct block_grids *grids = block_grids();
	const unsigned char *block = blocks;
	assert(n_values % SUPER == 0);
	for (size_t i = 0; i < n_values; i += SUPER, block += 82) {
		float d = half_at(block);
		for (int j = 0; j < 32; j++) {
			unsigned high = block[66 + j / 4] >> (j % 4 * 2) & 3;
			float scale = d * (0.5f + (float)nibble(block + 74, j / 2)) * 0.25f;
			out = put_signed(scale, grids->iq2_s[block[2 + j] | high << 8], 8, block[34 + j], out);
		}
	}
}

/* d, places of 4 values each[64], then per 32 values 32 bits: 4 codes of signs, 4 bits of scale. */
void dequantise_iq3_xxs(const void *blocks, float *out, size_t n_values)
{
	const struct block_grids *grids = block_grids();
	const unsigned char *block = blocks;
	assert(n_values % SUPER == 0);
	for (size_t i = 0; i < n_values; i += SUPER, block += 98) {
		float d = half_at(block);
		for (int j = 0; j < 64; j++) {
			uint32_t codes = bits32(block + 66 + j / 8 * 4);
			unsigned signs = signs_of(codes >> (j / 2 % 4 * 7) & 127) >> (j % 2 * 4);
			float scale = d * (0.5f + (float)(codes >> 28)) * 0.5f;
			out = put_signed(scale, grids->iq3_xxs[block[2 + j]], 4, signs, out);
		}
	}
}

/* d, low bits of places of 4 values each[64], their high bits[8], signs[32], 4 bits of scale for each 32 values. */
void dequantise_iq3_s(const void *blocks, float *out, size_t n_values)
{
	const struct block_grids *grids = block_grids();
	const unsigned char *block = blocks;
	assert(n_values % SUPER == 0);
	for (size_t i = 0; i < n_values; i += SUPER, block += 110) {
		float d = half_at(block);
		for (int j = 0; j < 64; j++) {
			unsigned high = block[66 + j / 8] >> (j % 8) & 1, signs = block[74 + j / 2] >> (j % 2 * 4);
			float scale = d * (float)(1 + 2 * nibble(block + 106, j / 8));
			out = put_signed(scale, grids->iq3_s[block[2 + j] | high << 8], 4, signs, out);
		}
	}
}
