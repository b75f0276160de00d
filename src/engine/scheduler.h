/* The scheduler: who waits, who runs, and what the next step computes. A pure state machine over counts: no threads, no
 * clock of its own, no weights, so that fairness, slicing and admission are tested (and simulated) alone.
 *
 *     int id = scheduler_add(s, &request, &refusal);       // waits
 *     scheduler_plan(s, now_ns, &step);                    // admits what fits; says which rows to compute
 *     ... compute ...
 *     scheduler_report(s, &step, elapsed_ns);              // learns what rows cost; advances prefill
 *     scheduler_remove(s, id);                             // ended or cancelled, in whatever phase
 *
 * Admission: in order of priority, then arrival; waiting raises priority by one every five seconds, so nobody
 * starves. A request is admitted when a place and all the pages it may ever need (prompt + max_tokens) are free:
 * admitted means it will finish. Nobody overtakes the first in line.
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

struct scheduler;

struct scheduler_limits {
	int n_parallel;             /* sequences that run together */
	int max_waiting;            /* requests */
	int64_t max_waiting_tokens; /* prompt tokens of those that wait, where more than one does */
	int n_pages;
	int page_tokens;
	int tile_rows;
	int max_prefill_rows; /* of one step; a multiple of tile_rows */
	int64_t max_gap_ns;
	/* Asked when a request is admitted, and before each slice of its prompt, of which n_prefilled tokens are done: how many
	 * of its first tokens need no prefill any more; n_prefilled, or a multiple of the tile beyond it and less than n_prompt.
	 * NULL: none more. Its pages are reserved all the same: whoever shares one may be its last holder. */
	int64_t (*cached_tokens)(void *context, int id, int64_t n_prefilled);
	void *context;
};

struct scheduler_request {
	int64_t n_prompt; /* tokens to prefill */
	int64_t n_total;  /* positions it may fill: prompt + max_tokens, clipped to the context */
	int priority;
	int64_t arrival_ns;
};

enum scheduler_refusal { SCHEDULER_QUEUE_FULL, SCHEDULER_NEVER_FITS };

struct scheduler_slice {
	int id;
	int64_t position;
	int n_rows;
	bool last; /* ends the prompt: its last row's logits give the first token */
};

struct scheduler_step {
	int *decode; /* ids [n_decode] */
	int n_decode;
	struct scheduler_slice *slices; /* [n_slices] */
	int n_slices;
	int *admitted; /* ids that left the queue for this step [n_admitted] */
	int n_admitted;
	int n_prefill_rows;
};

struct scheduler *scheduler_create(const struct scheduler_limits *limits); /* NULL when memory is short */
void scheduler_destroy(struct scheduler *scheduler);

/* An id in [0, n_parallel + max_waiting), the caller's until scheduler_remove; -1 with *refusal set. */
int scheduler_add(struct scheduler *scheduler, const struct scheduler_request *request,
                  enum scheduler_refusal *refusal);
/* Pages that n_total positions take. */
int64_t scheduler_pages(const struct scheduler *scheduler, int64_t n_total);

/* False when there is nothing to compute. The arrays of *step belong to the scheduler until the next plan. */
bool scheduler_plan(struct scheduler *scheduler, int64_t now_ns, struct scheduler_step *step);
/* The step was computed: slices count as prefilled, those that were `last` decode from now on. */
void scheduler_report(struct scheduler *scheduler, const struct scheduler_step *step, int64_t elapsed_ns);
void scheduler_remove(struct scheduler *scheduler, int id);

int scheduler_running(const struct scheduler *scheduler);
int scheduler_waiting(const struct scheduler *scheduler);
int64_t scheduler_waiting_tokens(const struct scheduler *scheduler);
int64_t scheduler_free_pages(const struct scheduler *scheduler); /* not reserved */
/* Estimated time until a request that arrived now would be admitted, from what steps cost so far; at least 1 s. */
int64_t scheduler_wait_estimate_ns(const struct scheduler *scheduler);

#endif
