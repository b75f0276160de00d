/* Products of f32 activations with bf16 weights in AVX2, 16 inputs at a time: as they lie in memory, the even ones of 8
 * pairs become floats by one shift and the odd ones by one mask, which is half of what widening 8 in their order takes
 * (and that was what the multipliers waited for). Activations are laid out to match: avx2_split_row.
 *
 * As in dot_body.inc every (row, output) owns one vector of sums, here of 8 pairs of inputs, the even one before the odd
 * one, so a result does not depend on how many rows came along. The tile differs: 4 rows by 3 outputs take every register
 * there is, for 12 sums, 3 vectors of weights and one of activations. They widen 3 vectors for what 3 by 4 widen 4 for,
 * and 8 and 16 rows are whole tiles. (Beside a neighbour on the same core, Zen 3: 1.2 times as fast with 256 rows, 1.3
 * with 16.) Each shape is a function of its own, so that gcc hands out registers for it alone.
 */
#if defined(__x86_64__)
#pragma GCC target("avx2,fma,f16c")
#include <immintrin.h>
#include <stdbool.h>
#include <string.h>

#include "kernels/avx2_vector.h"
#include "kernels/kernel_set.h"

enum {
	TILE_ROWS = 4,
	TILE_OUTPUTS = 3,
	FEW_ROWS = 2, /* go with more outputs: a multiplier would wait for fewer sums than 8 */
	FEW_OUTPUTS = 4,
	ONE_ROW_OUTPUTS = 8,
};

/* In place: gcc would take the form that overwrites a factor, and spill sums for the copies that it then needs. */
ALWAYS_INLINE vf add_product(vf sum, vf a, vf b)
{
#ifdef __clang__ /* the linter, which has no such registers */
	return v_fma(a, b, sum);
#else
	__asm__("vfmadd231ps %2, %1, %0" : "+x"(sum) : "x"(a), "x"(b));
	return sum;
#endif
}

/* From memory each time: the sums of a tile, its inputs and weights take all registers. */
#define ODD_PAIR ((long long)0xffff0000ffff0000)
static const __m256i odd_mask = {ODD_PAIR, ODD_PAIR, ODD_PAIR, ODD_PAIR};

struct tile_input {
	const float *x;            /* rows as split_row laid them out */
	const unsigned char *w;    /* bf16 */
	size_t x_stride, w_stride; /* elements, bytes */
};

/* The barriers keep loads where they are: gcc would load all of a step first, and has no registers for that. */
ALWAYS_INLINE vf load_values(const struct tile_input *in, int r, int64_t k, const int part)
{
	__asm__("" ::: "memory");
	return v_load(in->x + (size_t)r * in->x_stride + k + part * (SPLIT_STEP / 2));
}

/* The even (part 0) or odd ones (1) of the step at k. */
ALWAYS_INLINE vf load_weights(const struct tile_input *in, int c, int64_t k, const int part)
{
	__asm__("" ::: "memory");
	__m256i pairs = _mm256_loadu_si256((const __m256i *)(const void *)(in->w + (size_t)c * in->w_stride + k * 2));
#ifdef __clang__ /* as above */
	pairs = part == 0 ? _mm256_slli_epi32(pairs, 16) : _mm256_and_si256(pairs, odd_mask);
#else
	if (part == 0)
		__asm__("vpslld $16, %0, %0" : "+x"(pairs));
	else
		__asm__("vpand %1, %0, %0" : "+x"(pairs) : "m"(odd_mask));
#endif
	return _mm256_castsi256_ps(pairs);
}

/* Held in registers are the values of rows or the weights of outputs, whichever are fewer, while the others pass by. */
ALWAYS_INLINE void add_part(const struct tile_input *in, int64_t k, const int part, const int rows, const int outputs,
                            vf (*sum)[ONE_ROW_OUTPUTS])
{
	vf held[TILE_ROWS];
	if (outputs < rows) {
#pragma GCC unroll 8
		for (int c = 0; c < outputs; c++)
			held[c] = load_weights(in, c, k, part);
#pragma GCC unroll 8
		for (int r = 0; r < rows; r++) {
			vf values = load_values(in, r, k, part);
#pragma GCC unroll 8
			for (int c = 0; c < outputs; c++)
				sum[r][c] = add_product(sum[r][c], values, held[c]);
		}
		return;
	}
#pragma GCC unroll 8
	for (int r = 0; r < rows; r++)
		held[r] = load_values(in, r, k, part);
#pragma GCC unroll 8
	for (int c = 0; c < outputs; c++) {
		vf weights = load_weights(in, c, k, part);
#pragma GCC unroll 8
		for (int r = 0; r < rows; r++)
			sum[r][c] = add_product(sum[r][c], held[r], weights);
	}
}

/* The last inputs of a few weight rows, padded with zeros to a step. */
static __attribute__((noinline)) void copy_rest(uint16_t (*rest)[SPLIT_STEP], const unsigned char *w, size_t w_stride,
                                                int outputs, int64_t n)
{
	for (int c = 0; c < outputs; c++) {
		memset(rest[c], 0, sizeof rest[c]);
		memcpy(rest[c], w + (size_t)c * w_stride, (size_t)n * sizeof rest[c][0]);
	}
}

/* Where in the tile that comes next to fetch into L2 meanwhile, and how many bytes further with each step; NULL: nothing.
 * All its rows at once, or its bytes one after another. */
struct ahead {
	const unsigned char *at;
	size_t step;
	bool all_rows;
};

ALWAYS_INLINE void multiply_tile(const struct dot_block *block, int row, int output, struct ahead ahead, const int rows,
                                 const int outputs)
{
	const size_t x_stride = block->x_stride_bytes / sizeof(float), w_stride = block->w_stride_bytes;
	const struct tile_input in = {
	    .x = (const float *)block->x + (size_t)row * x_stride,
	    .w = block->w + (size_t)output * w_stride,
	    .x_stride = x_stride,
	    .w_stride = w_stride,
	};
	const int64_t n_in = block->n_in;
	int64_t k = 0;
	vf sum[TILE_ROWS][ONE_ROW_OUTPUTS];
#pragma GCC unroll 8
	for (int r = 0; r < rows; r++) {
#pragma GCC unroll 8
		for (int c = 0; c < outputs; c++)
			sum[r][c] = v_zero();
	}
	for (; k + SPLIT_STEP <= n_in; k += SPLIT_STEP) {
		if (ahead.at) {
			__builtin_prefetch(ahead.at, 0, 2);
			if (ahead.all_rows) {
#pragma GCC unroll 8
				for (int c = 1; c < outputs; c++)
					__builtin_prefetch(ahead.at + (size_t)c * w_stride, 0, 2);
			}
			ahead.at += ahead.step;
		}
		add_part(&in, k, 0, rows, outputs, sum);
		add_part(&in, k, 1, rows, outputs, sum);
	}
	if (k < n_in) {
		uint16_t some[ONE_ROW_OUTPUTS][SPLIT_STEP];
		copy_rest(some, in.w + k * 2, w_stride, outputs, n_in - k);
		const struct tile_input rest = {in.x + k, (const unsigned char *)some, x_stride, sizeof some[0]};
		add_part(&rest, 0, 0, rows, outputs, sum);
		add_part(&rest, 0, 1, rows, outputs, sum);
	}
	float *out = block->out + (size_t)row * block->out_stride + output;
#pragma GCC unroll 8
	for (int r = 0; r < rows; r++, out += block->out_stride) {
#pragma GCC unroll 2
		for (int c = 0; c < outputs; c += 4) {
			const int left = outputs - c < 4 ? outputs - c : 4;
			const vf *v = sum[r] + c;
			float four[4];
			v_store4(four, v_sum4(v[0], v[left > 1], v[left > 2 ? 2 : 0], v[left > 3 ? 3 : 0]));
			memcpy(out + c, four, (size_t)left * sizeof *four);
		}
	}
}

typedef void tile_function(const struct dot_block *block, int row, int output, struct ahead ahead);

#define SHAPE(rows, outputs)                                                                                           \
	static __attribute__((noinline)) void tile_##rows##x##outputs(const struct dot_block *block, int row, int output,  \
	                                                              struct ahead ahead)                                  \
	{                                                                                                                  \
		multiply_tile(block, row, output, ahead, rows, outputs);                                                       \
	}
SHAPE(1, 1)
SHAPE(1, 8)
SHAPE(2, 1)
SHAPE(2, 2)
SHAPE(2, 3)
SHAPE(2, 4)
SHAPE(3, 1)
SHAPE(3, 2)
SHAPE(3, 3)
SHAPE(4, 1)
SHAPE(4, 2)
SHAPE(4, 3)

static tile_function *const shapes[TILE_ROWS + 1][ONE_ROW_OUTPUTS + 1] = {
    [1] = {[1] = tile_1x1, [8] = tile_1x8},
    [2] = {[1] = tile_2x1, tile_2x2, tile_2x3, tile_2x4},
    [3] = {[1] = tile_3x1, tile_3x2, tile_3x3},
    [4] = {[1] = tile_4x1, tile_4x2, tile_4x3},
};

/* Of outputs that there is no shape for one after another. */
static void run_tile(const struct dot_block *block, int row, int rows, int output, int outputs, struct ahead ahead)
{
	tile_function *shape = shapes[rows][outputs];
	if (shape)
		shape(block, row, output, ahead);
	else
		for (int c = 0; c < outputs; c++)
			shapes[rows][1](block, row, output + c, (struct ahead){0});
}

/* Number i of n parts of about the same size begins here. */
static int part_of(int whole, int i, int n)
{
	return (int)((int64_t)whole * i / n);
}

void avx2_split_dot(const struct dot_block *block)
{
	if (block->n_rows == 0)
		return;
	const int n_groups = (block->n_rows + TILE_ROWS - 1) / TILE_ROWS;
	const int group_rows = (block->n_rows + n_groups - 1) / n_groups; /* of the largest */
	const int width = group_rows == 1 ? ONE_ROW_OUTPUTS : group_rows <= FEW_ROWS ? FEW_OUTPUTS : TILE_OUTPUTS;
	const int n_tiles = (block->n_outputs + width - 1) / width;
	const bool few = block->n_rows <= DOT_FEW_ROWS;
	/* Few rows: weights come from memory, each tile of them serves all rows and meanwhile the next is fetched, a share
	 * in each group's pass. Many rows: the chunk of weights stays in the L2 cache while rows stream past it. */
	for (int i = 0; i < n_tiles * n_groups; i++) {
		int group = few ? i % n_groups : i / n_tiles, tile = few ? i / n_groups : i % n_tiles;
		int row = part_of(block->n_rows, group, n_groups), end = part_of(block->n_rows, group + 1, n_groups);
		int output = part_of(block->n_outputs, tile, n_tiles), last = part_of(block->n_outputs, tile + 1, n_tiles);
		struct ahead ahead = {0};
		if (few && block->n_rows > 1) {
			size_t bytes = block->w_stride_bytes * (size_t)(last - output), share = bytes / (size_t)n_groups;
			ahead = (struct ahead){
			    .at = block->w + block->w_stride_bytes * (size_t)last + share * (size_t)group,
			    .step = n_groups == 1 ? SPLIT_STEP * 2 : share * SPLIT_STEP / (size_t)block->n_in,
			    .all_rows = n_groups == 1,
			};
		}
		run_tile(block, row, end - row, output, last - output, ahead);
	}
}

void avx2_split_row(float *out, const float *x, int64_t n)
{
	for (; n > 0; n -= SPLIT_STEP, x += SPLIT_STEP, out += SPLIT_STEP) {
		float step[SPLIT_STEP] = {0};
		memcpy(step, x, (size_t)(n < SPLIT_STEP ? n : SPLIT_STEP) * sizeof *step);
		__m256 low = _mm256_loadu_ps(step), high = _mm256_loadu_ps(step + 8);
		/* Pairs of quarters: 0 2 | 8 10 | 4 6 | 12 14. */
		__m256d even = _mm256_castps_pd(_mm256_shuffle_ps(low, high, 0x88));
		__m256d odd = _mm256_castps_pd(_mm256_shuffle_ps(low, high, 0xdd));
		_mm256_storeu_pd((double *)(void *)out, _mm256_permute4x64_pd(even, 0xd8));
		_mm256_storeu_pd((double *)(void *)(out + 8), _mm256_permute4x64_pd(odd, 0xd8));
	}
}
#endif
