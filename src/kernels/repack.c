/* One output at a time: its values of a group as words of four stored bytes, its scale, its factors; tensor/block.c has the
 * layouts. */
#include "kernels/repack.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "kernels/layout.h"
#include "tensor/block.h"

/* ---- values ---- */

/* What lies in `mask` after a shift to the right, of n words. */
static void take_words(uint32_t *words, int n, const unsigned char *bytes, int shift, uint32_t mask)
{
	memcpy(words, bytes, (size_t)n * sizeof *words);
	for (int i = 0; i < n; i++)
		words[i] = words[i] >> shift & mask;
}

/* 4 bits of 32 values, the first 16 in the low halves of 16 bytes. */
static void take_halves(uint32_t words[QUANT_WORDS], const unsigned char *bytes)
{
	take_words(words, QUANT_WORDS / 2, bytes, 0, 0x0f0f0f0f);
	take_words(words + QUANT_WORDS / 2, QUANT_WORDS / 2, bytes, 4, 0x0f0f0f0f);
}

/* The fifth bits of 32 values, bit k of value k. */
static void add_fifth_bits(uint32_t words[QUANT_WORDS], const unsigned char *bytes)
{
	for (int i = 0; i < QUANT_WORDS; i++) {
		uint32_t four = bytes[i / 2] >> (i % 2 * 4) & 15u;
		words[i] |= (four & 1) << 4 | (four & 2) << 11 | (four & 4) << 18 | (four & 8) << 25;
	}
}

/* Bits of 32 values from the same place of 32 bytes. */
static void add_bits(uint32_t words[QUANT_WORDS], const unsigned char *bytes, int shift, uint32_t mask, int to)
{
	uint32_t bits[QUANT_WORDS];
	take_words(bits, QUANT_WORDS, bytes, shift, mask);
	for (int i = 0; i < QUANT_WORDS; i++)
		words[i] |= bits[i] << to;
}

static void words_q8_0(const unsigned char *block, int group, uint32_t words[QUANT_WORDS])
{
	(void)group;
	memcpy(words, block + 2, QUANT_GROUP);
	for (int i = 0; i < QUANT_WORDS; i++)
		words[i] ^= 0x80808080u; /* + 128 */
}

static void words_q4_0(const unsigned char *block, int group, uint32_t words[QUANT_WORDS])
{
	(void)group;
	take_halves(words, block + 2);
}

static void words_q4_1(const unsigned char *block, int group, uint32_t words[QUANT_WORDS])
{
	(void)group;
	take_halves(words, block + 4);
}

static void words_q5_0(const unsigned char *block, int group, uint32_t words[QUANT_WORDS])
{
	(void)group;
	take_halves(words, block + 6);
	add_fifth_bits(words, block + 2);
}

static void words_q5_1(const unsigned char *block, int group, uint32_t words[QUANT_WORDS])
{
	(void)group;
	take_halves(words, block + 8);
	add_fifth_bits(words, block + 4);
}

static void words_mxfp4(const unsigned char *block, int group, uint32_t words[QUANT_WORDS])
{
	(void)group;
	take_halves(words, block + 1);
}

static void words_iq4_xs(const unsigned char *block, int group, uint32_t words[QUANT_WORDS])
{
	take_halves(words, block + 8 + group * 16);
}

static void words_q2_k(const unsigned char *block, int group, uint32_t words[QUANT_WORDS])
{
	take_words(words, QUANT_WORDS, block + 16 + group / 4 * 32, group % 4 * 2, 0x03030303);
}

static void words_q3_k(const unsigned char *block, int group, uint32_t words[QUANT_WORDS])
{
	take_words(words, QUANT_WORDS, block + 32 + group / 4 * 32, group % 4 * 2, 0x03030303);
	add_bits(words, block, group, 0x01010101, 2);
}

static void words_q4_k(const unsigned char *block, int group, uint32_t words[QUANT_WORDS])
{
	take_words(words, QUANT_WORDS, block + 16 + group / 2 * 32, group % 2 * 4, 0x0f0f0f0f);
}

static void words_q5_k(const unsigned char *block, int group, uint32_t words[QUANT_WORDS])
{
	take_words(words, QUANT_WORDS, block + 48 + group / 2 * 32, group % 2 * 4, 0x0f0f0f0f);
	add_bits(words, block + 16, group, 0x01010101, 4);
}

static void words_q6_k(const unsigned char *block, int group, uint32_t words[QUANT_WORDS])
{
	take_words(words, QUANT_WORDS, block + group / 4 * 64 + group % 2 * 32, group % 4 / 2 * 4, 0x0f0f0f0f);
	add_bits(words, block + 128 + group / 4 * 32, group % 4 * 2, 0x03030303, 4);
}

/* ---- factors: the two bytes of a group in the head of its super-block ---- */

static void factors_q2_k(const unsigned char *block, int group, unsigned char factors[2])
{
	memcpy(factors, block + 2 * group, 2); /* scale and minimum share a byte there, too */
}

static void factors_q3_k(const unsigned char *block, int group, unsigned char factors[2])
{
	for (int half = 0; half < 2; half++)
		factors[half] = (unsigned char)block_q3_k_factor(block, 2 * group + half);
}

static void factors_q4_k(const unsigned char *block, int group, unsigned char factors[2])
{
	block_q4_k_factors(block, group, &factors[0], &factors[1]);
}

static void factors_iq4_xs(const unsigned char *block, int group, unsigned char factors[2])
{
	factors[0] = (unsigned char)block_iq4_xs_factor(block, group);
	factors[1] = 0;
}

static void factors_q6_k(const unsigned char *block, int group, unsigned char factors[2])
{
	memcpy(factors, block + 192 + 2 * group, 2);
}

/* ---- blocks ---- */

static const struct repack {
	void (*words)(const unsigned char *block, int group, uint32_t words[QUANT_WORDS]);
	void (*factors)(const unsigned char *block, int group, unsigned char factors[2]); /* of super-blocks */
	int scale_at, minimum_at;                                                         /* in the file's block */
	bool minimum_is_added;
} repacks[DTYPE_COUNT] = {
    [DTYPE_Q8] = {words_q8_0, NULL, 0, 0, false},
    [DTYPE_Q4] = {words_q4_0, NULL, 0, 0, false},
    [DTYPE_Q41] = {words_q4_1, NULL, 0, 2, true},
    [DTYPE_Q50] = {words_q5_0, NULL, 0, 0, false},
    [DTYPE_Q51] = {words_q5_1, NULL, 0, 2, true},
    [DTYPE_IQ4N] = {words_q4_0, NULL, 0, 0, false},
    [DTYPE_FP4] = {words_mxfp4, NULL, 0, 0, false},
    [DTYPE_Q2K] = {words_q2_k, factors_q2_k, 80, 82, false},
    [DTYPE_Q3K] = {words_q3_k, factors_q3_k, 108, 0, false},
    [DTYPE_Q4K] = {words_q4_k, factors_q4_k, 0, 2, false},
    [DTYPE_Q5K] = {words_q5_k, factors_q4_k, 0, 2, false},
    [DTYPE_IQ4X] = {words_iq4_xs, factors_iq4_xs, 0, 0, false},
    [DTYPE_Q6K] = {words_q6_k, factors_q6_k, 208, 0, false},
};

static void put_block(enum dtype type, unsigned char *block, int lane, const uint32_t words[QUANT_WORDS])
{
	uint32_t rows[QUANT_MOST_BITS] = {0};
	for (int word = 0; word < QUANT_WORDS; word++)
		for (int i = 0; i < QUANT_PIECES; i++) {
			const struct quant_piece *piece = &quant_pieces[quant_bits(type)][word][i];
			rows[piece->row] |= (words[word] & 0x01010101u * piece->mask) << piece->shift;
		}
	for (int row = 0; row < quant_bits(type); row++)
		memcpy(block + row * QUANT_ROW_BYTES + 4 * lane, &rows[row], sizeof rows[row]);
}

/* The scale of a file's block and, 16 further on, its minimum, where the type has one. */
static void put_scales(enum dtype type, unsigned char *scales, int lane, const unsigned char *stored)
{
	const struct repack *repack = &repacks[type];
	uint16_t scale, minimum;
	memcpy(&scale, stored + repack->scale_at, sizeof scale);
	if (quant_of(type)->scale == SCALE_BF16)
		scale = f32_to_bf16(ldexpf(1, stored[repack->scale_at] - 128)); /* exact */
	memcpy(scales + 2 * lane, &scale, sizeof scale);
	if (!quant_of(type)->minimum)
		return;
	memcpy(&minimum, stored + repack->minimum_at, sizeof minimum);
	minimum ^= repack->minimum_is_added ? 0x8000 : 0; /* the other sign: ours are taken away */
	memcpy(scales + 2 * (QUANT_OUTPUTS + lane), &minimum, sizeof minimum);
}

static void repack_super(enum dtype type, unsigned char *head, int lane, const unsigned char *stored)
{
	unsigned char *block = head + QUANT_HEAD_BYTES, *factors = head + QUANT_HEAD_FACTORS + lane, two[2];
	uint32_t words[QUANT_WORDS];
	put_scales(type, head, lane, stored);
	for (int group = 0; group < QUANT_SUPER_GROUPS; group++, factors += 2 * QUANT_OUTPUTS) {
		repacks[type].factors(stored, group, two);
		factors[0] = two[0];
		factors[QUANT_OUTPUTS] = two[1];
		repacks[type].words(stored, group, words);
		put_block(type, block + (size_t)group * quant_block_bytes(type), lane, words);
	}
}

void repack_outputs(const struct weight *from, const struct weight *to, int64_t first, int n_outputs)
{
	const enum dtype type = to->type;
	const struct dtype_info *info = dtype_info(from->type);
	const int n_groups = quant_groups(from->n_in), block_groups = info->block_elements / QUANT_GROUP;
	const size_t block_bytes = (size_t)info->block_bytes, row_bytes = (size_t)(n_groups / block_groups) * block_bytes;
	uint16_t *scales;
	unsigned char *strip = weight_strip(to, first, &scales);
	assert(repacks[type].words && quant_of(type)->stored == from->type);
	if (n_outputs < QUANT_OUTPUTS) {
		memset(strip, 0, quant_strip_bytes(type, n_groups));
		if (scales)
			memset(scales, 0, (size_t)quant_strip_scales(type, n_groups) * sizeof *scales);
	}
	for (int group = 0; group < n_groups; group += block_groups) {
		for (int lane = 0; lane < n_outputs; lane++) {
			const unsigned char *stored = (const unsigned char *)from->data + (size_t)(first + lane) * row_bytes +
			                              (size_t)(group / block_groups) * block_bytes;
			uint32_t words[QUANT_WORDS];
			if (quant_is_super(type)) {
				repack_super(type, strip, lane, stored);
				continue;
			}
			assert(scales);
			put_scales(type, (unsigned char *)scales, lane, stored);
			repacks[type].words(stored, 0, words);
			put_block(type, strip, lane, words);
		}
		strip += quant_strip_bytes(type, block_groups);
		scales += quant_group_scales(type);
	}
}
