/* The worker: the life of a process that an orchestrator starts, asks things of, and ends.
 *
 *     struct worker *worker = worker_create(&options, &error);    // first: every later thread inherits blocked signals
 *     struct server *server = server_start(...);                  // request_shutdown = worker_request_shutdown
 *     engine_start(engine, &error);
 *     bool ok = worker_run(worker, engine, &service, &error);     // ready, callback, heartbeat, ..., drained
 *     engine_stop(engine); server_stop(server);
 *     worker_destroy(worker);
 *
 * One thread, the caller's, does all of it in one poll loop: signals, the parent's end, HTTP to the orchestrator and timers
 * are descriptors and deadlines. While nothing happens it wakes every few seconds to look at the CPU quota.
 */
#ifndef TALLOW_WORKER_WORKER_H
#define TALLOW_WORKER_WORKER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "engine/engine.h"

struct worker;

/* ---- supervision: --supervise ---- */

/* What outlives a worker that crashes (src/worker/supervised.h). */
struct worker_memory;
struct running; /* base/running.h */

struct supervision {
	int listen_fd;         /* listening; handed on to every worker */
	const char *unix_path; /* to be removed at the end; NULL: none */
	struct worker_memory *memory;
	bool exit_with_parent; /* the supervisor's parent; a worker's is the supervisor, with which it ends */
};

/* NULL: ERROR_MEMORY. */
struct worker_memory *supervisor_memory(struct error *error) MUST_USE;
struct running *supervisor_running(struct worker_memory *memory);
/* Becomes the supervisor, and returns true in each worker that it starts, which then serves as any other: with a
 * process group of its own, and ended by the kernel when the supervisor is. The supervisor does not return: it passes
 * SIGTERM, SIGINT and SIGHUP on, ends with the worker's exit code when that ends of itself, and starts another within a
 * second when a signal ended it. Too many of those, and it ends with 70 and says so; one that cannot start, when
 * another was ready before it, is followed by the next after a pause. While no worker listens it answers 503 itself.
 * Before there is any thread. False: ERROR_MEMORY. */
bool supervisor_run(const struct supervision *options, struct error *error) MUST_USE;

/* ---- the worker ---- */

/* Texts are borrowed until worker_destroy; NULL where nothing was asked for. */
struct worker_options {
	const char *worker_id;
	const char *version;
	const char *callback_url;
	int64_t callback_timeout_ms;
	const char *heartbeat_url;
	const char *hive_url, *queen_url; /* told by POST {url}/v1/worker-heartbeat, from the start to the end */
	int64_t heartbeat_interval_ms;
	int64_t shutdown_delay_ms; /* how long new work is still accepted before a drain; health says that one has begun */
	int64_t shutdown_timeout_ms; /* how long running requests may go on after a drain began */
	const char *const
	    *readable; /* [n_readable] that may be read from worker_create on, with what is beneath; for that alone */
	size_t n_readable;
	const char *log_file;    /* that is opened again on SIGUSR1; NULL: none */
	const char *socket_path; /* of the Unix socket that the server makes and removes; NULL: none */
	bool no_sandbox;
	bool binds_low_port; /* the port is below 1024 */
	bool exit_with_parent;
	bool follow_quota;            /* tell the engine when affinity or the CPU quota give more or fewer threads */
	struct worker_memory *memory; /* of its supervisor; NULL: it has none */
	bool logs_are_json;           /* and so is the report of a crash */
	bool show_bar;                /* loading is shown as a bar on standard error instead of log lines */
};

/* What the worker tells others about the server, and what it asks of it. */
struct worker_service {
	const char *uri; /* "http://127.0.0.1:8080", "unix:/path.sock" */
	int port;        /* 0 for a Unix socket */
	void *context;
	void (*leave)(void *context);       /* a drain is about to begin: connections are not kept */
	void (*drain)(void *context);       /* no new work; the engine is drained by the worker */
	bool (*has_answers)(void *context); /* somebody may yet come for one; a drain waits for that, too */
	bool (*reload_keys)(void *context, struct error *error); /* SIGHUP */
};

/* From the first moment of the process on, until there is a worker: SIGTERM and SIGINT end it with 0, though it waits for who
 * reads what it says, or for a pipe that it is to read; the others that the worker takes are kept for it. */
void worker_hold_signals(void);
/* They do as they do where there is no worker: for who creates one and does not run it. */
void worker_release_signals(void);
/* Blocks the signals that the worker takes and ignores those that would only hurt (SIGPIPE), forks the process that posts, and
 * gives up what is not needed to load and serve (worker/sandbox.h). Before any thread starts.
 * ERROR_USAGE for a URL that is not http or https. */
struct worker *worker_create(const struct worker_options *options, struct error *error) MUST_USE;
/* Connections are accepted from now on: for the supervisor, if there is one. */
void worker_listens(struct worker *worker);
/* As SIGTERM; from any thread, any number of times. */
void worker_request_shutdown(struct worker *worker);
/* Whether so many threads can be had beside those that there are: all at once are tried. ERROR_MEMORY with the limit. */
bool worker_check_threads(int n_threads, struct error *error) MUST_USE;
/* Runs until the process shall end. True: ended as asked, with what ran finished, or not when time was up or a second
 * signal came; engine_stop then ends the rest. From then on a signal ends the process at once, with exit code 0. False: the
 * model could not be loaded (ERROR_MODEL, ERROR_MEMORY, ...), or ERROR_CALLBACK. */
bool worker_run(struct worker *worker, struct engine *engine, const struct worker_service *service,
                struct error *error) MUST_USE;
/* Ends the process with exit code 70 if it still runs that many seconds from now: a step that hangs in the system (a file
 * server that does not answer, say) keeps engine_stop from returning, and the orchestrator from its port. */
void worker_end_within(unsigned seconds);
void worker_destroy(struct worker *worker); /* NULL is harmless; after the server and the engine have stopped */

/* Appends what hive and queen are told of the worker: `{"id","model_id","device","port","status","implementation","version"}`.
 * `context` is the worker; any thread, from worker_create to worker_destroy. */
void worker_describe(void *context, int port, const struct engine_status *status, struct bytes *out);

/* Appends what the process gave up:
 * `{"on","seccomp","landlock","no_new_privs","no_capabilities","not_dumpable","why_not"?}`. As worker_describe. */
void worker_describe_sandbox(void *context, struct bytes *out);

/* The listening socket that systemd (or any starter that speaks its protocol) handed down, or -1.
 * https://www.freedesktop.org/software/systemd/man/latest/sd_listen_fds.html */
int worker_inherited_socket(void);

/* Appends the name and version of the library that posts. */
void worker_library_version(struct bytes *out);

#endif
