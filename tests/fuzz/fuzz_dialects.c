/* The bodies of requests: a letter that says which dialect's, then the body. What is taken is rendered; what is refused is
 * refused in words that can be sent. */
#include <string.h>

#include "base/json.h"
#include "fuzz.h"
#include "server/dialects/dialect.h"
#include "server/dialects/messages_request.h"
#include "text/continuation.h"
#include "text/template.h"

static const struct dialect *const dialects[] = {
    &messages_dialect,        &responses_dialect,        &ollama_chat_dialect,
    &ollama_generate_dialect, &openai_chat_dialect,      &openai_completion_dialect,
    &worker_dialect,          &orchestrator_job_dialect, &orchestrator_infer_dialect,
};
enum { N_DIALECTS = sizeof dialects / sizeof dialects[0], VOCAB_SIZE = 1000 };

static const char shows_all[] =
    "{% for m in messages %}<{{ m.role }} {{ m.name or '' }}>{{ m.reasoning_content or '' }}{{ m.content }}"
    "{{ m.tool_calls or '' }}{% endfor %}{{ tools or '' }}{% if add_generation_prompt %}>{% endif %}";

static void check_json(const struct bytes *body)
{
	struct error error;
	struct json *document = json_parse(body->data, body->n_bytes, &(struct json_limits){0}, &error);
	REQUIRE(!body->failed && document && json_type(document) == JSON_OBJECT);
	json_destroy(document);
}

static void check_error_answer(const struct dialect *dialect, const struct error *error)
{
	struct error_answer answer = {0};
	dialect->error(error, "req-1", 0, &answer);
	REQUIRE(answer.status == 400 || error->code == ERROR_MEMORY || error->code == ERROR_INTERNAL);
	check_json(&answer.body);
	bytes_free(&answer.body);
}

static void check_refusal(const struct dialect *dialect, const struct field_checker *check, const struct error *error)
{
	struct bytes body = {0};
	if (error->code != ERROR_NONE) {
		check_error_answer(dialect, error);
		return;
	}
	REQUIRE(check->n_errors > 0);
	dialect->bad_fields(check, "req-1", &body);
	check_json(&body);
	bytes_free(&body);
}

static void render(const struct dialect *dialect, const struct json *conversation)
{
	static struct template *template;
	struct error error = {0};
	if (!template)
		template = template_compile(shows_all, sizeof shows_all - 1, &error);
	REQUIRE(template);
	struct template_input input = {.conversation = conversation,
	                               .now = {2026, 1, 31, 9, 5, 7, 0},
	                               .limits = {.max_steps = 200000, .max_memory_bytes = 32 << 20}};
	struct rendering rendering = {0};
	if (!template_render(template, &input, &rendering, &error) ||
	    (continuation_is_asked(conversation) && !continuation_cut(conversation, &rendering, &error)))
		check_error_answer(dialect, &error);
	else
		REQUIRE(rendering.n_runs == 0 || rendering.runs[rendering.n_runs - 1].end == rendering.n_bytes);
	rendering_free(&rendering);
}

static void check_asked(const struct asked *asked)
{
	REQUIRE(asked->max_tokens >= 1 && asked->max_tokens <= 4096);
	REQUIRE(asked->sampling.temperature >= 0 && asked->sampling.temperature <= 2);
	REQUIRE(asked->sampling.top_k >= 0 && asked->sampling.top_k <= VOCAB_SIZE);
	REQUIRE(asked->n_stops >= 0 && asked->n_stops <= STOP_MAX_STRINGS);
	for (int i = 0; i < asked->n_stops; i++)
		REQUIRE(asked->stops[i].n_bytes > 0 && asked->stops[i].text);
	for (size_t i = 0; i < asked->n_prompt_tokens; i++)
		REQUIRE(asked->prompt_tokens[i] >= 0 && asked->prompt_tokens[i] < VOCAB_SIZE);
}

static void parse(const struct dialect *dialect, const struct json *body)
{
	struct request_limits limits = {
	    .max_tokens = 2048, .context = 4096, .vocab_size = VOCAB_SIZE, .sampling = &sampling_neutral};
	struct error error = {0};
	struct field_checker check;
	struct generation *generation = generation_create(&error);
	REQUIRE(generation);
	field_checker_init(&check, body);
	if (dialect->parse(body, &limits, generation, &check, &error)) {
		REQUIRE(check.n_errors == 0 && error.code == ERROR_NONE);
		check_asked(&generation->asked);
		if (generation->asked.conversation)
			render(dialect, generation->asked.conversation);
	} else {
		check_refusal(dialect, &check, &error);
	}
	field_checker_free(&check);
	generation_destroy(generation);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
	struct error error = {0};
	fuzz_begin();
	if (n_bytes == 0 || data[0] < 'a' || data[0] >= 'a' + N_DIALECTS)
		return 0;
	const struct dialect *dialect = dialects[data[0] - 'a'];
	struct json *body = request_parse((const char *)data + 1, n_bytes - 1, 0, &error);
	if (body)
		parse(dialect, body);
	else
		check_error_answer(dialect, &error);
	json_destroy(body);
	return 0;
}
