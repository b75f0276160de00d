/* Validation of OpenAI's bodies (openai_request.h). What the engine cannot do yet is refused by name, unless it is asked for
 * with the value that means nothing; what changes no answer (user, metadata, store, ...) is let pass. */
#include "server/dialects/openai_request.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/dialects/answer_fields.h"
#include "server/dialects/reading.h"

enum { COMPLETION_MAX_LOGPROBS = 5 };

/* ---- what is refused ---- */

static void refuse_field(struct field_checker *check, const char *name)
{
	field_error(check, name, "unsupported", NULL, "%s is not supported by this server; leave it out", name);
}

/* The older form of tools. */
static void refuse_functions(struct field_checker *check)
{
	const struct json *functions = field_get(check, "functions"), *choice = field_get(check, "function_call");
	const char *text = json_string(choice, NULL);
	if (functions && (json_type(functions) != JSON_ARRAY || json_count(functions) > 0))
		field_error(check, "functions", "unsupported", NULL,
		            "functions is not supported by this server; give them as tools, each as {\"type\":\"function\","
		            "\"function\":...}");
	if (choice && (!text || (strcmp(text, "none") != 0 && strcmp(text, "auto") != 0)))
		field_error(check, "function_call", "unsupported", NULL,
		            "function_call is not supported by this server; give functions as tools, and this as tool_choice");
}

/* What an answer is to have beside text, or to be made from. */
static void refuse_other_media(struct field_checker *check)
{
	const struct json *modalities = field_get(check, "modalities");
	bool is_list = !modalities || json_type(modalities) == JSON_ARRAY, is_text = is_list;
	for (const struct json *item = is_list ? json_first(modalities) : NULL; item; item = json_next(item)) {
		const char *name = json_string(item, NULL);
		is_text &= name && strcmp(name, "text") == 0;
	}
	if (!is_text)
		field_error(check, "modalities", "unsupported", NULL,
		            "modalities must be an array of \"text\" alone: this server answers in no other form");
	if (field_get(check, "audio"))
		refuse_field(check, "audio");
	if (field_get(check, "web_search_options"))
		field_error(check, "web_search_options", "unsupported", NULL,
		            "web_search_options is not supported: this server searches nothing; leave it out");
}

static void refuse_what_is_not_there(struct field_checker *check, bool chat)
{
	if (chat) {
		refuse_other_media(check);
		refuse_functions(check);
		return;
	}
	size_t n_suffix = 1;
	if (field_get(check, "suffix") && (!json_string(field_get(check, "suffix"), &n_suffix) || n_suffix > 0))
		refuse_field(check, "suffix");
}

/* ---- what both kinds of request share ---- */

/* The best of several are known when all of them are there, so there is no stream of those. */
static void read_choices(struct reading *reading)
{
	struct field_checker *check = reading->check;
	struct asked *asked = reading->asked;
	int64_t n = 1, best_of = 0;
	bool good = field_integer(check, "n", 1, ENGINE_MAX_CHOICES, &n) &&
	            field_integer(check, "best_of", n, ENGINE_MAX_CHOICES, &best_of);
	asked->n_choices = (int)(best_of > n ? best_of : n);
	if (!good || best_of <= n)
		return;
	asked->n_best = (int)n;
	asked->sampling.logprobs = true; /* that is how they are told apart */
	if (asked->stream)
		field_error(check, "best_of", "not_with(stream)", NULL, "best_of above n cannot be streamed");
}

static void read_streaming(struct reading *reading)
{
	struct field_checker *check = reading->check;
	field_bool(check, "stream", &reading->asked->stream);
	const struct json *options = field_get(check, "stream_options");
	if (!options)
		return;
	if (json_type(options) != JSON_OBJECT) {
		field_error(check, "stream_options", "type(object)", NULL, "stream_options must be an object (got %s)",
		            json_type_name(json_type(options)));
		return;
	}
	const struct json *include = json_get(options, "include_usage");
	if (include && json_type(include) != JSON_NULL && !json_bool(include, &reading->asked->include_usage))
		field_error(check, "stream_options.include_usage", "type(boolean)", NULL,
		            "stream_options.include_usage must be a boolean (got %s)", json_type_name(json_type(include)));
}

static void read_common(struct reading *reading)
{
	reading_model(reading);
	reading_sampling(reading);
	reading_stops(reading, reading->check, "stop");
	reading_seed(reading, reading->check);
	read_streaming(reading);
	read_choices(reading);
	reading_constraints(reading);
	field_bool(reading->check, "ignore_eos", &reading->asked->ignore_eos);
	field_bool(reading->check, "parse_special", &reading->asked->parse_special);
}

/* ---- chat ---- */

/* The likeliest ones are told beside each token, so not without. */
static void read_chat_logprobs(struct reading *reading)
{
	struct sampling *sampling = &reading->asked->sampling;
	int64_t n_top = 0;
	field_bool(reading->check, "logprobs", &reading->asked->logprobs);
	if (field_integer(reading->check, "top_logprobs", 0, SAMPLING_MAX_TOP_LOGPROBS, &n_top) && n_top > 0 &&
	    !reading->asked->logprobs)
		field_error(reading->check, "top_logprobs", "needs(logprobs)", NULL, "top_logprobs needs logprobs to be true");
	sampling->logprobs |= reading->asked->logprobs;
	sampling->n_top_logprobs = (int)n_top;
}

bool openai_parse_chat(const struct json *body, const struct request_limits *limits, struct generation *generation,
                       struct field_checker *check, struct error *error)
{
	struct reading reading = reading_begin(limits, generation, check, error);
	struct asked *asked = reading.asked;
	asked->prompt_field = "messages";
	read_common(&reading);
	reading_max_tokens(&reading, "max_tokens");
	reading_max_tokens(&reading, "max_completion_tokens");
	read_chat_logprobs(&reading);
	answer_fields_read(check, limits, generation, error);
	refuse_what_is_not_there(check, true);
	bool ok = openai_read_conversation(body, check, &asked->conversation, &asked->made_conversation, error);
	return ok && reading_conclude(&reading);
}

/* ---- completions ---- */

bool openai_read_tokens(const struct json *array, int64_t vocab_size, const char *name, struct field_checker *check,
                        int32_t **out, size_t *n_ids, struct error *error)
{
	int32_t *ids = malloc((json_count(array) + 1) * sizeof *ids);
	size_t n = 0;
	*out = ids;
	if (!ids)
		return error_set(error, ERROR_MEMORY, "no memory for the request");
	for (const struct json *item = json_first(array); item; item = json_next(item)) {
		int64_t id = -1;
		if (!json_int64(item, &id) || id < 0 || id >= vocab_size) {
			char field[32];
			snprintf(field, sizeof field, "%.*s", (int)strcspn(name, "["), name);
			field_error(check, field, "tokens", NULL, "%s[%zu] is no token: they are integers from 0 to %lld", name, n,
			            (long long)vocab_size - 1);
			return false;
		}
		ids[n++] = (int32_t)id;
	}
	*n_ids = n;
	return true;
}

static void read_prompt_tokens(struct reading *reading, const struct json *array, const char *name,
                               struct asked_prompt *prompt)
{
	int32_t *ids = NULL;
	size_t n_ids = 0;
	if (openai_read_tokens(array, reading->limits->vocab_size, name, reading->check, &ids, &n_ids, reading->error)) {
		int32_t *kept = arena_array(&reading->generation->arena, n_ids, sizeof *ids);
		if (kept)
			memcpy(kept, ids, n_ids * sizeof *ids);
		else
			error_set(reading->error, ERROR_MEMORY, "no memory for the request");
		*prompt = (struct asked_prompt){.tokens = kept, .n_tokens = n_ids};
	}
	free(ids);
}

static void read_completion_logprobs(struct reading *reading)
{
	struct sampling *sampling = &reading->asked->sampling;
	int64_t n_top = -1;
	field_integer(reading->check, "logprobs", 0, COMPLETION_MAX_LOGPROBS, &n_top);
	reading->asked->logprobs = n_top >= 0;
	sampling->logprobs |= n_top >= 0;
	sampling->n_top_logprobs = n_top > 0 ? (int)n_top : 0;
}

/* A text, or tokens. `place` is that in a list of prompts, -1 where it is the only one. */
static void read_one_prompt(struct reading *reading, const struct json *given, int place, struct asked_prompt *prompt)
{
	char name[32] = "prompt";
	bool is_list = json_type(given) == JSON_ARRAY;
	if (place >= 0)
		snprintf(name, sizeof name, "prompt[%d]", place);
	if (is_list && json_first(given)) {
		read_prompt_tokens(reading, given, name, prompt);
		return;
	}
	prompt->text = json_string(given, &prompt->n_bytes);
	if (!prompt->text)
		field_error(reading->check, "prompt", "type(string or tokens)", NULL,
		            "%s must be a string or an array of token ids (got %s)", name,
		            is_list ? "an empty list" : json_type_name(json_type(given)));
}

/* One prompt or a list of them; each takes as many places as it has choices. */
static void read_prompts(struct reading *reading)
{
	struct field_checker *check = reading->check;
	struct asked *asked = reading->asked;
	const struct json *given = field_get(check, "prompt"), *item = json_first(given);
	if (!given) {
		field_error(check, "prompt", "required", NULL, "prompt is required");
		return;
	}
	bool several = item && json_type(given) == JSON_ARRAY && json_type(item) != JSON_NUMBER;
	size_t n = several ? json_count(given) : 1, most = ENGINE_MAX_CHOICES / (size_t)asked->n_choices;
	if (n > most) {
		field_error(check, "prompt", "max_items(128)", NULL, "prompt must have at most %zu prompts (got %zu)%s", most,
		            n, asked->n_choices > 1 ? " with so many choices of each" : "");
		return;
	}
	struct asked_prompt *prompts = arena_array(&reading->generation->arena, n, sizeof *prompts);
	if (!prompts) {
		error_set(reading->error, ERROR_MEMORY, "no memory for the request");
		return;
	}
	for (size_t i = 0; i < n; i++, item = several ? json_next(item) : NULL)
		read_one_prompt(reading, several ? item : given, several ? (int)i : -1, &prompts[i]);
	asked->prompts = prompts;
	asked->n_prompts = (int)n;
}

bool openai_parse_completion(const struct json *body, const struct request_limits *limits,
                             struct generation *generation, struct field_checker *check, struct error *error)
{
	(void)body;
	struct reading reading = reading_begin(limits, generation, check, error);
	reading.asked->parse_special = true;
	reading.asked->prompt_field = "prompt";
	read_common(&reading);
	int64_t max_tokens;
	reading.asked->prompt_only = json_int64(field_get(check, "max_tokens"), &max_tokens) && max_tokens == 0;
	if (!reading.asked->prompt_only)
		reading_max_tokens(&reading, "max_tokens");
	field_bool(check, "echo", &reading.asked->echoes_prompt);
	read_prompts(&reading);
	read_completion_logprobs(&reading);
	refuse_what_is_not_there(check, false);
	return reading_conclude(&reading);
}
