/* The daemon's life (server/server.h): options, start, drain, stop.
 *
 * Why one thread per connection. libmicrohttpd can also poll all connections in one thread, but then a reader that has
 * nothing yet must suspend its connection, and a suspended connection does not notice that its client left: in a worker
 * whose requests wait in a queue or in prefill, that is most of their life. With a thread of its own each connection
 * simply blocks in poll(2) on the engine's stream and the client's socket together, and reads like what it does. The
 * price is a small stack per connection, of which an idle one touches a few pages; the number of connections is bounded
 * (DEFAULT_CONNECTIONS: about 1,000 idle ones beside 64 that stream), and past it the longest idle one has to go.
 *
 * The library's timeout measures inactivity only; absolute deadlines are the watchdog's (watchdog.h, connections.h).
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/platform.h"
#include "server/http/exchange.h"
#include "server/http/refusal.h"
#include "server/routes/page.h"
#include "server/server_private.h"

enum {
	DEFAULT_CONNECTIONS = 1100,
	OTHER_DESCRIPTORS = 64, /* files, event descriptors, the listening socket */
	MOST_SPARE = 256,       /* as many newcomers may come at once */
	LEAST_PLACES = 16,      /* connections, half of them spare: with fewer there is no serving */
	DESCRIPTORS_EACH = 2,   /* of a connection: its socket and, while it streams, the engine's event descriptor */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	THREAD_STACK_BYTES = 2 << 20, /* their frames are larger, and 0.8 MiB of TSan's own lie there, too */
#else
	THREAD_STACK_BYTES = 256 << 10,
#endif
	CONNECTION_RESIDENT_BYTES = 48 << 10, /* stack that is touched, buffers; measured with 1,000 of them */
	CONNECTION_MEMORY_BYTES =
	    32 << 10, /* the library's: a piece of the body, the answer's header, a piece of the answer */
	STOP_GRACE_MS = 1000,
};

uint64_t server_connection_bytes(int max_connections)
{
	return (uint64_t)max_connections * CONNECTION_RESIDENT_BYTES;
}

/* ---- start ---- */

int server_listen(const char *host, int port, struct error *error)
{
	struct listener listener;
	return listener_open(&listener, host, port, -1, error) ? listener.fd : -1;
}

static bool copy_text(char **out, const char *text, struct error *error)
{
	*out = text ? strdup(text) : NULL;
	if (text && !*out)
		return error_set(error, ERROR_MEMORY, "no memory for the server's options");
	return true;
}

/* Adds each name of "a,b". */
static bool copy_host_names(struct host_names *names, const char *text, struct error *error)
{
	while (true) {
		size_t n_bytes = strcspn(text, ",");
		if (!host_name_is_plain((struct head_text){text, n_bytes}))
			return error_set(error, ERROR_USAGE,
			                 "--allowed-host must be a name such as tallow.example or an address, without scheme, port "
			                 "or path (got \"%.100s\")",
			                 text);
		char **grown = realloc(names->names, (size_t)(names->n + 1) * sizeof *grown);
		if (grown)
			names->names = grown;
		char *name = grown ? strndup(text, n_bytes) : NULL;
		if (!name)
			return error_set(error, ERROR_MEMORY, "no memory for the server's options");
		names->names[names->n++] = name;
		if (text[n_bytes] == '\0')
			return true;
		text += n_bytes + 1;
	}
}

static bool copy_all_host_names(struct host_names *names, const struct server_options *options, struct error *error)
{
	for (int i = 0; i < options->n_allowed_hosts; i++)
		if (!copy_host_names(names, options->allowed_hosts[i], error))
			return false;
	return true;
}

static int spare_of(int n_connections)
{
	return n_connections < MOST_SPARE ? n_connections : MOST_SPARE;
}

/* Bounds connections by the descriptors this process may have, after raising that limit as far as it goes: running out
 * of them would leave the library accepting in vain. */
static bool bound_connections(struct connections *connections, int wanted, struct error *error)
{
	struct rlimit limit;
	rlim_t needed = (rlim_t)(wanted + spare_of(wanted)) * DESCRIPTORS_EACH + OTHER_DESCRIPTORS;
	rlim_t least = LEAST_PLACES * DESCRIPTORS_EACH + OTHER_DESCRIPTORS;
	connections_init(connections, wanted, spare_of(wanted));
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < needed) {
		limit.rlim_cur = limit.rlim_max < needed ? limit.rlim_max : needed;
		(void)setrlimit(RLIMIT_NOFILE, &limit);
	}
	if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= needed)
		return true;
	if (limit.rlim_cur < least)
		return error_set(error, ERROR_MEMORY,
		                 "the process may open %llu files (RLIMIT_NOFILE, ulimit -n), serving takes %llu at least",
		                 (unsigned long long)limit.rlim_cur, (unsigned long long)least);
	int places = (int)((limit.rlim_cur - OTHER_DESCRIPTORS) / DESCRIPTORS_EACH);
	connections->n_spare = places < 2 * MOST_SPARE ? places / 2 : MOST_SPARE;
	connections->max_connections = places - connections->n_spare;
	log_message(LOG_WARN, "connections_limited", "only %d connections: the process may open %llu files",
	            connections->max_connections, (unsigned long long)limit.rlim_cur);
	return true;
}

static bool server_set_up(struct server *server, const struct server_options *options, struct error *error)
{
	server->given_body_bytes = options->max_body_bytes;
	server->share_cache = options->share_cache;
	server->running = options->running;
	server->strict_model = options->strict_model;
	server->vllm_names = options->vllm_names;
	server->answers.reasoning = options->reasoning;
	server->started_unix_s = clock_unix_ms() / 1000;
	server->request_shutdown = options->request_shutdown;
	server->shutdown_context = options->shutdown_context;
	server->describe_worker = options->describe_worker;
	server->describe_sandbox = options->describe_sandbox;
	server->describe_context = options->describe_context;
	if (!copy_text(&server->worker_id, options->worker_id, error) ||
	    !copy_text(&server->version, options->version, error) ||
	    !copy_text(&server->cors_origin, options->cors_origin, error) ||
	    !copy_all_host_names(&server->allowed_hosts, options, error) ||
	    (!options->no_page && !page_policy(&server->page_policy, error)) ||
	    !key_ring_init(&server->keys, options->api_keys, options->n_api_keys, error) ||
	    !answer_settings_find(options->tool_format ? options->tool_format : "auto", &server->answers, error))
		return false;
	const char *host = options->host ? options->host : "127.0.0.1";
	if (!listener_open(&server->listener, host, options->port, options->listen_fd, error))
		return false;
	if (!server->listener.loopback && options->n_api_keys == 0 && !options->insecure)
		return error_set(error, ERROR_USAGE,
		                 "%s can be reached from other machines, which needs an API key (TALLOW_API_KEY or "
		                 "--api-key-file), or --insecure to go without",
		                 server->listener.host);
	server->check_host = server->listener.loopback && !server->listener.is_unix;
	return true;
}

static bool daemon_start(struct server *server, struct error *error)
{
	int n_places = server->connections.max_connections + server->connections.n_spare;
	server->daemon = MHD_start_daemon(
	    MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL | MHD_USE_ITC, 0, NULL, NULL,
	    exchange_step, server, MHD_OPTION_LISTEN_SOCKET, server->listener.fd, MHD_OPTION_CONNECTION_LIMIT,
	    (unsigned)n_places, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY_BYTES,
	    MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)INACTIVITY_TIMEOUT_S, MHD_OPTION_THREAD_STACK_SIZE,
	    (size_t)THREAD_STACK_BYTES, MHD_OPTION_NOTIFY_COMPLETED, exchange_end, server, MHD_OPTION_NOTIFY_CONNECTION,
	    exchange_connection, server, MHD_OPTION_END);
	if (!server->daemon)
		return error_set(error, errno == EAGAIN || errno == ENOMEM ? ERROR_MEMORY : ERROR_INTERNAL,
		                 "the HTTP library cannot start, with its thread: %s", strerror(errno));
	server->listener.fd = -1; /* the daemon's now */
	return true;
}

/* Signals are the main thread's business: threads started in between inherit a full mask. */
static bool start_threads(struct server *server, struct error *error)
{
	sigset_t before;
	platform_block_signals(&before);
	bool started =
	    watchdog_start(&server->watchdog, &server->connections, &server->jobs, error) && daemon_start(server, error);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return started;
}

static void server_free(struct server *server)
{
	watchdog_stop(&server->watchdog);
	if (server->listener.fd >= 0)
		close(server->listener.fd);
	listener_remove_file(&server->listener);
	jobs_destroy(&server->jobs);
	connections_destroy(&server->connections);
	key_ring_free(&server->keys);
	free(server->worker_id);
	free(server->version);
	free(server->cors_origin);
	for (int i = 0; i < server->allowed_hosts.n; i++)
		free(server->allowed_hosts.names[i]);
	free(server->allowed_hosts.names);
	free(server->page_policy);
	free(server);
}

struct server *server_start(const struct server_options *options, struct engine *engine, struct error *error)
{
	struct server *server = calloc(1, sizeof *server);
	if (!server) {
		error_set(error, ERROR_MEMORY, "no memory for the server");
		return NULL;
	}
	server->engine = engine;
	server->listener.fd = -1;
	int wanted = options->max_connections > 0 ? options->max_connections : DEFAULT_CONNECTIONS;
	server->gate_listener =
	    (struct gate_listener){.begun = exchange_request_begun, .refused = refusal_answer, .context = server};
	jobs_init(&server->jobs);
	if (!bound_connections(&server->connections, wanted, error) || !server_set_up(server, options, error) ||
	    !start_threads(server, error)) {
		server_free(server);
		return NULL;
	}
	return server;
}

int server_port(const struct server *server)
{
	return server->listener.port;
}

bool server_set_keys(struct server *server, const struct api_key *keys, int n_keys, struct error *error)
{
	/* A key file that is empty for a moment must not open the door. */
	if (n_keys == 0)
		return error_set(error, ERROR_USAGE, "no API key is left; the old ones stay in force");
	return key_ring_replace(&server->keys, keys, n_keys, error);
}

/* ---- the end ---- */

void server_leave(struct server *server)
{
	atomic_store(&server->leaving, true);
}

void server_drain(struct server *server)
{
	server_leave(server);
	atomic_store(&server->draining, true);
}

bool server_has_answers(struct server *server)
{
	return atomic_load(&server->n_in_parts) > 0 || jobs_have_answers(&server->jobs);
}

void server_stop(struct server *server)
{
	if (!server)
		return;
	server_drain(server);
	/* The library drops what it has not sent when it stops; streams that just got their last event still send it. */
	int64_t give_up_ns = clock_ns() + STOP_GRACE_MS * 1000000ll;
	while (atomic_load(&server->n_answers) > 0 && clock_ns() < give_up_ns)
		nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
	MHD_stop_daemon(server->daemon);
	server_free(server);
}

void server_library_version(struct bytes *out)
{
	bytes_append_format(out, "libmicrohttpd %s", MHD_get_version());
}
