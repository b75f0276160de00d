/* What the files of this layer share: the server, one exchange (a request and its answer), and the routes' handlers. */
#ifndef TALLOW_SERVER_SERVER_PRIVATE_H
#define TALLOW_SERVER_SERVER_PRIVATE_H

#include <microhttpd.h>
#include <stdatomic.h>

#include "base/bytes.h"
#include "base/error.h"
#include "engine/engine.h"
#include "server/generation/answers.h"
#include "server/generation/jobs.h"
#include "server/http/auth.h"
#include "server/http/connections.h"
#include "server/http/gate.h"
#include "server/http/keys.h"
#include "server/http/listener.h"
#include "server/http/trace.h"
#include "server/server.h"
#include "server/watchdog.h"

enum {
	/* Bodies where no bound is given: so much for each token of the context, as JSON writes some scripts and token ids, and
	 * never less than the second. */
	BODY_BYTES_PER_TOKEN = 32,
	LEAST_BODY_BYTES = 1000000,
	/* What a client may still send after its request was refused, so that it reads the answer instead of a reset. */
	SWALLOW_MAX_BYTES = 16 << 20,
	/* Bodies in memory at once, all connections together: so many of the given or the least bound, and some of the largest. */
	BODIES_IN_MEMORY = 64,
	LARGEST_BODIES_IN_MEMORY = 4,
	PING_INTERVAL_MS = 10000,  /* the contract's bound is 15 s */
	INACTIVITY_TIMEOUT_S = 75, /* of a connection, in either direction; what it waits for us does not count */
	PATH_ARGUMENT_BYTES = JOB_ID_BYTES,
};

struct server {
	struct engine *engine; /* borrowed */
	struct MHD_Daemon *daemon;
	struct listener listener;

	char *worker_id, *version, *cors_origin; /* NULL when not given */
	struct host_names allowed_hosts;
	char *page_policy; /* the page's Content-Security-Policy; NULL: no page is served */
	bool share_cache;  /* among API keys */
	bool vllm_names;   /* /metrics has vLLM's names, too */
	bool strict_model; /* requests for models of another name are refused */
	struct answer_settings answers;
	int64_t started_unix_s;
	size_t given_body_bytes; /* bound on a body; 0: by the context (exchange->max_body_bytes) */
	bool check_host;
	void (*request_shutdown)(void *context);
	void *shutdown_context;
	void (*describe_worker)(void *context, int port, const struct engine_status *status, struct bytes *out);
	void (*describe_sandbox)(void *context, struct bytes *out);
	void *describe_context;

	struct key_ring keys;
	struct connections connections;
	struct gate_listener gate_listener;
	struct jobs jobs;

	struct watchdog watchdog;

	atomic_bool leaving; /* connections are not kept */
	atomic_bool draining;
	struct running *running; /* NULL: nobody wants to know */
	atomic_bool shutdown_requested;
	atomic_int n_answers;                     /* being answered */
	atomic_int n_in_parts;                    /* of them: whose work goes to the engine bit by bit */
	atomic_size_t body_bytes;                 /* of bodies in memory */
	atomic_ullong responses[6];               /* by first digit of the status; [0]: ended without one */
	atomic_ullong errors[ERROR_INTERNAL + 1]; /* requests that ended with each */
};

struct dialect;
struct field_checker;
struct generation;
struct route;
struct exchange;

/* Where an event stream's bytes come from. */
struct event_source {
	int fd;                                  /* readable when pull may have something; -1 = none */
	int interval_ms;                         /* pull at least so often; 0 = only when fd is readable */
	bool more;                               /* set by pull: it has more at once, whatever fd says */
	bool ended;                              /* set by pull: nothing comes after what it appended */
	void (*pull)(struct exchange *exchange); /* appends to exchange->out */
};

/* One request and its answer; made when the head has been read, freed when the answer is out or the client gone. Only the
 * connection's thread touches it. */
struct exchange {
	struct server *server;
	struct MHD_Connection *connection;
	struct connection *peer;
	struct request_head *head;
	int client_fd;
	int64_t started_ns;

	char request_id[REQUEST_ID_BYTES + 1];
	struct trace trace;
	bool takes_gzip;
	const struct route *route;     /* NULL: no such path */
	const struct dialect *dialect; /* the route's; the worker's while there is none */
	char path_argument[PATH_ARGUMENT_BYTES + 1];
	size_t n_path_argument;
	char cors_origin[256];    /* to be named in the answer; "" = none */
	struct key_access access; /* whose jobs it makes and may see, and what else it may */
	uint64_t cache_key;       /* of the API key, unless all share one prefix cache */
	bool is_head;
	bool preflight;
	bool close_after;

	struct error refusal; /* code ERROR_NONE: none */
	size_t max_body_bytes;
	struct bytes body;
	size_t swallowed_bytes;

	struct generation *generation; /* if any runs */
	struct event_source source;
	struct bytes out; /* of the event stream, not yet sent */
	size_t n_sent;
	int64_t next_ping_ns;
	const char *load_stage; /* last progress that was told */
	int64_t load_percent;

	int running_place; /* of the request among those that run; -1: none */
	bool ask_shutdown; /* once the answer is out */
	bool answering, answered;
	/* For the log line. */
	int status;
	enum error_code failure;
};

typedef enum MHD_Result exchange_handler(struct exchange *exchange);

/* ---- routes/ ---- */

struct route {
	const char *path;    /* one "{}" stands for a percent-encoded argument */
	const char *method;  /* HEAD goes with GET, OPTIONS with all */
	const char *methods; /* "GET, HEAD, OPTIONS": the Allow header */
	bool open;           /* needs no key */
	bool admin;          /* for admins' keys alone, where there are some */
	bool quiet;          /* polled often: logged at debug level */
	const struct dialect *dialect;
	exchange_handler *handler;
};

/* The route of a raw (not percent-decoded) path; fills in the exchange's path_argument. */
const struct route *route_find(struct exchange *exchange, struct head_text path);
/* In which dialect a path that is no route is refused: that of the client that asks for it, as far as path and headers tell. */
const struct dialect *route_dialect(const struct head *head);
/* False, with an error that names the paths of that dialect. */
bool route_missing(const struct dialect *dialect, struct error *error);
const struct route *routes_all(size_t *n_routes);

exchange_handler handle_execute;
exchange_handler handle_infer;
exchange_handler handle_job;
exchange_handler handle_job_stream;
exchange_handler handle_job_end;
exchange_handler handle_cancel;
exchange_handler handle_shutdown;
exchange_handler handle_health;
exchange_handler handle_livez;
exchange_handler handle_ready;
exchange_handler handle_info;
exchange_handler handle_loading;
exchange_handler handle_metrics;
exchange_handler handle_embeddings;
exchange_handler handle_openapi;
exchange_handler handle_page;
exchange_handler handle_models;
exchange_handler handle_model;
exchange_handler handle_tokenize;
exchange_handler handle_detokenize;
exchange_handler handle_apply_template;
exchange_handler handle_count_tokens;
exchange_handler handle_ollama_tags;
exchange_handler handle_ollama_ps;
exchange_handler handle_ollama_version;
exchange_handler handle_ollama_show;
exchange_handler handle_ollama_embed;
exchange_handler handle_ollama_embeddings;
exchange_handler handle_ollama_refused;

/* ---- http/response.c: each queues the answer ---- */

/* Takes the buffer's memory. */
enum MHD_Result respond_bytes(struct exchange *exchange, int status, const char *content_type, struct bytes *body);
/* Bytes that outlive the server, with headers of their own: [n_headers]. */
struct named_header {
	const char *name, *value;
};
enum MHD_Result respond_static(struct exchange *exchange, const char *content_type, const void *data, size_t n_bytes,
                               const struct named_header *headers, size_t n_headers);
enum MHD_Result respond_json(struct exchange *exchange, int status, struct bytes *body);
/* In the exchange's dialect. */
enum MHD_Result respond_error(struct exchange *exchange, const struct error *error, int retry_after_s);
enum MHD_Result respond_bad_fields(struct exchange *exchange, const struct field_checker *check);
enum MHD_Result respond_empty(struct exchange *exchange, int status);
/* A body from a blocking reader whose context is the exchange; not called for HEAD. */
enum MHD_Result respond_reader(struct exchange *exchange, const char *content_type, MHD_ContentReaderCallback reader);

/* ---- http/exchange.c ---- */

void exchange_drop_body(struct exchange *exchange); /* and its share of the common bound */

/* ---- http/events.c ---- */

/* A stream of the dialect's events, headers at once, pings in between. source may be NULL for HEAD. */
enum MHD_Result respond_events(struct exchange *exchange, const struct event_source *source);

enum wait_result { WAIT_READY, WAIT_TIMEOUT, WAIT_GONE };
/* Until event_fd (-1 = none) is readable, timeout_ms passed, or the client left. */
enum wait_result exchange_wait(const struct exchange *exchange, int event_fd, int timeout_ms);

/* ---- routes/models.c ---- */

/* Whether a request for that model (NULL: any) is served by the one of that name; else ERROR_UNKNOWN_MODEL. */
bool server_serves_model(const struct server *server, const char *asked, const char *name, struct error *error);

/* ---- routes/health.c ---- */

/* "healthy", "loading", "draining", "unhealthy": what GET /health says. */
const char *server_health(struct server *server, const struct engine_status *status);

/* Draining or the engine no longer takes work. */
bool server_is_draining(struct server *server, const struct engine_status *status);

#endif
