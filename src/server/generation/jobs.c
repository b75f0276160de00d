/* Jobs that were submitted and wait for their stream to be opened (jobs.h). */
#include "server/generation/jobs.h"

#include <stdlib.h>
#include <string.h>

#include "base/platform.h"
#include "server/generation/generation.h"

struct job {
	struct job *next;
	struct generation *generation;
	int64_t put_ns;
};

void jobs_init(struct jobs *jobs)
{
	*jobs = (struct jobs){0};
	pthread_mutex_init(&jobs->lock, NULL);
}

/* Ends the jobs of an unlinked list; not under the lock, since closing a stream may take its time. */
static void jobs_end(struct job *job)
{
	while (job) {
		struct job *next = job->next;
		generation_destroy(job->generation);
		free(job);
		job = next;
	}
}

void jobs_destroy(struct jobs *jobs)
{
	jobs_end(jobs->first);
	jobs->first = NULL;
	pthread_mutex_destroy(&jobs->lock);
}

static bool is_job(const struct generation *generation, uint64_t owner, const char *job_id)
{
	return generation->owner == owner && strcmp(generation->job_id, job_id) == 0;
}

/* The link that points to the owner's job of that name, or to the list's end. */
static struct job **jobs_find(struct jobs *jobs, uint64_t owner, const char *job_id)
{
	struct job **link = &jobs->first;
	while (*link && !is_job((*link)->generation, owner, job_id))
		link = &(*link)->next;
	return link;
}

static bool has_failed(const struct job *job)
{
	return job->generation->backlog.has_last && job->generation->backlog.last.type == EVENT_ERROR;
}

static int count_of(const struct jobs *jobs, uint64_t owner)
{
	int n = 0;
	for (const struct job *job = jobs->first; job; job = job->next)
		n += job->generation->owner == owner;
	return n;
}

/* The link to a job that has ended, one that failed before one that may be asked for, the oldest first (new ones are at the
 * list's end); NULL: all of them run. owner: of that one alone, NULL: of all. */
static struct job **find_ended(struct jobs *jobs, const uint64_t *owner)
{
	struct job **found = NULL;
	for (struct job **link = &jobs->first; *link; link = &(*link)->next) {
		const struct job *job = *link;
		if ((owner && job->generation->owner != *owner) || !generation_has_ended(job->generation))
			continue;
		if (!found || (has_failed(job) && !has_failed(*found)))
			found = link;
	}
	return found;
}

/* Locked. Whether there is a place for one more of the owner's, of that name; *victim is the link to the job that would have
 * to go for it, NULL: none. */
static bool find_place(struct jobs *jobs, uint64_t owner, const char *job_id, struct job ***victim, struct error *error)
{
	*victim = NULL;
	if (job_id && *jobs_find(jobs, owner, job_id))
		return error_set(error, ERROR_CONFLICT, "a job of that name waits for its stream to be opened");
	if (owner != 0 && count_of(jobs, owner) >= JOBS_MAX_OF_OWNER)
		*victim = find_ended(jobs, &owner);
	else if (jobs->n_jobs >= JOBS_MAX_WAITING && !(*victim = find_ended(jobs, &owner)))
		*victim = find_ended(jobs, NULL);
	else if (jobs->n_jobs < JOBS_MAX_WAITING)
		return true;
	return *victim ||
	       error_set(error, ERROR_QUEUE_FULL,
	                 "too many jobs that run wait for their stream to be opened: at most %d may, %d of one key",
	                 JOBS_MAX_WAITING, JOBS_MAX_OF_OWNER);
}

bool jobs_may_put(struct jobs *jobs, uint64_t owner, const char *job_id, struct error *error)
{
	struct job **victim;
	pthread_mutex_lock(&jobs->lock);
	bool may = find_place(jobs, owner, job_id, &victim, error);
	pthread_mutex_unlock(&jobs->lock);
	return may;
}

/* The job behind the link is in the list no more. */
static struct job *unlink_job(struct jobs *jobs, struct job **link)
{
	struct job *job = *link;
	*link = job->next;
	job->next = NULL;
	jobs->n_jobs--;
	return job;
}

bool jobs_put(struct jobs *jobs, struct generation *generation, struct error *error)
{
	struct job *job = calloc(1, sizeof *job), **victim, *gone = NULL;
	if (!job)
		return error_set(error, ERROR_MEMORY, "no memory for the job");
	job->generation = generation;
	job->put_ns = clock_ns();
	pthread_mutex_lock(&jobs->lock);
	bool fits = find_place(jobs, generation->owner, generation->job_id, &victim, error);
	if (fits && victim)
		gone = unlink_job(jobs, victim);
	if (fits) {
		*jobs_find(jobs, generation->owner, generation->job_id) = job;
		jobs->n_jobs++;
	}
	pthread_mutex_unlock(&jobs->lock);
	jobs_end(gone);
	if (!fits)
		free(job);
	return fits; // cppcheck-suppress memleak ; the list owns it
}

struct generation *jobs_take(struct jobs *jobs, uint64_t owner, const char *job_id)
{
	pthread_mutex_lock(&jobs->lock);
	struct job **link = jobs_find(jobs, owner, job_id);
	struct job *job = *link ? unlink_job(jobs, link) : NULL;
	pthread_mutex_unlock(&jobs->lock);
	if (!job)
		return NULL;
	struct generation *generation = job->generation;
	free(job);
	return generation;
}

bool jobs_has(struct jobs *jobs, uint64_t owner, const char *job_id)
{
	pthread_mutex_lock(&jobs->lock);
	bool waits = *jobs_find(jobs, owner, job_id) != NULL;
	pthread_mutex_unlock(&jobs->lock);
	return waits;
}

int jobs_count(struct jobs *jobs)
{
	pthread_mutex_lock(&jobs->lock);
	int n_jobs = jobs->n_jobs;
	pthread_mutex_unlock(&jobs->lock);
	return n_jobs;
}

bool jobs_have_answers(struct jobs *jobs)
{
	bool any = false;
	pthread_mutex_lock(&jobs->lock);
	for (const struct job *job = jobs->first; job && !any; job = job->next)
		any = !has_failed(job);
	pthread_mutex_unlock(&jobs->lock);
	return any;
}

int jobs_poll_list(struct jobs *jobs, struct pollfd *fds)
{
	int n_fds = 0;
	pthread_mutex_lock(&jobs->lock);
	for (struct job *job = jobs->first; job; job = job->next)
		if (!generation_has_ended(job->generation))
			fds[n_fds++] = (struct pollfd){.fd = generation_fd(job->generation), .events = POLLIN};
	pthread_mutex_unlock(&jobs->lock);
	return n_fds;
}

void jobs_pull(struct jobs *jobs)
{
	pthread_mutex_lock(&jobs->lock); /* a stream has one reader at a time */
	for (struct job *job = jobs->first; job; job = job->next)
		generation_take_in(job->generation);
	pthread_mutex_unlock(&jobs->lock);
}

void jobs_sweep(struct jobs *jobs, int64_t now_ns)
{
	struct job *expired = NULL;
	pthread_mutex_lock(&jobs->lock);
	struct job **link = &jobs->first;
	while (*link) {
		struct job *job = *link;
		if ((now_ns - job->put_ns) / 1000000 < JOB_OPEN_TIMEOUT_MS) {
			link = &job->next;
			continue;
		}
		unlink_job(jobs, link);
		job->next = expired;
		expired = job;
	}
	pthread_mutex_unlock(&jobs->lock);
	jobs_end(expired);
}
