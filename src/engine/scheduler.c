#include "engine/scheduler.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "engine/turns.h"

static const int64_t priority_aging_ns = 5000000000; /* five seconds of waiting are worth one step of priority */
static const int64_t alone_budget_ns = 1000000000;   /* of a step in which nobody decodes */
/* Prefill beside decoding gets at least this share of decoding's own time: that decoding alone fills the gap is no reason
 * to keep newcomers out. */
static const double least_prefill_share = 0.25;

/* Rows of one step that compute generated tokens again: as many as further streams would be no burden. */
enum { ROWS_AGAIN = 16 };

enum entry_state { ENTRY_FREE, ENTRY_WAITING, ENTRY_RUNNING, ENTRY_PAUSED };

/* Running, the first n_done of n_known tokens are computed: in prefill n_done < n_prompt, while what was generated is computed
 * again n_done < n_known - 1, and one that decodes lacks the last alone, which was just generated. */
struct entry {
	enum entry_state state;
	struct scheduler_request request;
	int64_t n_known, n_done;
	int64_t n_pages; /* that it was given */
	uint64_t order;  /* of arrival while waiting, of admission while running */
	int turn;        /* its owner's */
};

/* Of one owner: its first in line, -1: nobody waits. */
struct head {
	int id;
	int64_t rank;
};

struct scheduler {
	struct scheduler_limits limits;
	struct entry *entries;
	int n_entries;
	uint64_t next_order;
	int n_running, n_paused, n_waiting; /* running: paused ones included */
	int64_t waiting_tokens;
	int64_t free_pages;

	/* What steps cost, learned: exponential averages, 0 = not known yet. */
	double decode_step_ns; /* a step of decode rows alone */
	double prefill_row_ns; /* each row of prefill on top */
	double request_ns;     /* from admission to removal, for Retry-After */
	int64_t now_ns;
	int64_t *admitted_ns; /* [n_entries] */

	struct turns turns;
	struct head *heads; /* [n_entries] of each owner, by its turn */

	int *decode_ids, *admitted_ids, *prefill_ids, *paused_ids;
	struct scheduler_slice *slices;
};

struct scheduler *scheduler_create(const struct scheduler_limits *limits)
{
	struct scheduler *s = calloc(1, sizeof *s);
	if (!s)
		return NULL;
	s->limits = *limits;
	s->n_entries = limits->n_parallel + limits->max_waiting + SCHEDULER_OWN_PLACES;
	s->free_pages = limits->n_pages;
	size_t n = (size_t)s->n_entries;
	s->entries = calloc(n, sizeof *s->entries);
	s->admitted_ns = calloc(n, sizeof *s->admitted_ns);
	s->decode_ids = calloc(n, sizeof *s->decode_ids);
	s->admitted_ids = calloc(n, sizeof *s->admitted_ids);
	s->prefill_ids = calloc(n, sizeof *s->prefill_ids);
	s->paused_ids = calloc(n, sizeof *s->paused_ids);
	s->slices = calloc(n, sizeof *s->slices);
	s->heads = calloc(n, sizeof *s->heads);
	if (!turns_create(&s->turns, s->n_entries) || !s->heads || !s->entries || !s->admitted_ns || !s->decode_ids ||
	    !s->admitted_ids || !s->prefill_ids || !s->paused_ids || !s->slices) {
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
	free(s->paused_ids);
	free(s->slices);
	free(s->heads);
	turns_destroy(&s->turns);
	free(s);
}

int64_t scheduler_pages(const struct scheduler *s, int64_t n_total)
{
	return (n_total + s->limits.page_tokens - 1) / s->limits.page_tokens;
}

static int64_t smaller(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* What one with n_known tokens should have: one page more than it needs, so that who was just let in is not the next to
 * pause. */
static int64_t pages_wanted(const struct scheduler *s, const struct scheduler_request *request, int64_t n_known)
{
	return smaller(scheduler_pages(s, request->n_total), scheduler_pages(s, n_known) + 1);
}

static int64_t pages_to_start(const struct scheduler *s, const struct scheduler_request *request)
{
	return pages_wanted(s, request, request->n_prompt);
}

/* How many of the requests, in their order, get place and pages at once beside n_running others. */
static int count_starting(const struct scheduler *s, const struct scheduler_request *requests, int n, int n_running,
                          int64_t free_pages)
{
	int n_starting = 0;
	while (n_starting < n && n_running + n_starting < s->limits.n_parallel) {
		free_pages -= pages_to_start(s, &requests[n_starting]);
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
			*free_pages -= pages_to_start(s, &s->entries[id].request);
	return s->n_paused == 0 && *n_running <= s->limits.n_parallel && *free_pages >= 0;
}

/* Whoever fills the queue keeps no other owner out: who has nothing waiting may wait all the same, with one. */
static bool has_own_place(const struct scheduler *s, const struct scheduler_request *requests, int n)
{
	bool waits = false;
	for (int id = 0; id < s->n_entries && !waits; id++)
		waits = s->entries[id].state == ENTRY_WAITING && s->entries[id].request.owner == requests->owner;
	return n == 1 && !waits && s->n_waiting < s->limits.max_waiting + SCHEDULER_OWN_PLACES;
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
		return has_own_place(s, requests, n);
	/* Nor are they kept out by their own length: they may wait alone. */
	int64_t tokens = s->waiting_tokens;
	for (int i = n_starting; i < n; i++)
		tokens += requests[i].n_prompt;
	return first || tokens <= s->limits.max_waiting_tokens || has_own_place(s, requests, n);
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
		s->entries[id] = (struct entry){
		    .state = ENTRY_WAITING,
		    .request = requests[i],
		    .n_known = requests[i].n_prompt,
		    .order = s->next_order++,
		    .turn = turns_join(&s->turns, requests[i].owner),
		};
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

/* Against other owners nobody gains by having waited while its own were served. */
static int64_t rank_of(const struct scheduler *s, const struct entry *entry, int64_t now_ns)
{
	int64_t since_ns = entry->request.arrival_ns, served_ns = s->turns.list[entry->turn].served_ns;
	return entry->request.priority + (now_ns - (served_ns > since_ns ? served_ns : since_ns)) / priority_aging_ns;
}

/* Notes the first of each owner, and the highest rank that one of its requests has. */
static void find_heads(struct scheduler *s, int64_t now_ns)
{
	for (int turn = 0; turn < s->n_entries; turn++)
		s->heads[turn] = (struct head){.id = -1, .rank = INT64_MIN};
	for (int id = 0; id < s->n_entries; id++) {
		const struct entry *entry = &s->entries[id];
		if (entry->state != ENTRY_WAITING)
			continue;
		struct head *head = &s->heads[entry->turn];
		int64_t rank = rank_of(s, entry, now_ns);
		head->rank = rank > head->rank ? rank : head->rank;
		int64_t ahead =
		    head->id < 0 ? 1 : effective_priority(entry, now_ns) - effective_priority(&s->entries[head->id], now_ns);
		if (ahead > 0 || (ahead == 0 && entry->order < s->entries[head->id].order))
			head->id = id;
	}
}

static int first_waiting(struct scheduler *s, int64_t now_ns)
{
	int64_t best = INT64_MIN;
	find_heads(s, now_ns);
	for (int turn = 0; turn < s->n_entries; turn++)
		best = s->heads[turn].rank > best ? s->heads[turn].rank : best;
	turns_clear(&s->turns);
	for (int turn = 0; turn < s->n_entries; turn++)
		if (s->heads[turn].id >= 0 && s->heads[turn].rank == best)
			turns_want(&s->turns, turn);
	int turn = turns_next(&s->turns);
	return turn < 0 ? -1 : s->heads[turn].id;
}

static void leave_queue(struct scheduler *s, const struct entry *entry)
{
	s->n_waiting--;
	s->waiting_tokens -= entry->request.n_prompt;
}

static bool is_decoding(const struct entry *entry)
{
	return entry->n_known > entry->request.n_prompt && entry->n_done == entry->n_known - 1;
}

/* The oldest of a state that was admitted as order `after` or later; -1: none. */
static int next_of(const struct scheduler *s, enum entry_state state, uint64_t after)
{
	int best = -1;
	for (int id = 0; id < s->n_entries; id++) {
		const struct entry *entry = &s->entries[id];
		if (entry->state == state && entry->order >= after && (best < 0 || entry->order < s->entries[best].order))
			best = id;
	}
	return best;
}

static int newest_running(const struct scheduler *s)
{
	int best = -1;
	for (int id = 0; id < s->n_entries; id++)
		if (s->entries[id].state == ENTRY_RUNNING && (best < 0 || s->entries[id].order > s->entries[best].order))
			best = id;
	return best;
}

static void give_pages(struct scheduler *s, struct entry *entry, int64_t n_pages)
{
	assert(n_pages <= s->free_pages);
	s->free_pages -= n_pages;
	entry->n_pages += n_pages;
}

static void pause_newest(struct scheduler *s, struct scheduler_admission *admission)
{
	int id = newest_running(s);
	struct entry *entry = &s->entries[id];
	entry->state = ENTRY_PAUSED;
	s->free_pages += entry->n_pages;
	s->n_paused++;
	entry->n_pages = entry->n_done = 0;
	admission->paused[admission->n_paused++] = id;
}

/* Gives every running one, in order of age, the pages that it wants, or at least needs. Of what it needs the oldest finds all
 * once the others pause: nobody has a right to more than the pool. */
static void grow(struct scheduler *s, struct scheduler_admission *admission)
{
	uint64_t after = 0;
	for (int id; (id = next_of(s, ENTRY_RUNNING, after)) >= 0; after = s->entries[id].order + 1) {
		struct entry *entry = &s->entries[id];
		int64_t needed = smaller(scheduler_pages(s, entry->n_known), scheduler_pages(s, entry->request.n_total));
		while (entry->state == ENTRY_RUNNING && needed - entry->n_pages > s->free_pages)
			pause_newest(s, admission);
		int64_t more = pages_wanted(s, &entry->request, entry->n_known) - entry->n_pages;
		if (entry->state == ENTRY_RUNNING && more > 0)
			give_pages(s, entry, smaller(more, s->free_pages));
	}
}

static void go_on(struct scheduler *s)
{
	for (int id; (id = next_of(s, ENTRY_PAUSED, 0)) >= 0;) {
		struct entry *entry = &s->entries[id];
		int64_t pages = pages_wanted(s, &entry->request, entry->n_known);
		if (pages > s->free_pages)
			return;
		give_pages(s, entry, pages);
		entry->state = ENTRY_RUNNING;
		s->n_paused--;
	}
}

static void let_in(struct scheduler *s, struct scheduler_admission *admission)
{
	while (s->n_running < s->limits.n_parallel) {
		int id = first_waiting(s, s->now_ns);
		if (id < 0)
			return;
		struct entry *entry = &s->entries[id];
		int64_t pages = pages_to_start(s, &entry->request);
		if (pages > s->free_pages)
			return;
		leave_queue(s, entry);
		give_pages(s, entry, pages);
		s->n_running++;
		entry->state = ENTRY_RUNNING;
		entry->order = s->next_order++;
		s->admitted_ns[id] = s->now_ns;
		turns_serve(&s->turns, entry->turn, s->now_ns);
		turns_charge(&s->turns, entry->turn, entry->request.n_prompt);
		admission->admitted[admission->n_admitted++] = id;
	}
}

/* The oldest that has something to compute before it decodes. */
static int next_prefill(const struct scheduler *s, uint64_t after)
{
	int id = next_of(s, ENTRY_RUNNING, after);
	while (id >= 0 && is_decoding(&s->entries[id]))
		id = next_of(s, ENTRY_RUNNING, s->entries[id].order + 1);
	return id;
}

void scheduler_admit(struct scheduler *s, int64_t now_ns, struct scheduler_admission *admission)
{
	*admission = (struct scheduler_admission){
	    .admitted = s->admitted_ids, .paused = s->paused_ids, .prefilling = s->prefill_ids};
	s->now_ns = now_ns;
	grow(s, admission);
	if (admission->n_paused == 0)
		go_on(s);
	if (s->n_paused == 0)
		let_in(s, admission);
	uint64_t after = 0;
	for (int id; (id = next_prefill(s, after)) >= 0; after = s->entries[id].order + 1)
		admission->prefilling[admission->n_prefilling++] = id;
}

int64_t scheduler_skip(struct scheduler *s, int id, int64_t n_done)
{
	assert(id >= 0 && id < s->n_entries && s->entries[id].state == ENTRY_RUNNING);
	struct entry *entry = &s->entries[id];
	int64_t n_more = n_done - entry->n_done;
	if (n_more <= 0)
		return 0;
	assert(n_done % s->limits.tile_rows == 0 && n_done < entry->n_known);
	entry->n_done = n_done;
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
		if (other->state == ENTRY_RUNNING && other->n_done < other->request.n_prompt &&
		    other->request.group == entry->request.group && other->order < entry->order)
			return true;
	}
	return false;
}

/* The next rows of one that does not decode, at most `budget` and n_again; n_rows 0: none are possible. */
static struct scheduler_slice next_slice(const struct scheduler *s, int id, int64_t budget, int64_t n_again)
{
	const struct entry *entry = &s->entries[id];
	struct scheduler_slice slice = {.id = id, .position = entry->n_done};
	int64_t left = entry->request.n_prompt - entry->n_done;
	slice.again = left <= 0;
	if (slice.again) {
		int64_t rows = smaller(entry->n_known - 1 - entry->n_done, n_again);
		slice.n_rows = (int)smaller(rows, budget);
	} else if (left <= budget) {
		slice.n_rows = (int)left;
		slice.last = entry->n_known == entry->request.n_prompt;
	} else {
		slice.n_rows = (int)(budget / s->limits.tile_rows * s->limits.tile_rows);
	}
	return slice;
}

static void plan_prefill(struct scheduler *s, struct scheduler_step *step)
{
	int64_t budget = prefill_budget(s, step->n_decode > 0), n_again = ROWS_AGAIN;
	uint64_t after = 0;
	for (int id; budget > 0 && (id = next_prefill(s, after)) >= 0; after = s->entries[id].order + 1) {
		if (waits_for_group(s, &s->entries[id]))
			continue;
		bool slow = s->entries[id].request.every_row && step->n_decode > 0;
		struct scheduler_slice slice = next_slice(s, id, slow ? smaller(budget, s->limits.tile_rows) : budget, n_again);
		if (slice.n_rows == 0 && !slice.again)
			return; /* less than a tile is left of the budget, and only a prompt's end may be shorter */
		if (slice.n_rows == 0)
			continue;
		step->slices[step->n_slices++] = slice;
		step->n_prefill_rows += slice.n_rows;
		budget -= slice.n_rows;
		n_again -= slice.again ? slice.n_rows : 0;
	}
}

bool scheduler_plan(struct scheduler *s, struct scheduler_step *step)
{
	*step = (struct scheduler_step){.decode = s->decode_ids, .slices = s->slices};
	for (int id = 0; id < s->n_entries; id++)
		if (s->entries[id].state == ENTRY_RUNNING && is_decoding(&s->entries[id]))
			step->decode[step->n_decode++] = id;
	plan_prefill(s, step);
	return step->n_decode + step->n_slices > 0;
}

static void learn(double *average, double sample)
{
	*average = *average > 0 ? *average * 0.8 + sample * 0.2 : sample;
}

/* What steps cost. Rows that compute generated tokens again cost neither what prefill nor what decoding does. */
static void learn_step(struct scheduler *s, const struct scheduler_step *step, double elapsed_ns)
{
	for (int i = 0; i < step->n_slices; i++)
		if (step->slices[i].again)
			return;
	if (step->n_slices == 0)
		learn(&s->decode_step_ns, elapsed_ns);
	else if (elapsed_ns > s->decode_step_ns || step->n_decode == 0)
		learn(&s->prefill_row_ns,
		      (elapsed_ns - (step->n_decode ? s->decode_step_ns : 0)) / (double)step->n_prefill_rows);
}

void scheduler_report(struct scheduler *s, const struct scheduler_step *step, int64_t elapsed_ns)
{
	for (int i = 0; i < step->n_decode; i++) {
		struct entry *entry = &s->entries[step->decode[i]];
		bool runs = entry->state == ENTRY_RUNNING; /* else removed meanwhile */
		entry->n_done += runs;
		entry->n_known += runs;
		if (runs)
			turns_charge(&s->turns, entry->turn, 1);
	}
	for (int i = 0; i < step->n_slices; i++) {
		struct entry *entry = &s->entries[step->slices[i].id];
		if (entry->state != ENTRY_RUNNING)
			continue;
		entry->n_done += step->slices[i].n_rows;
		entry->n_known += step->slices[i].last;
	}
	learn_step(s, step, (double)elapsed_ns);
}

void scheduler_go_back(struct scheduler *s, int id, int64_t n_known)
{
	struct entry *entry = &s->entries[id];
	assert(is_decoding(entry) && n_known > entry->request.n_prompt && n_known <= entry->n_known);
	entry->n_known = n_known;
	entry->n_done = n_known - 1;
}

void scheduler_go_ahead(struct scheduler *s, int id, int64_t n_known)
{
	struct entry *entry = &s->entries[id];
	assert(is_decoding(entry) && n_known >= entry->n_known && n_known < entry->request.n_total);
	entry->n_known = n_known;
}

void scheduler_remove(struct scheduler *s, int id)
{
	assert(id >= 0 && id < s->n_entries && s->entries[id].state != ENTRY_FREE);
	struct entry *entry = &s->entries[id];
	if (entry->state == ENTRY_WAITING) {
		leave_queue(s, entry);
	} else {
		s->n_running--;
		s->n_paused -= entry->state == ENTRY_PAUSED;
		s->free_pages += entry->n_pages;
		learn(&s->request_ns, (double)(s->now_ns - s->admitted_ns[id]));
	}
	turns_leave(&s->turns, entry->turn);
	entry->state = ENTRY_FREE;
}

int scheduler_running(const struct scheduler *s)
{
	return s->n_running;
}

int scheduler_paused(const struct scheduler *s)
{
	return s->n_paused;
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
	int64_t together = s->limits.n_pages / pages_wanted(s, &entry->request, entry->n_known);
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
