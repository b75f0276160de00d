/* OpenAI's Responses: events to items of one response. Errors and bad fields are as in OpenAI's other routes. What requests
 * may hold is in responses_request.c. */
#include "server/dialects/responses_request.h"

#include <string.h>

#include "base/platform.h"
#include "server/dialects/constraint_fields.h"
#include "server/dialects/openai_request.h"
#include "server/dialects/responses_logprobs.h"
#include "server/dialects/sse.h"

/* ---- what both forms of an answer tell ---- */

/* A generation's name is "job-" and digits: the same digits under a prefix, and for items their number. */
static void field_id(const struct generation *generation, const char *key, const char *prefix, int index,
                     struct bytes *out)
{
	json_field_key(out, key);
	bytes_append_format(out, "\"%s_%s", prefix, generation->job_id + strlen("job-"));
	if (index >= 0)
		bytes_append_format(out, "%02x", (unsigned)index);
	bytes_append_text(out, "\"");
}

static bool ended_well(const struct generation *generation)
{
	return generation->stop_reason == STOP_EOS || generation->stop_reason == STOP_SEQUENCE;
}

static const char *end_status(const struct generation *generation)
{
	return generation->error.code != ERROR_NONE ? "failed" : ended_well(generation) ? "completed" : "incomplete";
}

static void write_usage(const struct generation *generation, int64_t reasoning_tokens, struct bytes *out)
{
	json_field_key(out, "usage");
	json_open(out);
	json_field_int(out, "input_tokens", generation->prompt_tokens);
	json_field_key(out, "input_tokens_details");
	json_open(out);
	json_field_int(out, "cached_tokens", generation->cached_tokens);
	json_field_int(out, "cache_write_tokens", 0);
	json_close(out);
	json_field_int(out, "output_tokens", generation->tokens_out);
	json_field_key(out, "output_tokens_details");
	json_open(out);
	json_field_int(out, "reasoning_tokens", reasoning_tokens);
	json_close(out);
	json_field_int(out, "total_tokens", generation->prompt_tokens + generation->tokens_out);
	json_close(out);
}

static void write_failure(const struct error *error, struct bytes *out)
{
	json_field_key(out, "error");
	json_open(out);
	json_field_text(out, "code", error_info(error->code)->http_status == 429 ? "rate_limit_exceeded" : "server_error");
	json_field_text(out, "message", error->message);
	json_close(out);
}

/* Members that are the same in every response, and sampling that is told as numbers. */
static void write_settings(const struct sampling *sampling, struct bytes *out)
{
	json_field_bool(out, "background", false);
	json_field_text(out, "previous_response_id", NULL);
	json_field_bool(out, "store", false);
	json_field_text(out, "service_tier", "default");
	json_field_text(out, "truncation", "disabled");
	json_field_int(out, "top_logprobs", sampling->n_top_logprobs);
	json_field_double(out, "presence_penalty", sampling->presence_penalty);
	json_field_double(out, "frequency_penalty", sampling->frequency_penalty);
}

/* The response, before its end (status in_progress) or at it. `items`: those that are whole. */
static void write_response(const struct generation *generation, const char *status, const struct bytes *items,
                           int64_t reasoning_tokens, struct bytes *out)
{
	bool going_on = strcmp(status, "in_progress") == 0;
	json_open(out);
	field_id(generation, "id", "resp", -1, out);
	json_field_text(out, "object", "response");
	json_field_int(out, "created_at", generation->started_unix_ms / 1000);
	json_field_text(out, "status", status);
	if (strcmp(status, "completed") == 0)
		json_field_int(out, "completed_at", clock_unix_ms() / 1000);
	else
		json_field_text(out, "completed_at", NULL);
	if (strcmp(status, "failed") == 0)
		write_failure(&generation->error, out);
	else
		json_field_text(out, "error", NULL);
	json_field_key(out, "incomplete_details");
	bytes_append_text(out, strcmp(status, "incomplete") == 0 ? "{\"reason\":\"max_output_tokens\"}" : "null");
	json_field_text(out, "model", generation->model);
	json_field_key(out, "output");
	bytes_append_text(out, "[");
	bytes_append(out, items->data, items->n_bytes);
	bytes_append_text(out, "]");
	out->failed |= items->failed;
	if (going_on)
		json_field_text(out, "usage", NULL);
	else
		write_usage(generation, reasoning_tokens, out);
	write_settings(&generation->asked.sampling, out);
	constraint_fields_write(generation, out);
	bytes_append_text(out, ",");
	bytes_append_text(out, generation->asked.echo);
	json_close(out);
}

/* ---- items ---- */

/* items NULL: there are none. */
static void field_logprobs(const struct bytes *items, struct bytes *out)
{
	json_field_key(out, "logprobs");
	bytes_append_text(out, "[");
	if (items) {
		bytes_append(out, items->data, items->n_bytes);
		out->failed |= items->failed;
	}
	bytes_append_text(out, "]");
}

/* A part of a message, or of reasoning; `logprobs` are a message's. */
static void write_part(int kind, const char *text, size_t n_bytes, const struct bytes *logprobs, struct bytes *out)
{
	json_open(out);
	json_field_text(out, "type", kind == TELLING_REASONING ? "reasoning_text" : "output_text");
	json_field_string(out, "text", text, n_bytes);
	if (kind == TELLING_TEXT) {
		json_field_key(out, "annotations");
		bytes_append_text(out, "[]");
		field_logprobs(logprobs, out);
	}
	json_close(out);
}

static void field_item_id(const struct generation *generation, const char *key, int kind, int index, struct bytes *out)
{
	field_id(generation, key, kind == TELLING_REASONING ? "rs" : kind == TELLING_TEXT ? "msg" : "fc", index, out);
}

/* What of an item is known: name, and call, are a call's, whose text are its arguments. text NULL: nothing was said yet. */
struct item {
	int kind, index, call;
	const char *status, *name, *text;
	size_t n_name, n_text;
	const struct bytes *logprobs; /* of the text */
};

static void write_call(const struct generation *generation, const struct item *item, struct bytes *out)
{
	char id[CALL_ID_BYTES];
	answers_call_id(generation, "call_", 0, item->call, id);
	json_field_text(out, "call_id", id);
	json_field_string(out, "name", item->name, item->n_name);
	for (const struct tool_place *place = generation->asked.tool_places; place; place = place->next)
		if (strlen(place->name) == item->n_name && memcmp(place->name, item->name, item->n_name) == 0) {
			json_field_text(out, "namespace", place->space);
			break;
		}
	json_field_string(out, "arguments", item->text ? item->text : "", item->n_text);
}

static void write_item(const struct generation *generation, const struct item *item, struct bytes *out)
{
	static const char *const types[] = {
	    [TELLING_REASONING] = "reasoning", [TELLING_TEXT] = "message", [TELLING_CALL] = "function_call"};
	json_open(out);
	field_item_id(generation, "id", item->kind, item->index, out);
	json_field_text(out, "type", types[item->kind]);
	json_field_text(out, "status", item->status);
	if (item->kind == TELLING_CALL) {
		write_call(generation, item, out);
		json_close(out);
		return;
	}
	if (item->kind == TELLING_TEXT)
		json_field_text(out, "role", "assistant");
	json_field_key(out, "content");
	bytes_append_text(out, "[");
	if (item->text)
		write_part(item->kind, item->text, item->n_text, item->logprobs, out);
	bytes_append_text(out, "]");
	if (item->kind == TELLING_REASONING) {
		json_field_key(out, "summary");
		bytes_append_text(out, "[]");
	}
	json_close(out);
}

static void add_item(const struct generation *generation, const struct item *item, struct bytes *items)
{
	if (items->n_bytes > 0)
		bytes_append_text(items, ",");
	write_item(generation, item, items);
}

/* So many as the text has: it is told apart only once it is text. */
static int64_t count_tokens(const struct generation *generation, const struct bytes *text, struct bytes *out)
{
	struct token_ids ids = {0};
	struct error error = {0};
	bool ok = tokenizer_encode(generation->tokenizer, text->data ? text->data : "", text->n_bytes, 0, &ids, &error);
	int64_t n_tokens = ok ? (int64_t)ids.n_ids : 0;
	out->failed |= error.code == ERROR_MEMORY;
	token_ids_free(&ids);
	return n_tokens < generation->tokens_out ? n_tokens : generation->tokens_out;
}

/* An item is cut short when its response is. */
static const char *item_status(const struct generation *generation)
{
	return generation->finished && strcmp(end_status(generation), "completed") != 0 ? "incomplete" : "completed";
}

/* ---- streams ---- */

static void begin_event(struct generation *generation, const char *name, struct bytes *out)
{
	sse_begin(out, name);
	json_field_int(out, "sequence_number", generation->telling.n_events++);
}

static void frame_response(struct generation *generation, const char *name, const char *status, struct bytes *out)
{
	begin_event(generation, name, out);
	json_field_key(out, "response");
	write_response(generation, status, &generation->telling.items, generation->telling.reasoning_tokens, out);
	sse_end(out);
}

static int open_item(const struct generation *generation)
{
	return generation->telling.n_begun - 1;
}

/* Begins an event about the open item. */
static void begin_item_event(struct generation *generation, const char *name, struct bytes *out)
{
	begin_event(generation, name, out);
	field_item_id(generation, "item_id", (int)generation->telling.open, open_item(generation), out);
	json_field_int(out, "output_index", open_item(generation));
	if (generation->telling.open != TELLING_CALL)
		json_field_int(out, "content_index", 0);
}

static void field_said(const char *key, const struct bytes *said, struct bytes *out)
{
	json_field_string(out, key, said->data ? said->data : "", said->n_bytes);
}

/* Of the message that is open, or of all of them where nothing is open yet: of an answer that is not streamed. */
static struct bytes *logprobs_of(const struct generation *generation)
{
	return &generation->choices[0].notes[RESPONSES_LOGPROBS];
}

static struct item item_now(const struct generation *generation, const char *status)
{
	const struct telling *telling = &generation->telling;
	return (struct item){.kind = (int)telling->open,
	                     .index = open_item(generation),
	                     .call = telling->call,
	                     .status = status,
	                     .name = telling->name.data ? telling->name.data : "",
	                     .n_name = telling->name.n_bytes,
	                     .text = telling->text.data ? telling->text.data : "",
	                     .n_text = telling->text.n_bytes,
	                     .logprobs = logprobs_of(generation)};
}

static void frame_item(struct generation *generation, const char *name, const struct item *item, struct bytes *out)
{
	begin_event(generation, name, out);
	json_field_int(out, "output_index", item->index);
	json_field_key(out, "item");
	write_item(generation, item, out);
	sse_end(out);
}

static void frame_whole_part(struct generation *generation, const char *name, struct bytes *out)
{
	const struct bytes *text = &generation->telling.text;
	begin_item_event(generation, name, out);
	json_field_key(out, "part");
	write_part((int)generation->telling.open, text->data ? text->data : "", text->n_bytes, logprobs_of(generation),
	           out);
	sse_end(out);
}

/* The events before an item's output_item.done. */
static void frame_said(struct generation *generation, struct bytes *out)
{
	struct telling *telling = &generation->telling;
	if (telling->open == TELLING_CALL) {
		begin_item_event(generation, "response.function_call_arguments.done", out);
		field_said("name", &telling->name, out);
		field_said("arguments", &telling->text, out);
		sse_end(out);
		return;
	}
	bool is_text = telling->open == TELLING_TEXT;
	begin_item_event(generation, is_text ? "response.output_text.done" : "response.reasoning_text.done", out);
	field_said("text", &telling->text, out);
	if (is_text)
		field_logprobs(logprobs_of(generation), out);
	else
		telling->reasoning_tokens += count_tokens(generation, &telling->text, out);
	sse_end(out);
	frame_whole_part(generation, "response.content_part.done", out);
}

static void close_item(struct generation *generation, struct bytes *out)
{
	struct telling *telling = &generation->telling;
	if (telling->open == TELLING_NOTHING)
		return;
	struct item item = item_now(generation, item_status(generation));
	frame_said(generation, out);
	frame_item(generation, "response.output_item.done", &item, out);
	add_item(generation, &item, &telling->items);
	telling->open = TELLING_NOTHING;
}

/* Nothing where one of that kind is open already; each call is an item of its own. */
static void enter_item(struct generation *generation, int kind, struct bytes *out)
{
	struct telling *telling = &generation->telling;
	if ((int)telling->open == kind && kind != TELLING_CALL)
		return;
	close_item(generation, out);
	telling->open = kind;
	telling->n_begun++;
	bytes_clear_part(&telling->text, out);
	bytes_clear_part(logprobs_of(generation), out);
	struct item item = item_now(generation, "in_progress");
	item.text = NULL;
	frame_item(generation, "response.output_item.added", &item, out);
	if (kind != TELLING_CALL)
		frame_whole_part(generation, "response.content_part.added", out);
}

static void add_items(struct bytes *list, const struct bytes *items)
{
	if (list->n_bytes > 0 && items->n_bytes > 0)
		bytes_append_text(list, ",");
	bytes_append(list, items->data, items->n_bytes);
}

static void frame_delta(struct generation *generation, const struct answer_part *part, const struct bytes *logprobs,
                        struct bytes *out)
{
	struct telling *telling = &generation->telling;
	bytes_append(&telling->text, part->text, part->n_bytes);
	begin_item_event(generation,
	                 telling->open == TELLING_TEXT        ? "response.output_text.delta"
	                 : telling->open == TELLING_REASONING ? "response.reasoning_text.delta"
	                                                      : "response.function_call_arguments.delta",
	                 out);
	json_field_string(out, "delta", part->text, part->n_bytes);
	if (telling->open == TELLING_TEXT) {
		field_logprobs(logprobs, out);
		add_items(logprobs_of(generation), logprobs);
	}
	sse_end(out);
}

/* A call that broke off is never done, so that nobody makes it; what the model wrote of it is text. */
static void frame_part(struct generation *generation, const struct answer_part *part, const struct bytes *logprobs,
                       struct bytes *out)
{
	struct telling *telling = &generation->telling;
	switch (part->kind) {
	case ANSWER_CALL_BROKEN:
		telling->open = TELLING_NOTHING;
		/* fall through */
	case ANSWER_CONTENT:
	case ANSWER_REASONING:
		if (part->n_bytes == 0)
			return;
		enter_item(generation, part->kind == ANSWER_REASONING ? TELLING_REASONING : TELLING_TEXT, out);
		frame_delta(generation, part, logprobs, out);
		break;
	case ANSWER_CALL_BEGUN:
		close_item(generation, out);
		bytes_clear_part(&telling->name, out);
		bytes_append(&telling->name, part->text, part->n_bytes);
		telling->call = part->call;
		enter_item(generation, TELLING_CALL, out);
		break;
	case ANSWER_CALL_ARGUMENTS:
		frame_delta(generation, part, logprobs, out);
		break;
	case ANSWER_CALL_ENDED:
		close_item(generation, out);
		break;
	}
}

static void frame_parts(struct generation *generation, const struct event *event, struct bytes *out)
{
	struct answer_part part;
	struct answer_reader *reader = answers_push(generation, event);
	responses_logprobs_push(generation, event);
	while (answer_reader_next(reader, &part)) {
		struct bytes logprobs = {0};
		responses_logprobs_take(generation, &part, &logprobs);
		frame_part(generation, &part, &logprobs, out);
		bytes_free_part(&logprobs, out);
	}
	out->failed |= answer_reader_failed(reader) | generation->telling.name.failed | generation->telling.text.failed;
}

static void frame_started(struct generation *generation, struct bytes *out)
{
	frame_response(generation, "response.created", "in_progress", out);
	frame_response(generation, "response.in_progress", "in_progress", out);
}

/* An answer without any text has one empty message: clients look at the first. */
static void frame_end(struct generation *generation, const struct event *event, struct bytes *out)
{
	frame_parts(generation, event, out);
	if (generation->telling.n_begun == 0)
		enter_item(generation, TELLING_TEXT, out);
	close_item(generation, out);
	bool completed = ended_well(generation);
	frame_response(generation, completed ? "response.completed" : "response.incomplete",
	               completed ? "completed" : "incomplete", out);
}

static void frame_error(struct generation *generation, struct bytes *out)
{
	if (!generation->started)
		frame_started(generation, out);
	if (generation->telling.open != TELLING_CALL)
		close_item(generation, out);
	frame_response(generation, "response.failed", "failed", out);
}

static void frame(struct generation *generation, const struct event *event, struct bytes *out)
{
	switch (event->type) {
	case EVENT_STARTED:
		frame_started(generation, out);
		break;
	case EVENT_TOKEN:
		frame_parts(generation, event, out);
		break;
	case EVENT_END:
		frame_end(generation, event, out);
		break;
	case EVENT_ERROR:
		frame_error(generation, out);
		break;
	}
}

/* ---- one object ---- */

static void note(struct generation *generation, const struct event *event)
{
	struct answer_part part;
	bool is_said = event->type == EVENT_TOKEN || event->type == EVENT_END;
	if (!generation->asked.logprobs || !is_said)
		return;
	struct answer_reader *reader = answers_push(generation, event);
	responses_logprobs_push(generation, event);
	while (answer_reader_next(reader, &part))
		responses_logprobs_take(generation, &part, logprobs_of(generation));
	logprobs_of(generation)->failed |= answer_reader_failed(reader);
}

static void add_texts(const struct generation *generation, const struct answer *answer, int *n_items,
                      struct bytes *items)
{
	struct item item = {.status = item_status(generation)};
	if (answer->reasoning.n_bytes > 0) {
		item.kind = TELLING_REASONING;
		item.index = (*n_items)++;
		item.text = answer->reasoning.data;
		item.n_text = answer->reasoning.n_bytes;
		add_item(generation, &item, items);
	}
	if (answer->content.n_bytes > 0 || (answer->reasoning.n_bytes == 0 && answer->n_calls == 0)) {
		item.kind = TELLING_TEXT;
		item.index = (*n_items)++;
		item.text = answer->content.data ? answer->content.data : "";
		item.n_text = answer->content.n_bytes;
		item.logprobs = logprobs_of(generation);
		add_item(generation, &item, items);
	}
}

static void write_whole(const struct generation *generation, const struct bytes *text, struct bytes *body)
{
	struct answer answer = {0};
	struct error error;
	struct bytes items = {0};
	int n_items = 0;
	body->failed |= !answer_read(&generation->reading, text->data ? text->data : "", text->n_bytes, &answer, &error);
	add_texts(generation, &answer, &n_items, &items);
	for (int i = 0; i < answer.n_calls; i++) {
		const struct answer_call *call = &answer.calls[i];
		struct item item = {.kind = TELLING_CALL,
		                    .index = n_items++,
		                    .call = i,
		                    .status = "completed",
		                    .name = call->name,
		                    .n_name = call->n_name_bytes,
		                    .text = call->arguments,
		                    .n_text = call->n_arguments_bytes};
		add_item(generation, &item, &items);
	}
	int64_t reasoning_tokens = answer.reasoning.n_bytes > 0 ? count_tokens(generation, &answer.reasoning, body) : 0;
	write_response(generation, end_status(generation), &items, reasoning_tokens, body);
	bytes_free(&items);
	answer_free(&answer);
}

const struct dialect responses_dialect = {
    .stream_type = "text/event-stream",
    .parse = responses_parse,
    .bad_fields = openai_write_bad_fields,
    .error = openai_write_error,
    .frame = frame,
    .ping = sse_ping,
    .note = note,
    .whole = write_whole,
};
