/* base/pool: every task runs once, nothing is left running after a region, whatever the sizes and the pauses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

#include "base/platform.h"
#include "base/pool.h"

enum { MAX_TASKS = 300, MAX_THREADS = 8 };

static void sleep_us(int us)
{
	nanosleep(&(struct timespec){.tv_nsec = us * 1000L}, NULL);
}

struct record {
	int runs[MAX_TASKS];        /* plain: only one worker may touch a task */
	int by_worker[MAX_THREADS]; /* plain: a worker number belongs to one thread at a time */
	int worker_limit;           /* numbers must be below */
	atomic_int bad_worker;
	const int *input; /* written by the caller before the region */
	int slow_us;
};

static void record_task(void *context, int task, int worker)
{
	struct record *record = context;
	if (worker < 0 || worker >= record->worker_limit) {
		atomic_fetch_add(&record->bad_worker, 1);
		return;
	}
	record->runs[task] += record->input[task];
	record->by_worker[worker]++;
	if (record->slow_us)
		sleep_us(record->slow_us);
}

static void run_and_check(struct pool *pool, int n_tasks, int worker_limit, int slow_us)
{
	int input[MAX_TASKS];
	struct record record = {.worker_limit = worker_limit, .input = input, .slow_us = slow_us};
	for (int i = 0; i < n_tasks; i++)
		input[i] = i + 1;
	pool_run(pool, n_tasks, record_task, &record);
	int total = 0;
	for (int i = 0; i < MAX_TASKS; i++)
		assert_int_equal(record.runs[i], i < n_tasks ? i + 1 : 0);
	for (int i = 0; i < MAX_THREADS; i++)
		total += record.by_worker[i];
	assert_int_equal(total, n_tasks);
	assert_int_equal(atomic_load(&record.bad_worker), 0);
}

static struct pool *create(int n_threads)
{
	struct error error = {0};
	struct pool *pool = pool_create(n_threads, NULL, 0, &error);
	assert_non_null(pool);
	assert_int_equal(pool_size(pool), n_threads);
	return pool;
}

static void every_task_runs_once(void **state)
{
	(void)state;
	for (int n_threads = 1; n_threads <= 4; n_threads++) {
		struct pool *pool = create(n_threads);
		for (int region = 0; region < 600; region++)
			run_and_check(pool, (region * 7) % 61, n_threads, 0);
		run_and_check(pool, MAX_TASKS, n_threads, 0);
		pool_destroy(pool);
	}
}

/* Pauses around the time at which workers fall asleep: no wake-up may be lost. */
static void sleeping_workers_wake_up(void **state)
{
	(void)state;
	struct pool *pool = create(3);
	for (int region = 0; region < 300; region++) {
		run_and_check(pool, 1 + region % 9, 3, 0);
		sleep_us(region % 10 * 30);
	}
	pool_destroy(pool);
}

/* Many more threads than CPUs and regions of a few tasks: most workers come when their region is over, and may find a
 * later one, with fewer threads perhaps. */
static void who_comes_late_does_no_harm(void **state)
{
	(void)state;
	struct pool *pool = create(MAX_THREADS);
	for (int region = 0; region < 3000; region++) {
		int n_active = region % 3 ? MAX_THREADS : 2;
		pool_set_active(pool, n_active);
		run_and_check(pool, 2 + region % 13, n_active, 0);
	}
	pool_destroy(pool);
}

/* Workers that outlast the caller by more than it spins. */
static void the_caller_waits_for_slow_tasks(void **state)
{
	(void)state;
	struct pool *pool = create(4);
	for (int region = 0; region < 30; region++)
		run_and_check(pool, 5, 4, 400);
	pool_destroy(pool);
}

static void fewer_threads_can_be_active(void **state)
{
	(void)state;
	struct pool *pool = create(4);
	for (int round = 0; round < 200; round++) {
		int n_active = 1 + round * 3 % 4;
		pool_set_active(pool, n_active);
		for (int region = 0; region < 4; region++)
			run_and_check(pool, 24, n_active, 0);
	}
	pool_destroy(pool);
}

/* Ends only when all three tasks are under way at once, or after minutes. */
static void meet_the_others(void *context, int task, int worker)
{
	atomic_int *n_here = context;
	(void)task, (void)worker;
	atomic_fetch_add(n_here, 1);
	for (int i = 0; i < 2000000 && atomic_load(n_here) % 3; i++)
		sleep_us(100);
	if (atomic_load(n_here) % 3)
		atomic_fetch_add(n_here, 1000);
}

static void workers_run_at_the_same_time(void **state)
{
	(void)state;
	struct pool *pool = create(3);
	for (int region = 0; region < 20; region++) {
		atomic_int n_here = 0;
		pool_run(pool, 3, meet_the_others, &n_here);
		assert_int_equal(atomic_load(&n_here), 3);
	}
	pool_destroy(pool);
}

static int64_t process_cpu_ns(void)
{
	struct timespec used;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
	return (int64_t)used.tv_sec * 1000000000 + used.tv_nsec;
}

static void an_idle_pool_costs_no_cpu(void **state)
{
	(void)state;
	struct pool *pool = create(4);
	run_and_check(pool, 64, 4, 0);
	int64_t used_ns = INT64_MAX;
	for (int i = 0; i < 300 && used_ns >= 20000000; i++) { /* until they have fallen asleep */
		int64_t before_ns = process_cpu_ns();
		sleep_us(200000);
		used_ns = process_cpu_ns() - before_ns;
	}
	assert_true(used_ns < 20000000);
	pool_destroy(pool);
}

static void block_check(void *context, int task, int worker)
{
	sigset_t blocked;
	(void)task;
	pthread_sigmask(SIG_SETMASK, NULL, &blocked);
	if (worker > 0 && !(sigismember(&blocked, SIGTERM) && sigismember(&blocked, SIGINT)))
		atomic_fetch_add((atomic_int *)context, 1);
	sleep_us(5000);
}

static void workers_block_signals_and_the_caller_does_not(void **state)
{
	(void)state;
	sigset_t before, after;
	pthread_sigmask(SIG_SETMASK, NULL, &before);
	struct pool *pool = create(2);
	pthread_sigmask(SIG_SETMASK, NULL, &after);
	assert_int_equal(sigismember(&before, SIGTERM), sigismember(&after, SIGTERM));
	atomic_int open_workers = 0;
	pool_run(pool, 4, block_check, &open_workers);
	assert_int_equal(atomic_load(&open_workers), 0);
	pool_destroy(pool);
}

static void pinning_to_a_missing_cpu_is_no_error(void **state)
{
	(void)state;
	struct error error;
	static const int cpus[] = {0, 1000, 1 << 20};
	struct pool *pool = pool_create(4, cpus, 3, &error);
	assert_non_null(pool);
	run_and_check(pool, 50, 4, 0);
	pool_destroy(pool);
}

static void pools_come_and_go(void **state)
{
	(void)state;
	for (int i = 0; i < 60; i++) {
		struct pool *pool = create(1 + i % 4);
		if (i % 3)
			run_and_check(pool, i % 5, 4, 0);
		pool_destroy(pool);
	}
	pool_destroy(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_task_runs_once),
	    cmocka_unit_test(sleeping_workers_wake_up),
	    cmocka_unit_test(who_comes_late_does_no_harm),
	    cmocka_unit_test(the_caller_waits_for_slow_tasks),
	    cmocka_unit_test(fewer_threads_can_be_active),
	    cmocka_unit_test(workers_run_at_the_same_time),
	    cmocka_unit_test(an_idle_pool_costs_no_cpu),
	    cmocka_unit_test(workers_block_signals_and_the_caller_does_not),
	    cmocka_unit_test(pinning_to_a_missing_cpu_is_no_error),
	    cmocka_unit_test(pools_come_and_go),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
