/* The compute pool: a generation counter starts a region, a task counter shares it out, a countdown ends it.
 *
 * Start and end cross between cores through one cache line each. Whoever waits spins first (a layer has a dozen regions,
 * microseconds apart) and then sleeps on a futex, so that an idle pool costs nothing.
 */
#include "base/pool.h"

#include <assert.h>
#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
	SPINS_BEFORE_SLEEP = 20000,  /* tens of microseconds: longer than the gap between two regions of a step */
	SPINS_BETWEEN_YIELDS = 1000, /* where there are fewer CPUs than threads, let the others work */
	CACHE_LINE_BYTES = 64,
};

struct worker {
	struct pool *pool;
	int number;
	pthread_t thread;
};

struct pool {
	/* Written by the caller at the start of a region, read by all. */
	_Alignas(CACHE_LINE_BYTES) atomic_uint generation;
	atomic_uint sleepers; /* workers asleep on generation */
	pool_task *task;
	void *context;
	int n_tasks;
	int n_taking_part; /* of the region, the caller included */

	_Alignas(CACHE_LINE_BYTES) atomic_int next_task;
	_Alignas(CACHE_LINE_BYTES) atomic_uint n_working; /* workers that have not finished the region */
	atomic_uint caller_sleeps;

	_Alignas(CACHE_LINE_BYTES) int n_threads;
	int n_active;
	bool ending;
	struct worker *workers; /* [n_threads]; 0 is the caller and has no thread */
	int n_started;
};

static void pause_briefly(int spin)
{
	if (spin % SPINS_BETWEEN_YIELDS == SPINS_BETWEEN_YIELDS - 1)
		sched_yield();
	else
		__builtin_ia32_pause();
}

static void futex_wait(atomic_uint *word, unsigned expected)
{
	syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected, NULL, NULL, 0);
}

static void futex_wake_all(atomic_uint *word)
{
	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT32_MAX, NULL, NULL, 0);
}

static void run_tasks(struct pool *pool, int worker)
{
	for (int task; (task = atomic_fetch_add_explicit(&pool->next_task, 1, memory_order_relaxed)) < pool->n_tasks;)
		pool->task(pool->context, task, worker);
}

static unsigned wait_for_region(struct pool *pool, unsigned seen)
{
	unsigned now;
	for (int spin = 0; spin < SPINS_BEFORE_SLEEP; spin++) {
		now = atomic_load_explicit(&pool->generation, memory_order_acquire);
		if (now != seen)
			return now;
		pause_briefly(spin);
	}
	/* Announce first, look again, then sleep: the caller writes the generation first and looks for sleepers after. */
	atomic_fetch_add(&pool->sleepers, 1);
	while ((now = atomic_load(&pool->generation)) == seen)
		futex_wait(&pool->generation, seen);
	atomic_fetch_sub(&pool->sleepers, 1);
	return now;
}

static void leave_region(struct pool *pool)
{
	if (atomic_fetch_sub(&pool->n_working, 1) == 1 && atomic_load(&pool->caller_sleeps))
		futex_wake_all(&pool->n_working);
}

static void *worker_main(void *argument)
{
	struct worker *worker = argument;
	struct pool *pool = worker->pool;
	unsigned seen = 0;
	for (;;) {
		seen = wait_for_region(pool, seen);
		if (pool->ending)
			return NULL;
		if (worker->number < pool->n_taking_part)
			run_tasks(pool, worker->number);
		leave_region(pool);
	}
}

static void start_region(struct pool *pool)
{
	atomic_store_explicit(&pool->n_working, (unsigned)pool->n_threads - 1, memory_order_relaxed);
	atomic_store_explicit(&pool->next_task, 0, memory_order_relaxed);
	atomic_fetch_add(&pool->generation, 1);
	if (atomic_load(&pool->sleepers))
		futex_wake_all(&pool->generation);
}

static void wait_for_workers(struct pool *pool)
{
	for (int spin = 0; spin < SPINS_BEFORE_SLEEP; spin++) {
		if (atomic_load_explicit(&pool->n_working, memory_order_acquire) == 0)
			return;
		pause_briefly(spin);
	}
	atomic_store(&pool->caller_sleeps, 1);
	for (unsigned left; (left = atomic_load(&pool->n_working)) != 0;)
		futex_wait(&pool->n_working, left);
	atomic_store(&pool->caller_sleeps, 0);
}

void pool_run(struct pool *pool, int n_tasks, pool_task *task, void *context)
{
	if (n_tasks <= 1 || pool->n_active == 1) {
		for (int i = 0; i < n_tasks; i++)
			task(context, i, 0);
		return;
	}
	pool->task = task;
	pool->context = context;
	pool->n_tasks = n_tasks;
	pool->n_taking_part = pool->n_active;
	start_region(pool);
	run_tasks(pool, 0);
	wait_for_workers(pool);
}

static bool start_worker(struct pool *pool, int number, const int *cpus, int n_cpus)
{
	struct worker *worker = &pool->workers[number];
	*worker = (struct worker){.pool = pool, .number = number};
	if (pthread_create(&worker->thread, NULL, worker_main, worker) != 0)
		return false;
	pool->n_started++;
	if (n_cpus) {
		cpu_set_t set;
		CPU_ZERO(&set);
		CPU_SET((size_t)cpus[number % n_cpus], &set);
		/* A CPU that is not ours any more: run unpinned. */
		(void)pthread_setaffinity_np(worker->thread, sizeof set, &set);
	}
	return true;
}

struct pool *pool_create(int n_threads, const int *cpus, int n_cpus, struct error *error)
{
	assert(n_threads >= 1);
	struct pool *pool = aligned_alloc(CACHE_LINE_BYTES, sizeof *pool);
	if (pool)
		memset(pool, 0, sizeof *pool);
	struct worker *workers = calloc((size_t)n_threads, sizeof *workers);
	if (!pool || !workers) {
		free(workers);
		free(pool);
		error_set(error, ERROR_MEMORY, "no memory for a pool of %d threads", n_threads);
		return NULL;
	}
	pool->workers = workers;
	pool->n_threads = n_threads;
	pool->n_active = n_threads;
	/* Signals are main's business. */
	sigset_t all, old;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	bool started = true;
	for (int i = 1; i < n_threads && started; i++)
		started = start_worker(pool, i, cpus, n_cpus);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (!started) {
		error_set(error, ERROR_INTERNAL, "cannot start compute thread %d of %d: %s", pool->n_started + 1, n_threads,
		          strerror(errno));
		pool_destroy(pool);
		return NULL;
	}
	return pool;
}

void pool_destroy(struct pool *pool)
{
	if (!pool)
		return;
	pool->ending = true;
	atomic_fetch_add(&pool->generation, 1);
	futex_wake_all(&pool->generation);
	for (int i = 1; i <= pool->n_started; i++)
		pthread_join(pool->workers[i].thread, NULL);
	free(pool->workers);
	free(pool);
}

int pool_size(const struct pool *pool)
{
	return pool->n_threads;
}

void pool_set_active(struct pool *pool, int n_threads)
{
	assert(n_threads >= 1 && n_threads <= pool->n_threads);
	pool->n_active = n_threads;
}
