/* Reading of sockets before the HTTP library does (gate.h). */
#include "server/http/gate.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/platform.h"

enum {
	PIECE_BYTES = 8192,
	CHUNK_FRAME_BYTES = 32, /* around a piece: its size, line ends, the last chunk */
	LINGER_MS = 2000,
	LINGER_MAX_BYTES = 16 << 20,
	LONG_AGO = 1, /* a clock_ns() value */
};

ssize_t __real_recv(int fd, void *buffer, size_t n_bytes, int flags);
ssize_t __wrap_recv(int fd, void *buffer, size_t n_bytes, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags);

/* recv(2) that is not interrupted. */
static ssize_t receive(int fd, void *buffer, size_t n_bytes, int flags)
{
	ssize_t n;
	do
		n = __real_recv(fd, buffer, n_bytes, flags);
	while (n < 0 && errno == EINTR);
	return n;
}

/* ---- which sockets have a gate ---- */

static pthread_rwlock_t table_lock = PTHREAD_RWLOCK_INITIALIZER;
static struct gate **gates; /* [n_gates], by descriptor; as large as the largest was */
static size_t n_gates;

static bool table_put(int fd, struct gate *gate)
{
	pthread_rwlock_wrlock(&table_lock);
	size_t index = (size_t)fd;
	if (index >= n_gates) {
		size_t n_wanted = index + 64;
		struct gate **larger = realloc(gates, n_wanted * sizeof *gates);
		if (larger) {
			memset(larger + n_gates, 0, (n_wanted - n_gates) * sizeof *gates);
			gates = larger;
			n_gates = n_wanted;
		}
	}
	bool fits = index < n_gates;
	if (fits)
		gates[index] = gate;
	pthread_rwlock_unlock(&table_lock);
	return fits;
}

static struct gate *table_get(int fd)
{
	pthread_rwlock_rdlock(&table_lock);
	struct gate *gate = fd >= 0 && (size_t)fd < n_gates ? gates[fd] : NULL;
	pthread_rwlock_unlock(&table_lock);
	return gate;
}

bool gate_open(struct gate *gate, int fd, const struct gate_listener *listener, void *peer)
{
	*gate = (struct gate){.fd = fd, .listener = listener, .peer = peer};
	if (table_put(fd, gate))
		return true;
	gate->listener = NULL;
	return false;
}

struct request_head *gate_take_head(struct gate *gate)
{
	struct request_head *head = gate->passed;
	gate->passed = NULL;
	return head;
}

/* ---- the end of a connection that cannot be used further ---- */

/* Until the socket has one of the events or the time is up (until_ns; 0 = it never is); false when it is. */
static bool wait_for(int fd, short events, int64_t until_ns)
{
	struct pollfd socket = {.fd = fd, .events = events};
	for (;;) {
		int64_t left_ms = until_ns ? (until_ns - clock_ns()) / 1000000 : -1;
		if (until_ns && left_ms <= 0)
			return false;
		int n_ready = poll(&socket, 1, (int)left_ms);
		if (n_ready > 0)
			return true;
		if (n_ready < 0 && errno != EINTR)
			return false;
	}
}

static void send_answer(int fd, const struct bytes *answer, int64_t until_ns)
{
	size_t n_sent = 0;
	while (!answer->failed && n_sent < answer->n_bytes && wait_for(fd, POLLOUT, until_ns)) {
		ssize_t n_bytes = send(fd, answer->data + n_sent, answer->n_bytes - n_sent, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n_bytes < 0 && errno != EAGAIN && errno != EINTR)
			return;
		n_sent += n_bytes > 0 ? (size_t)n_bytes : 0;
	}
}

/* Takes in what still comes: closing a socket with unread data resets it, and a reset may overtake the answer. until_ns may
 * have passed: then only what is there. */
static void drop_the_rest(int fd, int64_t until_ns)
{
	char dropped[PIECE_BYTES];
	size_t n_dropped = 0;
	while (n_dropped <= LINGER_MAX_BYTES) {
		ssize_t n_bytes = receive(fd, dropped, sizeof dropped, MSG_DONTWAIT);
		if (n_bytes == 0 || (n_bytes < 0 && errno != EAGAIN))
			return;
		if (n_bytes < 0 && !wait_for(fd, POLLIN, until_ns))
			return;
		n_dropped += n_bytes > 0 ? (size_t)n_bytes : 0;
	}
}

/* Answers what cannot be read. Returns what recv returns at the end of a connection. */
static ssize_t refuse(struct gate *gate, const struct error *error)
{
	struct bytes answer = {0};
	int64_t until_ns = clock_ns() + LINGER_MS * 1000000ll;
	gate->state = GATE_SHUT;
	gate->refused = true;
	gate->listener->refused(gate->listener->context, error, &answer);
	send_answer(gate->fd, &answer, until_ns);
	bytes_free(&answer);
	shutdown(gate->fd, SHUT_WR);
	drop_the_rest(gate->fd, until_ns);
	return 0;
}

static ssize_t fail(int number)
{
	errno = number;
	return -1;
}

/* Takes exactly the n_bytes that a peek has seen; they are still there, since nobody else reads this socket. */
static bool consume(struct gate *gate, char *out, size_t n_bytes)
{
	while (n_bytes > 0) {
		ssize_t n = receive(gate->fd, out, n_bytes, MSG_DONTWAIT);
		if (n <= 0)
			return false;
		out += n;
		n_bytes -= (size_t)n;
	}
	return true;
}

void gate_close(struct gate *gate)
{
	if (!gate->listener)
		return;
	(void)table_put(gate->fd, NULL);   /* its place is there */
	drop_the_rest(gate->fd, LONG_AGO); /* sent along with a last request, a stray line end for one */
	free(gate->reading);
	free(gate->passed);
	*gate = (struct gate){.fd = -1};
}

/* ---- heads ---- */

/* The head that the library gets. */
static ssize_t write_own_head(const struct head *head, char *out, size_t max_bytes)
{
	char length[48] = "";
	if (head->has_length)
		snprintf(length, sizeof length, "Content-Length: %llu\r\n", (unsigned long long)head->content_length);
	int n_bytes =
	    snprintf(out, max_bytes, "%s / HTTP/1.%d\r\nHost: -\r\n%s%s%s%s\r\n",
	             head_text_is(head->method, "HEAD") ? "HEAD" : "POST", head->minor_version,
	             head->chunked ? "Transfer-Encoding: chunked\r\n" : length,
	             head->expects_continue ? "Expect: 100-continue\r\n" : "", head->close ? "Connection: close\r\n" : "",
	             head->keep_alive && !head->close ? "Connection: keep-alive\r\n" : "");
	return n_bytes > 0 && (size_t)n_bytes < max_bytes ? n_bytes : fail(ENOBUFS);
}

static ssize_t pass_head(struct gate *gate, char *out, size_t max_bytes)
{
	struct request_head *request = gate->reading;
	struct head *head = &request->head;
	struct error error = {0};
	if (!head_parse(request->bytes, request->n_bytes, head, &error))
		return refuse(gate, &error);
	gate->reading = NULL;
	gate->passed = request;
	if (head->chunked) {
		gate->chunks = (struct chunk_decoder){0};
		gate->state = GATE_CHUNKS;
	} else if (head->content_length > 0) {
		gate->left = head->content_length;
		gate->state = GATE_BODY;
	}
	return write_own_head(head, out, max_bytes);
}

static bool begin_head(struct gate *gate)
{
	gate->reading = malloc(sizeof *gate->reading);
	if (!gate->reading)
		return false;
	gate->reading->n_bytes = 0;
	gate->reading->begun_ns = clock_ns();
	gate->scanner = (struct head_scanner){0};
	gate->listener->begun(gate->listener->context, gate->peer);
	return true;
}

/* Returns when a head is whole, wrong, or will not come; at once when not even its first byte is there. */
static ssize_t read_head(struct gate *gate, char *out, size_t max_bytes)
{
	for (;;) {
		char piece[PIECE_BYTES];
		ssize_t n_bytes = receive(gate->fd, piece, sizeof piece, MSG_PEEK | MSG_DONTWAIT);
		if (n_bytes < 0 && errno == EAGAIN && gate->reading) {
			(void)wait_for(gate->fd, POLLIN, 0);
			continue;
		}
		if (n_bytes <= 0)
			return n_bytes;
		/* A head that nobody took belongs to a request that was not answered. */
		if (gate->passed || (!gate->reading && !begin_head(gate)))
			return fail(ECONNRESET);
		struct error error = {0};
		size_t n_used = 0;
		enum head_result result = head_scan(&gate->scanner, piece, (size_t)n_bytes, &n_used, &error);
		if (result == HEAD_BAD)
			return refuse(gate, &error);
		if (!consume(gate, gate->reading->bytes + gate->reading->n_bytes, n_used))
			return fail(ECONNRESET);
		gate->reading->n_bytes += n_used;
		if (result == HEAD_WHOLE)
			return pass_head(gate, out, max_bytes);
	}
}

/* ---- bodies ---- */

static ssize_t read_body(struct gate *gate, char *out, size_t max_bytes)
{
	ssize_t n_bytes = receive(gate->fd, out, max_bytes < gate->left ? max_bytes : (size_t)gate->left, 0);
	if (n_bytes > 0)
		gate->left -= (uint64_t)n_bytes;
	if (gate->left == 0)
		gate->state = GATE_HEAD;
	return n_bytes;
}

/* One chunk of our own for what the piece holds. */
static ssize_t read_chunks(struct gate *gate, char *out, size_t max_bytes)
{
	char piece[PIECE_BYTES], data[PIECE_BYTES];
	if (max_bytes <= CHUNK_FRAME_BYTES)
		return fail(ENOBUFS);
	size_t n_wanted = max_bytes - CHUNK_FRAME_BYTES;
	ssize_t n_bytes =
	    receive(gate->fd, piece, n_wanted < sizeof piece ? n_wanted : sizeof piece, MSG_PEEK | MSG_DONTWAIT);
	if (n_bytes <= 0)
		return n_bytes;
	size_t n_data;
	size_t n_used = chunks_decode(&gate->chunks, piece, (size_t)n_bytes, data, &n_data);
	if (gate->chunks.state == CHUNKS_BAD) {
		struct error error;
		error_set(&error, ERROR_INVALID_REQUEST, "the body's chunks are malformed");
		return refuse(gate, &error);
	}
	if (!consume(gate, piece, n_used))
		return fail(ECONNRESET);
	size_t n_out = 0;
	if (n_data > 0) {
		n_out = (size_t)snprintf(out, max_bytes, "%zx\r\n", n_data);
		memcpy(out + n_out, data, n_data);
		memcpy(out + n_out + n_data, "\r\n", 2);
		n_out += n_data + 2;
	}
	if (gate->chunks.state == CHUNKS_ENDED) {
		memcpy(out + n_out, "0\r\n\r\n", 5);
		n_out += 5;
		gate->state = GATE_HEAD;
	}
	return n_out > 0 ? (ssize_t)n_out : fail(EAGAIN);
}

/* ---- the library's recv ---- */

static ssize_t gate_read(struct gate *gate, char *out, size_t max_bytes)
{
	gate->read = true;
	switch (gate->state) {
	case GATE_HEAD:
		return read_head(gate, out, max_bytes);
	case GATE_BODY:
		return read_body(gate, out, max_bytes);
	case GATE_CHUNKS:
		return read_chunks(gate, out, max_bytes);
	default:
		return 0;
	}
}

ssize_t __wrap_recv(int fd, void *buffer, size_t n_bytes, int flags)
{
	struct gate *gate = flags == 0 ? table_get(fd) : NULL;
	return gate ? gate_read(gate, buffer, n_bytes) : receive(fd, buffer, n_bytes, flags);
}

/* ---- the library's sendmsg ---- */

static bool has_more(const struct msghdr *message, size_t i)
{
	while (++i < message->msg_iovlen)
		if (message->msg_iov[i].iov_len > 0)
			return true;
	return false;
}

/* Head and body in one call; here in one for each. A sendmsg may name an address, in memory where no filter of calls sees it,
 * and so is not left once the worker serves (worker/sandbox.c). */
ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags)
{
	size_t n_sent = 0;
	for (size_t i = 0; i < message->msg_iovlen; i++) {
		const struct iovec *part = &message->msg_iov[i];
		if (part->iov_len == 0)
			continue;
		ssize_t n = send(fd, part->iov_base, part->iov_len, flags | (has_more(message, i) ? MSG_MORE : 0));
		if (n < 0)
			return n_sent > 0 ? (ssize_t)n_sent : n;
		n_sent += (size_t)n;
		if ((size_t)n < part->iov_len)
			break;
	}
	return (ssize_t)n_sent;
}
