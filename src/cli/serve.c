/* `tallow serve`: engine, server and worker wired together. The order is the point: the process that posts is forked
 * while there is one thread, the log gets its own before anybody can wait for a reader, signals are blocked before any thread
 * starts, the server listens before the model is loaded, and the engine ends streams before the server stops.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <malloc.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/platform.h"
#include "cli/commands.h"
#include "cli/keys.h"
#include "cli/setup.h"
#include "cli/version.h"
#include "engine/engine.h"
#include "server/server.h"
#include "worker/worker.h"

enum {
	MAX_STOP_S = 20,    /* a step ends at its next matrix: milliseconds, a few seconds with the largest ones */
	LEAST_THREADS = 16, /* beside those that compute: of the server, the engine, the log and a few connections */
	LARGE_BLOCK_BYTES = 128 << 10,
};

/* ---- what the worker asks of the server ---- */

struct serving {
	const struct options *options;
	struct server *server;
	char worker_id[64];
	char uri[300];
	int listen_fd;
	bool handed_down;             /* by who started the process, and so bound to what that chose */
	struct worker_memory *memory; /* with --supervise */
	struct keys of_environment;   /* none or one */
};

static void leave_server(void *context)
{
	struct serving *serving = context;
	server_leave(serving->server);
}

static void drain_server(void *context)
{
	struct serving *serving = context;
	server_drain(serving->server);
}

static bool has_answers(void *context)
{
	struct serving *serving = context;
	return server_has_answers(serving->server);
}

/* The variable's key, after which there is nothing to find of it in the environment, not by /proc/PID/environ either. */
static bool take_environment_key(struct serving *serving, struct error *error)
{
	static const char *const names[] = {"TALLOW_API_KEY", "LLORCH_API_TOKEN"};
	const char *key = serving->options->api_key;
	bool ok = !key || keys_add(&serving->of_environment, key, "default", error);
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		char *value = getenv(names[i]);
		if (value)
			explicit_bzero(value, strlen(value));
		unsetenv(names[i]);
	}
	return ok;
}

/* All keys that are in force. Caller frees; NULL with *error. */
static struct keys *load_keys(const struct serving *serving, struct error *error)
{
	const struct options *options = serving->options;
	struct keys *keys = malloc(sizeof *keys);
	if (!keys) {
		error_set(error, ERROR_MEMORY, "no memory for the API keys");
		return NULL;
	}
	*keys = serving->of_environment;
	if (!options->api_key_file || keys_read(keys, options->api_key_file, options->shared_key_file, error))
		return keys;
	free(keys);
	return NULL;
}

static bool reload_keys(void *context, struct error *error)
{
	struct serving *serving = context;
	if (!serving->options->api_key_file)
		return error_set(error, ERROR_USAGE, "there is no --api-key-file to reread");
	struct keys *keys = load_keys(serving, error);
	bool ok = keys && server_set_keys(serving->server, keys->list, keys->n, error);
	if (ok)
		log_event(LOG_INFO, "keys_reloaded", NULL, LOG_INT("keys", keys->n));
	free(keys);
	return ok;
}

static void shutdown_worker(void *context)
{
	worker_request_shutdown(context);
}

/* ---- the address that others are told ---- */

/* The numeric host that an inherited socket is bound to. */
static bool inherited_host(int fd, char *host, size_t capacity)
{
	struct sockaddr_storage address = {0};
	socklen_t n_bytes = sizeof address;
	if (getsockname(fd, (struct sockaddr *)&address, &n_bytes) != 0)
		return false;
	const void *number = address.ss_family == AF_INET ? (const void *)&((struct sockaddr_in *)&address)->sin_addr
	                                                  : &((struct sockaddr_in6 *)&address)->sin6_addr;
	return (address.ss_family == AF_INET || address.ss_family == AF_INET6) &&
	       inet_ntop(address.ss_family, number, host, (socklen_t)capacity) != NULL;
}

static bool is_specific(const char *host)
{
	return strcmp(host, "0.0.0.0") != 0 && strcmp(host, "::") != 0 && strcmp(host, "[::]") != 0 && *host != '\0';
}

static void describe_address(struct serving *serving)
{
	const struct options *options = serving->options;
	char bound[INET6_ADDRSTRLEN] = "";
	const char *host = options->host;
	if (strncmp(host, "unix:", 5) == 0 && !serving->handed_down) {
		snprintf(serving->uri, sizeof serving->uri, "%s", host);
		return;
	}
	if (serving->handed_down && inherited_host(serving->listen_fd, bound, sizeof bound))
		host = bound;
	if (options->advertise_host)
		host = options->advertise_host;
	else if (!is_specific(host))
		host = "127.0.0.1";
	bool bare_v6 = strchr(host, ':') && host[0] != '[';
	snprintf(serving->uri, sizeof serving->uri, "http://%s%s%s:%d", bare_v6 ? "[" : "", host, bare_v6 ? "]" : "",
	         server_port(serving->server));
}

/* ---- start and end ---- */

/* A file that was named and is not there is a mistake of the command line; one that does not compile leaves a worker that
 * completes prompts. */
static bool check_template_file(const char *path, struct error *error)
{
	struct stat info;
	if (!path)
		return true;
	if (stat(path, &info) != 0 || access(path, R_OK) != 0)
		return error_set(error, ERROR_USAGE, "cannot read --chat-template %.200s: %s", path, strerror(errno));
	return S_ISREG(info.st_mode) || error_set(error, ERROR_USAGE, "--chat-template %.200s is not a regular file", path);
}

static struct engine *create_engine(const struct options *options, struct error *error)
{
	struct model_options model_options;
	struct engine_options engine_options = {
	    .model = &model_options,
	    .name = options->name || !options->model ? options->name : options->model_ref,
	    .chats = true,
	    .chat_template = options->chat_template,
	    .pooling = (enum pooling)options->pooling,
	    .max_queue = (int)options->max_queue,
	    .max_queued_tokens = options->max_queued_tokens,
	    .max_tokens = options->max_tokens,
	    .max_gap_ms = (int)options->max_gap_ms,
	    .no_generation_defaults = options->no_generation_defaults,
	};
	if (!setup_model_options(options, &model_options, error) || !check_template_file(options->chat_template, error))
		return NULL;
	return engine_create(&engine_options, error);
}

/* ---- what may be read while serving ---- */

enum { MAX_READABLE = 12 };

struct readable {
	const char *paths[MAX_READABLE];
	size_t n;
	char folders[4][PATH_MAX];
};

/* A path that is a folder, or that of a file: files beside it belong to it, and it may be replaced. */
static void add_folder(struct readable *readable, int which, const char *path)
{
	struct stat info;
	if (!path)
		return;
	char *folder = readable->folders[which];
	snprintf(folder, PATH_MAX, "%s", path);
	if (stat(path, &info) != 0 || !S_ISDIR(info.st_mode)) {
		char *slash = strrchr(folder, '/');
		if (slash)
			*(slash == folder ? slash + 1 : slash) = 0;
		else
			strcpy(folder, ".");
	}
	readable->paths[readable->n++] = folder;
}

static void list_readable(const struct options *options, struct readable *readable)
{
	/* Where a name has to be looked up: what the C library may want to read for it. */
	static const char *const for_names[] = {"/etc", "/usr", "/lib", "/lib64", "/run", "/nix", "/gnu"};
	struct in_addr address;
	/* A colon: a Unix socket, or the sixth version's. */
	bool numeric = strchr(options->host, ':') || inet_pton(AF_INET, options->host, &address) == 1;
	readable->n = 0;
	add_folder(readable, 0, options->model ? options->model : options->model_ref);
	add_folder(readable, 1, options->chat_template);
	add_folder(readable, 2, options->api_key_file);
	if (options->model_sha256 && access(options->model_sha256, F_OK) == 0)
		add_folder(readable, 3, options->model_sha256);
	for (size_t i = 0; !numeric && i < sizeof for_names / sizeof for_names[0]; i++)
		readable->paths[readable->n++] = for_names[i];
	tzset(); /* templates may ask for the time; its zone is a file */
}

/* Of the Unix socket that this process makes; NULL: none. */
static const char *own_socket(const struct serving *serving)
{
	static const char scheme[] = "unix:";
	const char *host = serving->options->host;
	bool is_unix = strncmp(host, scheme, sizeof scheme - 1) == 0;
	return is_unix && !serving->handed_down ? host + sizeof scheme - 1 : NULL;
}

static struct worker *create_worker(struct serving *serving, struct error *error)
{
	const struct options *options = serving->options;
	struct readable readable;
	list_readable(options, &readable);
	struct worker_options worker_options = {
	    .worker_id = options->worker_id ? options->worker_id : serving->worker_id,
	    .version = TALLOW_VERSION,
	    .callback_url = options->callback_url,
	    .callback_timeout_ms = options->callback_timeout_ms,
	    .heartbeat_url = options->heartbeat_url,
	    .hive_url = options->hive_url,
	    .queen_url = options->queen_url,
	    .heartbeat_interval_ms = options->heartbeat_interval_ms,
	    .shutdown_delay_ms = options->shutdown_delay_ms,
	    .shutdown_timeout_ms = options->shutdown_timeout_ms,
	    .readable = readable.paths,
	    .n_readable = readable.n,
	    .log_file = options->log_file,
	    .socket_path = own_socket(serving),
	    .no_sandbox = options->no_sandbox,
	    .binds_low_port = options->port > 0 && options->port < 1024,
	    .exit_with_parent = options->exit_with_parent && !serving->memory,
	    .memory = serving->memory,
	    .logs_are_json = setup_logs_are_json(options),
	    .follow_quota = options->threads == 0,
	    .show_bar = isatty(STDERR_FILENO) && !setup_logs_are_json(options) && log_enabled(LOG_INFO),
	};
	return worker_create(&worker_options, error);
}

static bool start_server(struct serving *serving, struct engine *engine, struct worker *worker, struct error *error)
{
	const struct options *options = serving->options;
	struct keys *keys = load_keys(serving, error);
	if (keys) {
		struct server_options server_options = {
		    .host = options->host,
		    .port = (int)options->port,
		    .listen_fd = serving->listen_fd,
		    .worker_id = options->worker_id ? options->worker_id : serving->worker_id,
		    .version = TALLOW_VERSION,
		    .api_keys = keys->list,
		    .n_api_keys = keys->n,
		    .insecure = options->insecure,
		    .cors_origin = options->cors_origin,
		    .allowed_hosts = options->allowed_hosts.paths,
		    .n_allowed_hosts = options->allowed_hosts.n,
		    .no_page = options->no_page,
		    .strict_model = options->strict_model,
		    .vllm_names = options->metrics_vllm_names,
		    .tool_format = options->tool_format,
		    .reasoning = (enum reasoning_output)options->reasoning_format,
		    .share_cache = options->share_cache,
		    .max_body_bytes = options->max_body_bytes,
		    .max_connections = (int)options->max_connections,
		    .running = serving->memory ? supervisor_running(serving->memory) : NULL,
		    .request_shutdown = shutdown_worker,
		    .shutdown_context = worker,
		    .describe_worker = worker_describe,
		    .describe_sandbox = worker_describe_sandbox,
		    .describe_context = worker,
		};
		serving->server = server_start(&server_options, engine, error);
	}
	free(keys);
	return serving->server != NULL;
}

/* --check: as far as ready, and no further. */
static bool check(struct serving *serving, struct engine *engine, struct worker *worker, struct error *error)
{
	worker_release_signals();
	if (!start_server(serving, engine, worker, error))
		return false;
	describe_address(serving);
	bool ok = engine_start(engine, error) && engine_wait_ready(engine, -1, error);
	if (ok) {
		struct engine_status status;
		engine_status(engine, &status);
		printf("ok: %s would be served at %s\n", status.model_name, serving->uri);
	}
	engine_stop(engine);
	server_stop(serving->server);
	return ok;
}

static bool run(struct serving *serving, struct engine *engine, struct worker *worker, struct error *error)
{
	if (!start_server(serving, engine, worker, error))
		return false;
	describe_address(serving);
	worker_listens(worker);
	log_event(LOG_INFO, "listening", NULL, LOG_TEXT("uri", serving->uri), LOG_INT("pid", getpid()),
	          LOG_TEXT("version", TALLOW_VERSION));
	struct worker_service service = {
	    .uri = serving->uri,
	    .port = server_port(serving->server),
	    .context = serving,
	    .leave = leave_server,
	    .drain = drain_server,
	    .has_answers = has_answers,
	    .reload_keys = reload_keys,
	};
	bool ok = engine_start(engine, error) && worker_run(worker, engine, &service, error);
	worker_end_within(MAX_STOP_S);
	engine_stop(engine);
	server_stop(serving->server);
	if (ok)
		log_event(LOG_INFO, "stopped", NULL);
	return ok;
}

/* Returns in the worker alone. */
static bool supervise(struct serving *serving, struct error *error)
{
	const struct options *options = serving->options;
	if (!serving->handed_down)
		serving->listen_fd = server_listen(options->host, (int)options->port, error);
	serving->memory = serving->listen_fd >= 0 ? supervisor_memory(error) : NULL;
	if (!serving->memory)
		return false;
	return supervisor_run(&(struct supervision){.listen_fd = serving->listen_fd,
	                                            .unix_path = own_socket(serving),
	                                            .memory = serving->memory,
	                                            .exit_with_parent = options->exit_with_parent},
	                      error);
}

bool serve_run(const struct options *options, struct error *error)
{
	/* A connection has a thread, and threads would spread over many heaps, each of which keeps what it once had: resident
	 * memory would creep up for thousands of requests. Nothing here allocates often enough to miss them. */
	mallopt(M_ARENA_MAX, 1);
	/* What is large goes back to the kernel when it is freed. The C library would raise the bound with the largest block it
	 * saw freed, and leave holes of that size in the heap. */
	mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK_BYTES);
	struct serving serving = {.options = options, .listen_fd = worker_inherited_socket()};
	serving.handed_down = serving.listen_fd >= 0;
	snprintf(serving.worker_id, sizeof serving.worker_id, "tallow-%d", (int)getpid());
	if (!take_environment_key(&serving, error) ||
	    (options->supervise && !options->check_only && !supervise(&serving, error)))
		return false;
	/* It forks, and so comes before all threads: that of the log (which cli_main ends, having the last word), and those that
	 * are tried. */
	struct worker *worker = create_worker(&serving, error);
	int n_compute = options->threads ? (int)options->threads : platform_usable_threads(&platform_default_roots);
	if (!worker || !log_start(error) || !worker_check_threads(n_compute + LEAST_THREADS, error)) {
		worker_destroy(worker);
		return false;
	}
	struct engine *engine = create_engine(options, error);
	bool ok = engine && (options->check_only ? check : run)(&serving, engine, worker, error);
	engine_destroy(engine);
	worker_destroy(worker);
	return ok;
}
