/* Signals and the parent's end (process.h). */
#include "worker/process.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/log.h"
#include "worker/worker.h"

static void fill_taken(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGHUP);
	sigaddset(set, SIGUSR1);
}

static void end_process(int signal_number)
{
	(void)signal_number;
	_exit(0);
}

static void end_by_signals(void)
{
	struct sigaction action = {.sa_handler = end_process};
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
}

void worker_hold_signals(void)
{
	sigset_t kept;
	sigemptyset(&kept);
	sigaddset(&kept, SIGHUP);
	sigaddset(&kept, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &kept, NULL);
	end_by_signals();
}

void worker_release_signals(void)
{
	sigset_t taken;
	signal(SIGTERM, SIG_DFL);
	signal(SIGINT, SIG_DFL);
	signal(SIGUSR1, SIG_IGN); /* nothing to reopen for */
	fill_taken(&taken);
	pthread_sigmask(SIG_UNBLOCK, &taken, NULL);
}

int signals_open(struct error *error)
{
	sigset_t taken;
	fill_taken(&taken);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGUSR2, SIG_IGN);
	pthread_sigmask(SIG_BLOCK, &taken, NULL);
	int fd = signalfd(-1, &taken, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0)
		error_set(error, ERROR_MEMORY, "cannot open a descriptor for signals: %s", strerror(errno));
	return fd;
}

int signals_next(int fd)
{
	struct signalfd_siginfo info;
	return read(fd, &info, sizeof info) == sizeof info ? (int)info.ssi_signo : 0;
}

void signals_end_at_once(void)
{
	sigset_t taken;
	fill_taken(&taken);
	end_by_signals();
	signal(SIGHUP, SIG_IGN);
	signal(SIGUSR1, SIG_IGN);
	pthread_sigmask(SIG_UNBLOCK, &taken, NULL);
}

static void give_up(int signal_number)
{
	(void)signal_number;
	static const char line[] = "tallow: a step does not end; the process ends without it\n";
	struct pollfd reader = {.fd = STDERR_FILENO, .events = POLLOUT};
	/* Not where that would wait for a reader. */
	if (poll(&reader, 1, 0) == 1 && reader.revents == POLLOUT && write(STDERR_FILENO, line, sizeof line - 1) < 0)
		_exit(70);
	_exit(70);
}

void worker_end_within(unsigned seconds)
{
	struct sigaction action = {.sa_handler = give_up};
	sigaction(SIGALRM, &action, NULL);
	alarm(seconds);
}

/* ---- threads ---- */

enum { TRIED_STACK_BYTES = 256 << 10 }; /* as a connection's */

static void *wait_for_gate(void *gate)
{
	pthread_mutex_lock(gate);
	pthread_mutex_unlock(gate);
	return NULL;
}

/* How many of n threads there can be at once. */
static int count_startable(int n, pthread_t *threads)
{
	pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
	pthread_attr_t attributes;
	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, TRIED_STACK_BYTES);
	int n_started = 0;
	pthread_mutex_lock(&gate);
	while (n_started < n && pthread_create(&threads[n_started], &attributes, wait_for_gate, &gate) == 0)
		n_started++;
	pthread_mutex_unlock(&gate);
	for (int i = 0; i < n_started; i++)
		pthread_join(threads[i], NULL);
	pthread_attr_destroy(&attributes);
	return n_started;
}

bool worker_check_threads(int n_threads, struct error *error)
{
	struct rlimit limit = {0};
	pthread_t *threads = calloc((size_t)n_threads, sizeof *threads);
	if (!threads)
		return error_set(error, ERROR_MEMORY, "no memory for the worker");
	int n_started = count_startable(n_threads, threads);
	free(threads);
	if (n_started == n_threads)
		return true;
	(void)getrlimit(RLIMIT_NPROC, &limit);
	return error_set(
	    error, ERROR_MEMORY,
	    "the system gives %d of the %d threads that serving takes at least (RLIMIT_NPROC, ulimit -u: %lld; "
	    "or pids.max of the cgroup)",
	    n_started, n_threads, limit.rlim_cur == RLIM_INFINITY ? -1 : (long long)limit.rlim_cur);
}

/* ---- the parent ---- */

void parent_open(struct parent *parent)
{
	*parent = (struct parent){.pid = getppid(), .fd = -1};
	if (parent->pid <= 0) {
		/* The parent lives in another PID namespace: nothing here can see its end. */
		log_message(LOG_WARN, "parent_unseen", "--exit-with-parent cannot see the parent process from this namespace");
		return;
	}
	parent->fd = pidfd_open(parent->pid, 0);
}

bool parent_has_ended(const struct parent *parent, bool readable)
{
	/* Comparing too finds a parent that ended before pidfd_open, whose number may be another's by now. */
	return readable || (parent->pid > 0 && getppid() != parent->pid);
}

void parent_close(struct parent *parent)
{
	if (parent->fd >= 0)
		close(parent->fd);
	parent->fd = -1;
}
