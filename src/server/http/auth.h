/* Who may talk to this server: API keys, the Host header (DNS rebinding), the Origin header (foreign web pages), and
 * request ids that clients choose. Pure checks on text, plus the ring of accepted keys. */
#ifndef TALLOW_SERVER_HTTP_AUTH_H
#define TALLOW_SERVER_HTTP_AUTH_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "server/http/head.h"

enum { KEY_MAX_BYTES = 256, KEYS_MAX = 256 };

struct key {
	char text[KEY_MAX_BYTES]; /* zero-padded, so that comparing takes the same time for every key */
	size_t n_bytes;
};

/* Read by connections' threads, replaced as a whole on SIGHUP. */
struct key_ring {
	pthread_rwlock_t lock;
	struct key *keys; /* [n_keys]; none = every request is let in */
	int n_keys;
};

bool key_ring_init(struct key_ring *ring, const char *const *keys, int n_keys, struct error *error) MUST_USE;
void key_ring_free(struct key_ring *ring);
/* ERROR_USAGE for an empty or overlong key, and then nothing changed. */
bool key_ring_replace(struct key_ring *ring, const char *const *keys, int n_keys, struct error *error) MUST_USE;
/* What follows the scheme in an Authorization header; at == NULL where that is another one, or the header absent. */
struct head_text bearer_token(struct head_text authorization);
/* `token` at == NULL: none was sent. Time does not depend on where a wrong key differs. *owner (may be NULL): to whom the
 * jobs of whoever is let in belong; one number per key, 0 where no key is asked for. */
bool key_ring_allows(struct key_ring *ring, struct head_text token, uint64_t *owner);
/* The same number for the same token, another for each other (as hashes go); 0 without one. */
uint64_t token_identity(struct head_text token);

/* True for "localhost", "127.0.0.1", "[::1]" and bound_host (numeric, may be ""), each with any port or none. */
bool host_is_local(struct head_text host, const char *bound_host);

/* True when a page of `origin` may use this server: it is the server's own ("http://" + Host), or the one that
 * --cors-origin names ("*" names all). cors_origin and host.at may be NULL. *cross_site tells whether CORS headers are
 * due. */
bool origin_is_allowed(struct head_text origin, const char *cors_origin, struct head_text host, bool *cross_site);

/* 1..64 letters, digits and ._:- only: safe in a header and in a log line. */
bool request_id_is_plain(struct head_text text);

#endif
