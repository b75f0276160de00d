/* The gate: what the HTTP library may read. Every byte that a client sends passes here before the library sees it.
 *
 * libmicrohttpd 0.9.75 reads heads loosely: it takes white space before a colon, a bare CR or a NUL for the end of a name,
 * line or value, folds lines, and what a query, a cookie or many fields cost comes out of a buffer that, once full, ends
 * the connection without a word; its own answers have two header blocks. None of that can be seen from its callbacks, and
 * it has read pipelined requests along with the one that it tells of. So its recv(2) is ours (--wrap in the Makefile; the
 * library is linked statically for it). For a connection's socket we
 *
 *     head   read up to its end, byte for byte, never beyond (MSG_PEEK first, so that the rest stays in the kernel and
 *            keeps the socket readable); check it (head.h); answer what is wrong with it ourselves, once, in JSON, and
 *            close. What the library gets instead is a head of our own: HEAD or POST, "/", and how the body is framed.
 *            Path, fields and their sizes reach the exchange from our reading alone, so nobody reads them twice.
 *     body   pass on as many bytes as its length says; a chunked one is decoded strictly (chunks.h) and framed anew.
 *
 * Each request of a connection goes this way, pipelined ones too, and an exchange without a head from here is not served
 * (exchange.c). What the library still answers by itself: running out of its own memory. The cost: two system calls per
 * head and none per body piece of known length.
 *
 * Other ways: checking heads at accept(2) sees the first one alone, since the library reads on; closing after each request
 * costs a connection per request; a pair of sockets in between costs a thread, two descriptors and a copy per connection.
 *
 * A gate belongs to its connection's thread, which waits in here while a head is incomplete; the deadline is that of
 * connections.h, whose watchdog shuts the socket. Unix sockets are the same.
 */
#ifndef TALLOW_SERVER_HTTP_GATE_H
#define TALLOW_SERVER_HTTP_GATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "server/http/chunks.h"
#include "server/http/head.h"

/* A head and the bytes that its texts point into. */
struct request_head {
	struct head head;
	int64_t begun_ns; /* when its first byte was read */
	size_t n_bytes;
	char bytes[HEAD_MAX_BYTES];
};

/* Whom a gate tells, in the connection's thread. */
struct gate_listener {
	void (*begun)(void *context, void *peer); /* a request's first byte is there */
	/* A request cannot be read: *answer gets the whole answer, header and all, which is sent before the connection ends. */
	void (*refused)(void *context, const struct error *error, struct bytes *answer);
	void *context;
};

struct gate {
	int fd;
	const struct gate_listener *listener; /* NULL: not open */
	void *peer;                           /* the listener's, for the connection */
	enum { GATE_HEAD, GATE_BODY, GATE_CHUNKS, GATE_SHUT } state;
	uint64_t left; /* of the body */
	struct chunk_decoder chunks;
	struct head_scanner scanner;
	struct request_head *reading; /* NULL between requests */
	struct request_head *passed;  /* the library has it; the exchange has not taken it yet */
	bool refused;                 /* and answered */
	bool read;                    /* somebody came to read */
};

/* From here on the socket is read through the gate. False when memory is short. */
bool gate_open(struct gate *gate, int fd, const struct gate_listener *listener, void *peer) MUST_USE;
/* Before the socket is closed. Harmless when gate_open failed. */
void gate_close(struct gate *gate);
/* The head that the library tells of now; the caller frees it. NULL when none passed. */
struct request_head *gate_take_head(struct gate *gate);

#endif
