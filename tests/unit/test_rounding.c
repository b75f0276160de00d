/* How weights and activations are rounded to few bits: who is rounded how, how near what comes out is, and what becomes
 * of numbers that are none or too large. */
#include "kernel_check.h"

#include <math.h>

#include "kernels/kernel_set.h"
#include "matrices.h"

enum { CARE_ROWS = 19, CARE_OUTPUTS = 83, CARE_INPUTS = 256 };

/* What comes of an input with weights of this type; false where this CPU lacks the set. */
static bool multiply_with_care(enum isa isa, enum dtype type, enum compute compute, enum matmul_care care,
                               float out[CARE_ROWS * CARE_OUTPUTS])
{
	struct error error = {0};
	struct kernels *set = open_set(isa, compute, 512);
	if (!set)
		return false;
	struct pool *pool = pool_create(2, NULL, 0, &error);
	float *x = random_floats(CARE_ROWS * CARE_INPUTS, 2);
	struct matrix matrix = make_quant_matrix((struct shape){CARE_INPUTS, CARE_OUTPUTS}, type, 3);
	struct row_span span = {0, CARE_ROWS, ROWS_DECODE};
	struct matmul_input input = {.spans = &span, .n_spans = 1, .n_rows = CARE_ROWS, .n_in = CARE_INPUTS, .x = x};
	input.type = type;
	input.care = care;
	input.prepared = allocate(matmul_input_bytes(set, type, CARE_ROWS, CARE_INPUTS));
	matmul_input_prepare(set, pool, &input);
	matmul_run(set, pool, &input, (const struct weight *[]){&matrix.weight}, NULL, (float *[]){out}, 1);
	free(input.prepared);
	free_matrix(&matrix);
	free(x);
	kernels_destroy(set);
	pool_destroy(pool);
	return true;
}

enum how { COARSE, SHARES, FINE };

static void check_care(enum isa isa, enum dtype type, enum how expected_usual, enum how expected_more)
{
	enum { N_OUT = CARE_ROWS * CARE_OUTPUTS, N_BYTES = N_OUT * sizeof(float) };
	float coarse[N_OUT], fine[N_OUT], usual[N_OUT], more[N_OUT], always[N_OUT];
	if (!multiply_with_care(isa, type, COMPUTE_FAST, CARE_MORE, coarse))
		return;
	multiply_with_care(isa, type, COMPUTE_FINE, CARE_USUAL, fine);
	multiply_with_care(isa, type, COMPUTE_AUTO, CARE_USUAL, usual);
	multiply_with_care(isa, type, COMPUTE_AUTO, CARE_MORE, more);
	multiply_with_care(isa, type, COMPUTE_FAST, CARE_ALWAYS, always);
	assert_memory_equal(always, fine, N_BYTES);
	assert_memory_not_equal(coarse, fine, N_BYTES);
	assert_int_equal(memcmp(usual, coarse, N_BYTES) == 0, expected_usual == COARSE);
	assert_int_equal(memcmp(usual, fine, N_BYTES) == 0, expected_usual == FINE);
	assert_int_equal(memcmp(more, coarse, N_BYTES) == 0, expected_more == COARSE);
	assert_int_equal(memcmp(more, fine, N_BYTES) == 0, expected_more == FINE);
	assert_int_equal(memcmp(more, usual, N_BYTES) == 0, expected_more == expected_usual);
}

/* How an input is rounded: by its type, by the care that it is taken with, by what is asked for, and by what the set
 * has for low halves that are shared. With AVX2 values of a byte are always fine. */
static void test_care(void **state)
{
	(void)state;
	static const struct {
		enum dtype type;
		enum how usual, more, avx2_usual, avx2_more;
	} rows[] = {{DTYPE_Q8, SHARES, FINE, FINE, FINE},        {DTYPE_IQ4N, SHARES, FINE, FINE, FINE},
	            {DTYPE_IQ4X, COARSE, SHARES, FINE, FINE},    {DTYPE_Q4, SHARES, FINE, SHARES, FINE},
	            {DTYPE_Q50, SHARES, FINE, SHARES, FINE},     {DTYPE_FP4, SHARES, FINE, SHARES, FINE},
	            {DTYPE_Q41, SHARES, FINE, SHARES, FINE},     {DTYPE_Q51, SHARES, SHARES, SHARES, SHARES},
	            {DTYPE_Q4K, SHARES, SHARES, SHARES, SHARES}, {DTYPE_Q5K, SHARES, SHARES, SHARES, SHARES},
	            {DTYPE_Q6K, SHARES, FINE, FINE, FINE},       {DTYPE_Q3K, COARSE, FINE, COARSE, FINE},
	            {DTYPE_Q2K, COARSE, COARSE, COARSE, COARSE}};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		check_care(ISA_SCALAR, rows[i].type, rows[i].usual, rows[i].more);
		if (!quant_is_wide(rows[i].type))
			check_care(ISA_AVX2, rows[i].type, rows[i].avx2_usual, rows[i].avx2_more);
	}
}

/* A quantised weight is near the one it was made from: half a step of its group's scale for 8 bits, for 4 bits no worse
 * on average than the plain scale of largest / 8. */
static void test_quantised_weights_are_near(void **state)
{
	(void)state;
	enum { N_IN = 256, N_OUT = 32, GROUP = 32 };
	float *values = random_floats(N_IN * N_OUT, 3);
	struct matrix q8 = make_quant_matrix((struct shape){N_IN, N_OUT}, DTYPE_Q8, 3);
	struct matrix q4 = make_quant_matrix((struct shape){N_IN, N_OUT}, DTYPE_Q4, 3);
	double squares = 0, plain_squares = 0;
	for (int group = 0; group < N_IN * N_OUT; group += GROUP) {
		float extreme = 0;
		for (int k = group; k < group + GROUP; k++)
			extreme = fabsf(values[k]) > fabsf(extreme) ? values[k] : extreme;
		for (int k = group; k < group + GROUP; k++) {
			assert_true(fabsf(q8.values[k] - values[k]) <= fabsf(extreme) / 127 * 0.51f);
			double plain = fmin(7, rint(values[k] / (extreme / -8))) * (extreme / -8);
			squares += pow(q4.values[k] - values[k], 2);
			plain_squares += pow(plain - values[k], 2);
		}
	}
	assert_true(squares > 0 && squares < 0.95 * plain_squares);
	free_matrix(&q8);
	free_matrix(&q4);
	free(values);
}

/* Weights that are no numbers do not turn into some: they show in every product. */
static void test_broken_weights_show(void **state)
{
	(void)state;
	struct error error = {0};
	struct pool *pool = pool_create(1, NULL, 0, &error);
	const float broken[] = {NAN, INFINITY, -INFINITY};
	for (int type = DTYPE_Q8; type <= DTYPE_Q4; type++)
		for (int isa = 0; isa < N_ISAS; isa++)
			for (int i = 0; i < 3; i++) {
				struct kernels *set = open_set(all_isas[isa], COMPUTE_AUTO, 64);
				if (!set)
					continue;
				float *values = random_floats(40, 6), *x = random_floats(40, 7), out = 0;
				values[33] = broken[i];
				_Alignas(64) unsigned char memory[2048];
				size_t n_bytes;
				assert_true(weight_bytes((enum dtype)type, 1, 40, &n_bytes) && n_bytes <= sizeof memory);
				struct weight plain = {.type = DTYPE_F32, .n_out = 1, .n_in = 40, .data = values};
				struct matrix matrix = {.values = values};
				struct row_span span = {0, 1, ROWS_DECODE};
				weight_convert(set, pool, &plain, (enum dtype)type, memory, &matrix.weight);
				multiply(set, pool, &matrix, x, &span, 1, NULL, &out);
				assert_false(isfinite(out));
				free(values);
				free(x);
				kernels_destroy(set);
			}
	pool_destroy(pool);
}

/* Rows of x by weights of few bits, in every set: all decode alike to the bit, but for those of a byte where a set does
 * not round to 8 bits as others do, and prefill too where it is not done in tiles. `check` looks at each result. */
static void check_activations(const float *x, int n_rows, struct shape shape, enum compute compute,
                              void (*check)(const struct matrix *matrix, const float *x, const float *out))
{
	struct error error = {0};
	struct pool *pool = pool_create(2, NULL, 0, &error);
	size_t n_bytes = (size_t)n_rows * (size_t)shape.n_out * sizeof(float);
	for (enum dtype type = DTYPE_Q8; type <= DTYPE_Q6K; type++) {
		struct matrix matrix = make_quant_matrix(shape, type, 3);
		float *expected = allocate(n_bytes), *out = allocate(n_bytes);
		for (int i = 0; i < N_ISAS; i++) {
			struct kernels *set = open_set(all_isas[i], compute, 512);
			bool alike = set && (compute == COMPUTE_FINE ||
			                     ((!set->inner->wide_is_fine || !quant_is_wide(type)) &&
			                      (set->inner->shared == GRAIN_SHARED || !quant_share(type, GRAIN_SHARED))));
			for (int phase = ROWS_DECODE; set && phase <= ROWS_PREFILL; phase++) {
				struct row_span span = {0, n_rows, (enum row_phase)phase};
				float *to = i == 0 && phase == ROWS_DECODE ? expected : out;
				multiply(set, pool, &matrix, x, &span, 1, NULL, to);
				check(&matrix, x, to);
				if (alike && (phase == ROWS_DECODE || matmul_phase_invariant(set, type)))
					assert_memory_equal(to, expected, n_bytes);
			}
			kernels_destroy(set);
		}
		free(expected);
		free(out);
		free_matrix(&matrix);
	}
	pool_destroy(pool);
}

enum { BROKEN_ROWS = 16 };

/* Row 0 is whole; each of the others has one number that is none. */
static void check_broken_rows(const struct matrix *matrix, const float *x, const float *out)
{
	(void)x;
	for (int64_t i = 0; i < BROKEN_ROWS * matrix->weight.n_out; i++)
		assert_int_equal(isfinite(out[i]) != 0, i < matrix->weight.n_out);
}

/* Activations that are no numbers do not turn into some: they show in every output of their row, and in no other row. */
static void test_broken_activations_show(void **state)
{
	(void)state;
	struct shape shape = {512, 37};
	const float broken[] = {NAN, INFINITY, -INFINITY, -NAN};
	static const int places[] = {0, 15, 16, 31, 300, 511};
	float *x = random_floats(BROKEN_ROWS * (size_t)shape.n_in, 7);
	for (int place = 0; place < 6; place++) {
		float *with = allocate(BROKEN_ROWS * (size_t)shape.n_in * sizeof(float));
		memcpy(with, x, BROKEN_ROWS * (size_t)shape.n_in * sizeof(float));
		for (int row = 1; row < BROKEN_ROWS; row++)
			with[row * shape.n_in + places[place]] = broken[row % 4];
		for (int k = 0; k < 5; k++) /* several of them, and of both signs */
			with[5 * shape.n_in + 7 * k] = broken[k % 4];
		check_activations(with, BROKEN_ROWS, shape, COMPUTE_AUTO, check_broken_rows);
		check_activations(with, BROKEN_ROWS, shape, COMPUTE_FINE, check_broken_rows);
		free(with);
	}
	free(x);
}

static const float huge[] = {1e10f, 1e20f, 1e30f, 1e35f, 3.4e38f};
enum { HUGE_ROWS = sizeof huge / sizeof *huge };

static void check_huge_rows(const struct matrix *matrix, const float *x, const float *out)
{
	int64_t n_in = matrix->weight.n_in, n_out = matrix->weight.n_out;
	for (int row = 0; row < HUGE_ROWS; row++)
		if (huge[row] < 1e34f)
			check_row(matrix, x + row * n_in, NULL, out + row * n_out, BOTH_TO_BF16);
		else
			for (int64_t c = 0; c < n_out; c++)
				assert_true(!isfinite(out[row * n_out + c]) || fabsf(out[row * n_out + c]) > huge[row] * 1e-6f);
}

/* Large numbers come out right as long as a group's integer times its scale does not overflow; beyond it they do not
 * become small ones. */
static void test_huge_activations(void **state)
{
	(void)state;
	struct shape shape = {512, 37};
	float *x = random_floats(HUGE_ROWS * (size_t)shape.n_in + 16 * (size_t)shape.n_in, 8);
	for (int row = 0; row < HUGE_ROWS; row++)
		for (int k = 0; k < shape.n_in; k++)
			x[row * shape.n_in + k] *= huge[row];
	check_activations(x, HUGE_ROWS, shape, COMPUTE_AUTO, check_huge_rows);
	check_activations(x, HUGE_ROWS, shape, COMPUTE_FINE, check_huge_rows);
	free(x);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_care),
	    cmocka_unit_test(test_quantised_weights_are_near),
	    cmocka_unit_test(test_broken_weights_show),
	    cmocka_unit_test(test_broken_activations_show),
	    cmocka_unit_test(test_huge_activations),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
