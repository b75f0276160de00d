#include "kernels/amx.h"

#if defined(__x86_64__)
#pragma GCC target(                                                                                                    \
    "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,amx-tile,amx-bf16,prefer-vector-width=512")
#include <assert.h>
#include <immintrin.h>
#include <string.h>

#include "kernels/avx512_quant_vector.h"
#include "kernels/avx512_vector.h"

/* What was stored before is in memory for the instructions below, whose intrinsics do not tell the compiler what they read
 * (GCC 12: an address, or the first 8 bytes). */
#define SETTLE_MEMORY() __asm__ volatile("" ::: "memory")

enum { ROW_BYTES = 64, STEP_ELEMENTS = AMX_SIDE * AMX_STEP };

/* Tiles 0-3 are sums, [upper or lower 16 of A][first or second 16 of B]; 4 and 5 are halves of A, 6 and 7 of B. */
struct tile_shapes {
	uint8_t palette, start_row, reserved[14];
	uint16_t row_bytes[16];
	uint8_t n_rows[16];
};

/* For an A of n_upper (1 to 16) and n_lower (0 to 16) rows; B always has 16 pairs of inputs for 16 columns. */
static void shape_tiles(int n_upper, int n_lower)
{
	uint8_t upper = (uint8_t)n_upper, lower = (uint8_t)(n_lower ? n_lower : 1);
	_Alignas(64) struct tile_shapes shapes = {
	    .palette = 1,
	    .row_bytes = {ROW_BYTES, ROW_BYTES, ROW_BYTES, ROW_BYTES, ROW_BYTES, ROW_BYTES, ROW_BYTES, ROW_BYTES},
	    .n_rows = {upper, upper, lower, lower, upper, lower, AMX_SIDE, AMX_SIDE},
	};
	SETTLE_MEMORY();
	_tile_loadconfig(&shapes);
}

/* Rows of weights that will be needed: asked for a piece at a time in the order of their addresses, which is how memory
 * delivers best, and into the L2 cache, where tiles of 16 rows find them. */
struct fetch {
	const unsigned char *at;
	size_t row_bytes, stride_bytes;
	size_t column; /* bytes of the current row that are asked for */
	int n_rows;    /* that are left */
};

ALWAYS_INLINE void fetch_lines(struct fetch *fetch, int n_lines)
{
	for (int i = 0; i < n_lines && fetch->n_rows > 0; i++) {
		_mm_prefetch((const char *)fetch->at + fetch->column, _MM_HINT_T1);
		fetch->column += ROW_BYTES;
		if (fetch->column < fetch->row_bytes)
			continue;
		fetch->column = 0;
		fetch->at += fetch->stride_bytes;
		fetch->n_rows--;
	}
}

/* ---- many rows ---- */

/* Rows of a product that are multiplied together: some of one block, and of the next. */
struct row_pair {
	int first; /* row of x and out */
	int n_upper, n_lower;
};

/* A tile of sums to where its rows and outputs belong; outputs that pad a strip belong nowhere. */
ALWAYS_INLINE void copy_sums(float *out, size_t out_stride, const float *sums, int n_rows, int n_columns)
{
	for (int r = 0; r < n_rows; r++)
		v_store_some(out + (size_t)r * out_stride, v_load_some(sums + r * AMX_SIDE, n_columns), n_columns);
}

/* The sums of a pair of blocks and of one or two strips, in tiles 0 to 3. */
struct sums {
	float *upper, *lower; /* two tiles each; lower is that of the next block */
};

ALWAYS_INLINE struct sums sums_at(const struct amx_many *p, const struct row_pair *rows, int output)
{
	enum { TILE = AMX_SIDE * AMX_SIDE };
	const size_t block = amx_sums(1, p->n_outputs);
	float *upper = p->sums + (size_t)(rows->first / AMX_SIDE) * block + (size_t)(output / AMX_SIDE) * TILE;
	return (struct sums){upper, upper + block};
}

ALWAYS_INLINE void start_sums(const struct amx_many *p, const struct sums *sums, const bool two_strips,
                              const bool two_blocks)
{
	enum { TILE = AMX_SIDE * AMX_SIDE };
	if (p->first_step == 0) {
		_tile_zero(0);
		_tile_zero(1);
		_tile_zero(2);
		_tile_zero(3);
		return;
	}
	_tile_loadd(0, sums->upper, ROW_BYTES);
	if (two_strips)
		_tile_loadd(1, sums->upper + TILE, ROW_BYTES);
	if (two_blocks) {
		_tile_loadd(2, sums->lower, ROW_BYTES);
		_tile_loadd(3, sums->lower + TILE, ROW_BYTES);
	}
}

ALWAYS_INLINE void keep_sums(const struct sums *sums, const bool two_strips, const bool two_blocks)
{
	enum { TILE = AMX_SIDE * AMX_SIDE };
	_tile_stored(0, sums->upper, ROW_BYTES);
	if (two_strips)
		_tile_stored(1, sums->upper + TILE, ROW_BYTES);
	if (two_blocks) {
		_tile_stored(2, sums->lower, ROW_BYTES);
		_tile_stored(3, sums->lower + TILE, ROW_BYTES);
	}
}

ALWAYS_INLINE void end_sums(const struct amx_many *p, const struct sums *sums, const struct row_pair *rows, int output,
                            const bool two_strips, const bool two_blocks)
{
	enum { TILE = AMX_SIDE * AMX_SIDE };
	const size_t stride = p->out_stride * sizeof(float);
	float *out = p->out + (size_t)rows->first * p->out_stride + output;
	float *below = out + (size_t)rows->n_upper * p->out_stride;
	int left = p->n_outputs - output;
	if (left >= (two_strips ? 2 : 1) * AMX_SIDE) {
		_tile_stored(0, out, stride);
		if (two_strips)
			_tile_stored(1, out + AMX_SIDE, stride);
		if (two_blocks) {
			_tile_stored(2, below, stride);
			_tile_stored(3, below + AMX_SIDE, stride);
		}
		return;
	}
	keep_sums(sums, two_strips, two_blocks);
	SETTLE_MEMORY();
	for (int strip = 0; strip < (two_strips ? 2 : 1) && left > 0; strip++, left -= AMX_SIDE) {
		int n_columns = left < AMX_SIDE ? left : AMX_SIDE;
		copy_sums(out + strip * AMX_SIDE, p->out_stride, sums->upper + strip * TILE, rows->n_upper, n_columns);
		if (two_blocks)
			copy_sums(below + strip * AMX_SIDE, p->out_stride, sums->lower + strip * TILE, rows->n_lower, n_columns);
	}
}

/* The rows of a pair by two strips (the second is multiplied for nothing where a weight ends before it). */
ALWAYS_INLINE void multiply_pair(const struct amx_many *p, const struct row_pair *rows, int output, const bool two)
{
	const uint16_t *upper = p->x + (size_t)(rows->first / AMX_SIDE) * p->block_stride +
	                        rows->first % AMX_SIDE * AMX_STEP + p->first_step * STEP_ELEMENTS;
	const uint16_t *lower = upper - rows->first % AMX_SIDE * AMX_STEP + p->block_stride;
	const uint16_t *first = p->panel + (size_t)(output / AMX_SIDE) * p->strip_stride;
	const uint16_t *second = output + AMX_SIDE < p->n_outputs ? first + p->strip_stride : first;
	struct sums sums = sums_at(p, rows, output);
	start_sums(p, &sums, true, two);
	for (int64_t i = 0; i < p->n_steps * STEP_ELEMENTS; i += STEP_ELEMENTS) {
		_tile_loadd(4, upper + i, ROW_BYTES);
		_tile_loadd(6, first + i, ROW_BYTES);
		_tile_dpbf16ps(0, 4, 6);
		_tile_loadd(7, second + i, ROW_BYTES);
		_tile_dpbf16ps(1, 4, 7);
		if (two) {
			_tile_loadd(5, lower + i, ROW_BYTES);
			_tile_dpbf16ps(2, 5, 6);
			_tile_dpbf16ps(3, 5, 7);
		}
	}
	if (p->last)
		end_sums(p, &sums, rows, output, true, two);
	else
		keep_sums(&sums, true, two);
}

/* Rows of one block by one or two strips at a time, as they come from memory: asked for a little ahead (measured, one row:
 * 33 GB/s; 26 without). One row goes with one strip, a single stream; more rows share what is loaded of them. */
ALWAYS_INLINE void multiply_few(const struct amx_many *p, const struct row_pair *rows, const bool two)
{
	enum { AHEAD = STEP_ELEMENTS };
	const uint16_t *x = p->x + (size_t)(rows->first / AMX_SIDE) * p->block_stride + rows->first % AMX_SIDE * AMX_STEP +
	                    p->first_step * STEP_ELEMENTS;
	for (int output = 0; output < p->n_outputs; output += two ? 2 * AMX_SIDE : AMX_SIDE) {
		const uint16_t *first = p->panel + (size_t)(output / AMX_SIDE) * p->strip_stride;
		const uint16_t *second = output + AMX_SIDE < p->n_outputs ? first + p->strip_stride : first;
		struct sums sums = sums_at(p, rows, output);
		start_sums(p, &sums, two, false);
		for (int64_t i = 0; i < p->n_steps * STEP_ELEMENTS; i += STEP_ELEMENTS) {
			for (int line = 0; line < AMX_SIDE; line++) {
				_mm_prefetch((const char *)(first + i + AHEAD) + line * ROW_BYTES, _MM_HINT_T0);
				if (two)
					_mm_prefetch((const char *)(second + i + AHEAD) + line * ROW_BYTES, _MM_HINT_T0);
			}
			_tile_loadd(4, x + i, ROW_BYTES);
			_tile_loadd(6, first + i, ROW_BYTES);
			_tile_dpbf16ps(0, 4, 6);
			if (two) {
				_tile_loadd(7, second + i, ROW_BYTES);
				_tile_dpbf16ps(1, 4, 7);
			}
		}
		if (p->last)
			end_sums(p, &sums, rows, output, two, false);
		else
			keep_sums(&sums, two, false);
	}
}

/* The pair from `row` on, which ends with its second block or with the rows. */
static struct row_pair pair_at(int row, int end)
{
	int block_end = (row / AMX_SIDE + 1) * AMX_SIDE, n = end - row;
	struct row_pair pair = {.first = row, .n_upper = end < block_end ? n : block_end - row};
	n -= pair.n_upper;
	pair.n_lower = n < AMX_SIDE ? n : AMX_SIDE;
	return pair;
}

static void amx_multiply_many(const struct amx_many *product)
{
	enum { NEAR_ROWS = 256 }; /* that stay in the L2 cache beside the panel */
	struct row_pair shaped = {0};
	for (int near = product->first_row, end; near < product->n_rows; near = end) {
		end = near / NEAR_ROWS * NEAR_ROWS + NEAR_ROWS;
		end = product->n_rows < end ? product->n_rows : end;
		struct row_pair pair = pair_at(near, end);
		if (end - near == pair.n_upper) {
			shape_tiles(pair.n_upper, 0);
			shaped = pair;
			if (pair.n_upper == 1)
				multiply_few(product, &pair, false);
			else
				multiply_few(product, &pair, true);
			continue;
		}
		for (int output = 0; output < product->n_outputs; output += 2 * AMX_SIDE)
			for (int row = near; row < end; row += pair.n_upper + pair.n_lower) {
				pair = pair_at(row, end);
				if (pair.n_upper != shaped.n_upper || pair.n_lower != shaped.n_lower)
					shape_tiles(pair.n_upper, pair.n_lower);
				shaped = pair;
				if (pair.n_lower)
					multiply_pair(product, &pair, output, true);
				else
					multiply_pair(product, &pair, output, false);
			}
	}
	_tile_release();
}

/* ---- packing weights ---- */

static void amx_pack_rows(uint16_t *strip, const unsigned char *rows, size_t stride_bytes, int n_outputs, int64_t n_in,
                          int n_following)
{
	enum { PAIRS = AMX_STEP / 2 };
	struct fetch next = {.at = rows + AMX_SIDE * stride_bytes,
	                     .row_bytes = (size_t)n_in * sizeof(uint16_t),
	                     .stride_bytes = stride_bytes,
	                     .n_rows = n_following < AMX_SIDE ? n_following : AMX_SIDE};
	for (int64_t k = 0; k < n_in; k += AMX_STEP, strip += STEP_ELEMENTS) {
		__mmask32 inputs = n_in - k < AMX_STEP ? (1u << (n_in - k)) - 1 : 0xffffffff;
		_Alignas(64) float pairs[AMX_SIDE][PAIRS];
		for (int i = 0; i < AMX_SIDE; i++) {
			__m512i values = i < n_outputs ? _mm512_maskz_loadu_epi16(inputs, rows + (size_t)i * stride_bytes + 2 * k)
			                               : _mm512_setzero_si512();
			_mm512_store_si512(pairs[i], values);
		}
		v_transpose_block((void *)strip, PAIRS, pairs[0], PAIRS);
		fetch_lines(&next, AMX_SIDE + 1); /* one more: a row may begin inside a line */
	}
}

/* Two inputs for 16 outputs, as pairs of bf16. */
ALWAYS_INLINE __m512i pair_of(__m512 even, __m512 odd)
{
	const __m512i zip = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21,
	                                     5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
	return _mm512_permutexvar_epi16(zip, (__m512i)_mm512_cvtne2ps_pbh(odd, even));
}

/* Q8 and Q4, which are these bits and no more: the bits of a stored value are put beside the exponent of 2^15, which is
 * cheaper than to convert them. What this adds is taken away with the zero, and nothing is rounded: scales have 11
 * bits, 2^15 + zero has at most 13. */
enum { SPLICE = 1 << 15 };
#define SPLICE_BITS 0x47000000 /* SPLICE as f32; its mantissa's bit 8 is worth 1 */

ALWAYS_INLINE bool splices(const enum dtype type)
{
	return type == DTYPE_Q8 || type == DTYPE_Q4;
}

/* Input i of four, for each output: SPLICE + the value stored. */
ALWAYS_INLINE __m512 splice(const enum dtype type, __m512i stored, const int i, const int half)
{
	enum { PLACE = 8, AND_OR = 0xea };
	const int bits = quant_bits(type), from = 8 * i + (bits == 4 && half ? 4 : 0), mask = bits == 4 ? 15 : 255;
	__m512i placed = from > PLACE   ? _mm512_srli_epi32(stored, (unsigned)(from - PLACE))
	                 : from < PLACE ? _mm512_slli_epi32(stored, (unsigned)(PLACE - from))
	                                : stored;
	return (__m512)_mm512_ternarylogic_epi32(placed, _mm512_set1_epi32(mask << PLACE), _mm512_set1_epi32(SPLICE_BITS),
	                                         AND_OR);
}

/* Input i of four, for each output, from bytes. */
ALWAYS_INLINE __m512 converted(__m512i bytes, const int i)
{
	return _mm512_cvtepi32_ps(
	    i == 3 ? _mm512_srli_epi32(bytes, 24)
	           : _mm512_and_si512(_mm512_srli_epi32(bytes, 8 * (unsigned)i), _mm512_set1_epi32(255)));
}

/* Scales of 16 outputs in a group, or in a half of it, and what zero, or the minimum, makes of them. */
ALWAYS_INLINE __m512 scales_of(const enum dtype type, const uint16_t *scales, const unsigned char *head, int group,
                               int half, __m512 *below)
{
	const struct quant_traits *traits = quant_of(type);
	const __m512 zero = _mm512_set1_ps(-(float)((splices(type) ? SPLICE : 0) + traits->zero));
	const int place = QUANT_HEAD_FACTORS + group % QUANT_SUPER_GROUPS * 2 * QUANT_OUTPUTS;
	const unsigned char *factors = quant_is_super(type) ? head + place : NULL;
	const unsigned char *of_half = factors && quant_parts(type) == 2 ? factors + half * QUANT_OUTPUTS : factors;
	const unsigned char *at = quant_is_super(type) ? head : (const void *)(scales + group * quant_group_scales(type));
	assert(at);
	__m512 scale = traits->scale == SCALE_BF16 ? quant_bf16_scales(at) : quant_scales(at),
	       minimum = quant_scales(at + (traits->minimum ? 2 * QUANT_OUTPUTS : 0));
	if (traits->scale == SCALE_UNSIGNED) {
		scale = _mm512_mul_ps(scale, quant_float(quant_unsigned_bytes(factors)));
		minimum = _mm512_mul_ps(minimum, quant_float(quant_unsigned_bytes(factors + QUANT_OUTPUTS)));
	} else if (traits->scale == SCALE_NIBBLES) {
		scale = _mm512_mul_ps(scale, quant_float(quant_low_nibbles(of_half)));
		minimum = _mm512_mul_ps(minimum, quant_float(quant_high_nibbles(of_half)));
	} else if (traits->scale == SCALE_SIGNED) {
		scale = _mm512_mul_ps(scale, quant_float(quant_signed_bytes(of_half)));
	}
	*below = traits->minimum ? _mm512_sub_ps(_mm512_setzero_ps(), minimum) : _mm512_mul_ps(scale, zero);
	return scale;
}

ALWAYS_INLINE void pack_quant(uint16_t *strip, const enum dtype type, const unsigned char *data, const uint16_t *scales,
                              int first_group, int n_groups, ptrdiff_t ahead)
{
	enum { FOUR = 4 * AMX_SIDE };
	const int n_scales = quant_group_scales(type);
	const ptrdiff_t scales_ahead = ahead / (ptrdiff_t)quant_block_bytes(type) * n_scales;
	for (int group = first_group; group < first_group + n_groups; group++, strip += STEP_ELEMENTS) {
		const unsigned char *head, *block = quant_block(type, data, group, &head);
		for (size_t line = 0; line < quant_block_bytes(type); line += ROW_BYTES)
			_mm_prefetch((const char *)block + ahead + (ptrdiff_t)line, _MM_HINT_T0);
		if (!quant_is_super(type))
			_mm_prefetch((const char *)(scales + group * n_scales + scales_ahead), _MM_HINT_T0);
		for (int half = 0; half < 2; half++) {
			__m512 below, scale = scales_of(type, scales, head, group, half, &below);
			for (int j = 0; j < 4; j++) {
				const int word = 4 * half + j;
				qi first = quant_load(block + quant_pieces[quant_bits(type)][word][0].row * ROW_BYTES);
				qi bytes = quant_stored(type, block, word);
				__m512 value[4];
#pragma GCC unroll 4
				for (int i = 0; i < 4; i++)
					value[i] = _mm512_fmadd_ps(splices(type) ? splice(type, first, i, half) : converted(bytes, i),
					                           scale, below);
				_mm512_storeu_si512(strip + (4 * half + j) * FOUR, pair_of(value[0], value[1]));
				_mm512_storeu_si512(strip + (4 * half + j) * FOUR + FOUR / 2, pair_of(value[2], value[3]));
			}
		}
	}
}

static void amx_pack_quant(uint16_t *strip, enum dtype type, const unsigned char *data, const uint16_t *scales,
                           int first_group, int n_groups, ptrdiff_t ahead)
{
	switch (type) {
#define CASE(type, ...)                                                                                                \
	case type:                                                                                                         \
		pack_quant(strip, type, data, scales, first_group, n_groups, ahead);                                           \
		break;
		QUANT_TABLE(CASE)
#undef CASE
	default:
		assert(!"weights of few bits");
	}
}

/* ---- widened weights ---- */

/* Strips of weights and their scales. */
struct strips {
	const unsigned char *data[2];
	const uint16_t *scales[2];
};

/* The two from an output on; where there is but one, it is both. */
static struct strips strips_at(const struct amx_widened *p, int output)
{
	struct strips strips;
	for (int i = 0; i < 2; i++) {
		size_t strip = (size_t)output / AMX_SIDE + (output + AMX_SIDE < p->n_outputs ? (size_t)i : 0);
		strips.data[i] = p->w + strip * quant_strip_bytes(p->type, p->n_groups);
		strips.scales[i] = p->scales ? p->scales + strip * (size_t)quant_strip_scales(p->type, p->n_groups) : NULL;
	}
	return strips;
}

ALWAYS_INLINE void widen_step(uint16_t (*step)[STEP_ELEMENTS], const enum dtype type, const struct strips *strips,
                              const int n_strips, int group)
{
	enum { AHEAD_GROUPS = 8 }; /* measured, two strips: 10% more than with 4 */
	const ptrdiff_t ahead = AHEAD_GROUPS * (ptrdiff_t)quant_block_bytes(type);
	for (int i = 0; i < n_strips; i++)
		pack_quant(step[i], type, strips->data[i], strips->scales[i], group, 1, ahead);
}

/* Two strips, widened a step ahead of their multiplication: vector units do the one and the tile unit the other at once. */
ALWAYS_INLINE void multiply_strips(const struct amx_widened *p, const enum dtype type, int output, const bool two)
{
	_Alignas(64) uint16_t ring[2][2][STEP_ELEMENTS];
	_Alignas(64) float sums[2][2][AMX_SIDE * AMX_SIDE];
	struct strips strips = strips_at(p, output);
	_tile_zero(0);
	_tile_zero(1);
	_tile_zero(2);
	_tile_zero(3);
	widen_step(ring[0], type, &strips, 2, 0);
	for (int group = 0; group < p->n_groups; group++) {
		if (group + 1 < p->n_groups)
			widen_step(ring[(group + 1) % 2], type, &strips, 2, group + 1);
		SETTLE_MEMORY();
		_tile_loadd(4, p->blocks[0].x + group * STEP_ELEMENTS, ROW_BYTES);
		_tile_loadd(6, ring[group % 2][0], ROW_BYTES);
		_tile_dpbf16ps(0, 4, 6);
		_tile_loadd(7, ring[group % 2][1], ROW_BYTES);
		_tile_dpbf16ps(1, 4, 7);
		if (two) {
			_tile_loadd(5, p->blocks[1].x + group * STEP_ELEMENTS, ROW_BYTES);
			_tile_dpbf16ps(2, 5, 6);
			_tile_dpbf16ps(3, 5, 7);
		}
		SETTLE_MEMORY();
	}
	_tile_stored(0, sums[0][0], ROW_BYTES);
	_tile_stored(1, sums[0][1], ROW_BYTES);
	_tile_stored(2, sums[1][0], ROW_BYTES);
	_tile_stored(3, sums[1][1], ROW_BYTES);
	for (int i = 0; i < p->n_blocks; i++)
		for (int j = 0, left = p->n_outputs - output; j < 2 && left > 0; j++, left -= AMX_SIDE)
			copy_sums(p->blocks[i].out + output + j * AMX_SIDE, p->out_stride, sums[i][j], p->blocks[i].n_rows,
			          left < AMX_SIDE ? left : AMX_SIDE);
}

/* The same with one strip, for three or four blocks, as there are but eight tiles. */
ALWAYS_INLINE void multiply_strip(const struct amx_widened *p, const enum dtype type, int output)
{
	_Alignas(64) uint16_t ring[2][1][STEP_ELEMENTS];
	_Alignas(64) float sums[AMX_WIDENED_BLOCKS][AMX_SIDE * AMX_SIDE];
	struct strips strips = strips_at(p, output);
	int last = p->n_blocks - 1, left = p->n_outputs - output;
	_tile_zero(0);
	_tile_zero(1);
	_tile_zero(2);
	_tile_zero(3);
	widen_step(ring[0], type, &strips, 1, 0);
	for (int group = 0; group < p->n_groups; group++) {
		if (group + 1 < p->n_groups)
			widen_step(ring[(group + 1) % 2], type, &strips, 1, group + 1);
		SETTLE_MEMORY();
		_tile_loadd(6, ring[group % 2][0], ROW_BYTES);
		_tile_loadd(4, p->blocks[0].x + group * STEP_ELEMENTS, ROW_BYTES);
		_tile_dpbf16ps(0, 4, 6);
		_tile_loadd(5, p->blocks[1].x + group * STEP_ELEMENTS, ROW_BYTES);
		_tile_dpbf16ps(1, 5, 6);
		_tile_loadd(4, p->blocks[2].x + group * STEP_ELEMENTS, ROW_BYTES);
		_tile_dpbf16ps(2, 4, 6);
		_tile_loadd(5, p->blocks[last].x + group * STEP_ELEMENTS, ROW_BYTES);
		_tile_dpbf16ps(3, 5, 6);
		SETTLE_MEMORY();
	}
	_tile_stored(0, sums[0], ROW_BYTES);
	_tile_stored(1, sums[1], ROW_BYTES);
	_tile_stored(2, sums[2], ROW_BYTES);
	_tile_stored(3, sums[3], ROW_BYTES);
	for (int i = 0; i < p->n_blocks; i++)
		copy_sums(p->blocks[i].out + output, p->out_stride, sums[i], p->blocks[i].n_rows,
		          left < AMX_SIDE ? left : AMX_SIDE);
}

static void amx_multiply_widened(const struct amx_widened *product)
{
	const struct amx_widened *p = product;
	if (p->n_blocks <= 2)
		shape_tiles(p->blocks[0].n_rows, p->n_blocks == 2 ? p->blocks[1].n_rows : 0);
	else
		shape_tiles(AMX_SIDE, AMX_SIDE);
	for (int output = 0; output < p->n_outputs; output += p->n_blocks <= 2 ? 2 * AMX_SIDE : AMX_SIDE)
		switch (p->type) {
#define CASE(type, ...)                                                                                                \
	case type:                                                                                                         \
		if (p->n_blocks == 1)                                                                                          \
			multiply_strips(p, type, output, false);                                                                   \
		else if (p->n_blocks == 2)                                                                                     \
			multiply_strips(p, type, output, true);                                                                    \
		else                                                                                                           \
			multiply_strip(p, type, output);                                                                           \
		break;
			QUANT_TABLE(CASE)
#undef CASE
		default:
			assert(!"weights of few bits");
		}
	_tile_release();
}

/* ---- packing rows ---- */

/* AMX_STEP values of a row from k on. */
ALWAYS_INLINE __m512i narrow_step(const float *x, int64_t k, int64_t n_in)
{
	int n = n_in - k < AMX_STEP ? (int)(n_in - k) : AMX_STEP, n_low = n < VW ? n : VW;
	__m256i low = narrow_half(DTYPE_BF16, v_load_some(x + k, n_low));
	__m256i high = narrow_half(DTYPE_BF16, v_load_some(x + k + n_low, n - n_low));
	return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
}

static void amx_pack_row_many(uint16_t *block, int row, const float *x, int64_t n_in)
{
	block += row * AMX_STEP;
	for (int64_t k = 0; k < n_in; k += AMX_STEP, block += STEP_ELEMENTS)
		_mm512_storeu_si512(block, narrow_step(x, k, n_in));
}

static void amx_pack_row_few(uint16_t *block, int row, const float *x, int64_t n_in)
{
	const __m512i places = _mm512_mullo_epi32(_mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0),
	                                          _mm512_set1_epi32(AMX_SIDE));
	block += 2 * row;
	for (int64_t k = 0; k < n_in; k += AMX_STEP, block += STEP_ELEMENTS)
		_mm512_i32scatter_epi32(block, places, narrow_step(x, k, n_in), 4);
}

/* ---- few rows ---- */

/* Sums [16 outputs][16 rows] of one tile to the rows they belong to. */
static void store_transposed(const struct amx_few *p, const float *sums, int row, int output, int n_outputs)
{
	_Alignas(64) float rows[AMX_SIDE][AMX_SIDE];
	v_transpose_block(rows[0], AMX_SIDE, sums, AMX_SIDE);
	int end = p->n_rows - row < AMX_SIDE ? p->n_rows - row : AMX_SIDE;
	for (int r = p->first_row > row ? p->first_row - row : 0; r < end; r++)
		v_store_some(p->out + (size_t)(row + r) * p->out_stride + output, v_load(rows[r]), n_outputs);
}

/* The starts of two rows of weights: where the hardware's own prefetching would begin anew. It follows all the rows of a
 * tile from there by itself, better than with more help (measured: 30 to 31 GB/s; 27 where every line was asked for). */
ALWAYS_INLINE void fetch_starts(const unsigned char *row, size_t stride)
{
	enum { START_LINES = 4 };
	for (int i = 0; i < 2; i++)
		for (int line = 0; line < START_LINES; line++)
			_mm_prefetch((const char *)row + (size_t)i * stride + line * ROW_BYTES, _MM_HINT_T1);
}

/* Up to 32 outputs for 16 rows. The tail of inputs (fewer than a step) is copied, because it must not be read beyond. */
static void multiply_outputs(const struct amx_few *p, int row, int output, int n_outputs)
{
	const size_t stride = (size_t)p->n_in * sizeof(uint16_t);
	const unsigned char *upper = p->w + (size_t)output * stride, *lower = upper + AMX_SIDE * stride;
	const uint16_t *x = p->x + (size_t)(row / AMX_SIDE) * p->block_stride;
	int n_upper = n_outputs < AMX_SIDE ? n_outputs : AMX_SIDE, n_lower = n_outputs - n_upper;
	int64_t n_whole = p->n_in / AMX_STEP, step = 0;
	int n_next = p->n_outputs + p->n_following - output - n_outputs; /* rows that can be fetched */
	int64_t fetch_from = n_whole - AMX_SIDE;
	_tile_zero(0);
	_tile_zero(2);
	for (; step < n_whole; step++) {
		_tile_loadd(6, x + step * STEP_ELEMENTS, ROW_BYTES);
		_tile_loadd(4, upper + step * ROW_BYTES, stride);
		_tile_dpbf16ps(0, 4, 6);
		if (n_lower) {
			_tile_loadd(5, lower + step * ROW_BYTES, stride);
			_tile_dpbf16ps(2, 5, 6);
		}
		int64_t pair = 2 * (step - fetch_from);
		if (pair >= 0 && pair + 1 < n_next)
			fetch_starts(upper + (size_t)(n_outputs + pair) * stride, stride);
	}
	if (p->n_in % AMX_STEP) {
		_Alignas(64) unsigned char tail[2 * AMX_SIDE][ROW_BYTES] = {{0}};
		for (int i = 0; i < n_outputs; i++)
			memcpy(tail[i], upper + (size_t)i * stride + step * ROW_BYTES, (size_t)(p->n_in % AMX_STEP) * 2);
		SETTLE_MEMORY();
		_tile_loadd(6, x + step * STEP_ELEMENTS, ROW_BYTES);
		_tile_loadd(4, tail, ROW_BYTES);
		_tile_dpbf16ps(0, 4, 6);
		_tile_loadd(5, tail[AMX_SIDE], ROW_BYTES);
		_tile_dpbf16ps(2, 5, 6);
	}
	_Alignas(64) float sums[2][AMX_SIDE][AMX_SIDE];
	_tile_stored(0, sums[0], ROW_BYTES);
	store_transposed(p, sums[0][0], row, output, n_upper);
	if (n_lower) {
		_tile_stored(2, sums[1], ROW_BYTES);
		store_transposed(p, sums[1][0], row, output + AMX_SIDE, n_lower);
	}
}

static void amx_multiply_few(const struct amx_few *product)
{
	const struct amx_few *p = product;
	int shaped = 0;
	for (int output = 0; output < p->n_outputs; output += 2 * AMX_SIDE) {
		int n_outputs = p->n_outputs - output < 2 * AMX_SIDE ? p->n_outputs - output : 2 * AMX_SIDE;
		if (n_outputs != shaped)
			shape_tiles(n_outputs < AMX_SIDE ? n_outputs : AMX_SIDE, n_outputs < AMX_SIDE ? 0 : n_outputs - AMX_SIDE);
		shaped = n_outputs;
		for (int row = p->first_row / AMX_SIDE * AMX_SIDE; row < p->n_rows; row += AMX_SIDE)
			multiply_outputs(p, row, output, n_outputs);
	}
	_tile_release();
}

/* ---- the ceiling ---- */

static uint64_t amx_peak(int n_rounds)
{
	_Alignas(64) float sums[AMX_SIDE * AMX_SIDE] = {0};
	shape_tiles(AMX_SIDE, AMX_SIDE);
	SETTLE_MEMORY();
	_tile_loadd(4, sums, ROW_BYTES);
	_tile_loadd(5, sums, ROW_BYTES);
	_tile_loadd(6, sums, ROW_BYTES);
	_tile_loadd(7, sums, ROW_BYTES);
	_tile_zero(0);
	_tile_zero(1);
	_tile_zero(2);
	_tile_zero(3);
	for (int round = 0; round < n_rounds; round++) {
		_tile_dpbf16ps(0, 4, 6);
		_tile_dpbf16ps(1, 4, 7);
		_tile_dpbf16ps(2, 5, 6);
		_tile_dpbf16ps(3, 5, 7);
	}
	_tile_stored(0, sums, ROW_BYTES);
	_tile_release();
	return (uint64_t)sums[0];
}

static const struct amx_functions functions = {
    .multiply_many = amx_multiply_many,
    .multiply_few = amx_multiply_few,
    .multiply_widened = amx_multiply_widened,
    .pack_rows = amx_pack_rows,
    .pack_quant = amx_pack_quant,
    .pack_row_many = amx_pack_row_many,
    .pack_row_few = amx_pack_row_few,
    .peak = amx_peak,
};
const struct amx_functions *const amx = &functions;
#else
const struct amx_functions *const amx = NULL;
#endif
