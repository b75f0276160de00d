/* Schemas that are made to cost much: each is compiled as a connection would, on a stack of its size, or refused for what is
 * too much of it. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "text/grammar.h"

enum {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	STACK_BYTES = 1 << 20, /* server.c */
#else
	STACK_BYTES = 256 << 10,
#endif
};

struct compiling {
	struct bytes source; /* freed by those that compile it */
	struct grammar *grammar;
	struct grammar_report report;
	struct error error;
};

static void *run(void *argument)
{
	struct compiling *c = argument;
	c->grammar = grammar_compile(GRAMMAR_JSON_SCHEMA, c->source.data, c->source.n_bytes, &c->report, &c->error);
	return NULL;
}

static void compile(struct compiling *c)
{
	pthread_attr_t attributes;
	pthread_t thread;
	assert_false(c->source.failed);
	assert_int_equal(pthread_attr_init(&attributes), 0);
	assert_int_equal(pthread_attr_setstacksize(&attributes, STACK_BYTES), 0);
	assert_int_equal(pthread_create(&thread, &attributes, run, c), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	pthread_attr_destroy(&attributes);
	bytes_free(&c->source);
}

static bool accepts(struct grammar *grammar, const char *text)
{
	grammar_restart(grammar);
	return grammar_take(grammar, text, strlen(text)) && grammar_complete(grammar);
}

/* It is taken, and then `yes` is a text of it and `no` is none. */
static void check_taken(struct bytes source, const char *yes, const char *no)
{
	struct compiling c = {.source = source};
	compile(&c);
	if (!c.grammar)
		fail_msg("%s", c.error.message);
	if (!accepts(c.grammar, yes) || accepts(c.grammar, no))
		fail_msg("%s or %s", yes, no);
	grammar_destroy(c.grammar);
	grammar_report_free(&c.report);
}

/* `pointer` NULL: wherever. */
static void check_refused(struct bytes source, const char *pointer, const char *why)
{
	struct compiling c = {.source = source};
	compile(&c);
	assert_null(c.grammar);
	assert_int_equal(c.error.code, ERROR_CONSTRAINT);
	assert_true(c.report.n_refused > 0);
	if (pointer)
		assert_string_equal(c.report.refused[0].pointer, pointer);
	assert_non_null(strstr(c.report.refused[0].why, why));
	grammar_report_free(&c.report);
}

static struct bytes text_of(const char *text)
{
	struct bytes out = {0};
	bytes_append_text(&out, text);
	return out;
}

/* `first`, then n times `each` with its number, between commas, then `last`. */
static struct bytes list_of(const char *first, int n, const char *before, const char *after, const char *last)
{
	struct bytes out = {0};
	bytes_append_text(&out, first);
	for (int i = 0; i < n; i++)
		bytes_append_format(&out, "%s%s%d%s", i ? "," : "", before, i, after);
	bytes_append_text(&out, last);
	return out;
}

/* ---- depth ---- */

/* Names are strings, of which `propertyNames` asks nothing. */
static void schemas_for_names_lead_no_deeper(void **state)
{
	(void)state;
	check_taken(text_of("{\"propertyNames\":{\"$ref\":\"#\"}}"), "{\"a\":{\"b\":1}}", "{\"a\"}");
	check_taken(text_of("{\"maxLength\":1,\"propertyNames\":{\"$ref\":\"#\"}}"), "{\"a\":1}", "{\"ab\":1}");
	check_taken(text_of("{\"propertyNames\":{\"not\":{\"propertyNames\":{\"maxLength\":1}}}}"), "{}", "{\"a\":1}");
	struct bytes chain = {0};
	bytes_append_text(&chain, "{\"$ref\":\"#/$defs/0\",\"$defs\":{");
	for (int i = 0; i < 2000; i++)
		bytes_append_format(&chain, "\"%d\":{\"propertyNames\":{\"$ref\":\"#/$defs/%d\"}},", i, i + 1);
	bytes_append_text(&chain, "\"2000\":{\"maxLength\":1}}}");
	check_taken(chain, "{\"ab\":1}", "{\"ab\"}");
}

static void open_choices_need_no_stack(void **state)
{
	(void)state;
	check_taken(list_of("{\"type\":\"integer\",\"allOf\":[", 2000, "{\"anyOf\":[{\"title\":\"", "\"}]}", "]}"), "1",
	            "1.5");
	check_refused(list_of("{\"type\":\"object\",\"dependentRequired\":{", 1000, "\"", "\":[]", "}}"), "",
	              "too many ways");
	struct bytes chain = {0};
	bytes_append_text(&chain, "{\"$ref\":\"#/$defs/0\",\"$defs\":{");
	for (int i = 0; i < 2000; i++)
		bytes_append_format(&chain, "\"%d\":{\"allOf\":[{\"not\":{\"$ref\":\"#/$defs/%d\"}}]},", i, i + 1);
	bytes_append_text(&chain, "\"2000\":{\"type\":\"integer\"}}}");
	check_taken(chain, "1", "1.5");
}

/* Of a source as deep as may be: its places are named, its parts found. */
static void deep_places_need_no_more_stack(void **state)
{
	(void)state;
	struct bytes source = {0}, pointer = {0};
	for (int i = 0; i < 490; i++) {
		bytes_append_text(&source, "{\"not\":");
		bytes_append_text(&pointer, "/not");
	}
	bytes_append_text(&source, "{\"pattern\":\"(\"}");
	bytes_append(&pointer, "/pattern", 9);
	for (int i = 0; i < 490; i++)
		bytes_append_text(&source, "}");
	check_refused(source, pointer.data, "pattern");
	bytes_free(&pointer);
}

/* ---- work and memory ---- */

/* `n` members of 2^14 ways each, all of which contradict themselves. */
static struct bytes of_contradictions(int n)
{
	struct bytes source = list_of("{\"type\":\"object\",\"properties\":{", n, "\"", "\":{\"$ref\":\"#/$defs/x\"}",
	                              "},\"$defs\":{\"x\":{\"type\":\"number\",\"allOf\":[");
	for (int i = 0; i < 13; i++)
		bytes_append_text(&source, "{\"anyOf\":[{\"title\":\"a\"},{\"title\":\"b\"}]},");
	bytes_append_text(&source, "{\"anyOf\":[{\"type\":\"string\"},{\"type\":\"null\"}]}]}}}");
	return source;
}

/* Each way is a step of all that compiling may take, whether it comes to something or not. */
static void ways_that_lead_nowhere_are_counted(void **state)
{
	(void)state;
	check_taken(of_contradictions(1), "{\"x\":1}", "{\"0\":1}");
	check_refused(of_contradictions(1000), "", "too many steps");
}

static void quick_proofs_end_soon(void **state)
{
	(void)state;
	struct bytes source = {0};
	bytes_append_text(&source, "{\"type\":\"string\",\"not\":{\"$ref\":\"#/$defs/0\"},\"$defs\":{");
	for (int i = 0; i < 3; i++) {
		bytes_append_format(&source, "\"%d\":{\"allOf\":[", i);
		for (int k = 0; k < 200; k++)
			bytes_append_format(&source, "%s{\"$ref\":\"#/$defs/%d\"}", k ? "," : "", i + 1);
		bytes_append_text(&source, "]},");
	}
	bytes_append_text(&source, "\"3\":{\"title\":\"\"}}}");
	check_refused(source, NULL, "too many ways");
}

/* One expansion would have three million atoms. */
static void lists_are_out_of_the_account(void **state)
{
	(void)state;
	struct bytes source = list_of("{\"$defs\":{\"x\":{\"properties\":{", 3000, "\"", "\":true", "}}},\"allOf\":[");
	for (int i = 0; i < 1000; i++)
		bytes_append_format(&source, "%s{\"allOf\":[{\"$ref\":\"#/$defs/x\"}],\"unevaluatedProperties\":true}",
		                    i ? "," : "");
	bytes_append_text(&source, "]}");
	check_refused(source, "", "too large");
	/* So is what the source is parsed to, and the names of its resources. */
	struct bytes many = {0};
	bytes_append_text(&many, "{\"enum\":[0");
	for (int i = 0; i < 1 << 20; i++)
		bytes_append(&many, ",0", 2);
	bytes_append_text(&many, "]}");
	check_refused(many, "", "too large");
	struct bytes long_names = {0};
	bytes_append_text(&long_names, "{\"$id\":\"http://example.com/");
	for (int i = 0; i < 1 << 20; i++)
		bytes_append(&long_names, "x", 1);
	struct bytes rest = list_of("/\",\"$defs\":{", 100, "\"", "\":{\"$id\":\"a\"}", "}}");
	bytes_append(&long_names, rest.data, rest.n_bytes);
	bytes_free(&rest);
	check_refused(long_names, "", "too large");
}

/* Wherever the account is full, that is what is said. */
static void any_account_is_enough_or_too_small(void **state)
{
	(void)state;
	static const char schema[] =
	    "{\"$id\":\"http://example.com/"
	    "a\",\"$defs\":{\"b\":{\"$id\":\"b\",\"$anchor\":\"c\",\"pattern\":\"^a+$\"}},\"anyOf\":"
	    "[{\"type\":\"object\",\"properties\":{\"d\":{\"$ref\":\"b#c\"},\"e\":{\"format\":\"date\"}},\"required\":["
	    "\"e\"],"
	    "\"propertyNames\":{\"maxLength\":3},\"unevaluatedProperties\":{\"type\":\"null\"}},{\"not\":{\"enum\":[1,[2]]}"
	    "}]}";
	bool taken = false;
	for (size_t n = 8 << 10; n < 1 << 20; n += n < 64 << 10 ? 64 : n / 8) {
		struct compiling c = {.source = text_of(schema)};
		grammars_allow(n);
		compile(&c);
		if (c.grammar)
			assert_true(grammar_bytes(c.grammar) > 0);
		else if (c.error.code == ERROR_CONSTRAINT)
			assert_non_null(strstr(c.error.message, "too large"));
		taken = c.grammar != NULL;
		grammar_destroy(c.grammar);
		grammar_report_free(&c.report);
	}
	grammars_allow(GRAMMAR_MAX_BYTES);
	assert_true(taken);
}

/* What is remembered: patterns, formats and where references lead. Each was found anew in each of 4096 ways. */
static void what_was_found_is_not_looked_for_again(void **state)
{
	(void)state;
	struct bytes source = {0};
	bytes_append_text(&source, "{\"allOf\":[");
	for (int i = 0; i < 12; i++)
		bytes_append_text(&source, "{\"anyOf\":[{\"title\":\"a\"},{\"title\":\"b\"}]},");
	bytes_append_text(&source, "{\"anyOf\":[{\"format\":\"date-time\",\"pattern\":\"^(a|b)*$\",\"type\":\"string\"}]}],"
	                           "\"type\":\"number\"}");
	check_refused(source, "", "no text satisfies it");
}

/* Lists of names, of resources and of remarks are looked up, not searched. */
static void long_lists_are_looked_up(void **state)
{
	(void)state;
	check_taken(list_of("{\"type\":\"object\",\"additionalProperties\":false,\"properties\":{", 5000, "\"", "\":true",
	                    "},\"required\":[\"7\"]}"),
	            "{\"7\":1,\"4999\":2}", "{\"8\":1}");
	check_taken(list_of("{\"type\":\"object\",\"properties\":{", 4000, "\"", "\":{\"format\":\"colour\"}", "}}"),
	            "{\"7\":\"\"}", "{\"7\"}");
	check_taken(list_of("{\"$schema\":\"http://json-schema.org/draft-07/schema#\",\"type\":\"null\",", 20000, "\"",
	                    "\":0", "}"),
	            "null", "0");
	struct bytes source = {0};
	bytes_append_text(&source, "{\"$id\":\"http://example.com/\",\"type\":\"array\",\"$defs\":{");
	for (int i = 0; i < 10000; i++)
		bytes_append_format(&source, "%s\"%d\":{\"$id\":\"%d\",\"$anchor\":\"a\",\"type\":\"null\"}", i ? "," : "", i,
		                    i);
	bytes_append_text(&source, "},\"prefixItems\":[");
	for (int i = 0; i < 2000; i++)
		bytes_append_format(&source, "%s{\"$ref\":\"%d#a\"}", i ? "," : "", 9999 - i);
	bytes_append_text(&source, "]}");
	check_taken(source, "[null,null]", "[null,1]");
}

/* ---- what was weakened ---- */

static void no_schema_of_a_member_is_dropped(void **state)
{
	(void)state;
	static const char each[] = "{\"additionalProperties\":{\"minimum\":";
	check_taken(list_of("{\"type\":\"object\",\"allOf\":[", 252, each, "}}", "]}"), "{\"x\":251}", "{\"x\":250}");
	check_refused(list_of("{\"type\":\"object\",\"allOf\":[", 253, each, "}}", "]}"), "", "too many schemas");
	check_refused(list_of("{\"type\":\"object\",\"properties\":{\"x\":true},\"allOf\":[", 253, each, "}}", "]}"), "",
	              "too many schemas");
}

static void draft_3_is_not_weakened(void **state)
{
	(void)state;
#define DRAFT_3 "\"$schema\":\"http://json-schema.org/draft-03/schema#\""
	check_refused(text_of("{" DRAFT_3 ",\"extends\":{\"maximum\":3}}"), "/extends", "not supported");
	check_refused(text_of("{" DRAFT_3 ",\"disallow\":\"null\"}"), "/disallow", "not supported");
	check_refused(text_of("{" DRAFT_3 ",\"not\":{\"disallow\":\"null\"}}"), "/not/disallow", "not supported");
	check_refused(text_of("{" DRAFT_3 ",\"not\":{\"divisibleBy\":2}}"), "/not/divisibleBy", "not supported");
	check_refused(text_of("{" DRAFT_3 ",\"not\":{\"required\":true}}"), "/not/required", "array of names");
	check_taken(text_of("{\"extends\":{\"maximum\":3},\"type\":\"integer\"}"), "4", "\"\"");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(schemas_for_names_lead_no_deeper),
	    cmocka_unit_test(open_choices_need_no_stack),
	    cmocka_unit_test(deep_places_need_no_more_stack),
	    cmocka_unit_test(ways_that_lead_nowhere_are_counted),
	    cmocka_unit_test(quick_proofs_end_soon),
	    cmocka_unit_test(lists_are_out_of_the_account),
	    cmocka_unit_test(any_account_is_enough_or_too_small),
	    cmocka_unit_test(what_was_found_is_not_looked_for_again),
	    cmocka_unit_test(long_lists_are_looked_up),
	    cmocka_unit_test(no_schema_of_a_member_is_dropped),
	    cmocka_unit_test(draft_3_is_not_weakened),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
