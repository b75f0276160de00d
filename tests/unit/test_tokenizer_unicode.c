/* Classes of all characters against Hugging Face's tokenizers (tests/tokenizers/unicode.json, made by
 * tests/goldens/make_unicode.py), and what their normal forms do not know. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/utf8.h"
#include "text/normalizer.h"
#include "text/regex.h"
#include "text/unicode.h"
#include "tokenizer_check.h"

enum { N_CODES = 0x110000 };

static bool is_character(uint32_t code)
{
	return code < 0xD800 || code > 0xDFFF;
}

/* All characters but those of no text, and the places where they begin. */
static void all_characters(struct bytes *text, uint32_t *code_at)
{
	assert_true(bytes_reserve(text, 4 * N_CODES));
	for (uint32_t code = 0; code < N_CODES; code++)
		if (is_character(code)) {
			code_at[text->n_bytes] = code;
			text->n_bytes += (size_t)utf8_encode(code, text->data + text->n_bytes);
		}
}

static void expected_members(const struct json *ranges, uint8_t *members)
{
	memset(members, 0, N_CODES);
	int64_t at = 0, gap, length;
	for (const struct json *value = json_first(ranges); value; value = json_next(json_next(value))) {
		assert_true(json_int64(value, &gap) && json_int64(json_next(value), &length));
		assert_true(at + gap + length <= N_CODES);
		memset(members + at + gap, 1, (size_t)length);
		at += gap + length;
	}
}

static void compare(const char *name, const uint8_t *members, const uint8_t *expected)
{
	for (uint32_t code = 0; code < N_CODES; code++)
		if (is_character(code) && members[code] != expected[code])
			fail_msg("%s: U+%04X is %s", name, code, expected[code] ? "left out" : "taken in");
}

static void members_of_expression(const char *pattern, const struct bytes *text, const uint32_t *code_at,
                                  uint8_t *members)
{
	struct error error = {0};
	struct regex *regex = regex_compile(pattern, strlen(pattern), &error);
	if (!regex)
		fail_msg("%s: %s", pattern, error.message);
	struct regex_scratch *scratch = regex_scratch_create(NULL, &error);
	assert_non_null(scratch);
	memset(members, 0, N_CODES);
	struct regex_matches matches = regex_matches(regex, scratch, text->data, text->n_bytes);
	for (bool found = true; found;) {
		size_t start, end;
		assert_true(regex_next(&matches, &found, &start, &end, &error));
		if (found)
			members[code_at[start]] = 1;
	}
	regex_scratch_destroy(scratch);
	regex_destroy(regex);
}

static void members_of_stage(const char *name, uint8_t *members)
{
	bool (*is_member)(uint32_t) = !strcmp(name, "Digits")        ? unicode_is_number
	                              : !strcmp(name, "Punctuation") ? unicode_is_punctuation
	                              : !strcmp(name, "Whitespace")  ? unicode_is_word
	                                                             : unicode_is_mark;
	for (uint32_t code = 0; code < N_CODES; code++)
		members[code] = is_member(code);
}

static void classes_have_the_members_of_the_reference(void **state)
{
	(void)state;
	struct json *document = golden_file("tests/tokenizers/unicode.json");
	struct bytes text = {0};
	uint32_t *code_at = calloc(4 * (size_t)N_CODES, sizeof *code_at);
	uint8_t *members = malloc(N_CODES), *expected = malloc(N_CODES);
	assert_true(code_at && members && expected);
	all_characters(&text, code_at);
	assert_true(json_count(json_get(document, "ranges")) > 20);
	for (const struct json *row = json_first(json_get(document, "ranges")); row; row = json_next(row)) {
		const char *name = json_key(row, NULL);
		expected_members(row, expected);
		if (name[0] == '\\' || name[0] == '[')
			members_of_expression(name, &text, code_at, members);
		else
			members_of_stage(name, members);
		compare(name, members, expected);
	}
	free(code_at);
	free(members);
	free(expected);
	bytes_free(&text);
	json_destroy(document);
}

static void check_form(enum normalizer_kind kind, const char *text, const char *expected)
{
	struct normalizer normalizer = {.steps = {{.kind = kind}}, .n_steps = 1};
	struct normalizer_scratch scratch = {0};
	struct text_run run = {.text = text, .n_bytes = strlen(text)};
	struct error error = {0};
	assert_true(normalizer_apply(&normalizer, &scratch, &run, &error));
	assert_int_equal(run.n_bytes, strlen(expected));
	assert_memory_equal(run.text, expected, run.n_bytes);
	normalizer_scratch_free(&scratch);
}

/* The reference's tables of normal forms are of Unicode 9. */
static void characters_after_unicode_9_are_left_alone(void **state)
{
	(void)state;
	check_form(NORMALIZER_NFC, "\u07F3\u07FD", "\u07F3\u07FD"); /* Unicode 11: the second goes first */
	check_form(NORMALIZER_NFC, "a\u0327\u0301", "\u00E1\u0327");
	check_form(NORMALIZER_NFC, "a\u0301\u0327", "\u00E1\u0327");
	check_form(NORMALIZER_NFC, "a\u0301\u07FD\u0327", "\u00E1\u07FD\u0327");
	check_form(NORMALIZER_NFC, "\U00011935\U00011930", "\U00011935\U00011930"); /* Unicode 13 composes them */
	check_form(NORMALIZER_NFD, "\U00011938", "\U00011938");
	check_form(NORMALIZER_NFKC, "\u32FF\u2460", "\u32FF1");
	check_form(NORMALIZER_LOWERCASE, "\u1C89\uA7CB\U00010D50\U00016EA0", "\u1C8A\u0264\U00010D70\U00016EBB");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(classes_have_the_members_of_the_reference),
	    cmocka_unit_test(characters_after_unicode_9_are_left_alone),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
