/* Ollama's API: events to lines of JSON (NDJSON), one object, and errors as `{"error":"..."}`. What requests may hold is in
 * ollama_request.c. Durations are in nanoseconds. */
#include "server/dialects/ollama_request.h"

#include <math.h>

#include "base/platform.h"

/* ---- errors ---- */

static void write_bad_fields(const struct field_checker *check, const char *request_id, struct bytes *body)
{
	(void)request_id;
	json_open(body);
	json_field_text(body, "error", check->first_message);
	json_close(body);
}

static void write_error(const struct error *error, const char *request_id, int retry_after_s,
                        struct error_answer *answer)
{
	(void)request_id;
	const struct error_info *info = error_info(error->code);
	answer->status = info->http_status;
	if (info->http_status == 429 || info->http_status == 503)
		answer->retry_after_s = retry_after_s > 0 ? retry_after_s : 1;
	json_open(&answer->body);
	json_field_text(&answer->body, "error", error->message);
	json_close(&answer->body);
}

/* ---- answers ---- */

static int64_t nanoseconds(double milliseconds)
{
	return llround(milliseconds * 1e6);
}

/* An object up to what was said, with that. */
static void write_said(const struct generation *generation, bool chat, const char *text, size_t n_bytes,
                       struct bytes *out)
{
	char now[25];
	clock_rfc3339(clock_unix_ms(), now);
	json_open(out);
	json_field_text(out, "model", generation->model);
	json_field_text(out, "created_at", now);
	if (!chat) {
		json_field_string(out, "response", text, n_bytes);
		return;
	}
	json_field_key(out, "message");
	json_open(out);
	json_field_text(out, "role", "assistant");
	json_field_string(out, "content", text, n_bytes);
	json_close(out);
}

static void write_end(const struct generation *generation, struct bytes *out)
{
	bool stopped = generation->stop_reason == STOP_EOS || generation->stop_reason == STOP_SEQUENCE;
	json_field_bool(out, "done", true);
	json_field_text(out, "done_reason", generation->asked.only_load ? "load" : stopped ? "stop" : "length");
	if (!generation->asked.only_load) {
		json_field_int(out, "total_duration",
		               nanoseconds(generation->queue_ms + generation->prefill_ms + generation->decode_ms));
		json_field_int(out, "load_duration", nanoseconds(generation->queue_ms));
		json_field_int(out, "prompt_eval_count", generation->prompt_tokens);
		json_field_int(out, "prompt_eval_duration", nanoseconds(generation->prefill_ms));
		json_field_int(out, "eval_count", generation->tokens_out);
		json_field_int(out, "eval_duration", nanoseconds(generation->decode_ms));
	}
	json_close(out);
}

static void frame(const struct generation *generation, bool chat, const struct event *event, struct bytes *out)
{
	switch (event->type) {
	case EVENT_STARTED:
		return;
	case EVENT_TOKEN:
		if (event->n_text_bytes == 0)
			return;
		write_said(generation, chat, event->text, event->n_text_bytes, out);
		json_field_bool(out, "done", false);
		json_close(out);
		break;
	case EVENT_END:
		write_said(generation, chat, "", 0, out);
		write_end(generation, out);
		break;
	case EVENT_ERROR:
		json_open(out);
		json_field_text(out, "error", event->error.message);
		json_close(out);
		break;
	}
	bytes_append_text(out, "\n");
}

static void frame_chat(struct generation *generation, const struct event *event, struct bytes *out)
{
	frame(generation, true, event, out);
}

static void frame_generate(struct generation *generation, const struct event *event, struct bytes *out)
{
	frame(generation, false, event, out);
}

/* Every line is an object that clients parse: there is nothing to be said in between. */
static void ping(const struct generation *generation, struct bytes *out)
{
	(void)generation;
	(void)out;
}

static void write_whole_chat(const struct generation *generation, const struct bytes *text, struct bytes *body)
{
	write_said(generation, true, text->data ? text->data : "", text->n_bytes, body);
	write_end(generation, body);
}

static void write_whole_generate(const struct generation *generation, const struct bytes *text, struct bytes *body)
{
	write_said(generation, false, text->data ? text->data : "", text->n_bytes, body);
	write_end(generation, body);
}

const struct dialect ollama_chat_dialect = {
    .stream_type = "application/x-ndjson",
    .parse = ollama_parse_chat,
    .bad_fields = write_bad_fields,
    .error = write_error,
    .frame = frame_chat,
    .ping = ping,
    .whole = write_whole_chat,
};

const struct dialect ollama_generate_dialect = {
    .stream_type = "application/x-ndjson",
    .parse = ollama_parse_generate,
    .bad_fields = write_bad_fields,
    .error = write_error,
    .frame = frame_generate,
    .ping = ping,
    .whole = write_whole_generate,
};
