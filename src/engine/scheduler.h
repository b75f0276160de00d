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
 * Admission: in order of priority, then arrival; waiting raises priority by one every five seconds, so nobody
 * starves. A request is admitted when a place and all the pages it may ever need (prompt + max_tokens) are free:
 * admitted means it will finish. Nobody overtakes the first in line.
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

struct scheduler_limits {
	int n_parallel;             /* sequences that run together */
	int max_waiting;            /* requests */
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
	int64_t arrival_ns;
	uint64_t group; /* 0 = none */
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
	int *
	    prefilling; /* ids whose prompt is not done, those just admitted among them, in order of admission [n_prefilling] */
	int n_prefilling;
};

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
	int n_prefill_rows;
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

/* Between steps: lets in, one by one, whoever is first in line and fits. A cache changes nothing about what fits: whoever
 * shares a page may be its last holder, so every page is reserved. */
void scheduler_admit(struct scheduler *scheduler, int64_t now_ns, struct scheduler_admission *admission);
/* Of a prompt that is being prefilled the first n_done tokens are known from elsewhere: a multiple of the tile, less than
 * n_prompt. Returns how many more that are than were done; 0 when that many were done already. */
int64_t scheduler_skip(struct scheduler *scheduler, int id, int64_t n_done);
/* The rows of the next step; false when there is nothing to compute. The arrays of *step belong to the scheduler until the
 * next plan. */
bool scheduler_plan(struct scheduler *scheduler, struct scheduler_step *step);
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
