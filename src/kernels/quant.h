/* Products with weights of few bits: the layouts, and what an instruction set brings.
 *
 * Weights (LAYOUT_INTERLEAVED) are blocks of 16 outputs x 32 inputs, so that one lane of a vector is one output. Word w of
 * an output are its inputs 4w ... 4w+3, a byte each; a block of n bits has n rows of 64 bytes, a word of each output beside
 * the next, and quant_pieces tells which bits of a row's bytes are of which word. What is stored is unsigned because the
 * dot-product instructions multiply unsigned by signed bytes: value + zero, or a place in a table of such (quant_levels).
 * What zero adds is taken away through `offset` of the activations, once per group. Where scales are 16-bit floats, data
 * is [n_blocks][n_groups] of blocks, scales [n_blocks][n_groups][16] in f16 or bf16, or [n_groups][2][16] with minimums behind;
 *
 *     weight = scale * value - minimum
 *
 * and what pads the last outputs and inputs is zero.
 *
 * Types of super-blocks of GGUF files become super-blocks of 16 outputs x 256 inputs: a head of QUANT_HEAD_BYTES,
 *
 *     scale[16] in f16, minimum scale[16] in f16 (zeros where there is no minimum),
 *     for each of 8 groups two rows of 16 bytes:
 *         SCALE_UNSIGNED   factor and minimum factor
 *         SCALE_SIGNED     factor, of each half of the group where it has two
 *         SCALE_NIBBLES    of each half, factor in the low 4 bits and minimum factor in the high ones
 *
 * and then 8 blocks of 32 inputs; scale and minimum are those of the head times the factors. There are none elsewhere.
 * Nothing in what is made of a file's blocks is rounded.
 *
 * Activations are rounded to 8 bits, or fine ones to 15, in the same groups, each with its own scale (enum
 * quant_grain). A group's integer is the sum of weight values times activations: it is exact. As a float it is, too,
 * with 8 bits. Groups are added in ascending order,
 *
 *     out = fma((float)integer * x.scale, scale, out)
 *     out = fma(-x.scale * (float)sum of x, minimum, out)      for types with a minimum
 *
 * Where the halves of a group have factors of their own its integer is the sum of both halves' times these, of at most 25 bits,
 * or 32 with fine activations; and what all of a super-block shares comes at its end:
 *
 *     inner = fma((float)integer, x.scale, inner)              for each group
 *     out = fma(inner, scale, out);  out = fma(below, minimum scale, out)
 *
 * below is what minimum factors take away: with fine activations below = fma(-x.scale * (float)sum of x, factor, below)
 * for each half; with 8 bits the sums of a super-block, times x.scale, are rounded to 16 bits of one step, and
 * below = (float)(all its factors times these) * quant_below_step.
 *
 * Activations by super-blocks (GRAIN_SUPER) are fine ones whose scale is the same in all of a super-block, and smaller:
 *
 *     out = fma((float)(sum of integers times factors) * x.scale, scale, out)       for each super-block
 *
 * Short activations (GRAIN_SHORT) share one scale in all of their row, and a group has a whole number that it is
 * multiplied by: struct quant_short_group.
 *
 * So all sets give the same bits, whatever the number of rows.
 */
#ifndef TALLOW_KERNELS_QUANT_H
#define TALLOW_KERNELS_QUANT_H

#include <assert.h>
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "tensor/dtype.h"

enum {
	QUANT_GROUP = 32,
	QUANT_WORDS = QUANT_GROUP / 4, /* of an output in a block */
	QUANT_OUTPUTS = 16,
	QUANT_ROW_BYTES = 4 * QUANT_OUTPUTS,
	QUANT_SUPER_GROUPS = 8, /* of a super-block */
	QUANT_SUPER = QUANT_SUPER_GROUPS * QUANT_GROUP,
	QUANT_FINE_LARGEST = 127 * 128,         /* of fine activations */
	QUANT_SUPER_LARGEST = 2047,             /* of those by super-blocks */
	QUANT_HEAD_FACTORS = 4 * QUANT_OUTPUTS, /* where the factors begin in the head of a super-block */
	QUANT_HEAD_BYTES = QUANT_HEAD_FACTORS + QUANT_SUPER_GROUPS * 2 * QUANT_OUTPUTS,
};

/* Where the scale of a value is. */
enum quant_scale_kind {
	SCALE_F16,      /* beside the data, an f16 for each output's group */
	SCALE_BF16,     /* the same in bf16: powers of 2 that f16 does not reach */
	SCALE_UNSIGNED, /* in the head of its super-block: an unsigned byte times the super-block's f16 */
	SCALE_SIGNED,   /* the same with a signed byte */
	SCALE_NIBBLES,  /* the same with 4 bits */
};

/* What stored values stand for. */
enum quant_levels {
	LEVELS_EVEN, /* themselves */
	LEVELS_NL,   /* places in the table of IQ4_NL */
	LEVELS_E2M1, /* twice the numbers of 4 bits that have a sign, 2 bits of exponent and 1 of mantissa */
	LEVELS_COUNT
};

/* A row for each type: its name in files; bits of a value; what values are; what is added to a value; how many inputs share
 * a scale (a group, or its half); where the scale is; whether a minimum is taken away. */
#define QUANT_TABLE(X)                                                                                                 \
	X(DTYPE_Q8, DTYPE_Q8_0, 8, LEVELS_EVEN, 128, 32, SCALE_F16, false)                                                 \
	X(DTYPE_Q4, DTYPE_Q4_0, 4, LEVELS_EVEN, 8, 32, SCALE_F16, false)                                                   \
	X(DTYPE_Q41, DTYPE_Q4_1, 4, LEVELS_EVEN, 0, 32, SCALE_F16, true)                                                   \
	X(DTYPE_Q50, DTYPE_Q5_0, 5, LEVELS_EVEN, 16, 32, SCALE_F16, false)                                                 \
	X(DTYPE_Q51, DTYPE_Q5_1, 5, LEVELS_EVEN, 0, 32, SCALE_F16, true)                                                   \
	X(DTYPE_IQ4N, DTYPE_IQ4_NL, 4, LEVELS_NL, 128, 32, SCALE_F16, false)                                               \
	X(DTYPE_FP4, DTYPE_MXFP4, 4, LEVELS_E2M1, 16, 32, SCALE_BF16, false)                                               \
	X(DTYPE_Q2K, DTYPE_Q2_K, 2, LEVELS_EVEN, 0, 16, SCALE_NIBBLES, true)                                               \
	X(DTYPE_Q3K, DTYPE_Q3_K, 3, LEVELS_EVEN, 4, 16, SCALE_SIGNED, false)                                               \
	X(DTYPE_Q4K, DTYPE_Q4_K, 4, LEVELS_EVEN, 0, 32, SCALE_UNSIGNED, true)                                              \
	X(DTYPE_Q5K, DTYPE_Q5_K, 5, LEVELS_EVEN, 0, 32, SCALE_UNSIGNED, true)                                              \
	X(DTYPE_IQ4X, DTYPE_IQ4_XS, 4, LEVELS_NL, 128, 32, SCALE_SIGNED, false)                                            \
	X(DTYPE_Q6K, DTYPE_Q6_K, 6, LEVELS_EVEN, 32, 16, SCALE_SIGNED, false)

struct quant_traits {
	enum dtype stored;
	int bits;
	enum quant_levels levels;
	int zero;
	int scale_inputs;
	enum quant_scale_kind scale;
	bool minimum;
};
/* Constant for a constant type, which the loops over numbers rest on; bits 0 for other types. */
static const struct quant_traits quant_traits[DTYPE_COUNT] = {
#define X(type, ...) [type] = {__VA_ARGS__},
    QUANT_TABLE(X)
#undef X
};

/* By place: level + zero. */
static const _Alignas(16) uint8_t quant_levels[LEVELS_COUNT][16] = {
    [LEVELS_NL] = {1, 24, 45, 63, 79, 93, 106, 118, 129, 141, 153, 166, 181, 197, 217, 241},
    [LEVELS_E2M1] = {16, 17, 18, 19, 20, 22, 24, 28, 16, 15, 14, 13, 12, 10, 8, 4},
};

/* How activations are rounded: to 8 bits; fine, to 15; by super-blocks, which have one scale, to 12, so that 32 bits
 * hold what a whole one of IQ4_XS makes, values times factors times activations (127 * 32 * 2047 * 256 < 2^31); or so
 * that two share what is below 8 bits, the low half of n bits (quant_share_bits),
 *
 *     first = scale * (high * 2^n + low),   second = scale * (second high * 2^n + share * low)      share: quant_share
 *
 * That takes products of half as many bytes more as 8 bits do, and not of as many again: low meets first weight + share
 * * second weight, which is a byte, too. No pair lies far from such a one. While the first grows by a step of 8 bits,
 * share * low goes through `share` steps of the second, so the first is at most half a step / share away, and the
 * second half of share steps of low. Weights of a byte leave no room for that: what low halves meet is made of their
 * values without the last 2 bits, rounded down, and integers are in steps of 4.
 *
 * Short ones have low halves of 5 or 6 bits, so that the products of all of a group may be summed in 16 bits where
 * those with high halves are: for weights of 4 and 5 bits whose group has one scale (8 * 15 * 8 * 32 < 2^15, 8 * 31 * 6
 * * 16 < 2^15). That sum is rounded to whole steps of high halves, and theirs goes on from there.
 */
enum quant_grain { GRAIN_COARSE, GRAIN_FINE, GRAIN_SUPER, GRAIN_SHARED, GRAIN_SHORT, GRAIN_COUNT };

/* x = scale * value; offset: quant_offset of the values, of a whole super-block where those are gathered. */
struct quant_group {
	float scale;
	int32_t offset;
	int8_t values[QUANT_GROUP];
};

/* The same in QUANT_FINE_LARGEST steps to each side. Products of 16 bits want inputs 4w and 4w+2 of a word side by
 * side, then 4w+1 and 4w+3; those of 8 bits a value's two halves, value = 128 * high + low, in planes. So lie shared
 * ones, in sets that have loops for them: in each part the first half of the words share low halves with the second
 * half, and planes[1] has those of both parts one after another. */
struct quant_fine_group {
	float scale;
	int32_t offsets[2];  /* quant_set_fine_offsets */
	int16_t low_sums[2]; /* of shared low halves, in each part */
	union {
		int16_t pairs[QUANT_GROUP];
		int8_t planes[2][QUANT_GROUP];
	};
};

/* x = scale * factor * (high + quant_share, or 1, * low / 2^n). Two sums of 16 bits, of bytes 0 and 1 of each word and
 * of 2 and 3, hold what all of a group makes,
 *
 *     sum = start + round(sum of weights * low / 2^n) + sum of stored values * high
 *     out = fma((float)((sum + other sum) * factor), scale of the weights, out)
 *     out = fma(below, minimum - centre * scale of the weights, out)      for types with a minimum
 *
 * and out * scale comes at the end of the row. For 16 bits to hold them stored values count from a centre, quant_centre:
 * start is what that takes away, to whole steps of high halves. On the way a sum may wrap around. */
struct quant_short_group {
	float scale; /* of the row, in each of its groups */
	float below; /* -factor * sum of x / (scale * factor) */
	int16_t starts[2];
	int16_t factor[2]; /* twice the same, at most QUANT_SHORT_FACTOR */
	int8_t high[QUANT_GROUP];
	int8_t low[QUANT_GROUP / 2];
};
/* So that the sums of both halves times this stay below 2^31: 2 * 2^15 * 32767 does. */
enum { QUANT_SHORT_FACTOR = 32767 };

/* 32 keys or values of one head: scale * value. Rounded with the scale in f32, read with it in f16. */
struct kv_block {
	uint16_t scale;
	int8_t values[QUANT_GROUP];
};

/* out[r * out_stride + c] = row r of x . output c of the weights */
struct quant_product {
	const void *x; /* struct quant_group, quant_short_group or quant_fine_group: by the grain */
	size_t x_stride_bytes;
	enum quant_grain grain;
	int n_rows;
	const unsigned char *w; /* the first of ceil(n_outputs / 16) strips of blocks */
	const uint16_t *scales; /* NULL for super-blocks */
	int n_outputs;
	int n_groups;
	float *out;
	size_t out_stride; /* in elements */
};
typedef void quant_function(enum dtype type, const struct quant_product *product);

void scalar_quant(enum dtype type, const struct quant_product *product);
void avx2_quant(enum dtype type, const struct quant_product *product);
void avx2_vnni_quant(enum dtype type, const struct quant_product *product);
void avx512_quant(enum dtype type, const struct quant_product *product);
void avx512_vnni_quant(enum dtype type, const struct quant_product *product);
void neon_quant(enum dtype type, const struct quant_product *product);
void neon_dotprod_quant(enum dtype type, const struct quant_product *product);

static inline const struct quant_traits *quant_of(enum dtype type)
{
	return &quant_traits[type];
}

static inline int quant_bits(enum dtype type)
{
	return quant_of(type)->bits;
}

static inline bool quant_is(enum dtype type)
{
	return quant_bits(type) > 0;
}

/* In super-blocks, which have their scales with them. */
static inline bool quant_is_super(enum dtype type)
{
	return quant_of(type)->scale >= SCALE_UNSIGNED;
}

/* A bound on stored values: 255 where they fill a byte. */
static inline int quant_largest(enum dtype type)
{
	const enum quant_levels levels = quant_of(type)->levels;
	return levels == LEVELS_NL ? 255 : levels == LEVELS_E2M1 ? 28 : (1 << quant_bits(type)) - 1;
}

static inline bool quant_is_wide(enum dtype type)
{
	return quant_largest(type) == 255;
}

/* Parts of a group that have a scale each: 1 or 2. */
static inline int quant_parts(enum dtype type)
{
	return quant_of(type)->scale_inputs == QUANT_GROUP ? 1 : 2;
}

/* Whether there are activations by super-blocks for it: where values of a byte cannot be shared nor rounded to 8 bits. */
static inline bool quant_sums_supers(enum dtype type)
{
	return quant_is_super(type) && quant_is_wide(type);
}

static inline bool quant_is_fine(enum quant_grain grain)
{
	return grain != GRAIN_COARSE;
}

static inline bool quant_is_shared(enum quant_grain grain)
{
	return grain >= GRAIN_SHARED;
}

/* What the second of two activations takes of the low half that they share, so that their weights together are still a byte;
 * with 4 bits this is the byte that both are stored in, if it need not be short. 0: these are not shared. */
static inline int quant_share(enum dtype type, enum quant_grain grain)
{
	if (quant_bits(type) < 4 || !quant_is_shared(grain))
		return 0;
	if (grain == GRAIN_SHORT)
		return quant_is_wide(type) || quant_parts(type) == 2 ? 0 : quant_largest(type) == 15 ? 7 : 5;
	if (quant_is_wide(type) || quant_bits(type) == 6)
		return 3;
	return quant_of(type)->levels == LEVELS_EVEN && quant_bits(type) == 4 ? 16 : 7;
}

/* Bits that values lose before shared low halves meet them: what those of a byte lack room for is a hundredth of what
 * rounding to 8 bits is off. */
static inline int quant_share_loss(enum dtype type)
{
	return quant_is_wide(type) ? 2 : 0;
}

/* Of a low half. */
static inline int quant_share_bits(enum dtype type, enum quant_grain grain)
{
	if (grain == GRAIN_SHORT)
		return quant_share(type, grain) == 7 ? 6 : 5;
	return quant_share(type, grain) == 16 ? 8 : 7;
}

/* By how many bits a sum with high halves of shared activations is shifted before the one with low halves is added. */
static inline int quant_share_raise(enum dtype type)
{
	return quant_share_bits(type, GRAIN_SHARED) - quant_share_loss(type);
}

/* From where stored values count with short activations: zero, which leaves nothing to take away; with a minimum where
 * 16 bits want it. */
static inline int quant_centre(enum dtype type)
{
	return !quant_of(type)->minimum ? quant_of(type)->zero : quant_bits(type) == 5 ? 16 : 0;
}

/* Whether what zero adds to a part of a group with shared activations, zero * (sum of high halves * 2^n + (1 +
 * quant_share) * sum of low ones), is a multiple of 2^n: then it is where the sum with high halves starts, and costs
 * nothing. */
static inline bool quant_starts_high(enum dtype type, enum quant_grain grain)
{
	return grain == GRAIN_SHARED && quant_of(type)->zero > 0 &&
	       quant_of(type)->zero * (1 + quant_share(type, grain)) % (1 << quant_share_bits(type, grain)) == 0;
}

/* Shared low halves of a part of a group: input i of the part shares its with the one this many further. */
static inline int quant_shared(enum dtype type)
{
	return quant_of(type)->scale_inputs / 2;
}

union quant_word {
	int32_t bits;
	float number;
};

/* What a product needs to know of the sum of a group's activations, or of a part of them: with a minimum, what it is multiplied
 * by, as float; else what stored values add to the integer, to be taken away. */
static inline int32_t quant_part_offset(enum dtype type, float scale, int32_t sum)
{
	union quant_word below = {.number = sum ? -scale * (float)sum : 0}; /* no second NaN where the scale is infinite */
	return quant_of(type)->minimum ? below.bits : -quant_of(type)->zero * sum;
}

/* From the sums of both halves, of at most 16 * 127 each: with two parts the two sums, 16 bits each. */
static inline int32_t quant_offset(enum dtype type, float scale, int32_t low_sum, int32_t high_sum)
{
	if (quant_parts(type) == 2)
		return (int32_t)((uint32_t)low_sum & 0xffff) | high_sum * 65536;
	return quant_part_offset(type, scale, low_sum + high_sum);
}

/* x rounded to the nearest integer (ties to even) for |x| < 2^22, as integer: the sum's low mantissa bits hold it. */
static inline int32_t quant_round(float x)
{
	union quant_word u = {.number = x + 12582912.0f}; /* 1.5 * 2^23 */
	return (int32_t)((uint32_t)u.bits - 0x4b400000u);
}

/* Whether sums of the parts of activations of 8 bits are gathered by super-blocks: quant_gather. */
static inline bool quant_gathers(enum dtype type)
{
	return quant_parts(type) == 2 && quant_of(type)->minimum;
}

/* What minimums are multiplied by for each step of the gathered sums of a super-block. */
static inline float quant_below_step(const struct quant_group x[QUANT_SUPER_GROUPS])
{
	float largest = 0;
	for (int g = 0; g < QUANT_SUPER_GROUPS; g++)
		largest = x[g].scale > largest ? x[g].scale : largest;
	const int largest_sum = QUANT_GROUP / 2 * 127;
	return -largest * ((float)largest_sum / 32767);
}

/* From the sums of both parts in steps of each group's scale to those in steps of the whole super-block's. */
static inline void quant_gather(struct quant_group x[QUANT_SUPER_GROUPS])
{
	const float step = -quant_below_step(x);
	const bool some = step > 0 && step < INFINITY; /* else what they are multiplied by makes them 0, or NaN */
	for (int g = 0; g < QUANT_SUPER_GROUPS; g++) {
		const float ratio = some ? x[g].scale / step : 0;
		int32_t low = quant_round((float)(int16_t)x[g].offset * ratio);
		x[g].offset = quant_round((float)(x[g].offset >> 16) * ratio) * 65536 | (low & 0xffff);
	}
}

/* The same of fine activations, where each part has its own. */
static inline void quant_set_fine_offsets(struct quant_fine_group *x, enum dtype type, int32_t low_sum,
                                          int32_t high_sum)
{
	const bool both = quant_parts(type) == 1;
	x->offsets[0] = quant_part_offset(type, x->scale, both ? low_sum + high_sum : low_sum);
	x->offsets[1] = both ? 0 : quant_part_offset(type, x->scale, high_sum);
}

/* Values that lose their last 2 bits are 3/2 less than they were, on average; what that makes of a group, in steps of
 * its sum with high halves. low_sum: of all low halves, each of which meets one such value and 3 times another. */
static inline int32_t quant_lost(enum dtype type, int32_t low_sum)
{
	return quant_share_loss(type) ? (low_sum * 3 + 32) >> 6 : 0;
}

/* The same of shared activations. sums: of both halves of the group, in steps of low halves; low_sums: of the first and
 * the last 8 low halves. */
static inline void quant_set_shared_offsets(struct quant_fine_group *x, enum dtype type, const int32_t sums[2],
                                            const int32_t low_sums[2])
{
	const bool both = quant_parts(type) == 1;
	quant_set_fine_offsets(x, type, sums[0], sums[1]);
	for (int part = 0; part < 2 && quant_starts_high(type, GRAIN_SHARED); part++)
		x->offsets[part] /= 1 << quant_share_bits(type, GRAIN_SHARED);
	x->offsets[0] += quant_lost(type, low_sums[0] + low_sums[1]);
	x->low_sums[0] = (int16_t)(both ? low_sums[0] + low_sums[1] : low_sums[0]);
	x->low_sums[1] = (int16_t)(both ? 0 : low_sums[1]);
}

/* A sum in steps of low halves, to the nearest whole step of high ones. */
static inline int32_t quant_round_low(enum dtype type, int32_t sum)
{
	const int bits = quant_share_bits(type, GRAIN_SHORT);
	return (sum + (1 << (bits - 1))) >> bits;
}

/* sums: of x / (scale * factor) in steps of low halves, of bytes 0 and 1 of each word and of 2 and 3. */
static inline void quant_set_short_sums(struct quant_short_group *x, enum dtype type, const int32_t sums[2])
{
	const float per_step = 1.0f / (float)(1 << quant_share_bits(type, GRAIN_SHORT));
	for (int half = 0; half < 2; half++)
		x->starts[half] = (int16_t)quant_round_low(type, -quant_centre(type) * sums[half]);
	x->below = -(float)x->factor[0] * ((float)(sums[0] + sums[1]) * per_step);
}

static inline size_t quant_group_bytes(enum quant_grain grain)
{
	return grain == GRAIN_SHORT   ? sizeof(struct quant_short_group)
	       : quant_is_fine(grain) ? sizeof(struct quant_fine_group)
	                              : sizeof(struct quant_group);
}

/* The sum of the activations of 8 bits of one of two parts; gathered, where those are. */
static inline int32_t quant_part_sum(const void *x, int part)
{
	return (int16_t)(((const struct quant_group *)x)->offset >> 16 * part);
}

/* With 8 bits that of all of a group. */
static inline int32_t quant_offset_of(enum quant_grain grain, const void *x, int part)
{
	return quant_is_fine(grain) ? ((const struct quant_fine_group *)x)->offsets[part]
	                            : ((const struct quant_group *)x)->offset;
}

static inline float quant_x_scale(enum quant_grain grain, const void *x)
{
	return quant_is_fine(grain) ? ((const struct quant_fine_group *)x)->scale : ((const struct quant_group *)x)->scale;
}

/* What a row's totals are multiplied by at its end. x: its first group. */
static inline float quant_row_scale(enum quant_grain grain, const void *x)
{
	return grain == GRAIN_SHORT ? ((const struct quant_short_group *)x)->scale : 1;
}

/* What the minimum of a group, or of a part of a fine one, is multiplied by. */
static inline float quant_below(enum quant_grain grain, const void *x, int part)
{
	union quant_word below = {.bits = quant_offset_of(grain, x, part)};
	return below.number;
}

/* Where the integer of a part of a group starts. with_sign: values that take a byte meet activations without zero,
 * which is 128. */
static inline int32_t quant_first(enum dtype type, enum quant_grain grain, const void *x, int part,
                                  const bool with_sign)
{
	if (quant_of(type)->zero == 0)
		return 0;
	if (with_sign && quant_is_wide(type))
		return grain == GRAIN_SHARED ? quant_lost(type, ((const struct quant_fine_group *)x)->low_sums[0]) : 0;
	return quant_parts(type) == 2 && !quant_is_fine(grain) ? -quant_of(type)->zero * quant_part_sum(x, part)
	                                                       : quant_offset_of(grain, x, part);
}

/* What a sum with shared low halves starts from besides where the bytes that they meet have 128 less: of values that
 * take a byte that is what zero added. */
static inline int32_t quant_first_low(enum dtype type, const void *x, int part)
{
	return quant_is_wide(type) ? 0 : 128 * ((const struct quant_fine_group *)x)->low_sums[part];
}

/* Bytes of 16 outputs x 32 inputs. */
static inline size_t quant_block_bytes(enum dtype type)
{
	return (size_t)QUANT_ROW_BYTES * (size_t)quant_bits(type);
}

/* Bytes of 16 outputs: n_groups is a multiple of QUANT_SUPER_GROUPS for super-blocks. */
static inline size_t quant_strip_bytes(enum dtype type, int n_groups)
{
	size_t blocks = (size_t)n_groups * quant_block_bytes(type);
	return blocks + (quant_is_super(type) ? (size_t)(n_groups / QUANT_SUPER_GROUPS) * QUANT_HEAD_BYTES : 0);
}

/* Scales of 16 outputs in a group, with the minimums behind them; none of super-blocks. */
static inline int quant_group_scales(enum dtype type)
{
	return quant_is_super(type) ? 0 : quant_of(type)->minimum ? 2 * QUANT_OUTPUTS : QUANT_OUTPUTS;
}

static inline int quant_strip_scales(enum dtype type, int n_groups)
{
	return n_groups * quant_group_scales(type);
}

/* The block of a group within its strip; *head: that of its super-block, or NULL. */
static inline const unsigned char *quant_block(enum dtype type, const unsigned char *strip, int group,
                                               const unsigned char **head)
{
	if (!quant_is_super(type)) {
		*head = NULL;
		return strip + (size_t)group * quant_block_bytes(type);
	}
	*head = strip + quant_strip_bytes(type, group / QUANT_SUPER_GROUPS * QUANT_SUPER_GROUPS);
	return *head + QUANT_HEAD_BYTES + (size_t)(group % QUANT_SUPER_GROUPS) * quant_block_bytes(type);
}

/* Some bits of a word's values: `mask` of the row's bytes after a shift to the right. */
struct quant_piece {
	unsigned char row, shift, mask;
};
enum { QUANT_PIECES = 3, QUANT_MOST_BITS = 8 };

/* Which pieces make a word's values, by the bits of a value. Most words are one piece; with 3, 5 and 6 bits those leave bits
 * of their bytes over, which make up the other words: fewer steps than a plane of low bits and one of high ones took
 * (measured: one row 1.2 to 1.4 times as fast). */
#define PIECE(row, from, bits, to)                                                                                     \
	{                                                                                                                  \
		row, (from) - (to), ((1 << (bits)) - 1) << (to)                                                                \
	}
#define WHOLE(row, from, bits)                                                                                         \
	{                                                                                                                  \
		PIECE(row, from, bits, 0)                                                                                      \
	}
static const struct quant_piece quant_pieces[QUANT_MOST_BITS + 1][QUANT_WORDS][QUANT_PIECES] = {
    [2] = {WHOLE(0, 0, 2), WHOLE(0, 2, 2), WHOLE(0, 4, 2), WHOLE(0, 6, 2), WHOLE(1, 0, 2), WHOLE(1, 2, 2),
           WHOLE(1, 4, 2), WHOLE(1, 6, 2)},
    [3] = {WHOLE(0, 0, 3),
           WHOLE(0, 3, 3),
           WHOLE(1, 0, 3),
           {PIECE(0, 6, 2, 0), PIECE(1, 6, 1, 2)},
           WHOLE(2, 0, 3),
           WHOLE(2, 3, 3),
           WHOLE(1, 3, 3),
           {PIECE(2, 6, 2, 0), PIECE(1, 7, 1, 2)}},
    [4] = {WHOLE(0, 0, 4), WHOLE(1, 0, 4), WHOLE(2, 0, 4), WHOLE(3, 0, 4), WHOLE(0, 4, 4), WHOLE(1, 4, 4),
           WHOLE(2, 4, 4), WHOLE(3, 4, 4)},
    [5] = {WHOLE(0, 0, 5),
           WHOLE(1, 0, 5),
           WHOLE(2, 0, 5),
           WHOLE(3, 0, 5),
           {PIECE(0, 5, 3, 2), PIECE(4, 0, 2, 0)},
           {PIECE(1, 5, 3, 2), PIECE(4, 2, 2, 0)},
           {PIECE(2, 5, 3, 2), PIECE(4, 4, 2, 0)},
           {PIECE(3, 5, 3, 2), PIECE(4, 6, 2, 0)}},
    [6] = {WHOLE(0, 0, 6),
           WHOLE(1, 0, 6),
           WHOLE(2, 0, 6),
           {PIECE(0, 6, 2, 0), PIECE(1, 6, 2, 2), PIECE(2, 6, 2, 4)},
           WHOLE(3, 0, 6),
           WHOLE(4, 0, 6),
           WHOLE(5, 0, 6),
           {PIECE(3, 6, 2, 0), PIECE(4, 6, 2, 2), PIECE(5, 6, 2, 4)}},
    [8] = {WHOLE(0, 0, 8), WHOLE(1, 0, 8), WHOLE(2, 0, 8), WHOLE(3, 0, 8), WHOLE(4, 0, 8), WHOLE(5, 0, 8),
           WHOLE(6, 0, 8), WHOLE(7, 0, 8)},
};
#undef PIECE
#undef WHOLE

/* Some words are made of what others leave: they take more steps to unpack. */
static inline bool quant_has_rest(enum dtype type)
{
	return quant_pieces[quant_bits(type)][QUANT_WORDS - 1][1].mask != 0;
}

/* Word i of those of a part, in the order of the rows that have them. */
static inline int quant_word_at(enum dtype type, int i, int part)
{
	if (quant_parts(type) == 2)
		return part * QUANT_WORDS / 2 + i;
	return quant_bits(type) < 8 ? i / 2 + i % 2 * 4 : i;
}

/* What is stored of value k of an output, from the block's rows. */
static inline int quant_stored_value(int bits, const unsigned char *block, int lane, int k)
{
	const struct quant_piece *pieces = quant_pieces[bits][k / 4];
	int stored = 0;
	for (int i = 0; i < QUANT_PIECES; i++)
		stored |= block[pieces[i].row * QUANT_ROW_BYTES + lane * 4 + k % 4] >> pieces[i].shift & pieces[i].mask;
	return stored;
}

/* Value k of an output in a block. */
static inline int quant_value(enum dtype type, const unsigned char *block, int lane, int k)
{
	const struct quant_traits *traits = quant_of(type);
	int stored = quant_stored_value(traits->bits, block, lane, k);
	return (traits->levels ? quant_levels[traits->levels][stored] : stored) - traits->zero;
}

/* What values of an output in a part of a group are multiplied by, and what is then taken away: numbers that the parts of a
 * group share, except for their factors. */
struct quant_scale {
	float scale, minimum;
	int factor, minimum_factor;
};
static inline struct quant_scale quant_scale(enum dtype type, const uint16_t *scales, const unsigned char *head,
                                             int group, int lane, int part)
{
	const struct quant_traits *traits = quant_of(type);
	if (!quant_is_super(type)) {
		assert(scales);
		scales += group * quant_group_scales(type) + lane;
		if (traits->scale == SCALE_BF16)
			return (struct quant_scale){bf16_to_f32(scales[0]), 0, 1, 1};
		return (struct quant_scale){f16_to_f32(scales[0]), traits->minimum ? f16_to_f32(scales[QUANT_OUTPUTS]) : 0, 1,
		                            1};
	}
	assert(head);
	uint16_t scale, minimum;
	const unsigned char *factors = head + QUANT_HEAD_FACTORS + group % QUANT_SUPER_GROUPS * 2 * QUANT_OUTPUTS + lane;
	unsigned char factor = factors[part * QUANT_OUTPUTS];
	memcpy(&scale, head + 2 * lane, sizeof scale);
	memcpy(&minimum, head + 2 * (QUANT_OUTPUTS + lane), sizeof minimum);
	struct quant_scale made = {f16_to_f32(scale), f16_to_f32(minimum), factor, factors[QUANT_OUTPUTS]};
	if (traits->scale == SCALE_SIGNED)
		made.factor = (factor ^ 128) - 128;
	if (traits->scale == SCALE_NIBBLES) {
		made.factor = factor & 15;
		made.minimum_factor = factor >> 4;
	}
	return made;
}

/* Value k of a group of fine activations. */
static inline void quant_set_fine(struct quant_fine_group *x, bool planes, int k, int32_t value)
{
	int32_t high = (value + 64) >> 7;
	if (planes) {
		x->planes[0][k] = (int8_t)high;
		x->planes[1][k] = (int8_t)(value - 128 * high);
	} else
		x->pairs[k / 4 * 4 + k % 2 * 2 + k % 4 / 2] = (int16_t)value;
}

static inline int32_t quant_fine_value(const struct quant_fine_group *x, bool planes, int k)
{
	return planes ? 128 * x->planes[0][k] + x->planes[1][k] : x->pairs[k / 4 * 4 + k % 2 * 2 + k % 4 / 2];
}

static inline int quant_groups(int64_t n_in)
{
	return (int)((n_in + QUANT_GROUP - 1) / QUANT_GROUP);
}

#endif
