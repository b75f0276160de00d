/* Element types of stored tensors, and how bytes relate to elements. Block types (GGUF) hold block_elements each. */
#ifndef TALLOW_TENSOR_DTYPE_H
#define TALLOW_TENSOR_DTYPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*    type         name    block  bytes of a block */
#define DTYPE_TABLE(X)                                                                                                 \
	X(DTYPE_F32, "F32", 1, 4)                                                                                          \
	X(DTYPE_F16, "F16", 1, 2)                                                                                          \
	X(DTYPE_BF16, "BF16", 1, 2)                                                                                        \
	X(DTYPE_Q8, "Q8", 32, 34)                                                                                          \
	X(DTYPE_Q4, "Q4", 32, 18)

enum dtype {
#define X(type, name, block, bytes) type,
	DTYPE_TABLE(X)
#undef X
	    DTYPE_COUNT
};

struct dtype_info {
	const char *name;
	int block_elements;
	int block_bytes;
};

const struct dtype_info *dtype_info(enum dtype type); /* never NULL */
/* "F32", "BF16", ... as SafeTensors spells them; false when unknown. */
bool dtype_parse(const char *name, size_t n_bytes, enum dtype *type);
/* Bytes of n elements (a multiple of the block); false on overflow or a partial block. */
bool dtype_bytes(enum dtype type, size_t n_elements, size_t *n_bytes);

float f16_to_f32(uint16_t half);
uint16_t f32_to_f16(float value); /* round to nearest even */
static inline float bf16_to_f32(uint16_t value)
{
	union {
		uint32_t bits;
		float number;
	} u = {.bits = (uint32_t)value << 16};
	return u.number;
}
uint16_t f32_to_bf16(float value); /* round to nearest even; NaN stays NaN */

#endif
