/* Regular expressions of tokenizer.json: what is translated how (matching is in the goldens), what is refused, and that
 * no expression and no text makes matching hang. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "text/regex.h"
#include "tokenizer_check.h"

static void check_translation(const char *pattern, const char *expected)
{
	struct bytes out = {0};
	struct error error = {0};
	if (!regex_translate(pattern, strlen(pattern), &out, &error))
		fail_msg("%s: %s", pattern, error.message);
	assert_string_equal(out.data, expected);
	bytes_free(&out);
}

static void what_means_the_same_stays(void **state)
{
	(void)state;
	static const char *const same[] = {
	    "",
	    "a|b",
	    " ?\\p{L}+",
	    "\\p{N}{1,3}",
	    "(?i:'s|'t)",
	    "(?=a)(?!b)(?<=c)(?<!d)(?>e)(?:f)",
	    "[^a-z\\-\\]]*?",
	    "x++y?+z*+",
	    "\\n\\r\\t\\.\\[",
	    "^$.",
	    "\xE4\xB8\x80",
	    "[\xE4\xB8\x80-\xE9\xBE\xA5]",
	};
	for (size_t i = 0; i < sizeof same / sizeof *same; i++)
		check_translation(same[i], same[i]);
}

static void what_differs_is_translated(void **state)
{
	(void)state;
	check_translation("(a)", "(?:a)");
	check_translation("(?<name>a)", "(?:a)");
	check_translation("a(?#comment)b", "ab");
	check_translation("(?m:.)", "(?s:.)");
	check_translation("\\d\\D", "\\p{Nd}\\P{Nd}");
	check_translation("[\\d\\D]", "[\\p{Nd}\\P{Nd}]");
	check_translation("\\h", "[0-9A-Fa-f]");
	check_translation("\\v", "\\x{b}");
	check_translation("\\x41\\x{1F600}\\u00e9", "\\x{41}\\x{1f600}\\x{e9}");
	check_translation("\\p{Han}\\P{Han}\\p{^Han}", "\\p{sc:han}\\P{sc:han}\\P{sc:han}");
	check_translation("\\p{Uppercase_Letter}", "\\p{Lu}");
	check_translation("[[:digit:]_]", "[\\p{Nd}_]");
	check_translation("(?i:\\p{Lu}[^\\p{L}\\p{N}](?-i:[\\p{Lu}\\p{L}]))",
	                  "(?i:\\p{Lu}[^\\p{L}\\x{345}\\p{N}](?-i:[\\p{Lu}\\p{L}]))");
	check_translation("(?i:a(?-i:ss)b)ss", "(?i:a(?-i:ss)b)ss");
	check_translation("(?i:[^\xC3\x9F][-\xC3\xA9]'s|'ll)", "(?i:[^\xC3\x9F][-\xC3\xA9]'s|'ll)");
	check_translation("\\p{Punct}[\\p{Punct}][[:punct:]]", "\\p{P}[\\p{P}][\\p{P}\\p{S}]");
	check_translation("a{,3}", "a{0,3}");
	check_translation("a{2}+", "(?:a{2})+");
	check_translation("(ab){1,2}+c", "(?:(?:ab){1,2})+c");
	check_translation("[ab]**", "(?:[ab]*)*");
	check_translation("a{", "a\\{");
	check_translation("{1", "\\{1");
	check_translation("\\\xC3\xA9", "\xC3\xA9");
	check_translation("[]a]", "[\\]a]");
}

static void what_has_no_equal_is_refused(void **state)
{
	(void)state;
	static const char *const refused[] = {
	    "(a)\\1",
	    "\\k<a>",
	    "\\K",
	    "\\G",
	    "\\X",
	    "\\R",
	    "(?~a)",
	    "a(?i)b",
	    "(?x:a)",
	    "(?s)a",
	    "(?P<a>b)",
	    "(*FAIL)",
	    "[[ab]c]",
	    "[a&&b]",
	    "[\\W]",
	    "[\\H]",
	    "[^[:foo:]]",
	    "\\p{InBasicLatin}",
	    "\\p",
	    "\\p{",
	    "\\p{}",
	    "\\x{110000}",
	    "\\x{D800}",
	    "\\xff",
	    "\\u12",
	    "\\x{41",
	    "\\",
	    "[",
	    "[a",
	    "(",
	    "(?",
	    "(?:",
	    "(?<a",
	    "(?#",
	    ")",
	    "a)",
	    "*",
	    "|*",
	    "a{2}?",
	    "(?=a",
	    "\xFF",
	    "a************",
	    "a|{2}",
	    "[[:^alpha:]]",
	    "(?i)[\\p{Lu}]",
	    "(?i)[^[:lower:]]",
	    "(?i)[\\P{L}]",
	    "(?i)\\p{ASCII}",
	    "(?i)ss",
	    "(?i:a(?:b)[ab]xfi)",
	    "(?i:\xC3\x9F)",
	    "(?i)[\\x{80}-\xC3\xBF]",
	    "(?i)S(?#)\\x{53}",
	    "(?i:(?-i:a)s\xC5\xBFt|st)",
	};
	for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
		struct error error = {0};
		struct regex *regex = regex_compile(refused[i], strlen(refused[i]), &error);
		if (regex)
			fail_msg("%s was taken", refused[i]);
		assert_int_equal(error.code, ERROR_MODEL);
		assert_non_null(strstr(error.message, "regular expression"));
	}
}

/* Whatever it is made of: it compiles or is refused. */
static void any_pattern_compiles_or_is_refused(void **state)
{
	(void)state;
	static const char *const parts[] = {"(", ")",  "[", "]",   "{",     "}",   "?",        "*",         "+",
	                                    "|", "\\", "^", "$",   ".",     "-",   ":",        "i",         "<",
	                                    "=", "!",  "p", "{L}", "{2,3}", "a",   "\xC3\xA9", "[:alpha:]", "&&",
	                                    ",", "1",  "s", "(?",  "\\x",   "\\p", "\\u",      "#"};
	unsigned seed = 3;
	for (int i = 0; i < 8000; i++) {
		char pattern[160] = "";
		for (int n = rand_r(&seed) % 12; n >= 0; n--)
			strcat(pattern, parts[(size_t)rand_r(&seed) % (sizeof parts / sizeof *parts)]);
		struct error error = {0};
		struct regex *regex = regex_compile(pattern, strlen(pattern), &error);
		assert_true(regex || error.message[0]);
		if (regex) {
			struct regex_scratch *scratch = regex_scratch_create(NULL, &error);
			assert_non_null(scratch);
			struct regex_matches matches = regex_matches(regex, scratch, "ai\xC3\xA9 1s<", 9);
			bool found = true;
			size_t start, end, last = 0;
			while (found && regex_next(&matches, &found, &start, &end, &error))
				if (found) {
					assert_true(start >= last && start <= end && end <= 9);
					last = end;
				}
			regex_scratch_destroy(scratch);
		}
		regex_destroy(regex);
	}
	char *deep = malloc(200001);
	memset(deep, '(', 100000);
	memset(deep + 100000, ')', 100000);
	struct error error = {0};
	assert_null(regex_compile(deep, 200000, &error));
	assert_null(regex_compile(deep, 1000, &error));
	free(deep);
}

/* Splits text by the pattern; true when that ended without an error. */
static bool splits(const char *pattern, const char *unit, size_t n_units, const char *tail)
{
	struct bytes text = {0}, json = {0};
	struct error error = {0};
	struct token_ids ids = {0};
	for (size_t i = 0; i < n_units; i++)
		bytes_append_text(&text, unit);
	bytes_append_text(&text, tail);
	bytes_append_text(&json, "{\"pre_tokenizer\": {\"type\": \"Split\", \"pattern\": {\"Regex\": ");
	json_write_string(&json, pattern, strlen(pattern));
	bytes_append_text(&json, "}, \"behavior\": \"Isolated\", \"invert\": false}, "
	                         "\"model\": {\"type\": \"BPE\", \"merges\": [], \"vocab\": {\"a\": 0, \" \": 1}}}");
	struct tokenizer *tokenizer = tokenizer_of(json.data, json.n_bytes, &error);
	if (!tokenizer)
		fail_msg("%s", error.message);
	bool ok = tokenizer_encode(tokenizer, text.data, text.n_bytes, PLAIN, &ids, &error);
	if (!ok) {
		assert_int_equal(error.code, ERROR_INVALID_REQUEST);
		assert_non_null(strstr(error.message, "regular expression"));
	}
	token_ids_free(&ids);
	tokenizer_destroy(tokenizer);
	bytes_free(&text);
	bytes_free(&json);
	return ok;
}

static void catastrophic_expressions_end_in_an_error(void **state)
{
	(void)state;
	assert_false(splits("(a+)+$", "a", 40, "!"));
	assert_false(splits("(a|aa)+$", "a", 60, "!"));
	assert_false(splits("(?:a?){30}a{30}\\z", "a", 30, "!"));
}

static void honest_expressions_match_long_texts(void **state)
{
	(void)state;
	assert_true(splits("\\s+(?!\\S)|\\s+", " ", 300000, "a"));
	assert_true(splits("\\s*[\\r\\n]+|\\s+", " ", 300000, "a"));
	assert_true(splits("\\p{N}{1,3}+|.", "1", 300000, "a"));
	assert_true(splits("(?:\\p{L}{1,3})+", "a", 300000, " "));
	assert_true(splits("\\w+|\\W+", "a ", 100000, ""));
	assert_true(splits("zzz", "a", 300000, ""));
}

/* Wherever the room for a translation ends, its pattern is read no further than it is long: ASan watches. */
static void what_has_no_room_is_no_translation(void **state)
{
	(void)state;
	static const char text[] = "[\\w]\\d(?:a{2}+)\\x41\\d";
	size_t n = sizeof text - 1;
	char *pattern = malloc(n);
	bool translated = false;
	assert_non_null(pattern);
	memcpy(pattern, text, n);
	for (size_t room = 1; !translated; room++) {
		struct bytes out = {.max_bytes = room};
		struct error error = {0};
		translated = regex_translate(pattern, n, &out, &error);
		if (!translated)
			assert_int_equal(error.code, ERROR_MEMORY);
		bytes_free(&out);
	}
	free(pattern);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_means_the_same_stays),
	    cmocka_unit_test(what_differs_is_translated),
	    cmocka_unit_test(what_has_no_equal_is_refused),
	    cmocka_unit_test(any_pattern_compiles_or_is_refused),
	    cmocka_unit_test(what_has_no_room_is_no_translation),
	    cmocka_unit_test(catastrophic_expressions_end_in_an_error),
	    cmocka_unit_test(honest_expressions_match_long_texts),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
