#include "engine/scheduler.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static const int64_t priority_aging_ns = 5000000000; /* five seconds of waiting are worth one step of priority */
static const int64_t alone_budget_ns = 1000000000;   /* of a step in which nobody decodes */
/* Prefill beside decoding gets at least this share of decoding's own time: that decoding alone fills the gap is no reason
 * to keep newcomers out. */
static const double least_prefill_share = 0.25;

enum entry_state { ENTRY_FREE, ENTRY_WAITING, ENTRY_PREFILL, ENTRY_DECODE };

struct entry {
	enum entry_state state;
	struct scheduler_request request;
	int64_t n_prefilled;
	uint64_t order; /* of arrival while waiting, of admission while running */
};

struct scheduler {
	struct scheduler_limits limits;
	struct entry *entries;
	int n_entries;
	uint64_t next_order;
	int n_running, n_waiting;
	int64_t waiting_tokens;
	int64_t free_pages;

	/* What steps cost, learned: exponential averages, 0 = not known yet. */
	double decode_step_ns; /* a step of decode rows alone */
	double prefill_row_ns; /* each row of prefill on top */
	double request_ns;     /* from admission to removal, for Retry-After */
	int64_t now_ns;
	int64_t *admitted_ns; /* [n_entries] */

	int *decode_ids, *admitted_ids, *prefill_ids;
	struct scheduler_slice *slices;
};

struct scheduler *scheduler_create(const struct scheduler_limits *limits)
{
	struct scheduler *s = calloc(1, sizeof *s);
	if (!s)
		return NULL;
	s->limits = *limits;
	s->n_entries = limits->n_parallel + limits->max_waiting;
	s->free_pages = limits->n_pages;
	size_t n = (size_t)s->n_entries;
	s->entries = calloc(n, sizeof *s->entries);
	s->admitted_ns = calloc(n, sizeof *s->admitted_ns);
	s->decode_ids = calloc(n, sizeof *s->decode_ids);
	s->admitted_ids = calloc(n, sizeof *s->admitted_ids);
	s->prefill_ids = calloc(n, sizeof *s->prefill_ids);
	s->slices = calloc(n, sizeof *s->slices);
	if (!s->entries || !s->admitted_ns || !s->decode_ids || !s->admitted_ids || !s->prefill_ids || !s->slices) {
		scheduler_destroy(s);
		return NULL;
	}
	return s;
}

void scheduler_destroy(struct scheduler *s)
{
	if (!s)
		return;
	free(s->entries);
	free(s->admitted_ns);
	free(s->decode_ids);
	free(s->admitted_ids);
	free(s->prefill_ids);
	free(s->slices);
	free(s);
}

int64_t scheduler_pages(const struct scheduler *s, int64_t n_total)
{
	return (n_total + s->limits.page_tokens - 1) / s->limits.page_tokens;
}

/* How many of the requests, in their order, get place and pages at once beside n_running others. */
static int count_starting(const struct scheduler *s, const struct scheduler_request *requests, int n, int n_running,
                          int64_t free_pages)
{
	int n_starting = 0;
	while (n_starting < n && n_running + n_starting < s->limits.n_parallel) {
		free_pages -= scheduler_pages(s, requests[n_starting].n_total);
		if (free_pages < 0)
			break;
		n_starting++;
	}
	return n_starting;
}

static bool can_ever_start(const struct scheduler *s, const struct scheduler_request *requests, int n,
                           enum scheduler_refusal *refusal)
{
	for (int i = 0; i < n; i++) {
		assert(requests[i].n_prompt > 0 && requests[i].n_total >= requests[i].n_prompt);
		if (scheduler_pages(s, requests[i].n_total) > s->limits.n_pages) {
			*refusal = SCHEDULER_NEVER_FITS;
			return false;
		}
	}
	*refusal = SCHEDULER_TOO_MANY;
	return n - count_starting(s, requests, n, 0, s->limits.n_pages) <= s->limits.max_waiting;
}

/* Those that wait are let in with the next step, all of them: *n_running and *free_pages are as they will be then. */
static bool all_waiting_start(const struct scheduler *s, int *n_running, int64_t *free_pages)
{
	*n_running = s->n_running + s->n_waiting;
	*free_pages = s->free_pages;
	for (int id = 0; id < s->n_entries; id++)
		if (s->entries[id].state == ENTRY_WAITING)
			*free_pages -= scheduler_pages(s, s->entries[id].request.n_total);
	return *n_running <= s->limits.n_parallel && *free_pages >= 0;
}

/* Those that can start at once take no place in the queue, however long their prompts. */
static bool finds_room(const struct scheduler *s, const struct scheduler_request *requests, int n)
{
	int n_running;
	int64_t free_pages;
	bool first = all_waiting_start(s, &n_running, &free_pages);
	int n_starting = first ? count_starting(s, requests, n, n_running, free_pages) : 0;
	if (n_starting == n)
		return true;
	if ((first ? 0 : s->n_waiting) + n - n_starting > s->limits.max_waiting)
		return false;
	/* Nor are they kept out by their own length: they may wait alone. */
	int64_t tokens = s->waiting_tokens;
	for (int i = n_starting; i < n; i++)
		tokens += requests[i].n_prompt;
	return first || tokens <= s->limits.max_waiting_tokens;
}

bool scheduler_add_all(struct scheduler *s, const struct scheduler_request *requests, int n, int *ids,
                       enum scheduler_refusal *refusal)
{
	if (!can_ever_start(s, requests, n, refusal))
		return false;
	*refusal = SCHEDULER_QUEUE_FULL;
	if (!finds_room(s, requests, n))
		return false;
	for (int i = 0, id = 0; i < n; i++, id++) {
		while (s->entries[id].state != ENTRY_FREE)
			id++; /* there are as many entries as places, here and in the queue */
		s->entries[id] = (struct entry){.state = ENTRY_WAITING, .request = requests[i], .order = s->next_order++};
		s->n_waiting++;
		s->waiting_tokens += requests[i].n_prompt;
		ids[i] = id;
	}
	return true;
}

int scheduler_add(struct scheduler *s, const struct scheduler_request *request, enum scheduler_refusal *refusal)
{
	int id;
	return scheduler_add_all(s, request, 1, &id, refusal) ? id : -1;
}

/* ---- admission ---- */

static int64_t effective_priority(const struct entry *entry, int64_t now_ns)
{
	return entry->request.priority + (now_ns - entry->request.arrival_ns) / priority_aging_ns;
}

static int first_waiting(const struct scheduler *s, int64_t now_ns)
{
	int best = -1;
	for (int id = 0; id < s->n_entries; id++) {
		const struct entry *entry = &s->entries[id];
		if (entry->state != ENTRY_WAITING)
			continue;
		int64_t ahead =
		    best < 0 ? 1 : effective_priority(entry, now_ns) - effective_priority(&s->entries[best], now_ns);
		if (ahead > 0 || (ahead == 0 && entry->order < s->entries[best].order))
			best = id;
	}
	return best;
}

static void leave_queue(struct scheduler *s, const struct entry *entry)
{
	s->n_waiting--;
	s->waiting_tokens -= entry->request.n_prompt;
}

static void let_in(struct scheduler *s, struct scheduler_admission *admission)
{
	while (s->n_running < s->limits.n_parallel) {
		int id = first_waiting(s, s->now_ns);
		if (id < 0)
			return;
		struct entry *entry = &s->entries[id];
		int64_t pages = scheduler_pages(s, entry->request.n_total);
		if (pages > s->free_pages)
			return;
		leave_queue(s, entry);
		s->free_pages -= pages;
		s->n_running++;
		entry->state = ENTRY_PREFILL;
		entry->order = s->next_order++;
		s->admitted_ns[id] = s->now_ns;
		admission->admitted[admission->n_admitted++] = id;
	}
}

static int next_prefill(const struct scheduler *s, uint64_t after)
{
	int best = -1;
	for (int id = 0; id < s->n_entries; id++) {
		const struct entry *entry = &s->entries[id];
		if (entry->state == ENTRY_PREFILL && entry->order >= after &&
		    (best < 0 || entry->order < s->entries[best].order))
			best = id;
	}
	return best;
}

void scheduler_admit(struct scheduler *s, int64_t now_ns, struct scheduler_admission *admission)
{
	*admission = (struct scheduler_admission){.admitted = s->admitted_ids, .prefilling = s->prefill_ids};
	s->now_ns = now_ns;
	let_in(s, admission);
	uint64_t after = 0;
	for (int id; (id = next_prefill(s, after)) >= 0; after = s->entries[id].order + 1)
		admission->prefilling[admission->n_prefilling++] = id;
}

int64_t scheduler_skip(struct scheduler *s, int id, int64_t n_done)
{
	assert(id >= 0 && id < s->n_entries && s->entries[id].state == ENTRY_PREFILL);
	struct entry *entry = &s->entries[id];
	int64_t n_more = n_done - entry->n_prefilled;
	if (n_more <= 0)
		return 0;
	assert(n_done % s->limits.tile_rows == 0 && n_done < entry->request.n_prompt);
	entry->n_prefilled = n_done;
	return n_more;
}

/* ---- the step ---- */

static int64_t prefill_budget(const struct scheduler *s, bool anyone_decodes)
{
	double budget_ns = (double)(anyone_decodes ? s->limits.max_gap_ns : alone_budget_ns);
	if (anyone_decodes) {
		budget_ns = budget_ns * 0.75 - s->decode_step_ns; /* costs vary, and grow along a prompt: aim below the bound */
		if (budget_ns < s->decode_step_ns * least_prefill_share)
			budget_ns = s->decode_step_ns * least_prefill_share;
	}
	int64_t rows = s->limits.max_prefill_rows;
	if (s->prefill_row_ns > 0 && budget_ns / s->prefill_row_ns < (double)rows)
		rows = (int64_t)(budget_ns / s->prefill_row_ns);
	else if (s->prefill_row_ns <= 0 && anyone_decodes)
		rows = s->limits.tile_rows; /* nothing known yet: start small */
	rows = rows / s->limits.tile_rows * s->limits.tile_rows;
	return rows > s->limits.tile_rows ? rows : s->limits.tile_rows;
}

/* Another of its group, admitted before it, has not computed their prompt yet. */
static bool waits_for_group(const struct scheduler *s, const struct entry *entry)
{
	if (entry->request.group == 0)
		return false;
	for (int id = 0; id < s->n_entries; id++) {
		const struct entry *other = &s->entries[id];
		if (other->state == ENTRY_PREFILL && other->request.group == entry->request.group &&
		    other->order < entry->order)
			return true;
	}
	return false;
}

static void plan_prefill(struct scheduler *s, struct scheduler_step *step)
{
	int64_t budget = prefill_budget(s, step->n_decode > 0);
	uint64_t after = 0;
	for (int id; budget > 0 && (id = next_prefill(s, after)) >= 0; after = s->entries[id].order + 1) {
		const struct entry *entry = &s->entries[id];
		if (waits_for_group(s, entry))
			continue;
		int64_t left = entry->request.n_prompt - entry->n_prefilled;
		int64_t rows = left;
		if (rows > budget)
			rows = budget / s->limits.tile_rows * s->limits.tile_rows;
		if (rows == 0)
			return; /* less than a tile is left of the budget, and only a prompt's end may be shorter */
		step->slices[step->n_slices++] = (struct scheduler_slice){
		    .id = id, .position = entry->n_prefilled, .n_rows = (int)rows, .last = rows == left};
		step->n_prefill_rows += (int)rows;
		budget -= rows;
	}
}

bool scheduler_plan(struct scheduler *s, struct scheduler_step *step)
{
	*step = (struct scheduler_step){.decode = s->decode_ids, .slices = s->slices};
	for (int id = 0; id < s->n_entries; id++)
		if (s->entries[id].state == ENTRY_DECODE)
			step->decode[step->n_decode++] = id;
	plan_prefill(s, step);
	return step->n_decode + step->n_slices > 0;
}

static void learn(double *average, double sample)
{
	*average = *average > 0 ? *average * 0.8 + sample * 0.2 : sample;
}

void scheduler_report(struct scheduler *s, const struct scheduler_step *step, int64_t elapsed_ns)
{
	for (int i = 0; i < step->n_slices; i++) {
		struct entry *entry = &s->entries[step->slices[i].id];
		if (entry->state != ENTRY_PREFILL)
			continue; /* removed meanwhile */
		entry->n_prefilled += step->slices[i].n_rows;
		if (step->slices[i].last)
			entry->state = ENTRY_DECODE;
	}
	if (step->n_slices == 0)
		learn(&s->decode_step_ns, (double)elapsed_ns);
	else if ((double)elapsed_ns > s->decode_step_ns || step->n_decode == 0)
		learn(&s->prefill_row_ns,
		      ((double)elapsed_ns - (step->n_decode ? s->decode_step_ns : 0)) / (double)step->n_prefill_rows);
}

void scheduler_remove(struct scheduler *s, int id)
{
	assert(id >= 0 && id < s->n_entries && s->entries[id].state != ENTRY_FREE);
	struct entry *entry = &s->entries[id];
	if (entry->state == ENTRY_WAITING) {
		leave_queue(s, entry);
	} else {
		s->n_running--;
		s->free_pages += scheduler_pages(s, entry->request.n_total);
		learn(&s->request_ns, (double)(s->now_ns - s->admitted_ns[id]));
	}
	entry->state = ENTRY_FREE;
}

int scheduler_running(const struct scheduler *s)
{
	return s->n_running;
}

int scheduler_waiting(const struct scheduler *s)
{
	return s->n_waiting;
}

int64_t scheduler_waiting_tokens(const struct scheduler *s)
{
	return s->waiting_tokens;
}

int64_t scheduler_free_pages(const struct scheduler *s)
{
	return s->free_pages;
}

/* The part of the worker that a request takes while it runs: one of its places, or of as many as have room for their pages
 * at the same time. */
static double share_of(const struct scheduler *s, const struct entry *entry)
{
	int64_t together = s->limits.n_pages / scheduler_pages(s, entry->request.n_total);
	return 1.0 / (double)(together < s->limits.n_parallel ? together : s->limits.n_parallel);
}

int64_t scheduler_wait_estimate_ns(const struct scheduler *s)
{
	double of_all = 0, of_waiting = 0;
	for (int id = 0; id < s->n_entries; id++) {
		double share = s->entries[id].state == ENTRY_FREE ? 0 : share_of(s, &s->entries[id]);
		of_all += share;
		of_waiting += s->entries[id].state == ENTRY_WAITING ? share : 0;
	}
	int n_present = s->n_running + s->n_waiting;
	double newcomer = n_present ? of_all / n_present : 0; /* is like those that are there */
	double estimate = s->request_ns * (of_waiting + newcomer);
	return estimate > 1e9 ? (int64_t)estimate : 1000000000;
}
