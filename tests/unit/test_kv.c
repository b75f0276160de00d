/* KV pages: counts, sharing, layout. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "model/kv.h"

static const struct kv_shape shape = {
    .type = DTYPE_F16, .n_layers = 3, .n_kv_heads = 2, .head_dim = 10, .page_tokens = 32};

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

static void sizes_past_what_can_be_counted_are_refused(void **state)
{
	(void)state;
	struct kv_shape huge = {
	    .type = DTYPE_F32, .n_layers = 1 << 30, .n_kv_heads = 1 << 30, .head_dim = 1 << 30, .page_tokens = 128};
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

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(pages_are_taken_once_and_come_back),
	    cmocka_unit_test(layers_lie_side_by_side_in_a_page),
	    cmocka_unit_test(sizes_past_what_can_be_counted_are_refused),
	    cmocka_unit_test(pages_do_not_overlap),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
