/* OpenAI's Responses: events to items of one response. Errors and bad fields are as in OpenAI's other routes. What requests
 * may hold is in responses_request.c. */
#include "server/dialects/responses_request.h"

#include <string.h>

#include "base/platform.h"
#include "server/dialects/openai_request.h"
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

static void write_usage(const struct generation *generation, struct bytes *out)
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
	json_field_int(out, "reasoning_tokens", 0);
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

/* Members that are the same in every response. */
static void write_constants(struct bytes *out)
{
	json_field_bool(out, "background", false);
	json_field_text(out, "previous_response_id", NULL);
	json_field_bool(out, "store", false);
	json_field_text(out, "service_tier", "default");
	json_field_text(out, "truncation", "disabled");
	json_field_int(out, "top_logprobs", 0);
	json_field_double(out, "presence_penalty", 0);
	json_field_double(out, "frequency_penalty", 0);
}

/* The response, before its end (status in_progress) or at it. `items`: those that are whole. */
static void write_response(const struct generation *generation, const char *status, const struct bytes *items,
                           struct bytes *out)
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
		write_usage(generation, out);
	write_constants(out);
	bytes_append_text(out, ",");
	bytes_append_text(out, generation->asked.echo);
	json_close(out);
}

static void write_part(const char *text, size_t n_bytes, struct bytes *out)
{
	json_open(out);
	json_field_text(out, "type", "output_text");
	json_field_string(out, "text", text, n_bytes);
	json_field_key(out, "annotations");
	bytes_append_text(out, "[]");
	json_field_key(out, "logprobs");
	bytes_append_text(out, "[]");
	json_close(out);
}

/* text NULL: nothing was said yet. */
static void write_message(const struct generation *generation, int index, const char *status, const struct bytes *text,
                          struct bytes *out)
{
	json_open(out);
	field_id(generation, "id", "msg", index, out);
	json_field_text(out, "type", "message");
	json_field_text(out, "status", status);
	json_field_text(out, "role", "assistant");
	json_field_key(out, "content");
	bytes_append_text(out, "[");
	if (text)
		write_part(text->data ? text->data : "", text->n_bytes, out);
	bytes_append_text(out, "]");
	json_close(out);
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
	write_response(generation, status, &generation->telling.items, out);
	sse_end(out);
}

static int open_item(const struct generation *generation)
{
	return generation->telling.n_begun - 1;
}

/* Begins an event about the open item's part. */
static void begin_part_event(struct generation *generation, const char *name, struct bytes *out)
{
	begin_event(generation, name, out);
	field_id(generation, "item_id", "msg", open_item(generation), out);
	json_field_int(out, "output_index", open_item(generation));
	json_field_int(out, "content_index", 0);
}

static void frame_item(struct generation *generation, const char *name, const char *status, const struct bytes *text,
                       struct bytes *out)
{
	begin_event(generation, name, out);
	json_field_int(out, "output_index", open_item(generation));
	json_field_key(out, "item");
	write_message(generation, open_item(generation), status, text, out);
	sse_end(out);
}

static void frame_part(struct generation *generation, const char *name, const struct bytes *text, struct bytes *out)
{
	begin_part_event(generation, name, out);
	json_field_key(out, "part");
	write_part(text->data ? text->data : "", text->n_bytes, out);
	sse_end(out);
}

static void enter_message(struct generation *generation, struct bytes *out)
{
	struct telling *telling = &generation->telling;
	if (telling->open == TELLING_TEXT)
		return;
	telling->open = TELLING_TEXT;
	telling->n_begun++;
	bytes_clear(&telling->text);
	frame_item(generation, "response.output_item.added", "in_progress", NULL, out);
	frame_part(generation, "response.content_part.added", &telling->text, out);
}

static void close_message(struct generation *generation, struct bytes *out)
{
	struct telling *telling = &generation->telling;
	if (telling->open != TELLING_TEXT)
		return;
	begin_part_event(generation, "response.output_text.done", out);
	json_field_string(out, "text", telling->text.data ? telling->text.data : "", telling->text.n_bytes);
	json_field_key(out, "logprobs");
	bytes_append_text(out, "[]");
	sse_end(out);
	frame_part(generation, "response.content_part.done", &telling->text, out);
	frame_item(generation, "response.output_item.done", item_status(generation), &telling->text, out);
	if (telling->items.n_bytes > 0)
		bytes_append_text(&telling->items, ",");
	write_message(generation, open_item(generation), item_status(generation), &telling->text, &telling->items);
	telling->open = TELLING_NOTHING;
}

static void frame_text(struct generation *generation, const char *text, size_t n_bytes, struct bytes *out)
{
	enter_message(generation, out);
	bytes_append(&generation->telling.text, text, n_bytes);
	begin_part_event(generation, "response.output_text.delta", out);
	json_field_string(out, "delta", text, n_bytes);
	json_field_key(out, "logprobs");
	bytes_append_text(out, "[]");
	sse_end(out);
}

static void frame_started(struct generation *generation, struct bytes *out)
{
	frame_response(generation, "response.created", "in_progress", out);
	frame_response(generation, "response.in_progress", "in_progress", out);
}

/* An answer without any text has one empty message: clients look at the first. */
static void frame_end(struct generation *generation, struct bytes *out)
{
	if (generation->telling.n_begun == 0)
		enter_message(generation, out);
	close_message(generation, out);
	bool completed = ended_well(generation);
	frame_response(generation, completed ? "response.completed" : "response.incomplete",
	               completed ? "completed" : "incomplete", out);
}

static void frame_error(struct generation *generation, struct bytes *out)
{
	if (!generation->started)
		frame_started(generation, out);
	close_message(generation, out);
	frame_response(generation, "response.failed", "failed", out);
}

static void frame(struct generation *generation, const struct event *event, struct bytes *out)
{
	switch (event->type) {
	case EVENT_STARTED:
		frame_started(generation, out);
		break;
	case EVENT_TOKEN:
		if (event->n_text_bytes > 0)
			frame_text(generation, event->text, event->n_text_bytes, out);
		break;
	case EVENT_END:
		frame_end(generation, out);
		break;
	case EVENT_ERROR:
		frame_error(generation, out);
		break;
	}
}

/* ---- one object ---- */

static void write_whole(const struct generation *generation, const struct bytes *text, struct bytes *body)
{
	struct bytes items = {0};
	write_message(generation, 0, item_status(generation), text, &items);
	write_response(generation, end_status(generation), &items, body);
	bytes_free(&items);
}

const struct dialect responses_dialect = {
    .stream_type = "text/event-stream",
    .parse = responses_parse,
    .bad_fields = openai_write_bad_fields,
    .error = openai_write_error,
    .frame = frame,
    .ping = sse_ping,
    .whole = write_whole,
};
