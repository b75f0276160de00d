/* worker/process: a process that cannot end in good order ends all the same; what a supervisor takes from its worker. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "worker/supervised.h"
#include "worker/systemd.h"
#include "worker/worker.h"

static void test_what_hangs_is_ended(void **state)
{
	(void)state;
	pid_t child = fork();
	if (child == 0) {
		dup2(open("/dev/null", O_WRONLY), STDERR_FILENO);
		worker_end_within(1);
		for (;;)
			pause();
	}
	int status;
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 70);
}

/* In a process of a user who is not exempt, and has no other thread. */
static void in_a_small_cage(int n_threads, int exit_code)
{
	pid_t child = fork();
	if (child == 0) {
		struct error error = {0};
		struct rlimit limit = {.rlim_cur = 6, .rlim_max = 6};
		bool caged = setrlimit(RLIMIT_NPROC, &limit) == 0 && (geteuid() != 0 || setresuid(54321, 54321, 54321) == 0);
		if (!caged || geteuid() == 0)
			_exit(100);
		bool ok = worker_check_threads(n_threads, &error);
		_exit(ok ? 0 : error.code == ERROR_MEMORY && strstr(error.message, " of the 9 threads that") != NULL ? 4 : 1);
	}
	int status;
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 100)
		skip();
	assert_int_equal(WEXITSTATUS(status), exit_code);
}

static void test_too_few_threads_are_noticed(void **state)
{
	(void)state;
	struct error error = {0};
	assert_true(worker_check_threads(20, &error));
	if (geteuid() == 0)
		in_a_small_cage(3, 0);
	in_a_small_cage(9, 4);
}

/* Stands for systemd: a socket to whose other end systemd_notify speaks from now on. */
static int open_systemd(void)
{
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	char name[64];
	snprintf(name, sizeof name, "tallow-test-notify-%d", (int)getpid());
	memcpy(address.sun_path + 1, name, strlen(name)); /* in the abstract namespace */
	socklen_t n_bytes = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name));
	assert_int_equal(bind(fd, (struct sockaddr *)&address, n_bytes), 0);
	memmove(name + 1, name, strlen(name) + 1);
	name[0] = '@';
	setenv("NOTIFY_SOCKET", name, 1);
	systemd_open();
	unsetenv("NOTIFY_SOCKET");
	return fd;
}

static void test_systemd_is_told_what_a_worker_may_say(void **state)
{
	(void)state;
	static const char *const said[] = {"MAINPID=1",   "READY=1",    "READY=1\nMAINPID=1", "FDSTORE=1", TELLS_LISTENING,
	                                   "WATCHDOG=1 ", "WATCHDOG=1", "WATCHDOG=trigger",   "STATUS=x",  "STOPPING=1"};
	static const char *const passed[] = {"READY=1", "WATCHDOG=1"};
	int channel[2], systemd = open_systemd();
	char word[100];
	ssize_t n;
	size_t n_passed = 0;
	struct heard heard = {0};
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, channel), 0);
	supervised_hear(channel[0], &heard);
	assert_false(heard.listening || heard.ready || heard.closed);
	for (size_t i = 0; i < sizeof said / sizeof *said; i++)
		assert_true(send(channel[1], said[i], strlen(said[i]), 0) > 0);
	supervised_hear(channel[0], &heard);
	assert_true(heard.listening && heard.ready && heard.stopping && !heard.closed);
	for (; (n = recv(systemd, word, sizeof word - 1, 0)) > 0; n_passed++) {
		word[n] = '\0';
		assert_true(n_passed < sizeof passed / sizeof *passed);
		assert_string_equal(word, passed[n_passed]);
	}
	assert_int_equal(n_passed, sizeof passed / sizeof *passed);
	close(channel[1]);
	supervised_hear(channel[0], &heard);
	assert_true(heard.closed);
	close(channel[0]);
	close(systemd);
}

/* Others are to be heard as well. */
static void test_a_worker_is_heard_a_while(void **state)
{
	(void)state;
	int channel[2], n_left = 0;
	char word[100];
	struct heard heard = {0};
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, channel), 0);
	for (int i = 0; i < HEARD_AT_ONCE + 2; i++)
		assert_true(send(channel[1], "x", 1, 0) > 0);
	close(channel[1]);
	supervised_hear(channel[0], &heard);
	assert_false(heard.closed);
	while (recv(channel[0], word, sizeof word, 0) > 0)
		n_left++;
	assert_int_equal(n_left, 2);
	close(channel[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_what_hangs_is_ended),
	    cmocka_unit_test(test_too_few_threads_are_noticed),
	    cmocka_unit_test(test_systemd_is_told_what_a_worker_may_say),
	    cmocka_unit_test(test_a_worker_is_heard_a_while),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
