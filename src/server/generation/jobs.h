/* Jobs in two calls: submitted by one request, streamed by another. Until then the watchdog takes in their
 * events; a job whose stream nobody opens in time is cancelled. A job belongs to whoever made it (generation->owner): for
 * others there is none of that name, and they may have one themselves. Where places run out, a job that has ended makes room:
 * one that was cancelled or failed first, then the oldest. Any thread. */
#ifndef TALLOW_SERVER_GENERATION_JOBS_H
#define TALLOW_SERVER_GENERATION_JOBS_H

#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum {
	JOBS_MAX_WAITING = 128,
	JOBS_MAX_OF_OWNER = 64, /* of one key: others find a place, too */
	JOB_OPEN_TIMEOUT_MS = 60000,
};

struct generation;
struct job;

struct jobs {
	pthread_mutex_t lock;
	struct job *first;
	int n_jobs;
};

void jobs_init(struct jobs *jobs);
void jobs_destroy(struct jobs *jobs); /* cancels what waits */
/* Hands the generation over. CONFLICT when its owner has a job of that name waiting, QUEUE_FULL when too many wait that have
 * not ended; the caller keeps it then. */
bool jobs_put(struct jobs *jobs, struct generation *generation, struct error *error) MUST_USE;
/* Whether jobs_put would take the owner's job of that name (NULL: one that nobody has) now, for who wants to know before there
 * is work for it. */
bool jobs_may_put(struct jobs *jobs, uint64_t owner, const char *job_id, struct error *error) MUST_USE;
/* The owner's job of that name, now the caller's; NULL when none waits. */
struct generation *jobs_take(struct jobs *jobs, uint64_t owner, const char *job_id);
/* True when it waits. */
bool jobs_has(struct jobs *jobs, uint64_t owner, const char *job_id);
int jobs_count(struct jobs *jobs);
/* True when somebody may yet come for an answer: a job waits that did not end with an error. */
bool jobs_have_answers(struct jobs *jobs);

/* For the watchdog. */
/* Fills fds[JOBS_MAX_WAITING] with the streams of the jobs that have not ended; returns how many. */
int jobs_poll_list(struct jobs *jobs, struct pollfd *fds);
/* Takes in their events. */
void jobs_pull(struct jobs *jobs);
/* Cancels what waited too long. */
void jobs_sweep(struct jobs *jobs, int64_t now_ns);

#endif
