/* Matrix products: against double precision with bounds that follow from the number of roundings, and the properties
 * that "same bits, whatever the batch" rests on, compared with memcmp. */
#include "kernel_check.h"

#include <math.h>

#include "base/checked.h"
#include "kernels/product.h"
#include "kernels/quant.h"
#include "matrices.h"

enum { MAX_ROWS = 320, GUARD = 64 };

static const struct shape shapes[] = {{1, 1},   {3, 5},    {31, 9},   {33, 41},  {100, 7},
                                      {257, 3}, {64, 130}, {200, 83}, {512, 520}};
enum { N_SHAPES = sizeof shapes / sizeof *shapes };

struct context {
	const struct kernels *set;
	struct pool *pools[MAX_THREADS];
	enum rounding decode, prefill; /* of activations, and of weights that are packed as bf16 */
};

/* Decode: any number of rows against the rows one by one, and against the formula. */
static void check_decode(const struct context *context, const struct matrix *matrix, const float *x)
{
	int64_t n_in = matrix->weight.n_in, n_out = matrix->weight.n_out;
	size_t row_bytes = (size_t)n_out * 4;
	float *alone = allocate(40 * row_bytes), *out = allocate(40 * row_bytes);
	float *bias = random_floats((size_t)n_out, 99);
	for (int row = 0; row < 40; row++) {
		struct row_span span = {.first = row, .n_rows = 1, .phase = ROWS_DECODE};
		multiply(context->set, context->pools[row % MAX_THREADS], matrix, x, &span, 1, bias, alone);
		check_row(matrix, x + row * n_in, bias, alone + row * n_out, context->decode);
	}
	static const int counts[] = {2, 3, 4, 5, 6, 7, 8, 9, 11, 16, 17, 40};
	for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
		int gap = counts[i] / 3; /* two spans with rows between them that no one asked for */
		struct row_span spans[] = {{0, gap, ROWS_DECODE}, {gap + 1, counts[i] - gap - 1, ROWS_DECODE}};
		memset(out, 0xff, 40 * row_bytes);
		struct row_span all = {0, counts[i], ROWS_DECODE};
		multiply(context->set, context->pools[i % MAX_THREADS], matrix, x, &all, 1, bias, out);
		assert_memory_equal(out, alone, (size_t)counts[i] * row_bytes);
		if (gap == 0 || counts[i] - gap - 1 == 0)
			continue;
		memset(out, 0xff, 40 * row_bytes);
		multiply(context->set, context->pools[(i + 1) % MAX_THREADS], matrix, x, spans, 2, bias, out);
		assert_memory_equal(out, alone, (size_t)gap * row_bytes);
		assert_memory_equal(out + (gap + 1) * n_out, alone + (gap + 1) * n_out,
		                    (size_t)(counts[i] - gap - 1) * row_bytes);
		for (int64_t c = 0; c < n_out; c++)
			assert_true(isnan(out[gap * n_out + c]));
	}
	free(alone);
	free(out);
	free(bias);
}

/* Slices of a prefill against `base`, the whole of it; all sizes that a way of its own may be taken for, alone and two of
 * different requests together. */
static void check_slices(const struct context *context, const struct matrix *matrix, const float *x, const float *base,
                         int n_rows)
{
	static const int sizes[] = {37, 5, 16, 1, 60, 27, 32, 9, 65};
	int64_t n_in = matrix->weight.n_in, n_out = matrix->weight.n_out;
	size_t row_bytes = (size_t)n_out * 4;
	int tile = matmul_tile_rows(context->set, matrix->weight.type), beside = tile > 1 ? tile : 11;
	float *out = allocate(MAX_ROWS * row_bytes), *moved = allocate((size_t)MAX_ROWS * (size_t)n_in * 4);
	for (int row = 0, i = 0, n; row < n_rows; row += n, i++) {
		int size = tile > 1 ? tile : sizes[i % (int)(sizeof sizes / sizeof *sizes)];
		n = n_rows - row < size ? n_rows - row : size;
		int second = (n + MATMUL_ROW_PAD - 1) / MATMUL_ROW_PAD * MATMUL_ROW_PAD;
		int n_second = n_rows < beside ? n_rows : beside;
		struct row_span spans[] = {{0, n, ROWS_PREFILL}, {second, n_second, ROWS_PREFILL}};
		memset(moved, 0xff, (size_t)MAX_ROWS * (size_t)n_in * 4);
		memcpy(moved, x + row * n_in, (size_t)(n * n_in) * 4);
		memcpy(moved + second * n_in, x, (size_t)(n_second * n_in) * 4);
		for (int n_spans = 1; n_spans <= 2; n_spans++) {
			memset(out, 0xff, MAX_ROWS * row_bytes);
			multiply(context->set, context->pools[i % MAX_THREADS], matrix, moved, spans, n_spans, NULL, out);
			assert_memory_equal(out, base + row * n_out, (size_t)n * row_bytes);
		}
		assert_memory_equal(out + second * n_out, base, (size_t)n_second * row_bytes);
	}
	free(out);
	free(moved);
}

/* Prefill: one span of n_rows is the base; the same rows sliced at a tile border, moved to other rows of the buffer,
 * beside decode rows, with NaN in the padding, on other numbers of threads. */
static void check_prefill(const struct context *context, const struct matrix *matrix, const float *x, int n_rows)
{
	const struct kernels *set = context->set;
	int64_t n_in = matrix->weight.n_in, n_out = matrix->weight.n_out;
	size_t row_bytes = (size_t)n_out * 4;
	float *base = allocate(MAX_ROWS * row_bytes), *out = allocate(MAX_ROWS * row_bytes);
	float *moved = allocate((size_t)MAX_ROWS * (size_t)n_in * 4);
	struct row_span span = {0, n_rows, ROWS_PREFILL};
	multiply(set, context->pools[0], matrix, x, &span, 1, NULL, base);
	for (int row = 0; row < n_rows; row += 13)
		check_row(matrix, x + row * n_in, NULL, base + row * n_out, context->prefill);

	/* Two sequences' worth of rows: decode rows first, then the span at row 48, padding full of NaN. */
	memset(moved, 0xff, (size_t)MAX_ROWS * (size_t)n_in * 4);
	memcpy(moved, x + 5 * n_in, (size_t)(3 * n_in) * 4);
	memcpy(moved + 48 * n_in, x, (size_t)(n_rows * n_in) * 4);
	struct row_span mixed[] = {{0, 3, ROWS_DECODE}, {48, n_rows, ROWS_PREFILL}};
	for (int threads = 0; threads < MAX_THREADS; threads++) {
		memset(out, 0xff, MAX_ROWS * row_bytes);
		multiply(set, context->pools[threads], matrix, moved, mixed, 2, NULL, out);
		assert_memory_equal(out + 48 * n_out, base, (size_t)n_rows * row_bytes);
	}
	struct row_span decode = {0, 3, ROWS_DECODE};
	float *alone = allocate(3 * row_bytes);
	multiply(set, context->pools[1], matrix, moved, &decode, 1, NULL, alone);
	assert_memory_equal(out, alone, 3 * row_bytes);
	free(alone);

	check_slices(context, matrix, x, base, n_rows);
	if (matmul_phase_invariant(set, matrix->weight.type)) {
		struct row_span as_decode = {0, n_rows, ROWS_DECODE};
		multiply(set, context->pools[1], matrix, x, &as_decode, 1, NULL, out);
		assert_memory_equal(out, base, (size_t)n_rows * row_bytes);
	}
	free(base);
	free(out);
	free(moved);
}

/* The address of a weight, and weights that share a group, change nothing. */
static void check_group(const struct context *context, struct shape shape, enum dtype type, const float *x)
{
	struct matrix a = make_matrix(shape, type, 0, 7), b = make_matrix(shape, type, 1, 7);
	struct matrix c = make_matrix((struct shape){shape.n_in, 77}, type, 3, 8);
	struct row_span spans[] = {{0, 2, ROWS_DECODE}, {16, 20, ROWS_PREFILL}};
	float *out[3], *alone[3], *bias = random_floats(77, 9);
	const struct matrix *matrices[] = {&a, &c, &b};
	const struct weight *weights[] = {&a.weight, &c.weight, &b.weight};
	const float *biases[] = {NULL, bias, NULL};
	for (int i = 0; i < 3; i++) {
		size_t n_bytes = 48 * (size_t)weights[i]->n_out * 4;
		out[i] = allocate(n_bytes);
		alone[i] = allocate(n_bytes);
		multiply(context->set, context->pools[i], matrices[i], x, spans, 2, biases[i], alone[i]);
	}
	struct matmul_input input = {.spans = spans, .n_spans = 2, .n_rows = 48, .n_in = shape.n_in, .x = x, .type = type};
	input.prepared = allocate(matmul_input_bytes(context->set, type, 48, shape.n_in));
	matmul_input_prepare(context->set, context->pools[1], &input);
	matmul_run(context->set, context->pools[1], &input, weights, biases, out, 3);
	for (int i = 0; i < 3; i++) {
		size_t row_bytes = (size_t)weights[i]->n_out * 4;
		assert_memory_equal(out[i], alone[i], 2 * row_bytes);
		assert_memory_equal(out[i] + 16 * weights[i]->n_out, alone[i] + 16 * weights[i]->n_out, 20 * row_bytes);
		free(alone[i]);
	}
	assert_memory_equal(out[0], out[2], 2 * (size_t)shape.n_out * 4);
	assert_memory_equal(out[0] + 16 * shape.n_out, out[2] + 16 * shape.n_out, 20 * (size_t)shape.n_out * 4);
	for (int i = 0; i < 3; i++)
		free(out[i]);
	free(bias);
	free(input.prepared);
	free_matrix(&a);
	free_matrix(&b);
	free_matrix(&c);
}

static void check_shape(const struct context *context, struct shape shape, enum dtype type, int number)
{
	float *x = random_floats((size_t)(MAX_ROWS * shape.n_in), (uint64_t)number);
	struct matrix matrix = make_matrix(shape, type, number % 4, (uint64_t)number + 50);
	check_decode(context, &matrix, x);
	check_prefill(context, &matrix, x, 1);
	check_prefill(context, &matrix, x, 70);
	if (number % 3 == 2)
		check_prefill(context, &matrix, x, 137 + number * 13);
	free_matrix(&matrix);
	free(x);
}

/* Blocks of GGUF files have whole blocks in a row, and one way of being multiplied: fewer shapes say as much. */
static void check_type(struct context *context, enum isa isa, enum compute compute, enum dtype type)
{
	bool is_super = quant_is_super(type), in_blocks = is_quant(type) && type != DTYPE_Q8 && type != DTYPE_Q4;
	int64_t block = find_block_scales(type) || in_blocks ? dtype_info(type)->block_elements : 1;
	enum product_bits bits = product_path(context->set, type, ROWS_DECODE)->bits;
	bool rounded = bits != BITS_DOT && bits != BITS_SPLIT_DOT;
	assert_false(rounded && (compute == COMPUTE_F32 || find_block_scales(type)));
	const struct kernels_inner *inner = context->set->inner;
	bool fine = context->set->compute == COMPUTE_FINE || (inner->wide_is_fine && quant_is_wide(type));
	enum rounding shared = inner->shared == GRAIN_SHARED ? SHARED : SHARED_SHORT;
	bool by_supers = fine && context->set->compute != COMPUTE_FINE && quant_sums_supers(type);
	enum rounding few_bits = by_supers                          ? BY_SUPERS
	                         : fine                             ? TO_15_BITS
	                         : quant_share(type, inner->shared) ? shared
	                                                            : TO_8_BITS;
	context->decode = !rounded ? NO_ROUNDING : is_quant(type) ? few_bits : TO_BF16; /* BF16T, too */
	context->prefill = context->decode == few_bits && isa == ISA_AMX ? BOTH_TO_BF16 : context->decode;
	bool slow = isa == ISA_SCALAR && is_quant(type); /* test_quant has what others are compared with */
	for (int i = 0; i < N_SHAPES - slow; i++) {
		struct shape shape = {(int64_t)round_up((size_t)shapes[i].n_in, (size_t)block), shapes[i].n_out};
		if (block == 1 || (i >= 5 && i <= 6) || (is_super && i == 8))
			check_shape(context, shape, type, i);
	}
	struct shape shape = {block > 1 ? 256 : 200, 150};
	float *x = random_floats(48 * (size_t)shape.n_in, 3);
	check_group(context, shape, type, x);
	free(x);
}

/* Tiles or rows of bf16: the same bits. */
static void check_tiles(const struct context *context)
{
	enum { ROWS = 61 };
	for (int i = 0; i < N_SHAPES; i++) {
		struct matrix rows = make_matrix(shapes[i], DTYPE_BF16, 2, 5), tiles = make_tiles(shapes[i], 2, 5);
		float *x = random_floats((size_t)(80 * shapes[i].n_in), 6);
		size_t n_bytes = 80 * (size_t)shapes[i].n_out * sizeof(float);
		float *out = allocate(n_bytes), *expected = allocate(n_bytes);
		for (int decode = 0; decode < ROWS; decode += 6) {
			struct row_span spans[] = {{0, decode, ROWS_DECODE},
			                           {(decode + 15) / 16 * 16, ROWS - decode, ROWS_PREFILL}};
			int n_spans = decode + 16 < ROWS ? 2 : 1;
			struct row_span *first = decode ? spans : spans + 1;
			memset(out, 0, n_bytes);
			memset(expected, 0, n_bytes);
			multiply(context->set, context->pools[2], &rows, x, first, decode ? n_spans : 1, NULL, expected);
			multiply(context->set, context->pools[1], &tiles, x, first, decode ? n_spans : 1, NULL, out);
			for (int s = 0; s < (decode ? n_spans : 1); s++)
				assert_memory_equal(out + first[s].first * shapes[i].n_out, expected + first[s].first * shapes[i].n_out,
				                    (size_t)(first[s].n_rows * shapes[i].n_out) * sizeof(float));
		}
		free(x);
		free(out);
		free(expected);
		free_matrix(&rows);
		free_matrix(&tiles);
	}
}

/* More rows than there are sums to keep for: spans before, across and behind that border have the bits they have alone. */
static void check_most_rows(const struct context *context)
{
	static const enum dtype types[] = {DTYPE_BF16, DTYPE_BF16T, DTYPE_Q8, DTYPE_Q4K};
	static const struct row_span spans[] = {{0, 403, ROWS_PREFILL}, {416, 500, ROWS_PREFILL}, {928, 70, ROWS_PREFILL}};
	struct shape shape = {512, 290}; /* two panels of outputs, two of inputs */
	size_t row = (size_t)shape.n_out;
	float *x = random_floats(MOST_ROWS * (size_t)shape.n_in, 11);
	float *out = allocate(MOST_ROWS * row * sizeof(float)), *alone = allocate(MOST_ROWS * row * sizeof(float));
	for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
		struct matrix matrix = make_matrix(shape, types[i], 2, 12);
		multiply(context->set, context->pools[1], &matrix, x, spans, 3, NULL, out);
		for (int s = 0; s < 3; s++)
			for (int from = 0; from < spans[s].n_rows; from += 128) {
				int left = spans[s].n_rows - from, first = spans[s].first + from;
				struct row_span slice = {0, left < 128 ? left : 128, ROWS_PREFILL};
				multiply(context->set, context->pools[0], &matrix, x + first * shape.n_in, &slice, 1, NULL, alone);
				assert_memory_equal(out + (size_t)first * row, alone, (size_t)slice.n_rows * row * sizeof(float));
			}
		free_matrix(&matrix);
	}
	free(x);
	free(out);
	free(alone);
}

static void check_set(enum isa isa, enum compute compute, struct pool *const *pools)
{
	struct kernels *set = open_set(isa, compute, 512);
	if (!set)
		return;
	struct context context = {.set = set};
	memcpy(context.pools, pools, sizeof context.pools);
	/* test_quant has all types: one of each kind says as much. */
	bool some = compute == COMPUTE_FINE;
	for (int type = 0; type < DTYPE_COUNT; type++)
		if ((type != DTYPE_BF16T || matmul_prefers_tiles(set)) &&
		    (!some || type == DTYPE_Q8 || type == DTYPE_Q4 || type == DTYPE_Q5K))
			check_type(&context, isa, compute, (enum dtype)type);
	if (matmul_prefers_tiles(set)) {
		check_tiles(&context);
		check_most_rows(&context);
	}
	kernels_destroy(set);
}

static const char *program;
static bool is_second_run; /* with other kernels of OpenBLAS */

static void test_all_sets(void **state)
{
	(void)state;
	struct pool *pools[MAX_THREADS];
	struct error error = {0};
	for (int i = 0; i < MAX_THREADS; i++) {
		pools[i] = pool_create(i + 1, NULL, 0, &error);
		assert_non_null(pools[i]);
	}
	check_set(ISA_AVX2, COMPUTE_AUTO, pools); /* the one that calls OpenBLAS */
	if (!is_second_run) {
		check_set(ISA_SCALAR, COMPUTE_AUTO, pools);
		check_set(ISA_AVX512BW, COMPUTE_AUTO, pools);
		check_set(ISA_AVX512, COMPUTE_AUTO, pools);
		check_set(ISA_AVX512, COMPUTE_F32, pools);
		check_set(ISA_SCALAR, COMPUTE_FINE, pools);
		check_set(ISA_AVX512, COMPUTE_FINE, pools);
		check_set(ISA_AMX, COMPUTE_FINE, pools);
		check_set(ISA_NEON, COMPUTE_FINE, pools);
		check_set(ISA_AMX, COMPUTE_AUTO, pools);
		check_set(ISA_NEON, COMPUTE_AUTO, pools);
		check_set(ISA_NEON, COMPUTE_F32, pools);
	}
	for (int i = 0; i < MAX_THREADS; i++)
		pool_destroy(pools[i]);
}

/* Quantised products are exact integers, added in one order: every set makes the same weights and the same results. */
static void test_quantised_products_are_the_same_everywhere(void **state)
{
	(void)state;
	enum { ROWS = 21 };
	struct shape shape = {300, 83};
	struct error error = {0};
	struct pool *pool = pool_create(2, NULL, 0, &error);
	float *values = random_floats((size_t)(shape.n_in * shape.n_out), 1), *x = random_floats(ROWS * 300, 2);
	values[5] = 1e-30f;
	for (int k = 64; k < 96; k++)
		x[k] = 0;
	memset(values + 64, 0, 32 * sizeof *values);
	struct weight plain = {.type = DTYPE_F32, .n_out = shape.n_out, .n_in = shape.n_in, .data = values};
	for (int type = DTYPE_Q8; type <= DTYPE_Q4; type++) {
		size_t n_bytes;
		assert_true(weight_bytes((enum dtype)type, shape.n_out, shape.n_in, &n_bytes));
		unsigned char *memory[N_ISAS] = {0};
		float *out[N_ISAS];
		for (int i = 0; i < N_ISAS; i++) {
			struct kernels *set = open_set(all_isas[i], COMPUTE_FINE, 512);
			if (!set)
				continue;
			struct matrix matrix = {.values = values};
			struct row_span span = {0, ROWS, ROWS_DECODE};
			memory[i] = aligned_alloc(64, n_bytes);
			memset(memory[i], 0, n_bytes);
			out[i] = allocate(ROWS * (size_t)shape.n_out * 4);
			weight_convert(set, pool, &plain, (enum dtype)type, memory[i], &matrix.weight);
			multiply(set, pool, &matrix, x, &span, 1, NULL, out[i]);
			assert_memory_equal(memory[i], memory[0], n_bytes);
			assert_memory_equal(out[i], out[0], ROWS * (size_t)shape.n_out * 4);
			kernels_destroy(set);
		}
		for (int i = 0; i < N_ISAS; i++)
			if (memory[i]) {
				free(memory[i]);
				free(out[i]);
			}
	}
	free(values);
	free(x);
	pool_destroy(pool);
}

/* Prefill on several threads again and again: OpenBLAS's serial build would hand two of them one buffer, were it not
 * for openblas_memory.c. */
static void test_threads_in_openblas(void **state)
{
	(void)state;
	struct error error = {0};
	struct kernels *set = open_set(ISA_AVX2, COMPUTE_AUTO, 64);
	if (!set)
		return;
	struct pool *pool = pool_create(MAX_THREADS, NULL, 0, &error);
	assert_non_null(pool);
	struct matrix matrix = make_matrix((struct shape){8, 20000}, DTYPE_F32, 0, 4);
	float *x = random_floats(16 * 8, 5), *base = allocate(16 * 20000 * 4), *out = allocate(16 * 20000 * 4);
	struct row_span span = {0, 16, ROWS_PREFILL};
	multiply(set, pool, &matrix, x, &span, 1, NULL, base);
	for (int row = 0; row < 16; row++)
		check_row(&matrix, x + row * 8, NULL, base + row * 20000, NO_ROUNDING);
	for (int i = 0; i < 300; i++) {
		multiply(set, pool, &matrix, x, &span, 1, NULL, out);
		assert_memory_equal(out, base, 16 * 20000 * 4);
	}
	free(x);
	free(base);
	free(out);
	free_matrix(&matrix);
	pool_destroy(pool);
	kernels_destroy(set);
}

static void test_what_callers_rely_on(void **state)
{
	(void)state;
	for (int i = 0; i < N_ISAS; i++)
		for (int compute = COMPUTE_AUTO; compute <= COMPUTE_F32; compute++) {
			struct kernels *set = open_set(all_isas[i], (enum compute)compute, 64);
			for (int type = DTYPE_F32; set && type <= DTYPE_BF16; type++) {
				int tile = matmul_tile_rows(set, (enum dtype)type);
				assert_true(tile >= 1 && (tile & (tile - 1)) == 0);
				/* Prepared rows are a fixed size each in blocks of 16, so that a plan can count them. */
				assert_int_equal(matmul_input_bytes(set, (enum dtype)type, 160, 100),
				                 10 * matmul_input_bytes(set, (enum dtype)type, 1, 100));
			}
			kernels_destroy(set);
		}
}

/* Which way each type goes in each set that this CPU has; a set that rounds nothing takes the dots. */
static void test_paths(void **state)
{
	(void)state;
	static const struct {
		enum isa isa;
		enum compute compute;
		enum dtype type;
		const char *decode, *prefill;
		int tile_rows;
	} rows[] = {
	    {ISA_SCALAR, COMPUTE_AUTO, DTYPE_F32, "dot", "dot", 1},
	    {ISA_SCALAR, COMPUTE_AUTO, DTYPE_Q4, "integers", "integers", 1},
	    {ISA_SCALAR, COMPUTE_F32, DTYPE_Q4, "widened dot", "widened dot", 1},
	    {ISA_SCALAR, COMPUTE_AUTO, DTYPE_Q5_1, "widened dot", "widened dot", 1},
	    {ISA_AVX2, COMPUTE_AUTO, DTYPE_BF16, "split dot", "split dot", 1},
	    {ISA_AVX2, COMPUTE_F32, DTYPE_BF16, "split dot", "split dot", 1},
	    {ISA_AVX2, COMPUTE_AUTO, DTYPE_F16, "dot", "sgemm", 128},
	    {ISA_AVX2, COMPUTE_AUTO, DTYPE_Q5_1, "widened dot", "sgemm", 128},
	    {ISA_AVX2, COMPUTE_AUTO, DTYPE_Q8, "integers", "integers", 1},
	    {ISA_AVX2, COMPUTE_AUTO, DTYPE_Q51, "integers", "integers", 1},
	    {ISA_AVX2VNNI, COMPUTE_AUTO, DTYPE_F16, "dot", "sgemm", 128},
	    {ISA_AVX512BW, COMPUTE_AUTO, DTYPE_BF16, "dot", "dot", 1},
	    {ISA_AVX512BW, COMPUTE_AUTO, DTYPE_Q6K, "integers", "integers", 1},
	    {ISA_AMX, COMPUTE_AUTO, DTYPE_BF16, "tiles, few rows", "tiles, many rows", 1},
	    {ISA_AMX, COMPUTE_AUTO, DTYPE_BF16T, "tiles, many rows", "tiles, many rows", 1},
	    {ISA_AMX, COMPUTE_AUTO, DTYPE_Q4K, "integers", "tiles, many rows", 1},
	    {ISA_AMX, COMPUTE_AUTO, DTYPE_Q2K, "integers", "tiles, many rows", 1},
	    {ISA_AMX, COMPUTE_F32, DTYPE_BF16, "dot", "dot", 1},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct kernels *set = open_set(rows[i].isa, rows[i].compute, 64);
		if (!set)
			continue;
		assert_string_equal(product_path(set, rows[i].type, ROWS_DECODE)->name, rows[i].decode);
		assert_string_equal(product_path(set, rows[i].type, ROWS_PREFILL)->name, rows[i].prefill);
		assert_int_equal(matmul_tile_rows(set, rows[i].type), rows[i].tile_rows);
		kernels_destroy(set);
	}
}

static void test_haswell(void **state)
{
	(void)state;
	if (!is_second_run)
		run_again_with_haswell(program);
}

int main(int n_arguments, char **arguments)
{
	program = arguments[0];
	is_second_run = n_arguments > 1;
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_paths),
	    cmocka_unit_test(test_what_callers_rely_on),
	    cmocka_unit_test(test_quantised_products_are_the_same_everywhere),
	    cmocka_unit_test(test_all_sets),
	    cmocka_unit_test(test_threads_in_openblas),
	    cmocka_unit_test(test_haswell),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
