/* The loops of quant_function, in register tiles of a few rows by a few vectors of outputs.
 *
 * Included after these are defined: QUANT_LANES (16, 8 or 4), qi and qf (vectors of that many int32 and
 * floats), QUANT_MAX_ROWS and QUANT_VECTORS(rows) (the shape of a tile), and
 *
 *     qi quant_load(p)                               lanes of one row of a block
 *     qi quant_weights(type, stored, high, j, half)  four values per lane from row j, as quant_step wants them
 *     qi quant_x(p)                                  four values in every lane
 *     qi quant_start(type, first)                    a sum before the first step; first: quant_first
 *     qi quant_step(type, sum, w, x)
 *     qf quant_finish(type, sum, first)              the exact integer, as float
 *     qf quant_scales(p)                             f16 -> float
 *     qf quant_unsigned(p), quant_signed(p)          bytes -> float
 *     qf_zero, qf_set1, qf_mul, qf_fma, qf_store
 */

/* Weights are asked for this far ahead of their use when they come from memory. For a row or few, into L2, since L1 is
 * small for four streams (measured: 34 GB/s against 29); more rows have work to do and want them near (8 rows: 20%
 * faster). */
enum { QUANT_AHEAD_BYTES = 1024 };

/* Where a tile reads its weights; what changes from group to group. Vectors after the first lie behind it in its block
 * and in the strips that follow. */
struct quant_source {
	const unsigned char *block;   /* of the first strip */
	const unsigned char *factors; /* in the head of its super-block: of this group */
	const uint16_t *scales;       /* of this group, where there are no super-blocks */
	size_t strip_bytes, strip_scales;
	int first_lane;
	qf scale[4], minimum[4]; /* of the super-block */
};

#define QUANT_PER_BLOCK  (QUANT_OUTPUTS / QUANT_LANES)
#define QUANT_LANE(s, c) ((s)->first_lane + (c) % QUANT_PER_BLOCK * QUANT_LANES)
/* Of vector c: `bytes` is what a lane takes. */
#define QUANT_AT(s, p, c, bytes) ((p) + (size_t)((c) / QUANT_PER_BLOCK) * (s)->strip_bytes + QUANT_LANE(s, c) * (bytes))

ALWAYS_INLINE void quant_enter_super(struct quant_source *s, const enum dtype type, const int vectors,
                                     const bool from_memory)
{
	const unsigned char *head = s->block;
#pragma GCC unroll 8
	for (int c = 0; c < vectors; c++) {
		s->scale[c] = quant_scales(QUANT_AT(s, head, c, 2));
		if (type == DTYPE_Q4K)
			s->minimum[c] = quant_scales(QUANT_AT(s, head + 2 * QUANT_OUTPUTS, c, 2));
		if (from_memory && c % QUANT_PER_BLOCK == 0)
			for (int line = 0; line < QUANT_HEAD_BYTES; line += 64)
				__builtin_prefetch(QUANT_AT(s, head, c, 0) + line + QUANT_AHEAD_BYTES, 0, 2);
	}
	s->factors = head + QUANT_HEAD_FACTORS;
	s->block = head + QUANT_HEAD_BYTES;
}

/* One row of blocks; asks for what will be needed, near where there is work to be done meanwhile. */
ALWAYS_INLINE void quant_load_row(const struct quant_source *s, qi *stored, const int row, const int vectors,
                                  const bool from_memory)
{
	enum { LANE_BYTES = 4, ROW_BYTES = QUANT_OUTPUTS * LANE_BYTES };
#pragma GCC unroll 8
	for (int c = 0; c < vectors; c++) {
		const unsigned char *at = QUANT_AT(s, s->block, c, LANE_BYTES) + row * ROW_BYTES;
		stored[c] = quant_load(at);
		if (from_memory && c % QUANT_PER_BLOCK == 0 && vectors == 4)
			__builtin_prefetch(at + QUANT_AHEAD_BYTES, 0, 2);
		else if (from_memory && c % QUANT_PER_BLOCK == 0)
			__builtin_prefetch(at + QUANT_AHEAD_BYTES, 0, 3);
	}
}

/* The integers of a group, or of its half `part` (Q6K). */
ALWAYS_INLINE void quant_sum_group(qi sum[8][4], const struct quant_source *s, const enum dtype type,
                                   const struct quant_group *x, const size_t x_stride, const int part, const int rows,
                                   const int vectors, const bool from_memory)
{
	const int n_stored = type == DTYPE_Q8 ? 8 : 4;
	const int first_half = type == DTYPE_Q6K ? part : 0, end_half = type == DTYPE_Q8    ? 1
	                                                                : type == DTYPE_Q6K ? part + 1
	                                                                                    : 2;
	qi stored[4], high[4], weights[4];
#pragma GCC unroll 8
	for (int r = 0; r < rows; r++) {
#pragma GCC unroll 8
		for (int c = 0; c < vectors; c++)
			sum[r][c] = quant_start(type, quant_first(type, x[(size_t)r * x_stride].offset, part));
	}
	if (type == DTYPE_Q6K)
		quant_load_row(s, high, 4 + part, vectors, from_memory);
#pragma GCC unroll 8
	for (int j = 0; j < n_stored; j++) {
		quant_load_row(s, stored, j, vectors, from_memory && part == 0);
#pragma GCC unroll 2
		for (int half = first_half; half < end_half; half++) {
#pragma GCC unroll 8
			for (int c = 0; c < vectors; c++)
				weights[c] = quant_weights(type, stored[c], type == DTYPE_Q6K ? high[c] : stored[c], j, half);
#pragma GCC unroll 8
			for (int r = 0; r < rows; r++) {
				qi values = quant_x(x[(size_t)r * x_stride].values + 4 * j + half * QUANT_GROUP / 2);
#pragma GCC unroll 8
				for (int c = 0; c < vectors; c++)
					sum[r][c] = quant_step(type, sum[r][c], weights[c], values);
			}
		}
	}
}

/* Adds the integers to the totals, times all scales; the minimum (Q4K) takes its share. */
ALWAYS_INLINE void quant_add_group(qf total[8][4], qi sum[8][4], const struct quant_source *s, const enum dtype type,
                                   const struct quant_group *x, const size_t x_stride, const int part, const int rows,
                                   const int vectors)
{
	qf scale[4], minimum[4];
#pragma GCC unroll 8
	for (int c = 0; c < vectors; c++) {
		if (!quant_is_super(type)) {
			scale[c] = quant_scales(s->scales + (size_t)(c / QUANT_PER_BLOCK) * s->strip_scales + QUANT_LANE(s, c));
			continue;
		}
		const unsigned char *factors = QUANT_AT(s, s->factors + part * QUANT_OUTPUTS, c, 1);
		scale[c] = qf_mul(s->scale[c], type == DTYPE_Q4K ? quant_unsigned(factors) : quant_signed(factors));
		if (type == DTYPE_Q4K)
			minimum[c] = qf_mul(s->minimum[c], quant_unsigned(factors + QUANT_OUTPUTS));
	}
#pragma GCC unroll 8
	for (int r = 0; r < rows; r++) {
		const struct quant_group *group = &x[(size_t)r * x_stride];
		int32_t first = quant_first(type, group->offset, part);
		qf x_scale = qf_set1(group->scale), x_sum = qf_set1(-group->scale * (float)group->offset);
#pragma GCC unroll 8
		for (int c = 0; c < vectors; c++) {
			total[r][c] = qf_fma(qf_mul(quant_finish(type, sum[r][c], first), x_scale), scale[c], total[r][c]);
			if (type == DTYPE_Q4K)
				total[r][c] = qf_fma(x_sum, minimum[c], total[r][c]);
		}
	}
}

ALWAYS_INLINE void quant_tile(const enum dtype type, const struct quant_product *p, int row, int output, const int rows,
                              const int vectors, const bool from_memory)
{
	const size_t x_stride = p->x_stride, strip = (size_t)(output / QUANT_OUTPUTS);
	const int n_parts = type == DTYPE_Q6K ? 2 : 1;
	const struct quant_group *x = p->x + (size_t)row * x_stride;
	struct quant_source s = {
	    .strip_bytes = quant_strip_bytes(type, p->n_groups),
	    .strip_scales = (size_t)p->n_groups * QUANT_OUTPUTS,
	    .first_lane = output % QUANT_OUTPUTS,
	};
	s.block = p->w + strip * s.strip_bytes;
	s.scales = quant_is_super(type) ? NULL : p->scales + strip * s.strip_scales;
	qf total[8][4];
#pragma GCC unroll 8
	for (int r = 0; r < rows; r++) {
#pragma GCC unroll 8
		for (int c = 0; c < vectors; c++)
			total[r][c] = qf_zero();
	}
	for (int g = 0; g < p->n_groups; g++, x++) {
		if (quant_is_super(type) && g % QUANT_SUPER_GROUPS == 0)
			quant_enter_super(&s, type, vectors, from_memory);
#pragma GCC unroll 2
		for (int part = 0; part < n_parts; part++) {
			qi sum[8][4];
			quant_sum_group(sum, &s, type, x, x_stride, part, rows, vectors, from_memory);
			quant_add_group(total, sum, &s, type, x, x_stride, part, rows, vectors);
		}
		s.block += quant_block_bytes(type);
		s.factors += quant_is_super(type) ? 2 * QUANT_OUTPUTS : 0;
		s.scales += quant_is_super(type) ? 0 : QUANT_OUTPUTS;
	}
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
	bool from_memory = p->n_rows <= DOT_FEW_ROWS;
	switch (type) {
#define CASE(type)                                                                                                     \
	case type:                                                                                                         \
		if (from_memory)                                                                                               \
			quant_run(type, p, QUANT_MAX_FEW_ROWS, true);                                                              \
		else                                                                                                           \
			quant_run(type, p, QUANT_MAX_ROWS, false);                                                                 \
		break
		CASE(DTYPE_Q8);
		CASE(DTYPE_Q4);
		CASE(DTYPE_Q4K);
		CASE(DTYPE_Q6K);
#undef CASE
	default:
		assert(!"weights of few bits");
	}
}
