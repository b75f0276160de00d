/* Generations over HTTP (generate.h). A connection's thread waits on two descriptors at once, the engine's stream and
 * the client's socket, so a client that leaves is noticed whatever the generation is doing. */
#include "server/generate.h"

#include "base/json.h"
#include "server/reply.h"
#include "server/request.h"

enum { OUT_FULL_BYTES = 16 << 10 };

/* ---- from the body to a reply ---- */

static bool check_taking_work(struct server *server, const struct engine_status *status, struct error *error)
{
	if (status->state == ENGINE_CREATED || status->state == ENGINE_LOADING)
		return error_set(error, ERROR_LOADING, "the model is still loading");
	if (server_is_draining(server, status))
		return error_set(error, ERROR_SHUTTING_DOWN, "the worker is shutting down");
	return true;
}

struct reply *generate_begin(struct exchange *exchange, bool *stream, enum MHD_Result *result)
{
	struct server *server = exchange->server;
	struct error error = {0};
	struct engine_status status;
	engine_status(server->engine, &status);
	if (!check_taking_work(server, &status, &error)) {
		*result = respond_error(exchange, &error, engine_retry_after(server->engine));
		return NULL;
	}
	struct json *document = request_parse(exchange->body.data, exchange->body.n_bytes, &error);
	if (!document) {
		*result = respond_error(exchange, &error, 0);
		return NULL;
	}
	struct request_limits limits = {.max_tokens = status.max_tokens, .vocab_size = status.vocab_size};
	struct execute_request request;
	struct bytes errors = {0};
	struct reply *reply = NULL;
	if (!execute_request_read(document, &limits, &request, &errors)) {
		exchange->failure = ERROR_INVALID_REQUEST;
		*result = respond_json(exchange, 400, &errors);
	} else {
		int retry_after_s = 0;
		reply = reply_submit(exchange, &request, &retry_after_s, &error);
		if (!reply)
			*result = respond_error(exchange, &error, retry_after_s);
		if (stream)
			*stream = request.stream;
	}
	execute_request_free(&request);
	json_destroy(document);
	/* A stream may last for minutes; its prompt need not stay in memory. */
	exchange_drop_body(exchange);
	return reply;
}

/* ---- streamed ---- */

static void pull_generation(struct exchange *exchange)
{
	struct reply *reply = exchange->reply;
	if (reply->backlog.n_bytes > 0 || reply->backlog.failed) {
		bytes_free(&exchange->out);
		exchange->out = reply->backlog;
		reply->backlog = (struct bytes){0};
	}
	reply_pull(reply, &exchange->out, OUT_FULL_BYTES);
	exchange->source.ended = reply->finished;
}

enum MHD_Result generate_stream(struct exchange *exchange, struct reply *reply)
{
	exchange->reply = reply;
	return respond_events(exchange, &(struct event_source){.fd = stream_fd(reply->stream), .pull = pull_generation});
}

/* ---- whole ---- */

enum MHD_Result generate_whole(struct exchange *exchange, struct reply *reply)
{
	exchange->reply = reply;
	struct bytes text = {0}, body = {0};
	while (!reply->finished) {
		if (exchange_wait(exchange, stream_fd(reply->stream), -1) == WAIT_GONE || text.failed) {
			bytes_free(&text);
			return MHD_NO; /* exchange_end closes the stream, which cancels it */
		}
		struct event event;
		while (!reply->finished && stream_next(reply->stream, &event)) {
			reply_note(reply, &event);
			if (event.type == EVENT_TOKEN)
				bytes_append(&text, event.text, event.n_text_bytes);
		}
	}
	if (reply->error.code != ERROR_NONE) {
		bytes_free(&text);
		return respond_error(exchange, &reply->error, engine_retry_after(exchange->server->engine));
	}
	reply_write_whole(reply, &text, &body);
	body.failed |= text.failed;
	bytes_free(&text);
	return respond_json(exchange, 200, &body);
}
