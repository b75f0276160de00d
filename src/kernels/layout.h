/* Where parts of a weight lie, in rows as files have them and in strips as kernels/convert.h makes them. */
#ifndef TALLOW_KERNELS_LAYOUT_H
#define TALLOW_KERNELS_LAYOUT_H

#include "kernels/matmul.h"
#include "kernels/quant.h"

/* The layout of weights of this type. */
static inline enum weight_layout weight_layout(enum dtype type)
{
	return quant_is(type) || type == DTYPE_BF16T ? LAYOUT_INTERLEAVED : LAYOUT_ROWS;
}

/* Weights of few bits: the strip that holds an output, and the strip's scales (NULL for super-blocks; quant.h). */
static inline unsigned char *weight_strip(const struct weight *weight, int64_t output, uint16_t **scales)
{
	int64_t index = output / QUANT_OUTPUTS;
	int n_groups = quant_groups(weight->n_in);
	*scales = quant_is_super(weight->type)
	              ? NULL
	              : (uint16_t *)weight->scales + index * quant_strip_scales(weight->type, n_groups);
	return (unsigned char *)weight->data + (size_t)index * quant_strip_bytes(weight->type, n_groups);
}

/* Bytes of a row of numbers, from one to the next. */
static inline size_t weight_row_bytes(const struct weight *weight)
{
	return (size_t)weight->n_in * (size_t)dtype_info(weight->type)->block_bytes;
}

/* Row `output` of numbers. */
static inline const unsigned char *weight_row(const struct weight *weight, int64_t output)
{
	return (const unsigned char *)weight->data + (size_t)output * weight_row_bytes(weight);
}

#endif
