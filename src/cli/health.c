/* `tallow health`: asks the worker of this machine for /health, for who watches it with a command: a container's HEALTHCHECK,
 * which has no other program to ask with. */
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "cli/commands.h"
#include "cli/screen.h"

enum { PATIENCE_S = 5, ANSWER_BYTES = 16 << 10, ADDRESS_BYTES = 300 };

static int dial(int family, const struct sockaddr *address, socklen_t n_bytes)
{
	struct timeval patience = {.tv_sec = PATIENCE_S};
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) == 0 &&
	    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) == 0 && connect(fd, address, n_bytes) == 0)
		return fd;
	int reason = errno;
	close(fd);
	errno = reason;
	return -1;
}

static int dial_unix(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	if (strlen(path) >= sizeof address.sun_path) {
		errno = ENAMETOOLONG;
		return -1;
	}
	snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
	return dial(AF_UNIX, (struct sockaddr *)&address, sizeof address);
}

/* Where a worker listens everywhere, that is this machine, too. */
static int dial_port(const char *host, const char *port)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
	bool everywhere = *host == '\0' || strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0;
	int fd = -1;
	errno = EADDRNOTAVAIL;
	if (getaddrinfo(everywhere ? NULL : host, port, &hints, &found) != 0)
		return -1;
	for (struct addrinfo *one = found; one && fd < 0; one = one->ai_next)
		fd = dial(one->ai_family, one->ai_addr, one->ai_addrlen);
	freeaddrinfo(found);
	return fd;
}

static int dial_worker(const struct options *options, char where[ADDRESS_BYTES])
{
	char host[ADDRESS_BYTES - 40], port[16];
	if (strncmp(options->host, "unix:", 5) == 0) {
		snprintf(where, ADDRESS_BYTES, "%s", options->host);
		return dial_unix(options->host + 5);
	}
	snprintf(host, sizeof host, "%s", options->host + (options->host[0] == '['));
	host[strcspn(host, "]")] = '\0';
	snprintf(port, sizeof port, "%d", (int)options->port);
	snprintf(where, ADDRESS_BYTES, "%.259s port %.15s", host, port);
	return dial_port(host, port);
}

/* The whole answer, or as much as there is room for; false with errno. */
static bool ask(int fd, char answer[ANSWER_BYTES])
{
	static const char request[] = "GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
	size_t n_bytes = 0;
	ssize_t n = send(fd, request, sizeof request - 1, MSG_NOSIGNAL);
	while (n > 0 && n_bytes < ANSWER_BYTES - 1)
		if ((n = recv(fd, answer + n_bytes, ANSWER_BYTES - 1 - n_bytes, 0)) > 0)
			n_bytes += (size_t)n;
	answer[n_bytes] = '\0';
	return n >= 0;
}

bool health_run(const struct options *options, struct error *error)
{
	char where[ADDRESS_BYTES], answer[ANSWER_BYTES];
	int fd = dial_worker(options, where);
	bool ok = fd >= 0 && ask(fd, answer);
	int reason = errno;
	if (fd >= 0)
		close(fd);
	if (!ok)
		return error_set(error, ERROR_UNHEALTHY, "no worker answers at %s: %s", where, strerror(reason));
	int status = 0;
	const char *body = strstr(answer, "\r\n\r\n");
	if (sscanf(answer, "HTTP/1.1 %d ", &status) != 1 || !body)
		return error_set(error, ERROR_UNHEALTHY, "what answers at %s is no worker", where);
	body += 4;
	if (status != 200)
		return error_set(error, ERROR_UNHEALTHY, "the worker at %s is not ready (%d): %.300s", where, status, body);
	screen_print_text(body, strlen(body));
	return true;
}
