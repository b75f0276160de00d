/* base/json: what the grammar allows and nothing else; numbers exact, strings whole; what is written reads back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/json.h"

static struct json *parse_n(const char *text, size_t n_bytes)
{
	/* An exact-size copy, so that a sanitizer sees every read past the end. */
	char *copy = malloc(n_bytes ? n_bytes : 1);
	struct error error = {0};
	memcpy(copy, text, n_bytes);
	struct json *document = json_parse(copy, n_bytes, NULL, &error);
	assert_true(document || (error.code == ERROR_INVALID_REQUEST && error.message[0]));
	free(copy);
	return document;
}

static struct json *parse(const char *text)
{
	return parse_n(text, strlen(text));
}

static const char valid[] = "{\"a\": [1, -2.5e3, true, null, \"x\\u00e9\\ud83d\\ude42\\n\"], \"b\": {\"c\": {}}, "
                            "\"d\": [] , \"\": \"caf\xC3\xA9\"}";

static void every_prefix_is_refused(void **state)
{
	(void)state;
	for (size_t n = 0; n < sizeof valid - 1; n++)
		assert_null(parse_n(valid, n));
	struct json *document = parse_n(valid, sizeof valid - 1);
	assert_non_null(document);
	json_destroy(document);
}

static void changed_bytes_never_crash(void **state)
{
	(void)state;
	unsigned seed = 1;
	for (int i = 0; i < 20000; i++) {
		char text[sizeof valid];
		memcpy(text, valid, sizeof valid);
		for (int j = rand_r(&seed) % 3; j >= 0; j--)
			text[(size_t)rand_r(&seed) % (sizeof valid - 1)] = (char)rand_r(&seed);
		json_destroy(parse_n(text, sizeof valid - 1));
	}
}

static void what_is_not_json_is_refused(void **state)
{
	(void)state;
	static const char *const bad[] = {"",
	                                  " ",
	                                  "{",
	                                  "[1,]",
	                                  "{\"a\":1,}",
	                                  "{a:1}",
	                                  "{'a':1}",
	                                  "[1 2]",
	                                  "01",
	                                  "1.",
	                                  ".5",
	                                  "+1",
	                                  "1e",
	                                  "--1",
	                                  "NaN",
	                                  "Infinity",
	                                  "-Infinity",
	                                  "True",
	                                  "nul",
	                                  "\"a",
	                                  "\"\\x\"",
	                                  "\"\\u12g4\"",
	                                  "\"\\ud800\"",
	                                  "\"\\ud800\\u0041\"",
	                                  "\"\\udc00\"",
	                                  "\"\x01\"",
	                                  "\"\t\"",
	                                  "\"\xC3\"",
	                                  "\"\xC0\x80\"",
	                                  "\"\xED\xA0\x80\"",
	                                  "\"\xF5\x80\x80\x80\"",
	                                  "\"\xFF\"",
	                                  "\xEF\xBB\xBF{}",
	                                  "{} {}",
	                                  "{}x",
	                                  "[1]]",
	                                  "{\"a\":1,\"a\":2}",
	                                  "{\"a\":{\"b\":1,\"b\":1}}",
	                                  "{\"a\" 1}",
	                                  "{\"a\":}",
	                                  "[,1]",
	                                  "{1:2}",
	                                  "/* */ 1",
	                                  "1 // x"};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		if (parse(bad[i]))
			fail_msg("accepted: %s", bad[i]);
	assert_null(parse_n("1\0", 2));
	struct json *fine = parse("[{\"a\":1},{\"a\":1},{\"A\":1,\"a\":2}]");
	assert_non_null(fine);
	json_destroy(fine);
}

static void errors_name_the_place(void **state)
{
	(void)state;
	struct error error;
	assert_null(json_parse("{\n  \"k\": tru\n}", 14, NULL, &error));
	assert_non_null(strstr(error.message, "line 2 column 8"));
	assert_null(json_parse("{\"key\":1,\"key\":2}", 17, NULL, &error));
	assert_non_null(strstr(error.message, "duplicate key \"key\""));
}

static void nesting_is_bounded(void **state)
{
	(void)state;
	for (int depth = 62; depth <= 66; depth++) {
		char text[200];
		memset(text, '[', (size_t)depth);
		memset(text + depth, ']', (size_t)depth);
		struct json *document = parse_n(text, 2 * (size_t)depth);
		assert_int_equal(document != NULL, depth <= 64);
		json_destroy(document);
	}
	size_t n = 1000000;
	char *deep = malloc(n);
	memset(deep, '[', n);
	assert_null(parse_n(deep, n));
	free(deep);
	struct json_limits limits = {.max_values = 3};
	struct error error;
	assert_null(json_parse("[1,2,3]", 7, &limits, &error));
	struct json *fits = json_parse("[1,2]", 5, &limits, &error);
	assert_non_null(fits);
	json_destroy(fits);
}

static void numbers_are_exact(void **state)
{
	(void)state;
	struct json *document = parse("[18446744073709551615, 9223372036854775807, -9223372036854775808, 9007199254740993, "
	                              "1e3, 5.0, 1.5, 1e400, -0, 18446744073709551616, -1, true, \"1\"]");
	assert_non_null(document);
	const struct json *v[13], *at = json_first(document);
	for (int i = 0; i < 13; i++, at = json_next(at))
		v[i] = at;
	uint64_t u = 0;
	int64_t n = 0;
	double d = 0;
	assert_true(json_uint64(v[0], &u) && u == UINT64_MAX);
	assert_false(json_int64(v[0], &n));
	assert_true(json_int64(v[1], &n) && n == INT64_MAX);
	assert_true(json_int64(v[2], &n) && n == INT64_MIN);
	assert_true(json_int64(v[3], &n) && n == 9007199254740993);
	assert_true(json_int64(v[4], &n) && n == 1000);
	assert_true(json_int64(v[5], &n) && n == 5);
	assert_false(json_int64(v[6], &n));
	assert_true(json_double(v[6], &d) && d == 1.5);
	assert_false(json_double(v[7], &d));
	assert_false(json_int64(v[7], &n));
	assert_true(json_uint64(v[8], &u) && u == 0);
	assert_false(json_uint64(v[9], &u));
	assert_false(json_uint64(v[10], &u));
	assert_false(json_int64(v[11], &n));
	assert_false(json_double(v[12], &d));
	assert_string_equal(json_number_text(v[4]), "1e3");
	assert_null(json_number_text(v[12]));
	json_destroy(document);
}

static void strings_keep_nul_and_unicode(void **state)
{
	(void)state;
	size_t n;
	struct json *document =
	    parse("{\"a\\u0000b\": \"x\\u0000\\u0000y\", \"e\": \"\\u00e9\\ud83d\\ude42\", \"m\": \"#$\"}");
	assert_non_null(document);
	const struct json *first = json_first(document);
	assert_memory_equal(json_key(first, &n), "a\0b", 4);
	assert_int_equal(n, 3);
	assert_memory_equal(json_string(first, &n), "x\0\0y", 5);
	assert_int_equal(n, 4);
	assert_string_equal(json_string(json_get(document, "e"), NULL), "\xC3\xA9\xF0\x9F\x99\x82");
	assert_string_equal(json_string(json_get(document, "m"), NULL), "#$");
	assert_null(json_get(document, "a"));
	assert_null(json_get(document, "E"));
	assert_null(json_get(first, "x"));
	json_destroy(document);
}

static void duplicates_can_be_allowed(void **state)
{
	(void)state;
	struct json_limits limits = {.allow_duplicates = true};
	struct error error;
	int64_t n = 0;
	struct json *document = json_parse("{\"a\":1,\"a\":2}", 13, &limits, &error);
	assert_true(json_int64(json_get(document, "a"), &n) && n == 2);
	json_destroy(document);
}

static void a_million_keys_are_quick(void **state)
{
	(void)state;
	struct bytes text = {0};
	json_open(&text);
	for (int i = 0; i < 300000; i++) {
		char key[16];
		snprintf(key, sizeof key, "k%d", i);
		json_field_int(&text, key, i);
	}
	json_close(&text);
	struct json *document = parse_n(text.data, text.n_bytes);
	assert_int_equal(json_count(document), 300000);
	json_destroy(document);
	bytes_free(&text);
}

static void what_is_written_reads_back(void **state)
{
	(void)state;
	struct bytes out = {0};
	const char text[] = "q\" b\\ \x01 \n \0 \xC3\xA9 \xFF end";
	const double numbers[] = {0, -0.0, 1.5, 0.1, 1e300, 5e-324, 123456789.123456789};
	size_t n;
	json_open(&out);
	json_field_string(&out, "s", text, sizeof text - 1);
	json_field_uint(&out, "u", UINT64_MAX);
	json_field_bool(&out, "b", true);
	json_field_text(&out, "null", NULL);
	json_field_key(&out, "d");
	bytes_append_text(&out, "[");
	for (int i = 0; i < 7; i++) {
		if (i)
			bytes_append_text(&out, ",");
		json_write_double(&out, numbers[i]);
	}
	bytes_append_text(&out, "]");
	json_close(&out);
	struct json *document = parse_n(out.data, out.n_bytes);
	assert_non_null(document);
	assert_memory_equal(json_string(json_get(document, "s"), &n), "q\" b\\ \x01 \n \0 \xC3\xA9 \xEF\xBF\xBD end", 22);
	assert_int_equal(n, 22);
	uint64_t u;
	assert_true(json_uint64(json_get(document, "u"), &u) && u == UINT64_MAX);
	int i = 0;
	for (const struct json *v = json_first(json_get(document, "d")); v; v = json_next(v), i++) {
		double d;
		assert_true(json_double(v, &d) && d == numbers[i]);
	}
	assert_int_equal(i, 7);
	json_destroy(document);
	bytes_free(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_prefix_is_refused),      cmocka_unit_test(changed_bytes_never_crash),
	    cmocka_unit_test(what_is_not_json_is_refused),  cmocka_unit_test(errors_name_the_place),
	    cmocka_unit_test(nesting_is_bounded),           cmocka_unit_test(numbers_are_exact),
	    cmocka_unit_test(strings_keep_nul_and_unicode), cmocka_unit_test(duplicates_can_be_allowed),
	    cmocka_unit_test(a_million_keys_are_quick),     cmocka_unit_test(what_is_written_reads_back),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
