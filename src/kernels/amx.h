/* Products in tiles of 16 x 16, for CPUs with AMX (Intel, since Sapphire Rapids): one instruction multiplies 16 rows by
 * 16 outputs over 32 inputs in bf16 and adds them up in f32.
 *
 * Every (row, output) is summed over steps of 32 inputs in ascending order, each step by the instruction's own rule (even
 * and odd inputs in two chains, rounded to nearest even, subnormals as zero). The rule is symmetric in its factors and
 * the same for every place in a tile: results depend neither on what else is in the tile nor on which of the two
 * functions made them.
 *
 * Source of the instructions' rules: Intel 64 and IA-32 Architectures Software Developer's Manual, TDPBF16PS.
 */
#ifndef TALLOW_KERNELS_AMX_H
#define TALLOW_KERNELS_AMX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tensor/dtype.h"

enum { AMX_SIDE = 16, AMX_STEP = 32, AMX_STRIPS = 2 };

/* Asks the system for the use of tiles, for all threads of the process; false where there are none. */
bool amx_enable(void);

/* Elements of bf16 in one packed strip: 16 outputs x n_in, or 16 rows. Inputs are padded to a multiple of AMX_STEP. */
static inline size_t amx_strip_elements(int64_t n_in)
{
	return (size_t)((n_in + AMX_STEP - 1) / AMX_STEP) * AMX_STEP * AMX_SIDE;
}

/* Packed strips of weights times many rows: out[r * out_stride + c] = x row r . output c. */
struct amx_many {
	const uint16_t *x;      /* [n_rows rounded up to 16, n_in] bf16, padded with zeros to a multiple of AMX_STEP */
	size_t x_stride;        /* in elements */
	int n_rows;             /* rows that pad the last 16 are multiplied, too, and written */
	const uint16_t *strips; /* [1 or 2][inputs / 2][16 outputs][2] */
	int n_outputs;          /* 1 to 2 * 16 */
	int64_t n_in;
	float *out;
	size_t out_stride; /* in elements */
};
void amx_multiply_many(const struct amx_many *product);

/* Packs up to 16 outputs of weights: from rows of bf16, aligned to nothing, ... */
void amx_pack_rows(uint16_t *strip, const unsigned char *rows, size_t stride_bytes, int n_outputs, int64_t n_in);
/* ... or from Q8 and Q4 (quant.h), widened: `data` and `scales` of the block of outputs. */
void amx_pack_quant(uint16_t *strip, enum dtype type, const unsigned char *data, const uint16_t *scales, int n_groups);

/* bf16 weights where they lie times rows that are packed: what memory can deliver is what a few rows cost. */
struct amx_few {
	const uint16_t *x;   /* [ceil(n_rows / 16)] blocks [inputs / 2][16 rows][2]; what pads the rows does not matter */
	size_t block_stride; /* in elements */
	int n_rows;
	int first_row;          /* rows before it are multiplied but not written */
	const unsigned char *w; /* [n_outputs, n_in] bf16, aligned to nothing */
	int n_outputs;
	int64_t n_in;
	float *out; /* of row 0 */
	size_t out_stride;
};
void amx_multiply_few(const struct amx_few *product);
/* Puts one row into its place among 16. */
void amx_pack_input(uint16_t *packed, int row, const float *x, int64_t n_in);

#endif
