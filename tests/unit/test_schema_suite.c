/* JSON-Schema-Test-Suite (drafts 2020-12 and 7), where the fixtures are at hand: every instance's canonical text is followed
 * through its schema's constraint. Each test agrees or its schema is refused; counts per keyword are printed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/json.h"
#include "text/grammar.h"

enum { MAX_KEYWORDS = 100 };

struct tally {
	char keyword[80];
	int n_groups, n_refused, n_tests, n_agree, n_stricter;
};

struct tallies {
	struct tally rows[MAX_KEYWORDS];
	int n_rows, n_wrong;
};

static struct tally *tally_of(struct tallies *tallies, const char *draft, const char *keyword)
{
	char name[80];
	snprintf(name, sizeof name, "%s %s", draft, keyword);
	for (int i = 0; i < tallies->n_rows; i++)
		if (strcmp(tallies->rows[i].keyword, name) == 0)
			return &tallies->rows[i];
	assert_true(tallies->n_rows < MAX_KEYWORDS);
	struct tally *row = &tallies->rows[tallies->n_rows++];
	*row = (struct tally){0};
	strcpy(row->keyword, name);
	return row;
}

/* The text of a value as the parser keeps no text: written again, with numbers as they were. */
static void write_value(struct bytes *out, const struct json *value)
{
	size_t n;
	const char *text = json_string(value, &n);
	bool yes;
	bool array = json_type(value) == JSON_ARRAY;
	if (text)
		json_write_string(out, text, n);
	else if (json_number_text(value))
		bytes_append_text(out, json_number_text(value));
	else if (json_bool(value, &yes))
		bytes_append_text(out, yes ? "true" : "false");
	else if (json_type(value) == JSON_NULL)
		bytes_append_text(out, "null");
	if (!array && json_type(value) != JSON_OBJECT)
		return;
	bytes_append_text(out, array ? "[" : "{");
	for (const struct json *part = json_first(value); part; part = json_next(part)) {
		const char *key = json_key(part, &n);
		if (part != json_first(value))
			bytes_append_text(out, ",");
		if (key) {
			json_write_string(out, key, n);
			bytes_append_text(out, ":");
		}
		write_value(out, part);
	}
	bytes_append_text(out, array ? "]" : "}");
}

/* Of ten digits or more (schema_format_written). */
static bool has_long_number(const char *text)
{
	static const char digits[] = "0123456789";
	size_t n = 0;
	for (; text && *text && n < 10; text += n + strcspn(text + n, digits))
		n = strspn(text, digits);
	return n >= 10;
}

static void try_group(struct tallies *tallies, const struct json *group)
{
	struct tally *row =
	    tally_of(tallies, json_string(json_get(group, "draft"), NULL), json_string(json_get(group, "keyword"), NULL));
	struct bytes source = {0}, text = {0};
	struct grammar_report report = {0};
	struct error error = {0};
	write_value(&source, json_get(group, "schema"));
	struct grammar *grammar = grammar_compile(GRAMMAR_JSON_SCHEMA, source.data, source.n_bytes, &report, &error);
	bool unsatisfiable = report.n_refused == 1 && strncmp(report.refused[0].why, "no ", 3) == 0;
	row->n_groups++;
	row->n_refused += !grammar && !unsatisfiable;
	for (const struct json *test = json_first(json_get(group, "tests")); test; test = json_next(test)) {
		bool valid;
		row->n_tests++;
		if (!grammar && !unsatisfiable)
			continue;
		assert_true(json_bool(json_get(test, "valid"), &valid));
		bytes_clear(&text);
		bool accepted = grammar && grammar_canonical(grammar, json_get(test, "data"), &text);
		/* There a format is an annotation; here it is always enforced. And a text has no such numbers in a string's format. */
		bool annotates = strcmp(json_string(json_get(group, "keyword"), NULL), "format") == 0;
		bool stricter = valid && !accepted && (annotates || has_long_number(json_string(json_get(test, "data"), NULL)));
		row->n_agree += accepted == valid;
		row->n_stricter += stricter;
		tallies->n_wrong += accepted != valid && !stricter;
		if (accepted != valid && !stricter)
			printf("%s: %s is %s\n", json_string(json_get(group, "id"), NULL), text.data,
			       valid ? "valid" : "not valid");
	}
	if (!grammar && !unsatisfiable && getenv("TALLOW_TEST_VERBOSE"))
		printf("refused %s: %s\n", json_string(json_get(group, "id"), NULL), error.message);
	grammar_report_free(&report);
	grammar_destroy(grammar);
	bytes_free(&source);
	bytes_free(&text);
}

static void try_file(const char *name)
{
	const char *fixtures = getenv("TALLOW_FIXTURES");
	char path[1024], *line = NULL;
	size_t capacity = 0;
	struct tallies tallies = {0};
	if (!fixtures)
		skip();
	snprintf(path, sizeof path, "%s/json-schema/%s", fixtures, name);
	FILE *file = fopen(path, "r");
	if (!file)
		skip();
	for (ssize_t n; (n = getline(&line, &capacity, file)) > 0;) {
		struct error error = {0};
		struct json *group = json_parse(line, (size_t)n, &(struct json_limits){0}, &error);
		assert_non_null(group);
		try_group(&tallies, group);
		json_destroy(group);
	}
	free(line);
	fclose(file);
	for (int i = 0; i < tallies.n_rows; i++)
		printf("%-40s %3d schemas, %2d refused; %3d tests, %3d agree, %2d stricter\n", tallies.rows[i].keyword,
		       tallies.rows[i].n_groups, tallies.rows[i].n_refused, tallies.rows[i].n_tests, tallies.rows[i].n_agree,
		       tallies.rows[i].n_stricter);
	assert_int_equal(tallies.n_wrong, 0);
}

static void required_tests_agree_or_are_refused(void **state)
{
	(void)state;
	try_file("suite.jsonl");
}

static void format_tests_agree_or_are_refused(void **state)
{
	(void)state;
	try_file("suite-format.jsonl");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(required_tests_agree_or_are_refused),
	    cmocka_unit_test(format_tests_agree_or_are_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
