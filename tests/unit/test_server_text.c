/* What the server writes: event frames, /metrics text; and the route table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <cmocka.h>

#include "base/json.h"
#include "server/dialects/dialect.h"
#include "server/dialects/worker.h"
#include "server/http/refusal.h"
#include "server/routes/metrics.h"
#include "server/routes/openapi.h"
#include "server/server_private.h"

static struct generation make_generation(void)
{
	static struct choice choice;
	choice = (struct choice){.stop_matched = -1};
	return (struct generation){.stop_matched = -1,
	                           .seed = UINT64_MAX,
	                           .job_id = "job \"1\"",
	                           .model = "tiny",
	                           .choices = &choice,
	                           .n_choices = 1};
}

/* One event as generation_next gives it, then framed. */
static void frame(struct generation *generation, const struct event *event, struct bytes *out)
{
	generation_note(generation, event);
	bytes_clear(out);
	worker_dialect.frame(generation, event, out);
}

static void frames_have_the_contracts_form(void **state)
{
	(void)state;
	struct generation generation = make_generation();
	struct bytes out = {0};
	struct event event = {.type = EVENT_STARTED, .prompt_tokens = 7, .cached_tokens = 4, .started_unix_ms = 0};
	frame(&generation, &event, &out);
	assert_string_equal(out.data,
	                    "event: started\ndata: {\"type\":\"started\",\"job_id\":\"job \\\"1\\\"\",\"model\":\"tiny\","
	                    "\"started_at\":\"1970-01-01T00:00:00.000Z\",\"seed\":18446744073709551615,"
	                    "\"prompt_tokens\":7,\"cached_tokens\":4}\n\n");
	event = (struct event){.type = EVENT_TOKEN, .index = 0, .text = "a\n\"b", .n_text_bytes = 4};
	frame(&generation, &event, &out);
	assert_string_equal(out.data, "event: token\ndata: {\"type\":\"token\",\"t\":\"a\\n\\\"b\",\"i\":0}\n\n");
	event = (struct event){.type = EVENT_END,
	                       .stop_reason = STOP_EOS,
	                       .stop_matched = -1,
	                       .cached_tokens = 5,
	                       .completion_tokens = 1,
	                       .queue_ms = 0.12345,
	                       .prefill_ms = 2,
	                       .decode_ms = 3.5,
	                       .time_to_first_token_ms = 2.5,
	                       .tokens_per_second = 10};
	frame(&generation, &event, &out);
	assert_string_equal(
	    out.data, "event: end\ndata: {\"type\":\"end\",\"tokens_out\":1,\"decode_time_ms\":4,\"stop_reason\":\"eos\","
	              "\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":1,\"total_tokens\":8,\"cached_tokens\":5},"
	              "\"timings\":{\"queue_ms\":0.123,\"prefill_ms\":2,\"decode_ms\":3.5,\"time_to_first_token_ms\":2.5,"
	              "\"tokens_per_second\":10}}\n\n");
	assert_true(generation.finished);
	bytes_free(&out);
}

static void matched_stop_and_ignored_fields_are_told(void **state)
{
	(void)state;
	struct generation generation = make_generation();
	struct bytes out = {0};
	generation.asked.stops[1] = (struct stop_string){"\n\n", 2};
	generation.asked.ignored = "[\"n\"]";
	struct event event = {.type = EVENT_STARTED};
	frame(&generation, &event, &out);
	assert_non_null(strstr(out.data, ",\"ignored\":[\"n\"]}\n\n"));
	event = (struct event){.type = EVENT_END, .stop_reason = STOP_SEQUENCE, .stop_matched = 1};
	frame(&generation, &event, &out);
	assert_non_null(strstr(out.data, "\"stop_reason\":\"stop_sequence\",\"stop_sequence_matched\":\"\\n\\n\","));
	bytes_free(&out);
}

static void errors_carry_code_and_retriable(void **state)
{
	(void)state;
	struct generation generation = make_generation();
	struct bytes out = {0};
	struct event event = {.type = EVENT_ERROR, .error = {.code = ERROR_SHUTTING_DOWN, .message = "m"}};
	frame(&generation, &event, &out);
	assert_string_equal(out.data,
	                    "event: error\ndata: {\"type\":\"error\",\"code\":\"SHUTTING_DOWN\",\"message\":\"m\","
	                    "\"retriable\":true}\n\n");
	assert_true(generation.finished && generation.error.code == ERROR_SHUTTING_DOWN);
	bytes_free(&out);
}

static void pings_are_those_of_the_dialect(void **state)
{
	(void)state;
	struct generation generation = make_generation();
	struct bytes out = {0};
	messages_dialect.ping(&generation, &out); /* nothing comes before message_start */
	assert_string_equal(out.data, ": ping\n\n");
	bytes_clear(&out);
	generation.started = true;
	messages_dialect.ping(&generation, &out);
	assert_string_equal(out.data, "event: ping\ndata: {\"type\":\"ping\"}\n\n");
	bytes_clear(&out);
	responses_dialect.ping(&generation, &out);
	assert_string_equal(out.data, ": ping\n\n");
	bytes_clear(&out);
	ollama_chat_dialect.ping(&generation, &out); /* clients parse each line */
	assert_int_equal(out.n_bytes, 0);
	bytes_free(&out);
}

static void progress_is_a_percentage(void **state)
{
	(void)state;
	assert_int_equal(load_percent(0, 0), 0);
	assert_int_equal(load_percent(1, 3), 33);
	assert_int_equal(load_percent(5, 3), 100);
	assert_int_equal(load_percent(UINT64_MAX, UINT64_MAX), 100);
	struct bytes out = {0};
	worker_frame_progress(&out, "map", 1, 2);
	assert_string_equal(out.data, "event: progress\ndata: {\"type\":\"progress\",\"percent\":50,\"stage\":\"map\","
	                              "\"bytes_done\":1,\"bytes_total\":2}\n\n");
	bytes_free(&out);
}

/* The number after `line ` in the text. */
static double sample(const char *text, const char *name)
{
	const char *at = text;
	while ((at = strstr(at, name)) && (at[strlen(name)] != ' ' || (at != text && at[-1] != '\n')))
		at++;
	if (!at)
		fail_msg("no sample %s", name);
	return strtod(at + strlen(name), NULL);
}

static void metrics_are_complete_and_cumulative(void **state)
{
	(void)state;
	struct engine_status status = {.model_name = "odd \"name\"\n\xff",
	                               .kv_page_tokens = 16,
	                               .active = 2,
	                               .queued = 3,
	                               .kv_pages_total = 10,
	                               .kv_pages_free = 4,
	                               .kv_pages_cached = 1};
	struct engine_metrics metrics = {.tokens_generated = 99};
	metrics.requests[OUTCOME_CANCELLED] = 5;
	metrics.queue.counts[0] = 1;
	metrics.queue.counts[3] = 2;
	metrics.queue.counts[HISTOGRAM_BUCKETS] = 4;
	metrics.queue.n = 7;
	metrics.queue.sum_seconds = 12.5;
	metrics.answers[STOP_EOS] = 6;
	metrics.answers[STOP_SEQUENCE] = 1;
	struct http_counts http = {.responses = {1, 0, 2, 0, 3, 0}, .connections = 6};
	http.errors[ERROR_QUEUE_FULL] = 4;
	http.errors[ERROR_NOT_FOUND] = 2; /* both are INVALID_REQUEST */
	http.errors[ERROR_TEMPLATE] = 1;
	struct platform_resident resident = {.total_bytes = 1000};
	struct metrics_facts facts = {.status = &status,
	                              .engine = &metrics,
	                              .http = &http,
	                              .resident = &resident,
	                              .health = "draining",
	                              .version = "1.2",
	                              .crashes = 3,
	                              .now_unix_s = 1234,
	                              .vllm_names = true};
	struct bytes out = {0};
	metrics_write(&out, &facts);
	assert_false(out.failed);
	static const char *const names[] = {
	    "worker_requests_total",
	    "worker_tokens_generated_total",
	    "worker_prompt_tokens_total",
	    "worker_cached_tokens_total",
	    "worker_pauses_total",
	    "worker_catching_up_answers",
	    "worker_time_to_first_token_seconds",
	    "worker_inter_token_seconds",
	    "worker_queue_seconds",
	    "worker_prefill_seconds",
	    "worker_decode_seconds",
	    "worker_request_seconds",
	    "worker_active_requests",
	    "worker_queued_requests",
	    "worker_kv_pages",
	    "worker_memory_bytes",
	    "worker_uptime_seconds",
	    "worker_model_load_seconds",
	    "vllm:time_to_first_token_seconds",
	    "vllm:e2e_request_latency_seconds",
	    "vllm:inter_token_latency_seconds",
	};
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		char head[96];
		snprintf(head, sizeof head, "# TYPE %s ", names[i]);
		assert_non_null(strstr(out.data, head));
	}
	assert_true(sample(out.data, "worker_tokens_generated_total") == 99);
	assert_true(sample(out.data, "worker_requests_total{outcome=\"cancelled\"}") == 5);
	assert_true(sample(out.data, "worker_kv_pages{state=\"used\"}") == 5);
	assert_true(sample(out.data, "worker_queue_seconds_bucket{le=\"+Inf\"}") == 7);
	assert_true(sample(out.data, "worker_queue_seconds_count") == 7);
	assert_true(sample(out.data, "worker_queue_seconds_sum") == 12.5);
	assert_true(sample(out.data, "worker_memory_bytes{kind=\"resident\"}") == 1000);
	assert_true(sample(out.data, "worker_health{status=\"draining\"}") == 1);
	assert_true(sample(out.data, "worker_health{status=\"healthy\"}") == 0);
	assert_true(sample(out.data, "worker_ready") == 0);
	assert_true(sample(out.data, "worker_crashes_total") == 3);
	assert_true(sample(out.data, "worker_errors_total{code=\"QUEUE_FULL\"}") == 4);
	assert_true(sample(out.data, "worker_errors_total{code=\"INVALID_REQUEST\"}") == 3);
	assert_null(strstr(out.data, "BIND_FAILED"));
#define MODEL "model_name=\"odd \\\"name\\\"?\xef\xbf\xbd\""
	assert_true(sample(out.data, "worker_requests_waiting{" MODEL "}") == 3);
	assert_true(sample(out.data, "worker_requests_running{" MODEL "}") == 2);
	assert_true(sample(out.data, "worker_kv_cache_usage_ratio{" MODEL "}") == 0.5);
	assert_true(sample(out.data, "worker_cache_config_info{" MODEL ",block_size=\"16\",num_gpu_blocks=\"10\"}") == 1);
	assert_true(sample(out.data, "vllm:cache_config_info{" MODEL ",block_size=\"16\",num_gpu_blocks=\"10\"}") == 1);
	assert_true(sample(out.data, "vllm:lora_requests_info{max_lora=\"0\",running_lora_adapters=\"\",waiting_lora_"
	                             "adapters=\"\"}") == 1234);
	assert_true(sample(out.data, "vllm:kv_cache_usage_perc{" MODEL ",engine=\"0\"}") == 0.5);
	assert_true(sample(out.data, "vllm:request_queue_time_seconds_count{" MODEL ",engine=\"0\"}") == 7);
	assert_true(sample(out.data, "vllm:request_queue_time_seconds_bucket{" MODEL ",engine=\"0\",le=\"+Inf\"}") == 7);
	assert_true(sample(out.data, "vllm:request_success_total{" MODEL ",engine=\"0\",finished_reason=\"stop\"}") == 7);
#undef MODEL
	assert_int_equal(out.data[out.n_bytes - 1], '\n');
	bytes_free(&out);
}

static const struct route *find(struct exchange *exchange, const char *path)
{
	return route_find(exchange, (struct head_text){path, strlen(path)});
}

static void only_exact_paths_are_routes(void **state)
{
	(void)state;
	struct exchange exchange = {0};
	assert_string_equal(find(&exchange, "/health")->path, "/health");
	assert_true(find(&exchange, "/health")->open && find(&exchange, "/livez")->open);
	size_t n_routes, n_open = 0;
	const struct route *routes = routes_all(&n_routes);
	for (size_t i = 0; i < n_routes; i++)
		n_open += routes[i].open;
	for (size_t i = 0; i < n_routes; i++)
		assert_non_null(routes[i].dialect);
	assert_true(find(&exchange, "/")->open);
	assert_int_equal(n_open, 3);
	static const char *const none[] = {
	    "",
	    "//",
	    "//health",
	    "/health/",
	    "/HEALTH",
	    "/%68ealth",
	    "/x/../health",
	    "/x/%2e%2e/health",
	    "/health%00",
	    "/v1/inference//stream",
	    "/v1/inference/a%00b/stream",
	    "/v1/inference/a%2/stream",
	    "/v1/inference/a%zz/stream",
	    "/v1/inference/a/b/stream",
	    "/v1/inference/a/stream/",
	    "/v1/inference/a",
	};
	for (size_t i = 0; i < sizeof none / sizeof none[0]; i++)
		if (find(&exchange, none[i]))
			fail_msg("a route: %s", none[i]);
	assert_non_null(find(&exchange, "/v1/inference/a%20%2f%C3%A9/stream"));
	assert_string_equal(exchange.path_argument, "a /\xc3\xa9");
	char path[400] = "/v1/inference/";
	memset(path + strlen(path), 'x', JOB_ID_BYTES + 1);
	strcat(path, "/stream");
	assert_null(find(&exchange, path));
	assert_null(route_find(&exchange, (struct head_text){"/health\0x", 9}));
	assert_null(route_find(&exchange, (struct head_text){"/health", 6}));
}

/* ---- openapi.json ---- */

/* "/v1/jobs/{job_id}" as the table has it, "/v1/jobs/{}". */
static void path_of_table(const char *path, char *out, size_t capacity)
{
	const char *hole = strchr(path, '{');
	if (hole)
		snprintf(out, capacity, "%.*s{}%s", (int)(hole - path), path, strchr(path, '}') + 1);
	else
		snprintf(out, capacity, "%s", path);
}

/* The route of a described operation; fails where the table has none. */
static const struct route *described_route(const char *path, const char *method)
{
	char plain[200];
	size_t n_routes;
	const struct route *routes = routes_all(&n_routes);
	path_of_table(path, plain, sizeof plain);
	for (size_t i = 0; i < n_routes; i++)
		if (strcmp(routes[i].path, plain) == 0 && strcasecmp(routes[i].method, method) == 0)
			return &routes[i];
	fail_msg("openapi.json describes %s %s, which is no route", method, path);
	return NULL;
}

static bool has_answer(const struct json *operation, char first_digit)
{
	for (const struct json *answer = json_first(json_get(operation, "responses")); answer; answer = json_next(answer))
		if (json_key(answer, NULL)[0] == first_digit)
			return true;
	return false;
}

static void check_operation(const char *path, const struct json *operation)
{
	const char *method = json_key(operation, NULL);
	const struct route *route = described_route(path, method);
	const struct json *security = json_get(operation, "security");
	const struct json *unauthorized = json_get(json_get(operation, "responses"), "401");
	bool open = security && json_count(security) == 0;
	if (open != route->open || (unauthorized == NULL) != route->open)
		fail_msg("%s %s: whether it needs a key", method, path);
	bool refused = json_get(operation, "x-refused") != NULL; /* whatever is asked of it */
	bool takes_body = strcmp(method, "post") == 0 && strcmp(path, "/shutdown") != 0 && !refused;
	if ((json_get(operation, "requestBody") != NULL) != takes_body)
		fail_msg("%s %s: whether it has a body", method, path);
	if ((json_get(operation, "parameters") != NULL) != (strchr(path, '{') != NULL))
		fail_msg("%s %s: its parameters", method, path);
	if (!json_string(json_get(operation, "summary"), NULL) || has_answer(operation, '2') == refused ||
	    !has_answer(operation, '4'))
		fail_msg("%s %s: summary, an answer and errors", method, path);
}

/* Every "#/a/b/c" that is referred to is there. */
static void check_references(const struct json *document, const struct json *value)
{
	const char *text = json_string(json_get(value, "$ref"), NULL);
	if (text) {
		char path[200];
		snprintf(path, sizeof path, "%s", text);
		const struct json *at = document;
		char *rest = path + 2;
		for (char *name; (name = strsep(&rest, "/"));)
			at = json_get(at, name);
		if (strncmp(path, "#/", 2) != 0 || !at)
			fail_msg("openapi.json refers to %s, which is not there", text);
	}
	for (const struct json *item = json_first(value); item; item = json_next(item))
		check_references(document, item);
}

static void the_description_has_every_route_and_no_other(void **state)
{
	(void)state;
	size_t n_bytes, n_routes, n_described = 0;
	const char *text = openapi_text(&n_bytes);
	struct error error = {0};
	assert_int_equal(strlen(text), n_bytes);
	struct json *document = json_parse(text, n_bytes, &(struct json_limits){0}, &error);
	if (!document)
		fail_msg("openapi.json: %s", error.message);
	assert_string_equal(json_string(json_get(document, "openapi"), NULL), "3.1.0");
	check_references(document, document);
	const struct json *paths = json_get(document, "paths");
	for (const struct json *path = json_first(paths); path; path = json_next(path))
		for (const struct json *operation = json_first(path); operation;
		     operation = json_next(operation), n_described++)
			check_operation(json_key(path, NULL), operation);
	/* No operation stands for two routes, so as many are all of them. */
	(void)routes_all(&n_routes);
	if (n_described != n_routes)
		fail_msg("openapi.json describes %zu of %zu routes; src/README.md says how to add one", n_described, n_routes);
	json_destroy(document);
}

static void dates_are_those_of_http(void **state)
{
	(void)state;
	char date[30];
	http_date(784111777000, date);
	assert_string_equal(date, "Sun, 06 Nov 1994 08:49:37 GMT"); /* RFC 9110's own example */
	http_date(1709251200999, date);
	assert_string_equal(date, "Fri, 01 Mar 2024 00:00:00 GMT");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(frames_have_the_contracts_form),
	    cmocka_unit_test(matched_stop_and_ignored_fields_are_told),
	    cmocka_unit_test(errors_carry_code_and_retriable),
	    cmocka_unit_test(pings_are_those_of_the_dialect),
	    cmocka_unit_test(progress_is_a_percentage),
	    cmocka_unit_test(metrics_are_complete_and_cumulative),
	    cmocka_unit_test(only_exact_paths_are_routes),
	    cmocka_unit_test(the_description_has_every_route_and_no_other),
	    cmocka_unit_test(dates_are_those_of_http),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
