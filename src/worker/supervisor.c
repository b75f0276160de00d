/* The supervisor: a process without threads, model or HTTP library, which keeps the listening socket and starts the worker
 * again when a signal ended it (include/worker/worker.h). While nobody else answers it does so itself (waiting_room.h).
 *
 * The worker tells it things as packets over a socket: what systemd is to be told, which has to come from this process,
 * and TELLS_LISTENING. What a worker that was taken over may write there, and into the shared memory, is looked at as such.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "base/platform.h"
#include "worker/process.h"
#include "worker/supervised.h"
#include "worker/systemd.h"
#include "worker/waiting_room.h"
#include "worker/worker.h"

enum {
	MAX_CRASHES = 5, /* within CRASH_WINDOW_S */
	CRASH_WINDOW_S = 60,
	MAX_UNREADY_CRASHES = 5, /* in a row, of workers that never got ready */
	FIRST_PAUSE_MS = 100,    /* before the second restart in the window; doubled for each more */
	MAX_PAUSE_MS = 5000,     /* between workers that cannot start */
	PARENT_LOOK_MS = 1000,
	TOLD_BYTES = 256,
	OPEN_FILES = WAITING_ROOM_SEATS + 32,
	EXIT_GAVE_UP = 70,
};

struct supervisor {
	const struct supervision *options;
	int signal_fd, channel_fd; /* the latter -1 where no worker runs */
	struct parent parent;
	struct waiting_room room;
	pid_t worker; /* 0: none */
	bool listening, was_ready, stopping;
	bool ever_ready; /* what it was started with is good, or was */
	int64_t started_ns, restart_ns;
	int64_t crashes_ns[MAX_CRASHES]; /* the last ones, the newest first; 0: none */
	int n_unready;                   /* crashes in a row before ready */
	int n_failed;                    /* workers in a row that could not start */
};

/* ---- words ---- */

/* The supervisor may not wait for who reads: a pipe that is ready has room for a line. */
static bool may_tell(void)
{
	struct pollfd reader = {.fd = STDERR_FILENO, .events = POLLOUT};
	return poll(&reader, 1, 0) == 1 && reader.revents == POLLOUT;
}

static _Noreturn void end(struct supervisor *supervisor, int code)
{
	if (supervisor->options->unix_path)
		unlink(supervisor->options->unix_path);
	_exit(code);
}

static _Noreturn void give_up(struct supervisor *supervisor, int exit_code, const char *words)
{
	char line[300];
	int n = snprintf(line, sizeof line, "tallow: %s\n", words);
	if (log_has_room())
		log_event(LOG_ERROR, "exit", NULL, LOG_INT("exit_code", exit_code), LOG_TEXT("message", words));
	if (may_tell())
		log_raw(STDERR_FILENO, line, (size_t)n, NULL);
	systemd_notify("STOPPING=1");
	end(supervisor, exit_code);
}

/* ---- the worker's side ---- */

/* Whoever ends the supervisor the hard way means the worker, too. */
static bool die_with(pid_t supervisor)
{
	return prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && getppid() == supervisor;
}

static void become_worker(struct supervisor *supervisor, int channel_fd, pid_t parent)
{
	sigset_t child_ended;
	if (!die_with(parent))
		_exit(EXIT_GAVE_UP);
	/* A terminal's Ctrl-C comes to a whole group: here by the supervisor alone, once. */
	(void)setpgid(0, 0);
	waiting_room_clear(&supervisor->room);
	close(supervisor->signal_fd);
	parent_close(&supervisor->parent);
	sigemptyset(&child_ended);
	sigaddset(&child_ended, SIGCHLD);
	sigprocmask(SIG_UNBLOCK, &child_ended, NULL);
	systemd_relay(channel_fd, parent);
}

/* True in the worker. */
static bool start_worker(struct supervisor *supervisor)
{
	int pair[2];
	pid_t self = getpid();
	const int exit_code = error_info(ERROR_MEMORY)->exit_code; /* as of a worker that finds too little */
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0)
		give_up(supervisor, exit_code, "the supervisor has no descriptors for a worker");
	pid_t child = fork();
	if (child == 0) {
		close(pair[0]);
		become_worker(supervisor, pair[1], self);
		return true;
	}
	close(pair[1]);
	if (child < 0)
		give_up(supervisor, exit_code,
		        "the supervisor cannot start a worker: no process (ulimit -u), or no memory, is left");
	supervisor->worker = child;
	supervisor->channel_fd = pair[0];
	supervisor->listening = supervisor->was_ready = false;
	supervisor->started_ns = clock_ns();
	return false;
}

/* ---- its end ---- */

static void note_crash(struct supervisor *supervisor, int64_t now_ns)
{
	memmove(supervisor->crashes_ns + 1, supervisor->crashes_ns, sizeof supervisor->crashes_ns[0] * (MAX_CRASHES - 1));
	supervisor->crashes_ns[0] = now_ns;
	supervisor->n_unready = supervisor->was_ready ? 0 : supervisor->n_unready + 1;
}

static int crashes_in_window(const struct supervisor *supervisor, int64_t now_ns)
{
	int n = 0;
	while (n < MAX_CRASHES && supervisor->crashes_ns[n] &&
	       now_ns - supervisor->crashes_ns[n] < (int64_t)CRASH_WINDOW_S * 1000000000)
		n++;
	return n;
}

/* A signal ended it. */
static void take_crash(struct supervisor *supervisor, int number)
{
	char words[200];
	int64_t now_ns = clock_ns();
	if (supervisor->stopping) {
		snprintf(words, sizeof words, "the worker crashed while it ended: signal %d (%s)", number, strsignal(number));
		give_up(supervisor, EXIT_GAVE_UP, words);
	}
	note_crash(supervisor, now_ns);
	int n_running = running_crashed(supervisor->options->memory->running, now_ns);
	int n = crashes_in_window(supervisor, now_ns);
	if (log_has_room())
		log_event(LOG_ERROR, "worker_crashed", NULL, LOG_INT("pid", supervisor->worker), LOG_INT("signal", number),
		          LOG_TEXT("name", strsignal(number)), LOG_INT("requests", n_running), LOG_INT("crashes", n),
		          LOG_NUMBER("after_seconds", (double)(now_ns - supervisor->started_ns) / 1e9));
	supervisor->worker = 0;
	if (n >= MAX_CRASHES || supervisor->n_unready >= MAX_UNREADY_CRASHES) {
		snprintf(words, sizeof words, "the worker crashed %d times within %d s%s, last by signal %d (%s): giving up", n,
		         CRASH_WINDOW_S,
		         supervisor->n_unready >= MAX_UNREADY_CRASHES ? ", without ever getting ready in between" : "", number,
		         strsignal(number));
		give_up(supervisor, EXIT_GAVE_UP, words);
	}
	supervisor->restart_ns = now_ns + (n > 1 ? ((int64_t)FIRST_PAUSE_MS << (n - 2)) * 1000000 : 0);
	if (systemd_watchdog_ms() > 0)
		systemd_notify("WATCHDOG=1");
}

/* It was to come back, and something that was good when it was started (keys, the model's files) is not so now: whoever
 * mends that is waited for. */
static bool is_to_come_back(const struct supervisor *supervisor)
{
	return supervisor->ever_ready && !supervisor->was_ready && !supervisor->stopping;
}

/* It ended of itself. */
static void take_exit(struct supervisor *supervisor, int code)
{
	if (code == 0 || !is_to_come_back(supervisor))
		end(supervisor, code);
	int64_t pause_ms = FIRST_PAUSE_MS;
	for (int i = 0; i < supervisor->n_failed && pause_ms < MAX_PAUSE_MS; i++)
		pause_ms *= 2;
	pause_ms = pause_ms < MAX_PAUSE_MS ? pause_ms : MAX_PAUSE_MS;
	supervisor->n_failed++;
	if (log_has_room())
		log_event(LOG_ERROR, "worker_not_restarted", NULL, LOG_INT("pid", supervisor->worker),
		          LOG_INT("exit_code", code), LOG_INT("attempts", supervisor->n_failed),
		          LOG_INT("retry_after_ms", pause_ms));
	supervisor->worker = 0;
	supervisor->restart_ns = clock_ns() + pause_ms * 1000000;
	if (systemd_watchdog_ms() > 0)
		systemd_notify("WATCHDOG=1");
}

/* ---- what comes in ---- */

static void pass_on(struct supervisor *supervisor, int number)
{
	if (number == SIGUSR1)
		log_reopen();
	else if (number != SIGHUP)
		supervisor->stopping = true;
	if (supervisor->worker > 0)
		kill(supervisor->worker, number);
	else if (supervisor->stopping)
		end(supervisor, 0);
	else if (number == SIGHUP) /* the keys are said to be good */
		supervisor->restart_ns = clock_ns();
}

void supervised_hear(int channel_fd, struct heard *heard)
{
	static const char *const words[] = {"READY=1", "WATCHDOG=1"};
	char told[TOLD_BYTES + 1];
	ssize_t n = 1;
	for (int i = 0; i < HEARD_AT_ONCE && (n = recv(channel_fd, told, TOLD_BYTES, MSG_DONTWAIT)) > 0; i++) {
		told[n] = 0;
		heard->listening |= strcmp(told, TELLS_LISTENING) == 0;
		heard->ready |= strcmp(told, words[0]) == 0;
		heard->stopping |= strcmp(told, "STOPPING=1") == 0;
		for (size_t j = 0; j < sizeof words / sizeof *words; j++)
			if (strcmp(told, words[j]) == 0)
				systemd_notify(words[j]);
	}
	heard->closed |= n == 0;
}

static void take_told(struct supervisor *supervisor)
{
	struct heard heard = {0};
	supervised_hear(supervisor->channel_fd, &heard);
	supervisor->listening |= heard.listening;
	supervisor->was_ready |= heard.ready;
	supervisor->ever_ready |= heard.ready;
	supervisor->n_failed = heard.ready ? 0 : supervisor->n_failed;
	if (heard.stopping && !is_to_come_back(supervisor)) /* else another one is started */
		systemd_notify("STOPPING=1");
	if (heard.closed) { /* the worker will be waited for */
		close(supervisor->channel_fd);
		supervisor->channel_fd = -1;
	}
}

static void wait_for_worker(struct supervisor *supervisor)
{
	int status, of_worker = 0;
	bool ended = false;
	/* As the first process of a container it has orphans, too: what a worker that crashed had started. */
	for (pid_t child; (child = waitpid(-1, &status, WNOHANG)) > 0;)
		if (child == supervisor->worker) {
			of_worker = status;
			ended = true;
		}
	if (!ended)
		return;
	if (supervisor->channel_fd >= 0) {
		take_told(supervisor);
		if (supervisor->channel_fd >= 0)
			close(supervisor->channel_fd);
		supervisor->channel_fd = -1;
	}
	supervisor->listening = false;
	if (WIFEXITED(of_worker))
		take_exit(supervisor, WEXITSTATUS(of_worker));
	else
		take_crash(supervisor, WTERMSIG(of_worker));
}

static void take_signals(struct supervisor *supervisor)
{
	for (int number; (number = signals_next(supervisor->signal_fd)) != 0;)
		if (number != SIGCHLD)
			pass_on(supervisor, number);
	wait_for_worker(supervisor);
}

static void look_at_parent(struct supervisor *supervisor, bool readable)
{
	if (!supervisor->options->exit_with_parent || !parent_has_ended(&supervisor->parent, readable))
		return;
	parent_close(&supervisor->parent);
	supervisor->parent.pid = 0; /* once */
	pass_on(supervisor, SIGTERM);
}

/* ---- the loop ---- */

static int wait_ms(const struct supervisor *supervisor, int64_t now_ns)
{
	int64_t left_ms = supervisor->options->exit_with_parent && supervisor->parent.fd < 0 && supervisor->parent.pid > 0
	                      ? PARENT_LOOK_MS
	                      : -1;
	int room_ms = waiting_room_due_ms(&supervisor->room, now_ns);
	if (room_ms >= 0 && (left_ms < 0 || room_ms < left_ms))
		left_ms = room_ms;
	if (supervisor->worker == 0) {
		int64_t until_ms = (supervisor->restart_ns - now_ns + 999999) / 1000000;
		until_ms = until_ms < 0 ? 0 : until_ms;
		left_ms = left_ms < 0 || until_ms < left_ms ? until_ms : left_ms;
	}
	return (int)left_ms;
}

static void wait_and_take(struct supervisor *supervisor)
{
	enum { SIGNALS, CHANNEL, PARENT, ROOM };
	struct pollfd fds[ROOM + WAITING_ROOM_FDS] = {
	    [SIGNALS] = {.fd = supervisor->signal_fd, .events = POLLIN},
	    [CHANNEL] = {.fd = supervisor->channel_fd, .events = POLLIN},
	    [PARENT] = {.fd = supervisor->options->exit_with_parent ? supervisor->parent.fd : -1, .events = POLLIN},
	};
	/* Somebody answers: a worker as soon as it listens, else the waiting room. */
	waiting_room_poll(&supervisor->room, supervisor->listening ? -1 : supervisor->options->listen_fd, fds + ROOM);
	/* Empty seats are the last; poll refuses more places than the process may open files. */
	nfds_t n_fds = sizeof fds / sizeof *fds;
	while (fds[n_fds - 1].fd < 0 && n_fds > 1)
		n_fds--;
	if (poll(fds, n_fds, wait_ms(supervisor, clock_ns())) < 0)
		return;
	/* Who came after a worker said that it listens is the worker's. */
	if (supervisor->channel_fd >= 0 && (fds[CHANNEL].revents || fds[ROOM].revents))
		take_told(supervisor);
	if (supervisor->listening)
		fds[ROOM].fd = -1;
	waiting_room_step(&supervisor->room, fds + ROOM, clock_ns());
	if (fds[SIGNALS].revents)
		take_signals(supervisor);
	look_at_parent(supervisor, fds[PARENT].revents != 0);
}

/* Each seat is a connection. Where that is more than the system gives, the worker says how much serving takes. */
static void raise_open_files(void)
{
	struct rlimit limit;
	if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= OPEN_FILES)
		return;
	limit.rlim_cur = limit.rlim_max < OPEN_FILES ? limit.rlim_max : OPEN_FILES;
	(void)setrlimit(RLIMIT_NOFILE, &limit);
}

static bool open_all(struct supervisor *supervisor, struct error *error)
{
	sigset_t taken;
	raise_open_files();
	supervisor->signal_fd = signals_open(error);
	if (supervisor->signal_fd < 0)
		return false;
	sigemptyset(&taken);
	sigaddset(&taken, SIGTERM);
	sigaddset(&taken, SIGINT);
	sigaddset(&taken, SIGHUP);
	sigaddset(&taken, SIGUSR1);
	sigaddset(&taken, SIGCHLD);
	sigprocmask(SIG_BLOCK, &taken, NULL);
	if (signalfd(supervisor->signal_fd, &taken, 0) < 0)
		return error_set(error, ERROR_MEMORY, "cannot open a descriptor for signals: %s", strerror(errno));
	if (supervisor->options->exit_with_parent)
		parent_open(&supervisor->parent);
	systemd_open();
	return true;
}

struct worker_memory *supervisor_memory(struct error *error)
{
	static struct worker_memory memory;
	struct told *told = mmap(NULL, sizeof *told, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (told == MAP_FAILED) {
		error_set(error, ERROR_MEMORY, "no memory to share with the worker");
		return NULL;
	}
	memory = (struct worker_memory){.running = running_create(error), .told = told, .supervisor = getpid()};
	return memory.running ? &memory : NULL;
}

struct running *supervisor_running(struct worker_memory *memory)
{
	return memory->running;
}

bool supervisor_run(const struct supervision *options, struct error *error)
{
	struct supervisor supervisor = {.options = options, .channel_fd = -1, .parent.fd = -1};
	if (!open_all(&supervisor, error))
		return false;
	waiting_room_init(&supervisor.room);
	for (;;) {
		if (supervisor.worker == 0 && clock_ns() >= supervisor.restart_ns && start_worker(&supervisor))
			return true;
		wait_and_take(&supervisor);
	}
}
