/* The life of one request: head checked, body collected, route called, end logged (exchange.h).
 *
 *     gate (gate.h) -> exchange_step: exchange_begin, check_head -> take_body ... -> answer -> exchange_end
 *
 * The gate has read the head and answered what is broken at the level of HTTP itself. A request that is refused here still
 * has its body taken in (and dropped), up to a bound: closing a socket with unread data resets it, and a reset may
 * overtake the answer that says why.
 */
#include "server/http/exchange.h"
#include "server/http/auth.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "base/hash.h"
#include "base/log.h"
#include "base/platform.h"
#include "server/dialects/dialect.h"
#include "server/generation/generation.h"
#include "server/http/compress.h"
#include "server/http/refusal.h"
#include "server/server_private.h"

/* Of one connection, in the kernel, which would let it grow to megabytes: more tokens than any stream has, so that a client
 * that does not read would never be noticed. */
enum { SEND_BUFFER_BYTES = 64 << 10 };

/* The library closes at once what it can start no thread for, and says nothing. */
static void tell_that_no_thread_is_left(struct server *server, struct connection *peer)
{
	enum { AT_ONCE_NS = 1000000000 };
	struct error error;
	struct bytes answer = {0};
	if (!peer->gate.listener || peer->gate.read || peer->shut || clock_ns() - peer->since_ns > AT_ONCE_NS ||
	    atomic_load(&server->draining))
		return;
	error_set(&error, ERROR_MEMORY, "cannot start a thread for this connection; try again later");
	refusal_answer(server, &error, &answer);
	if (!answer.failed && send(peer->fd, answer.data, answer.n_bytes, MSG_NOSIGNAL | MSG_DONTWAIT) > 0)
		shutdown(peer->fd, SHUT_WR);
	bytes_free(&answer);
}

void exchange_connection(void *context, struct MHD_Connection *connection, void **slot,
                         enum MHD_ConnectionNotificationCode what)
{
	struct server *server = context;
	struct connection *peer = *slot;
	if (what == MHD_CONNECTION_NOTIFY_CLOSED) {
		if (peer) {
			tell_that_no_thread_is_left(server, peer);
			gate_close(&peer->gate);
		}
		connection_remove(&server->connections, peer);
		*slot = NULL;
		return;
	}
	int fd = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
	int n_bytes = SEND_BUFFER_BYTES;
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &n_bytes, sizeof n_bytes); /* works without, too */
	peer = connection_add(&server->connections, fd);
	*slot = peer;
	/* Without a gate nothing that it sends would be served. */
	if (!peer || !gate_open(&peer->gate, fd, &server->gate_listener, peer))
		shutdown(fd, SHUT_RDWR);
	watchdog_notice(&server->watchdog);
}

void exchange_request_begun(void *context, void *peer)
{
	struct server *server = context;
	connection_enter(&server->connections, peer, CONNECTION_HEADER);
}

void request_id_choose(char *request_id, size_t n_bytes)
{
	uint64_t number;
	if (!random_bytes(&number, sizeof number))
		number = hash_mix((uint64_t)clock_ns());
	snprintf(request_id, n_bytes, "req-%016llx", (unsigned long long)number);
}

/* NULL when memory is short, or when the head did not come through the gate: then the connection just ends. */
static struct exchange *exchange_begin(struct server *server, struct MHD_Connection *connection)
{
	struct connection *peer = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
	struct request_head *head = peer ? gate_take_head(&peer->gate) : NULL;
	struct exchange *exchange = head ? calloc(1, sizeof *exchange) : NULL;
	if (!exchange) {
		free(head);
		return NULL;
	}
	exchange->server = server;
	exchange->connection = connection;
	exchange->peer = peer;
	exchange->head = head;
	exchange->dialect = &worker_dialect;
	exchange->started_ns = head->begun_ns;
	exchange->client_fd = peer->fd;
	exchange->running_place = -1;
	return exchange;
}

/* ---- the head ---- */

static bool refuse(struct exchange *exchange, enum error_code code, const char *message)
{
	return error_set(&exchange->refusal, code, "%s", message);
}

static void name_request(struct exchange *exchange, const struct head *head)
{
	struct head_text given;
	if ((head_find(head, "X-Request-Id", &given) > 0 && request_id_is_plain(given)) ||
	    (head_find(head, "X-Correlation-ID", &given) > 0 && request_id_is_plain(given)))
		snprintf(exchange->request_id, sizeof exchange->request_id, "%.*s", (int)given.n_bytes, given.at);
	else
		request_id_choose(exchange->request_id, sizeof exchange->request_id);
}

/* What concerns the answer whatever it is. */
static void note_wishes(struct exchange *exchange, const struct head *head)
{
	struct head_text value;
	if (head_find(head, "traceparent", &value) == 1)
		trace_parse(value, &exchange->trace);
	exchange->takes_gzip = head_find(head, "Accept-Encoding", &value) == 1 && compress_is_asked(value);
}

static bool check_host_and_origin(struct exchange *exchange, const struct head *head)
{
	struct server *server = exchange->server;
	if (server->check_host && head->host.at && !host_is_local(head->host, server->listener.host) &&
	    !host_is_named(head->host, &server->allowed_hosts))
		return refuse(exchange, ERROR_FORBIDDEN,
		              "the Host header names another host; this server serves local ones only, and those that "
		              "--allowed-host names");
	struct head_text origin;
	int n_origins = head_find(head, "Origin", &origin);
	if (n_origins == 0)
		return true;
	bool cross_site;
	if (n_origins > 1 ||
	    !origin_is_allowed(origin, server->cors_origin, head->host, &server->allowed_hosts, &cross_site))
		return refuse(exchange, ERROR_FORBIDDEN, "requests from web pages of another origin are not allowed");
	if (cross_site)
		snprintf(exchange->cors_origin, sizeof exchange->cors_origin, "%.*s", (int)origin.n_bytes, origin.at);
	return true;
}

static bool is_method(const struct head *head, const char *method)
{
	return head->method.n_bytes == strlen(method) && memcmp(head->method.at, method, head->method.n_bytes) == 0;
}

static bool check_method(struct exchange *exchange, const struct head *head)
{
	const struct route *route = exchange->route;
	if (!route)
		return route_missing(exchange->dialect, &exchange->refusal);
	if (is_method(head, route->method) || (exchange->is_head && strcmp(route->method, "GET") == 0))
		return true;
	return refuse(exchange, ERROR_METHOD, "that path does not take that method");
}

/* The context is known once the model is loaded; before it nothing is asked of it. */
static size_t body_bound(const struct server *server)
{
	struct engine_status status;
	if (server->given_body_bytes)
		return server->given_body_bytes;
	engine_status(server->engine, &status);
	uint64_t by_context = (uint64_t)status.context_length * BODY_BYTES_PER_TOKEN;
	return by_context > LEAST_BODY_BYTES ? (size_t)by_context : LEAST_BODY_BYTES;
}

/* Whether all bodies together may take so much. */
static bool bodies_may_take(const struct exchange *exchange, size_t n_bytes)
{
	size_t given = exchange->server->given_body_bytes;
	return n_bytes / BODIES_IN_MEMORY <= (given ? given : LEAST_BODY_BYTES) ||
	       n_bytes / LARGEST_BODIES_IN_MEMORY <= exchange->max_body_bytes;
}

static bool check_body(struct exchange *exchange, const struct head *head)
{
	struct head_text coding;
	int n_codings = head_find(head, "Content-Encoding", &coding);
	if (n_codings > 1 || (n_codings == 1 && coding.n_bytes > 0 && !head_text_is(coding, "identity")))
		return refuse(exchange, ERROR_INVALID_REQUEST, "the body may not be compressed (Content-Encoding)");
	size_t max = exchange->max_body_bytes;
	if (head->content_length > max)
		return error_set(&exchange->refusal, ERROR_TOO_LARGE, "the body has %llu bytes; at most %zu are accepted",
		                 (unsigned long long)head->content_length, max);
	return true;
}

/* Who asks; false when a key is wanted and not there. */
static bool check_key(struct exchange *exchange, const struct head *head)
{
	struct server *server = exchange->server;
	struct error error = {0};
	struct head_text header, token = {0};
	if (head_find(head, "Authorization", &header) == 1)
		token = bearer_token(header);
	bool allowed = key_ring_admit(&server->keys, token, &exchange->access, &error);
	/* Anthropic's clients send theirs so; some send something else as a bearer's as well. */
	if ((!allowed || !token.at) && head_find(head, "X-Api-Key", &header) == 1) {
		token = header;
		allowed = key_ring_admit(&server->keys, token, &exchange->access, &error);
	}
	bool open = exchange->route && exchange->route->open;
	if (!allowed && !open) {
		exchange->refusal = error;
		return false;
	}
	if (exchange->route && exchange->route->admin && !exchange->access.admin)
		return refuse(exchange, ERROR_FORBIDDEN, "this is for the keys that the key file calls admin");
	if (!server->share_cache)
		exchange->cache_key = token_identity(token);
	return true;
}

/* All that can be known from the head; the route first, for its dialect is what a refusal is written in. */
static void check_access(struct exchange *exchange, const struct head *head)
{
	exchange->route = route_find(exchange, head->path);
	if (exchange->route && exchange->route->handler == handle_page && !exchange->server->page_policy)
		exchange->route = NULL;
	exchange->dialect = exchange->route ? exchange->route->dialect : route_dialect(head);
	if (head->expects_something) { /* nobody knows whether the body comes */
		exchange->close_after = true;
		refuse(exchange, ERROR_EXPECTATION, "only 100-continue can be expected (Expect)");
		return;
	}
	if (!check_host_and_origin(exchange, head))
		return;
	exchange->is_head = is_method(head, "HEAD");
	exchange->preflight = is_method(head, "OPTIONS") && (exchange->route || head_text_is(head->path, "*"));
	if (exchange->preflight) /* carries no key, by specification */
		return;
	if (check_key(exchange, head) && check_method(exchange, head))
		check_body(exchange, head);
}

/* From here on the exchange has no deadline, and server_stop lets it finish. */
static void begin_answer(struct exchange *exchange)
{
	connection_enter(&exchange->server->connections, exchange->peer, CONNECTION_BUSY);
	atomic_fetch_add(&exchange->server->n_answers, 1);
	exchange->answering = true;
}

/* First call. */
static enum MHD_Result check_head(struct exchange *exchange)
{
	const struct head *head = &exchange->head->head;
	connection_enter(&exchange->server->connections, exchange->peer, CONNECTION_BODY);
	name_request(exchange, head);
	note_wishes(exchange, head);
	exchange->max_body_bytes = body_bound(exchange->server);
	check_access(exchange, head);
	exchange->body.max_bytes = exchange->max_body_bytes + 1; /* the buffer's closing NUL */
	if (exchange->refusal.code == ERROR_NONE)
		return MHD_YES;
	/* Not when the client can be saved the trouble of sending its body, or sends more than we care to drop. */
	if (exchange->close_after || head->expects_continue || head->content_length > SWALLOW_MAX_BYTES) {
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
	if (exchange->refusal.code == ERROR_NONE && n_data > exchange->max_body_bytes - exchange->body.n_bytes)
		error_set(&exchange->refusal, ERROR_TOO_LARGE, "the body has more than %zu bytes", exchange->max_body_bytes);
	if (exchange->refusal.code == ERROR_NONE) {
		size_t in_memory = atomic_fetch_add(&server->body_bytes, n_data) + n_data;
		bool may = bodies_may_take(exchange, in_memory);
		if (may)
			bytes_append(&exchange->body, data, n_data);
		if (may && !exchange->body.failed)
			return MHD_YES;
		atomic_fetch_sub(&server->body_bytes, n_data);
		if (may)
			refuse(exchange, ERROR_MEMORY, "no memory for the body");
		else
			refuse(exchange, ERROR_QUEUE_FULL, "too many large requests are being received");
	}
	exchange_drop_body(exchange);
	exchange->swallowed_bytes += n_data;
	return exchange->swallowed_bytes <= SWALLOW_MAX_BYTES ? MHD_YES : MHD_NO;
}

/* What comes with a body may be what ends the process. False: it did, twice. */
static bool may_run(struct exchange *exchange)
{
	struct running *running = exchange->server->running;
	if (!running || exchange->body.n_bytes == 0)
		return true;
	const struct head_text *path = &exchange->head->head.path;
	uint64_t mark = running_mark(running, path->at, path->n_bytes, exchange->body.data, exchange->body.n_bytes);
	if (!running_may(running, mark, clock_ns()))
		return false;
	exchange->running_place = running_begin(running, mark);
	return true;
}

static enum MHD_Result answer(struct exchange *exchange)
{
	begin_answer(exchange);
	if (exchange->refusal.code == ERROR_NONE && !may_run(exchange))
		refuse(exchange, ERROR_INTERNAL,
		       "the worker crashed twice while it ran this request, which is kept out for now");
	if (exchange->refusal.code != ERROR_NONE)
		return respond_error(exchange, &exchange->refusal, 0);
	if (exchange->preflight)
		return respond_empty(exchange, 204);
	return exchange->route->handler(exchange);
}

enum MHD_Result exchange_step(void *context, struct MHD_Connection *connection, const char *url, const char *method,
                              const char *version, const char *data, size_t *n_data, void **slot)
{
	(void)url; /* the gate's, not the client's */
	(void)method;
	(void)version;
	struct exchange *exchange = *slot;
	if (!exchange) {
		exchange = exchange_begin(context, connection);
		*slot = exchange;
		return exchange ? check_head(exchange) : MHD_NO;
	}
	if (*n_data > 0) {
		size_t n_bytes = *n_data;
		*n_data = 0;
		return take_body(exchange, data, n_bytes);
	}
	return answer(exchange);
}

/* ---- the end ---- */

/* Of the stream, or of the answer. */
static enum error_code failure_of(const struct exchange *exchange)
{
	const struct generation *generation = exchange->generation;
	return generation && generation->error.code != ERROR_NONE ? generation->error.code : exchange->failure;
}

static int log_generation(const struct generation *generation, struct log_field *fields)
{
	int n = 0;
	fields[n++] = LOG_TEXT("job_id", generation->job_id);
	fields[n++] = LOG_INT("prompt_tokens", generation->prompt_tokens);
	fields[n++] = LOG_INT("cached_tokens", generation->cached_tokens);
	fields[n++] = LOG_INT("tokens_out", generation->tokens_out);
	if (!generation->finished || generation->error.code != ERROR_NONE)
		return n;
	fields[n++] = LOG_TEXT("stop_reason", stop_reason_name(generation->stop_reason));
	fields[n++] = LOG_MS("queue_ms", generation->queue_ms);
	fields[n++] = LOG_MS("prefill_ms", generation->prefill_ms);
	fields[n++] = LOG_MS("decode_ms", generation->decode_ms);
	fields[n++] = LOG_MS("time_to_first_token_ms", generation->time_to_first_token_ms);
	fields[n++] = LOG_NUMBER("tokens_per_second", generation->tokens_per_second);
	return n;
}

/* The line of the access log: who asked for what, how it ended, tokens and times; no text of either side. */
static void log_exchange(const struct exchange *exchange, bool completed)
{
	enum { MAX_FIELDS = 24 };
	const struct generation *generation = exchange->generation;
	const struct head_text *method = &exchange->head->head.method;
	bool quiet = exchange->route && exchange->route->quiet && exchange->failure == ERROR_NONE;
	enum log_level level = quiet ? LOG_DEBUG : LOG_INFO;
	if (!log_enabled(level))
		return;
	struct log_field fields[MAX_FIELDS];
	int n = 0;
	enum error_code failure = failure_of(exchange);
	char shown_method[16]; /* the client's word: cut */
	snprintf(shown_method, sizeof shown_method, "%.*s", (int)method->n_bytes, method->at);
	fields[n++] = LOG_TEXT("method", shown_method);
	fields[n++] = LOG_TEXT("route", exchange->route ? exchange->route->path : "");
	fields[n++] = LOG_INT("status", exchange->status);
	fields[n++] = LOG_MS("duration_ms", (double)(clock_ns() - exchange->started_ns) / 1e6);
	if (failure != ERROR_NONE)
		fields[n++] = LOG_TEXT("code", error_info(failure)->wire_name);
	if (!completed)
		fields[n++] = LOG_TEXT("ended", "client_gone");
	if (exchange->access.account)
		fields[n++] = LOG_TEXT("key", exchange->access.name);
	if (exchange->trace.id[0] != '\0') {
		fields[n++] = LOG_TEXT("trace_id", exchange->trace.id);
		fields[n++] = LOG_TEXT("span_id", exchange->trace.span);
	}
	if (generation)
		n += log_generation(generation, fields + n);
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
	if (exchange->answered ||
	    !exchange->peer->gate.refused) { /* else its body could not be read, which the gate told */
		log_exchange(exchange, completed);
		atomic_fetch_add(&server->responses[exchange->answered ? exchange->status / 100 : 0], 1);
		atomic_fetch_add(&server->errors[failure_of(exchange)], 1);
	}
	exchange_drop_body(exchange);
	if (server->running)
		running_end(server->running, exchange->running_place, completed);
	generation_destroy(exchange->generation);
	bytes_free(&exchange->out);
	if (exchange->ask_shutdown && !atomic_exchange(&server->shutdown_requested, true) && server->request_shutdown)
		server->request_shutdown(server->shutdown_context);
	connection_enter(&server->connections, exchange->peer, CONNECTION_IDLE);
	if (exchange->answering)
		atomic_fetch_sub(&server->n_answers, 1);
	free(exchange->head);
	free(exchange);
}
