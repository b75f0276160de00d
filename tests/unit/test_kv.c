/* KV pages: counts, sharing, layout. */
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "model/kv.h"
#include "model_run.h"

static const struct kv_shape shape = {
    .k_type = DTYPE_F16, .v_type = DTYPE_F16, .n_layers = 3, .n_kv_heads = 2, .head_dim = 10, .page_tokens = 32};

static void pages_are_taken_once_and_come_back(void **state)
{
	(void)state;
	struct error error;
	struct kv_pool *pool = kv_pool_create(&shape, 4, &error);
	assert_non_null(pool);
	int32_t pages[4];
	for (int i = 0; i < 4; i++) {
		pages[i] = kv_page_take(pool);
		assert_in_range(pages[i], 0, 3);
		for (int j = 0; j < i; j++)
			assert_int_not_equal(pages[i], pages[j]);
	}
	assert_int_equal(kv_page_take(pool), -1);
	kv_page_share(pool, pages[1]);
	kv_page_release(pool, pages[1]);
	assert_int_equal(kv_pool_free(pool), 0);
	assert_int_equal(kv_page_references(pool, pages[1]), 1);
	kv_page_release(pool, pages[1]);
	assert_int_equal(kv_pool_free(pool), 1);
	assert_int_equal(kv_page_take(pool), pages[1]);
	for (int i = 0; i < 4; i++)
		kv_page_release(pool, pages[i]);
	assert_int_equal(kv_pool_free(pool), 4);
	kv_pool_destroy(pool);
}

static void layers_lie_side_by_side_in_a_page(void **state)
{
	(void)state;
	size_t page_bytes, half = 0;
	assert_true(kv_page_bytes(&shape, &page_bytes));
	assert_int_equal(page_bytes % 4096, 0);
	half = 2 * 32 * 10 * 2; /* heads x tokens x dim x bytes: a multiple of 64 already */
	assert_int_equal(kv_k_offset(&shape, 0), 0);
	assert_int_equal(kv_v_offset(&shape, 0), half);
	assert_int_equal(kv_k_offset(&shape, 2), 4 * half);
	assert_true(kv_v_offset(&shape, 2) + half <= page_bytes);
}

/* Keys in another type than values: each half has its own size. */
static void keys_and_values_may_be_of_two_types(void **state)
{
	(void)state;
	const struct kv_shape mixed = {
	    .k_type = DTYPE_F16, .v_type = DTYPE_Q8, .n_layers = 5, .n_kv_heads = 2, .head_dim = 64, .page_tokens = 32};
	const size_t keys = 2 * 32 * 64 * 2, values = 2 * 32 * 2 * sizeof(uint16_t) + 2 * 32 * 64;
	size_t page_bytes;
	assert_true(kv_page_bytes(&mixed, &page_bytes));
	assert_int_equal(kv_k_offset(&mixed, 3), 3 * (keys + values));
	assert_int_equal(kv_v_offset(&mixed, 3), 3 * (keys + values) + keys);
	assert_in_range(page_bytes, 5 * (keys + values), 5 * (keys + values) + 4095);
}

static void sizes_past_what_can_be_counted_are_refused(void **state)
{
	(void)state;
	struct kv_shape huge = {.k_type = DTYPE_F32,
	                        .v_type = DTYPE_F32,
	                        .n_layers = 1 << 30,
	                        .n_kv_heads = 1 << 30,
	                        .head_dim = 1 << 30,
	                        .page_tokens = 128};
	size_t n;
	struct error error;
	assert_false(kv_page_bytes(&huge, &n));
	assert_null(kv_pool_create(&huge, 1, &error));
	assert_int_equal(error.code, ERROR_MEMORY);
}

static void pages_do_not_overlap(void **state)
{
	(void)state;
	struct error error;
	size_t page_bytes;
	assert_true(kv_page_bytes(&shape, &page_bytes));
	struct kv_pool *pool = kv_pool_create(&shape, 3, &error);
	assert_non_null(pool);
	for (int i = 0; i < 3; i++)
		memset(kv_page_data(pool, kv_page_take(pool)), i + 1, page_bytes);
	for (int32_t page = 0; page < 3; page++) {
		const unsigned char *data = kv_page_data(pool, page);
		for (size_t i = 0; i < page_bytes; i++)
			assert_int_equal(data[i], data[0]);
	}
	kv_pool_destroy(pool);
}

/* ---- values beyond a type's range ---- */

static void finite_values_stay_finite(void **state)
{
	(void)state;
	static const struct {
		enum dtype type;
		float most;
	} cases[] = {{DTYPE_F16, 65504.0f}, {DTYPE_BF16, 0x1.FEp127f}, {DTYPE_Q8, 127 * 65504.0f}, {DTYPE_F32, FLT_MAX}};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		float most = cases[i].most;
		const float row[] = {0, -1.5f, most, nextafterf(most, 0), nextafterf(most, INFINITY), -FLT_MAX, -INFINITY, NAN};
		float kept[8];
		memcpy(kept, row, sizeof kept);
		kv_saturate(cases[i].type, kept, 8);
		assert_memory_equal(kept, row, 4 * sizeof *row);
		assert_true(kept[4] == (cases[i].type == DTYPE_F32 ? row[4] : most));
		assert_true(kept[5] == -most && kept[6] == -INFINITY && isnan(kept[7]));
	}
	assert_true(isfinite(f16_to_f32(f32_to_f16(65504.0f))) && isinf(f16_to_f32(f32_to_f16(65520.0f))));
	assert_true(isfinite(bf16_to_f32(f32_to_bf16(0x1.FEp127f))));
}

static float largest_difference(const float *logits, const float *expected, int n)
{
	float most = 0;
	for (int i = 0; i < n; i++) {
		assert_true(isfinite(logits[i]));
		most = fmaxf(most, fabsf(logits[i] - expected[i]));
	}
	return most;
}

/* tests/found/keys-above-f16: bf16 weights of ours whose biases push keys beyond 65504. f32's logits begin as
 * transformers' do. Each type of cache stays within 5e-3 of their range, in prefill and decode. */
static void keys_beyond_f16_are_no_nan(void **state)
{
	(void)state;
	enum { VOCAB = 128, N = 3 };
	static const char path[] = "tests/found/keys-above-f16";
	static const int32_t tokens[N] = {1, 5, 9};
	float exact[N * VOCAB], logits[N * VOCAB];
	struct run run;
	run_open_as(&run, path, ISA_AUTO, (struct variant){COMPUTE_F32, DTYPE_F32}, DTYPE_F32, 1);
	all_logits(&run, tokens, N, N, N, exact);
	model_close(run.model);
	assert_true(fabsf(exact[2 * VOCAB] - 0.1402f) < 1e-4f && fabsf(exact[2 * VOCAB + 1] + 4.158f) < 1e-3f);
	float low = exact[0], high = exact[0];
	for (int i = 0; i < N * VOCAB; i++) {
		low = fminf(low, exact[i]);
		high = fmaxf(high, exact[i]);
	}
	static const enum dtype types[] = {DTYPE_F16, DTYPE_BF16, DTYPE_F32};
	for (int i = 0; i < N_SETS * 3 * 2; i++) {
		if (!is_supported(sets[i / 6]))
			continue;
		run_open_as(&run, path, sets[i / 6], (struct variant){COMPUTE_AUTO, AS_IN_FILE}, types[i % 3], 1);
		all_logits(&run, tokens, N, N, i / 3 % 2 ? N : 1, logits);
		model_close(run.model);
		float difference = largest_difference(logits, exact, N * VOCAB);
		if (difference > 5e-3f * (high - low))
			fail_msg("%s, %s: %g of a range of %g", set_names[i / 6], dtype_info(types[i % 3])->name,
			         (double)difference, (double)(high - low));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(pages_are_taken_once_and_come_back),
	    cmocka_unit_test(layers_lie_side_by_side_in_a_page),
	    cmocka_unit_test(keys_and_values_may_be_of_two_types),
	    cmocka_unit_test(sizes_past_what_can_be_counted_are_refused),
	    cmocka_unit_test(pages_do_not_overlap),
	    cmocka_unit_test(finite_values_stay_finite),
	    cmocka_unit_test(keys_beyond_f16_are_no_nan),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
