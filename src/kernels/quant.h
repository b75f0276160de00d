/* Products with weights of few bits: the layouts, and what an instruction set brings.
 *
 * Weights (LAYOUT_INTERLEAVED) are blocks of 16 outputs x 32 inputs, so that one lane of a vector is one output:
 *
 *     Q8   8 rows of 64 bytes; row j holds, for each output, inputs 4j ... 4j+3 as value + 128
 *     Q4   4 rows of 64 bytes; row j holds inputs 4j ... 4j+3 in the low nibbles and 16+4j ... 16+4j+3 in the high ones,
 *          each as value + 8
 *
 * data is [n_blocks][n_groups] of them, scales [n_blocks][n_groups][16] in f16; weight = scale * value. What pads the
 * last outputs and inputs is zero. Values are stored unsigned because the dot-product instructions multiply unsigned by
 * signed bytes; what that adds is taken away through `offset` of the activations, once per group.
 *
 * Q4_K and Q6_K of GGUF files become super-blocks of 16 outputs x 256 inputs: a head of QUANT_HEAD_BYTES,
 *
 *     scale[16] in f16, minimum scale[16] in f16 (Q4K),
 *     Q4K  for each of 8 groups, factor[16] and minimum[16] in unsigned bytes
 *     Q6K  for each of 16 halves of groups, factor[16] in signed bytes
 *
 * and then 8 blocks of 32 inputs:
 *
 *     Q4K  as Q4, each as it is;      weight = scale * factor * value - minimum scale * minimum
 *     Q6K  4 rows as Q4 with the low 4 bits of value + 32, then 2 rows with the high bits: in row h, inputs 16h+4j ...
 *          16h+4j+3 have bits 2j and 2j+1;    weight = scale * factor * value
 *
 * Nothing in them is rounded. There are no scales elsewhere.
 *
 * Activations are rounded to 8 bits in the same groups, each with its own scale. The sum over a group (Q6K: over half
 * of it) is an exact integer, and groups are added in ascending order,
 *
 *     out = fma((float)integer * x.scale, w.scale, out)        w.scale = scale * factor, exact
 *     out = fma(-x.scale * (float)x.offset, minimum, out)      Q4K; minimum = minimum scale * minimum, exact
 *
 * so that all sets give the same bits, whatever the number of rows.
 */
#ifndef TALLOW_KERNELS_QUANT_H
#define TALLOW_KERNELS_QUANT_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "tensor/dtype.h"

enum {
	QUANT_GROUP = 32,
	QUANT_OUTPUTS = 16,
	QUANT_SUPER_GROUPS = 8, /* of a super-block */
	QUANT_SUPER = QUANT_SUPER_GROUPS * QUANT_GROUP,
	QUANT_HEAD_FACTORS = 4 * QUANT_OUTPUTS, /* where the factors begin in the head of a super-block */
	QUANT_HEAD_BYTES = QUANT_HEAD_FACTORS + QUANT_SUPER_GROUPS * 2 * QUANT_OUTPUTS,
};

/* Where the scale of a value is. */
enum quant_scale_kind {
	SCALE_F16,      /* beside the data, an f16 for each output's group */
	SCALE_UNSIGNED, /* in the head of its super-block: an unsigned byte times the super-block's f16 */
	SCALE_SIGNED,   /* the same with a signed byte */
};

/* A row for each type: its name in files; the bits of a value in the first plane of a block (8, or 4: two inputs in a byte)
 * and in the second (0 or 2), a plane of n bits being n rows; what is added to a value to store it; how many inputs share a
 * scale (a group, or its half); where the scale is; whether a minimum is taken away. */
#define QUANT_TABLE(X)                                                                                                 \
	X(DTYPE_Q8, DTYPE_Q8_0, 8, 0, 128, 32, SCALE_F16, false)                                                           \
	X(DTYPE_Q4, DTYPE_Q4_0, 4, 0, 8, 32, SCALE_F16, false)                                                             \
	X(DTYPE_Q4K, DTYPE_Q4_K, 4, 0, 0, 32, SCALE_UNSIGNED, true)                                                        \
	X(DTYPE_Q6K, DTYPE_Q6_K, 4, 2, 32, 16, SCALE_SIGNED, false)

struct quant_traits {
	enum dtype stored;
	int low_bits, high_bits;
	int zero;
	int scale_inputs;
	enum quant_scale_kind scale;
	bool minimum;
};
/* Constant for a constant type, which the loops over numbers rest on; low_bits 0 for other types. */
static const struct quant_traits quant_traits[DTYPE_COUNT] = {
#define X(type, ...) [type] = {__VA_ARGS__},
    QUANT_TABLE(X)
#undef X
};

/* x = scale * value; offset: quant_offset of the values. */
struct quant_group {
	int8_t values[QUANT_GROUP];
	float scale;
	int32_t offset;
};

/* 32 keys or values of one head: scale * value. Rounded with the scale in f32, read with it in f16. */
struct kv_block {
	uint16_t scale;
	int8_t values[QUANT_GROUP];
};

/* out[r * out_stride + c] = row r of x . output c of the weights */
struct quant_product {
	const struct quant_group *x;
	size_t x_stride; /* groups from row to row */
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
	return quant_of(type)->low_bits + quant_of(type)->high_bits;
}

static inline bool quant_is(enum dtype type)
{
	return quant_bits(type) > 0;
}

/* In super-blocks, which have their scales with them. */
static inline bool quant_is_super(enum dtype type)
{
	return quant_of(type)->scale != SCALE_F16;
}

/* Parts of a group that have a scale each: 1 or 2. */
static inline int quant_parts(enum dtype type)
{
	return QUANT_GROUP / quant_of(type)->scale_inputs;
}

/* What a product needs to know about a group of activations, from the sums of its halves, of at most 16 * 127 each. With a
 * minimum: the sum itself; with two parts: the two sums; else what stored values add to its integer, to be taken away. */
static inline int32_t quant_offset(enum dtype type, int32_t low_sum, int32_t high_sum)
{
	if (quant_of(type)->minimum)
		return low_sum + high_sum;
	if (quant_parts(type) == 2)
		return low_sum + high_sum * 65536;
	return -quant_of(type)->zero * (low_sum + high_sum);
}

/* Where the integer of a part of a group starts. */
static inline int32_t quant_first(enum dtype type, int32_t offset, int part)
{
	if (quant_of(type)->minimum)
		return 0;
	if (quant_parts(type) == 2) {
		int16_t low = (int16_t)offset;
		return -quant_of(type)->zero * (part ? (offset - low) / 65536 : low);
	}
	return offset;
}

/* Bytes of 16 outputs x 32 inputs. */
static inline size_t quant_block_bytes(enum dtype type)
{
	return (size_t)QUANT_OUTPUTS * QUANT_GROUP / 8 * (size_t)quant_bits(type);
}

/* Bytes of 16 outputs: n_groups is a multiple of QUANT_SUPER_GROUPS for super-blocks. */
static inline size_t quant_strip_bytes(enum dtype type, int n_groups)
{
	size_t blocks = (size_t)n_groups * quant_block_bytes(type);
	return blocks + (quant_is_super(type) ? (size_t)(n_groups / QUANT_SUPER_GROUPS) * QUANT_HEAD_BYTES : 0);
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

/* Value k of an output in a block. */
static inline int quant_value(enum dtype type, const unsigned char *block, int lane, int k)
{
	enum { ROW = 4 * QUANT_OUTPUTS, HALF = QUANT_GROUP / 2 };
	const struct quant_traits *traits = quant_of(type);
	const unsigned char *at = block + lane * 4 + k % 4, *second = at + traits->low_bits * ROW;
	if (traits->low_bits == 8)
		return at[k / 4 * ROW] - traits->zero;
	int j = k % HALF / 4, both = at[j * ROW], value = k < HALF ? both & 15 : both >> 4;
	if (traits->high_bits)
		value |= (second[k / HALF * ROW] >> 2 * j & 3) << 4;
	return value - traits->zero;
}

/* What value k of an output in a group is multiplied by, and what is then taken away. */
struct quant_scale {
	float scale, minimum;
};
static inline struct quant_scale quant_scale(enum dtype type, const uint16_t *scales, const unsigned char *head,
                                             int group, int lane, int k)
{
	const struct quant_traits *traits = quant_of(type);
	if (traits->scale == SCALE_F16) {
		assert(scales);
		return (struct quant_scale){f16_to_f32(scales[group * QUANT_OUTPUTS + lane]), 0};
	}
	assert(head);
	uint16_t scale, minimum;
	const unsigned char *factors = head + QUANT_HEAD_FACTORS + group % QUANT_SUPER_GROUPS * 2 * QUANT_OUTPUTS + lane;
	unsigned char factor = factors[k / traits->scale_inputs * QUANT_OUTPUTS];
	memcpy(&scale, head + 2 * lane, sizeof scale);
	memcpy(&minimum, head + 2 * (QUANT_OUTPUTS + lane), sizeof minimum);
	return (struct quant_scale){
	    f16_to_f32(scale) * (traits->scale == SCALE_SIGNED ? (float)(int8_t)factor : (float)factor),
	    traits->minimum ? f16_to_f32(minimum) * (float)factors[QUANT_OUTPUTS] : 0,
	};
}

static inline int quant_groups(int64_t n_in)
{
	return (int)((n_in + QUANT_GROUP - 1) / QUANT_GROUP);
}

#endif
