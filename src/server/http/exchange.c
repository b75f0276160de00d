/* The life of one request: header checked, body collected, route called, end logged (exchange.h).
 *
 *     exchange_begin -> exchange_step: check_header -> take_body ... -> answer -> exchange_end
 *
 * A request that is refused still has its body taken in (and dropped), up to a bound: closing a socket with unread data
 * resets it, and a reset may overtake the answer that says why. What is broken at the level of HTTP itself, where one
 * cannot know where the request ends, is answered at once and the connection closed.
 */
#include "server/exchange.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "base/hash.h"
#include "base/json.h"
#include "base/log.h"
#include "base/platform.h"
#include "server/reply.h"
#include "server/server_private.h"

/* Of one connection, in the kernel, which would let it grow to megabytes: more tokens than any stream has, so that a client
 * that does not read would never be noticed. */
enum { SEND_BUFFER_BYTES = 64 << 10 };

void exchange_connection(void *context, struct MHD_Connection *connection, void **slot,
                         enum MHD_ConnectionNotificationCode what)
{
	struct server *server = context;
	if (what == MHD_CONNECTION_NOTIFY_CLOSED) {
		connection_remove(&server->connections, *slot);
		*slot = NULL;
		return;
	}
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
	int n_bytes = SEND_BUFFER_BYTES;
	setsockopt(info->connect_fd, SOL_SOCKET, SO_SNDBUF, &n_bytes, sizeof(n_bytes)); /* works without, too */
	*slot = connection_add(&server->connections, info->connect_fd);
	watchdog_notice(&server->watchdog);
}

static void choose_request_id(char *request_id, size_t n_bytes)
{
	uint64_t number;
	if (!random_bytes(&number, sizeof(number)))
		number = hash_mix((uint64_t)clock_ns());
	snprintf(request_id, n_bytes, "req-%016llx", (unsigned long long)number);
}

void *exchange_begin(void *context, const char *uri, struct MHD_Connection *connection)
{
	(void)uri;
	struct server *server = context;
	struct exchange *exchange = calloc(1, sizeof(*exchange));
	if (!exchange)
		return NULL;
	exchange->server = server;
	exchange->connection = connection;
	exchange->started_ns = clock_ns();
	exchange->client_fd = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
	exchange->peer = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
	choose_request_id(exchange->request_id, sizeof(exchange->request_id));
	connection_enter(&server->connections, exchange->peer, CONNECTION_HEADER);
	return exchange;
}

/* ---- the header ---- */

/* Headers this server acts on; repeated ones are counted because two of them are a trick, not a request. */
struct header {
	const char *host, *origin, *authorization, *content_length, *transfer_encoding, *content_encoding, *expect;
	const char *request_id, *correlation_id;
	int n_hosts, n_origins, n_authorizations, n_content_lengths, n_transfer_encodings;
};

static enum MHD_Result note_header(void *context, enum MHD_ValueKind kind, const char *key, const char *value)
{
	(void)kind;
	struct header *header = context;
	const struct {
		const char *name;
		const char **value;
		int *count;
	} wanted[] = {
	    {"Host", &header->host, &header->n_hosts},
	    {"Origin", &header->origin, &header->n_origins},
	    {"Authorization", &header->authorization, &header->n_authorizations},
	    {"Content-Length", &header->content_length, &header->n_content_lengths},
	    {"Transfer-Encoding", &header->transfer_encoding, &header->n_transfer_encodings},
	    {"Content-Encoding", &header->content_encoding, NULL},
	    {"Expect", &header->expect, NULL},
	    {"X-Request-Id", &header->request_id, NULL},
	    {"X-Correlation-ID", &header->correlation_id, NULL},
	};
	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
		if (strcasecmp(key, wanted[i].name) != 0)
			continue;
		*wanted[i].value = value ? value : "";
		if (wanted[i].count)
			++*wanted[i].count;
	}
	return MHD_YES;
}

static bool refuse(struct exchange *exchange, enum error_code code, const char *message)
{
	return error_set(&exchange->refusal, code, "%s", message);
}

/* Where the request's end is in doubt the connection cannot be used further. */
static bool check_framing(struct exchange *exchange, const struct header *header)
{
	const char *problem = NULL;
	if (header->n_hosts > 1)
		problem = "more than one Host header";
	else if (header->n_content_lengths > 1)
		problem = "more than one Content-Length header";
	else if (header->content_length && header->transfer_encoding)
		problem = "both Content-Length and Transfer-Encoding";
	else if (header->n_transfer_encodings > 1 ||
	         (header->transfer_encoding && strcasecmp(header->transfer_encoding, "chunked") != 0))
		problem = "Transfer-Encoding is supported as \"chunked\" only";
	if (!problem)
		return true;
	exchange->close_after = true;
	return refuse(exchange, ERROR_INVALID_REQUEST, problem);
}

/* The path of "/path" or, in absolute form, "http://host/path" (whose host then counts instead of the header's). */
static const char *split_url(const char *url, char *host, size_t host_bytes)
{
	if (strncasecmp(url, "http://", 7) != 0)
		return url;
	const char *authority = url + 7;
	size_t n_bytes = strcspn(authority, "/");
	snprintf(host, host_bytes, "%.*s", (int)(n_bytes < host_bytes ? n_bytes : host_bytes - 1), authority);
	return authority[n_bytes] == '/' ? authority + n_bytes : "/";
}

static bool check_host_and_origin(struct exchange *exchange, const struct header *header, const char *host)
{
	struct server *server = exchange->server;
	if (server->check_host && host && !host_is_local(host, server->listener.host))
		return refuse(exchange, ERROR_FORBIDDEN,
		              "the Host header names another host; this server serves local ones only");
	if (!header->origin)
		return true;
	bool cross_site;
	if (header->n_origins > 1 || !origin_is_allowed(header->origin, server->cors_origin, host, &cross_site))
		return refuse(exchange, ERROR_FORBIDDEN, "requests from web pages of another origin are not allowed");
	if (cross_site)
		snprintf(exchange->cors_origin, sizeof(exchange->cors_origin), "%s", header->origin);
	return true;
}

static bool check_method(struct exchange *exchange, const char *method)
{
	const struct route *route = exchange->route;
	if (!route)
		return refuse(exchange, ERROR_NOT_FOUND, "no such path");
	exchange->head = strcmp(method, "HEAD") == 0;
	if (strcmp(method, route->is_get ? "GET" : "POST") == 0 || (route->is_get && exchange->head))
		return true;
	return refuse(exchange, ERROR_METHOD, "that path does not take that method");
}

static bool check_body_length(struct exchange *exchange, const struct header *header)
{
	if (header->content_encoding && header->content_encoding[0] != '\0' &&
	    strcasecmp(header->content_encoding, "identity") != 0)
		return refuse(exchange, ERROR_INVALID_REQUEST, "the body may not be compressed (Content-Encoding)");
	unsigned long long length = header->content_length ? strtoull(header->content_length, NULL, 10) : 0;
	size_t max = exchange->server->max_body_bytes;
	if (length > max)
		return error_set(&exchange->refusal, ERROR_TOO_LARGE, "the body has %llu bytes; at most %zu are accepted",
		                 length, max);
	return true;
}

static void check_access(struct exchange *exchange, const struct header *header, const char *url, const char *method)
{
	char url_host[256] = "";
	const char *path = split_url(url, url_host, sizeof(url_host));
	if (!check_host_and_origin(exchange, header, url_host[0] != '\0' ? url_host : header->host))
		return;
	exchange->route = route_find(exchange, path);
	exchange->preflight = strcmp(method, "OPTIONS") == 0 && (exchange->route || strcmp(path, "*") == 0);
	if (exchange->preflight) /* carries no key, by specification */
		return;
	bool open = exchange->route && exchange->route->open;
	const char *key = header->n_authorizations == 1 ? header->authorization : NULL;
	if (!open && !key_ring_allows(&exchange->server->keys, key)) {
		refuse(exchange, ERROR_UNAUTHORIZED, "a valid API key is required (Authorization: Bearer ...)");
		return;
	}
	if (!exchange->server->share_cache)
		exchange->cache_key = authorization_identity(key);
	if (check_method(exchange, method))
		check_body_length(exchange, header);
}

/* From here on the exchange has no deadline, and server_stop lets it finish. */
static void begin_answer(struct exchange *exchange)
{
	connection_enter(&exchange->server->connections, exchange->peer, CONNECTION_BUSY);
	atomic_fetch_add(&exchange->server->n_answers, 1);
	exchange->answering = true;
}

/* First call: all that can be known from the header. */
static enum MHD_Result check_header(struct exchange *exchange, const char *url, const char *method)
{
	struct header header = {0};
	MHD_get_connection_values(exchange->connection, MHD_HEADER_KIND, note_header, &header);
	exchange->checked = true;
	exchange->method = method;
	if (header.request_id && request_id_is_plain(header.request_id))
		snprintf(exchange->request_id, sizeof(exchange->request_id), "%s", header.request_id);
	else if (header.correlation_id && request_id_is_plain(header.correlation_id))
		snprintf(exchange->request_id, sizeof(exchange->request_id), "%s", header.correlation_id);
	connection_enter(&exchange->server->connections, exchange->peer, CONNECTION_BODY);

	if (check_framing(exchange, &header))
		check_access(exchange, &header, url, method);
	exchange->body.max_bytes = exchange->server->max_body_bytes + 1; /* the buffer's closing NUL */
	if (exchange->refusal.code == ERROR_NONE)
		return MHD_YES;
	/* Not when the client can be saved the trouble of sending its body, or sends more than we care to drop. */
	unsigned long long length = header.content_length ? strtoull(header.content_length, NULL, 10) : 0;
	if (exchange->close_after || header.expect || length > SWALLOW_MAX_BYTES) {
		begin_answer(exchange);
		return respond_error(exchange, &exchange->refusal, 0);
	}
	return MHD_YES;
}

/* ---- the body ---- */

void exchange_drop_body(struct exchange *exchange)
{
	atomic_fetch_sub(&exchange->server->body_bytes, exchange->body.n_bytes);
	bytes_free(&exchange->body);
}

static enum MHD_Result take_body(struct exchange *exchange, const char *data, size_t n_data)
{
	struct server *server = exchange->server;
	if (exchange->refusal.code == ERROR_NONE && n_data > server->max_body_bytes - exchange->body.n_bytes)
		error_set(&exchange->refusal, ERROR_TOO_LARGE, "the body has more than %zu bytes", server->max_body_bytes);
	if (exchange->refusal.code == ERROR_NONE) {
		size_t in_memory = atomic_fetch_add(&server->body_bytes, n_data) + n_data;
		if (in_memory / BODIES_IN_MEMORY <= server->max_body_bytes) {
			bytes_append(&exchange->body, data, n_data);
			if (!exchange->body.failed)
				return MHD_YES;
		}
		atomic_fetch_sub(&server->body_bytes, n_data);
		refuse(exchange, ERROR_QUEUE_FULL, "too many large requests are being received");
	}
	exchange_drop_body(exchange);
	exchange->swallowed_bytes += n_data;
	return exchange->swallowed_bytes <= SWALLOW_MAX_BYTES ? MHD_YES : MHD_NO;
}

static enum MHD_Result answer(struct exchange *exchange)
{
	begin_answer(exchange);
	if (exchange->refusal.code != ERROR_NONE)
		return respond_error(exchange, &exchange->refusal, 0);
	if (exchange->preflight)
		return respond_empty(exchange, 204);
	return exchange->route->handler(exchange);
}

enum MHD_Result exchange_step(void *context, struct MHD_Connection *connection, const char *url, const char *method,
                              const char *version, const char *data, size_t *n_data, void **slot)
{
	(void)context;
	(void)connection;
	(void)version;
	struct exchange *exchange = *slot;
	if (!exchange)
		return MHD_NO; /* memory was short when it began */
	if (!exchange->checked)
		return check_header(exchange, url, method);
	if (*n_data > 0) {
		size_t n_bytes = *n_data;
		*n_data = 0;
		return take_body(exchange, data, n_bytes);
	}
	return answer(exchange);
}

/* ---- the end ---- */

static void log_exchange(const struct exchange *exchange, bool completed)
{
	const struct reply *reply = exchange->reply;
	bool quiet = exchange->route && exchange->route->quiet && exchange->failure == ERROR_NONE;
	enum log_level level = quiet ? LOG_DEBUG : LOG_INFO;
	if (!log_enabled(level))
		return;
	struct log_field fields[12];
	int n = 0;
	enum error_code failure = reply && reply->error.code != ERROR_NONE ? reply->error.code : exchange->failure;
	char method[16]; /* the client's word: cut */
	snprintf(method, sizeof(method), "%s", exchange->method ? exchange->method : "");
	fields[n++] = LOG_TEXT("method", method);
	fields[n++] = LOG_TEXT("route", exchange->route ? exchange->route->path : "");
	fields[n++] = LOG_INT("status", exchange->status);
	fields[n++] = LOG_MS("duration_ms", (double)(clock_ns() - exchange->started_ns) / 1e6);
	if (failure != ERROR_NONE)
		fields[n++] = LOG_TEXT("code", error_info(failure)->wire_name);
	if (!completed)
		fields[n++] = LOG_TEXT("ended", "client_gone");
	if (reply) {
		fields[n++] = LOG_TEXT("job_id", reply->job_id);
		fields[n++] = LOG_INT("prompt_tokens", reply->prompt_tokens);
		fields[n++] = LOG_INT("tokens_out", reply->tokens_out);
		if (reply->finished && reply->error.code == ERROR_NONE)
			fields[n++] = LOG_TEXT("stop_reason", stop_reason_name(reply->stop_reason));
	}
	fields[n] = (struct log_field){.key = NULL};
	log_fields(level, "request", exchange->request_id, fields);
}

void exchange_end(void *context, struct MHD_Connection *connection, void **slot, enum MHD_RequestTerminationCode why)
{
	(void)connection;
	struct server *server = context;
	struct exchange *exchange = *slot;
	*slot = NULL;
	if (!exchange)
		return;
	bool completed = why == MHD_REQUEST_TERMINATED_COMPLETED_OK;
	log_exchange(exchange, completed);
	atomic_fetch_add(&server->responses[exchange->answered ? exchange->status / 100 : 0], 1);
	exchange_drop_body(exchange);
	reply_destroy(exchange->reply);
	bytes_free(&exchange->out);
	if (exchange->ask_shutdown && !atomic_exchange(&server->shutdown_requested, true) && server->request_shutdown)
		server->request_shutdown(server->shutdown_context);
	connection_enter(&server->connections, exchange->peer, CONNECTION_IDLE);
	if (exchange->answering)
		atomic_fetch_sub(&server->n_answers, 1);
	free(exchange);
}
