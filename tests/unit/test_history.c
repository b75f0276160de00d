/* Conversations as their templates want them: calls in the history, in the form that each template takes, and what is none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "server/generation/history.h"
#include "text/chat_calls.h"

static const struct history_style objects = {.calls = {.as_object = true, .odd_text = true, .several = true}};
static const struct history_style texts = {.calls = {.as_text = true, .null_content = true, .several = true}};

/* Messages in, messages out; NULL: nothing had to be changed. */
static void check(const struct history_style *style, const char *messages, const char *expected)
{
	struct bytes text = {0}, got = {0};
	struct error error;
	struct json *made;
	bytes_append_format(&text, "{\"messages\":[%s]}", messages);
	struct json *conversation = json_parse(text.data, text.n_bytes, &(struct json_limits){0}, &error);
	assert_non_null(conversation);
	assert_true(history_prepare(conversation, style, &made, &error));
	if (!expected) {
		assert_null(made);
	} else {
		assert_non_null(made);
		for (const struct json *message = json_first(json_get(made, "messages")); message;
		     message = json_next(message)) {
			bytes_append_text(&got, got.n_bytes ? "," : "");
			json_write_value(&got, message);
		}
		assert_string_equal(got.data, expected);
	}
	json_destroy(made);
	json_destroy(conversation);
	bytes_free(&got);
	bytes_free(&text);
}

#define CALL(id, arguments)                                                                                            \
	"{\"id\":\"" id "\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":" arguments "}}"
#define CALLS(content, calls) "{\"role\":\"assistant\",\"content\":" content ",\"tool_calls\":[" calls "]}"

static void arguments_have_the_form_of_the_template(void **state)
{
	(void)state;
	check(&objects, CALLS("\"\"", CALL("1", "\"{\\\"a\\\": 1.50}\"")), CALLS("\"\"", CALL("1", "{\"a\":1.50}")));
	check(&objects, CALLS("\"x\"", CALL("1", "{\"a\":[]}")), CALLS("\"x\"", CALL("1", "{\"a\":[]}")));
	check(&objects, CALLS("null", CALL("1", "\"\"")), CALLS("\"\"", CALL("1", "{}")));
	check(&objects, CALLS("null", CALL("1", "null")), CALLS("\"\"", CALL("1", "{}")));
	check(&texts, CALLS("\"\"", CALL("1", "{\"a\":1}")), CALLS("null", CALL("1", "\"{\\\"a\\\":1}\"")));
	check(&texts, CALLS("\"x\"", CALL("1", "\"{ }\"")), CALLS("\"x\"", CALL("1", "\"{ }\"")));
	struct history_style both = {.calls = {.as_object = true, .as_text = true, .several = true}};
	check(&both, CALLS("\"\"", CALL("1", "\"{ }\"") "," CALL("2", "{}")),
	      CALLS("\"\"", CALL("1", "\"{ }\"") "," CALL("2", "{}")));
}

static void calls_that_are_none_are_passed_on(void **state)
{
	(void)state;
	struct history_style strict = objects;
	strict.calls.odd_text = false;
	check(&objects, CALLS("\"\"", CALL("1", "\"{\\\"a\\\": \"")), CALLS("\"\"", CALL("1", "\"{\\\"a\\\": \"")));
	check(&strict, CALLS("\"\"", CALL("1", "\"{\\\"a\\\": \"")),
	      CALLS("\"\"", CALL("1", "{\"arguments\":\"{\\\"a\\\": \"}")));
	check(&strict, CALLS("\"\"", CALL("1", "[7]")), CALLS("\"\"", CALL("1", "{\"arguments\":\"[7]\"}")));
	check(
	    &objects, CALLS("\"x\"", "{\"id\":\"1\"},5," CALL("1", "{}")),
	    "{\"role\":\"assistant\",\"content\":\"x\\n{\\\"id\\\":\\\"1\\\"}\\n5\",\"tool_calls\":[" CALL("1", "{}") "]}");
	check(&objects, CALLS("\"\"", "\"f()\""), "{\"role\":\"assistant\",\"content\":\"\\\"f()\\\"\"}");
	check(&objects, CALLS("\"x\"", ""), "{\"role\":\"assistant\",\"content\":\"x\"}");
	check(&objects, "{\"role\":\"assistant\",\"tool_calls\":{\"a\":1}}",
	      "{\"role\":\"assistant\",\"content\":\"{\\\"a\\\":1}\"}");
	check(&objects, "{\"role\":\"assistant\",\"content\":\"x\",\"tool_calls\":null}",
	      "{\"role\":\"assistant\",\"content\":\"x\"}");
}

static void one_call_a_message_where_more_are_refused(void **state)
{
	(void)state;
	struct history_style single = objects;
	single.calls.several = false;
	check(&single, CALLS("\"x\"", CALL("1", "{}") "," CALL("2", "{}")),
	      CALLS("\"x\"", CALL("1", "{}")) "," CALLS("\"\"", CALL("2", "{}")));
}

static void ids_have_the_form_of_the_template(void **state)
{
	(void)state;
	char id[HISTORY_ID_BYTES], again[HISTORY_ID_BYTES];
	history_short_id("abcDEF012", 9, 9, id);
	assert_string_equal(id, "abcDEF012");
	history_short_id("call_1", 6, 9, id);
	history_short_id("call_1", 6, 9, again);
	assert_string_equal(id, again);
	assert_int_equal(strlen(id), 9);
	struct history_style nine = objects;
	nine.id_characters = 9;
	struct bytes expected = {0};
	bytes_append_format(&expected, "{\"role\":\"tool\",\"tool_call_id\":\"%s\",\"content\":\"r\"}", id);
	check(&nine, "{\"role\":\"tool\",\"tool_call_id\":\"call_1\",\"content\":\"r\"}", expected.data);
	bytes_free(&expected);
	static const char call[] = CALLS("\"\"", "{\"function\":{\"name\":\"f\"}}");
	struct history_style numbered = objects;
	numbered.id_prefix = "functions.";
	check(&numbered,
	      CALLS("\"\"", CALL("a", "{}")) "," CALLS(
	          "\"\"",
	          CALL("b", "{}") "," CALL(
	              "c", "{}")) ","
	                          "{\"role\":\"tool\",\"tool_call_id\":\"c\"},{\"role\":\"tool\",\"tool_call_id\":\"x\"}",
	      CALLS("\"\"", CALL("functions.f:0", "{}")) "," CALLS(
	          "\"\"", CALL("functions.f:1", "{}") "," CALL("functions.f:2",
	                                                       "{}")) ","
	                                                              "{\"role\":\"tool\",\"tool_call_id\":\"functions.f:"
	                                                              "2\"},{\"role\":\"tool\",\"tool_call_id\":\"x\"}");
	check(&objects, call, CALLS("\"\"", "{\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":{}}}"));
	history_short_id("", 0, 9, id);
	bytes_append_format(&expected, CALLS("\"\"", CALL("%s", "{}")), id);
	check(&nine, call, expected.data);
	bytes_free(&expected);
}

static void other_members_and_messages_stay(void **state)
{
	(void)state;
	check(
	    &objects,
	    "{\"role\":\"user\",\"content\":\"x\"},{\"role\":\"assistant\",\"content\":\"y\",\"reasoning_content\":\"r\"}",
	    NULL);
	check(&objects, "{\"role\":\"assistant\",\"content\":\"y\",\"reasoning\":\"r\",\"name\":\"n\"}",
	      "{\"role\":\"assistant\",\"name\":\"n\",\"reasoning_content\":\"r\",\"content\":\"y\"}");
	check(&objects, "{\"role\":\"user\",\"content\":\"x\",\"k\":1},{\"role\":\"assistant\",\"content\":null}",
	      "{\"role\":\"user\",\"content\":\"x\",\"k\":1},{\"role\":\"assistant\",\"content\":\"\"}");
}

static void tools_go_where_the_template_looks(void **state)
{
	(void)state;
	static const char text[] = "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"tools\":[{\"name\":\"f\"}]}";
	struct history_style style = {.calls = {.system_tools = true}};
	struct error error;
	struct bytes got = {0};
	struct json *conversation = json_parse(text, sizeof text - 1, &(struct json_limits){0}, &error), *made;
	assert_true(history_prepare(conversation, &style, &made, &error));
	json_write_value(&got, json_first(json_get(made, "messages")));
	assert_string_equal(got.data, "{\"role\":\"system\",\"content\":\"\",\"tools\":\"[{\\\"name\\\":\\\"f\\\"}]\"}");
	json_destroy(made);
	json_destroy(conversation);
	bytes_free(&got);
}

/* ---- what is found by trying ---- */

static struct chat_calls try_template(const char *source)
{
	struct error error;
	struct template *template = template_compile(source, strlen(source), &error);
	assert_non_null(template);
	struct chat_calls calls;
	assert_true(chat_calls_try(template, NULL, 0, &calls, &error));
	template_destroy(template);
	return calls;
}

#define EACH_CALL(text) "{% for m in messages %}{% for c in m.tool_calls or [] %}" text "{% endfor %}{% endfor %}"

static void templates_are_tried(void **state)
{
	(void)state;
	struct chat_calls calls = try_template(EACH_CALL("{{ c.function.arguments | tojson }}"));
	assert_true(calls.as_object && !calls.as_text && calls.odd_text && calls.several && !calls.null_content);
	calls = try_template(EACH_CALL("{{ c.function.name + c.function.arguments }}"));
	assert_true(calls.as_text && !calls.as_object);
	calls = try_template(EACH_CALL("{% for k, v in c.function.arguments | items %}<p={{ k }}>{{ v }}{% endfor %}"));
	assert_true(calls.as_object && !calls.as_text && !calls.odd_text);
	calls = try_template(EACH_CALL("{% if m.content is none %}{{ c.function.arguments | tojson }}{% endif %}"));
	assert_true(calls.as_object && calls.null_content);
	calls = try_template(EACH_CALL("{% if m.tool_calls | length > 1 %}{{ raise_exception('one') }}{% endif %}"
	                               "{{ c.function.arguments | tojson }}"));
	assert_true(calls.as_object && !calls.several);
	calls = try_template("{{ messages[0].content }}");
	assert_true(!calls.as_text && !calls.as_object && calls.odd_text && !calls.system_tools && !calls.tools);
	calls = try_template("{% for m in messages %}{{ m.tools }}{% endfor %}");
	assert_true(calls.system_tools && calls.tools);
	calls = try_template("{% if messages[0].role == 'system' %}{{ raise_exception('no') }}{% endif %}{{ tools }}");
	assert_true(calls.tools && !calls.system_tools);
	calls = try_template("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}");
	assert_false(calls.as_text || calls.as_object || calls.odd_text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(arguments_have_the_form_of_the_template),
	    cmocka_unit_test(calls_that_are_none_are_passed_on),
	    cmocka_unit_test(one_call_a_message_where_more_are_refused),
	    cmocka_unit_test(ids_have_the_form_of_the_template),
	    cmocka_unit_test(other_members_and_messages_stay),
	    cmocka_unit_test(tools_go_where_the_template_looks),
	    cmocka_unit_test(templates_are_tried),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
