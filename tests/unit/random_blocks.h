/* Blocks of GGUF types full of random numbers that are worth something like those of a model. */
#ifndef TALLOW_TESTS_RANDOM_BLOCKS_H
#define TALLOW_TESTS_RANDOM_BLOCKS_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "tensor/block.h"

/* Where the scales of a block stand, and what they have to be for values within about -1 ... 1 around 0. */
static const struct block_scales {
	enum dtype type;
	struct {
		int at; /* -1: there is none */
		float value;
	} scale, minimum;
} block_scales[] = {
    {DTYPE_Q8_0, {0, 1.0f / 127}, {-1, 0}},
    {DTYPE_Q4_0, {0, 1.0f / 8}, {-1, 0}},
    {DTYPE_Q4_1, {0, 1.0f / 8}, {2, -0.94f}},
    {DTYPE_Q5_0, {0, 1.0f / 16}, {-1, 0}},
    {DTYPE_Q5_1, {0, 1.0f / 16}, {2, -1}},
    {DTYPE_Q2_K, {80, 1.0f / 24}, {82, 1.5f / 24}},
    {DTYPE_Q3_K, {108, 1.0f / 64}, {-1, 0}},
    {DTYPE_Q4_K, {0, 1.0f / 512}, {2, 7.5f / 512}},
    {DTYPE_Q5_K, {0, 1.0f / 1024}, {2, 15.5f / 1024}},
    {DTYPE_Q6_K, {208, 1.0f / 2048}, {-1, 0}},
    {DTYPE_IQ4_NL, {0, 1.0f / 127}, {-1, 0}},
    {DTYPE_IQ4_XS, {0, 1.0f / 2048}, {-1, 0}},
    {DTYPE_MXFP4, {0, 1.0f / 6}, {-1, 0}},
    {DTYPE_IQ3_S, {0, 1.0f / 256}, {-1, 0}},
    {DTYPE_IQ3_XXS, {0, 1.0f / 256}, {-1, 0}},
    {DTYPE_IQ2_S, {0, 1.0f / 128}, {-1, 0}},
    {DTYPE_IQ2_XS, {0, 1.0f / 128}, {-1, 0}},
    {DTYPE_IQ2_XXS, {0, 1.0f / 128}, {-1, 0}},
    {DTYPE_IQ1_M, {48, 1.0f / 8}, {-1, 0}},
    {DTYPE_IQ1_S, {0, 1.0f / 8}, {-1, 0}},
    {DTYPE_TQ2_0, {64, 1.0f}, {-1, 0}},
    {DTYPE_TQ1_0, {52, 1.0f}, {-1, 0}},
};
enum { N_BLOCK_TYPES = sizeof block_scales / sizeof *block_scales };

/* xorshift64* (Vigna, 2016). */
static inline unsigned random_byte(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return (unsigned)(*state * 2685821657736338717u >> 56);
}

/* Most types have a 16-bit float. */
static inline void put_block_scale(enum dtype type, unsigned char *at, float scale)
{
	if (type == DTYPE_MXFP4) {
		*at = (unsigned char)(ilogbf(scale) + 127);
		return;
	}
	uint16_t half = f32_to_f16(scale);
	if (type == DTYPE_IQ1_M) /* a quarter in the high half of every other byte */
		for (int i = 0; i < 4; i++)
			at[2 * i + 1] = (unsigned char)((at[2 * i + 1] & 15) | (half >> (4 * i) & 15) << 4);
	else
		memcpy(at, &half, sizeof half);
}

static inline void random_blocks(const struct block_scales *scales, void *out, size_t n_blocks, float size,
                                 uint64_t *state)
{
	size_t n_bytes = (size_t)dtype_info(scales->type)->block_bytes;
	unsigned char *block = out;
	for (size_t i = 0; i < n_blocks; i++, block += n_bytes) {
		for (size_t j = 0; j < n_bytes; j++)
			block[j] = (unsigned char)random_byte(state);
		float here = size * (0.5f + (float)random_byte(state) / 256);
		put_block_scale(scales->type, block + scales->scale.at, scales->scale.value * here);
		if (scales->minimum.at >= 0)
			put_block_scale(scales->type, block + scales->minimum.at, scales->minimum.value * here);
	}
}

#endif
