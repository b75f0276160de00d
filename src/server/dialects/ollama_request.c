/* Validation of Ollama's bodies (ollama_request.h). Sampling starts from Ollama's own defaults. What the worker decides by
 * itself (num_ctx, num_gpu, keep_alive, ...) is let pass; what would change the answer and is not there is refused by name. */
#include "server/dialects/ollama_request.h"

#include <stdio.h>
#include <string.h>

#include "server/dialects/answer_fields.h"
#include "server/dialects/constraint_fields.h"
#include "server/dialects/conversation.h"
#include "server/dialects/reading.h"

static bool text_is(const struct json *value, const char *text)
{
	const char *given = json_string(value, NULL);
	return given && strcmp(given, text) == 0;
}

/* False where it is neither absent nor a string; then that is noted. */
static bool read_string(struct field_checker *check, const char *name, const char **text, size_t *n_bytes)
{
	const struct json *value = field_get(check, name);
	*text = json_string(value, n_bytes);
	if (value && !*text)
		field_error(check, name, "type(string)", NULL, "%s must be a string (got %s)", name,
		            json_type_name(json_type(value)));
	return !value || *text;
}

/* ---- options ---- */

static void read_penalties(struct field_checker *check, struct sampling *sampling)
{
	int64_t last_n = 64;
	sampling->repetition_penalty = 1.1;
	field_number(check, "repeat_penalty", &(struct field_range){.min = 0, .max = 2, .above_min = true},
	             &sampling->repetition_penalty);
	field_number(check, "presence_penalty", &(struct field_range){.min = -2, .max = 2}, &sampling->presence_penalty);
	field_number(check, "frequency_penalty", &(struct field_range){.min = -2, .max = 2}, &sampling->frequency_penalty);
	field_integer(check, "repeat_last_n", -1, INT32_MAX, &last_n);
	sampling->repeat_last_n = last_n > 0 ? last_n : 0; /* -1 is all */
	if (last_n == 0) {
		sampling->repetition_penalty = 1;
		sampling->presence_penalty = sampling->frequency_penalty = 0;
	}
}

static void read_mirostat(struct field_checker *check, struct sampling *sampling)
{
	int64_t version = 0;
	double tau = 5, eta = 0.1;
	field_integer(check, "mirostat", 0, 2, &version);
	field_number(check, "mirostat_tau", &(struct field_range){.min = 0, .max = 100, .above_min = true}, &tau);
	field_number(check, "mirostat_eta", &(struct field_range){.min = 0, .max = 1, .above_min = true}, &eta);
	if (version == 1)
		field_error(check, "mirostat", "unsupported", NULL, "mirostat is supported by this server as 2 only");
	sampling->mirostat_tau = version == 2 ? tau : 0;
	sampling->mirostat_eta = version == 2 ? eta : 0;
}

static void read_sampling(struct reading *reading, struct field_checker *check)
{
	struct sampling *sampling = &reading->asked->sampling;
	*sampling = sampling_neutral; /* Ollama has defaults for everything */
	sampling->temperature = 0.8;
	sampling->top_p = 0.9;
	sampling->top_k = 40;
	field_number(check, "temperature", &(struct field_range){.min = 0, .max = 2}, &sampling->temperature);
	field_number(check, "top_p", &(struct field_range){.min = 0, .max = 1}, &sampling->top_p);
	field_number(check, "min_p", &(struct field_range){.min = 0, .max = 1}, &sampling->min_p);
	field_number(check, "typical_p", &(struct field_range){.min = 0, .max = 1}, &sampling->typical_p);
	reading_top_k(reading, check);
	read_penalties(check, sampling);
	read_mirostat(check, sampling);
	int64_t seed = 0;
	if (!json_int64(field_get(check, "seed"), &seed) || seed != -1) /* -1: any */
		reading_seed(reading, check);
}

/* Zero and below: as many as there is room for. */
static void read_num_predict(struct reading *reading, struct field_checker *check)
{
	int64_t max_tokens = -1;
	field_integer(check, "num_predict", INT64_MIN, INT64_MAX, &max_tokens);
	if (max_tokens > 0 && max_tokens < reading->limits->context)
		reading->asked->max_tokens = max_tokens;
}

/* The fields of `options` are checked as an object of their own; the first bad one is the body's. */
static void read_options(struct reading *reading)
{
	const struct json *options = field_get(reading->check, "options");
	struct field_checker check;
	field_checker_init(&check, options);
	if (options && json_type(options) != JSON_OBJECT)
		field_error(&check, "options", "type(object)", NULL, "options must be an object (got %s)",
		            json_type_name(json_type(options)));
	read_sampling(reading, &check);
	read_num_predict(reading, &check);
	reading_stops(reading, &check, "stop");
	if (check.n_errors > 0)
		field_error(reading->check, check.first_field, "options", NULL, "%s", check.first_message);
	field_checker_free(&check);
}

/* ---- what both share ---- */

static void refuse_text(struct field_checker *check, const char *name)
{
	const struct json *value = field_get(check, name);
	size_t n_bytes = 0;
	if (value && (!json_string(value, &n_bytes) || n_bytes > 0))
		field_error(check, name, "unsupported", NULL, "%s is not supported by this server; leave it out", name);
}

static void refuse_images(struct field_checker *check, const struct json *images)
{
	if (json_count(images) > 0)
		field_error(check, "images", "unsupported", NULL, "images: this model reads text only");
}

/* As there: without `logprobs` the other says nothing. */
static void read_logprobs(struct reading *reading)
{
	struct asked *asked = reading->asked;
	int64_t n_top = 0;
	field_bool(reading->check, "logprobs", &asked->logprobs);
	field_integer(reading->check, "top_logprobs", 0, SAMPLING_MAX_TOP_LOGPROBS, &n_top);
	asked->sampling.logprobs = asked->logprobs;
	asked->sampling.n_top_logprobs = asked->logprobs ? (int)n_top : 0;
}

static struct reading begin(const struct request_limits *limits, struct generation *generation,
                            struct field_checker *check, struct error *error)
{
	static const char latest[] = ":latest";
	struct reading reading = reading_begin(limits, generation, check, error);
	struct asked *asked = reading.asked;
	asked->stream = true;
	field_bool(check, "stream", &asked->stream);
	reading_model(&reading);
	size_t n_name = asked->model ? strlen(asked->model) : 0, n_latest = sizeof latest - 1;
	if (n_name > n_latest && strcmp(asked->model + n_name - n_latest, latest) == 0)
		asked->model = reading_keep(&reading, asked->model, n_name - n_latest);
	read_options(&reading);
	read_logprobs(&reading);
	constraint_format_read(check, "format", field_get(check, "format"), true, generation, error);
	return reading;
}

/* `think` is whether, or how much. */
static void write_thinking(struct field_checker *check, struct bytes *out)
{
	const struct json *think = field_get(check, "think");
	bool truth = false;
	const char *effort = json_string(think, NULL);
	if (json_bool(think, &truth)) {
		json_field_bool(out, "enable_thinking", truth);
	} else if (effort) {
		json_field_bool(out, "enable_thinking", true);
		json_field_text(out, "reasoning_effort", effort);
	} else if (think) {
		field_error(check, "think", "type(boolean or string)", NULL, "think must be a boolean, low, medium or high");
	}
}

/* Ends the messages and makes the conversation; false as struct dialect's parse. */
static bool finish(struct reading *reading, struct conversation *writer)
{
	struct asked *asked = reading->asked;
	write_thinking(reading->check, &writer->out);
	if (writer->ends_with_text)
		json_field_bool(&writer->out, "continue_final_message", true);
	if (!reading_is_good(reading)) {
		conversation_free(writer);
		return false;
	}
	asked->conversation = asked->made_conversation = conversation_finish(writer, reading->error);
	if (!asked->made_conversation)
		return false;
	reading_answer(reading, false);
	return reading_conclude(reading);
}

/* ---- /api/chat ---- */

static void read_calls(struct conversation *writer, const struct json *calls)
{
	for (const struct json *call = json_first(calls); call; call = json_next(call)) {
		const struct json *function = json_get(call, "function");
		if (json_string(json_get(function, "name"), NULL))
			conversation_call(writer, json_get(call, "id"), json_get(function, "name"),
			                  json_get(function, "arguments"));
	}
}

static void read_message(struct field_checker *check, struct conversation *writer, const struct json *message,
                         int index)
{
	size_t n_text = 0, n_thinking = 0;
	const struct json *role = json_get(message, "role"), *content = json_get(message, "content");
	const char *text = json_string(content, &n_text);
	const char *thinking = json_string(json_get(message, "thinking"), &n_thinking);
	char place[48];
	snprintf(place, sizeof place, "messages[%d]", index);
	refuse_images(check, json_get(message, "images"));
	if (json_type(message) != JSON_OBJECT || (content && !text && json_type(content) != JSON_NULL)) {
		field_error(check, place, "type(object)", NULL, "%s must be an object whose content is a string", place);
		return;
	}
	text = text ? text : "";
	conversation_turn(writer);
	if (text_is(role, "tool")) {
		const struct json *name = json_get(message, "tool_name");
		conversation_result(writer, json_get(message, "tool_call_id"), name, text, n_text);
	} else if (text_is(role, "assistant")) {
		if (thinking)
			conversation_reasoning(writer, thinking, n_thinking);
		conversation_text(writer, CONVERSATION_ASSISTANT, text, n_text);
		read_calls(writer, json_get(message, "tool_calls"));
	} else if (text_is(role, "system") || text_is(role, "user")) {
		conversation_text(writer, text_is(role, "user") ? CONVERSATION_USER : CONVERSATION_SYSTEM, text, n_text);
	} else {
		field_error(check, place, "role", NULL, "%s.role must be system, user, assistant or tool", place);
	}
}

static void read_messages(struct reading *reading, struct conversation *writer)
{
	struct field_checker *check = reading->check;
	const struct json *messages = field_get(check, "messages");
	if (messages && json_type(messages) != JSON_ARRAY)
		field_error(check, "messages", "type(array)", NULL, "messages must be an array (got %s)",
		            json_type_name(json_type(messages)));
	reading->asked->only_load = json_count(messages) == 0;
	int index = 0;
	for (const struct json *message = json_first(messages); message && check->n_errors == 0;
	     message = json_next(message))
		read_message(check, writer, message, index++);
}

static void read_tools(struct reading *reading, struct bytes *out)
{
	struct field_checker *check = reading->check;
	const struct json *tools = field_get(check, "tools");
	bool wanted = answer_choice_read(check, reading->generation, reading->error);
	if (tools && json_type(tools) != JSON_ARRAY)
		field_error(check, "tools", "type(array)", NULL, "tools must be an array (got %s)",
		            json_type_name(json_type(tools)));
	if (json_count(tools) == 0 || !wanted)
		return;
	json_field_key(out, "tools");
	bytes_append_text(out, "[");
	for (const struct json *tool = json_first(tools); tool; tool = json_next(tool)) {
		const struct json *function = json_get(tool, "function"), *name = json_get(function, "name");
		answer_strict_read(reading->generation, name, json_get(function, "strict"), reading->error);
		if (json_string(name, NULL))
			conversation_write_tool(out, name, json_get(function, "description"), json_get(function, "parameters"));
		else if (check->n_errors == 0)
			field_error(check, "tools", "type(function)", NULL, "each of tools must have a function with a name");
	}
	bytes_append_text(out, "]");
}

bool ollama_parse_chat(const struct json *body, const struct request_limits *limits, struct generation *generation,
                       struct field_checker *check, struct error *error)
{
	(void)body;
	struct reading reading = begin(limits, generation, check, error);
	struct conversation writer = {0};
	read_messages(&reading, &writer);
	conversation_end_messages(&writer);
	read_tools(&reading, &writer.out);
	return finish(&reading, &writer);
}

/* ---- /api/generate ---- */

bool ollama_parse_generate(const struct json *body, const struct request_limits *limits, struct generation *generation,
                           struct field_checker *check, struct error *error)
{
	(void)body;
	struct reading reading = begin(limits, generation, check, error);
	struct conversation writer = {0};
	struct asked *asked = reading.asked;
	const char *prompt = NULL, *system = NULL;
	size_t n_prompt = 0, n_system = 0;
	bool raw = false;
	field_bool(check, "raw", &raw);
	read_string(check, "prompt", &prompt, &n_prompt);
	read_string(check, "system", &system, &n_system);
	refuse_text(check, "template");
	refuse_text(check, "suffix");
	refuse_images(check, field_get(check, "images"));
	if (json_count(field_get(check, "context")) > 0)
		field_error(check, "context", "unsupported", NULL,
		            "context is not supported by this server; send the conversation to /api/chat");
	asked->only_load = n_prompt == 0;
	if (raw) {
		asked->parse_special = true;
		asked->prompt = prompt;
		asked->n_prompt_bytes = n_prompt;
		return reading_conclude(&reading);
	}
	if (system)
		conversation_text(&writer, CONVERSATION_SYSTEM, system, n_system);
	conversation_text(&writer, CONVERSATION_USER, prompt ? prompt : "", n_prompt);
	conversation_end_messages(&writer);
	return finish(&reading, &writer);
}
