/* The worker's own dialect: /execute, its event stream, and errors as `{"error":{"code","message","retriable"}}`. */
#include "server/dialects/worker.h"

#include <math.h>
#include <string.h>

#include "base/platform.h"
#include "server/dialects/constraint_fields.h"
#include "server/dialects/dialect.h"
#include "server/dialects/sse.h"
#include "server/dialects/worker_request.h"

/* ---- errors ---- */

void worker_bad_fields(const struct field_checker *check, const char *request_id, struct bytes *body)
{
	(void)request_id;
	field_checker_write(check, body);
}

void worker_error(const struct error *error, const char *request_id, int retry_after_s, struct error_answer *answer)
{
	(void)request_id;
	const struct error_info *info = error_info(error->code);
	answer->status = info->http_status;
	if (info->http_status == 429 || info->http_status == 503)
		answer->retry_after_s = retry_after_s > 0 ? retry_after_s : 1;
	json_open(&answer->body);
	json_field_key(&answer->body, "error");
	json_open(&answer->body);
	json_field_text(&answer->body, "code", info->wire_name);
	json_field_text(&answer->body, "message", error->message);
	json_field_bool(&answer->body, "retriable", info->retriable);
	json_close(&answer->body);
	json_close(&answer->body);
}

/* ---- what both forms of an answer tell ---- */

/* Microseconds are as fine as anyone reads them. */
static void field_rounded(struct bytes *out, const char *key, double value)
{
	json_field_double(out, key, round(value * 1000) / 1000);
}

static void write_beginning(const struct generation *generation, struct bytes *out)
{
	char started_at[32];
	clock_rfc3339(generation->started_unix_ms, started_at);
	json_field_text(out, "job_id", generation->job_id);
	json_field_text(out, "model", generation->model);
	json_field_text(out, "started_at", started_at);
}

static void write_ignored(const struct generation *generation, struct bytes *out)
{
	constraint_fields_write(generation, out);
	if (!generation->asked.ignored)
		return;
	json_field_key(out, "ignored");
	bytes_append_text(out, generation->asked.ignored);
}

static void write_end(const struct generation *generation, struct bytes *out)
{
	json_field_int(out, "tokens_out", generation->tokens_out);
	json_field_int(out, "decode_time_ms", llround(generation->decode_ms));
	json_field_text(out, "stop_reason", stop_reason_name(generation->stop_reason));
	if (generation->stop_matched >= 0) {
		const struct stop_string *stop = &generation->asked.stops[generation->stop_matched];
		json_field_string(out, "stop_sequence_matched", stop->text, stop->n_bytes);
	}
}

static void write_usage(const struct generation *generation, struct bytes *out)
{
	json_field_key(out, "usage");
	json_open(out);
	json_field_int(out, "prompt_tokens", generation->prompt_tokens);
	json_field_int(out, "completion_tokens", generation->tokens_out);
	json_field_int(out, "total_tokens", generation->prompt_tokens + generation->tokens_out);
	json_field_int(out, "cached_tokens", generation->cached_tokens);
	json_close(out);
	json_field_key(out, "timings");
	json_open(out);
	field_rounded(out, "queue_ms", generation->queue_ms);
	field_rounded(out, "prefill_ms", generation->prefill_ms);
	field_rounded(out, "decode_ms", generation->decode_ms);
	field_rounded(out, "time_to_first_token_ms", generation->time_to_first_token_ms);
	field_rounded(out, "tokens_per_second", generation->tokens_per_second);
	json_close(out);
}

/* ---- the event stream ---- */

static const char *event_name(const struct event *event)
{
	static const char *const names[] = {
	    [EVENT_STARTED] = "started", [EVENT_TOKEN] = "token", [EVENT_END] = "end", [EVENT_ERROR] = "error"};
	return names[event->type];
}

static void write_started(const struct generation *generation, struct bytes *out)
{
	write_beginning(generation, out);
	json_field_uint(out, "seed", generation->seed);
	json_field_int(out, "prompt_tokens", generation->prompt_tokens);
	json_field_int(out, "cached_tokens", generation->cached_tokens);
	write_ignored(generation, out);
}

static void write_failure(const struct error *error, struct bytes *out)
{
	const struct error_info *info = error_info(error->code);
	json_field_text(out, "code", info->wire_name);
	json_field_text(out, "message", error->message);
	json_field_bool(out, "retriable", info->retriable);
}

void worker_write_event(const struct generation *generation, const struct event *event, struct bytes *out)
{
	json_open(out);
	json_field_text(out, "type", event_name(event));
	switch (event->type) {
	case EVENT_STARTED:
		write_started(generation, out);
		break;
	case EVENT_TOKEN:
		json_field_string(out, "t", event->text, event->n_text_bytes);
		json_field_int(out, "i", event->index);
		break;
	case EVENT_END:
		write_end(generation, out);
		write_usage(generation, out);
		break;
	case EVENT_ERROR:
		write_failure(&event->error, out);
		break;
	}
	json_close(out);
}

void worker_frame_error(struct bytes *out, const struct error *error)
{
	sse_begin(out, "error");
	write_failure(error, out);
	sse_end(out);
}

void worker_frame(struct generation *generation, const struct event *event, struct bytes *out)
{
	bytes_append_format(out, "event: %s\ndata: ", event_name(event));
	worker_write_event(generation, event, out);
	bytes_append_text(out, "\n\n");
}

/* ---- one object ---- */

void worker_whole(const struct generation *generation, const struct bytes *text, struct bytes *body)
{
	json_open(body);
	write_beginning(generation, body);
	json_field_string(body, "text", text->data ? text->data : "", text->n_bytes);
	write_end(generation, body);
	json_field_uint(body, "seed", generation->seed);
	write_usage(generation, body);
	write_ignored(generation, body);
	json_close(body);
}

/* ---- loading ---- */

int64_t load_percent(uint64_t bytes_done, uint64_t bytes_total)
{
	if (bytes_total == 0)
		return 0;
	double share = (double)bytes_done / (double)bytes_total;
	return share >= 1 ? 100 : (int64_t)(share * 100);
}

void worker_frame_progress(struct bytes *out, const char *stage, uint64_t bytes_done, uint64_t bytes_total)
{
	sse_begin(out, "progress");
	json_field_int(out, "percent", strcmp(stage, "ready") == 0 ? 100 : load_percent(bytes_done, bytes_total));
	json_field_text(out, "stage", stage);
	json_field_uint(out, "bytes_done", bytes_done);
	json_field_uint(out, "bytes_total", bytes_total);
	sse_end(out);
}

const struct dialect worker_dialect = {
    .stream_type = "text/event-stream",
    .parse = worker_parse,
    .bad_fields = worker_bad_fields,
    .error = worker_error,
    .frame = worker_frame,
    .ping = sse_ping,
    .whole = worker_whole,
};
