/* tensor/block: every block type against what the gguf package makes of the same bytes (tests/gguf/blocks.gguf, made by
 * tests/goldens/make_gguf.py), bit for bit: scales include zeros, subnormals, the largest, infinities and NaN. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "random_blocks.h"
#include "tensor/gguf.h"

/* NaN has many spellings and zero two. */
static bool same(float a, float b)
{
	return a == b || (a != a && b != b);
}

static void check_type(const struct gguf_file *golden, const struct gguf_tensor *blocks)
{
	char name[80];
	snprintf(name, sizeof name, "%s.f32", blocks->name);
	const struct gguf_tensor *values = gguf_tensor_find(golden, name);
	assert_non_null(values);
	assert_string_equal(blocks->type->name, blocks->name);
	size_t n = (size_t)values->dims[0], n_finite = 0;
	assert_int_equal(n, blocks->dims[0]);
	float *expected = malloc(n * sizeof *expected), *out = malloc(n * sizeof *out);
	/* Blocks may lie anywhere. */
	unsigned char *copy = malloc(blocks->n_bytes + 1);
	assert_true(expected && out && copy);
	memcpy(expected, values->data, n * sizeof *expected);
	memcpy(copy + 1, blocks->data, blocks->n_bytes);
	block_dequantise(blocks->type->type, copy + 1, out, n);
	for (size_t i = 0; i < n; i++) {
		if (!same(out[i], expected[i]))
			fail_msg("%s: value %zu is %a, expected %a", blocks->name, i, (double)out[i], (double)expected[i]);
		n_finite += expected[i] - expected[i] == 0;
	}
	assert_true(n_finite > n / 4);
	free(expected);
	free(out);
	free(copy);
}

enum { N_MANY = 512 };

/* As hash_of_many of make_gguf.py. */
static uint64_t hash_of_many(const struct block_type *type)
{
	size_t n_bytes = (size_t)type->n_bytes * N_MANY, n_values = (size_t)type->n_values * N_MANY;
	unsigned char *blocks = malloc(n_bytes);
	float *values = malloc(n_values * sizeof *values);
	assert_true(blocks && values);
	uint64_t state = type->ggml_id + 1, hash = 0xcbf29ce484222325;
	for (size_t i = 0; i < n_bytes; i++)
		blocks[i] = (unsigned char)random_byte(&state);
	block_dequantise(type->type, blocks, values, n_values);
	for (size_t i = 0; i < n_values; i++) {
		uint32_t bits = 0;
		if (values[i] != 0)
			memcpy(&bits, &values[i], sizeof bits);
		hash = (hash ^ (values[i] != values[i] ? 0x7fc00000 : bits)) * 0x100000001b3;
	}
	free(blocks);
	free(values);
	return hash;
}

/* Enough that every point of a grid comes. */
static void many_blocks_are_as_the_reference(void **state)
{
	(void)state;
	struct error error = {0};
	struct gguf_file *golden = gguf_open("tests/gguf/blocks.gguf", &error);
	if (!golden)
		fail_msg("%s", error.message);
	for (uint32_t id = 0; id < 64; id++) {
		const struct block_type *type = block_type_find(id);
		if (!type || !type->supported || type->n_values == 1)
			continue;
		char key[80];
		uint64_t expected;
		snprintf(key, sizeof key, "%s.many", type->name);
		if (!gguf_u64(golden, key, &expected, &error))
			fail_msg("%s", error.message);
		if (hash_of_many(type) != expected)
			fail_msg("%s: other values than the reference's", type->name);
	}
	gguf_close(golden);
}

static void every_type_is_as_the_reference(void **state)
{
	(void)state;
	struct error error = {0};
	struct gguf_file *golden = gguf_open("tests/gguf/blocks.gguf", &error);
	if (!golden)
		fail_msg("%s", error.message);
	int n_checked = 0;
	for (size_t i = 0; i < gguf_tensor_count(golden); i++) {
		const struct gguf_tensor *tensor = gguf_tensor_at(golden, i);
		assert_true(tensor->type->supported);
		if (strchr(tensor->name, '.'))
			continue;
		check_type(golden, tensor);
		n_checked++;
	}
	/* As many as there are types that can be computed with. */
	int n_types = 0;
	for (uint32_t id = 0; id < 64; id++) {
		const struct block_type *type = block_type_find(id);
		if (!type || !type->supported)
			continue;
		n_types++;
		assert_non_null(gguf_tensor_find(golden, type->name));
		assert_non_null(strstr(block_type_supported(), type->name));
	}
	assert_int_equal(n_checked, n_types);
	gguf_close(golden);
}

static void numbers_of_types_are_known_once(void **state)
{
	(void)state;
	for (uint32_t id = 0; id < 64; id++) {
		const struct block_type *type = block_type_find(id);
		if (type)
			assert_int_equal(type->ggml_id, id);
	}
	assert_null(block_type_find(42));
	assert_null(block_type_find(UINT32_MAX));
	assert_false(block_type_find(40)->supported); /* NVFP4: known, not supported */
	assert_int_equal(block_type_find(4)->n_bytes, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_type_is_as_the_reference),
	    cmocka_unit_test(many_blocks_are_as_the_reference),
	    cmocka_unit_test(numbers_of_types_are_known_once),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
