/* OpenAI's chat and text completions: events to chunks or one object, and errors as
 * `{"error":{"message","type","param","code"}}`. What requests may hold is in openai_request.c. */
#include "server/dialects/openai_request.h"

#include <string.h>

#include "server/dialects/sse.h"

/* ---- errors ---- */

static const char *code_of(enum error_code code)
{
	switch (code) {
	case ERROR_CONTEXT_LENGTH:
		return "context_length_exceeded";
	case ERROR_UNAUTHORIZED:
		return "invalid_api_key";
	case ERROR_QUEUE_FULL:
		return "rate_limit_exceeded";
	case ERROR_UNKNOWN_MODEL:
		return "model_not_found";
	default:
		return NULL;
	}
}

static void write_error_object(const char *message, const char *type, const char *param, const char *code,
                               struct bytes *out)
{
	json_open(out);
	json_field_key(out, "error");
	json_open(out);
	json_field_text(out, "message", message);
	json_field_text(out, "type", type);
	json_field_text(out, "param", param);
	json_field_text(out, "code", code);
	json_close(out);
	json_close(out);
}

/* There is room for one: the first, which names its field. */
static void write_bad_fields(const struct field_checker *check, const char *request_id, struct bytes *body)
{
	(void)request_id;
	write_error_object(check->first_message, "invalid_request_error", check->first_field, NULL, body);
}

static void write_error(const struct error *error, const char *request_id, int retry_after_s,
                        struct error_answer *answer)
{
	(void)request_id;
	const struct error_info *info = error_info(error->code);
	answer->status = info->http_status;
	if (info->http_status == 429 || info->http_status == 503)
		answer->retry_after_s = retry_after_s > 0 ? retry_after_s : 1;
	write_error_object(error->message, info->openai_type, error->code == ERROR_UNKNOWN_MODEL ? "model" : NULL,
	                   code_of(error->code), &answer->body);
}

/* ---- what both forms of an answer tell ---- */

static const char *finish_reason(const struct generation *generation)
{
	return generation->stop_reason == STOP_EOS || generation->stop_reason == STOP_SEQUENCE ? "stop" : "length";
}

/* A generation's name is "job-" and digits: the same digits under OpenAI's prefix. */
static void write_head(const struct generation *generation, const char *prefix, const char *object, struct bytes *out)
{
	const char *dash = strchr(generation->job_id, '-');
	json_open(out);
	json_field_key(out, "id");
	bytes_append_format(out, "\"%s-%s\"", prefix, dash ? dash + 1 : generation->job_id);
	json_field_text(out, "object", object);
	json_field_int(out, "created", generation->started_unix_ms / 1000);
	json_field_text(out, "model", generation->model);
}

static void write_usage(const struct generation *generation, struct bytes *out)
{
	json_field_key(out, "usage");
	json_open(out);
	json_field_int(out, "prompt_tokens", generation->prompt_tokens);
	json_field_int(out, "completion_tokens", generation->tokens_out);
	json_field_int(out, "total_tokens", generation->prompt_tokens + generation->tokens_out);
	json_field_key(out, "prompt_tokens_details");
	json_open(out);
	json_field_int(out, "cached_tokens", generation->cached_tokens);
	json_close(out);
	json_close(out);
}

/* `"choices":[{"index":0,` and what ends it. */
static void open_choice(struct bytes *out)
{
	json_field_key(out, "choices");
	bytes_append_text(out, "[");
	json_open(out);
	json_field_int(out, "index", 0);
}

static void close_choice(const char *reason, struct bytes *out)
{
	json_field_text(out, "logprobs", NULL);
	json_field_text(out, "finish_reason", reason);
	json_close(out);
	bytes_append_text(out, "]");
}

/* ---- streams ---- */

struct form {
	const char *prefix, *object; /* of a chunk */
	bool chat;
};
static const struct form chat_chunk = {"chatcmpl", "chat.completion.chunk", true};
static const struct form text_chunk = {"cmpl", "text_completion", false};

static void begin_chunk(const struct generation *generation, const struct form *form, struct bytes *out)
{
	bytes_append_text(out, "data: ");
	write_head(generation, form->prefix, form->object, out);
}

static void end_chunk(struct bytes *out)
{
	json_close(out);
	bytes_append_text(out, "\n\n");
}

/* A chunk whose only choice says `text`; role and text may be NULL. */
static void frame_choice(const struct generation *generation, const struct form *form, const char *role,
                         const char *text, size_t n_bytes, const char *reason, struct bytes *out)
{
	begin_chunk(generation, form, out);
	open_choice(out);
	if (form->chat) {
		json_field_key(out, "delta");
		json_open(out);
		if (role)
			json_field_text(out, "role", role);
		if (text)
			json_field_string(out, "content", text, n_bytes);
		json_close(out);
	} else {
		json_field_string(out, "text", text ? text : "", n_bytes);
	}
	close_choice(reason, out);
	end_chunk(out);
}

static void frame_end(const struct generation *generation, const struct form *form, struct bytes *out)
{
	frame_choice(generation, form, NULL, NULL, 0, finish_reason(generation), out);
	if (generation->asked.include_usage) {
		begin_chunk(generation, form, out);
		json_field_key(out, "choices");
		bytes_append_text(out, "[]");
		write_usage(generation, out);
		end_chunk(out);
	}
	bytes_append_text(out, "data: [DONE]\n\n");
}

static void frame_error(const struct error *error, struct bytes *out)
{
	bytes_append_text(out, "data: ");
	write_error_object(error->message, error_info(error->code)->openai_type, NULL, code_of(error->code), out);
	bytes_append_text(out, "\n\ndata: [DONE]\n\n");
}

static void frame(const struct generation *generation, const struct form *form, const struct event *event,
                  struct bytes *out)
{
	switch (event->type) {
	case EVENT_STARTED:
		if (form->chat)
			frame_choice(generation, form, "assistant", "", 0, NULL, out);
		break;
	case EVENT_TOKEN:
		if (event->n_text_bytes > 0)
			frame_choice(generation, form, NULL, event->text, event->n_text_bytes, NULL, out);
		break;
	case EVENT_END:
		frame_end(generation, form, out);
		break;
	case EVENT_ERROR:
		frame_error(&event->error, out);
		break;
	}
}

static void frame_chat(struct generation *generation, const struct event *event, struct bytes *out)
{
	frame(generation, &chat_chunk, event, out);
}

static void frame_text(struct generation *generation, const struct event *event, struct bytes *out)
{
	frame(generation, &text_chunk, event, out);
}

/* ---- one object ---- */

static void write_whole_chat(const struct generation *generation, const struct bytes *text, struct bytes *body)
{
	write_head(generation, "chatcmpl", "chat.completion", body);
	open_choice(body);
	json_field_key(body, "message");
	json_open(body);
	json_field_text(body, "role", "assistant");
	json_field_string(body, "content", text->data ? text->data : "", text->n_bytes);
	json_field_text(body, "refusal", NULL);
	json_close(body);
	close_choice(finish_reason(generation), body);
	write_usage(generation, body);
	json_close(body);
}

static void write_whole_text(const struct generation *generation, const struct bytes *text, struct bytes *body)
{
	write_head(generation, "cmpl", "text_completion", body);
	open_choice(body);
	json_field_string(body, "text", text->data ? text->data : "", text->n_bytes);
	close_choice(finish_reason(generation), body);
	write_usage(generation, body);
	json_close(body);
}

const struct dialect openai_chat_dialect = {
    .stream_type = "text/event-stream",
    .parse = openai_parse_chat,
    .bad_fields = write_bad_fields,
    .error = write_error,
    .frame = frame_chat,
    .ping = sse_ping,
    .whole = write_whole_chat,
};

const struct dialect openai_completion_dialect = {
    .stream_type = "text/event-stream",
    .parse = openai_parse_completion,
    .bad_fields = write_bad_fields,
    .error = write_error,
    .frame = frame_text,
    .ping = sse_ping,
    .whole = write_whole_text,
};
