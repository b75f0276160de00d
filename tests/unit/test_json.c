/* base/json: what the grammar allows and nothing else; numbers exact, strings whole; what is written reads back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <locale.h>
#include <sys/stat.h>
#include <unistd.h>

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
	for (int i = 0; i < 10000; i++) {
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
	assert_null(parse("{\"a\":1,\"\\u0061\":2}")); /* the same key, written in two ways */
	assert_null(parse("{\"\":1,\"\":2}"));
	assert_null(parse("\"\\ud83d\\ud83d\""));
	assert_null(parse("\"\xF0\x80\x80\x80\""));
	assert_null(parse("\"\xF4\x90\x80\x80\""));
	assert_null(parse("\"\x80\""));
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
	assert_null(json_parse("\xEF\xBB\xBF{}", 5, NULL, &error));
	assert_non_null(strstr(error.message, "byte order mark"));
	/* A value may be a prompt: it is never quoted. */
	assert_null(json_parse("{\"prompt\":\"secret\" x", 20, NULL, &error));
	assert_null(strstr(error.message, "secret"));
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
	/* Asking for more than the stack is safe for does not help. */
	struct json_limits deepest = {.max_depth = 1000000};
	struct error too_deep;
	char many[1200];
	memset(many, '[', 600);
	memset(many + 600, ']', 600);
	assert_null(json_parse(many, 1200, &deepest, &too_deep));
	assert_non_null(strstr(too_deep.message, "nested too deeply"));
	struct json *deep_enough = json_parse(many + 100, 1000, &deepest, &too_deep);
	assert_non_null(deep_enough);
	json_destroy(deep_enough);
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

/* A double would round these; the integer is what the digits say. */
static void integers_in_any_form_are_exact(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		bool fits;
		uint64_t value;
	} cases[] = {
	    {"9007199254740993.0", true, 9007199254740993u},
	    {"1.8446744073709551615e19", true, UINT64_MAX},
	    {"1.8446744073709551616e19", false, 0},
	    {"18446744073709551615000e-3", true, UINT64_MAX},
	    {"0.99999999999999999999999", false, 0},
	    {"1.00000000000000000000001", false, 0},
	    {"1e-400", false, 0},
	    {"0e99999999999999999999", true, 0},
	    {"0.000e-99999999999999999999", true, 0},
	    {"1e99999999999999999999", false, 0},
	    {"1e-99999999999999999999", false, 0},
	    {"1e19", true, 10000000000000000000u},
	    {"1e20", false, 0},
	    {"120e-1", true, 12},
	    {"125e-1", false, 0},
	    {"0.00012E+5", true, 12},
	    {"-0.0", true, 0},
	    {"-1e0", false, 0},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct json *document = parse(cases[i].text);
		uint64_t value = 77;
		assert_non_null(document);
		if (json_uint64(document, &value) != cases[i].fits || value != (cases[i].fits ? cases[i].value : 77))
			fail_msg("%s read as %llu", cases[i].text, (unsigned long long)value);
		json_destroy(document);
	}
}

static void absent_values_have_no_type(void **state)
{
	(void)state;
	bool b = true;
	int64_t n = 5;
	uint64_t u = 5;
	double d = 5;
	assert_false(json_bool(NULL, &b) || json_int64(NULL, &n) || json_uint64(NULL, &u) || json_double(NULL, &d));
	assert_true(b && n == 5 && u == 5 && d == 5);
	assert_null(json_string(NULL, NULL));
	assert_null(json_number_text(NULL));
	assert_null(json_get(NULL, "a"));
	assert_null(json_first(NULL));
	assert_int_equal(json_count(NULL), 0);
}

static void files_are_bounded_and_named(void **state)
{
	(void)state;
	char path[] = "/tmp/tallow-json-XXXXXX";
	struct error error;
	int fd = mkstemp(path);
	assert_true(fd >= 0);
	assert_null(json_parse_file(path, 100, NULL, &error)); /* empty */
	assert_int_equal(write(fd, "{\"a\":[1]}", 9), 9);
	struct json *document = json_parse_file(path, 9, NULL, &error);
	assert_int_equal(json_count(json_get(document, "a")), 1);
	json_destroy(document);
	assert_null(json_parse_file(path, 8, NULL, &error));
	assert_int_equal(error.code, ERROR_MODEL);
	assert_non_null(strstr(error.message, "9 bytes, at most 8"));
	assert_int_equal(write(fd, "}", 1), 1);
	assert_null(json_parse_file(path, 100, NULL, &error));
	assert_int_equal(error.code, ERROR_MODEL);
	assert_true(strstr(error.message, path) && strstr(error.message, "line 1 column 10"));
	close(fd);
	unlink(path);
	assert_null(json_parse_file(path, 100, NULL, &error));
	assert_non_null(strstr(error.message, path));
	assert_null(json_parse_file("/tmp", 100, NULL, &error));
	assert_non_null(strstr(error.message, "not a regular file"));
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_null(json_parse_file(path, 100, NULL, &error)); /* without waiting for a writer */
	unlink(path);
}

/* Where the machine has a locale with a decimal comma; elsewhere this shows nothing new. */
static void numbers_do_not_depend_on_the_locale(void **state)
{
	(void)state;
	static const char *const names[] = {"de_DE.UTF-8", "fr_FR.UTF-8", "ps_AF.UTF-8", "C"};
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		if (!setlocale(LC_ALL, names[i]))
			continue;
		struct bytes out = {0};
		double number = 0;
		struct json *document = parse("2.5e1");
		assert_true(json_double(document, &number) && number == 25);
		json_destroy(document);
		json_write_double(&out, -0.0125);
		json_write_double(&out, 1.5e-300);
		json_write_double(&out, 1e22);
		assert_string_equal(out.data, "-0.01251.5e-3001e+22");
		bytes_free(&out);
	}
	setlocale(LC_ALL, "C");
}

static void a_value_is_written_as_it_was_read(void **state)
{
	(void)state;
	static const char *const texts[] = {
	    "{\"a\":[1,2.50,-1e3,18446744073709551615,{}],\"b\":{\"c\":null,\"d\":[true,false]},\"e\\u0000\":\"x\\\"\\n\"}",
	    "[]", "\"\"", "0.1000000000000000055511151231257827021181583404541015625"};
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
		struct bytes out = {0};
		struct json *document = parse(texts[i]);
		json_write_value(&out, document);
		assert_string_equal(out.data, texts[i]);
		json_destroy(document);
		bytes_free(&out);
	}
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

static void many_keys_take_linear_time(void **state)
{
	(void)state;
	struct bytes text = {0};
	json_open(&text);
	for (int i = 0; i < 100000; i++) {
		char key[16];
		snprintf(key, sizeof key, "k%d", i);
		json_field_int(&text, key, i);
	}
	json_close(&text);
	struct json *document = parse_n(text.data, text.n_bytes);
	assert_int_equal(json_count(document), 100000);
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
	    cmocka_unit_test(every_prefix_is_refused),
	    cmocka_unit_test(changed_bytes_never_crash),
	    cmocka_unit_test(what_is_not_json_is_refused),
	    cmocka_unit_test(errors_name_the_place),
	    cmocka_unit_test(nesting_is_bounded),
	    cmocka_unit_test(numbers_are_exact),
	    cmocka_unit_test(strings_keep_nul_and_unicode),
	    cmocka_unit_test(a_value_is_written_as_it_was_read),
	    cmocka_unit_test(duplicates_can_be_allowed),
	    cmocka_unit_test(many_keys_take_linear_time),
	    cmocka_unit_test(integers_in_any_form_are_exact),
	    cmocka_unit_test(absent_values_have_no_type),
	    cmocka_unit_test(files_are_bounded_and_named),
	    cmocka_unit_test(numbers_do_not_depend_on_the_locale),
	    cmocka_unit_test(what_is_written_reads_back),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
