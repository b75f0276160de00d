/* worker/waiting_room: what a supervisor answers while there is no worker, to whoever comes and whatever they send. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/json.h"
#include "worker/waiting_room.h"

enum { ANSWER_BYTES = 2000 };

static struct waiting_room room;
static int listen_fd;
static struct sockaddr_in address = {.sin_family = AF_INET};

static int open_room(void **state)
{
	(void)state;
	socklen_t n_bytes = sizeof address;
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	address.sin_port = 0;
	listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	assert_int_equal(bind(listen_fd, (struct sockaddr *)&address, sizeof address), 0);
	assert_int_equal(listen(listen_fd, 200), 0);
	assert_int_equal(getsockname(listen_fd, (struct sockaddr *)&address, &n_bytes), 0);
	waiting_room_init(&room);
	return 0;
}

static int close_room(void **state)
{
	(void)state;
	waiting_room_clear(&room);
	close(listen_fd);
	return 0;
}

/* One turn; does not wait when nothing is there. */
static void turn(int64_t now_ns)
{
	struct pollfd fds[WAITING_ROOM_FDS];
	waiting_room_poll(&room, listen_fd, fds);
	assert_true(poll(fds, WAITING_ROOM_FDS, 20) >= 0);
	waiting_room_step(&room, fds, now_ns);
}

static int come(void)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
	return fd;
}

static int n_seated(void)
{
	int n = 0;
	for (int i = 0; i < WAITING_ROOM_SEATS; i++)
		n += room.seats[i].fd >= 0;
	return n;
}

/* All that comes until the other side closes; the client then leaves. */
static void ask(const char *request, size_t n_request, char answer[ANSWER_BYTES])
{
	int fd = come();
	size_t n = 0;
	assert_int_equal(send(fd, request, n_request, 0), n_request);
	for (ssize_t got = 1; got != 0;) {
		turn(1);
		got = recv(fd, answer + n, ANSWER_BYTES - 1 - n, MSG_DONTWAIT);
		n += got > 0 ? (size_t)got : 0;
	}
	answer[n] = 0;
	close(fd);
	while (n_seated() > 0)
		turn(1);
}

static void check_answer(const char *path, const char *status, const char *body)
{
	char request[200], answer[ANSWER_BYTES], length[64];
	struct error error;
	int n = snprintf(request, sizeof request, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}", path);
	ask(request, (size_t)n, answer);
	snprintf(length, sizeof length, "Content-Length: %zu\r\n", strlen(body));
	const char *end = strstr(answer, "\r\n\r\n");
	assert_non_null(end);
	assert_string_equal(end + 4, body);
	assert_int_equal(strncmp(answer, status, strlen(status)), 0);
	assert_non_null(strstr(answer, length));
	assert_non_null(strstr(answer, "Connection: close\r\n"));
	assert_int_equal(strstr(answer, "Retry-After: 1\r\n") != NULL, strstr(status, "503") != NULL);
	struct json *document = json_parse(body, strlen(body), &(struct json_limits){0}, &error);
	assert_non_null(document);
	json_destroy(document);
}

#define WORDS "the worker is being started; try again in a second"

static void each_api_has_its_form(void **state)
{
	(void)state;
	static const char not_now[] = "HTTP/1.1 503 Service Unavailable\r\n";
	static const char openai[] =
	    "{\"error\":{\"message\":\"" WORDS "\",\"type\":\"server_error\",\"param\":null,\"code\":null}}";
	check_answer("/health", not_now, "{\"status\":\"restarting\"}");
	check_answer("/v1/ready", not_now, "{\"ready\":false,\"status\":\"restarting\"}");
	check_answer("/livez", "HTTP/1.1 200 OK\r\n", "{\"status\":\"alive\"}");
	check_answer("/execute", not_now,
	             "{\"error\":{\"code\":\"MODEL_LOADING\",\"message\":\"" WORDS "\",\"retriable\":true}}");
	check_answer("/v1/chat/completions", not_now, openai);
	check_answer("/v1/completions?x=1", not_now, openai);
	check_answer("/v1/responses", not_now, openai);
	check_answer("/v1/files", not_now, openai);
	check_answer("/v1/inference", not_now,
	             "{\"error\":{\"code\":\"MODEL_LOADING\",\"message\":\"" WORDS "\",\"retriable\":true}}");
	check_answer("/v1/messages/count_tokens", not_now,
	             "{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"" WORDS "\"}}");
	check_answer("/api/chat", not_now, "{\"error\":\"" WORDS "\"}");
}

static void whatever_is_sent_is_answered_once(void **state)
{
	(void)state;
	char answer[ANSWER_BYTES], large[20000];
	static const struct {
		const char *bytes;
		size_t n;
	} sent[] = {{"\n", 1},         {"\0\0 \n", 4}, {"GET\r\n", 5}, {" \n", 2}, {"GET  /health\r\n\r\n", 16},
	            {"\xff\xfe \n", 4}};
	for (size_t i = 0; i < sizeof sent / sizeof *sent; i++) {
		ask(sent[i].bytes, sent[i].n, answer);
		assert_int_equal(strncmp(answer, "HTTP/1.1 503 ", 13), 0);
		assert_null(strstr(answer + 1, "HTTP/1.1"));
	}
	memset(large, 'a', sizeof large);
	ask(large, sizeof large, answer); /* a line that does not end, and much behind the answer */
	assert_int_equal(strncmp(answer, "HTTP/1.1 503 ", 13), 0);
	ask("HEAD /health HTTP/1.1\r\n\r\n", 25, answer);
	assert_string_equal(strstr(answer, "\r\n\r\n"), "\r\n\r\n");
}

static void there_is_room_for_so_many_and_not_for_ever(void **state)
{
	(void)state;
	int fds[WAITING_ROOM_SEATS + 10];
	assert_int_equal(waiting_room_due_ms(&room, 1), -1);
	for (int i = 0; i < WAITING_ROOM_SEATS + 10; i++)
		fds[i] = come();
	for (int i = 0; i < WAITING_ROOM_SEATS + 10; i++)
		turn(1);
	assert_int_equal(n_seated(), WAITING_ROOM_SEATS); /* the others wait where a worker will find them */
	int due_ms = waiting_room_due_ms(&room, 1);
	assert_true(due_ms > 0);
	turn(1 + (int64_t)due_ms * 1000000); /* they said nothing */
	assert_int_equal(n_seated(), 0);
	turn(1);
	assert_int_equal(n_seated(), 1); /* one comes after them */
	for (int i = 0; i < WAITING_ROOM_SEATS + 10; i++)
		close(fds[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(each_api_has_its_form, open_room, close_room),
	    cmocka_unit_test_setup_teardown(whatever_is_sent_is_answered_once, open_room, close_room),
	    cmocka_unit_test_setup_teardown(there_is_room_for_so_many_and_not_for_ever, open_room, close_room),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
