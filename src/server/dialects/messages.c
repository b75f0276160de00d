/* Anthropic's Messages: events to blocks, one message, and errors as `{"type":"error","error":{...},"request_id"}`. What
 * requests may hold is in messages_request.c. */
#include "server/dialects/messages_request.h"

#include <string.h>

#include "server/dialects/sse.h"

/* ---- errors ---- */

static const char *error_type(enum error_code code)
{
	switch (error_info(code)->http_status) {
	case 401:
		return "authentication_error";
	case 403:
		return "permission_error";
	case 404:
		return "not_found_error";
	case 413:
		return "request_too_large";
	case 429:
		return "rate_limit_error";
	case 503:
		return "overloaded_error";
	default:
		return error_info(code)->http_status >= 500 ? "api_error" : "invalid_request_error";
	}
}

/* The members but `type`, which is there. */
static void write_error_members(const char *type, const char *message, const char *request_id, struct bytes *out)
{
	json_field_key(out, "error");
	json_open(out);
	json_field_text(out, "type", type);
	json_field_text(out, "message", message);
	json_close(out);
	json_field_text(out, "request_id", request_id);
}

static void write_error_object(const char *type, const char *message, const char *request_id, struct bytes *out)
{
	json_open(out);
	json_field_text(out, "type", "error");
	write_error_members(type, message, request_id, out);
	json_close(out);
}

/* There is room for one: the first, which names its field. */
static void write_bad_fields(const struct field_checker *check, const char *request_id, struct bytes *body)
{
	write_error_object("invalid_request_error", check->first_message, request_id, body);
}

static void write_error(const struct error *error, const char *request_id, int retry_after_s,
                        struct error_answer *answer)
{
	const struct error_info *info = error_info(error->code);
	answer->status = info->http_status;
	if (info->http_status == 429 || info->http_status == 503)
		answer->retry_after_s = retry_after_s > 0 ? retry_after_s : 1;
	write_error_object(error_type(error->code), error->message, request_id, &answer->body);
}

/* ---- what both forms of an answer tell ---- */

static const char *stop_reason(const struct generation *generation)
{
	return generation->stop_reason == STOP_EOS        ? "end_turn"
	       : generation->stop_reason == STOP_SEQUENCE ? "stop_sequence"
	                                                  : "max_tokens";
}

/* NULL reason: not yet. */
static void write_stop(const struct generation *generation, const char *reason, struct bytes *out)
{
	json_field_text(out, "stop_reason", reason);
	if (reason && generation->stop_matched >= 0) {
		const struct stop_string *stop = &generation->asked.stops[generation->stop_matched];
		json_field_string(out, "stop_sequence", stop->text, stop->n_bytes);
	} else {
		json_field_text(out, "stop_sequence", NULL);
	}
	json_field_text(out, "stop_details", NULL);
	json_field_text(out, "container", NULL);
}

static void write_nulls(struct bytes *out, const char *const *names, size_t n_names)
{
	for (size_t i = 0; i < n_names; i++)
		json_field_text(out, names[i], NULL);
}

/* At the end a stream tells less of it than a message. */
static void write_usage(const struct generation *generation, bool at_end, struct bytes *out)
{
	static const char *const unknown[] = {"output_tokens_details", "server_tool_use", "cache_creation",
	                                      "inference_geo",         "service_tier",    "speed"};
	json_field_key(out, "usage");
	json_open(out);
	json_field_int(out, "input_tokens", generation->prompt_tokens - generation->cached_tokens);
	json_field_int(out, "cache_creation_input_tokens", 0);
	json_field_int(out, "cache_read_input_tokens", generation->cached_tokens);
	json_field_int(out, "output_tokens", generation->tokens_out);
	write_nulls(out, unknown, at_end ? 2 : sizeof unknown / sizeof unknown[0]);
	json_close(out);
}

/* A generation's name is "job-" and digits. */
static void write_head(const struct generation *generation, struct bytes *out)
{
	json_open(out);
	json_field_key(out, "id");
	bytes_append_format(out, "\"msg_%s\"", generation->job_id + strlen("job-"));
	json_field_text(out, "type", "message");
	json_field_text(out, "role", "assistant");
	json_field_text(out, "model", generation->model);
}

static void write_tail(const struct generation *generation, const char *reason, struct bytes *out)
{
	write_stop(generation, reason, out);
	json_field_text(out, "diagnostics", NULL);
	write_usage(generation, false, out);
	json_close(out);
}

static void write_text_block(const char *text, size_t n_bytes, struct bytes *out)
{
	json_open(out);
	json_field_text(out, "type", "text");
	json_field_string(out, "text", text, n_bytes);
	json_field_text(out, "citations", NULL);
	json_close(out);
}

/* ---- streams ---- */

static void frame_started(const struct generation *generation, struct bytes *out)
{
	sse_begin(out, "message_start");
	json_field_key(out, "message");
	write_head(generation, out);
	json_field_key(out, "content");
	bytes_append_text(out, "[]");
	write_tail(generation, NULL, out);
	sse_end(out);
}

static int open_block(const struct generation *generation)
{
	return generation->telling.n_begun - 1;
}

static void close_block(struct generation *generation, struct bytes *out)
{
	if (generation->telling.open == TELLING_NOTHING)
		return;
	generation->telling.open = TELLING_NOTHING;
	sse_begin(out, "content_block_stop");
	json_field_int(out, "index", open_block(generation));
	sse_end(out);
}

static void enter_text(struct generation *generation, struct bytes *out)
{
	if (generation->telling.open == TELLING_TEXT)
		return;
	close_block(generation, out);
	generation->telling.open = TELLING_TEXT;
	generation->telling.n_begun++;
	sse_begin(out, "content_block_start");
	json_field_int(out, "index", open_block(generation));
	json_field_key(out, "content_block");
	write_text_block("", 0, out);
	sse_end(out);
}

static void frame_text(struct generation *generation, const char *text, size_t n_bytes, struct bytes *out)
{
	enter_text(generation, out);
	sse_begin(out, "content_block_delta");
	json_field_int(out, "index", open_block(generation));
	json_field_key(out, "delta");
	json_open(out);
	json_field_text(out, "type", "text_delta");
	json_field_string(out, "text", text, n_bytes);
	json_close(out);
	sse_end(out);
}

/* An answer without any text has one empty block: clients look at the first. */
static void frame_end(struct generation *generation, struct bytes *out)
{
	if (generation->telling.n_begun == 0)
		enter_text(generation, out);
	close_block(generation, out);
	sse_begin(out, "message_delta");
	json_field_key(out, "delta");
	json_open(out);
	write_stop(generation, stop_reason(generation), out);
	json_close(out);
	write_usage(generation, true, out);
	sse_end(out);
	sse_begin(out, "message_stop");
	sse_end(out);
}

static void frame_error(const struct generation *generation, const struct error *error, struct bytes *out)
{
	sse_begin(out, "error");
	write_error_members(error_type(error->code), error->message, generation->request_id, out);
	sse_end(out);
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
		frame_error(generation, &event->error, out);
		break;
	}
}

/* A comment until message_start, which clients want to be the first event. */
static void ping(const struct generation *generation, struct bytes *out)
{
	if (!generation || !generation->started) {
		sse_ping(generation, out);
		return;
	}
	sse_begin(out, "ping");
	sse_end(out);
}

/* ---- one object ---- */

static void write_whole(const struct generation *generation, const struct bytes *text, struct bytes *body)
{
	write_head(generation, body);
	json_field_key(body, "content");
	bytes_append_text(body, "[");
	write_text_block(text->data ? text->data : "", text->n_bytes, body);
	bytes_append_text(body, "]");
	write_tail(generation, stop_reason(generation), body);
}

const struct dialect messages_dialect = {
    .stream_type = "text/event-stream",
    .parse = messages_parse,
    .bad_fields = write_bad_fields,
    .error = write_error,
    .frame = frame,
    .ping = ping,
    .whole = write_whole,
};
