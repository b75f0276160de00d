/* The loops of quant_function, in register tiles of a few rows by a few vectors of outputs.
 *
 * Included after these are defined: QUANT_LANES (16, or 8 for half a block), qi and qf (vectors of that many int32 and
 * floats), QUANT_MAX_ROWS and QUANT_VECTORS(rows) (the shape of a tile), and
 *
 *     qi quant_load(p)                      lanes of one row of a block
 *     qi quant_weights(type, stored, half)  four values per lane, as quant_step wants them
 *     qi quant_x(p)                         four values in every lane
 *     qi quant_start(type, group)           a sum before the first step
 *     qi quant_step(type, sum, w, x)
 *     qf quant_finish(type, sum, group)     the exact integer, as float
 *     qf quant_scales(p)                    f16 -> float
 *     qf_zero, qf_set1, qf_mul, qf_fma, qf_store
 */

/* Weights are asked for this far ahead of their use when they come from memory. For a row or few, into L2, since L1 is
 * small for four streams (measured: 34 GB/s against 29); more rows have work to do and want them near (8 rows: 20%
 * faster). */
enum { QUANT_AHEAD_BYTES = 1024 };

ALWAYS_INLINE void quant_tile(const enum dtype type, const struct quant_product *p, int row, int output, const int rows,
                              const int vectors, const bool from_memory)
{
	enum { LANE_BYTES = 4, ROW_BYTES = QUANT_OUTPUTS * LANE_BYTES, PER_BLOCK = QUANT_OUTPUTS / QUANT_LANES };
	const size_t block_bytes = type == DTYPE_Q8 ? 512 : 256, x_stride = p->x_stride;
	const int n_stored = type == DTYPE_Q8 ? 8 : 4, n_halves = type == DTYPE_Q8 ? 1 : 2;
	const struct quant_group *x = p->x + (size_t)row * x_stride;
	size_t first_block = (size_t)(output / QUANT_OUTPUTS) * (size_t)p->n_groups;
	const int first_lane = output % QUANT_OUTPUTS;
	const unsigned char *w = p->w + first_block * block_bytes + first_lane * LANE_BYTES;
	const uint16_t *scales = p->scales + first_block * QUANT_OUTPUTS + first_lane;
	const size_t w_stride = (size_t)p->n_groups * block_bytes, scale_stride = (size_t)p->n_groups * QUANT_OUTPUTS;
	qf total[8][4];
#define W_AT(c)      (w + (size_t)((c) / PER_BLOCK) * w_stride + (c) % PER_BLOCK * QUANT_LANES * LANE_BYTES)
#define SCALES_AT(c) (scales + (size_t)((c) / PER_BLOCK) * scale_stride + (c) % PER_BLOCK * QUANT_LANES)
#pragma GCC unroll 8
	for (int r = 0; r < rows; r++) {
#pragma GCC unroll 8
		for (int c = 0; c < vectors; c++)
			total[r][c] = qf_zero();
	}
	for (int g = 0; g < p->n_groups; g++, x++, w += block_bytes, scales += QUANT_OUTPUTS) {
		qi sum[8][4];
#pragma GCC unroll 8
		for (int r = 0; r < rows; r++) {
#pragma GCC unroll 8
			for (int c = 0; c < vectors; c++)
				sum[r][c] = quant_start(type, &x[(size_t)r * x_stride]);
		}
#pragma GCC unroll 8
		for (int j = 0; j < n_stored; j++) {
			qi stored[4];
#pragma GCC unroll 8
			for (int c = 0; c < vectors; c++) {
				stored[c] = quant_load(W_AT(c) + j * ROW_BYTES);
				if (from_memory && c % PER_BLOCK == 0 && vectors == 4)
					__builtin_prefetch(W_AT(c) + j * ROW_BYTES + QUANT_AHEAD_BYTES, 0, 2);
				else if (from_memory && c % PER_BLOCK == 0)
					__builtin_prefetch(W_AT(c) + j * ROW_BYTES + QUANT_AHEAD_BYTES, 0, 3);
			}
#pragma GCC unroll 2
			for (int half = 0; half < n_halves; half++) {
				qi weights[4];
#pragma GCC unroll 8
				for (int c = 0; c < vectors; c++)
					weights[c] = quant_weights(type, stored[c], half);
#pragma GCC unroll 8
				for (int r = 0; r < rows; r++) {
					qi values = quant_x(x[(size_t)r * x_stride].values + 4 * j + half * QUANT_GROUP / 2);
#pragma GCC unroll 8
					for (int c = 0; c < vectors; c++)
						sum[r][c] = quant_step(type, sum[r][c], weights[c], values);
				}
			}
		}
		qf scale[4];
#pragma GCC unroll 8
		for (int c = 0; c < vectors; c++)
			scale[c] = quant_scales(SCALES_AT(c));
#pragma GCC unroll 8
		for (int r = 0; r < rows; r++) {
			const struct quant_group *group = &x[(size_t)r * x_stride];
			qf x_scale = qf_set1(group->scale);
#pragma GCC unroll 8
			for (int c = 0; c < vectors; c++)
				total[r][c] = qf_fma(qf_mul(quant_finish(type, sum[r][c], group), x_scale), scale[c], total[r][c]);
		}
	}
#undef W_AT
#undef SCALES_AT
#pragma GCC unroll 8
	for (int r = 0; r < rows; r++) {
#pragma GCC unroll 8
		for (int c = 0; c < vectors; c++) {
			int first = output + c * QUANT_LANES, left = p->n_outputs - first;
			qf_store(p->out + (size_t)(row + r) * p->out_stride + first, total[r][c],
			         left < QUANT_LANES ? left : QUANT_LANES);
		}
	}
}

/* All outputs for a tile of rows. */
ALWAYS_INLINE void quant_tile_row(const enum dtype type, const struct quant_product *p, int row, const int rows,
                                  const bool from_memory)
{
	const int vectors = QUANT_VECTORS(rows);
	int output = 0;
	for (; output + (vectors - 1) * QUANT_LANES < p->n_outputs; output += vectors * QUANT_LANES)
		quant_tile(type, p, row, output, rows, vectors, from_memory);
	for (; output < p->n_outputs; output += QUANT_LANES)
		quant_tile(type, p, row, output, rows, 1, from_memory);
}

ALWAYS_INLINE void quant_run(const enum dtype type, const struct quant_product *p, const int max_rows,
                             const bool from_memory)
{
	for (int row = 0; row < p->n_rows; row += max_rows)
		switch (p->n_rows - row < max_rows ? p->n_rows - row : max_rows) {
#define CASE(n)                                                                                                        \
	case n:                                                                                                            \
		quant_tile_row(type, p, row, n, from_memory);                                                                  \
		break
			CASE(1);
			CASE(2);
			CASE(3);
			CASE(4);
#if QUANT_MAX_FEW_ROWS > 4
			CASE(5);
			CASE(6);
			CASE(7);
			CASE(8);
#endif
#undef CASE
		default:
			__builtin_unreachable();
		}
}

void QUANT_FUNCTION(enum dtype type, const struct quant_product *p)
{
	if (p->n_rows <= DOT_FEW_ROWS && type == DTYPE_Q8)
		quant_run(DTYPE_Q8, p, QUANT_MAX_FEW_ROWS, true);
	else if (p->n_rows <= DOT_FEW_ROWS)
		quant_run(DTYPE_Q4, p, QUANT_MAX_FEW_ROWS, true);
	else if (type == DTYPE_Q8)
		quant_run(DTYPE_Q8, p, QUANT_MAX_ROWS, false);
	else
		quant_run(DTYPE_Q4, p, QUANT_MAX_ROWS, false);
}
