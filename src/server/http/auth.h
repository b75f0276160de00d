/* Who may talk to this server: tokens (whose keys are keys.h's), the Host header (DNS rebinding), the Origin header
 * (foreign web pages), and request ids that clients choose. Pure checks on text. */
#ifndef TALLOW_SERVER_HTTP_AUTH_H
#define TALLOW_SERVER_HTTP_AUTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/http/head.h"

/* What follows the scheme in an Authorization header; at == NULL where that is another one, or the header absent. */
struct head_text bearer_token(struct head_text authorization);
/* The same number for the same token, another for each other (as hashes go); 0 without one. */
uint64_t token_identity(struct head_text token);

/* True for "localhost", "127.0.0.1", "[::1]" and bound_host (numeric, may be ""), each with any port or none. */
bool host_is_local(struct head_text host, const char *bound_host);

/* Names of proxies and of TLS in front, which --allowed-host gives. */
struct host_names {
	char **names; /* [n] */
	int n;
};
/* Whether a text can be such a name: a DNS name or an address, the sixth version's in brackets, without scheme or port. */
bool host_name_is_plain(struct head_text name);
/* True for each of the names, with any port or none. */
bool host_is_named(struct head_text host, const struct host_names *names);

/* True when a page of `origin` may use this server: it is the server's own ("http://" + Host), of one of the names (http or
 * https, with any port), or the one that --cors-origin names ("*" names all). cors_origin and host.at may be NULL.
 * *cross_site tells whether CORS headers are due. */
bool origin_is_allowed(struct head_text origin, const char *cors_origin, struct head_text host,
                       const struct host_names *names, bool *cross_site);

/* 1..64 letters, digits and ._:- only: safe in a header and in a log line. */
bool request_id_is_plain(struct head_text text);

#endif
