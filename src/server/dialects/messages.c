/* Anthropic's Messages: events to blocks, one message, and errors as `{"type":"error","error":{...},"request_id"}`. What
 * requests may hold is in messages_request.c. */
#include "server/dialects/messages_request.h"

#include <string.h>

#include "server/dialects/constraint_fields.h"
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

static const char *stop_reason(const struct generation *generation, int n_calls)
{
	return generation->stop_reason == STOP_EOS        ? (n_calls > 0 ? "tool_use" : "end_turn")
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

/* Without `citations`, as Anthropic's own answers are where nothing is cited: some clients take no null for them. */
static void write_text_block(const char *text, size_t n_bytes, struct bytes *out)
{
	json_open(out);
	json_field_text(out, "type", "text");
	json_field_string(out, "text", text, n_bytes);
	json_close(out);
}

static void write_thinking_block(const struct generation *generation, const char *text, size_t n_bytes,
                                 struct bytes *out)
{
	json_open(out);
	json_field_text(out, "type", "thinking");
	json_field_string(out, "thinking", text, n_bytes);
	json_field_text(out, "signature", n_bytes > 0 ? generation->job_id : "");
	json_close(out);
}

/* arguments NULL: they are still to come. */
static void write_call_block(const struct generation *generation, int call, const char *name, size_t n_name,
                             const char *arguments, struct bytes *out)
{
	char id[CALL_ID_BYTES];
	answers_call_id(generation, "toolu_", 0, call, id);
	json_open(out);
	json_field_text(out, "type", "tool_use");
	json_field_text(out, "id", id);
	json_field_string(out, "name", name, n_name);
	json_field_key(out, "input");
	bytes_append_text(out, arguments ? arguments : "{}");
	json_field_key(out, "caller");
	bytes_append_text(out, "{\"type\":\"direct\"}");
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

static void frame_delta(const struct generation *generation, const char *type, const char *key, const char *text,
                        size_t n_bytes, struct bytes *out)
{
	sse_begin(out, "content_block_delta");
	json_field_int(out, "index", open_block(generation));
	json_field_key(out, "delta");
	json_open(out);
	json_field_text(out, "type", type);
	json_field_string(out, key, text, n_bytes);
	json_close(out);
	sse_end(out);
}

/* Clients send thinking back with its signature, which nobody here looks at. */
static void close_block(struct generation *generation, struct bytes *out)
{
	if (generation->telling.open == TELLING_NOTHING)
		return;
	if (generation->telling.open == TELLING_REASONING)
		frame_delta(generation, "signature_delta", "signature", generation->job_id, strlen(generation->job_id), out);
	generation->telling.open = TELLING_NOTHING;
	sse_begin(out, "content_block_stop");
	json_field_int(out, "index", open_block(generation));
	sse_end(out);
}

/* Until its block is written the event is open. */
static void begin_block(struct generation *generation, int kind, struct bytes *out)
{
	close_block(generation, out);
	generation->telling.open = kind;
	generation->telling.n_begun++;
	sse_begin(out, "content_block_start");
	json_field_int(out, "index", open_block(generation));
	json_field_key(out, "content_block");
}

static void enter_text(struct generation *generation, struct bytes *out)
{
	if (generation->telling.open == TELLING_TEXT)
		return;
	begin_block(generation, TELLING_TEXT, out);
	write_text_block("", 0, out);
	sse_end(out);
}

static void enter_thinking(struct generation *generation, struct bytes *out)
{
	if (generation->telling.open == TELLING_REASONING)
		return;
	begin_block(generation, TELLING_REASONING, out);
	write_thinking_block(generation, "", 0, out);
	sse_end(out);
}

static void frame_call(struct generation *generation, int call, struct bytes *out)
{
	struct telling *telling = &generation->telling;
	begin_block(generation, TELLING_CALL, out);
	write_call_block(generation, call, telling->name.data ? telling->name.data : "", telling->name.n_bytes, NULL, out);
	sse_end(out);
	frame_delta(generation, "input_json_delta", "partial_json", telling->text.data ? telling->text.data : "",
	            telling->text.n_bytes, out);
	close_block(generation, out);
	out->failed |= telling->name.failed || telling->text.failed;
}

/* A call is told when it is whole: clients make those whose block they have seen, and one that breaks off, at max_tokens or
 * because the model went astray, is text in a stream as it is in a whole answer. */
static void frame_part(struct generation *generation, const struct answer_part *part, struct bytes *out)
{
	struct telling *telling = &generation->telling;
	switch (part->kind) {
	case ANSWER_CALL_BROKEN:
	case ANSWER_CONTENT:
		if (part->n_bytes == 0)
			return;
		enter_text(generation, out);
		frame_delta(generation, "text_delta", "text", part->text, part->n_bytes, out);
		break;
	case ANSWER_REASONING:
		if (part->n_bytes == 0)
			return;
		enter_thinking(generation, out);
		frame_delta(generation, "thinking_delta", "thinking", part->text, part->n_bytes, out);
		break;
	case ANSWER_CALL_BEGUN:
		bytes_clear_part(&telling->name, out);
		bytes_clear_part(&telling->text, out);
		bytes_append(&telling->name, part->text, part->n_bytes);
		break;
	case ANSWER_CALL_ARGUMENTS:
		bytes_append(&telling->text, part->text, part->n_bytes);
		break;
	case ANSWER_CALL_ENDED:
		frame_call(generation, part->call, out);
		break;
	}
}

static void frame_parts(struct generation *generation, const struct event *event, struct bytes *out)
{
	struct answer_part part;
	struct answer_reader *reader = answers_push(generation, event);
	while (answer_reader_next(reader, &part))
		frame_part(generation, &part, out);
	out->failed |= answer_reader_failed(reader);
}

/* An answer without any text has one empty block: clients look at the first. */
static void frame_end(struct generation *generation, const struct event *event, struct bytes *out)
{
	frame_parts(generation, event, out);
	if (generation->telling.n_begun == 0)
		enter_text(generation, out);
	close_block(generation, out);
	sse_begin(out, "message_delta");
	json_field_key(out, "delta");
	json_open(out);
	write_stop(generation, stop_reason(generation, answer_reader_calls(generation->choices[0].reader)), out);
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
		frame_parts(generation, event, out);
		break;
	case EVENT_END:
		frame_end(generation, event, out);
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
	struct answer answer = {0};
	struct error error;
	body->failed |= !answer_read(&generation->reading, text->data ? text->data : "", text->n_bytes, &answer, &error);
	const struct bytes *reasoning = &answer.reasoning, *content = &answer.content;
	bool has_text = content->n_bytes > 0 || (reasoning->n_bytes == 0 && answer.n_calls == 0);
	write_head(generation, body);
	json_field_key(body, "content");
	bytes_append_text(body, "[");
	if (reasoning->n_bytes > 0)
		write_thinking_block(generation, reasoning->data, reasoning->n_bytes, body);
	if (reasoning->n_bytes > 0 && has_text)
		bytes_append_text(body, ",");
	if (has_text)
		write_text_block(content->data ? content->data : "", content->n_bytes, body);
	for (int i = 0; i < answer.n_calls; i++) {
		const struct answer_call *call = &answer.calls[i];
		if (i > 0 || reasoning->n_bytes + content->n_bytes > 0)
			bytes_append_text(body, ",");
		write_call_block(generation, i, call->name, call->n_name_bytes, call->arguments, body);
	}
	bytes_append_text(body, "]");
	constraint_fields_write(generation, body);
	write_tail(generation, stop_reason(generation, answer.n_calls), body);
	answer_free(&answer);
}

const struct dialect messages_dialect = {
    .stream_type = "text/event-stream",
    .named_header = "Request-Id",
    .parse = messages_parse,
    .bad_fields = write_bad_fields,
    .error = write_error,
    .frame = frame,
    .ping = ping,
    .whole = write_whole,
};
