/* The listening socket: TCP (IPv4, IPv6), Unix, or inherited. */
#ifndef TALLOW_SERVER_HTTP_LISTENER_H
#define TALLOW_SERVER_HTTP_LISTENER_H

#include <stdbool.h>

#include "base/error.h"

struct listener {
	int fd;
	int port;            /* 0 for a Unix socket */
	bool loopback;       /* reachable from this machine only */
	bool is_unix;        /* no Host check: browsers cannot reach it */
	char host[64];       /* numeric bound address; "" for a Unix socket */
	char unix_path[108]; /* to be removed at close; "" when it is not ours */
};

/* host: "127.0.0.1", "::1", "[::1]", "localhost", "unix:/path". inherited_fd >= 0 is used instead of opening one.
 * ERROR_BIND. */
bool listener_open(struct listener *listener, const char *host, int port, int inherited_fd,
                   struct error *error) MUST_USE;
/* Removes the socket's file; the descriptor itself belongs to the daemon once that runs. */
void listener_remove_file(struct listener *listener);

#endif
