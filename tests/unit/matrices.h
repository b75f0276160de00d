/* Weights of every type with the values that they stand for, and their products with rows of x: against double precision, with
 * bounds that follow from the number of roundings. */
#ifndef TALLOW_TESTS_MATRICES_H
#define TALLOW_TESTS_MATRICES_H

#include "kernel_check.h"

#include <math.h>

#include "base/checked.h"
#include "kernels/convert.h"
#include "kernels/matmul.h"
#include "kernels/quant.h"
#include "random_blocks.h"

enum { MOST_ROWS = 1024 }; /* of a product */

struct shape {
	int64_t n_in, n_out;
};

enum rounding { NO_ROUNDING, TO_BF16, BOTH_TO_BF16, TO_8_BITS, TO_15_BITS, BY_SUPERS, SHARED, SHARED_SHORT };

/* A weight of any type, at an address that is no multiple of anything, and its values in f32. */
struct matrix {
	struct weight weight;
	unsigned char *memory;
	float *values;
};

static inline size_t bytes_of(enum dtype type)
{
	return type == DTYPE_F32 ? 4 : 2;
}

static inline bool is_quant(enum dtype type)
{
	return quant_is(type);
}

static const struct block_scales *find_block_scales(enum dtype type)
{
	for (int i = 0; i < N_BLOCK_TYPES; i++)
		if (block_scales[i].type == type)
			return &block_scales[i];
	return NULL;
}

/* Blocks of a GGUF file, at an odd address. */
static inline struct matrix make_block_matrix(struct shape shape, enum dtype type, uint64_t seed)
{
	size_t n = (size_t)(shape.n_in * shape.n_out), n_bytes;
	struct matrix matrix = {.values = allocate(n * sizeof(float))};
	assert_true(dtype_bytes(type, n, &n_bytes));
	matrix.memory = malloc(n_bytes + 1);
	assert_non_null(matrix.memory);
	uint64_t state = seed * 2 + 1;
	random_blocks(find_block_scales(type), matrix.memory + 1, n / (size_t)dtype_info(type)->block_elements, 1, &state);
	block_dequantise(type, matrix.memory + 1, matrix.values, n);
	matrix.weight = (struct weight){.type = type, .n_out = shape.n_out, .n_in = shape.n_in, .data = matrix.memory + 1};
	return matrix;
}

/* Made from what it is made of at load: Q8 and Q4 from f32, the others from blocks of a GGUF file; its values are what the
 * made ones stand for, and repacking changes none. */
static inline struct matrix make_quant_matrix(struct shape shape, enum dtype type, uint64_t seed)
{
	struct error error = {0};
	struct kernels *oracle = open_set(ISA_SCALAR, COMPUTE_AUTO, 64);
	struct pool *pool = pool_create(1, NULL, 0, &error);
	assert_non_null(pool);
	size_t n = (size_t)(shape.n_in * shape.n_out), n_bytes;
	struct matrix from, matrix = {.values = allocate(n * sizeof(float))};
	if (type == DTYPE_Q8 || type == DTYPE_Q4) {
		from = (struct matrix){.values = random_floats(n, seed)};
		from.weight = (struct weight){.type = DTYPE_F32, .n_out = shape.n_out, .n_in = shape.n_in, .data = from.values};
	} else {
		from = make_block_matrix(shape, quant_of(type)->stored, seed);
	}
	assert_true(weight_bytes(type, shape.n_out, shape.n_in, &n_bytes));
	matrix.memory = aligned_alloc(64, n_bytes);
	assert_non_null(matrix.memory);
	weight_convert(oracle, pool, &from.weight, type, matrix.memory, &matrix.weight);
	weight_widen(oracle, &matrix.weight, 0, shape.n_out, matrix.values);
	if (from.memory)
		assert_memory_equal(matrix.values, from.values, n * sizeof(float));
	free(from.memory);
	free(from.values);
	pool_destroy(pool);
	kernels_destroy(oracle);
	return matrix;
}

static inline struct matrix make_matrix(struct shape shape, enum dtype type, int misalignment, uint64_t seed);

/* Tiles of the bf16 weights of the same seed. */
static inline struct matrix make_tiles(struct shape shape, int misalignment, uint64_t seed)
{
	struct error error = {0};
	struct kernels *oracle = open_set(ISA_SCALAR, COMPUTE_AUTO, 64);
	struct pool *pool = pool_create(1, NULL, 0, &error);
	struct matrix rows = make_matrix(shape, DTYPE_BF16, misalignment, seed), matrix = {.values = rows.values};
	size_t n_bytes;
	assert_true(weight_bytes(DTYPE_BF16T, shape.n_out, shape.n_in, &n_bytes));
	matrix.memory = aligned_alloc(64, n_bytes);
	assert_non_null(matrix.memory);
	weight_convert(oracle, pool, &rows.weight, DTYPE_BF16T, matrix.memory, &matrix.weight);
	float *values = allocate((size_t)(shape.n_in * shape.n_out) * sizeof(float));
	weight_widen(oracle, &matrix.weight, 0, shape.n_out, values);
	assert_memory_equal(values, rows.values, (size_t)(shape.n_in * shape.n_out) * sizeof(float));
	free(values);
	free(rows.memory);
	pool_destroy(pool);
	kernels_destroy(oracle);
	return matrix;
}

static inline struct matrix make_matrix(struct shape shape, enum dtype type, int misalignment, uint64_t seed)
{
	if (type == DTYPE_BF16T)
		return make_tiles(shape, misalignment, seed);
	if (is_quant(type))
		return make_quant_matrix(shape, type, seed);
	if (find_block_scales(type))
		return make_block_matrix(shape, type, seed);
	struct kernels *oracle = open_set(ISA_SCALAR, COMPUTE_AUTO, 64);
	size_t n = (size_t)(shape.n_in * shape.n_out);
	struct matrix matrix = {.values = random_floats(n, seed)};
	matrix.memory = malloc(n * bytes_of(type) + (size_t)misalignment); /* exact: sanitizers watch the end */
	assert_non_null(matrix.memory);
	oracle->narrow(matrix.memory + misalignment, type, matrix.values, (int64_t)n);
	oracle->widen(matrix.values, matrix.memory + misalignment, type, (int64_t)n);
	matrix.weight = (struct weight){
	    .type = type,
	    .layout = LAYOUT_ROWS,
	    .n_out = shape.n_out,
	    .n_in = shape.n_in,
	    .data = matrix.memory + misalignment,
	};
	kernels_destroy(oracle);
	return matrix;
}

static inline void free_matrix(struct matrix *matrix)
{
	free(matrix->memory);
	free(matrix->values);
}

/* One product of `spans` over x, into out [rows, n_out]. */
static inline void multiply(const struct kernels *set, struct pool *pool, const struct matrix *matrix, const float *x,
                            const struct row_span *spans, int n_spans, const float *bias, float *out)
{
	const struct row_span *last = &spans[n_spans - 1];
	int n_rows = last->first + last->n_rows;
	if (last->phase == ROWS_PREFILL)
		n_rows = (int)round_up((size_t)n_rows, MATMUL_ROW_PAD);
	assert_true(n_rows <= MOST_ROWS);
	struct matmul_input input = {.spans = spans,
	                             .n_spans = n_spans,
	                             .n_rows = n_rows,
	                             .n_in = matrix->weight.n_in,
	                             .x = x,
	                             .type = matrix->weight.type};
	input.prepared = allocate(matmul_input_bytes(set, input.type, n_rows, input.n_in));
	matmul_input_prepare(set, pool, &input);
	matmul_run(set, pool, &input, (const struct weight *[]){&matrix->weight}, (const float *[]){bias}, (float *[]){out},
	           1);
	free(input.prepared);
}

/* Sums of n products in any order, with or without FMA, are off by at most n * 2^-24 * sum |x w| and a little; bf16
 * activations add their own rounding, 2^-8 of each term, bf16 weights the same, and 8-bit ones half a step of their
 * group's scale, of which 15 bits leave a 128th, and shared low halves what quant.h says. */
static inline void check_row(const struct matrix *matrix, const float *x, const float *bias, const float *out,
                             enum rounding rounding)
{
	const int group = rounding == BY_SUPERS ? QUANT_SUPER : QUANT_GROUP;
	int64_t n_in = matrix->weight.n_in;
	const bool shared = rounding == SHARED || rounding == SHARED_SHORT;
	const enum quant_grain grain = rounding == SHARED ? GRAIN_SHARED : GRAIN_SHORT;
	const double share = shared ? quant_share(matrix->weight.type, grain) : 1;
	const double of_steps =
	    rounding == TO_8_BITS    ? 1
	    : rounding == TO_15_BITS ? 1.0 / 128
	    : rounding == BY_SUPERS  ? 127.0 / QUANT_SUPER_LARGEST
	    : shared ? (1 / share + share / (1 << quant_share_bits(matrix->weight.type, grain))) * 127 / (126 - share / 2)
	             : 0;
	/* What a group's sums with short low halves are rounded by: half a step of high ones four times, times the scale of
	 * the weights, which is a quarter of the largest of its group at most. */
	const double rounded = rounding == SHARED_SHORT ? 0.5 : 0;
	/* Of a weight that fills a byte, and of what it loses: 3 of 127 of the largest of its group, or somewhat more where
	 * none is. */
	const double lost = shared && quant_share_loss(matrix->weight.type) ? 3.0 / 60 : 0;
	for (int64_t c = 0; c < matrix->weight.n_out; c++) {
		double sum = bias ? bias[c] : 0, magnitude = fabs(sum), steps = 0, step = 0, largest = 0, steps_lost = 0;
		for (int64_t k = 0; k < n_in; k++) {
			if (k % group == 0) {
				step = largest = 0;
				for (int64_t i = k; i < k + group && i < n_in; i++) {
					step = fmax(step, fabs(x[i]) / 127);
					largest = fmax(largest, fabs(matrix->values[c * n_in + i]));
				}
				steps_lost += rounded * largest * step * 127 / (126 - share / 2);
			}
			steps_lost += lost * largest * step * share / 2;
			steps += fabs(matrix->values[c * n_in + k]) * step / 2;
			double term = (double)x[k] * matrix->values[c * n_in + k];
			sum += term;
			magnitude += fabs(term);
		}
		double bound = (double)(n_in + 2) * 0x1p-24 * magnitude * 1.02 +
		               (rounding == TO_BF16        ? 0x1p-8 * magnitude * 1.01
		                : rounding == BOTH_TO_BF16 ? 0x1p-7 * magnitude * 1.01
		                                           : of_steps * steps * 1.001 + steps_lost);
		assert_true(fabs(out[c] - sum) <= bound);
	}
}

#endif
