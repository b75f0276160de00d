/* Block types of GGUF: how values lie in blocks of bytes, and what they are worth.
 *
 * A row of a tensor is a whole number of blocks; a block holds n_values values in n_bytes bytes and is aligned to
 * nothing. `dequantise` is the specification that faster kernels are tested against: plain C, products and sums rounded
 * one by one in the order of ggml's reference, so that results are equal bit for bit.
 *
 * Types that Tallow does not compute with are known by name and size, so that a file that has them is checked and listed
 * like any other; their `dequantise` is NULL. Types taken out of the format have n_bytes 0.
 *
 * Source: ggml's block layouts (type numbers: ggml.h; layouts: ggml-common.h), github.com/ggml-org/ggml.
 */
#ifndef TALLOW_TENSOR_BLOCK_H
#define TALLOW_TENSOR_BLOCK_H

#include <stddef.h>
#include <stdint.h>

struct block_type {
	const char *name; /* "Q4_K" */
	uint32_t ggml_id; /* as tensor infos of a GGUF file have it */
	uint32_t n_values;
	uint32_t n_bytes;
	/* n_values must be a multiple of the block's; `blocks` may be unaligned. NULL: not supported. */
	void (*dequantise)(const void *blocks, float *out, size_t n_values);
};

const struct block_type *block_type_find(uint32_t ggml_id); /* NULL when the number is unknown */
/* "F32, F16, ...": the types with a dequantise, for messages. */
const char *block_type_supported(void);

#endif
