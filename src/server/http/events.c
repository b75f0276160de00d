/* Event streams to a client, whatever their source: waiting for the source and the client at once, pings, and handing
 * bytes to the HTTP library as it asks for them.
 *
 * The library holds an answer's header back until there is a byte of body, so the first ping goes out at once when the
 * source has nothing yet.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>

#include "base/platform.h"
#include "server/dialects/dialect.h"
#include "server/server_private.h"

#define PING_INTERVAL_NS (PING_INTERVAL_MS * 1000000ll)

enum wait_result exchange_wait(const struct exchange *exchange, int event_fd, int timeout_ms)
{
	struct pollfd fds[2] = {
	    /* POLLIN is not asked for: what the client sends next (pipelining) stays in the socket. */
	    {.fd = exchange->client_fd, .events = POLLRDHUP},
	    {.fd = event_fd, .events = POLLIN},
	};
	int n_ready = poll(fds, 2, timeout_ms);
	if (n_ready < 0)
		return errno == EINTR || errno == EAGAIN ? WAIT_TIMEOUT : WAIT_GONE;
	/* FIN counts as gone, like a reset: the client cannot ask for anything any more. */
	if (fds[0].revents & (POLLRDHUP | POLLHUP | POLLERR | POLLNVAL))
		return WAIT_GONE;
	if (fds[1].revents)
		return WAIT_READY;
	return WAIT_TIMEOUT;
}

/* The library measures how long a connection was inactive, and so counts against a client what it waited for the engine, or
 * for its place: a form of stream that knows no pings would be cut where its prompt takes long. Set from nothing, the
 * measure begins anew. */
static void restart_inactivity(struct exchange *exchange)
{
	MHD_set_connection_option(exchange->connection, MHD_CONNECTION_OPTION_TIMEOUT, 0u);
	MHD_set_connection_option(exchange->connection, MHD_CONNECTION_OPTION_TIMEOUT, (unsigned)INACTIVITY_TIMEOUT_S);
}

/* What was framed found no memory, and is lost: so the stream ends, with an error where there is memory for that. */
static bool end_with_error(struct exchange *exchange)
{
	struct generation *generation = exchange->generation;
	struct event event = {.type = EVENT_ERROR};
	bytes_free(&exchange->out);
	if (!generation)
		return false;
	error_set(&event.error, ERROR_MEMORY, "no memory for the events of this answer");
	generation_note(generation, &event);
	exchange->dialect->frame(generation, &event, &exchange->out);
	generation_end_running(generation);
	exchange->source.ended = true;
	return !exchange->out.failed;
}

/* Waits until there are bytes to send or the stream is over; false when the client is gone. */
static bool fill(struct exchange *exchange)
{
	struct event_source *source = &exchange->source;
	bytes_clear(&exchange->out);
	exchange->n_sent = 0;
	while (exchange->out.n_bytes == 0 && !source->ended) {
		int64_t left_ms = (exchange->next_ping_ns - clock_ns()) / 1000000;
		int wait_ms = left_ms > 0 && !source->more ? (int)left_ms : 0;
		if (source->interval_ms > 0 && source->interval_ms < wait_ms)
			wait_ms = source->interval_ms;
		if (exchange_wait(exchange, source->fd, wait_ms) == WAIT_GONE)
			return false;
		source->pull(exchange);
		if (exchange->out.n_bytes == 0 && !source->ended && left_ms <= 0) {
			exchange->dialect->ping(exchange->generation, &exchange->out);
			exchange->next_ping_ns = clock_ns() + PING_INTERVAL_NS;
		}
		if (exchange->out.failed && !end_with_error(exchange))
			return false;
	}
	exchange->next_ping_ns = clock_ns() + PING_INTERVAL_NS;
	restart_inactivity(exchange);
	return true;
}

static ssize_t read_events(void *context, uint64_t position, char *buffer, size_t max_bytes)
{
	(void)position;
	struct exchange *exchange = context;
	struct connections *connections = &exchange->server->connections;
	if (exchange->n_sent == exchange->out.n_bytes && !exchange->source.ended) {
		connection_enter(connections, exchange->peer, CONNECTION_BUSY);
		if (!fill(exchange))
			return MHD_CONTENT_READER_END_WITH_ERROR;
	}
	size_t n_bytes = exchange->out.n_bytes - exchange->n_sent;
	if (n_bytes == 0)
		return MHD_CONTENT_READER_END_OF_STREAM;
	if (n_bytes > max_bytes)
		n_bytes = max_bytes;
	memcpy(buffer, exchange->out.data + exchange->n_sent, n_bytes);
	exchange->n_sent += n_bytes;
	connection_send(connections, exchange->peer, n_bytes);
	return (ssize_t)n_bytes;
}

enum MHD_Result respond_events(struct exchange *exchange, const struct event_source *source)
{
	if (source)
		exchange->source = *source;
	return respond_reader(exchange, exchange->dialect->stream_type, read_events);
}
