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
	assert_true(accepts(c.grammar, yes));
	assert_false(accepts(c.grammar, no));
	grammar_destroy(c.grammar);
	grammar_report_free(&c.report);
}

static void check_refused(struct bytes source, const char *pointer, const char *why)
{
	struct compiling c = {.source = source};
	compile(&c);
	assert_null(c.grammar);
	assert_int_equal(c.error.code, ERROR_CONSTRAINT);
	assert_true(c.report.n_refused > 0);
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

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(schemas_for_names_lead_no_deeper),
	    cmocka_unit_test(open_choices_need_no_stack),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
