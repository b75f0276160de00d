/* Constraints: languages and patterns, GBNF, schemas; what is refused and where; that what was accepted can go on. */
#include <pthread.h>
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
#include "text/grammar/pattern.h"
#include "text/tokenizer.h"

static struct grammar *compile(enum grammar_kind kind, const char *source)
{
	struct error error = {0};
	struct grammar *grammar = grammar_compile(kind, source, strlen(source), NULL, &error);
	if (!grammar)
		fail_msg("%s: %s", source, error.message);
	return grammar;
}

static bool takes(struct grammar *grammar, const char *text)
{
	grammar_restart(grammar);
	return grammar_take(grammar, text, strlen(text)) && grammar_complete(grammar);
}

/* Lists end with NULL. */
struct expectation {
	enum grammar_kind kind;
	const char *source;
	const char *accepted[10], *rejected[10];
};

static void check_all(const struct expectation *list, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct grammar *grammar = compile(list[i].kind, list[i].source);
		for (const char *const *text = list[i].accepted; *text; text++)
			if (!takes(grammar, *text))
				fail_msg("%s must accept %s", list[i].source, *text);
		for (const char *const *text = list[i].rejected; *text; text++)
			if (takes(grammar, *text))
				fail_msg("%s must not accept %s", list[i].source, *text);
		grammar_destroy(grammar);
	}
}
#define CHECK_ALL(list) check_all(list, sizeof(list) / sizeof *(list))

static void patterns_mean_what_ecma_says(void **state)
{
	(void)state;
	static const struct expectation list[] = {
	    {GRAMMAR_REGEX, "a(b|c)*d?", {"a", "ab", "abcbcd", "ad"}, {"", "b", "add", "abd "}},
	    {GRAMMAR_REGEX, "[^a-c]{2,3}", {"xy", "\xC3\xA9\xC3\xA9", "\n\t "}, {"x", "xa", "wxyz"}},
	    {GRAMMAR_REGEX, "\\d+\\.\\w\\s", {"12.a ", "0._\xC2\xA0"}, {"12.\xC3\xA9 ", "x.a "}},
	    {GRAMMAR_REGEX, ".", {"a", "\xF0\x9F\x98\x80"}, {"\n", "\xE2\x80\xA8", ""}},
	    {GRAMMAR_REGEX, "^ab$|^c", {"ab", "c"}, {"abc", "cc"}},
	    {GRAMMAR_REGEX, "(?=.*\\d)(?!.*x)[a-z0-9]{3,}", {"ab1", "1zz"}, {"abc", "ax1", "a1"}},
	    {GRAMMAR_REGEX,
	     "\\u00e9\\x41\\u{1F600}\\uD83D\\uDE00",
	     {"\xC3\xA9"
	      "A\xF0\x9F\x98\x80\xF0\x9F\x98\x80"},
	     {"A"}},
	    {GRAMMAR_REGEX,
	     "\\p{Lu}\\P{L}",
	     {"\xC3\x89"
	      "1",
	      "A-"},
	     {"a1", "AB"}},
	    {GRAMMAR_REGEX, "a{2}{|x{y}", {"aa{", "x{y}"}, {"aa", "x"}},
	    {GRAMMAR_REGEX, "(?:a|ab)(?<n>c|bcd)", {"ac", "abc", "abcd"}, {"ab", "abbcdd"}},
	};
	CHECK_ALL(list);
}

static void choices_are_whole(void **state)
{
	(void)state;
	static const struct expectation list[] = {
	    {GRAMMAR_CHOICE,
	     "[\"yes\",\"no\",\"now\",\"n\xC3\xB6\",\"no\",\"\"]",
	     {"yes", "no", "now", "n\xC3\xB6", ""},
	     {"n", "noo"}},
	};
	CHECK_ALL(list);
}

static void gbnf_is_followed(void **state)
{
	(void)state;
	static const struct expectation list[] = {
	    {GRAMMAR_GBNF,
	     "root ::= \"a\" (b | \"c\"){2,3} # end\nb ::= [x-z]+\n",
	     {"acc", "axyzc", "acxc"},
	     {"ac", "acccc"}},
	    {GRAMMAR_GBNF, "root ::= \"(\" root? \")\"", {"()", "((()))"}, {"(", "())"}},
	    {GRAMMAR_GBNF,
	     "root  ::= expr \"=\" term \"\\n\"\nexpr  ::= term ([-+*/] term)*\nterm  ::= num | \"(\" expr \")\"\n"
	     "num   ::= [0-9]+\n",
	     {"1+2=3\n", "(1*(2-3))/4=5\n"},
	     {"1+=3\n", "1+2=3"}},
	    {GRAMMAR_GBNF, "root ::=\n  \"a\" |\n  [^a\\n\\]]{2} | .{3,} ", {"a", "bc", "aaa"}, {"b", "a]", ""}},
	    {GRAMMAR_GBNF, "root ::= \"\" | a\na ::= \"\\x41\\u00e9\"", {"", "A\xC3\xA9"}, {"A"}},
	};
	CHECK_ALL(list);
}

static void schemas_are_enforced(void **state)
{
	(void)state;
	static const struct expectation list[] = {
	    {GRAMMAR_JSON_OBJECT,
	     "",
	     {"{}", "{\"a\":[1,{\"b\":null}]}", "{\"a\": 1, \"b\": \"\\n\\u001f\"}"},
	     {"[]", "1", "{\"a\"}"}},
	    {GRAMMAR_JSON_SCHEMA, "true", {"1", "[]", "\"x\"", "-0.5e+3", "null"}, {"01", "-", "\"\\/\"", "1e999", "nul"}},
	    {GRAMMAR_JSON_SCHEMA,
	     "{\"type\":\"object\",\"properties\":{\"order\":{\"const\":1},\"orderId\":{\"type\":\"integer\"}},"
	     "\"required\":"
	     "[\"order\"],\"additionalProperties\":false}",
	     {"{\"order\":1}", "{\"order\":1,\"orderId\":-20}"},
	     {"{}", "{\"orderId\":1,\"order\":1}", "{\"order\":2}", "{\"order\":1,\"x\":1}",
	      "{\"order\":1,\"orderId\":1.5}"}},
	    {GRAMMAR_JSON_SCHEMA,
	     "{\"type\":\"number\",\"minimum\":-1.5,\"exclusiveMaximum\":100.25}",
	     {"-1.5", "-1.49", "0", "100.249", "99.9990", "100"},
	     {"-1.51", "100.25", "100.250", "1000", "-2", "-10", "-0"}},
	    {GRAMMAR_JSON_SCHEMA,
	     "{\"type\":\"integer\",\"multipleOf\":7,\"minimum\":50}",
	     {"56", "63", "7000000000000000000007"},
	     {"49", "57", "-7", "0", "56.0"}},
	    /* What draft 4 did not know counts for nothing in it, and no number with a point is an integer. */
	    {GRAMMAR_JSON_SCHEMA,
	     "{\"$schema\":\"http://json-schema.org/draft-04/schema#\",\"type\":\"array\",\"items\":[{\"const\":1},"
	     "{\"if\":true,\"then\":false},{\"type\":\"integer\"},{\"not\":{\"type\":\"integer\"}},{\"enum\":[1]}]}",
	     {"[2,0,1,1.0]", "[2,0,1,1e0,1.0]", "[2,0,1,\"\",1]", "[2,0,1,1e300]"},
	     {"[2,0,1.0]", "[2,0,1,1]", "[2,0,1,1.5,2]", "[2,0,1e300]"}},
	    /* An id has its $ since draft 6; without, it names nothing there. */
	    {GRAMMAR_JSON_SCHEMA,
	     "{\"$schema\":\"http://json-schema.org/draft-07/schema#\",\"definitions\":{\"a\":{\"type\":\"integer\"}},"
	     "\"type\":\"array\",\"items\":{\"id\":\"b\",\"definitions\":{\"a\":{\"type\":\"string\"}},"
	     "\"allOf\":[{\"$ref\":\"#/definitions/a\"}]}}",
	     {"[1]"},
	     {"[\"\"]"}},
	    {GRAMMAR_JSON_SCHEMA,
	     "{\"$schema\":\"http://json-schema.org/draft-04/schema#\",\"definitions\":{\"a\":{\"type\":\"integer\"}},"
	     "\"type\":\"array\",\"items\":[{\"id\":\"b\",\"definitions\":{\"a\":{\"type\":\"string\"}},"
	     "\"allOf\":[{\"$ref\":\"#/definitions/a\"}]},{\"$id\":\"c\",\"allOf\":[{\"$ref\":\"#/definitions/a\"}]}]}",
	     {"[\"\",1]"},
	     {"[1", "[\"\",\"\"]"}},
	    /* A set without numbers asks nothing of one. */
	    {GRAMMAR_JSON_SCHEMA, "{\"not\":{\"enum\":[\"a\",null]}}", {"1e300", "true"}, {"\"a\"", "null"}},
	    {GRAMMAR_JSON_SCHEMA,
	     "{\"multipleOf\":0.01,\"type\":\"number\"}",
	     {"0.01", "5", "-12.34", "1.10"},
	     {"0.001", "1.234"}},
	    {GRAMMAR_JSON_SCHEMA,
	     "{\"type\":\"string\",\"minLength\":2,\"maxLength\":3,\"pattern\":\"^[a-c\\u00e9\\\"]+$\"}",
	     {"\"ab\"", "\"\xC3\xA9\xC3\xA9\xC3\xA9\"", "\"\\\"\\\"\""},
	     {"\"a\"", "\"abca\"", "\"abd\"", "\"\\u0061b\""}},
	    {GRAMMAR_JSON_SCHEMA,
	     "{\"type\":\"array\",\"prefixItems\":[{\"const\":\"x\"}],\"items\":{\"type\":\"boolean\"},\"minItems\":1,"
	     "\"contains\":{\"const\":true},\"maxContains\":2}",
	     {"[\"x\",true]", "[\"x\",false,true,true]"},
	     {"[]", "[\"x\"]", "[\"x\",true,true,true]", "[true]"}},
	    {GRAMMAR_JSON_SCHEMA,
	     "{\"oneOf\":[{\"type\":\"integer\",\"multipleOf\":2},{\"type\":\"integer\",\"multipleOf\":3}]}",
	     {"2", "3", "-9", "10"},
	     {"6", "0", "5", "\"x\""}},
	    {GRAMMAR_JSON_SCHEMA,
	     "{\"type\":\"object\",\"properties\":{\"k\":{\"enum\":[\"a\",\"b\"]}},\"required\":[\"k\"],\"if\":{"
	     "\"properties\":"
	     "{\"k\":{\"const\":\"a\"}}},\"then\":{\"required\":[\"x\"],\"properties\":{\"x\":{\"type\":\"null\"}}},"
	     "\"unevaluatedProperties\":false}",
	     {"{\"k\":\"b\"}", "{\"k\":\"a\",\"x\":null}"},
	     {"{\"k\":\"a\"}", "{\"k\":\"b\",\"x\":null}", "{\"k\":\"b\",\"y\":1}"}},
	    {GRAMMAR_JSON_SCHEMA,
	     "{\"$defs\":{\"t\":{\"type\":\"object\",\"properties\":{\"c\":{\"type\":\"array\",\"items\":{\"$ref\":\"#/"
	     "$defs/t\"}}},"
	     "\"additionalProperties\":false}},\"$ref\":\"#/$defs/t\"}",
	     {"{}", "{\"c\":[{},{\"c\":[]}]}"},
	     {"{\"c\":{}}", "{\"c\":[1]}"}},
	    {GRAMMAR_JSON_SCHEMA,
	     "{\"type\":\"object\",\"patternProperties\":{\"^n_\":{\"type\":\"number\"}},\"additionalProperties\":{"
	     "\"type\":\"string\"},"
	     "\"propertyNames\":{\"maxLength\":4},\"maxProperties\":2}",
	     {"{\"n_a\":1,\"b\":\"\"}", "{}"},
	     {"{\"n_a\":\"\"}", "{\"b\":1}", "{\"n_abc\":1}", "{\"a\":\"\",\"b\":\"\",\"c\":\"\"}"}},
	    {GRAMMAR_JSON_SCHEMA,
	     "{\"not\":{\"type\":[\"string\",\"object\",\"array\"]},\"enum\":[1,\"a\",[1],null]}",
	     {"1", "null"},
	     {"\"a\"", "[1]"}},
	};
	CHECK_ALL(list);
}

/* uniqueItems: values are compared, not texts; what of it there are too few never begins. */
#define TEN_ZEROS  "0000000000"
#define NINE_ZEROS "000000000"
#define ZEROS_59   TEN_ZEROS TEN_ZEROS TEN_ZEROS TEN_ZEROS TEN_ZEROS NINE_ZEROS

/* Below 1 digits count from the first that is not zero: plain as far as 1e-60, with an exponent beyond. */
static void small_numbers_are_numbers(void **state)
{
	(void)state;
	static const char tiny[] = "0." ZEROS_59 "15", below[] = "1.5e-62", beyond[] = "0." ZEROS_59 "05";
	static const struct expectation list[] = {
	    {GRAMMAR_JSON_SCHEMA,
	     "{\"type\":\"number\",\"minimum\":0}",
	     {tiny, below, "0." ZEROS_59 "0", "0." TEN_ZEROS "1" ZEROS_59},
	     {beyond, "1.5e-60", "-0." ZEROS_59 "15", "-0." ZEROS_59 "0", "0." TEN_ZEROS "11" ZEROS_59}},
	    {GRAMMAR_JSON_SCHEMA, "{\"const\":1.5e-60,\"minimum\":0}", {tiny}, {below, "0." ZEROS_59 "1"}},
	    {GRAMMAR_JSON_SCHEMA,
	     "{\"type\":\"number\",\"exclusiveMinimum\":-1.5e-60,\"maximum\":1.5e-60}",
	     {tiny, "0", below, "-0." ZEROS_59 "149", "-1.5e-62", "0." ZEROS_59 "150"},
	     {"-0." ZEROS_59 "15", "0." ZEROS_59 "151", "0.1"}},
	    {GRAMMAR_JSON_SCHEMA,
	     "{\"type\":\"number\",\"not\":{\"type\":\"integer\"}}",
	     {tiny, "-0." ZEROS_59 "15", below, "1.5", "-99.01" TEN_ZEROS, "0.1" ZEROS_59},
	     {beyond, "1." ZEROS_59 "01", "12.0", "0.0", "0.1" ZEROS_59 "0"}},
	};
	CHECK_ALL(list);
}

/* An integer is its digits: with an exponent 2.1 would be the beginning of one. */
static void integers_are_digits(void **state)
{
	(void)state;
	static const struct expectation list[] = {
	    {GRAMMAR_JSON_SCHEMA,
	     "{\"type\":\"integer\"}",
	     {"0", "-7", "21", "1" TEN_ZEROS TEN_ZEROS TEN_ZEROS},
	     {"2.1e80", "1e300", "-1e90", "7E2", "2.0"}},
	    {GRAMMAR_JSON_SCHEMA,
	     "{\"type\":[\"integer\",\"null\"],\"minimum\":-5}",
	     {"0", "null", "123"},
	     {"2.5e90", "1e300", "-6"}},
	    {GRAMMAR_JSON_SCHEMA,
	     "{\"type\":\"array\",\"uniqueItems\":true,\"items\":{\"type\":\"integer\"}}",
	     {"[1,2]"},
	     {"[1,1]", "[2.5e90]", "[1e300]"}},
	    {GRAMMAR_JSON_SCHEMA, "{\"type\":\"integer\",\"enum\":[1,2.5,1e300]}", {"1", "1e300"}, {"2", "10"}},
	    {GRAMMAR_JSON_SCHEMA, "{\"type\":\"number\"}", {"2.1", "2.1e80", "1e300"}, {"1e309"}},
	};
	CHECK_ALL(list);
}

static void items_differ(void **state)
{
	(void)state;
	static const struct expectation list[] = {
	    {GRAMMAR_JSON_SCHEMA,
	     "{\"type\":\"array\",\"uniqueItems\":true,\"items\":{\"type\":\"string\"}}",
	     {"[]", "[\"a\",\"\", \"aa\"]", "[\"\\\"\",\"\\\\\",\"\\u0001\",\"\\\\\\\"\"]", "[\"1,\\\"1\",\"1\"]"},
	     {"[\"a\",\"a\"]", "[\"a\",\"b\", \"a\"]", "[\"\\n\",\"\\n\"]", "[\"\\\\\",\"\\\\\"]", "[\",\",\",\"]"}},
	    {GRAMMAR_JSON_SCHEMA,
	     "{\"type\":\"array\",\"uniqueItems\":true,\"items\":{\"type\":[\"number\",\"string\",\"boolean\",\"null\"]}}",
	     {"[1,\"1\",10,0,false,null,\"null\"]", "[1.5,1.05,15,1e300,1.5e300]", "[0.1,0.10000000000000001]"},
	     {"[1,1]", "[1,1.0]", "[1.50,1.5]", "[-2.0,-2]", "[0,0.00]", "[1e300,1e300]", "[true,true]", "[null,null]"}},
	    {GRAMMAR_JSON_SCHEMA,
	     "{\"type\":\"array\",\"uniqueItems\":true,\"items\":{\"enum\":[1,2.0,\"a\",\"ab\"]},\"minItems\":3}",
	     {"[\"ab\",\"a\",2]", "[2,1,\"ab\",\"a\"]"},
	     {"[1,2]", "[1,2,1]", "[1,2,\"a\",\"ab\",1]", "[\"ab\",2,\"ab\"]", "[\"ab\",\"a\",2,1,"}},
	    {GRAMMAR_JSON_SCHEMA,
	     "{\"type\":\"array\",\"uniqueItems\":true,\"prefixItems\":[{\"type\":\"boolean\"},{\"enum\":[true,2]}],"
	     "\"items\":false}",
	     {"[true]", "[true,2]", "[false,true]"},
	     {"[true,true]", "[false,2,", "[2"}},
	    {GRAMMAR_JSON_SCHEMA,
	     "{\"$schema\":\"http://json-schema.org/draft-04/"
	     "schema#\",\"items\":{\"enum\":[1,2.5]},\"type\":\"array\",\"uniqueItems\":true}",
	     {"[1.0,2.5]", "[2.50,1]"},
	     {"[1.0,1]", "[2.5,2.50]"}},
	    {GRAMMAR_JSON_SCHEMA,
	     "{\"type\":\"array\",\"uniqueItems\":true,\"items\":{\"type\":\"object\"},\"maxItems\":1}",
	     {"[]", "[{\"a\":1}]"},
	     {"[{},"}},
	    {GRAMMAR_JSON_SCHEMA,
	     "{\"type\":\"array\",\"items\":{\"type\":\"array\",\"uniqueItems\":true,\"items\":{\"enum\":[1,2]}}}",
	     {"[[1,2],[1,2],[2]]", "[[],[]]"},
	     {"[[1,2],[1,1]]"}},
	};
	CHECK_ALL(list);
}

static void many_items_differ(void **state)
{
	(void)state;
	struct grammar *grammar = compile(
	    GRAMMAR_JSON_SCHEMA, "{\"type\":\"array\",\"items\":{\"type\":[\"string\",\"integer\"]},\"uniqueItems\":true,"
	                         "\"minItems\":1000}");
	for (int i = 0; i < 1000; i++) {
		char item[64];
		int number = i * 7919 % 3001;
		int n = snprintf(item, sizeof item, i % 2 ? ",\"the item %d of some\"" : ",%d", number);
		for (int k = 0; k < n; k++) {
			char byte = i == 0 && k == 0 ? '[' : item[k];
			assert_true(grammar_take(grammar, &byte, 1));
		}
		assert_int_equal(grammar_may_take(grammar, "]", 1), i == 999);
		strcat(item, ",");
		assert_false(grammar_may_take(grammar, item, strlen(item)));
		assert_true(grammar_may_take(grammar, ",\"the item\",3002,", 17));
	}
	assert_null(grammar_failed(grammar));
	grammar_destroy(grammar);
	grammar = compile(GRAMMAR_JSON_SCHEMA,
	                  "{\"type\":\"array\",\"items\":{\"type\":\"integer\",\"minimum\":-3,\"maximum\":3},"
	                  "\"uniqueItems\":true,\"minItems\":7}");
	assert_true(takes(grammar, "[-3,-2,-1,0,1,2,3]"));
	grammar_restart(grammar);
	assert_true(grammar_take(grammar, "[-3,-2,-1,0,1,2,3", 17));
	assert_false(grammar_may_take(grammar, ",", 1));
	grammar_destroy(grammar);
}

static struct bytes repeated(const char *start, const char *part, size_t n, const char *end)
{
	struct bytes text = {0};
	bytes_append_text(&text, start);
	for (size_t i = 0; i < n; i++)
		bytes_append_text(&text, part);
	bytes_append_text(&text, end);
	return text;
}

/* Each level can be read in three ways, and so can all of them together: derivations that meet in a rule are followed once. */
static void texts_of_many_readings_are_followed(void **state)
{
	(void)state;
	static const struct {
		enum grammar_kind kind;
		const char *source, *open, *end;
	} list[] = {
	    {GRAMMAR_GBNF,
	     "root ::= a | b\na ::= \"x\" | \"(\" a c | \"(\" b c\nb ::= \"x\" | \"(\" a \")\" | \"(\" b c\nc ::= d "
	     "\")\"\nd ::= \"\"\n",
	     "(", ")"},
	    {GRAMMAR_JSON_SCHEMA,
	     "{\"$ref\":\"#/$defs/"
	     "n\",\"$defs\":{\"n\":{\"type\":[\"object\",\"null\"],\"anyOf\":[{\"properties\":{\"a\":{\"$ref\":"
	     "\"#/$defs/n\"}}},{\"properties\":{\"a\":{\"$ref\":\"#/$defs/m\"}}},{\"type\":\"null\"}]},"
	     "\"m\":{\"type\":[\"object\",\"null\"],\"anyOf\":[{\"properties\":{\"a\":{\"$ref\":\"#/$defs/m\"}}},"
	     "{\"properties\":{\"a\":{\"$ref\":\"#/$defs/n\"}}}]}}}",
	     "{\"a\":", "}"},
	};
	for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
		enum { DEPTH = 60 };
		struct grammar *grammar = compile(list[i].kind, list[i].source);
		struct bytes text = repeated("", list[i].open, DEPTH, i == 0 ? "x" : "null");
		for (int k = 0; k < DEPTH; k++) {
			assert_false(takes(grammar, text.data));
			bytes_append_text(&text, list[i].end);
		}
		assert_true(takes(grammar, text.data));
		bytes_append_text(&text, list[i].end);
		assert_false(takes(grammar, text.data));
		bytes_free(&text);
		grammar_destroy(grammar);
	}
}

/* Every stretch of the text is each rule. Byte by byte such a text can be followed; at once, it runs out of steps in a
 * moment. */
static void steps_end_what_can_be_read_in_too_many_ways(void **state)
{
	(void)state;
	struct grammar *grammar = compile(GRAMMAR_GBNF, "root ::= (b | [^x-z\\n]){2,3} root?\nb ::= .+\n");
	struct bytes text = repeated("", "ax", 2000, "");
	for (size_t i = 0; i < 500; i++)
		assert_true(grammar_take(grammar, text.data + i, 1));
	assert_null(grammar_failed(grammar));
	assert_false(grammar_take(grammar, text.data, text.n_bytes));
	assert_non_null(strstr(grammar_failed(grammar), "steps"));
	bytes_free(&text);
	grammar_destroy(grammar);
}

static void what_cannot_be_enforced_is_refused_where_it_stands(void **state)
{
	(void)state;
	static const struct {
		enum grammar_kind kind;
		const char *source, *pointer;
	} list[] = {
	    {GRAMMAR_JSON_SCHEMA, "{\"properties\":{\"a/b\":{\"pattern\":\"(?<=x)y\"}}}", "/properties/a~1b/pattern"},
	    {GRAMMAR_JSON_SCHEMA, "{\"pattern\":\"((((\"}", "/pattern"},
	    {GRAMMAR_JSON_SCHEMA, "{\"pattern\":\"^+\"}", "/pattern"},
	    {GRAMMAR_JSON_SCHEMA, "{\"pattern\":\"{2}\"}", "/pattern"},
	    {GRAMMAR_JSON_SCHEMA, "{\"pattern\":\"(a)\\\\1\"}", "/pattern"},
	    {GRAMMAR_JSON_SCHEMA, "{\"items\":{\"$ref\":\"http://example.com/x\"}}", "/items/$ref"},
	    {GRAMMAR_JSON_SCHEMA, "{\"$ref\":\"#/nowhere\"}", "/$ref"},
	    {GRAMMAR_JSON_SCHEMA, "{\"$ref\":\"#\"}", "/$ref"},
	    {GRAMMAR_JSON_SCHEMA, "{\"allOf\":[{\"$ref\":\"#/allOf/0\"}]}", "/allOf/0/$ref"},
	    {GRAMMAR_JSON_SCHEMA, "{\"anyOf\":[{\"not\":{\"$ref\":\"#\"}}]}", "/anyOf/0/not/$ref"},
	    {GRAMMAR_JSON_SCHEMA, "{\"type\":\"array\",\"minItems\":3,\"maxItems\":2}", ""},
	    {GRAMMAR_JSON_SCHEMA, "{\"enum\":[]}", ""},
	    {GRAMMAR_JSON_SCHEMA,
	     "{\"type\":\"object\",\"properties\":[{},{}],\"required\":[\"a\",\"b\"],\"additionalProperties\":false}",
	     "/properties"},
	    {GRAMMAR_JSON_SCHEMA,
	     "{\"type\":\"object\",\"not\":{\"properties\":[{},{}],\"additionalProperties\":{\"type\":\"null\"}}}",
	     "/not/additionalProperties"},
	    {GRAMMAR_JSON_SCHEMA, "{\"allOf\":[{\"type\":\"string\"},{\"type\":\"null\"}]}", ""},
	    {GRAMMAR_JSON_SCHEMA, "{\"type\":\"array\",\"uniqueItems\":true}", "/uniqueItems"},
	    {GRAMMAR_JSON_SCHEMA, "{\"type\":\"array\",\"items\":{\"enum\":[1,[2]]},\"uniqueItems\":true}", "/uniqueItems"},
	    {GRAMMAR_JSON_SCHEMA,
	     "{\"items\":{\"type\":\"array\",\"items\":{\"type\":\"null\"},\"contains\":{\"const\":1},\"uniqueItems\":true}"
	     "}",
	     "/items/uniqueItems"},
	    {GRAMMAR_JSON_SCHEMA,
	     "{\"prefixItems\":[{\"const\":1}],\"items\":{\"type\":\"integer\"},\"minItems\":2,\"uniqueItems\":true,"
	     "\"type\":\"array\"}",
	     "/uniqueItems"},
	    {GRAMMAR_JSON_SCHEMA, "{\"not\":{\"uniqueItems\":true}}", "/not/uniqueItems"},
	    {GRAMMAR_JSON_SCHEMA,
	     "{\"items\":{\"type\":\"boolean\"},\"minItems\":3,\"uniqueItems\":true,\"type\":\"array\"}", ""},
	    {GRAMMAR_JSON_SCHEMA, "{\"type\":\"array\",\"minItems\":100000}", "/minItems"},
	    {GRAMMAR_JSON_SCHEMA, "{\"format\":\"regex\"}", "/format"},
	    {GRAMMAR_JSON_SCHEMA, "{\"type\":\"strng\"}", "/type"},
	    {GRAMMAR_JSON_SCHEMA, "{\"properties\":{\"a\":3}}", "/properties/a"},
	    {GRAMMAR_JSON_SCHEMA, "{\"$schema\":\"http://example.com/mine\"}", "/$schema"},
	    {GRAMMAR_JSON_SCHEMA, "[", ""},
	    {GRAMMAR_GBNF, "root ::= root \"a\" | \"b\"", "line 1"},
	    {GRAMMAR_GBNF, "root ::= a root\na ::= \"x\"?\n", "line 1"},
	    {GRAMMAR_GBNF, "root ::= root", "line 1"},
	    {GRAMMAR_GBNF, "root ::= a\n", "line 1"},
	    {GRAMMAR_GBNF, "a ::= \"x\"\n", "line 1"},
	    {GRAMMAR_GBNF, "root ::= \"x\"{1000000000}", "line 1"},
	    {GRAMMAR_GBNF, "root ::= a\na ::= \"x\" a", ""},
	    {GRAMMAR_REGEX, "a\\b", "byte 1"},
	    {GRAMMAR_REGEX, "x{3,1}", "byte 1"},
	    {GRAMMAR_REGEX, "\xFF", ""},
	    {GRAMMAR_CHOICE, "[]", ""},
	    {GRAMMAR_CHOICE, "[1]", ""},
	};
	for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
		struct grammar_report report = {0};
		struct error error = {0};
		assert_null(grammar_compile(list[i].kind, list[i].source, strlen(list[i].source), &report, &error));
		assert_int_equal(error.code, ERROR_CONSTRAINT);
		assert_true(report.n_refused > 0);
		if (strcmp(report.refused[0].pointer, list[i].pointer) != 0)
			fail_msg("%s: refused at %s: %s", list[i].source, report.refused[0].pointer, report.refused[0].why);
		grammar_report_free(&report);
	}
}

/* Cut anywhere, a pattern is read no further than it is long: ASan watches. */
static void patterns_end_where_they_end(void **state)
{
	(void)state;
	static const char pattern[] = "^([\\\"\\u{1F600}-\\u{1F64F}\\x41\\cJ\\p{gc=Lu}\\uD83D\\uDE00\\]a-\xC3\xA9^-]{2,3}|("
	                              "?:b|\\P{L})*?)\\u{41}[^\\d][\",\\u{41}]$";
	for (size_t n = 0; n < sizeof pattern; n++) {
		struct error error = {0};
		char *text = malloc(n + !n);
		assert_non_null(text);
		memcpy(text, pattern, n);
		grammar_destroy(grammar_compile(GRAMMAR_REGEX, text, n, NULL, &error));
		free(text);
	}
	struct error error = {0};
	assert_null(grammar_compile(GRAMMAR_REGEX, "[\",\\u{", 6, NULL, &error));
	grammar_destroy(compile(GRAMMAR_REGEX, pattern));
}

/* What a pattern names by a property is thousands of ranges: they are found once, and each is a step. */
static void properties_take_steps(void **state)
{
	(void)state;
	static const struct expectation list[] = {
	    {GRAMMAR_REGEX, "[\\p{Lu}\\p{Nd}-]+", {"A-7", "\xC3\x89"}, {"", "a", "_", "\xC3\xA9"}},
	    {GRAMMAR_REGEX, "[^\\P{L}b-z]+", {"aA", "\xC3\xA9"}, {"", "b", "7"}},
	    {GRAMMAR_REGEX, "\\P{C}\\p{ASCII}", {"a\t", "\xC3\xA9z"}, {"\ta", "a\xC3\xA9"}},
	    {GRAMMAR_REGEX, "[\\p{L}\\P{L}]", {"a", "7", "\xF4\x8F\xBF\xBF"}, {"", "aa"}},
	};
	CHECK_ALL(list);
	struct languages *languages = languages_create(NULL);
	struct pattern_fault fault;
	assert_non_null(languages);
	languages_allow(languages, 1000);
	assert_int_not_equal(pattern_compile(languages, "\\p{L}", 5, true, &fault), LANGUAGE_NONE);
	assert_int_equal(pattern_compile(languages, "\\p{L}[\\p{L}x]", 13, true, &fault), LANGUAGE_NONE);
	assert_string_equal(languages_failed(languages), "steps");
	languages_destroy(languages);
}

static void alternatives_take_steps_by_their_number(void **state)
{
	(void)state;
	struct languages *languages = languages_create(NULL);
	uint32_t any = LANGUAGE_NONE;
	assert_non_null(languages);
	languages_allow(languages, 100000);
	for (int i = 0; i < 500; i++) {
		char text[20];
		int n = snprintf(text, sizeof text, "%d", i);
		any = language_either(languages, any, language_text(languages, text, (size_t)n));
	}
	assert_null(languages_failed(languages));
	languages_allow(languages, 1000);
	for (int i = 0; i < 500; i++)
		(void)language_either(languages, any, LANGUAGE_EMPTY);
	assert_string_equal(languages_failed(languages), "steps");
	languages_destroy(languages);
	/* Hundreds of ranges, each of which leads to hundreds of alternatives: the same for most. */
	struct bytes source = repeated("", "\\p{L}?", 400, "");
	struct grammar *grammar = compile(GRAMMAR_REGEX, source.data);
	assert_true(takes(grammar, "a\xC3\xA9"));
	assert_false(takes(grammar, "a7"));
	grammar_destroy(grammar);
	bytes_free(&source);
}

static void alternatives_may_be_none(void **state)
{
	(void)state;
	struct languages *languages = languages_create(NULL);
	assert_non_null(languages);
	assert_int_equal(language_either_of(languages, NULL, 0), LANGUAGE_NONE);
	assert_int_equal(language_one_of(languages, NULL, 0), LANGUAGE_NONE);
	assert_null(languages_failed(languages));
	languages_destroy(languages);
}

/* Numbers have nine digits at most in what may come, though not in what is meant. */
static void formats_have_ends(void **state)
{
	(void)state;
	static const struct expectation list[] = {
	    {GRAMMAR_JSON_SCHEMA,
	     "{\"type\":\"string\",\"format\":\"duration\"}",
	     {"\"P999999999D\"", "\"PT3H14M\""},
	     {"\"P1000000000D\"", "\"PT0000000000S\""}},
	    {GRAMMAR_JSON_SCHEMA,
	     "{\"type\":\"string\",\"format\":\"date-time\"}",
	     {"\"2024-03-05T14:30:00.123456789Z\"", "\"2024-03-05T14:30:00+01:00\""},
	     {"\"2024-03-05T14:30:00.1234567890Z\""}},
	    {GRAMMAR_JSON_SCHEMA,
	     "{\"type\":\"string\",\"format\":\"time\"}",
	     {"\"14:30:00.000000000Z\"", "\"23:59:60.5Z\""},
	     {"\"14:30:00.0000000000Z\"", "\"23:59:60.0000000000Z\""}},
	    {GRAMMAR_JSON_SCHEMA,
	     "{\"type\":\"string\",\"not\":{\"format\":\"duration\"}}",
	     {"\"P1000000000\"", "\"3 hours\""},
	     {"\"P1000000000D\"", "\"PT1S\""}},
	    {GRAMMAR_JSON_SCHEMA,
	     "{\"type\":\"string\",\"format\":\"email\"}",
	     {"\"a1234567890123456789012345678901234567890123456789012345678901.3@b\"", "\"jo.smith@example.com\""},
	     {"\"a1234567890123456789012345678901234567890123456789012345678901.34@b\"", "\"@b\""}},
	};
	CHECK_ALL(list);
}

static void unknown_formats_are_noted(void **state)
{
	(void)state;
	static const char schema[] = "{\"type\":\"string\",\"format\":\"colour\"}";
	struct grammar_report report = {0};
	struct error error = {0};
	struct grammar *grammar = grammar_compile(GRAMMAR_JSON_SCHEMA, schema, sizeof schema - 1, &report, &error);
	assert_non_null(grammar);
	assert_int_equal(report.n_notes, 1);
	assert_string_equal(report.notes[0].pointer, "/format");
	grammar_report_free(&report);
	grammar_destroy(grammar);
}

/* ---- large and deep ---- */

static void deep_sources_are_refused(void **state)
{
	(void)state;
	struct bytes sources[] = {repeated("", "{\"not\":", 10000, ""), repeated("root ::= ", "(", 60000, "\"a\""),
	                          repeated("", "(", 60000, "a")};
	static const enum grammar_kind kinds[] = {GRAMMAR_JSON_SCHEMA, GRAMMAR_GBNF, GRAMMAR_REGEX};
	for (int i = 0; i < 3; i++) {
		struct error error = {0};
		assert_null(grammar_compile(kinds[i], sources[i].data, sources[i].n_bytes, NULL, &error));
		assert_int_equal(error.code, ERROR_CONSTRAINT);
		bytes_free(&sources[i]);
	}
}

static void large_sources_are_taken(void **state)
{
	(void)state;
	struct bytes chain = {0}, values = {0};
	bytes_append_text(&chain, "root ::= r0\n");
	for (int i = 0; i < 5000; i++)
		bytes_append_format(&chain, "r%d ::= r%d\n", i, i + 1);
	bytes_append_text(&chain, "r5000 ::= \"x\"\n");
	struct grammar *grammar = compile(GRAMMAR_GBNF, chain.data);
	assert_true(takes(grammar, "x"));
	grammar_destroy(grammar);
	bytes_append_text(&values, "{\"enum\":[0");
	for (int i = 0; i < 100000; i++)
		bytes_append_format(&values, ",\"value %d\"", i);
	bytes_append_text(&values, "]}");
	grammar = compile(GRAMMAR_JSON_SCHEMA, values.data);
	assert_true(takes(grammar, "\"value 99999\""));
	assert_false(takes(grammar, "\"value 100000\""));
	grammar_destroy(grammar);
	bytes_free(&chain);
	bytes_free(&values);
	grammar = compile(GRAMMAR_JSON_SCHEMA, "{\"type\":\"string\",\"maxLength\":2147483648,\"pattern\":\"(a+)+$\"}");
	assert_true(takes(grammar, "\"baaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\""));
	assert_false(takes(grammar, "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab\""));
	grammar_destroy(grammar);
}

/* A thread's stack as the server's connections have it (server.c). */
enum {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	STACK_BYTES = 1 << 20,
#else
	STACK_BYTES = 256 << 10,
#endif
};

struct compiling {
	enum grammar_kind kind;
	struct bytes source;
	const char *text;
	bool compiled, taken;
};

static void *compile_and_take(void *context)
{
	struct compiling *c = context;
	struct error error = {0};
	struct grammar *grammar = grammar_compile(c->kind, c->source.data, c->source.n_bytes, NULL, &error);
	c->compiled = grammar != NULL;
	c->taken = grammar && takes(grammar, c->text);
	grammar_destroy(grammar);
	return NULL;
}

/* Frees the source. */
static void check_on_a_small_stack(enum grammar_kind kind, struct bytes source, const char *text)
{
	struct compiling c = {.kind = kind, .source = source, .text = text};
	pthread_t thread;
	pthread_attr_t attributes;
	assert_false(source.failed);
	assert_int_equal(pthread_attr_init(&attributes), 0);
	assert_int_equal(pthread_attr_setstacksize(&attributes, STACK_BYTES), 0);
	assert_int_equal(pthread_create(&thread, &attributes, compile_and_take, &c), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	pthread_attr_destroy(&attributes);
	if (!c.compiled || !c.taken)
		fail_msg("%.60s... must %s", source.data, c.compiled ? "accept its text" : "be taken");
	bytes_free(&source);
}

static void long_chains_need_no_deep_stack(void **state)
{
	(void)state;
	check_on_a_small_stack(GRAMMAR_REGEX, repeated("", "a?", 1500, ""), "aaa");
	check_on_a_small_stack(GRAMMAR_JSON_SCHEMA,
	                       repeated("{\"type\":\"string\",\"minLength\":1,\"pattern\":\"^", "a?", 700, "$\"}"),
	                       "\"aa\"");
	check_on_a_small_stack(GRAMMAR_REGEX, repeated("k|", "abcdefghij", 1000, ""), "k");
	struct bytes nested = repeated("", "(?:x|(?:b", 99, "a");
	for (int i = 0; i < 99; i++)
		bytes_append_text(&nested, ")?)");
	check_on_a_small_stack(GRAMMAR_REGEX, nested, "bbx");
}

static void strings_may_begin_each_other(void **state)
{
	(void)state;
	struct bytes values = {0}, name = {0};
	bytes_append_text(&values, "[\"\"");
	for (int i = 0; i < 2500; i++) {
		bytes_append_text(&name, i % 100 == 7 ? "\xC3\xA9" : "a");
		bytes_append_format(&values, ",\"%s\",\"%sb\"", name.data, name.data);
	}
	bytes_append_text(&values, "]");
	check_on_a_small_stack(GRAMMAR_CHOICE, values,
	                       "aaaaaaa\xC3\xA9"
	                       "ab");
	bytes_free(&name);
	static const struct expectation list[] = {
	    {GRAMMAR_CHOICE,
	     "[\"ab\",\"abc\",\"b\",\"ab\",\"abd\",\"\xC3\xA9x\",\"\xC3\xA8\",\"bcd\"]",
	     {"ab", "abc", "abd", "b", "bcd", "\xC3\xA8", "\xC3\xA9x"},
	     {"", "a", "abcd", "bc", "\xC3\xA9", "\xC3\xA8x", "c"}},
	    {GRAMMAR_CHOICE, "[\"\"]", {""}, {"a"}},
	    {GRAMMAR_CHOICE, "[\"abc\"]", {"abc"}, {"", "ab", "abcc"}},
	    {GRAMMAR_CHOICE, "[\"\",\"xy\"]", {"", "xy"}, {"x"}},
	};
	CHECK_ALL(list);
}

/* ---- whatever was accepted can go on ---- */

static const char *const walked[] = {
    "true",
    "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\",\"maxLength\":5},\"b\":{\"type\":\"number\","
    "\"minimum\":-1,"
    "\"maximum\":0.5},\"c\":{\"$ref\":\"#\"}},\"required\":[\"b\"],\"additionalProperties\":false}",
    "{\"type\":\"array\",\"items\":{\"anyOf\":[{\"type\":\"string\",\"format\":\"date-time\"},{\"type\":\"integer\","
    "\"multipleOf\":13},"
    "{\"type\":\"string\",\"format\":\"ipv6\"}]},\"minItems\":2,\"maxItems\":4}",
    "{\"oneOf\":[{\"type\":\"string\",\"pattern\":\"^a.*b$\",\"maxLength\":9},{\"type\":\"string\",\"pattern\":\"c\","
    "\"maxLength\":7}]}",
    "{\"type\":\"object\",\"patternProperties\":{\"^x\":{\"type\":\"null\"}},\"propertyNames\":{\"pattern\":\"^[x-"
    "z\\u00e9]{1,4}$\"},"
    "\"additionalProperties\":{\"enum\":[\"q\",7]},\"minProperties\":1}",
    "{\"type\":\"array\",\"uniqueItems\":true,\"items\":{\"enum\":[\"\",\",\",\"a\",\"a,\",1,1.5,true,null]},"
    "\"minItems\":3}",
    "{\"type\":\"array\",\"uniqueItems\":true,\"items\":{\"type\":[\"string\",\"number\"],\"pattern\":\"^["
    "a\\\"\\n\u00e9]*$\"}}",
    "{\"not\":{\"anyOf\":[{\"type\":\"object\"},{\"type\":\"array\"},{\"type\":\"number\",\"minimum\":3},"
    "{\"type\":\"string\",\"minLength\":4},{\"const\":true}"
    "]}}",
};

/* Bytes at random, of those that may come. After `eager` of them an end is taken whenever it may be. */
static void walk(struct grammar *grammar, uint64_t *seed, size_t eager, struct bytes *text)
{
	enum { MOST_BYTES = 20000, TRIES = 256 + 6 };
	grammar_restart(grammar);
	bytes_clear(text);
	while (text->n_bytes < MOST_BYTES) {
		if (grammar_complete(grammar) && text->n_bytes >= eager)
			return;
		*seed = *seed * 6364136223846793005ULL + 1442695040888963407ULL;
		static const char closing[] = "\"}]0:n";
		int i = 0;
		for (; i < TRIES; i++) {
			bool closes = text->n_bytes >= eager && i < (int)sizeof closing - 1;
			char byte = closes ? closing[i] : (char)((*seed >> 33) + (uint64_t)i);
			if (!grammar_take(grammar, &byte, 1))
				continue;
			bytes_append(text, &byte, 1);
			break;
		}
		if (i == TRIES) {
			assert_true(grammar_complete(grammar));
			return;
		}
	}
}

static void what_was_accepted_can_go_on_and_is_json(void **state)
{
	(void)state;
	uint64_t seed = 7;
	struct bytes text = {0};
	int n_complete = 0;
	for (size_t i = 0; i < sizeof walked / sizeof *walked; i++) {
		struct grammar *grammar = compile(GRAMMAR_JSON_SCHEMA, walked[i]);
		for (int n = 0; n < 100; n++) {
			struct error error = {0};
			walk(grammar, &seed, (size_t)n, &text);
			assert_null(grammar_failed(grammar));
			if (!grammar_complete(grammar))
				continue;
			n_complete++;
			struct json_limits limits = {.max_depth = 500, .allow_duplicates = true};
			struct json *value = json_parse(text.data, text.n_bytes, &limits, &error);
			if (!value)
				fail_msg("%s: %s", text.data, error.message);
			json_destroy(value);
		}
		grammar_destroy(grammar);
	}
	assert_true(n_complete > 500);
	bytes_free(&text);
}

/* ---- tokens ---- */

struct masks_test {
	const struct tokenizer *tokenizer;
	struct grammar_vocabulary *vocabulary;
	uint32_t *mask;
	int32_t n_ids;
};

static bool ends_answers(const struct masks_test *t, int32_t id)
{
	int n_ends;
	const int32_t *ends = tokenizer_end_ids(t->tokenizer, &n_ends);
	for (int i = 0; i < n_ends; i++)
		if (ends[i] == id)
			return true;
	return false;
}

/* In each state along a text. */
static void check_masks(const struct masks_test *t, const char *schema, const char *text, size_t n_bytes)
{
	struct error error = {0};
	struct grammar *grammar = compile(GRAMMAR_JSON_SCHEMA, schema), *other = compile(GRAMMAR_JSON_SCHEMA, schema);
	for (size_t n = 0; n <= n_bytes; n++) {
		assert_true(grammar_mask(grammar, t->vocabulary, t->mask, &error));
		for (int32_t id = 0; id < t->n_ids; id++) {
			grammar_restart(other);
			assert_true(grammar_take(other, text, n));
			bool may = ends_answers(t, id) ? grammar_complete(other) : grammar_token(other, t->vocabulary, id);
			if ((t->mask[id / 32] >> id % 32 & 1) != may)
				fail_msg("%s after %.*s: token %d must %sfollow", schema, (int)n, text, (int)id, may ? "" : "not ");
		}
		if (n < n_bytes)
			assert_true(grammar_take(grammar, text + n, 1));
	}
	grammar_destroy(grammar);
	grammar_destroy(other);
}

/* The mask is what following each token says: along a text, and along random ones of schemas whose strings are any, of one
 * class, of some length, or of a shape. */
static void masks_are_what_following_says(void **state)
{
	(void)state;
	static const char *const shapes[] = {
	    "{\"type\":\"string\",\"maxLength\":12}",
	    "{\"type\":\"string\",\"pattern\":\"^[a-z\u00e0-\u00ff ]{2,9}$\"}",
	    "{\"type\":\"string\",\"pattern\":\"^[^aeiou]*$\",\"maxLength\":7}",
	    "{\"type\":\"string\",\"pattern\":\"^(th|in|co).{0,4}(e|er)$\"}",
	    "{\"not\":{\"enum\":[\"the\",\"in\",7]},\"type\":[\"string\",\"number\"]}",
	    "{\"type\":\"array\",\"uniqueItems\":true,\"items\":{\"type\":\"string\",\"maxLength\":1},\"minItems\":9}",
	    "{\"properties\":{\"the\":{\"const\":1},\"then\":{}},\"additionalProperties\":{\"enum\":[true]},\"type\":"
	    "\"object\"}",
	};
	static const char differ[] =
	    "{\"type\":\"array\",\"items\":{\"type\":[\"string\",\"number\"]},\"uniqueItems\":true}";
	static const char items[] = "[\"a\",\"an\", \"\",\"a,\",1,12,\"1\",1.5,\"a\\\"\"]";
	static const char text[] = "{\"a\":\"xy \\n\xC3\xA9\",\"b\":-0.25,\"c\":{\"b\":0}}";
	struct error error = {0};
	struct tokenizer *tokenizer = tokenizer_load("models/tallow-tiny", &error);
	assert_non_null(tokenizer);
	struct masks_test t = {.tokenizer = tokenizer, .n_ids = tokenizer_vocab_size(tokenizer)};
	t.vocabulary = grammar_vocabulary_create(tokenizer, &error);
	assert_non_null(t.vocabulary);
	t.mask = calloc(grammar_mask_words(t.vocabulary), sizeof *t.mask);
	check_masks(&t, walked[1], text, sizeof text - 1);
	check_masks(&t, differ, items, sizeof items - 1);
	struct bytes random = {0};
	uint64_t seed = 11;
	for (size_t i = 0; i < sizeof shapes / sizeof *shapes + sizeof walked / sizeof *walked; i++) {
		size_t n_shapes = sizeof shapes / sizeof *shapes;
		const char *schema = i < n_shapes ? shapes[i] : walked[i - n_shapes];
		struct grammar *grammar = compile(GRAMMAR_JSON_SCHEMA, schema);
		walk(grammar, &seed, 8, &random);
		check_masks(&t, schema, random.data, random.n_bytes < 24 ? random.n_bytes : 24);
		grammar_destroy(grammar);
	}
	bytes_free(&random);
	grammar_vocabulary_destroy(t.vocabulary);
	tokenizer_destroy(tokenizer);
	free(t.mask);
}

/* ---- tokens that must come ---- */

static const char *const key_words[] = {"sentiment",
                                        "get",
                                        "weather",
                                        "user",
                                        "name",
                                        "ID",
                                        "Temperature",
                                        "days",
                                        "\xC3\xBC"
                                        "ber",
                                        "\xE5\x90\x8D\xE5\x89\x8D",
                                        "2",
                                        "1024",
                                        "is",
                                        "valid",
                                        "HTTP",
                                        "x"};
static const char *const key_joints[] = {"_", "", "-", " ", ".", "__", "'s ", "/"};
static const char *const values[] = {"\"free text, here\"", "-12.5", "true", "[1,2]", "\"mi\xC3\xA8vre\"", "{\"a\":1}"};
static const char *const value_types[] = {"\"string\"", "\"number\"", "\"boolean\"",
                                          "\"array\"",  "\"string\"", "\"object\""};
enum { N_VALUES = sizeof values / sizeof *values };

static size_t below(uint64_t *seed, size_t n)
{
	*seed = *seed * 6364136223846793005ULL + 1442695040888963407ULL;
	return (size_t)(*seed >> 33) % n;
}

/* An object with members of made-up names, and its schema. */
static void make_members(uint64_t *seed, struct bytes *schema, struct bytes *text)
{
	const char *separator = below(seed, 2) ? ", " : ",", *colon = below(seed, 2) ? ": " : ":";
	struct bytes required = {0};
	bytes_append_text(schema, "{\"type\":\"object\",\"additionalProperties\":false,\"properties\":{");
	bytes_append_text(text, "{");
	for (size_t i = 0, n = 1 + below(seed, 4); i < n; i++) {
		char name[96];
		size_t n_name = 0;
		for (size_t n_words = 1 + below(seed, 3); n_words > 0; n_words--)
			n_name += (size_t)snprintf(name + n_name, sizeof name - n_name, "%s%s",
			                           key_joints[below(seed, sizeof key_joints / sizeof *key_joints)],
			                           key_words[below(seed, sizeof key_words / sizeof *key_words)]);
		snprintf(name + n_name, sizeof name - n_name, "%.*s", i > 0, &"BCD"[i - 1 + !i]); /* all differ */
		size_t value = below(seed, N_VALUES);
		bytes_append_format(schema, "%s\"%s\":{\"type\":%s}", i ? "," : "", name, value_types[value]);
		bytes_append_format(&required, "%s\"%s\"", i ? "," : "", name);
		bytes_append_format(text, "%s\"%s\"%s%s", i ? separator : "", name, colon, values[value]);
	}
	bytes_append_format(schema, "},\"required\":[%.*s]}", (int)required.n_bytes, required.data);
	bytes_append_text(text, "}");
	bytes_free(&required);
}

/* Counts tokens of the tokenizer's own cut of a text that were known before. */
static size_t follow_cut(const struct tokenizer *tokenizer, const struct grammar_vocabulary *vocabulary,
                         const char *schema, const struct bytes *text, size_t *n_tokens)
{
	struct error error = {0};
	struct token_ids ids = {0};
	struct grammar *grammar = compile(GRAMMAR_JSON_SCHEMA, schema);
	size_t n_known = 0;
	assert_true(tokenizer_encode(tokenizer, text->data, text->n_bytes, TOKENIZER_CONTINUES, &ids, &error));
	for (size_t i = 0; i < ids.n_ids; i++) {
		int32_t forced = grammar_forced_token(grammar, vocabulary);
		if (forced >= 0 && forced != ids.ids[i])
			fail_msg("token %zu of %.*s is %d, not %d (%s)", i, (int)text->n_bytes, text->data, (int)ids.ids[i],
			         (int)forced, schema);
		n_known += forced >= 0;
		assert_true(grammar_token(grammar, vocabulary, ids.ids[i]));
	}
	assert_true(grammar_complete(grammar));
	*n_tokens += ids.n_ids;
	token_ids_free(&ids);
	grammar_destroy(grammar);
	return n_known;
}

static void check_forced(const char *model)
{
	struct error error = {0};
	struct tokenizer *tokenizer = tokenizer_load(model, &error);
	if (!tokenizer)
		fail_msg("%s", error.message);
	struct grammar_vocabulary *vocabulary = grammar_vocabulary_create(tokenizer, &error);
	assert_non_null(vocabulary);
	uint64_t seed = 3;
	size_t n_tokens = 0, n_known = 0;
	for (int i = 0; i < 150; i++) {
		struct bytes schema = {0}, text = {0};
		make_members(&seed, &schema, &text);
		bytes_append(&schema, "", 1);
		n_known += follow_cut(tokenizer, vocabulary, schema.data, &text, &n_tokens);
		bytes_free(&schema);
		bytes_free(&text);
	}
	if (n_known * 10 < n_tokens * 4)
		fail_msg("%s: only %zu of %zu tokens are known before", model, n_known, n_tokens);
	grammar_vocabulary_destroy(vocabulary);
	tokenizer_destroy(tokenizer);
}

/* What a text leaves no choice about comes as the tokenizer cuts the whole. */
static void forced_tokens_are_the_tokenizers(void **state)
{
	(void)state;
	static const char *const tokenizers[] = {"llama-2", "llama-3.2", "qwen2.5", "gpt-2", "phi-3-mini"};
	const char *fixtures = getenv("TALLOW_FIXTURES");
	check_forced("models/tallow-tiny");
	for (size_t i = 0; fixtures && i < sizeof tokenizers / sizeof *tokenizers; i++) {
		char path[512];
		snprintf(path, sizeof path, "%s/tokenizers/%s", fixtures, tokenizers[i]);
		check_forced(path);
	}
}

static void canonical_texts_have_the_schemas_order(void **state)
{
	(void)state;
	static const struct {
		const char *schema, *value, *text;
	} list[] = {
	    /* Which of two orders fits shows behind the object. */
	    {"{\"oneOf\":[{\"properties\":{\"o\":{\"properties\":{\"b\":{},\"c\":{},\"a\":{}}},\"v\":{\"const\":1}},"
	     "\"required\":[\"v\"]},{\"properties\":{\"o\":{\"properties\":{\"a\":{},\"b\":{}}},\"v\":{\"const\":2}},"
	     "\"required\":[\"v\"]}]}",
	     "{\"v\":2,\"o\":{\"c\":0,\"b\":0,\"a\":0}}", "{\"o\":{\"a\":0,\"b\":0,\"c\":0},\"v\":2}"},
	    {"{\"properties\":{\"a\":{},\"b\":{}}}", "{\"z\": 1.50e1, \"b\": [ ], \"a\": \"\\u0041\\/\\u00e9\"}",
	     "{\"a\":\"A/\xC3\xA9\",\"b\":[],\"z\":15}"},
	    {"{\"anyOf\":[{\"properties\":{\"a\":{\"const\":1},\"b\":{}}},{\"properties\":{\"b\":{},\"a\":{\"const\":2}}}]"
	     "}",
	     "{\"a\":2,\"b\":0}", "{\"b\":0,\"a\":2}"},
	    {"{\"type\":\"number\"}", "1e300", "1e300"},
	    {"{\"type\":\"number\"}", "-0.0", "0"},
	    /* To draft 4 these are no integers, and they stay none. */
	    {"{\"$schema\":\"http://json-schema.org/draft-04/schema#\",\"not\":{\"type\":\"integer\"}}",
	     "[-1e14,1e15,-1.2E+20]", "[-100000000000000.0,1e15,-1.2e20]"},
	};
	for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
		struct error error = {0};
		struct bytes text = {0};
		struct grammar *grammar = compile(GRAMMAR_JSON_SCHEMA, list[i].schema);
		struct json *value = json_parse(list[i].value, strlen(list[i].value), &(struct json_limits){0}, &error);
		assert_non_null(value);
		assert_true(grammar_canonical(grammar, value, &text));
		assert_string_equal(text.data, list[i].text);
		assert_true(takes(grammar, text.data));
		bytes_free(&text);
		json_destroy(value);
		grammar_destroy(grammar);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(patterns_mean_what_ecma_says),
	    cmocka_unit_test(choices_are_whole),
	    cmocka_unit_test(gbnf_is_followed),
	    cmocka_unit_test(schemas_are_enforced),
	    cmocka_unit_test(small_numbers_are_numbers),
	    cmocka_unit_test(integers_are_digits),
	    cmocka_unit_test(items_differ),
	    cmocka_unit_test(many_items_differ),
	    cmocka_unit_test(texts_of_many_readings_are_followed),
	    cmocka_unit_test(steps_end_what_can_be_read_in_too_many_ways),
	    cmocka_unit_test(what_cannot_be_enforced_is_refused_where_it_stands),
	    cmocka_unit_test(patterns_end_where_they_end),
	    cmocka_unit_test(properties_take_steps),
	    cmocka_unit_test(alternatives_take_steps_by_their_number),
	    cmocka_unit_test(alternatives_may_be_none),
	    cmocka_unit_test(formats_have_ends),
	    cmocka_unit_test(unknown_formats_are_noted),
	    cmocka_unit_test(deep_sources_are_refused),
	    cmocka_unit_test(large_sources_are_taken),
	    cmocka_unit_test(long_chains_need_no_deep_stack),
	    cmocka_unit_test(strings_may_begin_each_other),
	    cmocka_unit_test(what_was_accepted_can_go_on_and_is_json),
	    cmocka_unit_test(masks_are_what_following_says),
	    cmocka_unit_test(forced_tokens_are_the_tokenizers),
	    cmocka_unit_test(canonical_texts_have_the_schemas_order),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
