/* Stop strings: however the text is cut into pushes, the same comes out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "text/stop.h"

enum { MAX_STOPS = 4 };

static int matcher_with(struct stop_matcher *matcher, const char *const *stops)
{
	struct stop_string strings[MAX_STOPS];
	int n = 0;
	for (; n < MAX_STOPS && stops[n]; n++)
		strings[n] = (struct stop_string){stops[n], strlen(stops[n])};
	stop_init(matcher, strings, n);
	return n;
}

/* Pushes text in pieces of the sizes that the bits of `cuts` give; returns what was matched. */
static int run(const char *const *stops, const char *text, unsigned cuts, struct bytes *safe)
{
	struct stop_matcher matcher;
	matcher_with(&matcher, stops);
	size_t n = strlen(text), start = 0;
	bool hit = false;
	for (size_t i = 0; i < n && !hit; i++)
		if (i + 1 == n || cuts >> i & 1) {
			hit = stop_push(&matcher, text + start, i + 1 - start, safe);
			start = i + 1;
		}
	assert_int_equal(hit, matcher.matched >= 0);
	if (!hit)
		stop_finish(&matcher, safe);
	int matched = matcher.matched;
	stop_free(&matcher);
	return matched;
}

/* In every way to cut a text of up to 12 bytes. */
static void check(const char *const *stops, const char *text, const char *expected, int matched)
{
	assert_true(strlen(text) <= 12);
	for (unsigned cuts = 0; cuts < 1u << strlen(text); cuts++) {
		struct bytes safe = {0};
		assert_int_equal(run(stops, text, cuts, &safe), matched);
		assert_string_equal(safe.data ? safe.data : "", expected);
		bytes_free(&safe);
	}
}

static void the_text_before_a_stop_string_is_safe(void **state)
{
	(void)state;
	check((const char *const[]){"END", NULL}, "abcENDdef", "abc", 0);
	check((const char *const[]){"END", NULL}, "END", "", 0);
	check((const char *const[]){"END", NULL}, "abcEN", "abcEN", -1);
	check((const char *const[]){"END", NULL}, "EENENDx", "EEN", 0);
	check((const char *const[]){"aab", NULL}, "aaaaab", "aaa", 0);
	check((const char *const[]){"abab", NULL}, "abaabababab", "aba", 0);
	check((const char *const[]){"\n\n", NULL}, "a\nb\n\nc", "a\nb", 0);
	check((const char *const[]){"\xE2\x82\xAC", NULL}, "5 \xE2\x82\xAC!", "5 ", 0);
	check((const char *const[]){NULL}, "anything", "anything", -1);
}

static void the_first_to_be_complete_wins(void **state)
{
	(void)state;
	check((const char *const[]){"cd", "bcd", "abcdef", NULL}, "xabcdef", "xa", 1);
	check((const char *const[]){"bcd", "cd", NULL}, "abcd", "a", 0);
	check((const char *const[]){"abcd", "bc", NULL}, "abcd", "a", 1);
	check((const char *const[]){"\n\n", "\n", NULL}, "a\n\nb", "a", 1);
	check((const char *const[]){"x", "x", NULL}, "axb", "a", 0);
	check((const char *const[]){"abc", "cab", "bca", "zzz"}, "aabcab", "a", 0);
	check((const char *const[]){"", "b", NULL}, "abc", "a", 1);
}

static void only_what_may_begin_a_stop_string_is_held(void **state)
{
	(void)state;
	struct stop_matcher matcher;
	struct bytes safe = {0};
	matcher_with(&matcher, (const char *const[]){"stop", "\nUser:", NULL});
	assert_false(stop_push(&matcher, "Hello st", 8, &safe));
	assert_string_equal(safe.data, "Hello ");
	assert_int_equal(matcher.held.n_bytes, 2);
	assert_false(stop_push(&matcher, "", 0, &safe));
	assert_int_equal(matcher.held.n_bytes, 2);
	assert_false(stop_push(&matcher, "ay", 2, &safe));
	assert_string_equal(safe.data, "Hello stay");
	assert_int_equal(matcher.held.n_bytes, 0);
	assert_false(stop_push(&matcher, "\nUse", 4, &safe));
	assert_int_equal(matcher.held.n_bytes, 4);
	stop_finish(&matcher, &safe);
	assert_string_equal(safe.data, "Hello stay\nUse");
	stop_free(&matcher);
	bytes_free(&safe);
}

static void text_and_stop_strings_may_hold_nul(void **state)
{
	(void)state;
	struct stop_matcher matcher;
	struct bytes safe = {0};
	struct stop_string stop = {"b\0c", 3};
	stop_init(&matcher, &stop, 1);
	assert_false(stop_push(&matcher, "a\0b\0", 4, &safe));
	assert_int_equal(safe.n_bytes, 2);
	assert_true(stop_push(&matcher, "cd", 2, &safe));
	assert_int_equal(safe.n_bytes, 2);
	assert_memory_equal(safe.data, "a", 2);
	stop_free(&matcher);
	bytes_free(&safe);
}

static void a_control_token_is_hit_by_its_spelling(void **state)
{
	(void)state;
	struct stop_matcher matcher;
	struct bytes safe = {0};
	matcher_with(&matcher, (const char *const[]){"ab", "<|end|>", "end|", NULL});
	assert_false(stop_push(&matcher, "xa", 2, &safe));
	assert_false(stop_push_control(&matcher, "<|start|>", 9, &safe));
	assert_false(stop_push_control(&matcher, "<|end|", 6, &safe));
	assert_false(stop_push_control(&matcher, "", 0, &safe));
	assert_int_equal(matcher.held.n_bytes, 1);
	assert_true(stop_push_control(&matcher, "<|end|>", 7, &safe));
	assert_int_equal(matcher.matched, 1);
	assert_int_equal(safe.n_bytes, 2); /* what was held may no longer begin a stop string */
	assert_memory_equal(safe.data, "xa", 2);
	stop_free(&matcher);
	bytes_clear(&safe);
	matcher_with(&matcher, (const char *const[]){"ab", NULL});
	assert_false(stop_push(&matcher, "a", 1, &safe));
	assert_false(stop_push_control(&matcher, "<|end|>", 7, &safe));
	assert_true(stop_push(&matcher, "b", 1, &safe)); /* the text is joined */
	assert_int_equal(safe.n_bytes, 0);
	stop_free(&matcher);
	bytes_free(&safe);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_text_before_a_stop_string_is_safe),
	    cmocka_unit_test(the_first_to_be_complete_wins),
	    cmocka_unit_test(only_what_may_begin_a_stop_string_is_held),
	    cmocka_unit_test(text_and_stop_strings_may_hold_nul),
	    cmocka_unit_test(a_control_token_is_hit_by_its_spelling),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
