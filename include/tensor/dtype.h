/* Element types of tensors, and how bytes relate to elements. Types of blocks hold block_elements values each; how those
 * of GGUF files lie is in block.h, how those that are made at load lie in kernels/quant.h.
 */
#ifndef TALLOW_TENSOR_DTYPE_H
#define TALLOW_TENSOR_DTYPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Types that files hold: name, values and bytes of a block, number of the type in GGUF files. */
#define DTYPE_STORED_TABLE(X)                                                                                          \
	X(DTYPE_F32, "F32", 1, 4, 0)                                                                                       \
	X(DTYPE_F16, "F16", 1, 2, 1)                                                                                       \
	X(DTYPE_BF16, "BF16", 1, 2, 30)                                                                                    \
	X(DTYPE_Q8_0, "Q8_0", 32, 34, 8)                                                                                   \
	X(DTYPE_Q4_0, "Q4_0", 32, 18, 2)                                                                                   \
	X(DTYPE_Q4_1, "Q4_1", 32, 20, 3)                                                                                   \
	X(DTYPE_Q5_0, "Q5_0", 32, 22, 6)                                                                                   \
	X(DTYPE_Q5_1, "Q5_1", 32, 24, 7)                                                                                   \
	X(DTYPE_Q2_K, "Q2_K", 256, 84, 10)                                                                                 \
	X(DTYPE_Q3_K, "Q3_K", 256, 110, 11)                                                                                \
	X(DTYPE_Q4_K, "Q4_K", 256, 144, 12)                                                                                \
	X(DTYPE_Q5_K, "Q5_K", 256, 176, 13)                                                                                \
	X(DTYPE_Q6_K, "Q6_K", 256, 210, 14)                                                                                \
	X(DTYPE_IQ4_NL, "IQ4_NL", 32, 18, 20)                                                                              \
	X(DTYPE_IQ4_XS, "IQ4_XS", 256, 136, 23)                                                                            \
	X(DTYPE_MXFP4, "MXFP4", 32, 17, 39)                                                                                \
	X(DTYPE_IQ3_S, "IQ3_S", 256, 110, 21)                                                                              \
	X(DTYPE_IQ3_XXS, "IQ3_XXS", 256, 98, 18)                                                                           \
	X(DTYPE_IQ2_S, "IQ2_S", 256, 82, 22)                                                                               \
	X(DTYPE_IQ2_XS, "IQ2_XS", 256, 74, 17)                                                                             \
	X(DTYPE_IQ2_XXS, "IQ2_XXS", 256, 66, 16)                                                                           \
	X(DTYPE_IQ1_M, "IQ1_M", 256, 56, 29)                                                                               \
	X(DTYPE_IQ1_S, "IQ1_S", 256, 50, 19)                                                                               \
	X(DTYPE_TQ2_0, "TQ2_0", 256, 66, 35)                                                                               \
	X(DTYPE_TQ1_0, "TQ1_0", 256, 54, 34)

/* Types that are made at load, for the kernels. */
#define DTYPE_MADE_TABLE(X)                                                                                            \
	X(DTYPE_Q8, "Q8", 32, 34, -1)                                                                                      \
	X(DTYPE_Q4, "Q4", 32, 18, -1)                                                                                      \
	X(DTYPE_Q41, "Q41", 32, 20, -1)                                                                                    \
	X(DTYPE_Q50, "Q50", 32, 22, -1)                                                                                    \
	X(DTYPE_Q51, "Q51", 32, 24, -1)                                                                                    \
	X(DTYPE_IQ4N, "IQ4N", 32, 18, -1)                                                                                  \
	X(DTYPE_FP4, "FP4", 32, 18, -1)                                                                                    \
	X(DTYPE_Q2K, "Q2K", 256, 84, -1)                                                                                   \
	X(DTYPE_Q3K, "Q3K", 256, 116, -1)                                                                                  \
	X(DTYPE_Q4K, "Q4K", 256, 148, -1)                                                                                  \
	X(DTYPE_Q5K, "Q5K", 256, 180, -1)                                                                                  \
	X(DTYPE_IQ4X, "IQ4X", 256, 148, -1)                                                                                \
	X(DTYPE_Q6K, "Q6K", 256, 212, -1)                                                                                  \
	X(DTYPE_BF16T, "BF16T", 1, 2, -1)

#define DTYPE_TABLE(X) DTYPE_STORED_TABLE(X) DTYPE_MADE_TABLE(X)

enum dtype {
#define X(type, name, block, bytes, number) type,
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

float f16_to_f32(uint16_t half);  /* IEEE 754 binary16; exact, infinities and NaN stay what they are */
uint16_t f32_to_f16(float value); /* round to nearest even; 65,520 and beyond infinity, NaN stays NaN */
/* bf16 is the upper half of an f32: exact. */
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
