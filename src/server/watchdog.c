/* The watchdog thread (watchdog.h). It sleeps without a timeout while there is neither a connection nor a job. */
#include "server/watchdog.h"

#include <errno.h>
#include <malloc.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/platform.h"

enum { TICK_MS = 1000, TRIM_TICKS = 5, STACK_BYTES = 256 << 10 };

void watchdog_wake(struct watchdog *watchdog)
{
	uint64_t one = 1;
	/* Fails only when the counter is full, and then it is readable already. */
	ssize_t written = write(watchdog->wake_fd, &one, sizeof one);
	(void)written;
}

void watchdog_notice(struct watchdog *watchdog)
{
	if (!atomic_exchange(&watchdog->awake, true))
		watchdog_wake(watchdog);
}

static bool has_work(struct watchdog *watchdog)
{
	return connections_count(watchdog->connections) > 0 || jobs_count(watchdog->jobs) > 0;
}

/* How long to sleep. A connection that comes after has_work() looked finds `awake` false and wakes us. */
static int sleep_ms(struct watchdog *watchdog, int64_t next_sweep_ns)
{
	atomic_store(&watchdog->awake, false);
	if (!has_work(watchdog))
		return -1;
	atomic_store(&watchdog->awake, true);
	int64_t left_ms = (next_sweep_ns - clock_ns()) / 1000000 + 1;
	return left_ms > 0 ? (int)left_ms : 0;
}

/* What requests had on the heap lies between what lives longer, and is given back only when that is asked for: now and then,
 * and when there is nothing left to do. A fraction of a millisecond, and pages that are wanted again are zeroed anew. */
static void give_back_memory(void)
{
	malloc_trim(0);
}

static void *watchdog_main(void *context)
{
	struct watchdog *watchdog = context;
	struct pollfd fds[1 + JOBS_MAX_WAITING];
	int64_t next_sweep_ns = 0;
	unsigned n_sweeps = 0;
	platform_name_thread("watchdog");
	while (!atomic_load(&watchdog->stop)) {
		fds[0] = (struct pollfd){.fd = watchdog->wake_fd, .events = POLLIN};
		nfds_t n_fds = 1 + (nfds_t)jobs_poll_list(watchdog->jobs, fds + 1);
		int timeout_ms = sleep_ms(watchdog, next_sweep_ns);
		if (timeout_ms < 0)
			give_back_memory();
		int n_ready = poll(fds, n_fds, timeout_ms);
		uint64_t count;
		if (n_ready > 0 && (fds[0].revents & POLLIN) && read(watchdog->wake_fd, &count, sizeof count) < 0)
			continue;
		jobs_pull(watchdog->jobs);
		int64_t now_ns = clock_ns();
		if (now_ns < next_sweep_ns)
			continue;
		next_sweep_ns = now_ns + TICK_MS * 1000000ll;
		connections_sweep(watchdog->connections, now_ns);
		jobs_sweep(watchdog->jobs, now_ns);
		if (++n_sweeps % TRIM_TICKS == 0)
			give_back_memory();
	}
	return NULL;
}

bool watchdog_start(struct watchdog *watchdog, struct connections *connections, struct jobs *jobs, struct error *error)
{
	watchdog->connections = connections;
	watchdog->jobs = jobs;
	watchdog->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (watchdog->wake_fd < 0)
		return error_set(error, ERROR_MEMORY, "cannot make an event descriptor: %s", strerror(errno));
	pthread_attr_t attributes;
	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, STACK_BYTES);
	int failure = pthread_create(&watchdog->thread, &attributes, watchdog_main, watchdog);
	pthread_attr_destroy(&attributes);
	watchdog->running = failure == 0;
	if (watchdog->running)
		return true;
	close(watchdog->wake_fd);
	return error_set(error, ERROR_MEMORY, "cannot start the server's watchdog thread: %s", strerror(failure));
}

void watchdog_stop(struct watchdog *watchdog)
{
	if (!watchdog->running)
		return;
	atomic_store(&watchdog->stop, true);
	watchdog_wake(watchdog);
	pthread_join(watchdog->thread, NULL);
	close(watchdog->wake_fd);
	watchdog->running = false;
}
