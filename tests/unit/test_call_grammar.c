/* The grammar of calls (text/call_grammar.h) against their reader (text/answer.h): whatever a form's grammar takes, the reader
 * takes apart into calls of the tools, with arguments as their schemas say. Texts are drawn at random, token by token. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "text/answer.h"
#include "text/call_grammar.h"
#include "text/tokenizer.h"

enum { N_TEXTS = 5, MAX_TOKENS = 190 };

static const char tools_json[] =
    "[{\"type\":\"function\",\"function\":{\"name\":\"get_weather\",\"parameters\":{\"type\":\"object\",\"properties\":"
    "{"
    "\"city\":{\"type\":\"string\"},\"days\":{\"type\":\"integer\",\"minimum\":1,\"maximum\":14},\"unit\":{\"type\":"
    "\"string\","
    "\"enum\":[\"C\",\"F\"]},\"at\":{\"$ref\":\"#/$defs/"
    "place\"}},\"required\":[\"city\",\"days\"],\"additionalProperties\":false,"
    "\"$defs\":{\"place\":{\"type\":\"array\",\"items\":{\"enum\":[1,2.5,\"x\"]},\"maxItems\":2}}}}},"
    "{\"type\":\"function\",\"function\":{\"name\":\"ping.all\",\"parameters\":{\"properties\":{},"
    "\"additionalProperties\":false}}}]";

static struct tokenizer *tokenizer;
static struct grammar_vocabulary *vocabulary;
static struct json *tools;
static uint64_t random_state = 88172645463325252u;

static int setup(void **state)
{
	(void)state;
	struct error error = {0};
	tokenizer = tokenizer_load("models/tallow-tiny", &error);
	vocabulary = tokenizer ? grammar_vocabulary_create(tokenizer, &error) : NULL;
	tools = json_parse(tools_json, sizeof tools_json - 1, &(struct json_limits){0}, &error);
	return vocabulary && tools ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	grammar_vocabulary_destroy(vocabulary);
	tokenizer_destroy(tokenizer);
	json_destroy(tools);
	return 0;
}

static const struct json *schema_of(int index)
{
	const struct json *tool = json_first(tools);
	while (index-- > 0)
		tool = json_next(tool);
	return json_get(json_get(tool, "function"), "parameters");
}

static struct grammar *make_grammar(const struct tool_format *row, bool single, bool opened)
{
	struct error error = {0};
	struct grammar_report report = {0};
	struct call_tool list[] = {
	    {.name = "get_weather", .n_name = 11, .schema = schema_of(0), .enforced = true, .index = 0},
	    {.name = "ping.all", .n_name = 8, .schema = schema_of(1), .enforced = true, .index = 1},
	};
	struct call_shape shape = {.format = row, .tools = list, .n_tools = 2, .single = single, .opened = opened};
	struct grammar *g = grammar_begin(&error);
	assert_non_null(g);
	g = grammar_finish(g, call_grammar(g, &shape, &report), &report, &error);
	if (!g)
		fail_msg("%s: %s", row->name, error.message);
	grammar_report_free(&report);
	return g;
}

static uint32_t next_random(uint32_t below)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (uint32_t)((random_state >> 20) % below);
}

static bool is_ascii(int32_t id)
{
	size_t n_bytes = 0;
	const char *bytes = grammar_token_bytes(vocabulary, id, &n_bytes);
	for (size_t i = 0; bytes && i < n_bytes; i++)
		if ((unsigned char)bytes[i] >= 0x80)
			return false;
	return bytes != NULL;
}

static bool may_come(const uint32_t *mask, uint32_t id)
{
	return mask[id / 32] >> id % 32 & 1;
}

/* A token of the mask; half a character would be another one in what is read, so none but where there must be. -1: the end. */
static int32_t draw_token(const uint32_t *mask, uint32_t n_ids)
{
	uint32_t first = next_random(n_ids);
	for (int ascii = 1; ascii >= 0; ascii--)
		for (uint32_t i = 0; i < n_ids; i++) {
			int32_t id = (int32_t)((first + i) % n_ids);
			size_t n_bytes;
			if (may_come(mask, (uint32_t)id) && (is_ascii(id) || !ascii) &&
			    grammar_token_bytes(vocabulary, id, &n_bytes))
				return id;
		}
	return -1;
}

/* Appends a text that the grammar takes, whole. */
static void draw_text(struct grammar *g, struct bytes *out)
{
	struct error error = {0};
	size_t n_bytes = 0, n_words = grammar_mask_words(vocabulary);
	uint32_t *mask = malloc(n_words * sizeof *mask);
	assert_non_null(mask);
	for (uint32_t left = MAX_TOKENS; left-- > 0 && !grammar_over(g);) {
		if (!grammar_mask(g, vocabulary, mask, &error))
			fail_msg("%s", error.message);
		int32_t id = draw_token(mask, (uint32_t)n_words * 32);
		if (id >= 0 && !grammar_token_within(g, vocabulary, id, left)) {
			if (!grammar_mask_within(g, vocabulary, left, mask, &error))
				fail_msg("%s", error.message);
			id = draw_token(mask, (uint32_t)n_words * 32);
		}
		if (id < 0)
			break;
		assert_true(grammar_token(g, vocabulary, id));
		const char *bytes = grammar_token_bytes(vocabulary, id, &n_bytes);
		bytes_append(out, bytes, n_bytes);
	}
	assert_true(grammar_complete(g));
	free(mask);
}

static void check_call(const struct tool_format *row, const struct answer_call *call, const char *text)
{
	struct error error = {0};
	struct bytes schema = {0}, canonical = {0};
	int index = strcmp(call->name, "get_weather") == 0 ? 0 : 1;
	if (index == 1)
		assert_string_equal(call->name, "ping.all");
	json_write_value(&schema, schema_of(index));
	struct grammar *g = grammar_compile(GRAMMAR_JSON_SCHEMA, schema.data, schema.n_bytes, NULL, &error);
	struct json *value = json_parse(call->arguments, call->n_arguments_bytes, &(struct json_limits){0}, &error);
	if (!g || !value || json_type(value) != JSON_OBJECT || !grammar_canonical(g, value, &canonical))
		fail_msg("%s: arguments %s of %s", row->name, call->arguments, text);
	grammar_destroy(g);
	json_destroy(value);
	bytes_free(&schema);
	bytes_free(&canonical);
}

static int check_text(const struct tool_format *row, const struct bytes *text, struct answer_reading how)
{
	struct error error = {0};
	struct answer answer = {0};
	struct arena arena = {0};
	how.tools = row;
	how.offered = answer_tools_read(tools, &arena);
	how.only_row = true;
	assert_true(answer_read(&how, text->data, text->n_bytes, &answer, &error));
	if (answer.n_calls == 0 || answer.content.n_bytes > 0 || (how.single_call && answer.n_calls > 1))
		fail_msg("%s: %d calls and content \"%s\" in %s", row->name, answer.n_calls,
		         answer.content.data ? answer.content.data : "", text->data);
	for (int i = 0; i < answer.n_calls; i++)
		check_call(row, &answer.calls[i], text->data);
	int n_calls = answer.n_calls;
	answer_free(&answer);
	arena_free(&arena);
	return n_calls;
}

static void what_the_grammar_takes_the_reader_reads(void **state)
{
	(void)state;
	size_t n_formats;
	const struct tool_format *rows = tool_formats(&n_formats);
	int n_several = 0;
	for (size_t i = 0; i < n_formats; i++)
		for (int single = 0; single < 2; single++) {
			struct grammar *g = make_grammar(&rows[i], single, false);
			for (int j = 0; j < N_TEXTS; j++) {
				struct bytes text = {0};
				grammar_restart(g);
				draw_text(g, &text);
				bytes_append(&text, "", 1);
				text.n_bytes--;
				n_several += check_text(&rows[i], &text, (struct answer_reading){.single_call = single}) > 1;
				bytes_free(&text);
			}
			grammar_destroy(g);
		}
	assert_true(n_several > 15);
}

static void a_call_that_the_prompt_has_opened_goes_on(void **state)
{
	(void)state;
	const struct tool_format *row = tool_format_find("hermes");
	struct grammar *g = make_grammar(row, true, true);
	for (int j = 0; j < N_TEXTS; j++) {
		struct bytes text = {0};
		grammar_restart(g);
		draw_text(g, &text);
		bytes_append(&text, "", 1);
		text.n_bytes--;
		check_text(row, &text, (struct answer_reading){.in_call = true, .single_call = true});
		bytes_free(&text);
	}
	grammar_destroy(g);
}

/* The grammar of one call of a tool "f"; NULL where it was refused. */
static struct grammar *grammar_of(const char *format, const char *schema, struct grammar_report *report,
                                  struct error *error)
{
	struct json *value = json_parse(schema, strlen(schema), &(struct json_limits){0}, error);
	struct call_tool tool = {.name = "f", .n_name = 1, .schema = value, .enforced = true, .index = 3};
	struct call_shape shape = {.format = tool_format_find(format), .tools = &tool, .n_tools = 1, .single = true};
	struct grammar *g = grammar_begin(error);
	assert_non_null(value);
	assert_non_null(g);
	g = grammar_finish(g, call_grammar(g, &shape, report), report, error);
	json_destroy(value);
	return g;
}

/* Texts that may stand, and may not, as the value of the schema's only parameter, "a/b%". */
struct values {
	const char *schema;
	const char *accepted[4], *rejected[4];
};

static bool takes_value(struct grammar *g, const char *value)
{
	struct bytes text = {0};
	bytes_append_format(
	    &text, "<tool_call>\n<function=f>\n<parameter=a/b%%>\n%s\n</parameter>\n</function>\n</tool_call>", value);
	grammar_restart(g);
	bool taken = grammar_take(g, text.data, text.n_bytes) && grammar_complete(g);
	bytes_free(&text);
	return taken;
}

static void references_mean_what_they_do_in_the_whole_schema(void **state)
{
	(void)state;
	static const struct values list[] = {
	    {"{\"type\":\"object\",\"properties\":{\"a/"
	     "b%\":{\"type\":\"array\",\"maxItems\":1,\"items\":{\"$ref\":\"#\"}}},"
	     "\"required\":[\"a/b%\"],\"additionalProperties\":false}",
	     {"[]", "[{\"a/b%\":[]}]", "[{\"a/b%\":[{\"a/b%\":[]}]}]"},
	     {"[[]]", "[{}]"}},
	    {"{\"properties\":{\"a/b%\":{\"$ref\":\"#/$defs/t\"}},\"required\":[\"a/b%\"],\"type\":\"object\","
	     "\"$defs\":{\"t\":{\"type\":\"array\",\"items\":{\"$ref\":\"#\"}}}}",
	     {"[]", "[{\"a/b%\":[]}]"},
	     {"[[]]", "[{}]"}},
	    {"{\"$schema\":\"http://json-schema.org/draft-07/schema#\",\"$id\":\"http://x/y#\",\"definitions\":{\"i\":{"
	     "\"type\":\"integer\"}},\"properties\":{\"a/b%\":{\"type\":\"array\",\"items\":{\"anyOf\":[{\"$ref\":\"y#/"
	     "definitions/i\"},{\"$ref\":\"#/properties/a~1b%25\"}]}}}}",
	     {"[]", "[1,[2,[]]]"},
	     {"[{}]", "[1.5]"}},
	};
	for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
		struct error error = {0};
		struct grammar *g = grammar_of("qwen3-coder", list[i].schema, &(struct grammar_report){0}, &error);
		if (!g)
			fail_msg("%s: %s", list[i].schema, error.message);
		for (const char *const *value = list[i].accepted; *value; value++)
			if (!takes_value(g, *value))
				fail_msg("%s must accept %s", list[i].schema, *value);
		for (const char *const *value = list[i].rejected; *value; value++)
			if (takes_value(g, *value))
				fail_msg("%s must not accept %s", list[i].schema, *value);
		grammar_destroy(g);
	}
}

static void plain_strings_may_be_one_of_many(void **state)
{
	(void)state;
	struct error error = {0};
	struct bytes schema = {0};
	bytes_append_text(&schema, "{\"required\":[\"a/b%\"],\"properties\":{\"a/b%\":{\"type\":\"string\",\"enum\":[\"\"");
	for (int i = 0; i < 5000; i++)
		bytes_append_format(&schema, ",\"v%d\"", i);
	bytes_append_text(&schema, "]}}}");
	struct grammar *g = grammar_of("qwen3-coder", schema.data, &(struct grammar_report){0}, &error);
	assert_non_null(g);
	assert_true(takes_value(g, ""));
	assert_true(takes_value(g, "v4999"));
	assert_false(takes_value(g, "v5000"));
	grammar_destroy(g);
	bytes_free(&schema);
}

/* ---- what is refused, and where ---- */

static void check_refused(const char *format, const char *schema, const char *pointer)
{
	struct error error = {0};
	struct grammar_report report = {0};
	assert_null(grammar_of(format, schema, &report, &error));
	assert_int_equal(error.code, ERROR_CONSTRAINT);
	assert_true(report.n_refused > 0);
	assert_string_equal(report.refused[0].pointer, pointer);
	grammar_report_free(&report);
}

/* Many parameters that are read with a large schema around them, each. */
static void large_schemas_are_not_read_again_and_again(void **state)
{
	(void)state;
	struct error error = {0};
	struct grammar_report report = {0};
	struct bytes schema = {0};
	bytes_append_text(&schema, "{\"$defs\":{\"n\":{\"description\":\"");
	for (int i = 0; i < 3000; i++)
		bytes_append_text(&schema, "0123456789abcdef0123456789abcdef");
	bytes_append_text(&schema, "\"}},\"properties\":{\"p0\":true");
	for (int i = 1; i < 999; i++)
		bytes_append_format(&schema, ",\"p%d\":true", i);
	bytes_append_text(&schema, "}}");
	assert_null(grammar_of("qwen3-coder", schema.data, &report, &error));
	assert_int_equal(error.code, ERROR_CONSTRAINT);
	assert_non_null(strstr(error.message, "/tools/3/parameters/properties/p"));
	grammar_report_free(&report);
	bytes_free(&schema);
}

static void schemas_that_cannot_be_enforced_are_refused_by_pointer(void **state)
{
	(void)state;
	check_refused("hermes", "{\"properties\":{\"a\":{\"$ref\":\"https://x/y\"}}}",
	              "/tools/3/parameters/properties/a/$ref");
	check_refused("mistral", "{\"type\":\"string\"}", "/tools/3/parameters/type");
	check_refused("qwen3-coder", "{\"properties\":{\"a\":{\"type\":\"string\",\"pattern\":\"x\"}}}",
	              "/tools/3/parameters/properties/a");
	check_refused("qwen3-coder", "{\"properties\":{\"a\":{\"items\":{\"$ref\":\"#/nowhere\"}}}}",
	              "/tools/3/parameters/properties/a/items/$ref");
	check_refused("qwen3-coder", "{\"properties\":{},\"minProperties\":1}", "/tools/3/parameters/minProperties");
	check_refused("seed-oss", "{\"properties\":{},\"required\":[\"b\"]}", "/tools/3/parameters/required");
	check_refused("qwen3-coder", "{\"properties\":{\"b\":true},\"required\":[\"b\\u0000\"]}",
	              "/tools/3/parameters/required");
	check_refused("qwen3-coder", "{\"type\":\"array\",\"properties\":{\"a\":true}}", "/tools/3/parameters/type");
	check_refused("qwen3-coder", "{\"properties\":[true]}", "/tools/3/parameters/properties");
	check_refused("qwen3-coder", "{\"type\\u0000\":\"array\"}", "/tools/3/parameters/type");
	check_refused("qwen3-coder", "{\"properties\":{\"a/b\\u0000c\":true}}", "/tools/3/parameters/properties/a~1b");
	check_refused("qwen3-coder", "{\"properties\":{\"a\":{\"type\":\"string\",\"enum\":[\"b\",\"a\\u0000b\"]}}}",
	              "/tools/3/parameters/properties/a");
	check_refused("qwen3-coder", "{\"properties\":{\"a\":{\"type\":\"string\",\"enum\":[]}}}",
	              "/tools/3/parameters/properties/a");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_the_grammar_takes_the_reader_reads),
	    cmocka_unit_test(a_call_that_the_prompt_has_opened_goes_on),
	    cmocka_unit_test(references_mean_what_they_do_in_the_whole_schema),
	    cmocka_unit_test(plain_strings_may_be_one_of_many),
	    cmocka_unit_test(large_schemas_are_not_read_again_and_again),
	    cmocka_unit_test(schemas_that_cannot_be_enforced_are_refused_by_pointer),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
