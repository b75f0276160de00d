/* The HTTP server: routes, validation, SSE. Knows the engine's requests and events, never the model.
 *
 *     struct server *server = server_start(&options, engine, &error);   // listening before the model is loaded
 *     server_port(server); ...
 *     server_drain(server);     // new work gets 503, running streams go on
 *     server_stop(server);      // closes what is left; waits for its threads
 *
 * Threads: one per connection (libmicrohttpd's), bounded by max_connections. A streaming reply's thread polls its socket
 * and its stream's eventfd together, so a client that leaves is noticed at once, queued or not, and an idle connection
 * costs no CPU.
 */
#ifndef TALLOW_SERVER_SERVER_H
#define TALLOW_SERVER_SERVER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/bytes.h"
#include "base/digest.h"
#include "base/error.h"
#include "base/running.h"
#include "engine/engine.h"

struct server;

/* What becomes of reasoning in chats: a text of its own, that under both of its names, or part of the content. */
enum reasoning_output { REASONING_APART, REASONING_BOTH, REASONING_NONE };

enum { KEY_NAME_BYTES = 32, KEY_MAX_BYTES = 256, KEYS_MAX = 256, KEY_HIGHEST_PRIORITY = 10 };

/* An API key, which nobody needs to know who compares its digest. */
struct api_key {
	struct digest digest;          /* SHA-256 */
	char name[KEY_NAME_BYTES + 1]; /* in /metrics; letters, digits and ._- ; each key's own */
	bool unnamed;                  /* it was given none: the name is its line's, which may be another key's tomorrow */
	int max_requests;              /* that run or wait at a time; 0: any number */
	int64_t tokens_per_minute;     /* of prompts and answers; 0: any number */
	int max_priority;              /* a request's priority counts up to this */
	bool admin;                    /* where any key has it, /shutdown and /metrics are for those alone */
};

struct server_options {
	const char *host;               /* "127.0.0.1", "::1", "0.0.0.0", "unix:/path.sock" */
	int port;                       /* 0 = any free one */
	int listen_fd;                  /* inherited listening socket, or -1 */
	const char *worker_id;          /* may be NULL */
	const char *version;            /* of the program, told by /health and /info */
	const struct api_key *api_keys; /* [n_api_keys], copied; none = open */
	int n_api_keys;
	bool insecure;           /* a non-loopback bind without a key is allowed */
	const char *cors_origin; /* NULL = CORS off */
	/* [n_allowed_hosts], each one name or several with commas between: hosts that are served and whose pages may ask, besides
	 * local ones. Copied. */
	const char *const *allowed_hosts;
	int n_allowed_hosts;
	bool no_page;            /* nothing at / */
	bool vllm_names;         /* /metrics has vLLM's names, too */
	bool strict_model;       /* OpenAI's routes refuse other models' names */
	const char *tool_format; /* "auto" (NULL), "none", or a name of text/tool_format.h */
	enum reasoning_output reasoning;
	struct running *running;                 /* where it is noted what runs (base/running.h); NULL: nowhere */
	bool share_cache;                        /* prefixes are shared among API keys */
	size_t max_body_bytes;                   /* 0 = 32 bytes for each token of the context, at least 1 MB */
	int max_connections;                     /* 0 = 1100 */
	void (*request_shutdown)(void *context); /* POST /shutdown; called once from a connection's thread */
	void *shutdown_context;
	/* Appends the object that /info has under `worker`; from any connection's thread. NULL: it has none. */
	void (*describe_worker)(void *context, int port, const struct engine_status *status, struct bytes *out);
	/* Likewise what it has under `sandbox`. */
	void (*describe_sandbox)(void *context, struct bytes *out);
	void *describe_context;
};

/* ERROR_BIND when the address cannot be had, ERROR_USAGE for a refused exposure, a format or host name that there is
 * not, ERROR_MEMORY where too few files may be open. The engine is borrowed until stop. */
struct server *server_start(const struct server_options *options, struct engine *engine, struct error *error) MUST_USE;
/* The listening socket by itself, for server_options.listen_fd; the file of a Unix socket is the caller's to remove. -1:
 * ERROR_BIND. */
int server_listen(const char *host, int port, struct error *error) MUST_USE;
/* Memory that so many connections take when all are open, for the memory plan. */
uint64_t server_connection_bytes(int max_connections);
int server_port(const struct server *server); /* bound port; 0 for a Unix socket */
void server_leave(struct server *server);     /* answers end their connections from now on */
void server_drain(struct server *server);
/* True when a job has an answer, or will have one, for which nobody came yet. */
bool server_has_answers(struct server *server);
void server_stop(struct server *server); /* and frees */
/* Replaces the accepted keys (SIGHUP); running streams go on. */
bool server_set_keys(struct server *server, const struct api_key *keys, int n_keys, struct error *error) MUST_USE;

/* Appends the name and version of the HTTP library. */
struct bytes;
void server_library_version(struct bytes *out);
void server_compression_version(struct bytes *out);

#endif
