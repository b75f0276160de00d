/* The scheduler: who waits, who runs, and what the next step computes. A pure state machine over counts: no threads, no
 * clock of its own, no weights, so that fairness, slicing and admission are tested (and simulated) alone.
 *
 *     int id = scheduler_add(s, &request, &refusal);       // waits; or several at once: scheduler_add_all
 *     scheduler_admit(s, now_ns, &admission);              // lets in what fits
 *     scheduler_skip(s, id, n);                            // for those in prefill: that much a cache has by now
 *     scheduler_plan(s, &step);                            // says which rows to compute
 *     ... compute ...
 *     scheduler_report(s, &step, elapsed_ns);              // learns what rows cost; advances prefill
 *     scheduler_remove(s, id);                             // ended or cancelled, in whatever phase
 *
 * Admission: in order of priority, then arrival; waiting raises priority by one every five seconds, so nobody starves.
 * Owners (API keys) take turns where their first in line are alike, each after it had its share of tokens (turns.h),
 * and only waiting for another owner's requests, not behind one's own, raises priority against others: whoever sends a
 * hundred requests delays its own. A request is admitted when a place is free, and pages for its prompt and one more:
 * what it will say is not known, and max_tokens is far more most of the time. Nobody overtakes the first in line.
 *
 * Admitted means it will finish. Pages are given out as sequences grow, the oldest (by admission) first; where there is none
 * left the newest pauses, gives all of its pages back and computes them again later. The oldest never pauses, and nobody needs
 * more pages than there are: so the oldest ends, and then the next is the oldest. Paused ones go on in order of age, before
 * anybody is admitted. Why pages are not kept while a stream pauses: what it keeps would have to leave room for the most that
 * all older ones may ever need, and one that may fill the pool would leave none. What is computed again has the same bits, and
 * most of it is still in the prefix cache.
 *
 * Requests of one group have the same prompt: the first to be admitted computes it while the others that run wait, so that
 * they find it in a cache.
 *
 * A step: one row for every sequence that decodes, then prefill in order of admission, in slices that end at multiples of
 * the tile, as many rows as the time budget allows (at least one tile): `max_gap` while anyone decodes, so that running
 * streams do not stall (but never less than a share of what decoding itself takes, so that newcomers do not either); a
 * longer bound when nobody does, so that a newcomer need not wait long.
 *
 * `make simulate` runs a day of load on it: change its policy with what that prints before and after.
 */
#ifndef TALLOW_ENGINE_SCHEDULER_H
#define TALLOW_ENGINE_SCHEDULER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

struct scheduler;

/* So many owners who have nothing waiting may each have a request wait where others fill the queue. */
enum { SCHEDULER_OWN_PLACES = 64 };

struct scheduler_limits {
	int n_parallel;             /* sequences that run together */
	int max_waiting;            /* requests, but for those in places of their own */
	int64_t max_waiting_tokens; /* prompt tokens of those that wait, where more than one does */
	int n_pages;
	int page_tokens;
	int tile_rows;
	int max_prefill_rows; /* of one step; a multiple of tile_rows */
	int64_t max_gap_ns;   /* between two tokens of a stream */
};

struct scheduler_request {
	int64_t n_prompt; /* tokens to prefill */
	int64_t n_total;  /* positions it may fill: prompt + max_tokens, clipped to the context */
	int priority;
	bool every_row; /* its prompt's rows cost more than others': while anyone decodes, a step has one tile of them */
	int64_t arrival_ns;
	uint64_t group; /* 0 = none */
	uint64_t owner;
};

enum scheduler_refusal {
	SCHEDULER_QUEUE_FULL,
	SCHEDULER_NEVER_FITS, /* one of them alone needs more pages than there are */
	SCHEDULER_TOO_MANY,   /* so many at once find no place even when nobody else is there */
};

/* The arrays belong to the scheduler until the next admit. */
struct scheduler_admission {
	int *admitted; /* ids that left the queue now, in order [n_admitted] */
	int n_admitted;
	int *paused; /* ids that run no longer for want of pages and must give theirs back, now [n_paused] */
	int n_paused;
	/* Ids that run and have tokens to compute before they decode, those just admitted and those that go on after a pause
	 * among them, in order of admission [n_prefilling]. */
	int *prefilling;
	int n_prefilling;
};

struct scheduler_slice {
	int id;
	int64_t position;
	int n_rows;
	bool last;  /* ends the prompt: its last row's logits give the first token */
	bool again; /* tokens that were generated before a pause, or without steps: decode rows, without logits */
};

struct scheduler_step {
	int *decode; /* ids [n_decode] */
	int n_decode;
	struct scheduler_slice *slices; /* [n_slices] */
	int n_slices;
	int n_prefill_rows; /* of all slices */
};

struct scheduler *scheduler_create(const struct scheduler_limits *limits); /* NULL when memory is short */
void scheduler_destroy(struct scheduler *scheduler);

/* An id in [0, n_parallel + max_waiting), the caller's until scheduler_remove; -1 with *refusal set. */
int scheduler_add(struct scheduler *scheduler, const struct scheduler_request *request,
                  enum scheduler_refusal *refusal);
/* All of requests [n], in their order, or none: false then, with *refusal set. ids: [n]. */
bool scheduler_add_all(struct scheduler *scheduler, const struct scheduler_request *requests, int n, int *ids,
                       enum scheduler_refusal *refusal) MUST_USE;
/* Pages that n_total positions take. */
int64_t scheduler_pages(const struct scheduler *scheduler, int64_t n_total);

/* Between steps: gives running sequences the pages of their next rows, or pauses some; then lets go on, or in, one by one,
 * whoever is first in line and fits. A cache changes nothing about what fits: whoever shares a page may be its last holder,
 * so each counts all of its pages. */
void scheduler_admit(struct scheduler *scheduler, int64_t now_ns, struct scheduler_admission *admission);
/* Of one that does not decode yet the first n_done tokens are known from elsewhere: a multiple of the tile, and not all of the
 * prompt and what was generated so far. Returns how many more that are than were done; 0 when that many were done already. */
int64_t scheduler_skip(struct scheduler *scheduler, int id, int64_t n_done);
/* The rows of the next step; false when there is nothing to compute. The arrays of *step belong to the scheduler until the
 * next plan. */
bool scheduler_plan(struct scheduler *scheduler, struct scheduler_step *step);
/* The step was computed: slices count as done, and whoever decodes, or ended its prompt, has one token more. */
void scheduler_report(struct scheduler *scheduler, const struct scheduler_step *step, int64_t elapsed_ns);
/* Of what it generated only the first tokens stay, n_known with the prompt's, and the last of them is another one now. */
void scheduler_go_back(struct scheduler *scheduler, int id, int64_t n_known);
/* It has more tokens than its steps gave, n_known with the prompt's: those before the last are computed as after a pause. */
void scheduler_go_ahead(struct scheduler *scheduler, int id, int64_t n_known);
void scheduler_remove(struct scheduler *scheduler, int id);

int scheduler_running(const struct scheduler *scheduler); /* those that pause included: they have their place */
int scheduler_paused(const struct scheduler *scheduler);
int scheduler_waiting(const struct scheduler *scheduler);
int64_t scheduler_waiting_tokens(const struct scheduler *scheduler);
int64_t scheduler_free_pages(const struct scheduler *scheduler); /* not given out */
/* Estimated time until a request that arrived now would be admitted, from what steps cost so far; at least 1 s. */
int64_t scheduler_wait_estimate_ns(const struct scheduler *scheduler);

#endif
