/* Opens the listening socket (listener.h). It is opened here and not by the HTTP library so that every failure has its
 * own sentence, port 0 can be asked for its number, and Unix and inherited sockets look like all others. */
#include "server/http/listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { BACKLOG = 1024 };

union address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
	struct sockaddr_un un;
	struct sockaddr_storage storage;
};

/* Fills in what the socket is really bound to. */
static bool listener_describe(struct listener *listener, struct error *error)
{
	union address address = {0};
	socklen_t n_bytes = sizeof address;
	if (getsockname(listener->fd, &address.any, &n_bytes) != 0)
		return error_set(error, ERROR_BIND, "cannot ask the socket for its address: %s", strerror(errno));
	switch (address.any.sa_family) {
	case AF_UNIX:
		listener->is_unix = true;
		listener->loopback = true;
		return true;
	case AF_INET:
		listener->port = ntohs(address.v4.sin_port);
		listener->loopback = (ntohl(address.v4.sin_addr.s_addr) >> 24) == 127;
		inet_ntop(AF_INET, &address.v4.sin_addr, listener->host, sizeof listener->host);
		return true;
	case AF_INET6:
		listener->port = ntohs(address.v6.sin6_port);
		listener->loopback = IN6_IS_ADDR_LOOPBACK(&address.v6.sin6_addr);
		inet_ntop(AF_INET6, &address.v6.sin6_addr, listener->host, sizeof listener->host);
		return true;
	default:
		return error_set(error, ERROR_BIND, "the socket's address family is %d; expected TCP or Unix",
		                 address.any.sa_family);
	}
}

static bool listener_inherit(struct listener *listener, int fd, struct error *error)
{
	int type = 0, accepting = 0;
	socklen_t n_bytes = sizeof(type);
	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n_bytes) != 0)
		return error_set(error, ERROR_BIND, "inherited descriptor %d is no socket: %s", fd, strerror(errno));
	n_bytes = sizeof accepting;
	if (type != SOCK_STREAM || getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &accepting, &n_bytes) != 0 || !accepting)
		return error_set(error, ERROR_BIND, "inherited descriptor %d is not a listening stream socket", fd);
	int flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) != 0)
		return error_set(error, ERROR_BIND, "cannot set up inherited descriptor %d: %s", fd, strerror(errno));
	listener->fd = fd;
	return true;
}

/* True when the file is a socket that nobody listens on any more. */
static bool unix_socket_is_stale(const struct sockaddr_un *address)
{
	struct stat info;
	if (lstat(address->sun_path, &info) != 0 || !S_ISSOCK(info.st_mode))
		return false;
	int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (probe < 0)
		return false;
	bool refused = connect(probe, (const struct sockaddr *)address, sizeof *address) != 0 && errno == ECONNREFUSED;
	close(probe);
	return refused;
}

static bool listener_open_unix(struct listener *listener, const char *path, struct error *error)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	if (path[0] == '\0' || strlen(path) >= sizeof address.sun_path)
		return error_set(error, ERROR_BIND, "Unix socket path has %zu bytes; expected 1 to %zu", strlen(path),
		                 sizeof address.sun_path - 1);
	memcpy(address.sun_path, path, strlen(path) + 1);
	listener->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (listener->fd < 0)
		return error_set(error, ERROR_BIND, "cannot create a Unix socket: %s", strerror(errno));
	/* On Linux the socket's own mode becomes the file's: nobody can connect in between, and the umask stays as it is. */
	fchmod(listener->fd, 0600);
	int bound = bind(listener->fd, (struct sockaddr *)&address, sizeof address);
	if (bound != 0 && errno == EADDRINUSE && unix_socket_is_stale(&address) && unlink(path) == 0)
		bound = bind(listener->fd, (struct sockaddr *)&address, sizeof address);
	if (bound != 0)
		return error_set(error, ERROR_BIND, "cannot bind %s: %s", path, strerror(errno));
	memcpy(listener->unix_path, path, strlen(path) + 1);
	if (listen(listener->fd, BACKLOG) != 0)
		return error_set(error, ERROR_BIND, "cannot listen on %s: %s", path, strerror(errno));
	return true;
}

/* Binds and listens on one address; -1 with errno set when that fails. */
static int listen_on(const struct addrinfo *address)
{
	int fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -1;
	int yes = 1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
	if (bind(fd, address->ai_addr, address->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
		return fd;
	int saved = errno;
	close(fd);
	errno = saved;
	return -1;
}

static bool listener_open_tcp(struct listener *listener, const char *host, int port, struct error *error)
{
	char name[256], service[16];
	size_t n_bytes = strlen(host);
	bool bracketed = n_bytes > 2 && host[0] == '[' && host[n_bytes - 1] == ']';
	snprintf(name, sizeof name, "%.*s", (int)(bracketed ? n_bytes - 2 : n_bytes), bracketed ? host + 1 : host);
	if (port < 0 || port > 65535)
		return error_set(error, ERROR_BIND, "port %d is out of range 0..65535", port);
	snprintf(service, sizeof service, "%d", port);
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
	struct addrinfo *found = NULL;
	int failure = getaddrinfo(name, service, &hints, &found);
	if (failure != 0)
		return error_set(error, ERROR_BIND, "host %s cannot be resolved: %s", name, gai_strerror(failure));
	int reason = 0;
	for (const struct addrinfo *address = found; address && listener->fd < 0; address = address->ai_next) {
		listener->fd = listen_on(address);
		reason = errno;
	}
	freeaddrinfo(found);
	if (listener->fd < 0)
		return error_set(error, ERROR_BIND, "cannot listen on %s port %d: %s", name, port, strerror(reason));
	return true;
}

bool listener_open(struct listener *listener, const char *host, int port, int inherited_fd, struct error *error)
{
	*listener = (struct listener){.fd = -1};
	bool opened;
	if (inherited_fd >= 0)
		opened = listener_inherit(listener, inherited_fd, error);
	else if (strncmp(host, "unix:", 5) == 0)
		opened = listener_open_unix(listener, host + 5, error);
	else
		opened = listener_open_tcp(listener, host, port, error);
	if (opened && listener_describe(listener, error))
		return true;
	if (listener->fd >= 0)
		close(listener->fd);
	listener_remove_file(listener);
	listener->fd = -1;
	return false;
}

void listener_remove_file(struct listener *listener)
{
	if (listener->unix_path[0] != '\0')
		unlink(listener->unix_path);
	listener->unix_path[0] = '\0';
}
