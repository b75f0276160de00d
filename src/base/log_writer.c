/* One ring for each output, one thread for all (log_writer.h).
 *
 * A ring holds records: a header, then its bytes, both going round the end. The writer alone takes records out, after they
 * are written, so an empty ring says that all is out. It writes pieces of at most PIPE_BUF bytes, which is what poll
 * promises room for in a pipe; so a line of up to that size is one write, and no other writer of that pipe gets between.
 */
#include "base/log_writer.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/platform.h"

enum {
	RING_BYTES = 128 << 10, /* some 500 lines */
	JOIN_EXTRA_MS = 200,    /* for the writer to notice that its time is over */
};

struct record {
	size_t n_bytes;
	const char *failure;
};

struct ring {
	char data[RING_BYTES];
	size_t first, n_bytes; /* of all records */
};

enum mode { DIRECT, QUEUED, MUTE };

/* Under the mutex, but for mode. */
static struct ring rings[N_WRITER_OUTPUTS];
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static atomic_int mode = DIRECT;
static writer_tell *tell_of;
static uint64_t n_dropped; /* since it was last told */
static uint64_t n_lost;    /* that could not be written; told when something can */
static atomic_ullong n_dropped_ever;
static bool stopping, ended;
static bool reopening; /* the file, once its ring is empty or at a record's beginning */
static int64_t deadline_ns;
static pthread_cond_t has_ended;

static pthread_t thread;
static int wake_fd = -1; /* eventfd: something was put, or stopping */

/* The writer's thread's own, once there is one. */
static int log_fd = -1;
static char log_path[PATH_MAX]; /* "": none */

static int fd_of(enum writer_output output)
{
	if (output == WRITER_LOG)
		return log_fd;
	return output == WRITER_OUTPUT ? STDOUT_FILENO : STDERR_FILENO;
}

static const char *name_of(enum writer_output output)
{
	return output == WRITER_OUTPUT ? "standard output" : output == WRITER_ERRORS ? "standard error" : "the log file";
}

/* Where lines of the log go. */
static enum writer_output place_of(enum writer_output output)
{
	return output == WRITER_LOG && log_path[0] == 0 ? WRITER_ERRORS : output;
}

static int open_file(void)
{
	return open(log_path, LOG_OPEN_FLAGS, 0640);
}

/* Takes a new file in place of the old one, where it can be opened. */
static void reopen_file(void)
{
	int fd = open_file();
	if (fd < 0) {
		log_message(LOG_WARN, "log_not_reopened", "cannot open %s: %s", log_path, strerror(errno));
		return;
	}
	close(log_fd);
	log_fd = fd;
}

/* ---- the ring; locked ---- */

static void copy_in(struct ring *ring, const void *bytes, size_t n_bytes)
{
	size_t at = (ring->first + ring->n_bytes) % RING_BYTES;
	size_t before_end = n_bytes < RING_BYTES - at ? n_bytes : RING_BYTES - at;
	memcpy(ring->data + at, bytes, before_end);
	memcpy(ring->data, (const char *)bytes + before_end, n_bytes - before_end);
	ring->n_bytes += n_bytes;
}

/* Bytes from `skip` on; they stay. */
static void copy_out(const struct ring *ring, size_t skip, void *bytes, size_t n_bytes)
{
	size_t at = (ring->first + skip) % RING_BYTES;
	size_t before_end = n_bytes < RING_BYTES - at ? n_bytes : RING_BYTES - at;
	memcpy(bytes, ring->data + at, before_end);
	memcpy((char *)bytes + before_end, ring->data, n_bytes - before_end);
}

static bool has_room(const struct ring *ring, size_t n_bytes)
{
	return ring->n_bytes + sizeof(struct record) + n_bytes <= RING_BYTES;
}

static void push(struct ring *ring, const char *data, size_t n_bytes, const char *failure)
{
	struct record record = {.n_bytes = n_bytes, .failure = failure};
	copy_in(ring, &record, sizeof record);
	copy_in(ring, data, n_bytes);
}

static void pop(struct ring *ring)
{
	struct record record;
	copy_out(ring, 0, &record, sizeof record);
	ring->first = (ring->first + sizeof record + record.n_bytes) % RING_BYTES;
	ring->n_bytes -= sizeof record + record.n_bytes;
}

/* Puts the line that tells of dropped ones in their place; false when there is no room for it and n_more. */
static bool tell_dropped(size_t n_more)
{
	char line[LOG_LINE_BYTES];
	struct ring *ring = &rings[place_of(WRITER_LOG)];
	if (n_dropped == 0)
		return has_room(ring, n_more);
	if (!has_room(ring, sizeof(struct record) + sizeof line + n_more))
		return false;
	push(ring, line, tell_of(n_dropped, line), NULL);
	n_dropped = 0;
	return true;
}

/* ---- the writer's thread ---- */

/* A piece of the first record, of which n_written bytes are out; how many are now. */
static size_t write_piece(enum writer_output output, size_t n_written)
{
	char piece[PIPE_BUF];
	struct record record;
	struct ring *ring = &rings[output];
	pthread_mutex_lock(&mutex);
	copy_out(ring, 0, &record, sizeof record);
	size_t n_bytes = record.n_bytes - n_written;
	n_bytes = n_bytes < sizeof piece ? n_bytes : sizeof piece;
	copy_out(ring, sizeof record + n_written, piece, n_bytes);
	pthread_mutex_unlock(&mutex);

	ssize_t n = write(fd_of(output), piece, n_bytes);
	int reason = n < 0 ? errno : 0;
	if (reason == EINTR || reason == EAGAIN)
		return n_written;
	n_written += n > 0 ? (size_t)n : 0;
	if (!reason && n_written < record.n_bytes)
		return n_written;
	pthread_mutex_lock(&mutex);
	pop(ring); /* whole, or there is nobody to read it, or no room */
	if (reason && output == place_of(WRITER_LOG)) {
		n_lost++;
		atomic_fetch_add(&n_dropped_ever, 1);
	}
	if (!reason && output == place_of(WRITER_LOG)) {
		n_dropped += n_lost;
		n_lost = 0;
	}
	pthread_mutex_unlock(&mutex);
	if (reason && record.failure)
		log_message(LOG_WARN, record.failure, "cannot write to %s: %s", name_of(output), strerror(reason));
	return 0;
}

/* What to poll for; the time it may take in ms, -1 for any, -2 when the writer shall end. */
static int prepare(struct pollfd *fds)
{
	int timeout_ms = -1;
	bool any = false;
	pthread_mutex_lock(&mutex);
	for (enum writer_output i = 0; i < N_WRITER_OUTPUTS; i++) {
		if (rings[i].n_bytes == 0 && i == place_of(WRITER_LOG))
			tell_dropped(0);
		bool waits = rings[i].n_bytes > 0;
		fds[i] = (struct pollfd){.fd = waits ? fd_of(i) : -1, .events = POLLOUT};
		any |= waits;
	}
	if (stopping) {
		int64_t left_ns = deadline_ns - clock_ns();
		timeout_ms = any && left_ns > 0 ? (int)(left_ns / 1000000) + 1 : -2;
	}
	pthread_mutex_unlock(&mutex);
	fds[N_WRITER_OUTPUTS] = (struct pollfd){.fd = wake_fd, .events = POLLIN};
	return timeout_ms;
}

static bool must_reopen(void)
{
	pthread_mutex_lock(&mutex);
	bool wanted = reopening;
	reopening = false;
	pthread_mutex_unlock(&mutex);
	return wanted;
}

static void *write_lines(void *argument)
{
	(void)argument;
	platform_name_thread("log");
	size_t n_written[N_WRITER_OUTPUTS] = {0};
	struct pollfd fds[N_WRITER_OUTPUTS + 1];
	for (int timeout_ms; (timeout_ms = prepare(fds)) >= -1;) {
		if (poll(fds, N_WRITER_OUTPUTS + 1, timeout_ms) < 0)
			continue;
		uint64_t count;
		if (fds[N_WRITER_OUTPUTS].revents && read(wake_fd, &count, sizeof count) < 0)
			continue; /* cannot happen: it is readable */
		for (enum writer_output i = 0; i < N_WRITER_OUTPUTS; i++)
			if (fds[i].fd >= 0 && fds[i].revents)
				n_written[i] = write_piece(i, n_written[i]);
		if (n_written[WRITER_LOG] == 0 && must_reopen())
			reopen_file();
	}
	pthread_mutex_lock(&mutex);
	ended = true;
	pthread_cond_signal(&has_ended);
	pthread_mutex_unlock(&mutex);
	return NULL;
}

/* ---- the others ---- */

static void wake(void)
{
	uint64_t one = 1;
	ssize_t written = write(wake_fd, &one, sizeof one);
	(void)written; /* fails only when the counter is full, and then it is readable already */
}

bool writer_open(const char *path, struct error *error)
{
	int n = snprintf(log_path, sizeof log_path, "%s", path);
	if (n > 0 && n < (int)sizeof log_path && (log_fd = open_file()) >= 0)
		return true;
	int reason = n == 0 ? ENOENT : n < (int)sizeof log_path ? errno : ENAMETOOLONG;
	log_path[0] = 0;
	return error_set(error, ERROR_USAGE, "cannot open --log-file %.200s: %s", path, strerror(reason));
}

void writer_reopen(void)
{
	if (log_path[0] == 0)
		return;
	if (atomic_load(&mode) == DIRECT) {
		reopen_file();
		return;
	}
	pthread_mutex_lock(&mutex);
	reopening = true;
	pthread_mutex_unlock(&mutex);
	if (wake_fd >= 0)
		wake();
}

bool writer_has_room(void)
{
	struct pollfd reader = {.fd = fd_of(place_of(WRITER_LOG)), .events = POLLOUT};
	return poll(&reader, 1, 0) == 1 && reader.revents == POLLOUT;
}

bool writer_start(writer_tell *tell, struct error *error)
{
	sigset_t all, old;
	if (wake_fd < 0 && (wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) < 0)
		return error_set(error, ERROR_MEMORY, "cannot open a descriptor for the log: %s", strerror(errno));
	pthread_condattr_t monotonic;
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&has_ended, &monotonic);
	pthread_condattr_destroy(&monotonic);
	tell_of = tell;
	stopping = ended = false;
	/* Signals are main's business. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	int failure = pthread_create(&thread, NULL, write_lines, NULL);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (failure)
		return error_set(error, ERROR_MEMORY, "cannot start the log's thread: %s", strerror(failure));
	atomic_store(&mode, QUEUED);
	return true;
}

void writer_stop(int timeout_ms)
{
	if (atomic_load(&mode) != QUEUED)
		return;
	pthread_mutex_lock(&mutex);
	stopping = true;
	deadline_ns = clock_ns() + (int64_t)timeout_ms * 1000000;
	wake();
	int64_t until_ns = deadline_ns + (int64_t)JOIN_EXTRA_MS * 1000000;
	const struct timespec until = {.tv_sec = until_ns / 1000000000, .tv_nsec = until_ns % 1000000000};
	while (!ended && clock_ns() < until_ns)
		pthread_cond_timedwait(&has_ended, &mutex, &until);
	bool stuck = !ended;
	pthread_mutex_unlock(&mutex);
	/* In a write, when poll promised too much: then the thread ends with the process. */
	if (stuck)
		pthread_detach(thread);
	else
		pthread_join(thread, NULL);
	atomic_store(&mode, MUTE);
}

/* A closed or full output: nobody is left to tell, but of what has an event for that. */
static void write_now(enum writer_output output, const char *data, size_t n_bytes, const char *failure)
{
	while (n_bytes > 0) {
		ssize_t n = write(fd_of(output), data, n_bytes);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			if (failure)
				log_message(LOG_WARN, failure, "cannot write to %s: %s", name_of(output), strerror(errno));
			return;
		}
		data += n;
		n_bytes -= (size_t)n;
	}
}

void writer_put(enum writer_output output, const char *data, size_t n_bytes, const char *failure)
{
	assert(n_bytes <= LOG_LINE_BYTES);
	int now = atomic_load(&mode);
	output = place_of(output);
	if (now == DIRECT)
		write_now(output, data, n_bytes, failure);
	if (now != QUEUED)
		return;
	struct ring *ring = &rings[output];
	pthread_mutex_lock(&mutex);
	bool room = output == place_of(WRITER_LOG) ? tell_dropped(n_bytes) : has_room(ring, n_bytes);
	if (room)
		push(ring, data, n_bytes, failure);
	else
		n_dropped++;
	pthread_mutex_unlock(&mutex);
	if (room)
		wake();
	else
		atomic_fetch_add(&n_dropped_ever, 1);
}

uint64_t writer_dropped(void)
{
	return atomic_load(&n_dropped_ever);
}
