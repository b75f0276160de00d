/* Dot products of rows with weight rows, both along n_in, in register tiles of a few rows by a few outputs.
 *
 * Every (row, output) owns one vector accumulator: lane j sums the elements k = j mod DOT_STEP in ascending order, the
 * tail joins its lanes, and v_sum4 adds the lanes in one tree. The tile's shape decides only how often a weight or an
 * activation is loaded, so a result does not depend on how many rows came along. Several outputs at once hide the
 * latency of one chain and stream several weight rows from memory.
 *
 * Included by the sets after they define DOT_STEP, DOT_VECTOR, DOT_X_ELEMENT, DOT_LOAD_X, DOT_LOAD_X_SOME(p, n),
 * DOT_MULTIPLY(sum, x, w), dot_load_weights(type, w, k), dot_load_weights_some(type, w, k, n), and the tile sizes:
 * 2 to TILE_FEW_ROWS rows go with 8 outputs, up to TILE_ROWS with 4 (how v_sum4 likes them); single outputs are what is
 * left at the end of a weight. One row takes one output after another: weights then arrive in the order of their
 * addresses, which memory delivers up to 1.2 times as fast as eight rows in turns, and the chains of neighbouring
 * outputs overlap by themselves. Where a chain of short vectors is too long for that, TILE_ONE_ROW outputs go together.
 */
#ifndef TILE_ONE_ROW
#define TILE_ONE_ROW 1
#endif

/* Bit c of ahead: prefetch the row of weights that follows output c's by a whole tile, into L2: a tile of weights is as
 * large as L1, where it would push out what is being read. */
ALWAYS_INLINE void dot_tile(const enum dtype type, const struct dot_block *block, int row, int output, const int rows,
                            const int outputs, unsigned ahead)
{
	vf sum[8][8];
	const size_t x_stride = block->x_stride_bytes / sizeof(DOT_X_ELEMENT), w_stride = block->w_stride_bytes;
	const DOT_X_ELEMENT *x = (const DOT_X_ELEMENT *)block->x + (size_t)row * x_stride;
	const unsigned char *w = block->w + (size_t)output * w_stride;
	const int64_t n_in = block->n_in;
	int64_t k = 0;
#pragma GCC unroll 8
	for (int r = 0; r < rows; r++) {
#pragma GCC unroll 8
		for (int c = 0; c < outputs; c++)
			sum[r][c] = v_zero();
	}
	for (; k + DOT_STEP <= n_in; k += DOT_STEP) {
		DOT_VECTOR values[8];
#pragma GCC unroll 8
		for (int r = 0; r < rows; r++)
			values[r] = DOT_LOAD_X(x + (size_t)r * x_stride + k);
#pragma GCC unroll 8
		for (int c = 0; c < outputs; c++) {
			const unsigned char *w_row = w + (size_t)c * w_stride;
			DOT_VECTOR weights = dot_load_weights(type, w_row, k);
			if (ahead >> c & 1)
				__builtin_prefetch(w_row + (size_t)outputs * w_stride + k * element_bytes(type), 0, 2);
#pragma GCC unroll 8
			for (int r = 0; r < rows; r++)
				sum[r][c] = DOT_MULTIPLY(sum[r][c], values[r], weights);
		}
	}
	if (k < n_in) {
		int rest = (int)(n_in - k);
		DOT_VECTOR values[8];
#pragma GCC unroll 8
		for (int r = 0; r < rows; r++)
			values[r] = DOT_LOAD_X_SOME(x + (size_t)r * x_stride + k, rest);
#pragma GCC unroll 8
		for (int c = 0; c < outputs; c++) {
			DOT_VECTOR weights = dot_load_weights_some(type, w + (size_t)c * w_stride, k, rest);
#pragma GCC unroll 8
			for (int r = 0; r < rows; r++)
				sum[r][c] = DOT_MULTIPLY(sum[r][c], values[r], weights);
		}
	}
	float *out = block->out + (size_t)row * block->out_stride + output;
#pragma GCC unroll 8
	for (int r = 0; r < rows; r++, out += block->out_stride) {
		if (outputs == 1)
			*out = v_sum(sum[r][0]);
		else
#pragma GCC unroll 2
			for (int c = 0; c < outputs; c += 4)
				v_store4(out + c, v_sum4(sum[r][c], sum[r][c + 1], sum[r][c + 2], sum[r][c + 3]));
	}
}

ALWAYS_INLINE void dot_tile_outputs(const enum dtype type, const struct dot_block *block, int row, int output, int rows,
                                    const int outputs, unsigned ahead)
{
	switch (rows) {
#define CASE(n)                                                                                                        \
	case n:                                                                                                            \
		dot_tile(type, block, row, output, n, outputs, ahead);                                                         \
		break
		CASE(1);
		CASE(2);
		CASE(3);
#if TILE_ROWS > 3
		CASE(4);
		CASE(5);
		CASE(6);
#endif
#undef CASE
	default:
		__builtin_unreachable();
	}
}

ALWAYS_INLINE void dot_tile_any(const enum dtype type, const struct dot_block *block, int row, int output, int rows,
                                int outputs, unsigned ahead)
{
#if TILE_FEW_ROWS > 1
	if (outputs == 8 && rows == 2)
		dot_tile(type, block, row, output, 2, 8, ahead);
	else if (outputs == 8 && rows == 3)
		dot_tile(type, block, row, output, 3, 8, ahead);
	else
#endif
	    if (outputs == 4)
		dot_tile_outputs(type, block, row, output, rows, 4, ahead);
	else
		for (int c = 0; c < outputs; c++)
			dot_tile_outputs(type, block, row, output + c, rows, 1, 0);
}

ALWAYS_INLINE void dot_block_run(const enum dtype type, const struct dot_block *block)
{
	if (block->n_rows == 1) {
		int output = 0;
		for (; output + TILE_ONE_ROW <= block->n_outputs; output += TILE_ONE_ROW)
			dot_tile(type, block, 0, output, 1, TILE_ONE_ROW, 0);
		for (; output < block->n_outputs; output++)
			dot_tile(type, block, 0, output, 1, 1, 0);
		return;
	}
	int n_groups = (block->n_rows + TILE_ROWS - 1) / TILE_ROWS;
	int width = block->n_rows <= TILE_FEW_ROWS ? 8 : 4;
	bool few = block->n_rows <= DOT_FEW_ROWS;
	/* Few rows: weights come from memory, each tile of them serves all rows and meanwhile the next is fetched, a share
	 * in each group's pass. Many rows: the chunk of weights stays in the L2 cache while rows stream past it. */
	int n_tiles = (block->n_outputs + width - 1) / width;
	for (int i = 0; i < n_tiles * n_groups; i++) {
		int group = few ? i % n_groups : i / n_tiles;
		int output = (few ? i / n_groups : i % n_tiles) * width;
		int outputs = block->n_outputs - output < width ? block->n_outputs - output : width;
		int row = (int)((int64_t)block->n_rows * group / n_groups);
		int end = (int)((int64_t)block->n_rows * (group + 1) / n_groups);
		unsigned ahead = 0;
		for (int c = group; few && c < width; c += n_groups)
			ahead |= 1u << c;
		dot_tile_any(type, block, row, output, end - row, outputs, ahead);
	}
}
