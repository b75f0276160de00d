/* The list of open connections and their deadlines (connections.h). */
#include "server/http/connections.h"

#include <linux/tcp.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "base/platform.h"

enum {
	DAWDLE_NS = 1000000000, /* a request takes milliseconds to arrive */
	LONGEST_PAUSE_NS = 64000000,
};

void connections_init(struct connections *connections, int max_connections, int n_spare)
{
	*connections = (struct connections){.max_connections = max_connections, .n_spare = n_spare};
	pthread_mutex_init(&connections->lock, NULL);
}

void connections_destroy(struct connections *connections)
{
	pthread_mutex_destroy(&connections->lock);
}

/* Bytes that ever came in on this socket, read or not; 0 where the kernel does not say (Unix sockets, whose peers are
 * this user's own). It shows that a request has begun while its first line is still incomplete. */
static uint64_t socket_received_bytes(int fd)
{
	struct tcp_info info = {0};
	socklen_t n_bytes = sizeof info;
	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &n_bytes) != 0 ||
	    n_bytes < offsetof(struct tcp_info, tcpi_bytes_received) + sizeof info.tcpi_bytes_received)
		return 0;
	return info.tcpi_bytes_received;
}

static void connection_shut(struct connection *connection)
{
	connection->shut = true;
	shutdown(connection->fd, SHUT_RDWR);
}

/* A connection whose request has arrived is not idle, though its thread may not have come to read it. */
static void notice_request(struct connection *connection, int64_t now_ns)
{
	if (connection->phase != CONNECTION_IDLE || socket_received_bytes(connection->fd) == connection->received_bytes)
		return;
	connection->phase = CONNECTION_HEADER;
	connection->since_ns = now_ns;
}

static struct connection *oldest(const struct connections *connections, bool idle)
{
	struct connection *oldest = NULL;
	for (struct connection *c = connections->first; c; c = c->next)
		if (!c->shut && c->phase != CONNECTION_BUSY && (c->phase == CONNECTION_IDLE) == idle &&
		    (!oldest || c->since_ns < oldest->since_ns))
			oldest = c;
	return oldest;
}

/* Makes room: the longest idle connection goes, else the oldest of those that dawdle over their request or our answer; false
 * when none does. The kernel is asked about the one that would go alone: about each of a thousand, it would keep newcomers
 * waiting. */
static bool shut_one(struct connections *connections, int64_t now_ns)
{
	struct connection *idle;
	while ((idle = oldest(connections, true))) {
		notice_request(idle, now_ns);
		if (idle->phase == CONNECTION_IDLE) {
			connection_shut(idle);
			return true;
		}
	}
	struct connection *slow = oldest(connections, false);
	if (!slow || now_ns - slow->since_ns <= DAWDLE_NS)
		return false;
	connection_shut(slow);
	return true;
}

/* The library counts a connection until its thread has ended, and threads start faster than they end: the fewer spare
 * places are left, the longer the next newcomer waits to be accepted. */
static void wait_for_the_leaving(int n_used, int n_spare)
{
	int n_missing = n_used - n_spare / 2;
	if (n_missing > 0)
		nanosleep(&(struct timespec){.tv_nsec = LONGEST_PAUSE_NS * n_missing / n_spare}, NULL);
}

struct connection *connection_add(struct connections *connections, int fd)
{
	struct connection *connection = calloc(1, sizeof *connection);
	if (!connection)
		return NULL;
	connection->fd = fd;
	connection->phase = CONNECTION_IDLE;
	connection->since_ns = clock_ns();
	pthread_mutex_lock(&connections->lock);
	if (connections->n_connections >= connections->max_connections)
		(void)shut_one(connections, connection->since_ns);
	connection->next = connections->first;
	if (connection->next)
		connection->next->previous = connection;
	connections->first = connection;
	connections->n_connections++;
	int n_spare_used = connections->n_connections - connections->max_connections;
	pthread_mutex_unlock(&connections->lock);
	wait_for_the_leaving(n_spare_used, connections->n_spare);
	return connection;
}

void connection_remove(struct connections *connections, struct connection *connection)
{
	if (!connection)
		return;
	pthread_mutex_lock(&connections->lock);
	if (connection->previous)
		connection->previous->next = connection->next;
	else
		connections->first = connection->next;
	if (connection->next)
		connection->next->previous = connection->previous;
	connections->n_connections--;
	pthread_mutex_unlock(&connections->lock);
	free(connection);
}

static void enter_at(struct connections *connections, struct connection *connection, enum connection_phase phase,
                     int64_t since_ns)
{
	if (!connection)
		return;
	uint64_t received_bytes = phase == CONNECTION_IDLE ? socket_received_bytes(connection->fd) : 0;
	pthread_mutex_lock(&connections->lock);
	connection->phase = phase;
	connection->since_ns = since_ns;
	connection->received_bytes = received_bytes;
	pthread_mutex_unlock(&connections->lock);
}

void connection_enter(struct connections *connections, struct connection *connection, enum connection_phase phase)
{
	enter_at(connections, connection, phase, clock_ns());
}

void connection_send(struct connections *connections, struct connection *connection, size_t n_bytes)
{
	int64_t reading_ms = (int64_t)(n_bytes / SENT_BYTES_PER_MS);
	enter_at(connections, connection, CONNECTION_SENDING, clock_ns() + reading_ms * 1000000);
}

static bool connection_is_overdue(struct connection *connection, int64_t now_ns)
{
	int64_t age_ms = (now_ns - connection->since_ns) / 1000000;
	switch (connection->phase) {
	case CONNECTION_IDLE:
		notice_request(connection, now_ns);
		return false;
	case CONNECTION_HEADER:
		return age_ms > HEADER_TIMEOUT_MS;
	case CONNECTION_BODY:
		return age_ms > BODY_TIMEOUT_MS;
	case CONNECTION_SENDING:
		return age_ms > SEND_TIMEOUT_MS;
	default:
		return false;
	}
}

int connections_sweep(struct connections *connections, int64_t now_ns)
{
	int n_staying = 0;
	pthread_mutex_lock(&connections->lock);
	for (struct connection *c = connections->first; c; c = c->next) {
		if (!c->shut && connection_is_overdue(c, now_ns))
			connection_shut(c);
		n_staying += !c->shut;
	}
	/* Those that did not dawdle yet when newcomers took the spare places: past these nobody comes as far as connection_add. */
	while (n_staying > connections->max_connections && shut_one(connections, now_ns))
		n_staying--;
	int n_connections = connections->n_connections;
	pthread_mutex_unlock(&connections->lock);
	return n_connections;
}

int connections_count(struct connections *connections)
{
	pthread_mutex_lock(&connections->lock);
	int n_connections = connections->n_connections;
	pthread_mutex_unlock(&connections->lock);
	return n_connections;
}
