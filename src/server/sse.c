/* Frames of the event stream (sse.h): `event: <name>\ndata: <one line of JSON>\n\n`. JSON escapes line ends, so data is
 * always one line. */
#include "server/sse.h"

#include <math.h>
#include <string.h>

#include "base/json.h"
#include "base/platform.h"

void sse_ping(struct bytes *out)
{
	bytes_append_text(out, ": ping\n\n");
}

static void frame_begin(struct bytes *out, const char *name)
{
	bytes_append_format(out, "event: %s\ndata: ", name);
	json_open(out);
	json_field_text(out, "type", name);
}

static void frame_end(struct bytes *out)
{
	json_close(out);
	bytes_append_text(out, "\n\n");
}

int64_t sse_percent(uint64_t bytes_done, uint64_t bytes_total)
{
	if (bytes_total == 0)
		return 0;
	double share = (double)bytes_done / (double)bytes_total;
	return share >= 1 ? 100 : (int64_t)(share * 100);
}

void sse_progress(struct bytes *out, const char *stage, uint64_t bytes_done, uint64_t bytes_total)
{
	frame_begin(out, "progress");
	json_field_int(out, "percent", strcmp(stage, "ready") == 0 ? 100 : sse_percent(bytes_done, bytes_total));
	json_field_text(out, "stage", stage);
	json_field_uint(out, "bytes_done", bytes_done);
	json_field_uint(out, "bytes_total", bytes_total);
	frame_end(out);
}

void sse_error(struct bytes *out, const struct error *error)
{
	const struct error_info *info = error_info(error->code);
	frame_begin(out, "error");
	json_field_text(out, "code", info->wire_name);
	json_field_text(out, "message", error->message);
	json_field_bool(out, "retriable", info->retriable);
	frame_end(out);
}

static void frame_started(struct bytes *out, const struct reply *reply)
{
	char started_at[32];
	clock_rfc3339(reply->started_unix_ms, started_at);
	frame_begin(out, "started");
	json_field_text(out, "job_id", reply->job_id);
	json_field_text(out, "model", reply->model);
	json_field_text(out, "started_at", started_at);
	json_field_uint(out, "seed", reply->seed);
	json_field_int(out, "prompt_tokens", reply->prompt_tokens);
	json_field_int(out, "cached_tokens", reply->cached_tokens);
	if (reply->ignored.n_bytes > 0) {
		json_field_key(out, "ignored");
		bytes_append(out, reply->ignored.data, reply->ignored.n_bytes);
	}
	frame_end(out);
}

static void frame_token(struct bytes *out, const struct event *event)
{
	frame_begin(out, "token");
	json_field_string(out, "t", event->text, event->n_text_bytes);
	json_field_int(out, "i", event->index);
	frame_end(out);
}

static void frame_end_event(struct bytes *out, const struct reply *reply)
{
	frame_begin(out, "end");
	json_field_int(out, "tokens_out", reply->tokens_out);
	json_field_int(out, "decode_time_ms", llround(reply->decode_ms));
	json_field_text(out, "stop_reason", stop_reason_name(reply->stop_reason));
	if (reply->stop_matched >= 0)
		json_field_string(out, "stop_sequence_matched", reply->stops[reply->stop_matched],
		                  reply->n_stop_bytes[reply->stop_matched]);
	reply_write_usage(reply, out);
	frame_end(out);
}

void sse_event(struct bytes *out, const struct reply *reply, const struct event *event)
{
	switch (event->type) {
	case EVENT_STARTED:
		frame_started(out, reply);
		break;
	case EVENT_TOKEN:
		frame_token(out, event);
		break;
	case EVENT_END:
		frame_end_event(out, reply);
		break;
	case EVENT_ERROR:
		sse_error(out, &event->error);
		break;
	}
}
