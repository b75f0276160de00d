/* POST /execute, and the same in two calls: POST /v1/inference, then GET /v1/inference/{job_id}/stream. */
#include <ctype.h>

#include "base/json.h"
#include "server/generate.h"
#include "server/reply.h"

enum MHD_Result handle_execute(struct exchange *exchange)
{
	bool stream = true;
	enum MHD_Result result;
	struct reply *reply = generate_begin(exchange, &stream, &result);
	if (!reply)
		return result;
	return stream ? generate_stream(exchange, reply) : generate_whole(exchange, reply);
}

/* Letters, digits and -._~ stand for themselves in a path (RFC 3986); all else is percent-encoded. */
static void append_path_segment(struct bytes *out, const char *text)
{
	for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
		if (isalnum(*c) || *c == '-' || *c == '.' || *c == '_' || *c == '~')
			bytes_append(out, c, 1);
		else
			bytes_append_format(out, "%%%02X", *c);
	}
}

enum MHD_Result handle_inference(struct exchange *exchange)
{
	enum MHD_Result result;
	struct reply *reply = generate_begin(exchange, NULL, &result);
	if (!reply)
		return result;

	struct bytes url = {0}, body = {0};
	bytes_append_text(&url, "/v1/inference/");
	append_path_segment(&url, reply->job_id);
	bytes_append_text(&url, "/stream");
	json_open(&body);
	json_field_text(&body, "job_id", reply->job_id);
	json_field_text(&body, "sse_url", url.data);
	json_close(&body);
	body.failed |= url.failed;
	bytes_free(&url);

	struct error error = {0};
	if (!jobs_put(&exchange->server->jobs, reply, &error)) {
		bytes_free(&body);
		reply_destroy(reply);
		return respond_error(exchange, &error, engine_retry_after(exchange->server->engine));
	}
	watchdog_wake(&exchange->server->watchdog);
	return respond_json(exchange, 200, &body);
}

enum MHD_Result handle_inference_stream(struct exchange *exchange)
{
	if (exchange->head) /* looks, and takes nothing */
		return respond_events(exchange, NULL);
	struct reply *reply = jobs_take(&exchange->server->jobs, exchange->path_argument);
	if (reply)
		return generate_stream(exchange, reply);
	struct error error;
	error_set(&error, ERROR_NOT_FOUND,
	          "no job of that name waits for its stream to be opened (a stream can be opened once, within %d s)",
	          JOB_OPEN_TIMEOUT_MS / 1000);
	return respond_error(exchange, &error, 0);
}
