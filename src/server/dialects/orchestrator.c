/* The orchestrator's later form (its hive and queen): the worker's own events as `data:` lines without `event:`, closed by
 * `data: [DONE]`; one answer of three fields. Errors are the worker's. */
#include <math.h>

#include "server/dialects/dialect.h"
#include "server/dialects/sse.h"
#include "server/dialects/worker.h"
#include "server/dialects/worker_request.h"

static void frame(struct generation *generation, const struct event *event, struct bytes *out)
{
	bytes_append_text(out, "data: ");
	worker_write_event(generation, event, out);
	bytes_append_text(out, "\n\n");
	if (event->type == EVENT_END || event->type == EVENT_ERROR)
		bytes_append_text(out, "data: [DONE]\n\n");
}

/* From admission to the last token: what the generation took, without its wait. */
static void write_whole(const struct generation *generation, const struct bytes *text, struct bytes *body)
{
	json_open(body);
	json_field_string(body, "text", text->data ? text->data : "", text->n_bytes);
	json_field_int(body, "tokens_generated", generation->tokens_out);
	json_field_int(body, "duration_ms", llround(generation->prefill_ms + generation->decode_ms));
	json_close(body);
}

const struct dialect orchestrator_job_dialect = {
    .stream_type = "text/event-stream",
    .parse = orchestrator_parse_job,
    .bad_fields = worker_bad_fields,
    .error = worker_error,
    .frame = frame,
    .ping = sse_ping,
    .whole = write_whole,
};

const struct dialect orchestrator_infer_dialect = {
    .stream_type = "text/event-stream",
    .parse = orchestrator_parse,
    .bad_fields = worker_bad_fields,
    .error = worker_error,
    .frame = frame,
    .ping = sse_ping,
    .whole = write_whole,
};

const struct dialect orchestrator_inference_dialect = {
    .stream_type = "text/event-stream",
    .parse = orchestrator_parse,
    .bad_fields = worker_bad_fields,
    .error = worker_error,
    .frame = worker_frame,
    .ping = sse_ping,
    .whole = worker_whole,
};
