/* worker/process: a process that cannot end in good order ends all the same. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

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

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_what_hangs_is_ended),
	    cmocka_unit_test(test_too_few_threads_are_noticed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
