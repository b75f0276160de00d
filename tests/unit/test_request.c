/* Validation of /execute and /cancel bodies: every bad field named at once, no prompt echoed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/json.h"
#include "server/dialects/dialect.h"
#include "server/dialects/worker_request.h"

static const struct request_limits limits = {.max_tokens = 2048, .vocab_size = 32000, .sampling = &sampling_neutral};

struct outcome_of_read {
	struct generation *generation;
	struct asked *asked;
	struct bytes errors;
	bool good;
};

/* The prompt is looked at while the document is there; all else must outlive it. */
static struct outcome_of_read read_body_with_prompt(const char *text, const char *prompt, size_t n_prompt_bytes)
{
	struct outcome_of_read outcome = {0};
	struct error error = {0};
	struct json *document = request_parse(text, strlen(text), 0, &error);
	if (!document)
		fail_msg("%s: %s", text, error.message);
	outcome.generation = generation_create(&error);
	outcome.asked = &outcome.generation->asked;
	struct field_checker check;
	field_checker_init(&check, document);
	outcome.good = worker_dialect.parse(document, &limits, outcome.generation, &check, &error);
	assert_int_equal(error.code, ERROR_NONE);
	if (!outcome.good)
		worker_dialect.bad_fields(&check, "req-1", &outcome.errors);
	if (prompt) {
		assert_int_equal(outcome.asked->n_prompt_bytes, n_prompt_bytes);
		assert_memory_equal(outcome.asked->prompt, prompt, n_prompt_bytes);
	}
	field_checker_free(&check);
	json_destroy(document);
	return outcome;
}

static struct outcome_of_read read_body(const char *text)
{
	return read_body_with_prompt(text, NULL, 0);
}

static void outcome_free(struct outcome_of_read *outcome)
{
	generation_destroy(outcome->generation);
	bytes_free(&outcome->errors);
}

static void defaults_are_the_contracts(void **state)
{
	(void)state;
	struct outcome_of_read outcome = read_body_with_prompt("{\"prompt\":\"Hello\"}", "Hello", 5);
	assert_true(outcome.good);
	const struct asked *request = outcome.asked;
	assert_null(request->job_id);
	assert_int_equal(request->max_tokens, 2048);
	assert_true(request->sampling.temperature == 1 && request->sampling.top_p == 1 && request->sampling.min_p == 0);
	assert_true(request->sampling.repetition_penalty == 1 && request->sampling.top_k == 0);
	assert_false(request->has_seed);
	assert_true(request->stream && request->parse_special && !request->ignore_eos);
	assert_true(request->sampling.presence_penalty == 0 && request->sampling.frequency_penalty == 0);
	assert_true(request->sampling.typical_p == 1 && request->sampling.top_n_sigma == 0);
	assert_true(request->sampling.min_tokens == 0 && request->sampling.n_biases == 0);
	assert_int_equal(request->n_stops, 0);
	assert_int_equal(request->deadline_ms, 0);
	assert_int_equal(request->priority, 0);
	assert_null(request->ignored);
	outcome_free(&outcome);
}

static void every_field_is_read(void **state)
{
	(void)state;
	struct outcome_of_read outcome = read_body_with_prompt(
	    "{\"job_id\":\"job/1 \xc3\xa9\",\"prompt\":\"a\\u0000b\",\"max_tokens\":5.0,\"temperature\":0,\"top_p\":0.5,"
	    "\"top_k\":32000,\"min_p\":1,\"repetition_penalty\":2,\"stop\":[\"x\",\"\\n\\u0000\"],"
	    "\"seed\":18446744073709551615,\"stream\":false,\"deadline_ms\":1e3,\"priority\":-10,\"ignore_eos\":true,"
	    "\"parse_special\":false,\"typical_p\":0.25,\"top_n_sigma\":1.5,\"presence_penalty\":-2,"
	    "\"frequency_penalty\":2,\"min_tokens\":5,\"logit_bias\":{\"31999\":-100,\"0\":1e2,\"7\":0.5}}",
	    "a\0b", 3);
	assert_true(outcome.good);
	const struct asked *request = outcome.asked;
	assert_string_equal(request->job_id, "job/1 \xc3\xa9");
	assert_int_equal(request->max_tokens, 5);
	assert_true(request->sampling.temperature == 0 && request->sampling.top_p == 0.5 && request->sampling.min_p == 1);
	assert_true(request->sampling.repetition_penalty == 2);
	assert_int_equal(request->sampling.top_k, 32000);
	assert_true(request->sampling.typical_p == 0.25 && request->sampling.top_n_sigma == 1.5);
	assert_true(request->sampling.presence_penalty == -2 && request->sampling.frequency_penalty == 2);
	assert_int_equal(request->sampling.min_tokens, 5);
	const struct logit_bias wanted[] = {{31999, -100}, {0, 100}, {7, 0.5F}};
	assert_int_equal(request->sampling.n_biases, 3);
	for (int i = 0; i < 3; i++)
		assert_true(request->sampling.biases[i].token == wanted[i].token &&
		            request->sampling.biases[i].bias == wanted[i].bias);
	assert_int_equal(request->n_stops, 2);
	assert_string_equal(request->stops[0].text, "x");
	assert_int_equal(request->stops[1].n_bytes, 2);
	assert_memory_equal(request->stops[1].text, "\n\0", 2);
	assert_true(request->has_seed && request->sampling.seed == UINT64_MAX);
	assert_true(!request->stream && request->ignore_eos && !request->parse_special);
	assert_int_equal(request->deadline_ms, 1000);
	assert_int_equal(request->priority, -10);
	outcome_free(&outcome);
}

static void null_means_absent(void **state)
{
	(void)state;
	struct outcome_of_read outcome =
	    read_body("{\"prompt\":\"p\",\"job_id\":null,\"max_tokens\":null,\"seed\":null,\"stop\":null,\"stream\":null,"
	              "\"temperature\":null,\"priority\":null}");
	assert_true(outcome.good);
	assert_int_equal(outcome.asked->max_tokens, 2048);
	assert_false(outcome.asked->has_seed);
	assert_true(outcome.asked->stream);
	assert_null(outcome.asked->ignored);
	outcome_free(&outcome);
}

static void seeds_are_exact(void **state)
{
	(void)state;
	struct outcome_of_read outcome = read_body("{\"prompt\":\"p\",\"seed\":9007199254740993}");
	assert_true(outcome.good && outcome.asked->sampling.seed == 9007199254740993u);
	outcome_free(&outcome);
}

static void unknown_fields_are_named(void **state)
{
	(void)state;
	struct outcome_of_read outcome = read_body("{\"Prompt\":1,\"prompt\":\"p\",\"best_of\":{},\"\\\"\":0}");
	assert_true(outcome.good);
	assert_string_equal(outcome.asked->ignored, "[\"Prompt\",\"best_of\",\"\\\"\"]");
	outcome_free(&outcome);
}

/* The entry for `field` in `{"errors":[...]}`; fails when there is none or more than one. */
static const struct json *error_for(const struct json *document, const char *field)
{
	const struct json *found = NULL;
	for (const struct json *e = json_first(json_get(document, "errors")); e; e = json_next(e)) {
		if (strcmp(json_string(json_get(e, "field"), NULL), field) != 0)
			continue;
		assert_null(found);
		found = e;
	}
	if (!found)
		fail_msg("no error for %s", field);
	return found;
}

static void assert_text(const struct json *object, const char *key, const char *wanted)
{
	const char *text = json_string(json_get(object, key), NULL);
	assert_non_null(text);
	assert_string_equal(text, wanted);
}

static void all_bad_fields_come_at_once(void **state)
{
	(void)state;
	struct outcome_of_read outcome =
	    read_body("{\"prompt\":\"secret text\",\"top_p\":1.5,\"max_tokens\":0,\"temperature\":\"hot\",\"top_k\":-1,"
	              "\"min_p\":-0.5,\"repetition_penalty\":0,\"seed\":-1,\"stream\":1,\"priority\":11,\"deadline_ms\":0,"
	              "\"stop\":[\"secret\",\"\"],\"job_id\":\"\",\"ignore_eos\":\"true\",\"parse_special\":[]}");
	assert_false(outcome.good);
	struct error error;
	struct json *document = json_parse(outcome.errors.data, outcome.errors.n_bytes, NULL, &error);
	assert_non_null(document);
	assert_int_equal(json_count(json_get(document, "errors")), 14);

	const struct json *top_p = error_for(document, "top_p");
	assert_text(top_p, "constraint", "range(0.0..=1.0)");
	assert_text(top_p, "message", "top_p must be at most 1.0 (got 1.5)");
	assert_text(top_p, "value", "1.5");
	const struct json *max_tokens = error_for(document, "max_tokens");
	assert_text(max_tokens, "constraint", "range(1..=2048)");
	assert_text(max_tokens, "message", "max_tokens must be at least 1 (got 0)");
	const struct json *temperature = error_for(document, "temperature");
	assert_text(temperature, "constraint", "type(number)");
	assert_text(temperature, "message", "temperature must be a number (got a string)");
	assert_text(temperature, "value", "hot");
	assert_text(error_for(document, "repetition_penalty"), "message", "repetition_penalty must be above 0.0 (got 0)");
	assert_text(error_for(document, "seed"), "constraint", "range(0..=18446744073709551615)");
	assert_text(error_for(document, "stream"), "constraint", "type(boolean)");
	assert_text(error_for(document, "stream"), "value", "1");
	assert_text(error_for(document, "parse_special"), "value", "[...]");
	assert_int_equal(json_type(json_get(error_for(document, "stop"), "value")), JSON_NULL);
	error_for(document, "job_id");
	assert_null(strstr(outcome.errors.data, "secret"));
	json_destroy(document);
	outcome_free(&outcome);
}

struct bad_case {
	const char *body, *field, *constraint;
};

static void each_wrong_value_is_refused(void **state)
{
	(void)state;
	static const struct bad_case cases[] = {
	    {"{}", "prompt", "required"},
	    {"{\"prompt\":null}", "prompt", "required"},
	    {"{\"prompt\":\"\"}", "prompt", "length(1..)"},
	    {"{\"prompt\":[\"x\"]}", "prompt", "type(string)"},
	    {"{\"prompt\":5}", "prompt", "type(string)"},
	    {"{\"prompt\":\"p\",\"max_tokens\":2049}", "max_tokens", "range(1..=2048)"},
	    {"{\"prompt\":\"p\",\"max_tokens\":-1}", "max_tokens", "range(1..=2048)"},
	    {"{\"prompt\":\"p\",\"max_tokens\":1.5}", "max_tokens", "type(integer)"},
	    {"{\"prompt\":\"p\",\"max_tokens\":1e308}", "max_tokens", "range(1..=2048)"},
	    {"{\"prompt\":\"p\",\"max_tokens\":1e400}", "max_tokens", "range(1..=2048)"},
	    {"{\"prompt\":\"p\",\"max_tokens\":9223372036854775808}", "max_tokens", "range(1..=2048)"},
	    {"{\"prompt\":\"p\",\"max_tokens\":-0.0}", "max_tokens", "range(1..=2048)"},
	    {"{\"prompt\":\"p\",\"max_tokens\":true}", "max_tokens", "type(integer)"},
	    {"{\"prompt\":\"p\",\"max_tokens\":\"5\"}", "max_tokens", "type(integer)"},
	    {"{\"prompt\":\"p\",\"temperature\":2.01}", "temperature", "range(0.0..=2.0)"},
	    {"{\"prompt\":\"p\",\"temperature\":-1e400}", "temperature", "range(0.0..=2.0)"},
	    {"{\"prompt\":\"p\",\"temperature\":false}", "temperature", "type(number)"},
	    {"{\"prompt\":\"p\",\"top_k\":32001}", "top_k", "range(0..=32000)"},
	    {"{\"prompt\":\"p\",\"top_k\":0.5}", "top_k", "type(integer)"},
	    {"{\"prompt\":\"p\",\"repetition_penalty\":-0.0}", "repetition_penalty", "range(0.0<..=2.0)"},
	    {"{\"prompt\":\"p\",\"repetition_penalty\":2.5}", "repetition_penalty", "range(0.0<..=2.0)"},
	    {"{\"prompt\":\"p\",\"typical_p\":0}", "typical_p", "range(0.0<..=1.0)"},
	    {"{\"prompt\":\"p\",\"typical_p\":1.5}", "typical_p", "range(0.0<..=1.0)"},
	    {"{\"prompt\":\"p\",\"top_n_sigma\":-1}", "top_n_sigma", "range(0.0..=100.0)"},
	    {"{\"prompt\":\"p\",\"presence_penalty\":2.5}", "presence_penalty", "range(-2.0..=2.0)"},
	    {"{\"prompt\":\"p\",\"frequency_penalty\":-2.5}", "frequency_penalty", "range(-2.0..=2.0)"},
	    {"{\"prompt\":\"p\",\"frequency_penalty\":\"1\"}", "frequency_penalty", "type(number)"},
	    {"{\"prompt\":\"p\",\"min_tokens\":-1}", "min_tokens", "range(0..=2048)"},
	    {"{\"prompt\":\"p\",\"max_tokens\":5,\"min_tokens\":6}", "min_tokens", "range(0..=5)"},
	    {"{\"prompt\":\"p\",\"logit_bias\":[]}", "logit_bias", "type(object)"},
	    {"{\"prompt\":\"p\",\"logit_bias\":{\"1\":\"2\"}}", "logit_bias", "type(number)"},
	    {"{\"prompt\":\"p\",\"logit_bias\":{\"1\":null}}", "logit_bias", "type(number)"},
	    {"{\"prompt\":\"p\",\"logit_bias\":{\"1\":100.5}}", "logit_bias", "range(-100.0..=100.0)"},
	    {"{\"prompt\":\"p\",\"logit_bias\":{\"1\":-1e400}}", "logit_bias", "range(-100.0..=100.0)"},
	    {"{\"prompt\":\"p\",\"logit_bias\":{\"32000\":1}}", "logit_bias", "keys(0..=31999)"},
	    {"{\"prompt\":\"p\",\"logit_bias\":{\"-1\":1}}", "logit_bias", "keys(0..=31999)"},
	    {"{\"prompt\":\"p\",\"logit_bias\":{\"01\":1}}", "logit_bias", "keys(0..=31999)"},
	    {"{\"prompt\":\"p\",\"logit_bias\":{\"\":1}}", "logit_bias", "keys(0..=31999)"},
	    {"{\"prompt\":\"p\",\"logit_bias\":{\"1\\u0000\":1}}", "logit_bias", "keys(0..=31999)"},
	    {"{\"prompt\":\"p\",\"logit_bias\":{\"99999999999999999999\":1}}", "logit_bias", "keys(0..=31999)"},
	    {"{\"prompt\":\"p\",\"logit_bias\":{\"the Ã©\":1}}", "logit_bias", "keys(0..=31999)"},
	    {"{\"prompt\":\"p\",\"seed\":18446744073709551616}", "seed", "range(0..=18446744073709551615)"},
	    {"{\"prompt\":\"p\",\"seed\":0.5}", "seed", "type(integer)"},
	    {"{\"prompt\":\"p\",\"seed\":\"7\"}", "seed", "type(integer)"},
	    {"{\"prompt\":\"p\",\"stop\":5}", "stop", "type(string or array)"},
	    {"{\"prompt\":\"p\",\"stop\":\"\"}", "stop", "length(1..=100)"},
	    {"{\"prompt\":\"p\",\"stop\":[1]}", "stop", "type(string)"},
	    {"{\"prompt\":\"p\",\"stop\":[null]}", "stop", "type(string)"},
	    {"{\"prompt\":\"p\",\"stop\":[\"a\",\"b\",\"c\",\"d\",\"e\"]}", "stop", "max_items(4)"},
	    {"{\"prompt\":\"p\",\"deadline_ms\":-5}", "deadline_ms", "range(1..=9223372036854775807)"},
	    {"{\"prompt\":\"p\",\"priority\":-11}", "priority", "range(-10..=10)"},
	    {"{\"prompt\":\"p\",\"ignore_eos\":0}", "ignore_eos", "type(boolean)"},
	    {"{\"prompt\":\"p\",\"job_id\":7}", "job_id", "type(string)"},
	    {"{\"prompt\":\"p\",\"job_id\":\"a\\nb\"}", "job_id", "no_control_characters"},
	    {"{\"prompt\":\"p\",\"job_id\":\"a\\u0000b\"}", "job_id", "no_control_characters"},
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct outcome_of_read outcome = read_body(cases[i].body);
		if (outcome.good)
			fail_msg("accepted: %s", cases[i].body);
		struct error error;
		struct json *document = json_parse(outcome.errors.data, outcome.errors.n_bytes, NULL, &error);
		assert_non_null(document);
		assert_int_equal(json_count(json_get(document, "errors")), 1);
		assert_text(error_for(document, cases[i].field), "constraint", cases[i].constraint);
		json_destroy(document);
		outcome_free(&outcome);
	}
}

static void limits_include_their_ends(void **state)
{
	(void)state;
	static const char *const bodies[] = {
	    "{\"prompt\":\"p\",\"max_tokens\":1}",
	    "{\"prompt\":\"p\",\"max_tokens\":2048}",
	    "{\"prompt\":\"p\",\"temperature\":2,\"top_p\":0,\"min_p\":0,\"top_k\":0}",
	    "{\"prompt\":\"p\",\"temperature\":-0.0}",
	    "{\"prompt\":\"p\",\"repetition_penalty\":1e-300}",
	    "{\"prompt\":\"p\",\"stop\":[]}",
	    "{\"prompt\":\"p\",\"priority\":10}",
	    "{\"prompt\":\"p\",\"seed\":0}",
	    "{\"prompt\":\"p\",\"deadline_ms\":9223372036854775807}",
	};
	for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
		struct outcome_of_read outcome = read_body(bodies[i]);
		if (!outcome.good)
			fail_msg("%s: %s", bodies[i], outcome.errors.data);
		outcome_free(&outcome);
	}
}

static void stop_counts_characters_not_bytes(void **state)
{
	(void)state;
	char body[1024] = "{\"prompt\":\"p\",\"stop\":\"";
	for (int i = 0; i < 100; i++)
		strcat(body, "\xe2\x82\xac");
	strcat(body, "\"}");
	struct outcome_of_read outcome = read_body(body);
	assert_true(outcome.good);
	outcome_free(&outcome);
	memcpy(body + strlen(body) - 2, "x\"}", 4);
	outcome = read_body(body);
	assert_false(outcome.good);
	outcome_free(&outcome);
}

static void logit_biases_are_bounded(void **state)
{
	(void)state;
	for (int n = 1024; n <= 1025; n++) {
		struct bytes body = {0};
		bytes_append_text(&body, "{\"prompt\":\"p\",\"logit_bias\":{\"0\":0");
		for (int i = 1; i < n; i++)
			bytes_append_format(&body, ",\"%d\":%d", i, i % 100);
		bytes_append_text(&body, "}}");
		struct outcome_of_read outcome = read_body(body.data);
		assert_int_equal(outcome.good, n == 1024);
		assert_int_equal(outcome.asked->sampling.n_biases, n == 1024 ? 1024 : 0);
		outcome_free(&outcome);
		bytes_free(&body);
	}
}

static void long_values_are_shortened(void **state)
{
	(void)state;
	char body[1200] = "{\"prompt\":\"p\",\"max_tokens\":1";
	for (int i = 0; i < 1000; i++)
		strcat(body, "0");
	strcat(body, "}");
	struct outcome_of_read outcome = read_body(body);
	assert_false(outcome.good);
	assert_true(outcome.errors.n_bytes < 400);
	outcome_free(&outcome);
}

static void bodies_that_are_no_object_are_refused(void **state)
{
	(void)state;
	static const char *const bodies[] = {
	    "",
	    " ",
	    "null",
	    "[]",
	    "\"x\"",
	    "5",
	    "{",
	    "{\"prompt\":\"a\"} x",
	    "{\"prompt\":NaN}",
	    "{\"a\":1,\"a\":2}",
	    "{\"prompt\":\"\xff\"}",
	    "\xef\xbb\xbf{}",
	    "{'prompt':1}",
	    "{\"prompt\":\"a\",}",
	};
	for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
		struct error error = {0};
		struct json *document = request_parse(bodies[i], strlen(bodies[i]), 0, &error);
		if (document)
			fail_msg("accepted: %s", bodies[i]);
		assert_int_equal(error.code, ERROR_INVALID_REQUEST);
	}
}

static void deep_and_wide_bodies_are_bounded(void **state)
{
	(void)state;
	struct bytes body = {0};
	struct error error;
	bytes_append_text(&body, "{\"x\":");
	for (int i = 0; i < 1000; i++)
		bytes_append_text(&body, "[");
	assert_null(request_parse(body.data, body.n_bytes, 0, &error));
	bytes_clear(&body);
	bytes_append_text(&body, "{\"x\":[0");
	for (int i = 0; i < 100000; i++)
		bytes_append_text(&body, ",0");
	bytes_append_text(&body, "]}");
	assert_null(request_parse(body.data, body.n_bytes, 0, &error));
	assert_int_equal(error.code, ERROR_INVALID_REQUEST);
	struct json *document =
	    request_parse(body.data, body.n_bytes, 100000, &error); /* the context holds so many tokens */
	assert_non_null(document);
	json_destroy(document);
	bytes_free(&body);
}

static void every_truncation_is_refused(void **state)
{
	(void)state;
	static const char whole[] = "{\"prompt\":\"a\\u00e9\xc3\xa9\",\"stop\":[\"x\"],\"seed\":1,\"stream\":true}";
	for (size_t n = 0; n + 1 < sizeof whole; n++) {
		struct error error = {0};
		assert_null(request_parse(whole, n, 0, &error));
	}
}

static void cancel_needs_a_job_id(void **state)
{
	(void)state;
	static const struct {
		const char *body;
		bool good;
	} cases[] = {{"{\"job_id\":\"a\"}", true}, {"{}", false}, {"{\"job_id\":\"\"}", false}, {"{\"job_id\":1}", false}};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct error error;
		struct json *document = request_parse(cases[i].body, strlen(cases[i].body), 0, &error);
		struct field_checker check;
		field_checker_init(&check, document);
		const char *job_id;
		size_t n_bytes = 0;
		assert_int_equal(cancel_parse(&check, &job_id, &n_bytes), cases[i].good);
		assert_int_equal(check.n_errors > 0, !cases[i].good);
		field_checker_free(&check);
		json_destroy(document);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(defaults_are_the_contracts),
	    cmocka_unit_test(every_field_is_read),
	    cmocka_unit_test(null_means_absent),
	    cmocka_unit_test(seeds_are_exact),
	    cmocka_unit_test(unknown_fields_are_named),
	    cmocka_unit_test(all_bad_fields_come_at_once),
	    cmocka_unit_test(each_wrong_value_is_refused),
	    cmocka_unit_test(limits_include_their_ends),
	    cmocka_unit_test(stop_counts_characters_not_bytes),
	    cmocka_unit_test(logit_biases_are_bounded),
	    cmocka_unit_test(long_values_are_shortened),
	    cmocka_unit_test(bodies_that_are_no_object_are_refused),
	    cmocka_unit_test(deep_and_wide_bodies_are_bounded),
	    cmocka_unit_test(every_truncation_is_refused),
	    cmocka_unit_test(cancel_needs_a_job_id),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
