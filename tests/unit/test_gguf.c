/* tensor/gguf: what a GGUF file says is believed only as far as it holds; every way of lying is refused with the file's
 * name and that of the key or tensor. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "folder_fixture.h"
#include "gguf_files.h"

/* ---- one file in memory ---- */

/* Reads everything a file offers; a sanitizer sees what lies outside. */
static void use_everything(const struct gguf_file *gguf, const unsigned char *data, size_t n_bytes)
{
	for (size_t i = 0; i < gguf_value_count(gguf); i++) {
		const struct gguf_value *value = gguf_value_at(gguf, i);
		const unsigned char *cursor = value->data;
		assert_true(value->n_key > 0 && value->type < GGUF_TYPE_COUNT && value->type != GGUF_ARRAY);
		for (size_t j = 0; j < value->n_items; j++) {
			size_t length = 0;
			if (value->type == GGUF_STRING) {
				const char *text = gguf_next_string(value, &cursor, &length);
				assert_true(length == 0 || (const unsigned char *)text + length <= data + n_bytes);
			} else if (value->type == GGUF_F32 || value->type == GGUF_F64) {
				(void)gguf_item_f64(value, j);
			} else {
				(void)gguf_item_i64(value, j);
			}
		}
	}
	for (size_t i = 0; i < gguf_tensor_count(gguf); i++) {
		const struct gguf_tensor *tensor = gguf_tensor_at(gguf, i);
		const unsigned char *at = tensor->data;
		assert_true(at >= data && at + tensor->n_bytes <= data + n_bytes);
		assert_ptr_equal(gguf_tensor_find(gguf, tensor->name), tensor);
	}
}

/* Reads an exact-size copy, so that a sanitizer sees every read past the end. */
static bool read_copy(const void *data, size_t n_bytes, struct error *error)
{
	unsigned char *copy = malloc(n_bytes ? n_bytes : 1);
	assert_non_null(copy);
	if (n_bytes)
		memcpy(copy, data, n_bytes);
	*error = (struct error){0};
	struct gguf_file *gguf = gguf_open_memory("some.gguf", copy, n_bytes, error);
	if (gguf) {
		use_everything(gguf, copy, n_bytes);
	} else {
		assert_int_equal(error->code, ERROR_MODEL);
		assert_non_null(strstr(error->message, "some.gguf"));
	}
	gguf_close(gguf);
	free(copy);
	return gguf != NULL;
}

/* Refused, and the message says this; frees the file. */
static void check_refused(struct bytes *file, const char *says)
{
	struct error error;
	assert_false(file->failed);
	if (read_copy(file->data, file->n_bytes, &error))
		fail_msg("was not refused: %s", says);
	if (!strstr(error.message, says))
		fail_msg("says: %s\n  not: %s", error.message, says);
	bytes_free(file);
}

static void check_accepted(struct bytes *file)
{
	struct error error;
	assert_false(file->failed);
	if (!read_copy(file->data, file->n_bytes, &error))
		fail_msg("%s", error.message);
	bytes_free(file);
}

/* A value of every type, arrays of most, tensors of several types; the data of the last one ends the file. Version 3;
 * version 2 differs by its number alone. */
static struct bytes valid_file(void)
{
	struct bytes out = {0};
	static const unsigned char numbers[8] = {1, 2, 3, 4, 5, 6, 7, 0x80};
	static const uint32_t sizes[GGUF_TYPE_COUNT] = {1, 1, 2, 2, 4, 4, 4, 0, 0, 0, 8, 8, 8};
	put_header(&out, 4, 17);
	for (uint32_t type = 0; type < GGUF_TYPE_COUNT; type++) {
		if (!sizes[type])
			continue;
		char key[8];
		snprintf(key, sizeof key, "t.%u", type);
		put_key(&out, key, type);
		bytes_append(&out, numbers, sizes[type]);
	}
	put_key_bool(&out, "a.bool", 1);
	put_key_string(&out, "a.string", "hello");
	put_key_string(&out, "general.architecture", "llama");
	put_key_u32(&out, "general.alignment", 16);
	put_key_array(&out, "array.u16", GGUF_U16, 3);
	bytes_append(&out, numbers, 6);
	put_key_array(&out, "array.string", GGUF_STRING, 3);
	put_string(&out, "one");
	put_string(&out, "");
	put_string(&out, "three");
	put_key_array(&out, "array.none", GGUF_F32, 0);
	put_string(&out, "b.matrix");
	put_u32(&out, 2);
	put_u64(&out, 64); /* innermost */
	put_u64(&out, 2);
	put_u32(&out, 8); /* Q8_0 */
	put_u64(&out, 16);
	put_tensor(&out, "a.vector", 3, 0, 0);
	put_string(&out, "scalar");
	put_u32(&out, 0);
	put_u32(&out, 1);
	put_u64(&out, 160);
	put_tensor(&out, "unusable", 256, 40, 176); /* NVFP4 */
	bytes_append(&out, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", (16 - out.n_bytes % 16) % 16);
	for (int i = 0; i < 176 + 144; i++)
		bytes_append(&out, &(char){(char)i}, 1);
	return out;
}

static void check_what_comes_out(uint32_t version)
{
	struct error error = {0};
	struct bytes file = valid_file();
	memcpy(file.data + 4, &version, sizeof version);
	struct gguf_file *gguf = gguf_open_memory("some.gguf", file.data, file.n_bytes, &error);
	if (!gguf)
		fail_msg("%s", error.message);
	uint64_t number = 7;
	double real = 0.5;
	bool flag = false;
	const char *text = NULL;
	size_t n_bytes = 0;
	const struct gguf_value *array;
	assert_string_equal(gguf_path(gguf), "some.gguf");
	assert_int_equal(gguf_bytes(gguf), file.n_bytes);
	assert_true(gguf_u64(gguf, "absent", &number, &error) && number == 7);
	assert_true(gguf_u64(gguf, "t.0", &number, &error) && number == 1);
	assert_true(gguf_u64(gguf, "t.1", &number, &error) && number == 1);
	assert_true(gguf_u64(gguf, "t.2", &number, &error) && number == 0x201);
	assert_true(gguf_u64(gguf, "t.4", &number, &error) && number == 0x4030201);
	assert_true(gguf_u64(gguf, "t.5", &number, &error) && number == 0x4030201);
	assert_true(gguf_u64(gguf, "t.10", &number, &error) && number == UINT64_C(0x8007060504030201));
	assert_false(gguf_u64(gguf, "t.11", &number, &error));
	assert_non_null(strstr(error.message, "some.gguf: t.11 is -9221"));
	assert_false(gguf_u64(gguf, "t.6", &number, &error));
	assert_string_equal(error.message, "some.gguf: t.6 is of type f32, expected an integer");
	assert_false(gguf_u64(gguf, "array.u16", &number, &error));
	assert_false(gguf_u64(gguf, "a.string", &number, &error));
	assert_false(gguf_u64(gguf, "a.bool", &number, &error));
	assert_true(gguf_f64(gguf, "t.6", &real, &error) && real == (double)0x1.060402p-119f);
	assert_true(gguf_f64(gguf, "t.2", &real, &error) && real == 513);
	assert_true(gguf_f64(gguf, "t.10", &real, &error) && real > 9e18);
	assert_false(gguf_f64(gguf, "a.bool", &real, &error));
	assert_true(gguf_bool(gguf, "a.bool", &flag, &error) && flag);
	assert_false(gguf_bool(gguf, "t.0", &flag, &error));
	assert_true(gguf_string(gguf, "a.string", &text, &n_bytes, &error) && n_bytes == 5 && !memcmp(text, "hello", 5));
	assert_false(gguf_string(gguf, "array.string", &text, &n_bytes, &error));
	assert_string_equal(error.message, "some.gguf: array.string is of type array of string, expected string");
	assert_true(gguf_array(gguf, "absent", GGUF_F32, &array, &error) && !array);
	assert_true(gguf_array(gguf, "array.u16", GGUF_U16, &array, &error) && array->n_items == 3);
	assert_int_equal(gguf_item_i64(array, 2), 0x605);
	assert_false(gguf_array(gguf, "array.u16", GGUF_I32, &array, &error));
	assert_false(gguf_array(gguf, "t.2", GGUF_U16, &array, &error));
	assert_true(gguf_array(gguf, "array.none", GGUF_F32, &array, &error) && array->n_items == 0);

	assert_int_equal(gguf_tensor_count(gguf), 4);
	const struct gguf_tensor *matrix = gguf_tensor_find(gguf, "b.matrix");
	assert_ptr_equal(matrix, gguf_tensor_at(gguf, 1));
	assert_true(matrix->n_dims == 2 && matrix->dims[0] == 2 && matrix->dims[1] == 64);
	assert_int_equal(matrix->n_bytes, 2 * 2 * 34);
	assert_int_equal(*(const unsigned char *)matrix->data, 16);
	assert_int_equal(gguf_tensor_find(gguf, "scalar")->n_bytes, 2);
	assert_null(gguf_tensor_find(gguf, "b"));
	assert_null(gguf_tensor_at(gguf, 4));
	assert_true(matrix->type->supported && matrix->type->type == DTYPE_Q8_0);
	assert_false(gguf_tensor_find(gguf, "unusable")->type->supported);
	gguf_close(gguf);
	bytes_free(&file);
}

static void what_is_in_a_file_comes_out(void **state)
{
	(void)state;
	check_what_comes_out(2);
	check_what_comes_out(3);
}

static void every_prefix_is_refused(void **state)
{
	(void)state;
	struct error error;
	struct bytes file = valid_file();
	for (size_t n = 0; n < file.n_bytes; n++)
		assert_false(read_copy(file.data, n, &error));
	assert_true(read_copy(file.data, file.n_bytes, &error));
	bytes_append(&file, "padding", 7);
	assert_true(read_copy(file.data, file.n_bytes, &error));
	bytes_free(&file);
}

static void changed_bytes_never_crash(void **state)
{
	(void)state;
	static const unsigned char favourites[] = {0, 1, 2, 8, 9, 12, 13, 0x7F, 0x80, 0xFF};
	struct error error;
	unsigned seed = 7;
	int n_refused = 0;
	struct bytes file = valid_file();
	for (int i = 0; i < 20000; i++) {
		char *copy = malloc(file.n_bytes);
		memcpy(copy, file.data, file.n_bytes);
		for (int j = rand_r(&seed) % 4; j >= 0; j--)
			copy[(size_t)rand_r(&seed) % (file.n_bytes - 240)] =
			    (char)favourites[(size_t)rand_r(&seed) % sizeof favourites];
		n_refused += !read_copy(copy, file.n_bytes, &error);
		free(copy);
	}
	bytes_free(&file);
	assert_true(n_refused > 5000 && n_refused < 20000);
}

/* ---- the header ---- */

/* While the file is loaded somebody overwrites it: lengths that were checked are others when strings are read. */
static void strings_stay_within_what_was_checked(void **state)
{
	(void)state;
	static const uint64_t lengths[] = {0, 2, 9, 100, UINT64_MAX, UINT64_MAX - 7};
	for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
		struct error error = {0};
		struct bytes file = {0};
		put_header(&file, 0, 2);
		put_key_string(&file, "a.string", "hello");
		size_t scalar = file.n_bytes - 5 - sizeof *lengths;
		put_key_array(&file, "array.string", GGUF_STRING, 3);
		size_t array = file.n_bytes;
		put_string(&file, "one");
		put_string(&file, "");
		put_string(&file, "three");
		struct gguf_file *gguf = gguf_open_memory("x.gguf", file.data, file.n_bytes, &error);
		assert_non_null(gguf);
		memcpy(file.data + scalar, &lengths[i], sizeof *lengths);
		memcpy(file.data + array, &lengths[i], sizeof *lengths);
		use_everything(gguf, (const unsigned char *)file.data, file.n_bytes);
		const char *text;
		size_t n_bytes;
		assert_true(gguf_string(gguf, "a.string", &text, &n_bytes, &error));
		assert_int_equal(n_bytes, lengths[i] < 5 ? lengths[i] : 5);
		gguf_close(gguf);
		bytes_free(&file);
	}
}

static void headers_that_lie_are_refused(void **state)
{
	(void)state;
	static const struct {
		uint32_t version;
		uint64_t n_tensors, n_values;
		const char *says;
	} cases[] = {
	    {0, 0, 0, "GGUF version 0 is not supported, expected 2 or 3"},
	    {1, 0, 0, "GGUF version 1 is not supported"},
	    {4, 0, 0, "GGUF version 4 is not supported"},
	    {UINT32_MAX, 0, 0, "GGUF version 4294967295"},
	    {3u << 24, 0, 0, "is big endian"},
	    {2u << 24, 0, 0, "is big endian"},
	    {3, 1, 0, "1 tensors are not possible in 0 bytes"},
	    {3, UINT32_C(1) << 31, 0, "2147483648 tensors are not possible"},
	    {3, INT64_MAX, 0, "9223372036854775807 tensors are not possible"},
	    {3, UINT64_MAX, 0, "18446744073709551615 tensors are not possible"},
	    {3, UINT64_MAX / 8 + 1, 0, "tensors are not possible"},
	    {3, 0, 1, "1 metadata keys are not possible in 0 bytes"},
	    {3, 0, UINT32_C(1) << 31, "2147483648 metadata keys are not possible"},
	    {3, 0, INT64_MAX, "9223372036854775807 metadata keys are not possible"},
	    {3, 0, UINT64_MAX, "18446744073709551615 metadata keys are not possible"},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct bytes file = {0};
		put_header(&file, cases[i].n_tensors, cases[i].n_values);
		memcpy(file.data + 4, &cases[i].version, 4);
		check_refused(&file, cases[i].says);
	}
	struct bytes file = {0};
	bytes_append_text(&file, "GGML");
	check_refused(&file, "does not begin with GGUF");
	for (uint32_t version = 2; version <= 3; version++) {
		put_header(&file, 0, 0); /* no keys, no tensors: nothing wrong with that */
		memcpy(file.data + 4, &version, 4);
		check_accepted(&file);
	}
}

/* ---- metadata ---- */

static void keys_that_lie_are_refused(void **state)
{
	(void)state;
	static const uint64_t lengths[] = {0, 65536, UINT64_C(1) << 31, INT64_MAX, UINT64_MAX - 7, UINT64_MAX};
	for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
		struct bytes file = {0};
		put_header(&file, 0, 1);
		put_u64(&file, lengths[i]);
		bytes_append_text(&file, "some.key plus more");
		check_refused(&file, "metadata key 0 has a name of");
	}
	struct bytes file = {0};
	put_header(&file, 0, 1);
	put_u64(&file, 100);
	bytes_append_text(&file, "shorter than that");
	check_refused(&file, "ends within metadata key: 100 bytes expected at offset 32, 17 are left");
	put_header(&file, 0, 1);
	put_u64(&file, 3);
	bytes_append(&file, "a\0b\0\0\0\0\0\0\0\0", 11);
	check_refused(&file, "the name of metadata key 0 holds a NUL");
	put_header(&file, 0, 1);
	put_key_bool(&file, "a\xC3", 0);
	check_refused(&file, "not valid UTF-8");
	put_header(&file, 0, 3);
	put_key_bool(&file, "b", 0);
	put_key_u32(&file, "a", 1);
	put_key_u32(&file, "b", 2);
	check_refused(&file, "b: the key is there twice");
}

static void values_that_lie_are_refused(void **state)
{
	(void)state;
	static const uint32_t types[] = {13, 14, 255, 256, UINT32_C(1) << 31, UINT32_MAX};
	struct bytes file = {0};
	for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
		put_header(&file, 0, 1);
		put_key(&file, "some.key", types[i]);
		put_data(&file, 64);
		check_refused(&file, "some.key: value type");
		put_header(&file, 0, 1);
		put_key_array(&file, "some.key", types[i], 1);
		put_data(&file, 64);
		check_refused(&file, "some.key: value type");
	}
	put_header(&file, 0, 1);
	put_key_array(&file, "some.key", GGUF_ARRAY, 1);
	put_data(&file, 64);
	check_refused(&file, "some.key: arrays of arrays are not supported");
	static const uint64_t counts[] = {1000, UINT64_C(1) << 61, UINT64_C(1) << 62, UINT64_C(1) << 63, UINT64_MAX};
	for (uint32_t type = 0; type < GGUF_TYPE_COUNT; type++)
		for (size_t i = 0; type != GGUF_ARRAY && i < sizeof counts / sizeof *counts; i++) {
			put_header(&file, 0, 1);
			put_key_array(&file, "some.key", type, counts[i]);
			put_data(&file, 64);
			check_refused(&file, "are more than the");
		}
	put_header(&file, 0, 1);
	put_key_bool(&file, "some.key", 2);
	check_refused(&file, "some.key: a bool is 2, expected 0 or 1");
	put_header(&file, 0, 1);
	put_key_array(&file, "some.key", GGUF_BOOL, 3);
	bytes_append(&file, "\0\1\3", 3);
	check_refused(&file, "some.key: a bool is 3");
	for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
		put_header(&file, 0, 1);
		put_key(&file, "some.key", GGUF_STRING);
		put_u64(&file, counts[i]);
		put_data(&file, 64);
		check_refused(&file, "some.key: a string reaches beyond the end");
		put_header(&file, 0, 1);
		put_key_array(&file, "some.key", GGUF_STRING, 3);
		put_string(&file, "fine");
		put_u64(&file, counts[i]);
		put_data(&file, 64);
		check_refused(&file, "some.key: a string reaches beyond the end");
	}
}

static void alignment_is_checked(void **state)
{
	(void)state;
	struct bytes file = {0};
	static const uint32_t wrong[] = {0, 1, 3, 4, 12, 33, UINT32_MAX};
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
		put_header(&file, 1, 1);
		put_key_u32(&file, "general.alignment", wrong[i]);
		put_tensor(&file, "t", 4, 0, 0);
		put_data(&file, 64);
		check_refused(&file, "expected a power of two from 8 on");
	}
	for (uint32_t alignment = 8; alignment <= 4096; alignment *= 2) {
		put_header(&file, 2, 1);
		put_key_u32(&file, "general.alignment", alignment);
		put_tensor(&file, "a", 2, 0, 0);
		put_tensor(&file, "b", 2, 0, alignment);
		put_zeros(&file, (alignment - file.n_bytes % alignment) % alignment + alignment + 8);
		check_accepted(&file);
	}
	put_header(&file, 1, 1);
	put_key_u32(&file, "general.alignment", UINT32_C(1) << 31);
	put_tensor(&file, "t", 4, 0, 0);
	put_data(&file, 64);
	check_refused(&file, "the data should begin at offset 2147483648, the file has");
	put_header(&file, 0, 1);
	put_key_string(&file, "general.alignment", "32");
	check_refused(&file, "general.alignment is of type string, expected u32");
	put_header(&file, 0, 1);
	put_key(&file, "general.alignment", GGUF_I32);
	put_u32(&file, 32);
	check_refused(&file, "general.alignment is of type i32, expected u32");
	put_header(&file, 0, 1);
	put_key_array(&file, "general.alignment", GGUF_U32, 1);
	put_u32(&file, 32);
	check_refused(&file, "general.alignment is of type array of u32, expected u32");
}

/* ---- tensors ---- */

/* One tensor, described by its fields, in front of 256 bytes of data. */
static struct bytes tensor_file(const char *name, uint32_t n_dims, const uint64_t *dims, uint32_t type, uint64_t offset)
{
	struct bytes file = {0};
	put_header(&file, 1, 0);
	put_string(&file, name);
	put_u32(&file, n_dims);
	bytes_append(&file, dims, (n_dims < 8 ? n_dims : 8) * sizeof *dims);
	put_u32(&file, type);
	put_u64(&file, offset);
	put_data(&file, 256);
	return file;
}

static void tensors_that_lie_are_refused(void **state)
{
	(void)state;
	static const struct {
		uint32_t n_dims;
		uint64_t dims[4];
		uint32_t type;
		uint64_t offset;
		const char *says;
	} cases[] = {
	    {5, {1, 1, 1, 1}, 0, 0, "tensor t: has 5 dimensions, at most 4"},
	    {UINT32_MAX, {1, 1, 1, 1}, 0, 0, "tensor t: has 4294967295 dimensions"},
	    {1, {0}, 0, 0, "tensor t: a dimension is 0, expected 1 or more"},
	    {2, {4, 0}, 8, 0, "tensor t: a dimension is 0"},
	    {2, {0, 4}, 12, 0, "tensor t: a dimension is 0"},
	    {1, {UINT64_MAX}, 0, 0, "tensor t: a dimension is -1"},
	    {2, {UINT64_C(1) << 32, UINT64_C(1) << 32}, 0, 0, "tensor t: its dimensions make more bytes"},
	    {1, {UINT64_C(1) << 62}, 0, 0, "tensor t: its dimensions make more bytes"},
	    {4, {UINT64_C(1) << 20, UINT64_C(1) << 20, UINT64_C(1) << 20, 16}, 0, 0, "make more bytes"},
	    {1, {INT64_MAX}, 24, 0, "9223372036854775807 bytes at offset 0 are not within the 256 bytes"},
	    {1, {(UINT64_C(1) << 42) + 1}, 0, 0, "tensor t: 17592186044420 bytes at offset 0"},
	    {1, {33}, 8, 0, "tensor t: its rows of 33 values are no whole number of Q8_0 blocks of 32"},
	    {2, {128, 2}, 12, 0, "tensor t: its rows of 128 values are no whole number of Q4_K blocks of 256"},
	    {0, {0}, 2, 0, "tensor t: its rows of 1 values are no whole number of Q4_0 blocks"},
	    {1, {4}, 4, 0, "tensor t: type Q4_2 was taken out of the format"},
	    {1, {4}, 5, 0, "tensor t: type Q4_3 was taken out"},
	    {1, {4}, 31, 0, "tensor t: type Q4_0_4_4 was taken out"},
	    {1, {4}, 38, 0, "tensor t: type IQ4_NL_8_8 was taken out"},
	    {1, {4}, 42, 0, "tensor t: type 42 is unknown, expected F32, F16"},
	    {1, {4}, UINT32_MAX, 0, "tensor t: type 4294967295 is unknown"},
	    {1, {4}, 0, 4, "tensor t: offset 4 is no multiple of the alignment 32"},
	    {1, {4}, 0, 256, "tensor t: 16 bytes at offset 256 are not within the 256 bytes"},
	    {1, {4}, 0, 1024, "not within the 256 bytes"},
	    {1, {16}, 0, 224, "tensor t: 64 bytes at offset 224 are not within"},
	    {1, {4}, 0, UINT64_C(0xFFFFFFFFFFFFFFE0), "at offset 18446744073709551584 are not within"},
	    {1, {64}, 0, UINT64_C(0xFFFFFFFFFFFFFF00), "are not within"},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct bytes file = tensor_file("t", cases[i].n_dims, cases[i].dims, cases[i].type, cases[i].offset);
		check_refused(&file, cases[i].says);
	}
	static const uint64_t dims[] = {4, 4, 2, 2};
	for (uint32_t n_dims = 0; n_dims <= 4; n_dims++) {
		struct bytes file = tensor_file("t", n_dims, dims, 0, 0);
		check_accepted(&file);
	}
}

static void names_of_tensors_are_checked(void **state)
{
	(void)state;
	static const uint64_t four = 4;
	char name[80];
	memset(name, 'n', sizeof name);
	name[64] = '\0';
	struct bytes file = tensor_file(name, 1, &four, 0, 0);
	check_accepted(&file);
	name[64] = 'n';
	name[65] = '\0';
	file = tensor_file(name, 1, &four, 0, 0);
	check_refused(&file, "tensor 0 has a name of 65 bytes, expected 1 to 64");
	file = tensor_file("", 1, &four, 0, 0);
	check_refused(&file, "tensor 0 has a name of 0 bytes");
	file = tensor_file("a\xFF", 1, &four, 0, 0);
	check_refused(&file, "not valid UTF-8");
	put_header(&file, 3, 0);
	put_tensor(&file, "same", 4, 0, 0);
	put_tensor(&file, "other", 4, 0, 32);
	put_tensor(&file, "same", 4, 0, 64);
	put_data(&file, 96);
	check_refused(&file, "tensor same is there twice");
}

static void tensors_may_not_share_bytes(void **state)
{
	(void)state;
	struct bytes file = {0};
	put_header(&file, 2, 0);
	put_tensor(&file, "a", 4, 0, 64);
	put_tensor(&file, "b", 17, 0, 0); /* 68 bytes */
	put_data(&file, 96);
	check_refused(&file, "tensors b and a overlap");
	put_header(&file, 2, 0);
	put_tensor(&file, "a", 4, 0, 0);
	put_tensor(&file, "b", 4, 0, 0);
	put_data(&file, 96);
	check_refused(&file, "overlap");
	put_header(&file, 2, 0); /* a gap is nobody's harm */
	put_tensor(&file, "a", 4, 0, 64);
	put_tensor(&file, "b", 8, 0, 0);
	put_data(&file, 96);
	check_accepted(&file);
}

/* ---- files ---- */

static void what_is_no_file_is_refused(void **state)
{
	(void)state;
	struct error error = {0};
	struct bytes file = valid_file();
	const char *path = folder_file(&folder, "model.gguf");
	assert_null(gguf_open(path, &error));
	assert_non_null(strstr(error.message, "No such file"));
	assert_null(gguf_open(folder.path, &error));
	assert_non_null(strstr(error.message, "not a regular file"));
	const char *fifo = folder_file(&folder, "fifo.gguf"), *link = folder_file(&folder, "link.gguf");
	assert_int_equal(mkfifo(fifo, 0600), 0);
	assert_null(gguf_open(fifo, &error)); /* without waiting for a writer */
	assert_non_null(strstr(error.message, "not a regular file"));
	assert_int_equal(symlink(link, link), 0);
	assert_null(gguf_open(link, &error));
	assert_non_null(strstr(error.message, "symbolic links"));
	assert_int_equal(unlink(link), 0);
	file_write(path, "", 0);
	assert_null(gguf_open(path, &error));
	file_write(path, file.data, file.n_bytes);
	assert_int_equal(symlink(path, link), 0);
	struct gguf_file *gguf = gguf_open(link, &error);
	assert_non_null(gguf);
	assert_int_equal(gguf_file_count(gguf), 1);
	gguf_close(gguf);
	assert_int_equal(chmod(path, 0), 0);
	gguf = gguf_open(path, &error);
	assert_true(geteuid() == 0 ? gguf != NULL : gguf == NULL && strstr(error.message, "Permission denied") != NULL);
	gguf_close(gguf);
	bytes_free(&file);
}

struct shard {
	uint16_t number, count;
	const char *architecture, *tensor;
};

static void write_shard(const char *name, const struct shard *shard, int64_t n_tensors)
{
	struct bytes file = {0};
	put_header(&file, 1, (uint64_t)(2 + (n_tensors >= 0) + (shard->architecture != NULL)));
	put_key_u16(&file, "split.no", shard->number);
	put_key_u16(&file, "split.count", shard->count);
	if (n_tensors >= 0)
		put_key_u32(&file, "split.tensors.count", (uint32_t)n_tensors);
	if (shard->architecture)
		put_key_string(&file, "general.architecture", shard->architecture);
	put_tensor(&file, shard->tensor, 8, 0, 0);
	put_data(&file, 32);
	file_write(folder_file(&folder, name), file.data, file.n_bytes);
	bytes_free(&file);
}

/* A set of three, whose second file is `second`. */
static void write_set(const struct shard *second, int64_t n_tensors)
{
	write_shard("m-00001-of-00003.gguf", &(struct shard){0, 3, "llama", "a"}, n_tensors);
	write_shard("m-00002-of-00003.gguf", second, n_tensors);
	write_shard("m-00003-of-00003.gguf", &(struct shard){2, 3, NULL, "c"}, n_tensors);
}

static void check_set_refused(const char *name, const char *says)
{
	struct error error = {0};
	assert_null(gguf_open(folder_file(&folder, name), &error));
	assert_int_equal(error.code, ERROR_MODEL);
	if (!strstr(error.message, says))
		fail_msg("says: %s\n  not: %s", error.message, says);
}

static void split_sets_are_read_whole(void **state)
{
	(void)state;
	struct error error = {0};
	write_set(&(struct shard){1, 3, NULL, "b"}, 3);
	struct gguf_file *gguf = gguf_open(folder_file(&folder, "m-00001-of-00003.gguf"), &error);
	if (!gguf)
		fail_msg("%s", error.message);
	assert_int_equal(gguf_file_count(gguf), 3);
	assert_int_equal(gguf_tensor_count(gguf), 3);
	assert_non_null(strstr(gguf_tensor_find(gguf, "b")->file, "/m-00002-of-00003.gguf"));
	assert_non_null(gguf_find(gguf, "general.architecture"));
	gguf_close(gguf);
	/* split.tensors.count may be left out */
	write_set(&(struct shard){1, 3, "llama", "b"}, -1);
	gguf = gguf_open(folder_file(&folder, "m-00001-of-00003.gguf"), &error);
	assert_non_null(gguf);
	gguf_close(gguf);
}

static void broken_sets_are_refused(void **state)
{
	(void)state;
	const char *first = "m-00001-of-00003.gguf";
	const struct shard good = {1, 3, NULL, "b"};
	write_set(&good, 3);
	check_set_refused("m-00002-of-00003.gguf", "is file 2 of a set of 3, expected the first (-00001-of-00003.gguf)");
	write_set(&(struct shard){2, 3, NULL, "b"}, 3);
	check_set_refused(first, "m-00002-of-00003.gguf: split.no 2 of split.count 3, expected 1 of 3");
	write_set(&(struct shard){1, 4, NULL, "b"}, 3);
	check_set_refused(first, "split.no 1 of split.count 4, expected 1 of 3");
	write_set(&(struct shard){1, 3, "qwen2", "b"}, 3);
	check_set_refused(first, "m-00002-of-00003.gguf: belongs to another model");
	write_set(&(struct shard){1, 3, NULL, "c"}, 3);
	check_set_refused(first, "tensor c is there twice");
	write_set(&good, 4);
	check_set_refused(first, "split.tensors.count is 4, the set has 3 tensors");
	write_set(&good, 3);
	assert_int_equal(unlink(folder_file(&folder, "m-00003-of-00003.gguf")), 0);
	check_set_refused(first, "m-00003-of-00003.gguf: No such file");
	assert_int_equal(mkdir(folder_file(&folder, "m-00003-of-00003.gguf"), 0700), 0);
	check_set_refused(first, "m-00003-of-00003.gguf: not a regular file");
	assert_int_equal(remove(folder_file(&folder, "m-00003-of-00003.gguf")), 0);
	assert_int_equal(mkfifo(folder_file(&folder, "m-00003-of-00003.gguf"), 0600), 0);
	check_set_refused(first, "m-00003-of-00003.gguf: not a regular file"); /* without waiting for a writer */
	assert_int_equal(symlink("loop.gguf", folder_file(&folder, "loop.gguf")), 0);
	assert_int_equal(remove(folder_file(&folder, "m-00003-of-00003.gguf")), 0);
	assert_int_equal(symlink("loop.gguf", folder_file(&folder, "m-00003-of-00003.gguf")), 0);
	check_set_refused(first, "m-00003-of-00003.gguf: Too many levels of symbolic links");
	write_shard("renamed.gguf", &(struct shard){0, 3, "llama", "a"}, 3);
	check_set_refused("renamed.gguf", "split.count is 3, but the name does not end in -00001-of-00003.gguf");
	write_shard("m-00001-of-65535.gguf", &(struct shard){0, 65535, "llama", "a"}, 3);
	check_set_refused("m-00001-of-65535.gguf", "split.count is 65535, at most 4096");
	write_shard("one.gguf", &(struct shard){3, 1, "llama", "a"}, 1);
	check_set_refused("one.gguf", "split.no is 3, but there is no set");
	struct bytes file = {0};
	put_header(&file, 0, 1);
	put_key_string(&file, "split.count", "3");
	check_refused(&file, "split.count is of type string, expected an integer");
	put_header(&file, 0, 1);
	put_key_u16(&file, "split.count", 3);
	check_refused(&file, "a split set cannot be read from memory");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_is_in_a_file_comes_out),
	    cmocka_unit_test(every_prefix_is_refused),
	    cmocka_unit_test(changed_bytes_never_crash),
	    cmocka_unit_test(strings_stay_within_what_was_checked),
	    cmocka_unit_test(headers_that_lie_are_refused),
	    cmocka_unit_test(keys_that_lie_are_refused),
	    cmocka_unit_test(values_that_lie_are_refused),
	    cmocka_unit_test(alignment_is_checked),
	    cmocka_unit_test(tensors_that_lie_are_refused),
	    cmocka_unit_test(names_of_tensors_are_checked),
	    cmocka_unit_test(tensors_may_not_share_bytes),
	    cmocka_unit_test_teardown(what_is_no_file_is_refused, clear_folder),
	    cmocka_unit_test_teardown(split_sets_are_read_whole, clear_folder),
	    cmocka_unit_test_teardown(broken_sets_are_refused, clear_folder),
	};
	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
