/* The worker's loop (include/worker/worker.h): one thread, one poll, a few phases.
 *
 *     LOADING -> SERVING -> (LEAVING, with a shutdown delay) -> DRAINING -> return
 *
 * Each turn first does what is due by the clock, then waits for a descriptor or for the next thing that is due.
 */
#include "worker/worker.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/log.h"
#include "base/platform.h"
#include "worker/callback.h"
#include "worker/crash.h"
#include "worker/heartbeat.h"
#include "worker/load_view.h"
#include "worker/messages.h"
#include "worker/post.h"
#include "worker/process.h"
#include "worker/sandbox.h"
#include "worker/supervised.h"
#include "worker/systemd.h"

enum {
	LOAD_POLL_MS = 10, /* loading keeps the machine busy anyway */
	DRAIN_POLL_MS = 10,
	LOOK_INTERVAL_MS = 3000,
	PARENT_INTERVAL_MS = 1000, /* only where there is no pidfd */
	FAREWELL_MS = 500,         /* for hive and queen to hear that the worker ends */
};

enum phase { LOADING, SERVING, LEAVING, DRAINING };

/* Whom heartbeats go to: --heartbeat-url in our form once there is a model, hive and queen in theirs from start to end. */
enum { OURS, HIVE, QUEEN, N_HEARTBEATS };

struct worker {
	struct worker_options options;
	int signal_fd;
	int shutdown_fd; /* eventfd: POST /shutdown */
	struct parent parent;
	struct sandbox sandbox;
	struct poster *poster; /* NULL when there is no URL to tell anything */

	struct engine *engine;
	const struct worker_service *service;
	enum phase phase;
	bool done;
	bool forced; /* nobody waits any more */
	struct load_view view;
	struct callback callback;
	struct heartbeat heartbeats[N_HEARTBEATS];
	char *registry_urls[N_HEARTBEATS]; /* of hive and queen, with their path */
	int64_t leave_until_ns;
	int64_t drain_deadline_ns;
	int64_t look_due_ns;
	int threads; /* last told to the engine */
	int64_t watchdog_ms, watchdog_due_ns;
	int64_t parent_due_ns;
};

static int64_t in_ms(int64_t now_ns, int64_t ms)
{
	return now_ns + ms * 1000000;
}

/* ---- life ---- */

static bool open_descriptors(struct worker *worker, struct error *error)
{
	worker->signal_fd = signals_open(error);
	if (worker->signal_fd < 0)
		return false;
	worker->shutdown_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (worker->shutdown_fd < 0)
		return error_set(error, ERROR_MEMORY, "cannot open an event descriptor: %s", strerror(errno));
	if (worker->options.exit_with_parent)
		parent_open(&worker->parent);
	return true;
}

/* "{url}/v1/worker-heartbeat", whether or not the URL ends with a slash. */
static bool take_registry(struct worker *worker, int which, const char *url, struct error *error)
{
	if (!url)
		return true;
	size_t n_bytes = strlen(url);
	while (n_bytes > 0 && url[n_bytes - 1] == '/')
		n_bytes--;
	if (asprintf(&worker->registry_urls[which], "%.*s/v1/worker-heartbeat", (int)n_bytes, url) >= 0)
		return true;
	worker->registry_urls[which] = NULL;
	return error_set(error, ERROR_MEMORY, "no memory for the worker");
}

static bool open_poster(struct worker *worker, struct error *error)
{
	const struct worker_options *options = &worker->options;
	const struct {
		const char *url, *flag;
	} told[] = {{options->callback_url, "--callback-url"},
	            {options->heartbeat_url, "--heartbeat-url"},
	            {options->hive_url, "--hive-url"},
	            {options->queen_url, "--queen-url"}};
	bool any = false;
	for (size_t i = 0; i < sizeof told / sizeof told[0]; i++) {
		any |= told[i].url != NULL;
		if (told[i].url && !post_check_url(told[i].url, told[i].flag, error))
			return false;
	}
	if (!any)
		return true;
	if (!take_registry(worker, HIVE, options->hive_url, error) ||
	    !take_registry(worker, QUEEN, options->queen_url, error))
		return false;
	const char *urls[] = {options->callback_url, options->heartbeat_url, worker->registry_urls[HIVE],
	                      worker->registry_urls[QUEEN]};
	const char *given[sizeof urls / sizeof urls[0]];
	unsigned n_given = 0;
	for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++)
		if (urls[i])
			given[n_given++] = urls[i];
	worker->poster = poster_create(given, n_given, error);
	return worker->poster != NULL;
}

struct worker *worker_create(const struct worker_options *options, struct error *error)
{
	struct worker *worker = calloc(1, sizeof *worker);
	if (!worker) {
		error_set(error, ERROR_MEMORY, "no memory for the worker");
		return NULL;
	}
	worker->options = *options;
	crash_report(options->version, options->logs_are_json);
	worker->signal_fd = worker->shutdown_fd = worker->parent.fd = -1;
	if (open_descriptors(worker, error) && open_poster(worker, error)) {
		systemd_open();
		sandbox_init(&worker->sandbox, !options->no_sandbox, options->log_file, options->socket_path);
		sandbox_narrow_files(&worker->sandbox, options->readable, options->n_readable, options->binds_low_port);
		return worker;
	}
	worker_destroy(worker);
	return NULL;
}

void worker_listens(struct worker *worker)
{
	if (worker->options.memory)
		systemd_notify(TELLS_LISTENING);
}

void worker_request_shutdown(struct worker *worker)
{
	uint64_t one = 1;
	ssize_t written = write(worker->shutdown_fd, &one, sizeof one);
	(void)written; /* fails only when the counter is full, and then it is readable already */
}

void worker_destroy(struct worker *worker)
{
	if (!worker)
		return;
	callback_free(&worker->callback);
	for (int i = 0; i < N_HEARTBEATS; i++) {
		heartbeat_free(&worker->heartbeats[i]);
		free(worker->registry_urls[i]);
	}
	poster_destroy(worker->poster);
	parent_close(&worker->parent);
	if (worker->shutdown_fd >= 0)
		close(worker->shutdown_fd);
	if (worker->signal_fd >= 0)
		close(worker->signal_fd);
	free(worker);
}

/* ---- heartbeats ---- */

/* Has the next ones sent now. */
static void hurry_heartbeats(struct worker *worker, int64_t now_ns)
{
	for (int i = 0; i < N_HEARTBEATS; i++)
		worker->heartbeats[i].next_ns = now_ns;
}

static void send_heartbeat(struct worker *worker, int which, bool stopped, int64_t now_ns)
{
	struct engine_status status;
	struct bytes body = {0};
	engine_status(worker->engine, &status);
	if (which == OURS)
		message_heartbeat(&body, &worker->options, &status);
	else
		message_registration(&body, &worker->options, worker->service->port, &status, stopped);
	heartbeat_send(&worker->heartbeats[which], worker->poster, &body, now_ns);
	bytes_free(&body);
}

static void step_heartbeats(struct worker *worker, int64_t now_ns)
{
	for (int i = 0; i < N_HEARTBEATS; i++)
		if (heartbeat_step(&worker->heartbeats[i], now_ns))
			send_heartbeat(worker, i, false, now_ns);
}

/* Tells hive and queen that the worker has stopped, and waits a moment for them to hear it, and to hear first what is on its
 * way. */
static void say_farewell(struct worker *worker)
{
	int64_t now_ns = clock_ns(), give_up_ns = in_ms(now_ns, FAREWELL_MS);
	bool told[N_HEARTBEATS] = {[OURS] = true};
	for (bool waiting = true; waiting && now_ns < give_up_ns; now_ns = clock_ns()) {
		waiting = false;
		for (int i = HIVE; i < N_HEARTBEATS; i++) {
			struct heartbeat *heartbeat = &worker->heartbeats[i];
			(void)heartbeat_step(heartbeat, now_ns);
			if (heartbeat->url && !heartbeat->post && !told[i]) {
				send_heartbeat(worker, i, true, now_ns);
				told[i] = true;
			}
			waiting |= heartbeat->post != NULL;
		}
		if (waiting)
			poster_wait(worker->poster, NULL, 0, (int)((give_up_ns - now_ns) / 1000000));
	}
}

void worker_describe(void *context, int port, const struct engine_status *status, struct bytes *out)
{
	const struct worker *worker = context;
	message_worker(out, &worker->options, port, status, false);
}

void worker_describe_sandbox(void *context, struct bytes *out)
{
	const struct worker *worker = context;
	sandbox_describe(&worker->sandbox, out);
}

/* ---- drain ---- */

static void drain(struct worker *worker, const char *reason, int64_t now_ns)
{
	worker->phase = DRAINING;
	worker->drain_deadline_ns = in_ms(now_ns, worker->options.shutdown_timeout_ms);
	worker->service->drain(worker->service->context);
	engine_drain(worker->engine);
	load_view_end(&worker->view);
	systemd_notify("STOPPING=1");
	log_event(LOG_INFO, "draining", NULL, LOG_TEXT("reason", reason),
	          LOG_INT("timeout_ms", worker->options.shutdown_timeout_ms));
	hurry_heartbeats(worker, now_ns); /* nobody should route to us for another interval */
}

/* Whoever routes to us looks now and then: until they all have, what comes is still served. */
static void leave(struct worker *worker, const char *reason, int64_t now_ns)
{
	worker->phase = LEAVING;
	worker->leave_until_ns = in_ms(now_ns, worker->options.shutdown_delay_ms);
	engine_leave(worker->engine);
	worker->service->leave(worker->service->context);
	systemd_notify("STOPPING=1");
	log_event(LOG_INFO, "leaving", NULL, LOG_TEXT("reason", reason),
	          LOG_INT("delay_ms", worker->options.shutdown_delay_ms));
	hurry_heartbeats(worker, now_ns);
}

static void begin_drain(struct worker *worker, const char *reason, int64_t now_ns)
{
	if (worker->phase == DRAINING || worker->phase == LEAVING) {
		log_event(LOG_WARN, "shutdown_forced", NULL, LOG_TEXT("reason", reason));
		worker->done = worker->forced = true;
	} else if (worker->phase == SERVING && worker->options.shutdown_delay_ms > 0) {
		leave(worker, reason, now_ns);
	} else {
		drain(worker, reason, now_ns);
	}
}

static void check_drain(struct worker *worker, int64_t now_ns)
{
	if (engine_idle(worker->engine) && !worker->service->has_answers(worker->service->context)) {
		worker->done = true;
	} else if (now_ns >= worker->drain_deadline_ns) {
		log_event(LOG_WARN, "shutdown_timeout", NULL, LOG_INT("timeout_ms", worker->options.shutdown_timeout_ms));
		worker->done = true;
	}
}

/* ---- ready ---- */

static bool write_ready_line(struct worker *worker, const struct engine_status *status, struct error *error)
{
	struct worker_memory *memory = worker->options.memory;
	struct bytes line = {0};
	if (memory && atomic_exchange(&memory->told->ready_line, true))
		return true; /* one line, whoever writes it */
	message_ready_line(&line, &worker->options, worker->service, status);
	if (line.failed)
		return error_set(error, ERROR_MEMORY, "no memory for the ready line");
	/* Nobody listening there is no reason to stop or to wait: the callback and /health say the same. */
	log_raw(STDOUT_FILENO, line.data, line.n_bytes, "ready_line_unread");
	bytes_free(&line);
	return true;
}

static bool become_ready(struct worker *worker, const struct engine_status *status, int64_t now_ns, struct error *error)
{
	load_view_update(&worker->view, status, now_ns);
	load_view_end(&worker->view);
	sandbox_close(&worker->sandbox);
	if (worker->sandbox.why_not[0])
		log_message(worker->sandbox.wanted ? LOG_WARN : LOG_INFO, "sandbox", "less than the whole sandbox: %s",
		            worker->sandbox.why_not);
	worker->phase = SERVING;
	worker->threads = status->threads;
	worker->look_due_ns = in_ms(now_ns, LOOK_INTERVAL_MS);
	log_event(LOG_INFO, "ready", NULL, LOG_TEXT("model", status->model_name), LOG_TEXT("uri", worker->service->uri),
	          LOG_TEXT("quant_kind", status->quant_kind), LOG_TEXT("isa", status->isa),
	          LOG_INT("threads", status->threads), LOG_INT("context_length", status->context_length),
	          LOG_INT("memory_bytes", status->planned_bytes), LOG_NUMBER("load_seconds", status->load_seconds));
	if (!write_ready_line(worker, status, error))
		return false;
	systemd_notify("READY=1");
	if (worker->options.heartbeat_url)
		heartbeat_begin(&worker->heartbeats[OURS], worker->options.heartbeat_url, worker->options.heartbeat_interval_ms,
		                now_ns);
	hurry_heartbeats(worker, now_ns);
	if (!worker->options.callback_url || (worker->options.memory && worker->options.memory->told->callback_accepted))
		return true;
	struct bytes body = {0};
	message_callback(&body, &worker->options, worker->service, status);
	if (body.failed)
		return error_set(error, ERROR_MEMORY, "no memory for the callback");
	callback_begin(&worker->callback, worker->options.callback_url, body, worker->options.callback_timeout_ms, now_ns);
	return true;
}

static bool check_load(struct worker *worker, int64_t now_ns, struct error *error)
{
	struct engine_status status;
	engine_status(worker->engine, &status);
	if (status.state == ENGINE_FAILED) {
		load_view_end(&worker->view);
		*error = status.error;
		return false;
	}
	if (status.state == ENGINE_READY)
		return become_ready(worker, &status, now_ns, error);
	load_view_update(&worker->view, &status, now_ns);
	return true;
}

/* ---- while serving ---- */

static bool step_callback(struct worker *worker, int64_t now_ns, struct error *error)
{
	callback_step(&worker->callback, worker->poster, now_ns);
	if (worker->options.memory && worker->callback.state == CALLBACK_ACCEPTED)
		worker->options.memory->told->callback_accepted = true;
	if (worker->callback.state != CALLBACK_FAILED)
		return true;
	return error_set(error, ERROR_CALLBACK,
	                 "the callback %.200s was not accepted within %lld ms (%d attempts, last: %s)",
	                 post_url_shown(worker->callback.url), (long long)worker->options.callback_timeout_ms,
	                 worker->callback.attempts, worker->callback.failure);
}

/* What changes around the process without a word: the model's files, the CPU quota. */
static void step_look(struct worker *worker, int64_t now_ns)
{
	if (worker->phase != SERVING || now_ns < worker->look_due_ns)
		return;
	engine_check_files(worker->engine);
	worker->look_due_ns = in_ms(now_ns, LOOK_INTERVAL_MS);
	int threads = worker->options.follow_quota ? platform_usable_threads(&platform_default_roots) : worker->threads;
	if (threads != worker->threads)
		engine_set_threads(worker->engine, threads);
	worker->threads = threads;
}

/* A stalled engine is what systemd's watchdog is for: then it does not hear from us. */
static void step_watchdog(struct worker *worker, int64_t now_ns)
{
	if (worker->watchdog_ms == 0 || now_ns < worker->watchdog_due_ns)
		return;
	struct engine_status status;
	engine_status(worker->engine, &status);
	if (!status.stalled)
		systemd_notify("WATCHDOG=1");
	worker->watchdog_due_ns = in_ms(now_ns, worker->watchdog_ms);
}

static bool watches_parent_by_clock(const struct worker *worker)
{
	return worker->options.exit_with_parent && worker->parent.fd < 0 && worker->parent.pid > 0;
}

static void step_parent(struct worker *worker, bool readable, int64_t now_ns)
{
	bool look = readable || (watches_parent_by_clock(worker) && now_ns >= worker->parent_due_ns);
	if (!look)
		return;
	worker->parent_due_ns = in_ms(now_ns, PARENT_INTERVAL_MS);
	if (!parent_has_ended(&worker->parent, readable))
		return;
	parent_close(&worker->parent); /* it would stay readable for ever */
	worker->options.exit_with_parent = false;
	if (worker->phase != DRAINING) /* nobody is left who would route to us */
		drain(worker, "parent ended", now_ns);
}

/* What is due by the clock. */
static bool step(struct worker *worker, int64_t now_ns, struct error *error)
{
	if (worker->phase == LOADING && !check_load(worker, now_ns, error))
		return false;
	if (worker->phase == SERVING && !step_callback(worker, now_ns, error))
		return false;
	step_heartbeats(worker, now_ns);
	step_look(worker, now_ns);
	step_watchdog(worker, now_ns);
	step_parent(worker, false, now_ns);
	if (worker->phase == LEAVING && now_ns >= worker->leave_until_ns)
		drain(worker, "shutdown delay over", now_ns);
	if (worker->phase == DRAINING)
		check_drain(worker, now_ns);
	return true;
}

/* ---- waiting ---- */

static int64_t earlier(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static int wait_ms(const struct worker *worker, int64_t now_ns)
{
	int64_t due_ns = INT64_MAX;
	if (worker->phase == LOADING)
		due_ns = in_ms(now_ns, LOAD_POLL_MS);
	if (worker->phase == DRAINING)
		due_ns = in_ms(now_ns, DRAIN_POLL_MS);
	if (worker->phase == LEAVING)
		due_ns = worker->leave_until_ns;
	if (worker->phase == SERVING) {
		due_ns = callback_due_ns(&worker->callback);
		due_ns = earlier(due_ns, worker->look_due_ns);
	}
	for (int i = 0; i < N_HEARTBEATS; i++)
		due_ns = earlier(due_ns, heartbeat_due_ns(&worker->heartbeats[i]));
	if (worker->watchdog_ms > 0)
		due_ns = earlier(due_ns, worker->watchdog_due_ns);
	if (watches_parent_by_clock(worker))
		due_ns = earlier(due_ns, worker->parent_due_ns);
	int64_t left_ms = due_ns == INT64_MAX ? INT_MAX : (due_ns - now_ns + 999999) / 1000000;
	return left_ms < 0 ? 0 : left_ms > INT_MAX ? INT_MAX : (int)left_ms;
}

static void take_signals(struct worker *worker, int64_t now_ns)
{
	struct error error = {0};
	for (int number; (number = signals_next(worker->signal_fd)) != 0;) {
		if (number == SIGUSR1)
			log_reopen();
		else if (number != SIGHUP)
			begin_drain(worker, number == SIGTERM ? "SIGTERM" : "SIGINT", now_ns);
		else if (!worker->service->reload_keys(worker->service->context, &error))
			log_message(LOG_ERROR, "keys_not_reloaded", "%s", error.message);
	}
}

static void take_shutdown(struct worker *worker, int64_t now_ns)
{
	uint64_t count;
	if (read(worker->shutdown_fd, &count, sizeof count) == sizeof count && worker->phase < LEAVING)
		begin_drain(worker, "POST /shutdown", now_ns);
}

static void wait_and_take(struct worker *worker, int timeout_ms)
{
	enum { SIGNALS, SHUTDOWN, PARENT, N_FDS };
	struct pollfd fds[N_FDS] = {
	    [SIGNALS] = {.fd = worker->signal_fd, .events = POLLIN},
	    [SHUTDOWN] = {.fd = worker->shutdown_fd, .events = POLLIN},
	    [PARENT] = {.fd = worker->parent.fd, .events = POLLIN},
	};
	unsigned n_fds = worker->parent.fd >= 0 ? N_FDS : N_FDS - 1;
	if (worker->poster)
		poster_wait(worker->poster, fds, n_fds, timeout_ms);
	else if (poll(fds, n_fds, timeout_ms) < 0)
		return;
	int64_t now_ns = clock_ns();
	if (fds[SIGNALS].revents)
		take_signals(worker, now_ns);
	if (fds[SHUTDOWN].revents)
		take_shutdown(worker, now_ns);
	if (n_fds == N_FDS && fds[PARENT].revents)
		step_parent(worker, true, now_ns);
}

static bool loop(struct worker *worker, struct error *error)
{
	for (;;) {
		int64_t now_ns = clock_ns();
		if (!step(worker, now_ns, error))
			return false;
		if (worker->done)
			return true;
		wait_and_take(worker, wait_ms(worker, now_ns));
	}
}

bool worker_run(struct worker *worker, struct engine *engine, const struct worker_service *service, struct error *error)
{
	worker->engine = engine;
	worker->service = service;
	worker->phase = LOADING;
	worker->watchdog_ms = systemd_watchdog_ms();
	load_view_begin(&worker->view, worker->options.show_bar);
	for (int i = HIVE; i < N_HEARTBEATS; i++)
		if (worker->registry_urls[i])
			heartbeat_begin(&worker->heartbeats[i], worker->registry_urls[i], worker->options.heartbeat_interval_ms,
			                clock_ns());
	bool ok = loop(worker, error);
	if (!worker->forced)
		say_farewell(worker);
	if (!ok)
		systemd_notify("STOPPING=1");
	signals_end_at_once();
	return ok;
}
