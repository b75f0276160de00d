/* Block types of GGUF: how values lie in blocks of bytes, and what they are worth.
 *
 * A row of a tensor is a whole number of blocks; a block holds n_values values in n_bytes bytes and is aligned to
 * nothing. block_dequantise is the specification that faster kernels are tested against: plain C, products and sums rounded
 * one by one in the order of ggml's reference, so that results are equal bit for bit.
 *
 * Types that Tallow does not compute with are known by name and size, so that a file that has them is checked and listed
 * like any other. Types taken out of the format have n_bytes 0.
 *
 * Source: ggml's block layouts (type numbers: ggml.h; layouts: ggml-common.h), github.com/ggml-org/ggml.
 */
#ifndef TALLOW_TENSOR_BLOCK_H
#define TALLOW_TENSOR_BLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tensor/dtype.h"

struct block_type {
	const char *name; /* "Q4_K" */
	uint32_t ggml_id; /* as tensor infos of a GGUF file have it */
	uint32_t n_values;
	uint32_t n_bytes;
	bool supported;
	enum dtype type; /* when supported */
};

const struct block_type *block_type_find(uint32_t ggml_id); /* NULL when the number is unknown */
/* "F32, F16, ...": the types that are supported, for messages.. */
const char *block_type_supported(void);

/* The two 6-bit numbers (0..63) by which a block of Q4_K or Q5_K multiplies its scale and its minimum in its group 0..7 of 32
 * values. */
void block_q4_k_factors(const void *block, int group, unsigned char *scale, unsigned char *minimum);
/* The number (-32..31) by which a block of Q3_K multiplies its scale in its group 0..15 of 16 values. */
int block_q3_k_factor(const void *block, int group);
/* The number (-32..31) by which a block of IQ4_XS multiplies its scale in its group 0..7 of 32 values. */
int block_iq4_xs_factor(const void *block, int group);

/* out[n_values] in f32. `type` is one that files hold; n_values a multiple of its block's. `blocks` may be unaligned.
 * Cannot fail. */
void block_dequantise(enum dtype type, const void *blocks, float *out, size_t n_values);

#endif
