/* Fields that several dialects share (reading.h). */
#include "server/dialects/reading.h"

#include "server/dialects/constraint_fields.h"
#include "server/dialects/sampling_fields.h"

enum { STOP_MAX_BYTES = 1024, MODEL_MAX_BYTES = 1024 };

struct reading reading_begin(const struct request_limits *limits, struct generation *generation,
                             struct field_checker *check, struct error *error)
{
	generation->asked = (struct asked){
	    .max_tokens = limits->context,
	    .fit_pool = true,
	    .sampling = *limits->sampling,
	};
	return (struct reading){
	    .check = check, .limits = limits, .generation = generation, .asked = &generation->asked, .error = error};
}

bool reading_is_good(const struct reading *reading)
{
	return reading->error->code == ERROR_NONE && reading->check->n_errors == 0;
}

void reading_constraints(struct reading *reading)
{
	constraint_fields_read(reading->check, reading->generation, reading->error);
}

bool reading_conclude(struct reading *reading)
{
	if (reading_is_good(reading))
		constraint_fields_conclude(reading->check, reading->generation, reading->error);
	return reading_is_good(reading);
}

const char *reading_keep(struct reading *reading, const char *text, size_t n_bytes)
{
	const char *copy = arena_strdup(&reading->generation->arena, text, n_bytes);
	if (!copy)
		error_set(reading->error, ERROR_MEMORY, "no memory for the request");
	return copy;
}

void reading_model(struct reading *reading)
{
	const char *model = NULL;
	size_t n_bytes = 0;
	if (field_name(reading->check, "model", MODEL_MAX_BYTES, &model, &n_bytes) && model)
		reading->asked->model = reading_keep(reading, model, n_bytes);
}

void reading_max_tokens(struct reading *reading, const char *name)
{
	struct asked *asked = reading->asked;
	field_integer(reading->check, name, 1, INT64_MAX, &asked->max_tokens);
	if (asked->max_tokens > reading->limits->context)
		asked->max_tokens = reading->limits->context;
}

void reading_stops(struct reading *reading, struct field_checker *check, const char *name)
{
	const struct json *stop = field_get(check, name);
	if (!stop)
		return;
	bool is_list = json_type(stop) == JSON_ARRAY;
	if (is_list && json_count(stop) > STOP_MAX_STRINGS) {
		field_error(check, name, "max_items(64)", NULL, "%s must have at most %d strings (got %zu)", name,
		            STOP_MAX_STRINGS, json_count(stop));
		return;
	}
	for (const struct json *item = is_list ? json_first(stop) : stop; item; item = is_list ? json_next(item) : NULL) {
		size_t n_bytes = 0;
		const char *text = json_string(item, &n_bytes);
		if (!text || n_bytes == 0 || n_bytes > STOP_MAX_BYTES) {
			field_error(check, name, "strings", NULL,
			            "%s must be a string of 1 to %d bytes or an array of such strings", name, STOP_MAX_BYTES);
			return;
		}
		reading->asked->stops[reading->asked->n_stops++] =
		    (struct stop_string){.text = reading_keep(reading, text, n_bytes), .n_bytes = n_bytes};
	}
}

void reading_seed(struct reading *reading, struct field_checker *check)
{
	const struct json *seed = field_get(check, "seed");
	int64_t number;
	reading->asked->has_seed = seed != NULL;
	if (json_int64(seed, &number))
		reading->asked->sampling.seed = (uint64_t)number;
	else
		field_unsigned(check, "seed", &reading->asked->sampling.seed);
}

void reading_sampling(struct reading *reading)
{
	const struct sampling_rules rules = {.vocab_size = reading->limits->vocab_size,
	                                     .tokenizer = reading->limits->tokenizer,
	                                     .max_min_tokens = INT64_MAX,
	                                     .clips = true};
	if (!sampling_fields_read(reading->check, &rules, &reading->generation->arena, &reading->asked->sampling))
		error_set(reading->error, ERROR_MEMORY, "no memory for the request");
}

void reading_top_k(struct reading *reading, struct field_checker *check)
{
	struct sampling *sampling = &reading->asked->sampling;
	field_integer(check, "top_k", -1, INT64_MAX, &sampling->top_k);
	if (sampling->top_k < 0)
		sampling->top_k = 0;
	if (sampling->top_k > reading->limits->vocab_size)
		sampling->top_k = reading->limits->vocab_size;
}

void reading_answer(struct reading *reading, bool single_call)
{
	struct asked *asked = reading->asked;
	const struct json *tools = json_get(asked->made_conversation, "tools");
	asked->answer.reads = true;
	asked->answer.settings = reading->limits->answers;
	asked->answer.single_call |= single_call;
	if (json_count(tools) == 0)
		return;
	asked->answer.offered = answer_tools_read(tools, &reading->generation->arena);
	if (!asked->answer.offered)
		error_set(reading->error, ERROR_MEMORY, "no memory for the request");
}
