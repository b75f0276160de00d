/* The log with a thread of its own: nobody who logs waits for a reader, what is lost is told in its place, and an output
 * that nobody reads keeps nothing from the other. What lines look like: test_base. */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"

enum { N_LINES = 5000, PATIENCE_MS = 60000 };

/* Standard output or error becomes a pipe of the smallest size. */
struct pipe_of {
	int fd, saved_fd, read_fd;
};

static struct pipe_of take_fd(int fd)
{
	int ends[2];
	fflush(stdout);
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	assert_true(fcntl(ends[1], F_SETPIPE_SZ, 4096) > 0);
	struct pipe_of pipe = {.fd = fd, .saved_fd = dup(fd), .read_fd = ends[0]};
	dup2(ends[1], fd);
	close(ends[1]);
	return pipe;
}

static void give_back_fd(const struct pipe_of *pipe)
{
	dup2(pipe->saved_fd, pipe->fd);
	close(pipe->saved_fd);
}

/* Reads until the text ends with `end`, or to the end of the pipe. */
static size_t read_until(int fd, const char *end, char *text, size_t capacity)
{
	size_t n = 0;
	while (n < capacity - 1 && (!end || n < strlen(end) || memcmp(text + n - strlen(end), end, strlen(end)) != 0)) {
		struct pollfd readable = {.fd = fd, .events = POLLIN};
		if (poll(&readable, 1, PATIENCE_MS) <= 0)
			break;
		ssize_t got = read(fd, text + n, capacity - 1 - n);
		if (got <= 0)
			break;
		n += (size_t)got;
	}
	text[n] = 0;
	return n;
}

static void start(void)
{
	struct error error = {0};
	log_init(LOG_INFO, LOG_FORMAT_JSON);
	if (!log_start(&error))
		fail_msg("%s", error.message);
}

static int64_t number_after(const char *line, const char *key)
{
	const char *at = strstr(line, key);
	return at ? strtoll(at + strlen(key), NULL, 10) : -1;
}

/* Every line is there, or counted where it is missing. */
static int64_t check_lines(char *text, int64_t *n_dropped)
{
	int64_t next = 0;
	*n_dropped = 0;
	for (char *rest = text, *line; (line = strsep(&rest, "\n")) && *line;) {
		assert_int_equal(line[strlen(line) - 1], '}');
		int64_t lost = number_after(line, "\"lines\":"), number = number_after(line, "\"number\":");
		if (lost > 0) {
			*n_dropped += lost;
			next += lost;
			continue;
		}
		assert_int_equal(number, next);
		next++;
	}
	return next;
}

struct reading {
	int fd;
	char *text;
	size_t capacity;
};

static void *read_all(void *argument)
{
	struct reading *reading = argument;
	read_until(reading->fd, NULL, reading->text, reading->capacity);
	return NULL;
}

static void what_is_lost_is_told_in_its_place(void **state)
{
	(void)state;
	struct reading reading = {.capacity = 4 << 20};
	reading.text = malloc(reading.capacity);
	struct pipe_of errors = take_fd(STDERR_FILENO), output = take_fd(STDOUT_FILENO);
	start();
	for (int i = 0; i < N_LINES; i++)
		log_event(LOG_INFO, "line", NULL, LOG_INT("number", i));
	/* Nobody has read a byte of these, and the other output is as free as ever. */
	char ready[64];
	log_raw(STDOUT_FILENO, "ready\n", 6, NULL);
	size_t n_ready = read_until(output.read_fd, "\n", ready, sizeof ready);

	reading.fd = errors.read_fd;
	pthread_t reader;
	pthread_create(&reader, NULL, read_all, &reading);
	for (int i = N_LINES; i < 2 * N_LINES; i++)
		log_event(LOG_INFO, "line", NULL, LOG_INT("number", i));
	log_stop();
	give_back_fd(&errors);
	give_back_fd(&output);
	pthread_join(reader, NULL);
	close(errors.read_fd);
	close(output.read_fd);
	assert_int_equal(n_ready, 6);
	assert_string_equal(ready, "ready\n");
	int64_t n_dropped;
	assert_int_equal(check_lines(reading.text, &n_dropped), 2 * N_LINES);
	assert_true(n_dropped > 0);
	assert_int_equal(log_lines_dropped(), n_dropped);
	free(reading.text);
}

/* An end does not wait for ever, nor does it lose what somebody reads. */
static void the_end_is_bounded(void **state)
{
	(void)state;
	struct pipe_of errors = take_fd(STDERR_FILENO), output = take_fd(STDOUT_FILENO);
	char text[4096], block[4096] = {0};
	assert_int_equal(write(STDOUT_FILENO, block, sizeof block), sizeof block); /* full */
	start();
	log_raw(STDOUT_FILENO, "ready\n", 6, NULL);
	log_event(LOG_INFO, "last", NULL);
	log_stop();
	log_event(LOG_INFO, "late", NULL); /* nobody writes it, nobody waits */
	give_back_fd(&errors);
	give_back_fd(&output);
	read_until(errors.read_fd, NULL, text, sizeof text);
	close(errors.read_fd);
	close(output.read_fd);
	assert_non_null(strstr(text, "\"event\":\"last\"}\n"));
	assert_null(strstr(text, "late"));
}

static void a_reader_that_is_gone_is_told(void **state)
{
	(void)state;
	signal(SIGPIPE, SIG_IGN); /* as main does */
	struct pipe_of errors = take_fd(STDERR_FILENO), output = take_fd(STDOUT_FILENO);
	char text[4096];
	close(output.read_fd);
	start();
	log_raw(STDOUT_FILENO, "ready\n", 6, "ready_line_unread");
	read_until(errors.read_fd, "\n", text, sizeof text);
	close(errors.read_fd);
	log_event(LOG_INFO, "nobody", "listens");
	log_stop();
	give_back_fd(&errors);
	give_back_fd(&output);
	assert_non_null(strstr(text, "\"event\":\"ready_line_unread\",\"message\":\"cannot write to standard output: "));
}

/* A line longer than poll promises room for still comes out whole. */
static void long_lines_come_out_whole(void **state)
{
	(void)state;
	struct pipe_of errors = take_fd(STDERR_FILENO);
	static char sent[3 * 7000 + 1], got[sizeof sent];
	memset(sent, 'x', sizeof sent - 1);
	sent[sizeof sent - 2] = '\n';
	struct reading reading = {.fd = errors.read_fd, .text = got, .capacity = sizeof got};
	start();
	pthread_t reader;
	pthread_create(&reader, NULL, read_all, &reading);
	log_raw(STDERR_FILENO, sent, sizeof sent - 1, NULL);
	log_stop();
	give_back_fd(&errors);
	pthread_join(reader, NULL);
	close(errors.read_fd);
	assert_string_equal(got, sent);
}

/* Waits for it; the file's text. */
static const char *text_when_it_has(const char *path, const char *wanted)
{
	static char text[16384];
	for (int i = 0; i < PATIENCE_MS; i++, usleep(1000)) {
		int fd = open(path, O_RDONLY | O_CLOEXEC);
		ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
		text[n > 0 ? n : 0] = 0;
		if (fd >= 0)
			close(fd);
		if (fd >= 0 && strstr(text, wanted))
			return text;
	}
	fail_msg("%s never held %s", path, wanted);
	return NULL;
}

/* Once a file is opened nothing closes it, so this test is the last. */
static void a_file_is_opened_again(void **state)
{
	(void)state;
	char folder[] = "/tmp/tallow-log-XXXXXX", path[64], moved[64];
	struct error error = {0};
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof path, "%s/log", folder);
	snprintf(moved, sizeof moved, "%s/moved", folder);
	log_init(LOG_INFO, LOG_FORMAT_JSON);
	assert_false(log_open(folder, &error));
	assert_int_equal(error.code, ERROR_USAGE);
	assert_true(log_open(path, &error));
	start();
	log_event(LOG_INFO, "first", NULL);
	text_when_it_has(path, "\"first\"}\n");
	assert_int_equal(rename(path, moved), 0);
	log_event(LOG_INFO, "second", NULL);
	assert_non_null(strstr(text_when_it_has(moved, "\"second\"}\n"), "\"first\""));
	log_reopen();
	text_when_it_has(path, ""); /* it is there, and from then on the old one is done with */
	log_event(LOG_INFO, "third", NULL);
	const char *text = text_when_it_has(path, "\"third\"}\n");
	assert_null(strstr(text, "second"));

	/* Where it cannot be opened the old one stays, and says so. */
	assert_int_equal(unlink(moved) | rename(path, moved) | mkdir(path, 0700), 0);
	log_reopen();
	assert_non_null(strstr(text_when_it_has(moved, "log_not_reopened"), path));
	assert_int_equal(rmdir(path) | unlink(moved) | rmdir(folder), 0);
	log_stop();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_is_lost_is_told_in_its_place),
	    cmocka_unit_test(the_end_is_bounded),
	    cmocka_unit_test(a_reader_that_is_gone_is_told),
	    cmocka_unit_test(long_lines_come_out_whole),
	    cmocka_unit_test(a_file_is_opened_again),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
