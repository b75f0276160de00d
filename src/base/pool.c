/* The compute pool: one word per worker starts it, a range of tasks per worker shares the work out, a count of tasks that
 * are left ends the region.
 *
 * A region ends with its last task, not with its last worker: where other programs run on the same CPUs, a worker may come
 * milliseconds late, and finds nothing to do, or the tasks of a later region, which it may take as well. A worker's word
 * has a cache line of its own and three values: WAITING (the worker spins on it), ASLEEP (the worker sleeps on it), RUN
 * (the caller wants it). Whoever waits spins first (a layer has a dozen regions, microseconds apart) and then sleeps on a
 * futex. It never yields in between: beside another program that costs a time slice, a thousand times what spinning does.
 *
 * A range is one word, so that its owner, who takes tasks from its front, and the others, who steal from its back when
 * their own is empty, agree by compare and exchange. A task is run once its range was changed, so whoever changed it
 * belongs to the region that runs now: its tasks are not done before this one is. Ranges instead of one counter because
 * neighbouring tasks read neighbouring memory: a worker that stays in one stream reads up to 1.2 times as fast as two that
 * take turns (measured, 2 threads: 33.7 GB/s against 27.9), and on a machine with several memories it reads what it
 * touched first.
 */
#include "base/pool.h"

#include <assert.h>
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

#include "base/checked.h"
#include "base/platform.h"

enum {
	SPIN_NS = 100000,         /* longer than the gap between two regions of a step */
	PAUSES_BETWEEN_LOOKS = 4, /* at the word that is waited for */
	LOOKS_PER_CLOCK = 16,     /* reading the clock costs as much as several looks */
	CACHE_LINE_BYTES = 64,
	RANGE_BITS = 24, /* of a task's number */
	MAX_TASKS = (1 << RANGE_BITS) - 1,
	MAX_POOL_THREADS = (1 << (64 - 2 * RANGE_BITS)) - 1,
};

enum word { WAITING, ASLEEP, RUN };

struct worker {
	_Alignas(CACHE_LINE_BYTES) atomic_uint word; /* enum word; a futex */
	struct pool *pool;
	int number;
	pthread_t thread;
	_Alignas(CACHE_LINE_BYTES) atomic_ullong tasks; /* task_range */
};

struct pool {
	/* Written by the caller while no task is left, read by whoever has taken one. */
	_Alignas(CACHE_LINE_BYTES) pool_task *task;
	void *context;
	atomic_bool ending;

	_Alignas(CACHE_LINE_BYTES) atomic_uint n_left; /* tasks of the region that are not done; a futex */
	atomic_bool caller_sleeps;                     /* on n_left */

	_Alignas(CACHE_LINE_BYTES) struct worker *workers; /* [n_threads]; 0 is the caller and has no thread */
	int n_threads;
	int n_started; /* threads, so at most n_threads - 1 */
	int n_active;
};

static void futex_wait(atomic_uint *word, unsigned expected)
{
	syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected, NULL, NULL, 0);
}

static void futex_wake(atomic_uint *word)
{
	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static void cpu_pause(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

/* Looks at *word for a while; true when it became `wanted`. */
static bool spin_until(const atomic_uint *word, unsigned wanted)
{
	int64_t start_ns = 0;
	for (unsigned look = 0;; look++) {
		if (atomic_load_explicit(word, memory_order_acquire) == wanted)
			return true;
		for (int i = 0; i < PAUSES_BETWEEN_LOOKS; i++)
			cpu_pause();
		if (look % LOOKS_PER_CLOCK)
			continue;
		int64_t now_ns = clock_ns();
		if (look == 0)
			start_ns = now_ns;
		if (now_ns - start_ns > SPIN_NS)
			return false;
	}
}

/* Tasks [first, end) of a region that workers [0, n_sharing) take part in. */
static unsigned long long task_range(unsigned first, unsigned end, unsigned n_sharing)
{
	return ((unsigned long long)n_sharing << RANGE_BITS | first) << RANGE_BITS | end;
}

/* A task of the owner's range, its first or its last; -1 when there is none left for this worker. */
static int take_task(struct worker *owner, int worker, bool take_first)
{
	unsigned long long range = atomic_load_explicit(&owner->tasks, memory_order_relaxed), rest;
	unsigned first, end;
	do {
		unsigned n_sharing = (unsigned)(range >> 2 * RANGE_BITS);
		first = (unsigned)(range >> RANGE_BITS) & MAX_TASKS;
		end = (unsigned)range & MAX_TASKS;
		if (first >= end || (unsigned)worker >= n_sharing)
			return -1;
		rest = take_first ? task_range(first + 1, end, n_sharing) : task_range(first, end - 1, n_sharing);
	} while (!atomic_compare_exchange_weak_explicit(&owner->tasks, &range, rest, memory_order_acquire,
	                                                memory_order_relaxed));
	return (int)(take_first ? first : end - 1);
}

/* Every task that can be had, the worker's own first; the number of them. */
static unsigned run_tasks(struct pool *pool, int worker)
{
	unsigned n_done = 0;
	for (int i = 0; i < pool->n_threads; i++) {
		struct worker *owner = &pool->workers[(worker + i) % pool->n_threads];
		for (int task; (task = take_task(owner, worker, i == 0)) >= 0; n_done++)
			pool->task(pool->context, task, worker);
	}
	return n_done;
}

/* ---- a worker's side ---- */

static void wait_for_order(struct worker *worker)
{
	if (!spin_until(&worker->word, RUN)) {
		unsigned word = WAITING;
		/* Fails when the caller's RUN came first. */
		atomic_compare_exchange_strong(&worker->word, &word, ASLEEP);
		while (atomic_load(&worker->word) != RUN)
			futex_wait(&worker->word, ASLEEP);
	}
	/* Before the ranges are looked at: an order that comes from now on stays, and one that came until now has its tasks
	 * in the ranges. */
	atomic_exchange(&worker->word, WAITING);
}

/* Both sides write before they read the other's word, in one total order: either whoever did the last task sees the
 * sleeping caller or the caller sees 0. */
static void report_done(struct pool *pool, unsigned n_done)
{
	if (n_done && atomic_fetch_sub(&pool->n_left, n_done) == n_done && atomic_load(&pool->caller_sleeps))
		futex_wake(&pool->n_left);
}

static void *worker_main(void *argument)
{
	struct worker *worker = argument;
	struct pool *pool = worker->pool;
	platform_name_thread("compute");
	for (;;) {
		wait_for_order(worker);
		if (atomic_load(&pool->ending))
			return NULL;
		report_done(pool, run_tasks(pool, worker->number));
	}
}

/* ---- the caller's side ---- */

static void order_to_run(struct worker *worker)
{
	if (atomic_exchange(&worker->word, RUN) == ASLEEP)
		futex_wake(&worker->word);
}

static void wait_for_tasks(struct pool *pool)
{
	if (spin_until(&pool->n_left, 0))
		return;
	atomic_store(&pool->caller_sleeps, true);
	for (unsigned left; (left = atomic_load(&pool->n_left)) != 0;)
		futex_wait(&pool->n_left, left);
	atomic_store(&pool->caller_sleeps, false);
}

void pool_run(struct pool *pool, int n_tasks, pool_task *task, void *context)
{
	assert(n_tasks <= MAX_TASKS);
	int n_threads = n_tasks < pool->n_active ? n_tasks : pool->n_active;
	if (n_threads <= 1) {
		for (int i = 0; i < n_tasks; i++)
			task(context, i, 0);
		return;
	}
	pool->task = task;
	pool->context = context;
	atomic_store_explicit(&pool->n_left, (unsigned)n_tasks, memory_order_relaxed);
	/* From here on somebody who comes late from an earlier region may take part. */
	for (int64_t i = 0; i < n_threads; i++) {
		unsigned first = (unsigned)(i * n_tasks / n_threads), end = (unsigned)((i + 1) * n_tasks / n_threads);
		atomic_store_explicit(&pool->workers[i].tasks, task_range(first, end, (unsigned)n_threads),
		                      memory_order_release);
	}
	for (int i = 1; i < n_threads; i++)
		order_to_run(&pool->workers[i]);
	report_done(pool, run_tasks(pool, 0));
	wait_for_tasks(pool);
}

/* ---- life ---- */

static int start_worker(struct pool *pool, int number, const int *cpus, int n_cpus)
{
	struct worker *worker = &pool->workers[number];
	worker->pool = pool;
	worker->number = number;
	int failure = pthread_create(&worker->thread, NULL, worker_main, worker);
	if (failure)
		return failure;
	pool->n_started++;
	if (n_cpus) {
		cpu_set_t set;
		CPU_ZERO(&set);
		CPU_SET((size_t)cpus[number % n_cpus], &set);
		/* Fails for a CPU that is not ours any more: run unpinned. */
		(void)pthread_setaffinity_np(worker->thread, sizeof set, &set);
	}
	return 0;
}

static void *zeroed_lines(size_t n_items, size_t item_bytes)
{
	size_t n_bytes;
	void *memory = checked_mul(n_items, item_bytes, &n_bytes) ? aligned_alloc(CACHE_LINE_BYTES, n_bytes) : NULL;
	return memory ? memset(memory, 0, n_bytes) : NULL;
}

struct pool *pool_create(int n_threads, const int *cpus, int n_cpus, struct error *error)
{
	assert(n_threads >= 1 && n_threads <= MAX_POOL_THREADS);
	struct pool *pool = zeroed_lines(1, sizeof *pool);
	struct worker *workers = zeroed_lines((size_t)n_threads, sizeof *workers);
	if (!pool || !workers) {
		free(workers);
		free(pool);
		error_set(error, ERROR_MEMORY, "no memory for a pool of %d threads", n_threads);
		return NULL;
	}
	pool->workers = workers;
	pool->n_threads = n_threads;
	pool->n_active = n_threads;
	/* Signals are main's business; threads inherit the mask. */
	sigset_t old;
	platform_block_signals(&old);
	int failure = 0;
	for (int i = 1; i < n_threads && !failure; i++)
		failure = start_worker(pool, i, cpus, n_cpus);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (failure) {
		error_set(error, ERROR_MEMORY, "cannot start compute thread %d of %d: %s", pool->n_started + 2, n_threads,
		          strerror(failure));
		pool_destroy(pool);
		return NULL;
	}
	return pool;
}

void pool_destroy(struct pool *pool)
{
	if (!pool)
		return;
	atomic_store(&pool->ending, true);
	for (int i = 1; i <= pool->n_started; i++)
		order_to_run(&pool->workers[i]);
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
