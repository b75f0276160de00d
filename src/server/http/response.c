/* Answers: bodies, error bodies, and the headers that all of them carry. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/dialects/dialect.h"
#include "server/http/compress.h"
#include "server/server_private.h"

static void add_header(struct MHD_Response *response, const char *name, const char *value)
{
	/* Fails only when memory is short; the answer is then as good as it can be. */
	(void)MHD_add_response_header(response, name, value);
}

static void add_common_headers(struct exchange *exchange, struct MHD_Response *response)
{
	add_header(response, "X-Request-Id", exchange->request_id);
	if (exchange->dialect->named_header)
		add_header(response, exchange->dialect->named_header, exchange->request_id);
	add_header(response, "Cache-Control", "no-store");
	add_header(response, "X-Content-Type-Options", "nosniff");
	if (exchange->trace.parent[0] != '\0')
		add_header(response, "traceparent", exchange->trace.parent);
	if (exchange->cors_origin[0] != '\0') {
		add_header(response, "Access-Control-Allow-Origin", exchange->cors_origin);
		add_header(response, "Access-Control-Expose-Headers", "X-Request-Id, Retry-After, X-Constraints, Traceparent");
		add_header(response, "Vary", "Origin");
	}
	if (exchange->close_after || atomic_load(&exchange->server->leaving))
		add_header(response, "Connection", "close");
}

/* Queues and gives up the response. */
static enum MHD_Result queue(struct exchange *exchange, int status, struct MHD_Response *response)
{
	add_common_headers(exchange, response);
	enum MHD_Result queued = MHD_queue_response(exchange->connection, (unsigned)status, response);
	MHD_destroy_response(response);
	exchange->answered = true;
	exchange->status = status;
	return queued;
}

/* The same of a whole answer of n_bytes, which from now on waits for nothing but its client. */
static enum MHD_Result queue_whole(struct exchange *exchange, int status, struct MHD_Response *response, size_t n_bytes)
{
	connection_send(&exchange->server->connections, exchange->peer, exchange->is_head ? 0 : n_bytes);
	return queue(exchange, status, response);
}

/* A whole body, compressed where the client takes that; takes the memory of one that is to be freed. NULL when there is no
 * memory for the answer. */
static struct MHD_Response *response_from(const struct exchange *exchange, const char *content_type, const void *data,
                                          size_t n_bytes, enum MHD_ResponseMemoryMode memory)
{
	struct bytes compressed = {0};
	bool may = compress_is_worth(n_bytes);
	bool packed = may && exchange->takes_gzip && compress_gzip(data, n_bytes, &compressed);
	if (packed && memory == MHD_RESPMEM_MUST_FREE)
		free((void *)data);
	struct MHD_Response *response =
	    packed ? MHD_create_response_from_buffer(compressed.n_bytes, compressed.data, MHD_RESPMEM_MUST_FREE)
	           : MHD_create_response_from_buffer(n_bytes, (void *)data, memory);
	if (!response) {
		if (packed || memory == MHD_RESPMEM_MUST_FREE)
			free(packed ? compressed.data : (void *)data);
		return NULL;
	}
	add_header(response, "Content-Type", content_type);
	if (packed)
		add_header(response, "Content-Encoding", "gzip");
	if (may)
		add_header(response, "Vary", "Accept-Encoding");
	return response;
}

/* The same of a buffer, whose memory it takes. */
static struct MHD_Response *response_from_bytes(const struct exchange *exchange, const char *content_type,
                                                struct bytes *body)
{
	if (body->failed) {
		bytes_free(body);
		return NULL;
	}
	struct bytes taken = *body;
	*body = (struct bytes){0};
	return response_from(exchange, content_type, taken.data, taken.n_bytes, MHD_RESPMEM_MUST_FREE);
}

enum MHD_Result respond_bytes(struct exchange *exchange, int status, const char *content_type, struct bytes *body)
{
	size_t n_bytes = body->n_bytes;
	struct MHD_Response *response = response_from_bytes(exchange, content_type, body);
	if (response)
		return queue_whole(exchange, status, response, n_bytes);
	/* What is too large for memory may leave room for saying so. */
	struct error error;
	error_set(&error, ERROR_MEMORY, "no memory for the answer");
	return respond_error(exchange, &error, 0);
}

enum MHD_Result respond_static(struct exchange *exchange, const char *content_type, const void *data, size_t n_bytes,
                               const struct named_header *headers, size_t n_headers)
{
	struct MHD_Response *response = response_from(exchange, content_type, data, n_bytes, MHD_RESPMEM_PERSISTENT);
	if (!response)
		return MHD_NO;
	for (size_t i = 0; i < n_headers; i++)
		add_header(response, headers[i].name, headers[i].value);
	return queue_whole(exchange, 200, response, n_bytes);
}

enum MHD_Result respond_json(struct exchange *exchange, int status, struct bytes *body)
{
	bytes_append_text(body, "\n");
	return respond_bytes(exchange, status, "application/json", body);
}

enum MHD_Result respond_error(struct exchange *exchange, const struct error *error, int retry_after_s)
{
	struct error_answer answer = {0};
	exchange->failure = error->code;
	if ((error->code == ERROR_MEMORY || error->code == ERROR_QUEUE_FULL) && retry_after_s == 0)
		retry_after_s = 1;
	exchange->dialect->error(error, exchange->request_id, retry_after_s, &answer);
	bytes_append_text(&answer.body, "\n");
	size_t n_bytes = answer.body.n_bytes;
	struct MHD_Response *response = response_from_bytes(exchange, "application/json", &answer.body);
	if (!response)
		return MHD_NO;
	if (answer.retry_after_s > 0) {
		char seconds[16];
		snprintf(seconds, sizeof seconds, "%d", answer.retry_after_s);
		add_header(response, "Retry-After", seconds);
	}
	if (error->code == ERROR_UNAUTHORIZED)
		add_header(response, "WWW-Authenticate", "Bearer");
	if (error->code == ERROR_METHOD && exchange->route)
		add_header(response, "Allow", exchange->route->methods);
	return queue_whole(exchange, answer.status, response, n_bytes);
}

enum MHD_Result respond_bad_fields(struct exchange *exchange, const struct field_checker *check)
{
	struct bytes body = {0};
	exchange->failure = ERROR_INVALID_REQUEST;
	exchange->dialect->bad_fields(check, exchange->request_id, &body);
	return respond_json(exchange, 400, &body);
}

/* Answers OPTIONS too, with or without a web page asking. */
enum MHD_Result respond_empty(struct exchange *exchange, int status)
{
	struct MHD_Response *response = MHD_create_response_from_buffer(0, (void *)"", MHD_RESPMEM_PERSISTENT);
	if (!response)
		return MHD_NO;
	if (exchange->route)
		add_header(response, "Allow", exchange->route->methods);
	if (exchange->route && exchange->cors_origin[0] != '\0') {
		add_header(response, "Access-Control-Allow-Methods", exchange->route->methods);
		add_header(response, "Access-Control-Allow-Headers",
		           "Authorization, X-Api-Key, Content-Type, X-Request-Id, X-Correlation-ID, Traceparent, Tracestate, "
		           "Anthropic-Version, Anthropic-Beta, Anthropic-Dangerous-Direct-Browser-Access");
		add_header(response, "Access-Control-Max-Age", "600");
	}
	return queue_whole(exchange, status, response, 0);
}

/* Streams have no body of their own for it. A header holds printable ASCII, and not too much of it. */
static void add_constraints(const struct exchange *exchange, struct MHD_Response *response)
{
	enum { MOST_BYTES = 4000 };
	const struct generation *generation = exchange->generation;
	const char *constraints = generation ? generation->asked.constraints : NULL;
	char value[MOST_BYTES + 1];
	size_t n = constraints ? strlen(constraints) : 0;
	if (!constraints)
		return;
	for (size_t i = 0; i < n && i < MOST_BYTES; i++)
		value[i] = constraints[i] >= 0x20 && constraints[i] < 0x7f ? constraints[i] : '?';
	value[n < MOST_BYTES ? n : MOST_BYTES] = 0;
	add_header(response, "X-Constraints", n <= MOST_BYTES ? value : "{\"too_long\":true}");
}

enum MHD_Result respond_reader(struct exchange *exchange, const char *content_type, MHD_ContentReaderCallback reader)
{
	struct MHD_Response *response =
	    exchange->is_head ? MHD_create_response_from_buffer(0, (void *)"", MHD_RESPMEM_PERSISTENT)
	                      : MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 16 << 10, reader, exchange, NULL);
	if (!response)
		return MHD_NO;
	add_header(response, "Content-Type", content_type);
	add_header(response, "X-Accel-Buffering", "no"); /* nginx would hold events back */
	add_constraints(exchange, response);
	return exchange->is_head ? queue_whole(exchange, 200, response, 0) : queue(exchange, 200, response);
}
