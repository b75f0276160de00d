/* Compute pool: n threads that run one parallel region at a time for one owner (the engine thread).
 *
 *     struct pool *pool = pool_create(2, NULL, 0, &error);
 *     pool_run(pool, n_tasks, task, context);    // returns when every task ran
 *     pool_destroy(pool);
 *
 * Every worker gets an equal run of the tasks 0..n_tasks-1, takes them one by one in order, and then helps the others
 * from the end of theirs, so a slow CPU takes fewer. A task's result must depend on its number only, never on the worker
 * that ran it: that is what keeps results the same for every thread count. The caller works, too, as worker 0. Workers
 * spin for 0.1 ms after a region and then sleep, so an idle pool costs no CPU.
 */
#ifndef TALLOW_BASE_POOL_H
#define TALLOW_BASE_POOL_H

#include "base/error.h"

struct pool;

typedef void pool_task(void *context, int task, int worker); /* worker in [0, pool_size) */

/* n_threads >= 1 counts the caller. NULL: a thread cannot be started, or memory is short. cpus[n_cpus] pins worker i to
 * cpus[i % n_cpus], except the caller, which pins itself if it wants to; n_cpus 0 pins nothing. */
struct pool *pool_create(int n_threads, const int *cpus, int n_cpus, struct error *error) MUST_USE;
void pool_destroy(struct pool *pool);   /* joins its threads; NULL is harmless */
int pool_size(const struct pool *pool); /* threads, the caller included */
/* Runs task(context, i, worker) once for each i in [0, n_tasks), n_tasks < 2^24, and returns when all have ended, whether
 * or not every worker came; cannot fail. Not to be nested, and called by one thread at a time. What the tasks wrote is
 * visible to the caller afterwards. */
void pool_run(struct pool *pool, int n_tasks, pool_task *task, void *context);
/* Use n_threads from the next region on (the CPU quota changed), 1..pool_size; the others sleep. The owner calls it. */
void pool_set_active(struct pool *pool, int n_threads);

#endif
