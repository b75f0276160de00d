/* Validation of request bodies (request.h): from JSON to a struct whose every field is in range. */
#include "server/request.h"

#include <stdio.h>
#include <string.h>

#include "server/fields.h"

enum {
	BODY_MAX_VALUES = 50000, /* bounds what a body of many tiny values costs in memory */
	STOP_MAX_CHARACTERS = 100,
};

static const char *const execute_fields[] = {
    "job_id", "prompt", "max_tokens", "temperature", "top_p",    "top_k",      "min_p",         "repetition_penalty",
    "stop",   "seed",   "stream",     "deadline_ms", "priority", "ignore_eos", "parse_special",
};

struct json *request_parse(const char *body, size_t n_bytes, struct error *error)
{
	static const struct json_limits limits = {.max_depth = 64, .max_values = BODY_MAX_VALUES};
	if (n_bytes == 0) {
		error_set(error, ERROR_INVALID_REQUEST, "the body is empty; expected a JSON object");
		return NULL;
	}
	struct json *document = json_parse(body, n_bytes, &limits, error);
	if (!document) {
		if (error->code != ERROR_MEMORY)
			error->code = ERROR_INVALID_REQUEST;
		error_prefix(error, "the body is not acceptable JSON");
		return NULL;
	}
	if (json_type(document) != JSON_OBJECT) {
		error_set(error, ERROR_INVALID_REQUEST, "the body must be a JSON object (got %s)",
		          json_type_name(json_type(document)));
		json_destroy(document);
		return NULL;
	}
	return document;
}

static size_t count_characters(const char *text, size_t n_bytes)
{
	size_t n_characters = 0;
	for (size_t i = 0; i < n_bytes; i++)
		if (((unsigned char)text[i] & 0xc0) != 0x80)
			n_characters++;
	return n_characters;
}

static void read_prompt(struct field_checker *check, struct execute_request *request)
{
	const struct json *prompt = field_get(check, "prompt");
	if (!prompt) {
		field_error(check, "prompt", "required", NULL, "prompt is required");
		return;
	}
	request->prompt = json_string(prompt, &request->n_prompt_bytes);
	if (!request->prompt)
		field_error(check, "prompt", "type(string)", NULL, "prompt must be a string (got %s)",
		            json_type_name(json_type(prompt)));
	else if (request->n_prompt_bytes == 0)
		field_error(check, "prompt", "length(1..)", NULL, "prompt must not be empty");
}

/* One stop string; `index` is its place in the array, or -1 when the field is the string itself. */
static bool read_stop_string(struct field_checker *check, const struct json *value, int index,
                             struct execute_request *request)
{
	char where[16] = "";
	if (index >= 0)
		snprintf(where, sizeof(where), "[%d]", index);
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
	request->stops[request->n_stops++] = (struct stop_string){.text = text, .n_bytes = n_bytes};
	return true;
}

static void read_stop(struct field_checker *check, struct execute_request *request)
{
	const struct json *stop = field_get(check, "stop");
	if (!stop)
		return;
	if (json_type(stop) == JSON_STRING) {
		(void)read_stop_string(check, stop, -1, request);
		return;
	}
	if (json_type(stop) != JSON_ARRAY) {
		field_error(check, "stop", "type(string or array)", NULL,
		            "stop must be a string or an array of strings (got %s)", json_type_name(json_type(stop)));
		return;
	}
	if (json_count(stop) > STOP_MAX_STRINGS) {
		field_error(check, "stop", "max_items(4)", NULL, "stop must have at most %d strings (got %zu)",
		            STOP_MAX_STRINGS, json_count(stop));
		return;
	}
	int index = 0;
	for (const struct json *item = json_first(stop); item; item = json_next(item))
		if (!read_stop_string(check, item, index++, request))
			return;
}

/* Closes the list of errors and moves it out; true when there were none. */
static bool checker_finish(struct field_checker *check, struct bytes *errors)
{
	bool good = check->n_errors == 0;
	if (!good) {
		bytes_append_text(&check->errors, "]");
		json_open(errors);
		json_field_key(errors, "errors");
		bytes_append(errors, check->errors.data, check->errors.n_bytes);
		json_close(errors);
		errors->failed |= check->errors.failed;
	}
	field_checker_free(check);
	return good;
}

bool execute_request_read(const struct json *body, const struct request_limits *limits, struct execute_request *request,
                          struct bytes *errors)
{
	*request = (struct execute_request){
	    .max_tokens = limits->max_tokens,
	    .sampling = {.temperature = 1, .top_p = 1, .repetition_penalty = 1},
	    .stream = true,
	    .parse_special = true,
	};
	struct field_checker check;
	field_checker_init(&check, body);
	struct sampling *sampling = &request->sampling;

	field_name(&check, "job_id", JOB_ID_BYTES, &request->job_id, &request->n_job_id_bytes);
	read_prompt(&check, request);
	field_integer(&check, "max_tokens", 1, limits->max_tokens, &request->max_tokens);
	field_number(&check, "temperature", &(struct field_range){.min = 0, .max = 2}, &sampling->temperature);
	field_number(&check, "top_p", &(struct field_range){.min = 0, .max = 1}, &sampling->top_p);
	field_integer(&check, "top_k", 0, limits->vocab_size, &sampling->top_k);
	field_number(&check, "min_p", &(struct field_range){.min = 0, .max = 1}, &sampling->min_p);
	field_number(&check, "repetition_penalty", &(struct field_range){.min = 0, .max = 2, .above_min = true},
	             &sampling->repetition_penalty);
	read_stop(&check, request);
	field_unsigned(&check, "seed", &sampling->seed);
	request->has_seed = field_get(&check, "seed") != NULL;
	field_bool(&check, "stream", &request->stream);
	field_integer(&check, "deadline_ms", 1, INT64_MAX, &request->deadline_ms);
	field_integer(&check, "priority", -10, 10, &request->priority);
	field_bool(&check, "ignore_eos", &request->ignore_eos);
	field_bool(&check, "parse_special", &request->parse_special);

	size_t n_known = sizeof(execute_fields) / sizeof(execute_fields[0]);
	if (fields_unknown(body, execute_fields, n_known, &request->ignored) == 0)
		bytes_clear(&request->ignored);
	return checker_finish(&check, errors);
}

void execute_request_free(struct execute_request *request)
{
	bytes_free(&request->ignored);
}

bool cancel_request_read(const struct json *body, const char **job_id, size_t *n_bytes, struct bytes *errors)
{
	struct field_checker check;
	field_checker_init(&check, body);
	*job_id = NULL;
	if (!field_get(&check, "job_id"))
		field_error(&check, "job_id", "required", NULL, "job_id is required");
	else
		field_name(&check, "job_id", JOB_ID_BYTES, job_id, n_bytes);
	return checker_finish(&check, errors);
}
