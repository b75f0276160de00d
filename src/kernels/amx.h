/* Products in tiles of 16 x 16, for CPUs with AMX (Intel, since Sapphire Rapids): one instruction multiplies 16 rows by
 * 16 outputs over 32 inputs in bf16 and adds them up in f32.
 *
 * Every (row, output) is summed over steps of 32 inputs in ascending order, each step by the instruction's own rule (even
 * and odd inputs in two chains, rounded to nearest even, subnormals as zero). The rule is symmetric in its factors and
 * the same for every place in a tile: results depend neither on what else is in the tile nor on which of the
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

enum {
	AMX_SIDE = 16,           /* rows and outputs of a tile */
	AMX_STEP = 32,           /* inputs of a step */
	AMX_DEPTH = 256,         /* inputs that are packed at a time for many rows: two strips of it stay in an L1 cache */
	AMX_PANEL_OUTPUTS = 256, /* outputs that are packed at a time: what leaves room for rows in an L2 cache */
	AMX_SUM_BLOCKS = 48, /* blocks of 16 rows whose sums are kept from one panel to the next: 512 rows of 16 requests */
};

static inline int64_t amx_steps(int64_t n_in)
{
	return (n_in + AMX_STEP - 1) / AMX_STEP;
}

/* Elements of the sums of n_blocks blocks of rows and n_outputs outputs: [n_blocks][strips, an even number][16][16]. */
static inline size_t amx_sums(int n_blocks, int64_t n_outputs)
{
	size_t pairs = (size_t)(n_outputs + 2 * AMX_SIDE - 1) / (2 * AMX_SIDE);
	return (size_t)n_blocks * pairs * 2 * AMX_SIDE * AMX_SIDE;
}

/* Weights that are packed in a panel times many rows, for some of the steps; with the last of them
 * out[r * out_stride + c] = x row r . output c. */
struct amx_many {
	const uint16_t *x;   /* [ceil(n_rows / 16)] blocks [steps][16 rows][32]; what pads the rows does not matter */
	size_t block_stride; /* in elements */
	int n_rows;
	int first_row;         /* below AMX_SIDE; rows before it do not matter and are not written */
	const uint16_t *panel; /* [ceil(n_outputs / 16)] strips [n_steps][16 pairs of inputs][16 outputs][2] */
	size_t strip_stride;   /* in elements */
	int n_outputs;
	int64_t first_step; /* of the panel; 0 starts new sums */
	int64_t n_steps;
	bool last;   /* the sums are whole with this panel */
	float *sums; /* amx_sums, kept by the caller from the first panel to the last: tiles one after another are read and
	              * written several times as fast as tiles within rows of out */
	float *out;
	size_t out_stride; /* in elements */
};

/* Weights of few bits (quant.h), widened on the way, times up to four blocks of rows: for so few, writing and reading
 * a panel would cost more than it saves. */
enum { AMX_WIDENED_BLOCKS = 4 };
struct amx_widened {
	struct amx_block {
		const uint16_t *x; /* [steps][16 rows][32]; what pads the rows does not matter */
		int n_rows;        /* 1 to 16, from the start of the block on */
		float *out;
	} blocks[AMX_WIDENED_BLOCKS];
	int n_blocks; /* 1 or more */
	enum dtype type;
	const unsigned char *w; /* the first of ceil(n_outputs / 16) strips */
	const uint16_t *scales; /* NULL for super-blocks */
	int n_outputs;
	int n_groups; /* of 32 inputs */
	size_t out_stride;
};

/* bf16 weights where they lie times rows that are packed: what memory can deliver is what a few rows cost. */
struct amx_few {
	const uint16_t
	    *x; /* [ceil(n_rows / 16)] blocks [steps][16 pairs][16 rows][2]; what pads the rows does not matter */
	size_t block_stride; /* in elements */
	int n_rows;
	int first_row;          /* rows before it are multiplied but not written */
	const unsigned char *w; /* [n_outputs, n_in] bf16, aligned to nothing */
	int n_outputs;
	int n_following; /* outputs after these that will be wanted next */
	int64_t n_in;
	float *out; /* of row 0 */
	size_t out_stride;
};

enum { AMX_PEAK_OPERATIONS = 4 * 2 * AMX_SIDE * AMX_SIDE * AMX_STEP };

struct amx_functions {
	void (*multiply_many)(const struct amx_many *product);
	void (*multiply_few)(const struct amx_few *product);
	void (*multiply_widened)(const struct amx_widened *product);

	/* Packs one strip of up to 16 outputs. Inputs are padded with zeros to a multiple of AMX_STEP, outputs to 16.
	 *
	 * From rows of bf16, aligned to nothing; n_following rows will be packed after these. */
	void (*pack_rows)(uint16_t *strip, const unsigned char *rows, size_t stride_bytes, int n_outputs, int64_t n_in,
	                  int n_following);
	/* From n_groups of a strip in few bits (quant.h), from first_group on, widened; what lies `ahead` bytes further
	 * will be needed next. */
	void (*pack_quant)(uint16_t *strip, enum dtype type, const unsigned char *data, const uint16_t *scales,
	                   int first_group, int n_groups, ptrdiff_t ahead);

	/* Puts one row into its place in a block of 16: for multiply_many [steps][16 rows][32], for multiply_few
	 * [steps][16 pairs][16 rows][2]. */
	void (*pack_row_many)(uint16_t *block, int row, const float *x, int64_t n_in);
	void (*pack_row_few)(uint16_t *block, int row, const float *x, int64_t n_in);

	/* Products from registers to registers, AMX_PEAK_OPERATIONS a round, for the ceiling (kernels/ceilings.h). */
	uint64_t (*peak)(int n_rounds);
};
/* NULL where no CPU of this architecture has tiles. */
extern const struct amx_functions *const amx;

#endif
