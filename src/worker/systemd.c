/* The three small protocols of systemd, spoken without its library: notify, watchdog, handed-down sockets. */
#include "worker/systemd.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "worker/worker.h"

enum { FIRST_HANDED_DOWN_FD = 3 };

static int notify_fd = -1; /* connected: once the worker serves there are no new sockets (sandbox.h) */
static pid_t main_pid;     /* whom systemd knows, where that is not this process */

void systemd_relay(int fd, pid_t supervisor)
{
	if (notify_fd >= 0)
		close(notify_fd);
	notify_fd = fd;
	main_pid = supervisor;
}

void systemd_open(void)
{
	const char *path = main_pid ? NULL : getenv("NOTIFY_SOCKET");
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	if (!path || (path[0] != '/' && path[0] != '@') || strlen(path) >= sizeof address.sun_path)
		return;
	size_t n_path = strlen(path);
	memcpy(address.sun_path, path, n_path);
	if (path[0] == '@')
		address.sun_path[0] = '\0'; /* the abstract namespace */
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	socklen_t n_address = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n_path);
	if (connect(fd, (struct sockaddr *)&address, n_address) == 0) {
		notify_fd = fd;
		return;
	}
	log_message(LOG_WARN, "systemd_notify_failed", "cannot connect to NOTIFY_SOCKET: %s", strerror(errno));
	close(fd);
}

void systemd_notify(const char *state)
{
	if (notify_fd < 0)
		return;
	ssize_t n;
	do
		n = send(notify_fd, state, strlen(state), MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		log_message(LOG_WARN, "systemd_notify_failed", "cannot send %s to NOTIFY_SOCKET: %s", state, strerror(errno));
}

/* The number in an environment variable; -1 when there is none. */
static long long number_of(const char *variable)
{
	const char *text = getenv(variable);
	char *end;
	if (!text || !*text)
		return -1;
	long long value = strtoll(text, &end, 10);
	return *end ? -1 : value;
}

int64_t systemd_watchdog_ms(void)
{
	long long limit_us = number_of("WATCHDOG_USEC"), pid = number_of("WATCHDOG_PID");
	if (limit_us <= 0 || (pid > 0 && pid != (main_pid ? main_pid : getpid())))
		return 0;
	return limit_us < 4000 ? 1 : limit_us / 2000;
}

int worker_inherited_socket(void)
{
	if (number_of("LISTEN_PID") != getpid() || number_of("LISTEN_FDS") < 1)
		return -1;
	return FIRST_HANDED_DOWN_FD;
}
