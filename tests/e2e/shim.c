/* A library to be preloaded that makes the system what it may be and seldom is. By SHIM, of several joined by commas:
 *
 *     short     reads and writes of stream sockets and files take a few bytes at a time
 *     eintr     one in three calls that may wait is interrupted
 *     clock     the clock of the day is ten years ahead, then ten years behind, with every look at it
 *     threads=N pthread_create fails from the (N + 1)th on
 *     file=PATH pthread_create fails while there is such a file
 *     alloc=PATH of the allocations to come the one fails whose number the file holds (8 bytes, 0: none), where it is mapped
 *     hang=PATH no step ends while there is such a file, and alarms come after a second; clocks that never go back
 *               go on by two minutes once there is PATH.late, too
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static bool shorten, interrupt, jump;
static int n_threads_left = -1;
static const char *no_threads_file, *hang_file;
static char late_file[PATH_MAX];
static atomic_bool hung;
static atomic_uint n_calls;
static atomic_long *n_to_fault; /* NULL: none fails */

static void map_number(const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	void *mapped = mmap(NULL, sizeof *n_to_fault, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	n_to_fault = mapped != MAP_FAILED ? mapped : NULL;
	close(fd);
}

__attribute__((constructor)) static void read_settings(void)
{
	const char *shim = getenv("SHIM");
	if (!shim)
		return;
	shorten = strstr(shim, "short");
	interrupt = strstr(shim, "eintr");
	jump = strstr(shim, "clock");
	const char *threads = strstr(shim, "threads="), *file = strstr(shim, "file="), *hang = strstr(shim, "hang="),
	           *alloc = strstr(shim, "alloc=");
	if (alloc)
		map_number(alloc + 6);
	if (threads)
		n_threads_left = atoi(threads + 8);
	if (file)
		no_threads_file = file + 5;
	if (hang) {
		hang_file = hang + 5;
		snprintf(late_file, sizeof late_file, "%s.late", hang_file);
	}
}

/* ---- memory ---- */

void *__libc_malloc(size_t n_bytes);
void *__libc_calloc(size_t n, size_t n_bytes);
void *__libc_realloc(void *memory, size_t n_bytes);

static bool has_memory(void)
{
	if (!n_to_fault || atomic_load(n_to_fault) <= 0 || atomic_fetch_sub(n_to_fault, 1) != 1)
		return true;
	errno = ENOMEM;
	return false;
}

void *malloc(size_t n_bytes)
{
	return has_memory() ? __libc_malloc(n_bytes) : NULL;
}

void *calloc(size_t n, size_t n_bytes)
{
	return has_memory() ? __libc_calloc(n, n_bytes) : NULL;
}

void *realloc(void *memory, size_t n_bytes)
{
	return has_memory() ? __libc_realloc(memory, n_bytes) : NULL;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

/* Numbers in no order that a loop could keep step with. */
static unsigned next_number(void)
{
	unsigned number = atomic_fetch_add(&n_calls, 1) * 2654435761u;
	return (number ^ number >> 15) * 2246822519u >> 8;
}

static bool interrupted(void)
{
	if (!interrupt || next_number() % 3 != 0)
		return false;
	errno = EINTR;
	return true;
}

/* Event descriptors that do not block are never waited for, and so not interrupted. */
static bool interrupted_at(int fd)
{
	struct stat info;
	int saved = errno;
	bool waits = interrupt && fstat(fd, &info) == 0 && (info.st_mode & S_IFMT) != 0;
	errno = saved;
	return waits && interrupted();
}

/* Of packets and event descriptors there are no parts. */
static size_t part(int fd, size_t n_bytes, unsigned most)
{
	struct stat info;
	int type = 0, saved = errno;
	socklen_t n_type = sizeof type;
	bool divides =
	    shorten && n_bytes > 1 && fstat(fd, &info) == 0 &&
	    (S_ISREG(info.st_mode) ||
	     (S_ISSOCK(info.st_mode) && getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n_type) == 0 && type == SOCK_STREAM));
	errno = saved;
	size_t n = divides ? 1 + next_number() % most : n_bytes;
	return n < n_bytes ? n : n_bytes;
}

ssize_t read(int fd, void *data, size_t n)
{
	return interrupted_at(fd) ? -1 : REAL(read)(fd, data, part(fd, n, 7));
}

ssize_t __read_chk(int fd, void *data, size_t n, size_t n_room)
{
	(void)n_room;
	return read(fd, data, n);
}

ssize_t recv(int fd, void *data, size_t n, int flags)
{
	return interrupted() ? -1 : REAL(recv)(fd, data, part(fd, n, 7), flags);
}

ssize_t __recv_chk(int fd, void *data, size_t n, size_t n_room, int flags)
{
	(void)n_room;
	return recv(fd, data, n, flags);
}

ssize_t write(int fd, const void *data, size_t n)
{
	return interrupted_at(fd) ? -1 : REAL(write)(fd, data, part(fd, n, 50));
}

ssize_t send(int fd, const void *data, size_t n, int flags)
{
	return interrupted() ? -1 : REAL(send)(fd, data, part(fd, n, 50), flags);
}

/* The first piece alone, and of that a part. */
ssize_t writev(int fd, const struct iovec *pieces, int n)
{
	if (!shorten || n < 1)
		return interrupted() ? -1 : REAL(writev)(fd, pieces, n);
	return pieces[0].iov_len ? write(fd, pieces[0].iov_base, pieces[0].iov_len) : REAL(writev)(fd, pieces, n);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
	const struct iovec *first = message->msg_iov;
	if (interrupted())
		return -1;
	if (!shorten || message->msg_iovlen < 1 || !first->iov_len || part(fd, 100, 1) == 100)
		return REAL(sendmsg)(fd, message, flags);
	return REAL(send)(fd, first->iov_base, part(fd, first->iov_len, 50), flags);
}

int poll(struct pollfd *fds, nfds_t n, int timeout_ms)
{
	return interrupted() ? -1 : REAL(poll)(fds, n, timeout_ms);
}

int __poll_chk(struct pollfd *fds, nfds_t n, int timeout_ms, size_t n_room)
{
	(void)n_room;
	return poll(fds, n, timeout_ms);
}

int accept4(int fd, struct sockaddr *address, socklen_t *n_address, int flags)
{
	return interrupted() ? -1 : REAL(accept4)(fd, address, n_address, flags);
}

static bool is_there(const char *path)
{
	struct stat info;
	int saved = errno;
	bool there = path && stat(path, &info) == 0;
	errno = saved;
	return there;
}

/* Attention of every instruction set calls it. */
float expf(float x)
{
	while (is_there(hang_file)) {
		atomic_store(&hung, true);
		usleep(10000);
	}
	return REAL(expf)(x);
}

unsigned alarm(unsigned seconds)
{
	return REAL(alarm)(hang_file && seconds > 1 ? 1 : seconds);
}

static time_t offset(void)
{
	return !jump ? 0 : (next_number() % 2 ? 1 : -1) * 10 * 365 * 86400;
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
	int failed = REAL(clock_gettime)(clock, now);
	if (!failed && clock == CLOCK_REALTIME)
		now->tv_sec += offset();
	bool goes_on = clock == CLOCK_MONOTONIC || clock == CLOCK_MONOTONIC_COARSE || clock == CLOCK_MONOTONIC_RAW ||
	               clock == CLOCK_BOOTTIME;
	if (!failed && goes_on && atomic_load(&hung) && is_there(late_file))
		now->tv_sec += 120;
	return failed;
}

int gettimeofday(struct timeval *now, void *zone)
{
	int failed = REAL(gettimeofday)(now, zone);
	if (!failed)
		now->tv_sec += offset();
	return failed;
}

time_t time(time_t *out)
{
	time_t now = REAL(time)(NULL) + offset();
	if (out)
		*out = now;
	return now;
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *argument)
{
	if (n_threads_left == 0 || is_there(no_threads_file))
		return EAGAIN;
	if (n_threads_left > 0)
		n_threads_left--;
	return REAL(pthread_create)(thread, attributes, run, argument);
}
