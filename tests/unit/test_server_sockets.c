/* Listening sockets, and the deadlines of connections. */
#include <arpa/inet.h>
#include <linux/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/platform.h"
#include "server/http/connections.h"
#include "server/http/listener.h"

static void tcp_listeners_describe_themselves(void **state)
{
	(void)state;
	struct listener listener, second;
	struct error error;
	assert_true(listener_open(&listener, "127.0.0.1", 0, -1, &error));
	assert_true(listener.port > 0 && listener.loopback && !listener.is_unix);
	assert_string_equal(listener.host, "127.0.0.1");
	assert_false(listener_open(&second, "127.0.0.1", listener.port, -1, &error));
	assert_int_equal(error.code, ERROR_BIND);
	close(listener.fd);
	assert_true(listener_open(&listener, "0.0.0.0", 0, -1, &error));
	assert_false(listener.loopback);
	close(listener.fd);
	assert_false(listener_open(&listener, "no.such.host.invalid", 0, -1, &error));
	assert_int_equal(error.code, ERROR_BIND);
	assert_false(listener_open(&listener, "127.0.0.1", 70000, -1, &error));
	assert_int_equal(error.code, ERROR_BIND);
}

static void ipv6_is_loopback_too(void **state)
{
	(void)state;
	struct listener listener;
	struct error error;
	if (!listener_open(&listener, "[::1]", 0, -1, &error))
		skip(); /* a machine without IPv6 */
	assert_true(listener.loopback);
	assert_string_equal(listener.host, "::1");
	close(listener.fd);
}

static void unix_sockets_replace_only_stale_ones(void **state)
{
	(void)state;
	char folder[] = "/tmp/tallow-test-XXXXXX";
	assert_non_null(mkdtemp(folder));
	char path[64], host[80];
	snprintf(path, sizeof path, "%s/s", folder);
	snprintf(host, sizeof host, "unix:%s", path);
	struct listener listener, second;
	struct error error;
	struct stat info;
	assert_true(listener_open(&listener, host, 0, -1, &error));
	assert_true(listener.is_unix && listener.loopback && listener.port == 0);
	assert_int_equal(stat(path, &info), 0);
	assert_int_equal(info.st_mode & 0777, 0600);
	/* Somebody listens: not ours to take, and not ours to remove. */
	assert_false(listener_open(&second, host, 0, -1, &error));
	assert_int_equal(stat(path, &info), 0);
	/* Nobody listens any more. */
	close(listener.fd);
	assert_true(listener_open(&second, host, 0, -1, &error));
	close(second.fd);
	listener_remove_file(&second);
	assert_int_not_equal(stat(path, &info), 0);
	/* A file that is no socket stays. */
	FILE *file = fopen(path, "w");
	fclose(file);
	assert_false(listener_open(&listener, host, 0, -1, &error));
	assert_int_equal(stat(path, &info), 0);
	unlink(path);
	rmdir(folder);
}

static void inherited_descriptors_are_checked(void **state)
{
	(void)state;
	struct listener first, listener;
	struct error error;
	assert_true(listener_open(&first, "127.0.0.1", 0, -1, &error));
	assert_true(listener_open(&listener, "ignored", 0, first.fd, &error));
	assert_int_equal(listener.port, first.port);
	close(first.fd);
	int pipes[2];
	assert_int_equal(pipe(pipes), 0);
	assert_false(listener_open(&listener, "127.0.0.1", 0, pipes[0], &error));
	close(pipes[0]);
	close(pipes[1]);
	assert_false(listener_open(&listener, "127.0.0.1", 0, socket(AF_INET, SOCK_STREAM, 0), &error));
	assert_int_equal(error.code, ERROR_BIND);
}

/* A connected TCP pair: ends[0] is the server's. */
static void tcp_pair(int ends[2])
{
	struct listener listener;
	struct error error;
	assert_true(listener_open(&listener, "127.0.0.1", 0, -1, &error));
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)listener.port)};
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	ends[1] = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(connect(ends[1], (struct sockaddr *)&address, sizeof address), 0);
	do
		ends[0] = accept(listener.fd, NULL, NULL);
	while (ends[0] < 0);
	close(listener.fd);
}

static bool is_shut(int client)
{
	char byte;
	return recv(client, &byte, 1, MSG_DONTWAIT) == 0;
}

static const int64_t second_ns = 1000000000;

/* An emulator does not pass on what the kernel knows of a connection. */
static bool kernel_counts_bytes(int fd)
{
	struct tcp_info info;
	socklen_t n_bytes = sizeof info;
	return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &n_bytes) == 0 &&
	       n_bytes > offsetof(struct tcp_info, tcpi_bytes_received);
}

static void slow_headers_end_and_idle_stays(void **state)
{
	(void)state;
	struct connections connections;
	connections_init(&connections, 10, 10);
	int idle[2], slow[2];
	tcp_pair(idle);
	tcp_pair(slow);
	if (!kernel_counts_bytes(slow[0]))
		skip();
	struct connection *a = connection_add(&connections, idle[0]), *b = connection_add(&connections, slow[0]);
	int64_t now = clock_ns();
	connections_sweep(&connections, now);
	assert_int_equal(send(slow[1], "G", 1, 0), 1);
	char byte;
	assert_int_equal(recv(slow[0], &byte, 1, 0), 1); /* read by the library long ago; the count remembers */
	connections_sweep(&connections, now + second_ns);
	connections_sweep(&connections, now + 8 * second_ns);
	assert_false(is_shut(slow[1]));
	connections_sweep(&connections, now + 12 * second_ns);
	assert_true(is_shut(slow[1]));
	assert_false(is_shut(idle[1]));
	connection_remove(&connections, a);
	connection_remove(&connections, b);
	assert_int_equal(connections_count(&connections), 0);
	for (int i = 0; i < 2; i++) {
		close(idle[i]);
		close(slow[i]);
	}
	connections_destroy(&connections);
}

static void slow_bodies_end_and_answers_do_not(void **state)
{
	(void)state;
	struct connections connections;
	connections_init(&connections, 10, 10);
	int body[2], busy[2];
	tcp_pair(body);
	tcp_pair(busy);
	struct connection *a = connection_add(&connections, body[0]), *b = connection_add(&connections, busy[0]);
	connection_enter(&connections, a, CONNECTION_BODY);
	connection_enter(&connections, b, CONNECTION_BUSY);
	int64_t now = clock_ns();
	connections_sweep(&connections, now + 29 * second_ns);
	assert_false(is_shut(body[1]));
	connections_sweep(&connections, now + 31 * second_ns);
	assert_true(is_shut(body[1]));
	connections_sweep(&connections, now + 10000 * second_ns);
	assert_false(is_shut(busy[1]));
	connection_remove(&connections, b);
	connection_remove(&connections, a);
	for (int i = 0; i < 2; i++) {
		close(body[i]);
		close(busy[i]);
	}
	connections_destroy(&connections);
}

static void the_longest_idle_makes_room(void **state)
{
	(void)state;
	struct connections connections;
	connections_init(&connections, 2, 2);
	int ends[3][2];
	struct connection *list[3];
	for (int i = 0; i < 3; i++) {
		tcp_pair(ends[i]);
		list[i] = connection_add(&connections, ends[i][0]);
		if (i == 0)
			connection_enter(&connections, list[0], CONNECTION_BUSY);
	}
	assert_false(is_shut(ends[0][1])); /* older, but at work */
	assert_true(is_shut(ends[1][1]));
	assert_false(is_shut(ends[2][1]));
	for (int i = 0; i < 3; i++) {
		connection_remove(&connections, list[i]);
		close(ends[i][0]);
		close(ends[i][1]);
	}
	connections_destroy(&connections);
}

static void answers_that_nobody_reads_end(void **state)
{
	(void)state;
	struct connections connections;
	connections_init(&connections, 10, 10);
	int small[2], large[2];
	tcp_pair(small);
	tcp_pair(large);
	struct connection *a = connection_add(&connections, small[0]), *b = connection_add(&connections, large[0]);
	connection_send(&connections, a, 1000);
	connection_send(&connections, b, 64 << 20);
	int64_t now = clock_ns();
	connections_sweep(&connections, now + 74 * second_ns);
	assert_false(is_shut(small[1]));
	connections_sweep(&connections, now + 76 * second_ns);
	assert_true(is_shut(small[1]));
	connections_sweep(&connections, now + 1000 * second_ns);
	assert_false(is_shut(large[1])); /* a poor line takes so long */
	connections_sweep(&connections, now + 1200 * second_ns);
	assert_true(is_shut(large[1]));
	connection_remove(&connections, a);
	connection_remove(&connections, b);
	for (int i = 0; i < 2; i++) {
		close(small[i]);
		close(large[i]);
	}
	connections_destroy(&connections);
}

/* Nobody comes as far as connection_add once the spare places are taken, so that the sweep has to make room. */
static void unread_answers_make_room(void **state)
{
	(void)state;
	enum { PLACES = 2, COMING = 4 };
	struct connections connections;
	connections_init(&connections, PLACES, COMING);
	int ends[COMING][2];
	struct connection *list[COMING];
	for (int i = 0; i < COMING; i++) {
		tcp_pair(ends[i]);
		list[i] = connection_add(&connections, ends[i][0]);
		connection_enter(&connections, list[i], CONNECTION_BUSY);
		if (i > 0)
			connection_send(&connections, list[i], 1000);
	}
	int64_t now = clock_ns();
	connections_sweep(&connections, now);
	for (int i = 0; i < COMING; i++)
		assert_false(is_shut(ends[i][1])); /* nobody dawdles yet */
	connections_sweep(&connections, now + 2 * second_ns);
	assert_true(is_shut(ends[1][1]) && is_shut(ends[2][1]));
	assert_false(is_shut(ends[0][1]) || is_shut(ends[3][1])); /* at work; and there is room */
	connections_sweep(&connections, now + 3 * second_ns);
	assert_false(is_shut(ends[3][1]));
	for (int i = 0; i < COMING; i++) {
		connection_remove(&connections, list[i]);
		close(ends[i][0]);
		close(ends[i][1]);
	}
	connections_destroy(&connections);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(tcp_listeners_describe_themselves),
	    cmocka_unit_test(ipv6_is_loopback_too),
	    cmocka_unit_test(unix_sockets_replace_only_stale_ones),
	    cmocka_unit_test(inherited_descriptors_are_checked),
	    cmocka_unit_test(slow_headers_end_and_idle_stays),
	    cmocka_unit_test(slow_bodies_end_and_answers_do_not),
	    cmocka_unit_test(the_longest_idle_makes_room),
	    cmocka_unit_test(answers_that_nobody_reads_end),
	    cmocka_unit_test(unread_answers_make_room),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
