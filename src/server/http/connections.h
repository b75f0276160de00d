/* Every open connection and how long it may still take: the guard against slow senders and readers, and against idle ones
 * that would take all places.
 *
 * The HTTP library's own timeout measures inactivity, so one byte a second passes it. Here each connection is in one
 * phase with its own absolute deadline: IDLE (none; the library's timeout applies), HEADER (since the first byte of a
 * request), BODY (since the end of its header), BUSY (none: the request waits for us), SENDING (since somebody with a poor
 * line would have read the answer, or the piece of a stream that is there). A connection past its deadline has its socket
 * shut down; its thread then notices and ends. When all places are taken, the longest idle one goes, else the one that
 * keeps us waiting longest.
 *
 * Locking: one mutex; phases are written by a connection's own thread and read by the watchdog's.
 */
#ifndef TALLOW_SERVER_HTTP_CONNECTIONS_H
#define TALLOW_SERVER_HTTP_CONNECTIONS_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/http/gate.h"

enum connection_phase { CONNECTION_IDLE, CONNECTION_HEADER, CONNECTION_BODY, CONNECTION_BUSY, CONNECTION_SENDING };

struct connection {
	struct connection *next, *previous;
	int fd;
	enum connection_phase phase;
	int64_t since_ns;        /* start of the phase; of SENDING: when all of it should have been read */
	uint64_t received_bytes; /* by the socket's count, when IDLE began */
	bool shut;
	struct gate gate; /* its thread's alone */
};

struct connections {
	pthread_mutex_t lock;
	struct connection *first;
	int n_connections;
	int max_connections;
	/* Places that the library has beyond those: a newcomer takes one while the one that goes for it is on its way out. Past
	 * them the library would close the newcomer. */
	int n_spare;
};

enum {
	HEADER_TIMEOUT_MS = 10000,
	BODY_TIMEOUT_MS = 30000,
	SEND_TIMEOUT_MS = 75000,
	SENT_BYTES_PER_MS = 64, /* half a megabit a second */
};

void connections_init(struct connections *connections, int max_connections, int n_spare);
void connections_destroy(struct connections *connections);
/* NULL when memory is short. Makes room by ending a connection when max_connections is passed. Called in the thread that
 * accepts, which waits here a little when the spare places run out. */
struct connection *connection_add(struct connections *connections, int fd);
void connection_remove(struct connections *connections, struct connection *connection); /* before its fd is closed */
void connection_enter(struct connections *connections, struct connection *connection, enum connection_phase phase);
/* SENDING: so many bytes are there for the client, and nothing but its reading them is waited for. */
void connection_send(struct connections *connections, struct connection *connection, size_t n_bytes);
/* Ends the connections whose deadline has passed, and makes room where max_connections is still passed; returns how many are
 * open. */
int connections_sweep(struct connections *connections, int64_t now_ns);
int connections_count(struct connections *connections);

#endif
