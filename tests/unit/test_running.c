/* base/running: which requests are kept out. What it takes to crash a worker is in e2e/test_supervise.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/running.h"

static const int64_t second_ns = 1000000000;

static struct running *make(void)
{
	struct error error;
	struct running *running = running_create(&error);
	assert_non_null(running);
	return running;
}

static uint64_t mark_of(const struct running *running, const char *body)
{
	return running_mark(running, "/execute", 8, body, strlen(body));
}

static void marks_are_of_path_and_body(void **state)
{
	(void)state;
	struct running *running = make(), *other = make();
	uint64_t mark = mark_of(running, "a");
	assert_true(mark != 0 && mark == mark_of(running, "a"));
	assert_true(mark != mark_of(running, "b") && mark != running_mark(running, "/executf", 8, "a", 1));
	assert_true(mark != mark_of(other, "a")); /* nobody can make ready what falls together with another's */
}

static void twice_is_too_often(void **state)
{
	(void)state;
	struct running *running = make();
	uint64_t poison = mark_of(running, "poison"), beside = mark_of(running, "beside");
	int64_t now_ns = 5 * second_ns;
	assert_int_equal(running_crashes(running), 0);
	assert_int_equal(running_crashed(running, now_ns), 0);
	assert_int_equal(running_crashes(running), 1);
	for (int crash = 1; crash <= RUNNING_CRASHES; crash++) {
		assert_true(running_may(running, poison, now_ns));
		assert_true(running_begin(running, poison) >= 0 && running_begin(running, poison) >= 0); /* twice at a time */
		int place = running_begin(running, beside);
		if (crash == 2)
			running_end(running, place, true); /* was answered before */
		now_ns += second_ns;
		assert_int_equal(running_crashed(running, now_ns), crash == 1 ? 3 : 2);
	}
	assert_false(running_may(running, poison, now_ns));
	assert_true(running_may(running, beside, now_ns));
	assert_true(running_may(running, mark_of(running, "new"), now_ns));
	now_ns += RUNNING_KEPT_OUT_S * second_ns;
	assert_true(running_may(running, poison, now_ns));
	assert_true(running_begin(running, poison) >= 0);
	(void)running_crashed(running, now_ns);
	assert_true(running_may(running, poison, now_ns)); /* the count began anew */
}

static void who_left_is_suspected_as_before(void **state)
{
	(void)state;
	struct running *running = make();
	uint64_t mark = mark_of(running, "a");
	for (int crash = 1; crash <= 2; crash++) {
		running_end(running, running_begin(running, mark), false); /* ended, and not by its answer */
		running_begin(running, mark);
		(void)running_crashed(running, crash * second_ns);
	}
	assert_false(running_may(running, mark, 3 * second_ns));
	running_end(running, -1, true); /* harmless */
}

static void there_is_an_end_of_places_and_none_of_crashes(void **state)
{
	(void)state;
	struct running *running = make();
	char body[32];
	int n = 0;
	while (snprintf(body, sizeof body, "%d", n) && running_begin(running, mark_of(running, body)) >= 0)
		n++;
	assert_true(n >= 1000);
	assert_int_equal(running_begin(running, mark_of(running, "one more")), -1);
	for (int crash = 1; crash < 5; crash++) {
		assert_int_equal(running_crashed(running, crash * second_ns), n);
		for (int i = 0; i < n; i++) {
			snprintf(body, sizeof body, "%d of %d", i, crash); /* others each time: more than are remembered */
			assert_true(running_begin(running, mark_of(running, body)) >= 0);
		}
	}
	assert_true(running_may(running, mark_of(running, "0 of 1"), 5 * second_ns));
}

static void a_process_that_ends_leaves_what_it_ran(void **state)
{
	(void)state;
	struct running *running = make();
	uint64_t mark = mark_of(running, "a");
	for (int crash = 1; crash <= 2; crash++) {
		pid_t child = fork();
		assert_true(child >= 0);
		if (child == 0)
			_exit(running_begin(running, mark) < 0);
		int status;
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_int_equal(status, 0);
		assert_int_equal(running_crashed(running, crash * second_ns), 1);
	}
	assert_false(running_may(running, mark, 3 * second_ns));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(marks_are_of_path_and_body),
	    cmocka_unit_test(twice_is_too_often),
	    cmocka_unit_test(who_left_is_suspected_as_before),
	    cmocka_unit_test(there_is_an_end_of_places_and_none_of_crashes),
	    cmocka_unit_test(a_process_that_ends_leaves_what_it_ran),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
