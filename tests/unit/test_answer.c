/* The reader of answers: reasoning, content and calls are told apart in every form that templates write, and however an
 * answer is cut. A reading is written as one line: content as it stands, R(reasoning), name{arguments}, and broken calls as
 * !(what the model wrote). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "text/answer.h"
#include "text/chat_template.h"

static const char tools_text[] =
    "[{\"type\":\"function\",\"function\":{\"name\":\"get_weather\",\"parameters\":{\"type\":\"object\",\"properties\":"
    "{"
    "\"city\":{\"type\":\"string\"},\"days\":{\"type\":\"integer\"},\"tags\":{\"type\":[\"array\",\"null\"]},"
    "\"note\":{\"type\":[\"string\",\"null\"]},\"exact\":{\"type\":\"boolean\"},\"any\":{}}}}},"
    "{\"name\":\"now\",\"input_schema\":{}}]";

struct kit {
	struct json *document;
	struct arena arena;
	const struct answer_tools *tools;
};

static int setup(void **state)
{
	struct kit *kit = calloc(1, sizeof *kit);
	struct error error;
	assert_non_null(kit);
	kit->document = json_parse(tools_text, sizeof tools_text - 1, &(struct json_limits){0}, &error);
	assert_non_null(kit->document);
	kit->tools = answer_tools_read(kit->document, &kit->arena);
	assert_non_null(kit->tools);
	*state = kit;
	return 0;
}

static int teardown(void **state)
{
	struct kit *kit = *state;
	json_destroy(kit->document);
	arena_free(&kit->arena);
	free(kit);
	return 0;
}

/* How an answer of this family is read; NULL: reasoning alone. */
static struct answer_reading reading_of(const struct kit *kit, const char *family)
{
	struct answer_style plain = answer_style_detect("", 0);
	struct answer_reading reading = {.reasoning = plain.reasoning};
	if (family) {
		reading.tools = tool_format_find(family);
		reading.offered = kit->tools;
		assert_non_null(reading.tools);
	}
	return reading;
}

/* ---- writing down ---- */

struct notes {
	struct bytes text;
	enum answer_part_kind last;
	bool any, in_call;
};

static void note(struct notes *notes, const struct answer_part *part)
{
	bool goes_on = notes->any && notes->last == part->kind;
	if (notes->any && notes->last == ANSWER_REASONING && !goes_on)
		bytes_append_text(&notes->text, ")");
	switch (part->kind) {
	case ANSWER_REASONING:
		bytes_append_text(&notes->text, goes_on ? "" : "R(");
		bytes_append(&notes->text, part->text, part->n_bytes);
		break;
	case ANSWER_CALL_BEGUN:
		assert_false(notes->in_call);
		notes->in_call = true;
		bytes_append(&notes->text, part->text, part->n_bytes);
		break;
	case ANSWER_CALL_ARGUMENTS:
		assert_true(notes->in_call);
		bytes_append(&notes->text, part->text, part->n_bytes);
		break;
	case ANSWER_CALL_ENDED:
		assert_true(notes->in_call);
		notes->in_call = false;
		bytes_append_text(&notes->text, ";");
		break;
	case ANSWER_CALL_BROKEN:
		assert_true(notes->in_call);
		notes->in_call = false;
		bytes_append_text(&notes->text, "!(");
		bytes_append(&notes->text, part->text, part->n_bytes);
		bytes_append_text(&notes->text, ")");
		break;
	default:
		assert_false(notes->in_call);
		bytes_append(&notes->text, part->text, part->n_bytes);
	}
	notes->any = true;
	notes->last = part->kind;
}

static void note_all(struct answer_reader *reader, struct notes *notes)
{
	struct answer_part part;
	while (answer_reader_next(reader, &part))
		note(notes, &part);
	assert_false(answer_reader_failed(reader));
}

/* Pushes [0, cut), [cut, n) or, with a cut of -1, single bytes. Caller frees. */
static char *read_cut(const struct answer_reading *reading, const char *text, size_t n_bytes, long cut)
{
	struct error error;
	struct notes notes = {0};
	struct answer_reader *reader = answer_reader_create(reading, &error);
	assert_non_null(reader);
	if (cut >= 0) {
		answer_reader_push(reader, text, (size_t)cut);
		note_all(reader, &notes);
		answer_reader_push(reader, text + cut, n_bytes - (size_t)cut);
		note_all(reader, &notes);
	}
	for (size_t i = 0; cut < 0 && i < n_bytes; i++) {
		answer_reader_push(reader, text + i, 1);
		note_all(reader, &notes);
	}
	answer_reader_finish(reader);
	note_all(reader, &notes);
	answer_reader_destroy(reader);
	if (notes.any && notes.last == ANSWER_REASONING)
		bytes_append_text(&notes.text, ")");
	assert_false(notes.in_call);
	bytes_append_text(&notes.text, "");
	return notes.text.data;
}

static void check_reading(const struct answer_reading *reading, const char *text, const char *expected)
{
	size_t n_bytes = strlen(text);
	for (long cut = -1; cut <= (long)n_bytes; cut++) {
		char *got = read_cut(reading, text, n_bytes, cut);
		if (strcmp(got, expected) != 0)
			print_message("cut at %ld of: %s\n", cut, text);
		assert_string_equal(got, expected);
		free(got);
	}
}

static void check(void **state, const char *family, const char *text, const char *expected)
{
	struct answer_reading reading = reading_of(*state, family);
	check_reading(&reading, text, expected);
}

/* ---- reasoning ---- */

static void reasoning_is_split_off(void **state)
{
	check(state, NULL, "<think>\nHm.\nSo.\n</think>\n\nHello\n", "R(Hm.\nSo.)Hello\n");
	check(state, NULL, "\n<think>a</think>b", "R(a)b");
	check(state, NULL, "<think>\n\n</think>\n\nHello", "Hello");
	check(state, NULL, "<think>never ends\n\n", "R(never ends)");
	check(state, NULL, "<think>a < b </thin </think>c", "R(a < b </thin )c");
	check(state, NULL, "<think>a</think>\n    code", "R(a)    code");
	check(state, "hermes", "<think>a</think>\n\n<tool_call>{\"name\":\"now\"}</tool_call>", "R(a)now{};");
}

static void what_is_no_reasoning_is_content(void **state)
{
	check(state, NULL, "", "");
	check(state, NULL, " \n", " \n");
	check(state, NULL, "Hello <think>x</think>", "Hello <think>x</think>");
	check(state, NULL, "<thin", "<thin");
	check(state, NULL, "  <b>x</b>", "  <b>x</b>");
	struct answer_reading none = reading_of(*state, NULL);
	none.reasoning = NULL;
	check_reading(&none, "<think>a</think>b", "<think>a</think>b");
}

static void a_prompt_may_open_reasoning_itself(void **state)
{
	struct answer_reading reading = reading_of(*state, NULL);
	answer_reading_begin(&reading, "<|assistant|><think>\n", 21);
	assert_true(reading.in_reasoning);
	check_reading(&reading, "\nHm.\n</think>\n\nHello", "R(Hm.)Hello");
	check_reading(&reading, "<think>\nHm.</think>Hello", "R(Hm.)Hello");
	check_reading(&reading, "no end", "R(no end)");
	answer_reading_begin(&reading, "<think>\n\n</think>\n\n", 19);
	assert_false(reading.in_reasoning);
}

static void other_tags_of_reasoning_are_known_by_the_template(void **state)
{
	(void)state;
	static const char *const cases[][2] = {
	    {"...'[THINK]' + ...", "[THINK]a[/THINK]b"},
	    {"<|START_THINKING|>{{x}}", "<|START_THINKING|>a<|END_THINKING|>b"},
	    {"{{ '<seed:think>' }}", "<seed:think>a</seed:think>b"},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct answer_style style = answer_style_detect(cases[i][0], strlen(cases[i][0]));
		check_reading(&(struct answer_reading){.reasoning = style.reasoning}, cases[i][1], "R(a)b");
	}
}

/* ---- calls ---- */

#define WEATHER "get_weather{\"city\": \"Paris\", \"days\": 2};"

static void one_call_in_every_form(void **state)
{
	static const char *const cases[][2] = {
	    {"hermes",
	     "<tool_call>\n{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Paris\", \"days\": 2}}\n</tool_call>"},
	    {"qwen3-coder",
	     "<tool_call>\n<function=get_weather>\n<parameter=city>\nParis\n</parameter>\n<parameter=days>\n2\n"
	     "</parameter>\n</function>\n</tool_call>"},
	    {"qwen3-coder",
	     "<function=get_weather>\n<parameter=city>\nParis\n</parameter>\n<parameter=days>\n2\n</parameter>\n"
	     "</function>"},
	    {"mistral",
	     "[TOOL_CALLS][{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Paris\", \"days\": 2}, \"id\": "
	     "\"call00001\"}]"},
	    {"mistral", "[TOOL_CALLS] [{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Paris\", \"days\": 2}}]"},
	    {"mistral", "[TOOL_CALLS]get_weather[ARGS]{\"city\": \"Paris\", \"days\": 2}"},
	    {"mistral", "[TOOL_CALLS]get_weather[CALL_ID]abcdefghi[ARGS]{\"city\": \"Paris\", \"days\": 2}"},
	    {"mistral", "[TOOL_CALLS]get_weather{\"city\": \"Paris\", \"days\": 2}"},
	    {"llama3", "{\"name\": \"get_weather\", \"parameters\": {\"city\": \"Paris\", \"days\": 2}}"},
	    {"llama3",
	     "<|python_tag|>{\"type\": \"function\", \"name\": \"get_weather\", \"parameters\": {\"city\": \"Paris\", "
	     "\"days\": 2}}"},
	    {"phi4",
	     "<|tool_call|>[{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Paris\", \"days\": 2}}]<|/tool_call|>"},
	    {"phi4",
	     "<|tool_call|>{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Paris\", \"days\": 2}}<|/tool_call|>"},
	    {"deepseek",
	     "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>get_weather\n```json\n{\"city\": "
	     "\"Paris\", \"days\": 2}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>"},
	    {"deepseek",
	     "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>get_weather<｜tool▁sep｜>{\"city\": \"Paris\", \"days\": "
	     "2}<｜tool▁call▁end｜><｜tool▁calls▁end｜>"},
	    {"functionary-v3.1", "<function=get_weather>{\"city\": \"Paris\", \"days\": 2}</function>"},
	    {"functionary-v3.2", ">>>get_weather\n{\"city\": \"Paris\", \"days\": 2}"},
	    {"command-r7b",
	     "<|START_ACTION|>[\n    {\"tool_call_id\": \"0\", \"tool_name\": \"get_weather\", \"parameters\": "
	     "{\"city\": \"Paris\", \"days\": 2}}\n]<|END_ACTION|>"},
	    {"command-r",
	     "Action:\n```json\n[\n    {\n        \"tool_name\": \"get_weather\",\n        \"parameters\": {\"city\": "
	     "\"Paris\", \"days\": 2}\n    }\n]```"},
	    {"firefunction", "functools[{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Paris\", \"days\": 2}}]"},
	    {"nemotron",
	     "<TOOLCALL>[{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Paris\", \"days\": 2}}]</TOOLCALL>"},
	    {"seed-oss",
	     "<seed:tool_call>\n<function=get_weather>\n<parameter=city>Paris</parameter>\n<parameter=days>2</parameter>\n"
	     "</function>\n</seed:tool_call>"},
	    {"glm",
	     "<tool_call>get_weather\n<arg_key>city</arg_key>\n<arg_value>Paris</arg_value>\n<arg_key>days</arg_key>\n"
	     "<arg_value>2</arg_value>\n</tool_call>"},
	    {"glm",
	     "<tool_call>get_weather<arg_key>city</arg_key><arg_value>Paris</arg_value><arg_key>days</arg_key><arg_value>2"
	     "</arg_value></tool_call>"},
	    {"kimi",
	     "<|tool_calls_section_begin|><|tool_call_begin|>functions.get_weather:0<|tool_call_argument_begin|>{\"city\": "
	     "\"Paris\", \"days\": 2}<|tool_call_end|><|tool_calls_section_end|>"},
	    {"minimax", "<minimax:tool_call>\n<invoke name=\"get_weather\">\n<parameter name=\"city\">Paris</parameter>\n"
	                "<parameter name=\"days\">2</parameter>\n</invoke>\n</minimax:tool_call>"},
	    {"generic", "```json\n{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Paris\", \"days\": 2}}\n```"},
	    {"generic", "{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Paris\", \"days\": 2}}"},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct bytes text = {0};
		check(state, cases[i][0], cases[i][1], WEATHER);
		check(state, "generic", cases[i][1], WEATHER); /* which knows them all */
		bytes_append_format(&text, "%s\n", cases[i][1]);
		check(state, cases[i][0], text.data, WEATHER);
		bytes_free(&text);
	}
}

static void several_calls(void **state)
{
	check(state, "hermes",
	      "Two.\n<tool_call>{\"name\":\"now\",\"arguments\":{}}</tool_call>\n<tool_call>{\"name\":\"now\"}</tool_call>",
	      "Two.now{};now{};");
	check(state, "mistral",
	      "[TOOL_CALLS][{\"name\":\"now\",\"arguments\":{}}, {\"name\":\"now\",\"arguments\":{\"a\":1}}]",
	      "now{};now{\"a\":1};");
	check(state, "mistral", "[TOOL_CALLS]now[ARGS]{}[TOOL_CALLS]now[ARGS]{\"a\":1}", "now{};now{\"a\":1};");
	check(state, "llama3", "{\"name\":\"now\",\"parameters\":{}}; {\"name\":\"now\",\"parameters\":{\"a\":1}}",
	      "now{};now{\"a\":1};");
	check(state, "llama3", "{\"name\":\"now\",\"parameters\":{}}\n{\"name\":\"now\",\"parameters\":{\"a\":1}}",
	      "now{};now{\"a\":1};");
	check(state, "deepseek",
	      "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>now\n```json\n{}\n```<｜tool▁call▁end｜>\n"
	      "<｜tool▁call▁begin｜>function<｜tool▁sep｜>now\n```json\n{\"a\":1}\n```<｜tool▁call▁end｜><"
	      "｜tool▁calls▁end｜>",
	      "now{};now{\"a\":1};");
	check(state, "functionary-v3.2", ">>>all\nHi.\n>>>now\n{}>>>now\n{\"a\":1}", "Hi.now{};now{\"a\":1};");
	check(state, "functionary-v3.1", "<function=now>{}</function><function=now>{\"a\":1}</function>",
	      "now{};now{\"a\":1};");
	check(state, "glm", "<tool_call>now\n</tool_call>\n<tool_call>now</tool_call>", "now{};now{};");
	check(state, "kimi",
	      "Hm.<|tool_calls_section_begin|><|tool_call_begin|>functions.now:0<|tool_call_argument_begin|>{}<|tool_call_"
	      "end|>"
	      "<|tool_call_begin|>now:12<|tool_call_argument_begin|>{\"a\":1}<|tool_call_end|><|tool_calls_section_end|>",
	      "Hm.now{};now{\"a\":1};");
	check(
	    state, "minimax",
	    "<minimax:tool_call>\n<invoke name=\"now\">\n</invoke>\n<invoke name=\"now\">\n</invoke>\n</minimax:tool_call>",
	    "now{};now{};");
	check(state, "phi4", "<|tool_call|>[{\"name\":\"now\",\"arguments\":{}},{\"name\":\"now\"}]<|/tool_call|>",
	      "now{};now{};");
	check(state, "qwen3-coder",
	      "<tool_call>\n<function=now>\n</function>\n</tool_call>\n<tool_call>\n<function=now>\n</function>\n</"
	      "tool_call>",
	      "now{};now{};");
}

static void text_around_calls_is_kept(void **state)
{
	check(state, "hermes", "I look.\n\n<tool_call>{\"name\":\"now\"}</tool_call>\nDone.\n", "I look.now{};\nDone.\n");
	check(state, "hermes", "a < b, <tool_ca, 3\n\n4 <tool_call", "a < b, <tool_ca, 3\n\n4 <tool_call");
	check(state, "hermes", "<<tool_call>{\"name\":\"now\"}</tool_call>", "<now{};");
	check(state, "functionary-v3.2", "x >>> y\n>>>print(1)", "x >>> y\n>>>print(1)");
	check(state, "hermes", "<tool_call>{\"name\":\"now\"}", "now{};");
	check(state, "hermes", "<tool_call>{\"name\":\"now\"}</tool_", "now{};");
}

static void arguments_of_every_kind(void **state)
{
	check(state, "hermes",
	      "<tool_call>{\"name\":\"now\",\"arguments\":{\"s\":\"</tool_call> }{ \\\"q\\\" \\u00e9 "
	      "\\\\\",\"é\":[1,-2.5e+3,true,null,"
	      "{\"k\":{}}],\"t\":\"<tool_call>\"}}</tool_call>",
	      "now{\"s\":\"</tool_call> }{ \\\"q\\\" \\u00e9 "
	      "\\\\\",\"é\":[1,-2.5e+3,true,null,{\"k\":{}}],\"t\":\"<tool_call>\"};");
	check(state, "hermes",
	      "<tool_call>{\"arguments\":{\"name\":\"x\"},\"extra\":[1,{\"arguments\":2}],\"name\":\"now\"}</tool_call>",
	      "now{\"name\":\"x\"};");
	check(state, "hermes",
	      "<tool_call>{\"name\":\"now\",\"arguments\":\"{\\\"a\\\": \\\"\\u00e9\\ud83d\\ude00\\\\n\\\"}\"}</tool_call>",
	      "now{\"a\": \"é😀\\n\"};");
	/* Half of a pair stands alone unless the other half is the next character. */
	check(state, "hermes",
	      "<tool_call>{\"name\":\"now\",\"arguments\":\"{\\\"a\\\": "
	      "\\\"\\ud83d\\u002c\\ude00\\ud83d\\/\\ude00\\ud83d\\ud83d\\ude00x\\ud83d\\\"}\"}</tool_call>",
	      "now{\"a\": \"\uFFFD,\uFFFD\uFFFD/\uFFFD\uFFFD😀x\uFFFD\"};");
	check(state, "hermes", "<tool_call>{\"name\":\"now\",\"arguments\":null}</tool_call>", "now{};");
	check(state, "hermes", "<tool_call>{\"name\":\"now\",\"parameters\":{\"a\":1}}</tool_call>", "now{\"a\":1};");
	/* A line end in a string is not JSON, but plain what is meant. */
	check(state, "hermes", "<tool_call>{\"name\":\"now\",\"arguments\":{\"a\":\"1\n\t2\"}}</tool_call>",
	      "now{\"a\":\"1\\n\\t2\"};");
	check(state, "functionary-v3.1", "<function=now>{\"a\":\"</function>\"}</function>", "now{\"a\":\"</function>\"};");
}

static void parameters_become_json(void **state)
{
	check(state, "qwen3-coder",
	      "<tool_call>\n<function=get_weather>\n<parameter=city>\nSão \"P\"\n\nline\\ </param </parameter>\n"
	      "<parameter=days>\n12\n</parameter><parameter=tags>\n[\"a\", {\"b\": null}]\n</parameter>"
	      "<parameter=exact>True</parameter><parameter=note>\n5\n</parameter></function></tool_call>",
	      "get_weather{\"city\": \"São \\\"P\\\"\\n\\nline\\\\ </param \", \"days\": 12, \"tags\": [\"a\", {\"b\": "
	      "null}], "
	      "\"exact\": true, \"note\": \"5\"};");
	/* Values as Python spells them; line ends that are no layout. */
	check(state, "seed-oss",
	      "<seed:tool_call><function=get_weather><parameter=any>{'a': [True, None, -2.5, 'it\\'s \"q\"'], \"b'\": "
	      "'\\n\\xe9\\U0001f600'}</parameter><parameter=city>\n'x'\n</parameter><parameter=tags>['a]</parameter>"
	      "<parameter=exact>False</parameter><parameter=unknown>'tis</parameter></function></seed:tool_call>",
	      "get_weather{\"any\": {\"a\": [true, null, -2.5, \"it's \\\"q\\\"\"], \"b'\": "
	      "\"\\n\\u00e9\\ud83d\\ude00\"}, \"city\": \"\\n'x'\\n\", \"tags\": \"['a]\", \"exact\": false, "
	      "\"unknown\": \"'tis\"};");
	/* Escapes that lack a digit are Python's no more than JSON's. */
	check(state, "seed-oss",
	      "<seed:tool_call><function=get_weather><parameter=any>['\\xe\x19']</parameter><parameter=unknown>['\\xZZ']"
	      "</parameter></function></seed:tool_call>",
	      "get_weather{\"any\": \"['\\\\xe\\u0019']\", \"unknown\": \"['\\\\xZZ']\"};");
	check(state, "qwen3-coder",
	      "<function=get_weather><parameter=any>{\"a\": "
	      "1}</parameter><parameter=any>x}</parameter><parameter=days>\nmany\n"
	      "</parameter><parameter=city>\n\n</parameter><parameter=unknown>\nfalse\n</parameter></function>",
	      "get_weather{\"any\": {\"a\": 1}, \"any\": \"x}\", \"days\": \"many\", \"city\": \"\", \"unknown\": false};");
}

static void what_is_no_call_is_content(void **state)
{
	static const char *const texts[] = {
	    "<tool_call>",
	    "<tool_call>\n{\"name\": \"get_we",
	    "<tool_call>\nget_weather(city)\n</tool_call>",
	    "<tool_call>{\"arguments\":{\"city\":1}}</tool_call>",
	    "<tool_call>{\"name\":\"now\",\"arguments\":[1]}</tool_call>",
	    "<tool_call>{\"name\":\"\",\"arguments\":{}}</tool_call>",
	    "<tool_call>{\"name\":5}</tool_call>",
	    "<tool_call>[{\"name\":\"now\"}]</tool_call>",
	    "a\n\n<tool_call>{'name': 'now'}\n\n",
	};
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
		check(state, "hermes", texts[i], texts[i]);
	check(state, "llama3", "{\"name\": \"Bob\", \"parameters\": {}}", "{\"name\": \"Bob\", \"parameters\": {}}");
	check(state, "llama3", "{\"temperature\": 21}\n", "{\"temperature\": 21}\n");
	check(state, "llama3", "It is {\"name\": \"now\", \"parameters\": {}}",
	      "It is {\"name\": \"now\", \"parameters\": {}}");
	check(state, "hermes", "```json\n{\"name\": \"Bob\"}\n```", "```json\n{\"name\": \"Bob\"}\n```");
	check(state, "hermes", "```json\n[1]\n```", "```json\n[1]\n```");
	check(state, "mistral", "[TOOL_CALLS] or not", "[TOOL_CALLS] or not");
	check(state, "qwen3-coder", "<tool_call>\n<function=\n</tool_call>", "<tool_call>\n<function=\n</tool_call>");
	check(state, NULL, "<tool_call>{\"name\":\"now\"}</tool_call>", "<tool_call>{\"name\":\"now\"}</tool_call>");
	/* and does not hide the next one */
	check(state, "hermes", "<tool_call>{\"x\" 1}</tool_call>\n<tool_call>{\"name\":\"now\"}</tool_call>",
	      "<tool_call>{\"x\" 1}</tool_call>now{};");
}

static void a_call_that_goes_astray_is_taken_back(void **state)
{
	check(state, "hermes", "<tool_call>{\"name\":\"now\",\"arguments\":{\"a\":}}</tool_call>",
	      "now{\"a\":!(<tool_call>{\"name\":\"now\",\"arguments\":{\"a\":)}}</tool_call>");
	check(state, "hermes", "<tool_call>{\"name\":\"now\",\"arguments\":{\"a\": [1, 2",
	      "now{\"a\": [1, 2!(<tool_call>{\"name\":\"now\",\"arguments\":{\"a\": [1, 2)");
	check(state, "functionary-v3.1", "<function=now>{\"a\" 1}</function><function=now>{}</function>",
	      "now{\"a\" !(<function=now>{\"a\" )1}</function>now{};");
}

static void a_whole_answer_holds_whole_calls_alone(void **state)
{
	struct answer_reading reading = reading_of(*state, "hermes");
	static const char text[] = "<think>t</think>See:\n<tool_call>{\"name\":\"now\",\"arguments\":{\"a\":}</tool_call>\n"
	                           "<tool_call>{\"name\":\"get_weather\",\"arguments\":{\"city\":\"\\u00fc\"}}</tool_call>";
	struct answer answer = {0};
	struct error error;
	assert_true(answer_read(&reading, text, sizeof text - 1, &answer, &error));
	assert_string_equal(answer.reasoning.data, "t");
	assert_string_equal(answer.content.data, "See:\n<tool_call>{\"name\":\"now\",\"arguments\":{\"a\":}</tool_call>");
	assert_int_equal(answer.n_calls, 1);
	assert_string_equal(answer.calls[0].name, "get_weather");
	assert_string_equal(answer.calls[0].arguments, "{\"city\":\"\\u00fc\"}");
	assert_int_equal(answer.calls[0].n_arguments_bytes, strlen(answer.calls[0].arguments));
	answer_free(&answer);
	reading.single_call = true;
	static const char two[] = "<tool_call>{\"name\":\"now\"}</tool_call><tool_call>{\"name\":\"now\"}</tool_call>";
	assert_true(answer_read(&reading, two, sizeof two - 1, &answer, &error));
	assert_int_equal(answer.n_calls, 1);
	assert_int_equal(answer.content.n_bytes, 0);
	answer_free(&answer);
}

static void a_prompt_may_open_a_call_itself(void **state)
{
	struct answer_reading reading = reading_of(*state, "functionary-v3.2");
	answer_reading_begin(&reading, "assistant\n\n>>>", 14);
	assert_true(reading.in_call);
	check_reading(&reading, "all\nHi.>>>now\n{}", "Hi.now{};");
	check_reading(&reading, "now\n{}", "now{};");
	check_reading(&reading, "Hello there", "Hello there");
	answer_reading_begin(&reading, "assistant\n\n", 11);
	assert_false(reading.in_call);
}

/* Text that only looks like the beginning of a call does not wait for its end. */
static void json_that_is_no_call_flows(void **state)
{
	static const char *const texts[] = {"{\"city\": \"Par", "{\"name\": \"Bob\", \"age", "```json\n{\"a\": 1, \"b"};
	struct answer_reading reading = reading_of(*state, "hermes");
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
		struct error error;
		struct answer_part part;
		struct answer_reader *reader = answer_reader_create(&reading, &error);
		assert_non_null(reader);
		answer_reader_push(reader, texts[i], strlen(texts[i]));
		assert_true(answer_reader_next(reader, &part));
		assert_int_equal(part.kind, ANSWER_CONTENT);
		assert_int_equal(part.n_bytes, strlen(texts[i]));
		assert_memory_equal(part.text, texts[i], part.n_bytes);
		answer_reader_destroy(reader);
	}
}

static void a_forgotten_mark_is_forgiven(void **state)
{
	check(state, "hermes", "{\"name\": \"now\", \"arguments\": {}}\n{\"name\": \"now\", \"arguments\": {\"a\": 1}}",
	      "now{};now{\"a\": 1};");
	check(state, "mistral", "```json\n{\"name\": \"now\", \"arguments\": {}}\n```", "now{};");
}

/* ---- limits ---- */

static void what_is_longer_than_a_call_may_be_is_content(void **state)
{
	struct answer_reading reading = reading_of(*state, "hermes");
	struct bytes text = {0};
	struct answer answer = {0};
	struct error error;
	bytes_append_text(&text, "<tool_call>{\"name\":\"now\",\"arguments\":{\"a\":\"");
	for (int i = 0; i < ANSWER_MAX_CALL_BYTES / 16; i++)
		bytes_append_text(&text, "sixteen bytes...");
	bytes_append_text(&text, "\"}}</tool_call>");
	assert_false(text.failed);
	assert_true(answer_read(&reading, text.data, text.n_bytes, &answer, &error));
	assert_int_equal(answer.n_calls, 0);
	assert_int_equal(answer.content.n_bytes, text.n_bytes);
	assert_memory_equal(answer.content.data, text.data, text.n_bytes);
	answer_free(&answer);
	bytes_free(&text);
}

static void deep_nesting_is_no_call(void **state)
{
	struct bytes text = {0}, expected = {0};
	bytes_append_text(&text, "<function=now>{\"a\":");
	for (int i = 0; i < 100; i++)
		bytes_append_text(&text, "[");
	struct answer_reading reading = reading_of(*state, "functionary-v3.1");
	char *got = read_cut(&reading, text.data, text.n_bytes, 5);
	assert_non_null(strstr(got, "!(<function=now>{\"a\":[[["));
	free(got);
	bytes_free(&text);
	bytes_free(&expected);
}

static void markers_are_the_words_of_a_family(void **state)
{
	const char *markers[ANSWER_MAX_MARKERS];
	struct answer_reading reading = reading_of(*state, "mistral");
	int n_markers = answer_markers(&reading, markers);
	bool found = false;
	for (int i = 0; i < n_markers; i++)
		found = found || strcmp(markers[i], "[ARGS]") == 0;
	assert_true(found);
	reading = reading_of(*state, "generic");
	assert_true(answer_markers(&reading, markers) < ANSWER_MAX_MARKERS);
	reading = reading_of(*state, NULL);
	assert_int_equal(answer_markers(&reading, markers), 2);
}

/* ---- what published templates write ---- */

/* The rendering of a conversation of one question and, unless NULL, an assistant's message. Caller frees. */
static char *render(const struct chat_template *chat, const char *assistant)
{
	struct error error;
	struct bytes text = {0};
	struct rendering rendering = {0};
	bytes_append_format(
	    &text, "{\"messages\":[{\"role\":\"user\",\"content\":\"u\"}%s%s],\"add_generation_prompt\":%s,\"tools\":",
	    assistant ? "," : "", assistant ? assistant : "", assistant ? "false" : "true");
	bytes_append_text(&text, "[{\"type\":\"function\",\"function\":{\"name\":\"get_weather\",\"description\":\"d\","
	                         "\"parameters\":{\"type\":\"object\",\"properties\":{\"city\":{\"type\":\"string\","
	                         "\"description\":\"d\"}}}}}]}");
	struct json *conversation = json_parse(text.data, text.n_bytes, &(struct json_limits){0}, &error);
	assert_non_null(conversation);
	bool ok =
	    chat_template_render(chat, conversation, template_time_now(), &(struct template_limits){0}, &rendering, &error);
	if (!ok)
		print_message("%s\n", error.message);
	assert_true(ok);
	json_destroy(conversation);
	bytes_free(&text);
	char *rendered = rendering.text;
	rendering.text = NULL;
	rendering_free(&rendering);
	return rendered;
}

/* The assistant's message with a call, in the form that the template takes. Caller frees. */
static char *message_with_call(const struct chat_calls *calls, const char *id, const char *arguments, bool two)
{
	struct bytes text = {0}, call = {0};
	bytes_append_format(
	    &call, "{\"id\":\"%s\",\"type\":\"function\",\"function\":{\"name\":\"get_weather\",\"arguments\":", id);
	if (calls->as_object)
		bytes_append_text(&call, arguments);
	else
		json_write_string(&call, arguments, strlen(arguments));
	bytes_append_text(&call, "}}");
	bytes_append_format(&text, "{\"role\":\"assistant\",\"content\":%s,\"tool_calls\":[%s%s%s]}",
	                    calls->null_content ? "null" : "\"\"", call.data, two ? "," : "", two ? call.data : "");
	bytes_free(&call);
	return text.data;
}

/* What the model would have had to write: what its message adds to the prompt, without the end of its turn. */
static char *written_by_model(char *prompt, char *rendered)
{
	static const char *const ends[] = {"<|im_end|>",
	                                   "<|eot_id|>",
	                                   "<|eom_id|>",
	                                   "</s>",
	                                   "<｜end▁of▁sentence｜>",
	                                   "<|END_OF_TURN_TOKEN|>",
	                                   "<seed:eos>",
	                                   "<|end|>",
	                                   "<SPECIAL_12>",
	                                   "<|end_of_text|>",
	                                   "[e~["};
	size_t n = strlen(prompt);
	char *think = n > 16 ? strstr(prompt + n - 16, "<think>") : NULL;
	if (think && strncmp(prompt, rendered, n) != 0)
		*think = 0; /* which its history does not show */
	n = strlen(prompt);
	assert_memory_equal(prompt, rendered, n);
	char *answer = rendered + n;
	for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
		char *end = strstr(answer, ends[i]);
		if (end)
			*end = 0;
	}
	return answer;
}

static void check_template(const struct kit *kit, const char *path, const char *family, const char *arguments, bool two)
{
	struct error error;
	struct chat_template *chat = chat_template_load_file(path, "<s>", "</s>", &error);
	if (!chat)
		print_message("%s\n", error.message);
	assert_non_null(chat);
	struct answer_style style = chat_template_answers(chat, true);
	struct chat_calls calls = chat_template_calls(chat, true);
	assert_string_equal(style.tools->name, family);
	assert_true(calls.as_text || calls.as_object);
	two =
	    two && calls.several && !strstr(path, "DeepSeek-R1-Distill"); /* which writes the end after the second alone */
	struct answer_reading reading = {.reasoning = style.reasoning, .tools = style.tools, .offered = kit->tools};
	char *prompt = render(chat, NULL),
	     *message = message_with_call(&calls, style.tools->id_prefix ? "functions.get_weather:0" : "abcdefghi",
	                                  arguments, two);
	char *rendered = render(chat, message), *answer = written_by_model(prompt, rendered);
	answer_reading_begin(&reading, prompt, strlen(prompt));
	reading.in_reasoning = reading.in_reasoning || strncmp(answer, "</think>", 8) == 0;
	struct bytes expected = {0};
	for (int i = 0; i < 1 + two; i++)
		bytes_append_format(&expected, "get_weather%s;", arguments);
	check_reading(&reading, answer, expected.data);
	bytes_free(&expected);
	free(prompt);
	free(message);
	free(rendered);
	chat_template_destroy(chat);
}

/* Every kind of arguments, one call and two. */
static void check_template_file(const struct kit *kit, const char *path, const char *family)
{
	static const char *const arguments[] = {"{}", "{\"city\": \"Paris\"}",
	                                        "{\"a\": {\"b\": [1, -2.5, true, null, []]}, \"é😀\": \"</tool_call> "
	                                        "<tool_call> }{ [TOOL_CALLS] \\\"q\\\" \\\\ \\n ```\"}",
	                                        "{\"note\": \"\\n two lines\\n\\n\", \"days\": -3, \"exact\": true}"};
	for (size_t i = 0; i < sizeof arguments / sizeof *arguments; i++)
		for (int two = 0; two < 2; two++)
			check_template(kit, path, family, arguments[i], two);
}

static void what_published_templates_write_is_read_back(void **state)
{
	static const char *const cases[][2] = {
	    {"Qwen-Qwen2.5-7B-Instruct", "hermes"},
	    {"Qwen2.5-7B-Instruct", "hermes"},
	    {"Qwen3-4B", "hermes"},
	    {"NousResearch-Hermes-2-Pro-Llama-3-8B-tool_use", "hermes"},
	    {"NousResearch-Hermes-3-Llama-3.1-8B-tool_use", "hermes"},
	    {"Llama-3.2-3B-Instruct", "llama3"},
	    {"meta-llama-Llama-3.1-8B-Instruct", "llama3"},
	    {"meta-llama-Llama-3.2-3B-Instruct", "llama3"},
	    {"meta-llama-Llama-3.3-70B-Instruct", "llama3"},
	    {"mistralai-Mistral-Nemo-Instruct-2407", "mistral"},
	    {"deepseek-ai-DeepSeek-R1-Distill-Llama-8B", "deepseek"},
	    {"deepseek-ai-DeepSeek-R1-Distill-Qwen-32B", "deepseek"},
	    {"meetkai-functionary-medium-v3.1", "functionary-v3.1"},
	    {"meetkai-functionary-medium-v3.2", "functionary-v3.2"},
	    {"CohereForAI-c4ai-command-r7b-12-2024-tool_use", "command-r7b"},
	};
	const char *fixtures = getenv("TALLOW_FIXTURES");
	if (!fixtures)
		skip();
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		char path[4096];
		snprintf(path, sizeof path, "%s/chat/templates/%s.jinja", fixtures, cases[i][0]);
		check_template_file(*state, path, cases[i][1]);
	}
}

/* Templates of our own that write calls as published ones do. */
static void what_templates_write_is_read_back(void **state)
{
	static const char *const cases[][2] = {
	    {"deepseek-v3.1", "deepseek"},
	    {"glm", "glm"},
	    {"kimi", "kimi"},
	    {"minimax", "minimax"},
	    {"mistral-args", "mistral"},
	    {"mistral-ids", "mistral"},
	    {"nemotron", "nemotron"},
	    {"phi4", "phi4"},
	    {"qwen3-coder", "qwen3-coder"},
	    {"seed-oss", "seed-oss"},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		char path[256];
		snprintf(path, sizeof path, "tests/templates/calls/%s.jinja", cases[i][0]);
		check_template_file(*state, path, cases[i][1]);
	}
}

/* Published ones that the fixtures do not have: in a folder that TALLOW_TEMPLATES names (tests/README.md says where from). */
static void what_further_published_templates_write_is_read_back(void **state)
{
	static const char *const cases[][2] = {
	    {"Qwen3-Coder", "qwen3-coder"},
	    {"ByteDance-Seed-OSS", "seed-oss"},
	    {"Mistral-Small-3.2-24B-Instruct-2506", "mistral"},
	    {"unsloth-mistral-Devstral-Small-2507", "mistral"},
	    {"mistralai-Ministral-3-14B-Reasoning-2512", "mistral"},
	    {"deepseek-ai-DeepSeek-V3.1", "deepseek"},
	    {"GLM-4.6", "glm"},
	    {"GLM-4.7-Flash", "glm"},
	    {"moonshotai-Kimi-K2-Thinking", "kimi"},
	    {"MiniMax-M2", "minimax"},
	    {"NVIDIA-Nemotron-Nano-v2", "nemotron"},
	    {"NVIDIA-Nemotron-3-Nano-30B-A3B-BF16", "qwen3-coder"},
	    {"Qwen3.5-4B", "qwen3-coder"},
	    {"Qwen-Qwen3-0.6B", "hermes"},
	    {"Qwen-QwQ-32B", "hermes"},
	    {"ibm-granite-granite-4.0", "hermes"},
	    {"StepFun3.5-Flash", "qwen3-coder"},
	    {"Bielik-11B-v3.0-Instruct", "hermes"},
	    {"microsoft-Phi-4-mini-instruct", "phi4"},
	};
	const char *folder = getenv("TALLOW_TEMPLATES");
	if (!folder)
		skip();
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		char path[4096];
		snprintf(path, sizeof path, "%s/%s.jinja", folder, cases[i][0]);
		check_template_file(*state, path, cases[i][1]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(reasoning_is_split_off),
	    cmocka_unit_test(what_is_no_reasoning_is_content),
	    cmocka_unit_test(a_prompt_may_open_reasoning_itself),
	    cmocka_unit_test(other_tags_of_reasoning_are_known_by_the_template),
	    cmocka_unit_test(one_call_in_every_form),
	    cmocka_unit_test(several_calls),
	    cmocka_unit_test(text_around_calls_is_kept),
	    cmocka_unit_test(arguments_of_every_kind),
	    cmocka_unit_test(parameters_become_json),
	    cmocka_unit_test(what_is_no_call_is_content),
	    cmocka_unit_test(a_call_that_goes_astray_is_taken_back),
	    cmocka_unit_test(a_whole_answer_holds_whole_calls_alone),
	    cmocka_unit_test(a_prompt_may_open_a_call_itself),
	    cmocka_unit_test(json_that_is_no_call_flows),
	    cmocka_unit_test(a_forgotten_mark_is_forgiven),
	    cmocka_unit_test(what_is_longer_than_a_call_may_be_is_content),
	    cmocka_unit_test(deep_nesting_is_no_call),
	    cmocka_unit_test(markers_are_the_words_of_a_family),
	    cmocka_unit_test(what_templates_write_is_read_back),
	    cmocka_unit_test(what_published_templates_write_is_read_back),
	    cmocka_unit_test(what_further_published_templates_write_is_read_back),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
