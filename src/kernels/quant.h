/* Products with 8-bit and 4-bit weights: the layout, and what an instruction set brings.
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
 * Activations are rounded to 8 bits in the same groups, each with its own scale. The sum over a group is an exact
 * integer, and groups are added in ascending order,
 *
 *     out = fma((float)integer * x.scale, w.scale, out)
 *
 * so that all sets give the same bits, whatever the number of rows.
 */
#ifndef TALLOW_KERNELS_QUANT_H
#define TALLOW_KERNELS_QUANT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tensor/dtype.h"

enum { QUANT_GROUP = 32, QUANT_OUTPUTS = 16 };

/* x = scale * value; offset = -(128 or 8) * the sum of the values. */
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
	const unsigned char *w; /* the first of ceil(n_outputs / 16) rows of blocks */
	const uint16_t *scales;
	int n_outputs;
	int n_groups;
	float *out;
	size_t out_stride; /* in elements */
};
typedef void quant_function(enum dtype type, const struct quant_product *product);

void scalar_quant(enum dtype type, const struct quant_product *product);
void avx2_quant(enum dtype type, const struct quant_product *product);
void avx2_vnni_quant(enum dtype type, const struct quant_product *product);
void avx512_vnni_quant(enum dtype type, const struct quant_product *product);

static inline bool quant_is(enum dtype type)
{
	return type == DTYPE_Q8 || type == DTYPE_Q4;
}

/* What is added to a value to store it. */
static inline int quant_zero(enum dtype type)
{
	return type == DTYPE_Q8 ? 128 : 8;
}

static inline size_t quant_block_bytes(enum dtype type)
{
	return (size_t)QUANT_OUTPUTS * QUANT_GROUP / (type == DTYPE_Q8 ? 1 : 2);
}

/* Value k of an output in a block. */
static inline int quant_value(enum dtype type, const unsigned char *block, int lane, int k)
{
	if (type == DTYPE_Q8)
		return block[k / 4 * 64 + lane * 4 + k % 4] - 128;
	int both = block[k % 16 / 4 * 64 + lane * 4 + k % 4];
	return (k < QUANT_GROUP / 2 ? both & 15 : both >> 4) - 8;
}

static inline int quant_groups(int64_t n_in)
{
	return (int)((n_in + QUANT_GROUP - 1) / QUANT_GROUP);
}

#endif
