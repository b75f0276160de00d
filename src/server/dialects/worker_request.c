/* Validation of the worker's bodies (worker_request.h): from JSON to a struct whose every field is in range. */
#include "server/dialects/worker_request.h"

#include <stdio.h>
#include <string.h>

#include "server/dialects/constraint_fields.h"
#include "server/dialects/sampling_fields.h"

enum { STOP_MAX_CHARACTERS = 100, EXECUTE_MAX_STOPS = 4, MODEL_MAX_BYTES = 1024 };

static const char *const execute_fields[] = {"job_id", "prompt", "max_tokens", "stop", "seed", "stream", "deadline_ms",
                                             "priority", "ignore_eos", "parse_special",
                                             /* the orchestrator's alone */
                                             "operation", "model"};
enum { N_ORCHESTRATOR_FIELDS = 2 };

/* What the readers of single fields share. */
struct reading {
	struct field_checker *check;
	struct generation *generation;
	struct arena *arena;
	struct asked *asked;
	bool no_memory;
};

static const char *keep_text(struct reading *reading, const char *text, size_t n_bytes)
{
	const char *copy = arena_strdup(reading->arena, text, n_bytes);
	reading->no_memory |= !copy;
	return copy;
}

static size_t count_characters(const char *text, size_t n_bytes)
{
	size_t n_characters = 0;
	for (size_t i = 0; i < n_bytes; i++)
		if (((unsigned char)text[i] & 0xc0) != 0x80)
			n_characters++;
	return n_characters;
}

static void read_job_id(struct reading *reading)
{
	const char *job_id = NULL;
	size_t n_bytes = 0;
	if (field_name(reading->check, "job_id", JOB_ID_BYTES, &job_id, &n_bytes) && job_id)
		reading->asked->job_id = keep_text(reading, job_id, n_bytes);
}

/* Borrowed from the document: it may be large, and nobody needs it once it is tokens. */
static void read_prompt(struct reading *reading)
{
	struct field_checker *check = reading->check;
	struct asked *asked = reading->asked;
	const struct json *prompt = field_get(check, "prompt");
	if (!prompt) {
		field_error(check, "prompt", "required", NULL, "prompt is required");
		return;
	}
	asked->prompt = json_string(prompt, &asked->n_prompt_bytes);
	if (!asked->prompt)
		field_error(check, "prompt", "type(string)", NULL, "prompt must be a string (got %s)",
		            json_type_name(json_type(prompt)));
	else if (asked->n_prompt_bytes == 0)
		field_error(check, "prompt", "length(1..)", NULL, "prompt must not be empty");
}

/* One stop string; `index` is its place in the array, or -1 when the field is the string itself. */
static bool read_stop_string(struct reading *reading, const struct json *value, int index)
{
	struct field_checker *check = reading->check;
	char where[16] = "";
	if (index >= 0)
		snprintf(where, sizeof where, "[%d]", index);
	size_t n_bytes = 0;
	const char *text = json_string(value, &n_bytes);
	if (!text) {
		field_error(check, "stop", "type(string)", NULL, "stop%s must be a string (got %s)", where,
		            json_type_name(json_type(value)));
		return false;
	}
	size_t n_characters = count_characters(text, n_bytes);
	if (n_characters < 1 || n_characters > STOP_MAX_CHARACTERS) {
		field_error(check, "stop", "length(1..=100)", NULL, "stop%s must have 1 to %d characters (got %zu)", where,
		            STOP_MAX_CHARACTERS, n_characters);
		return false;
	}
	reading->asked->stops[reading->asked->n_stops++] =
	    (struct stop_string){.text = keep_text(reading, text, n_bytes), .n_bytes = n_bytes};
	return true;
}

static void read_stop(struct reading *reading)
{
	struct field_checker *check = reading->check;
	const struct json *stop = field_get(check, "stop");
	if (!stop)
		return;
	if (json_type(stop) == JSON_STRING) {
		(void)read_stop_string(reading, stop, -1);
		return;
	}
	if (json_type(stop) != JSON_ARRAY) {
		field_error(check, "stop", "type(string or array)", NULL,
		            "stop must be a string or an array of strings (got %s)", json_type_name(json_type(stop)));
		return;
	}
	if (json_count(stop) > EXECUTE_MAX_STOPS) {
		field_error(check, "stop", "max_items(4)", NULL, "stop must have at most %d strings (got %zu)",
		            EXECUTE_MAX_STOPS, json_count(stop));
		return;
	}
	int index = 0;
	for (const struct json *item = json_first(stop); item; item = json_next(item))
		if (!read_stop_string(reading, item, index++))
			return;
}

static void note_ignored(struct reading *reading, const struct json *body, bool orchestrator)
{
	struct bytes names = {0};
	size_t n_known = sizeof execute_fields / sizeof execute_fields[0] - (orchestrator ? 0 : N_ORCHESTRATOR_FIELDS);
	const struct field_names known[] = {{execute_fields, n_known}, sampling_field_names, constraint_field_names};
	if (fields_unknown(body, known, sizeof known / sizeof known[0], &names) > 0) {
		reading->no_memory |= names.failed;
		if (!names.failed)
			reading->asked->ignored = keep_text(reading, names.data, names.n_bytes);
	}
	bytes_free(&names);
}

static void read_fields(struct reading *reading, const struct request_limits *limits)
{
	struct field_checker *check = reading->check;
	struct asked *asked = reading->asked;
	*asked = (struct asked){
	    .max_tokens = limits->max_tokens,
	    .sampling = sampling_neutral,
	    .stream = true,
	    .parse_special = true,
	};
	read_job_id(reading);
	read_prompt(reading);
	field_integer(check, "max_tokens", 1, limits->max_tokens, &asked->max_tokens);
	const struct sampling_rules rules = {
	    .vocab_size = limits->vocab_size, .tokenizer = limits->tokenizer, .max_min_tokens = asked->max_tokens};
	reading->no_memory |= !sampling_fields_read(check, &rules, reading->arena, &asked->sampling);
	read_stop(reading);
	field_unsigned(check, "seed", &asked->sampling.seed);
	asked->has_seed = field_get(check, "seed") != NULL;
	field_bool(check, "stream", &asked->stream);
	field_integer(check, "deadline_ms", 1, INT64_MAX, &asked->deadline_ms);
	field_integer(check, "priority", -10, 10, &asked->priority);
	field_bool(check, "ignore_eos", &asked->ignore_eos);
	field_bool(check, "parse_special", &asked->parse_special);
}

static bool conclude(const struct reading *reading, struct error *error)
{
	constraint_fields_read(reading->check, reading->generation, error);
	constraint_fields_conclude(reading->check, reading->generation, error);
	if (reading->no_memory)
		return error_set(error, ERROR_MEMORY, "no memory for the request");
	return reading->check->n_errors == 0 && error->code == ERROR_NONE;
}

bool worker_parse(const struct json *body, const struct request_limits *limits, struct generation *generation,
                  struct field_checker *check, struct error *error)
{
	struct reading reading = {
	    .check = check, .generation = generation, .arena = &generation->arena, .asked = &generation->asked};
	read_fields(&reading, limits);
	note_ignored(&reading, body, false);
	return conclude(&reading, error);
}

bool orchestrator_parse(const struct json *body, const struct request_limits *limits, struct generation *generation,
                        struct field_checker *check, struct error *error)
{
	struct reading reading = {
	    .check = check, .generation = generation, .arena = &generation->arena, .asked = &generation->asked};
	const char *model = NULL;
	size_t n_bytes = 0;
	read_fields(&reading, limits);
	if (field_name(check, "model", MODEL_MAX_BYTES, &model, &n_bytes) && model)
		reading.asked->model = keep_text(&reading, model, n_bytes);
	const struct json *operation = field_get(check, "operation");
	const char *name = json_string(operation, NULL);
	if (operation && (!name || strcmp(name, "infer") != 0))
		field_error(check, "operation", "one_of(infer)", NULL,
		            "operation must be \"infer\": a worker does nothing else");
	note_ignored(&reading, body, true);
	return conclude(&reading, error);
}

bool orchestrator_parse_job(const struct json *body, const struct request_limits *limits, struct generation *generation,
                            struct field_checker *check, struct error *error)
{
	if (!field_get(check, "operation"))
		field_error(check, "operation", "required", NULL, "operation is required: \"infer\"");
	return orchestrator_parse(body, limits, generation, check, error);
}

bool cancel_parse(struct field_checker *check, const char **job_id, size_t *n_bytes)
{
	*job_id = NULL;
	if (!field_get(check, "job_id"))
		field_error(check, "job_id", "required", NULL, "job_id is required");
	else
		field_name(check, "job_id", JOB_ID_BYTES, job_id, n_bytes);
	return check->n_errors == 0;
}
