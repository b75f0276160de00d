/* The scheduler as a pure state machine: admission, order, slices, budget, pages. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "engine/scheduler.h"

enum { TILE = 32, PAGE = 32 };
static const int64_t second = 1000000000;

static struct scheduler *make(int n_parallel, int n_pages)
{
	struct scheduler_limits limits = {
	    .n_parallel = n_parallel,
	    .max_waiting = 8,
	    .max_waiting_tokens = 10000,
	    .n_pages = n_pages,
	    .page_tokens = PAGE,
	    .tile_rows = TILE,
	    .max_prefill_rows = 512,
	    .max_gap_ns = 250000000,
	};
	struct scheduler *s = scheduler_create(&limits);
	assert_non_null(s);
	return s;
}

static int add(struct scheduler *s, int64_t n_prompt, int64_t n_total, int priority, int64_t arrival_ns)
{
	enum scheduler_refusal refusal;
	struct scheduler_request request = {
	    .n_prompt = n_prompt, .n_total = n_total, .priority = priority, .arrival_ns = arrival_ns};
	return scheduler_add(s, &request, &refusal);
}

/* Who got in with the last plan. */
static struct scheduler_admission admission;

static bool plan(struct scheduler *s, int64_t now_ns, struct scheduler_step *step)
{
	scheduler_admit(s, now_ns, &admission);
	return scheduler_plan(s, step);
}

static void short_prompt_is_one_slice_then_decodes(void **state)
{
	(void)state;
	struct scheduler *s = make(2, 100);
	struct scheduler_step step;
	assert_false(plan(s, 0, &step));
	int id = add(s, 10, 20, 0, 0);
	assert_true(plan(s, 0, &step));
	assert_int_equal(admission.n_admitted, 1);
	assert_int_equal(step.n_slices, 1);
	assert_int_equal(step.slices[0].id, id);
	assert_int_equal(step.slices[0].n_rows, 10);
	assert_true(step.slices[0].last);
	scheduler_report(s, &step, 1000);
	assert_true(plan(s, 1, &step));
	assert_int_equal(step.n_slices, 0);
	assert_int_equal(step.n_decode, 1);
	assert_int_equal(step.decode[0], id);
	scheduler_remove(s, id);
	assert_false(plan(s, 2, &step));
	assert_int_equal(scheduler_free_pages(s), 100);
	scheduler_destroy(s);
}

/* What came without steps is computed in one, as decode rows without logits, but for the last, which decodes. */
static void tokens_that_came_by_themselves_are_caught_up_with(void **state)
{
	(void)state;
	struct scheduler *s = make(2, 100);
	struct scheduler_step step;
	int id = add(s, 10, 60, 0, 0);
	assert_true(plan(s, 0, &step));
	scheduler_report(s, &step, 1000);
	scheduler_go_ahead(s, id, 10 + 1 + 7);
	assert_true(plan(s, 1, &step));
	assert_int_equal(step.n_decode, 0);
	assert_int_equal(step.n_slices, 1);
	assert_true(step.slices[0].again && !step.slices[0].last);
	assert_int_equal(step.slices[0].position, 10);
	assert_int_equal(step.slices[0].n_rows, 7);
	scheduler_report(s, &step, 1000);
	assert_true(plan(s, 2, &step));
	assert_int_equal(step.n_slices, 0);
	assert_int_equal(step.n_decode, 1);
	scheduler_remove(s, id);
	assert_int_equal(scheduler_free_pages(s), 100);
	scheduler_destroy(s);
}

static void slices_end_at_tiles(void **state)
{
	(void)state;
	struct scheduler *s = make(4, 1000);
	struct scheduler_step step;
	int id = add(s, 2000, 2100, 0, 0);
	int64_t position = 0;
	while (position < 2000) {
		assert_true(plan(s, 0, &step));
		assert_int_equal(step.n_slices, 1);
		assert_int_equal(step.slices[0].position, position);
		position += step.slices[0].n_rows;
		assert_true(position == 2000 || position % TILE == 0);
		assert_int_equal(step.slices[0].last, position == 2000);
		scheduler_report(s, &step, 5 * second); /* dear rows: slices shrink to a tile, never below */
	}
	scheduler_remove(s, id);
	scheduler_destroy(s);
}

/* Rows cost 1 ms, a decode step 50 ms: beside a decoding stream a slice must keep the gap under 250 ms. */
static void gap_of_running_streams_is_bounded(void **state)
{
	(void)state;
	struct scheduler *s = make(4, 1000);
	struct scheduler_step step;
	int first = add(s, 5, 4000, 0, 0);
	assert_true(plan(s, 0, &step));
	scheduler_report(s, &step, 5000000);
	for (int i = 0; i < 20; i++) {
		assert_true(plan(s, 0, &step));
		scheduler_report(s, &step, 50000000);
	}
	int second_id = add(s, 4000, 4100, 0, 0);
	int64_t done = 0;
	int n_steps = 0;
	for (; done < 4000; n_steps++) {
		assert_true(plan(s, 0, &step));
		assert_int_equal(step.n_decode, 1);
		assert_int_equal(step.decode[0], first);
		int64_t cost = 50000000 + (int64_t)step.n_prefill_rows * 1000000;
		assert_true(cost <= 250000000);
		done += step.n_prefill_rows;
		scheduler_report(s, &step, cost);
	}
	assert_true(n_steps <= 4000 / 128 + 3); /* and the budget is used */
	scheduler_remove(s, first);
	scheduler_remove(s, second_id);
	scheduler_destroy(s);
}

/* Of the pages that somebody may need, those for the prompt and one more are enough to let it in. */
static void admission_wants_the_prompt_and_a_page(void **state)
{
	(void)state;
	struct scheduler *s = make(8, 10);
	struct scheduler_step step;
	enum scheduler_refusal refusal;
	struct scheduler_request too_large = {.n_prompt = 10, .n_total = 10 * PAGE + 1};
	assert_int_equal(scheduler_add(s, &too_large, &refusal), -1);
	assert_int_equal(refusal, SCHEDULER_NEVER_FITS);
	int a = add(s, 4 * PAGE, 9 * PAGE, 0, 0), b = add(s, 5 * PAGE, 6 * PAGE, 0, 0), c = add(s, 10, PAGE, 0, 0);
	assert_true(plan(s, 0, &step));
	/* b must wait, and c does not overtake it. */
	assert_int_equal(admission.n_admitted, 1);
	assert_int_equal(admission.admitted[0], a);
	assert_int_equal(scheduler_free_pages(s), 5);
	scheduler_remove(s, a);
	assert_true(plan(s, 0, &step));
	assert_int_equal(admission.n_admitted, 2);
	assert_int_equal(admission.admitted[0], b);
	assert_int_equal(admission.admitted[1], c);
	scheduler_remove(s, b);
	scheduler_remove(s, c);
	assert_int_equal(scheduler_free_pages(s), 10);
	scheduler_destroy(s);
}

static void priority_goes_first_and_ages(void **state)
{
	(void)state;
	struct scheduler *s = make(1, 100);
	struct scheduler_step step;
	int running = add(s, 1, 2, 0, 0);
	assert_true(plan(s, 0, &step));
	int low = add(s, 1, 2, -1, 0), high = add(s, 1, 2, 1, 0);
	scheduler_remove(s, running);
	assert_true(plan(s, 1, &step));
	assert_int_equal(admission.admitted[0], high);
	/* After a minute of waiting the low one is ahead of a new high one. */
	int newer = add(s, 1, 2, 1, 60 * second);
	scheduler_remove(s, high);
	assert_true(plan(s, 60 * second, &step));
	assert_int_equal(admission.admitted[0], low);
	scheduler_remove(s, low);
	scheduler_remove(s, newer);
	scheduler_destroy(s);
}

/* ---- owners ---- */

static int add_of(struct scheduler *s, uint64_t owner, int64_t n_prompt, int priority, int64_t arrival_ns)
{
	enum scheduler_refusal refusal;
	struct scheduler_request request = {.n_prompt = n_prompt,
	                                    .n_total = n_prompt + 100,
	                                    .priority = priority,
	                                    .arrival_ns = arrival_ns,
	                                    .owner = owner};
	int id = scheduler_add(s, &request, &refusal);
	assert_true(id >= 0);
	return id;
}

/* Runs the one that is admitted now for n_out tokens; its id. */
static int run_next(struct scheduler *s, int64_t now_ns, int n_out)
{
	struct scheduler_step step;
	assert_true(plan(s, now_ns, &step));
	assert_int_equal(admission.n_admitted, 1);
	int id = admission.admitted[0];
	for (int n = 0; n < n_out; n += step.n_slices == 0 || step.slices[0].last) {
		assert_true(scheduler_plan(s, &step));
		scheduler_report(s, &step, 1000);
	}
	scheduler_remove(s, id);
	return id;
}

/* However many one owner sent before, and however long ago: another's first goes next. */
static void a_crowd_delays_its_own(void **state)
{
	(void)state;
	struct scheduler *s = make(1, 1000);
	int crowd[6];
	for (int i = 0; i < 6; i++)
		crowd[i] = add_of(s, 1, 50, 0, 0);
	assert_int_equal(run_next(s, 0, 20), crowd[0]);
	assert_int_equal(run_next(s, 2 * second, 20), crowd[1]);
	int other = add_of(s, 2, 400, 0, 3 * second);
	assert_int_equal(run_next(s, 3 * second, 20), other);
	/* One that is asked for with more urgency goes before, of whomever. */
	int urgent = add_of(s, 1, 50, 1, 3 * second);
	other = add_of(s, 2, 50, 0, 3 * second);
	assert_int_equal(run_next(s, 4 * second, 20), urgent);
	assert_int_equal(run_next(s, 4 * second, 20), other);
	assert_int_equal(run_next(s, 63 * second, 20), crowd[2]);
	other = add_of(s, 2, 400, 0, 63 * second);
	assert_int_equal(run_next(s, 64 * second, 20), other);
	/* Who has waited for others goes before who comes now. */
	other = add_of(s, 2, 50, 0, 70 * second);
	assert_int_equal(run_next(s, 70 * second, 20), crowd[3]);
	assert_int_equal(run_next(s, 70 * second, 20), other);
	assert_int_equal(run_next(s, 70 * second, 20), crowd[4]);
	assert_int_equal(run_next(s, 70 * second, 20), crowd[5]);
	scheduler_destroy(s);
}

/* Tokens are shared out, not requests: those of one owner are ten times as long. */
static void owners_share_tokens(void **state)
{
	(void)state;
	enum { OWNERS = 3, LONGEST = 1000, N_OUT = 40 };
	static const int64_t prompts[OWNERS] = {LONGEST, 100, 300};
	struct scheduler *s = make(1, 1000);
	int64_t tokens[OWNERS] = {0};
	int owner_of[16], n_waiting[OWNERS] = {0};
	for (int i = 0; i < 600; i++) {
		for (int owner = 0; owner < OWNERS; owner++)
			for (; n_waiting[owner] < 2; n_waiting[owner]++)
				owner_of[add_of(s, (uint64_t)owner + 7, prompts[owner], 0, i)] = owner;
		int owner = owner_of[run_next(s, i, N_OUT)];
		n_waiting[owner]--;
		tokens[owner] += prompts[owner] + N_OUT;
	}
	for (int owner = 1; owner < OWNERS; owner++)
		assert_in_range(tokens[owner] - tokens[0] + 3 * LONGEST, 0, 6 * LONGEST);
	assert_true(tokens[0] > 20 * LONGEST);
	scheduler_destroy(s);
}

static void queue_is_bounded_by_requests_and_tokens(void **state)
{
	(void)state;
	struct scheduler *s = make(1, 1000);
	struct scheduler_step step;
	enum scheduler_refusal refusal;
	add(s, 1, 2, 0, 0);
	assert_true(plan(s, 0, &step));
	for (int i = 0; i < 8; i++)
		assert_true(add(s, 1, 2, 0, 0) >= 0);
	struct scheduler_request one_more = {.n_prompt = 1, .n_total = 2};
	assert_int_equal(scheduler_add(s, &one_more, &refusal), -1);
	assert_int_equal(refusal, SCHEDULER_QUEUE_FULL);
	scheduler_destroy(s);

	s = make(1, 1000);
	add(s, 1, 2, 0, 0);
	assert_true(plan(s, 0, &step));
	assert_true(add(s, 9000, 9001, 0, 0) >= 0);
	struct scheduler_request tokens = {.n_prompt = 1001, .n_total = 1002};
	assert_int_equal(scheduler_add(s, &tokens, &refusal), -1);
	assert_int_equal(refusal, SCHEDULER_QUEUE_FULL);
	assert_int_equal(scheduler_waiting_tokens(s), 9000);
	assert_true(add(s, 1000, 1001, 0, 0) >= 0);
	scheduler_destroy(s);

	s = make(2, 1000); /* who will start takes no place, whether it was let in yet or not */
	struct scheduler_request eight[8];
	int ids[8];
	for (int i = 0; i < 8; i++)
		eight[i] = one_more;
	assert_true(add(s, 1, 2, 0, 0) >= 0 && add(s, 1, 2, 0, 0) >= 0);
	assert_true(scheduler_add_all(s, eight, 8, ids, &refusal));
	assert_int_equal(scheduler_add(s, &one_more, &refusal), -1);
	scheduler_destroy(s);

	s = make(1, 1000); /* a prompt beyond the bound waits when nobody else does */
	add(s, 1, 2, 0, 0);
	assert_true(plan(s, 0, &step));
	assert_true(add(s, 20000, 20001, 0, 0) >= 0);
	assert_int_equal(scheduler_add(s, &one_more, &refusal), -1);
	assert_int_equal(refusal, SCHEDULER_QUEUE_FULL);
	scheduler_destroy(s);
}

/* One owner that fills the queue, by requests or by tokens, keeps the others out of it only after their first. */
static void nobody_is_kept_out_by_others(void **state)
{
	(void)state;
	enum scheduler_refusal refusal;
	struct scheduler_step step;
	for (int by_tokens = 0; by_tokens < 2; by_tokens++) {
		struct scheduler *s = make(1, 1000);
		struct scheduler_request request = {.n_prompt = by_tokens ? 9999 : 1, .n_total = 10000, .owner = 1};
		int ids[2], n = 0;
		assert_true(scheduler_add(s, &request, &refusal) >= 0);
		assert_true(plan(s, 0, &step));
		while (scheduler_add(s, &request, &refusal) >= 0)
			n++;
		assert_int_equal(n, by_tokens ? 1 : 8);
		for (request.owner = 2; request.owner < 2 + SCHEDULER_OWN_PLACES; request.owner++) {
			struct scheduler_request two[2] = {request, request};
			assert_false(scheduler_add_all(s, two, 2, ids, &refusal));
			assert_true(scheduler_add(s, &request, &refusal) >= 0);
			assert_int_equal(scheduler_add(s, &request, &refusal), -1);
			assert_int_equal(refusal, SCHEDULER_QUEUE_FULL);
		}
		int own_places_left = by_tokens ? 7 : 0; /* of requests there was room for more */
		for (; own_places_left > 0; own_places_left--, request.owner++)
			assert_true(scheduler_add(s, &request, &refusal) >= 0);
		assert_int_equal(scheduler_add(s, &request, &refusal), -1);
		assert_int_equal(scheduler_waiting(s), 8 + SCHEDULER_OWN_PLACES);
		scheduler_destroy(s);
	}
}

/* All or none: those that start at once take no place in the queue, and what never finds room is told apart from what must
 * wait. */
static void several_come_together_or_not_at_all(void **state)
{
	(void)state;
	struct scheduler *s = make(4, 10);
	struct scheduler_request requests[16];
	struct scheduler_step step;
	enum scheduler_refusal refusal;
	int ids[16];
	for (int i = 0; i < 16; i++)
		requests[i] = (struct scheduler_request){.n_prompt = 2 * PAGE, .n_total = 3 * PAGE, .group = 1};
	assert_false(scheduler_add_all(s, requests, 12, ids, &refusal)); /* three start, for want of pages; eight wait */
	assert_int_equal(refusal, SCHEDULER_TOO_MANY);
	assert_int_equal(scheduler_waiting(s), 0);
	assert_true(scheduler_add_all(s, requests, 11, ids, &refusal));
	assert_true(plan(s, 0, &step));
	assert_int_equal(admission.n_admitted, 3);
	assert_int_equal(scheduler_waiting(s), 8);
	for (int i = 0; i < 3; i++)
		scheduler_remove(s, ids[i]);
	assert_false(scheduler_add_all(s, requests, 1, ids + 11, &refusal));
	assert_int_equal(refusal, SCHEDULER_QUEUE_FULL);
	assert_true(plan(s, 0, &step));
	assert_int_equal(scheduler_waiting(s), 5);
	assert_false(scheduler_add_all(s, requests, 4, ids + 11, &refusal));
	assert_int_equal(refusal, SCHEDULER_QUEUE_FULL);
	assert_int_equal(scheduler_waiting(s), 5);
	assert_true(scheduler_add_all(s, requests, 3, ids + 11, &refusal));
	requests[1].n_total = 11 * PAGE;
	assert_false(scheduler_add_all(s, requests, 2, ids + 14, &refusal));
	assert_int_equal(refusal, SCHEDULER_NEVER_FITS);
	scheduler_destroy(s);
}

/* The first of a group computes the prompt, then the others what they do not find in the cache; whoever is of no group or
 * of another does not wait for them. */
static void a_group_computes_its_prompt_once(void **state)
{
	(void)state;
	struct scheduler *s = make(4, 100);
	struct scheduler_request requests[3];
	struct scheduler_step step;
	enum scheduler_refusal refusal;
	int ids[3];
	for (int i = 0; i < 3; i++)
		requests[i] = (struct scheduler_request){.n_prompt = 1000, .n_total = 1010, .group = 7};
	assert_true(scheduler_add_all(s, requests, 3, ids, &refusal));
	int other = add(s, 1000, 1010, 0, 0), n_of_first = 0, n_of_other = 0;
	while (n_of_first < 1000) {
		assert_true(plan(s, 0, &step));
		for (int i = 0; i < step.n_slices; i++) {
			assert_true(step.slices[i].id == ids[0] || step.slices[i].id == other);
			*(step.slices[i].id == other ? &n_of_other : &n_of_first) += step.slices[i].n_rows;
		}
		scheduler_report(s, &step, 1000);
	}
	assert_int_equal(scheduler_skip(s, ids[1], 992), 992);
	scheduler_remove(s, ids[0]); /* it is done with */
	assert_true(plan(s, 0, &step));
	int first = step.slices[0].id;
	assert_true(first == ids[1] && step.slices[0].n_rows == 8);
	scheduler_report(s, &step, 1000);
	assert_int_equal(scheduler_skip(s, ids[2], 992), 992);
	assert_true(plan(s, 0, &step));
	assert_true(step.slices[0].id == ids[2] || step.slices[1].id == ids[2]);
	assert_true(n_of_other <= 1000);
	scheduler_destroy(s);
}

/* Rows that cost more come a tile at a time, unless nobody waits for a token. */
static void costly_rows_are_few_beside_others(void **state)
{
	(void)state;
	for (int costly = 0; costly < 2; costly++) {
		struct scheduler *s = make(2, 1000);
		struct scheduler_step step;
		enum scheduler_refusal refusal;
		struct scheduler_request request = {.n_prompt = 400, .n_total = 500, .every_row = costly};
		add(s, 1, 100, 0, 0);
		assert_true(plan(s, 0, &step));
		scheduler_report(s, &step, 1000);
		for (int i = 0; i < 2; i++) { /* learns that rows are cheap */
			assert_true(plan(s, 0, &step));
			scheduler_report(s, &step, 1000);
		}
		assert_true(scheduler_add(s, &request, &refusal) >= 0);
		assert_true(plan(s, 0, &step) && step.n_decode == 1 && step.n_slices == 1);
		assert_int_equal(step.slices[0].n_rows, costly ? TILE : 400);
		scheduler_destroy(s);
	}
}

/* A request of ten seconds, eight that wait: how long that takes depends on how many run together, and pages may allow fewer
 * than places do. */
static void retry_after_counts_places_and_pages(void **state)
{
	(void)state;
	static const struct {
		int n_pages, together;
	} pools[] = {{1000, 4}, {40, 4}, {39, 3}, {19, 1}};
	for (size_t i = 0; i < sizeof pools / sizeof *pools; i++) {
		struct scheduler *s = make(4, pools[i].n_pages);
		struct scheduler_step step;
		assert_true(scheduler_wait_estimate_ns(s) == second);
		int first = add(s, 9 * PAGE, 10 * PAGE, 0, 0);
		assert_true(plan(s, 0, &step));
		assert_true(plan(s, 10 * second, &step));
		scheduler_remove(s, first);
		for (int n = 0; n < pools[i].together + 8; n++) {
			assert_true(add(s, 9 * PAGE, 10 * PAGE, 0, 0) >= 0);
			assert_true(plan(s, 10 * second, &step));
		}
		assert_int_equal(scheduler_waiting(s), 8);
		int64_t wait_ns = scheduler_wait_estimate_ns(s), expected_ns = 9 * 10 * second / pools[i].together;
		assert_true(llabs(wait_ns - expected_ns) < 1000);
		scheduler_destroy(s);
	}
}

/* A prompt goes on behind what is known from elsewhere, when it is admitted and later; what is known already changes
 * nothing, and the end is always computed. */
static void what_is_known_is_skipped(void **state)
{
	(void)state;
	struct scheduler *s = make(2, 1000);
	struct scheduler_step step;
	int first = add(s, 1000, 1100, 0, 0), second_id = add(s, 200, 210, 0, 0);
	scheduler_admit(s, 0, &admission);
	assert_int_equal(admission.n_admitted, 2);
	assert_int_equal(admission.n_prefilling, 2);
	assert_int_equal(admission.prefilling[0], first);
	assert_int_equal(admission.prefilling[1], second_id);
	assert_int_equal(scheduler_skip(s, first, 3 * TILE), 3 * TILE);
	assert_int_equal(scheduler_skip(s, first, 2 * TILE), 0);
	assert_int_equal(scheduler_skip(s, second_id, 0), 0);
	assert_true(scheduler_plan(s, &step));
	assert_int_equal(step.n_slices, 1);
	assert_int_equal(step.slices[0].id, first);
	assert_int_equal(step.slices[0].position, 3 * TILE);
	int64_t done = 3 * TILE + step.slices[0].n_rows;
	scheduler_report(s, &step, 1000000);
	scheduler_admit(s, 1, &admission);
	assert_int_equal(admission.n_admitted, 0);
	assert_int_equal(admission.n_prefilling, 2);
	assert_int_equal(scheduler_skip(s, first, done + 2 * TILE), 2 * TILE);
	assert_int_equal(scheduler_skip(s, second_id, 6 * TILE), 6 * TILE);
	assert_true(scheduler_plan(s, &step));
	assert_int_equal(step.n_slices, 2);
	assert_int_equal(step.slices[0].position, done + 2 * TILE);
	assert_true(step.slices[0].last && step.slices[1].last);
	assert_int_equal(step.slices[1].position, 6 * TILE);
	assert_int_equal(step.slices[1].n_rows, 200 - 6 * TILE);
	scheduler_report(s, &step, 1000000);
	scheduler_admit(s, 2, &admission);
	assert_int_equal(admission.n_prefilling, 0);
	assert_true(scheduler_plan(s, &step));
	assert_int_equal(step.n_decode, 2);
	assert_int_equal(scheduler_free_pages(s), 1000 - scheduler_pages(s, 1000) - 1 - scheduler_pages(s, 210));
	scheduler_destroy(s);
}

/* Random arrivals and removals: counts stay consistent, everything admitted ends, all pages come back. */
static void random_load_gives_everything_back(void **state)
{
	(void)state;
	struct scheduler *s = make(4, 64);
	struct scheduler_step step;
	int64_t left[12] = {0}; /* tokens to decode by id; 0 = not ours */
	unsigned seed = 1;
	for (int64_t now = 0; now < 20000; now++) {
		if (rand_r(&seed) % 3 == 0) {
			int64_t n_prompt = 1 + rand_r(&seed) % 300, n_out = 1 + rand_r(&seed) % 50;
			int id = add(s, n_prompt, n_prompt + n_out, rand_r(&seed) % 21 - 10, now * 1000000);
			if (id >= 0)
				left[id] = n_out;
		}
		if (!plan(s, now * 1000000, &step))
			continue;
		assert_true(scheduler_running(s) <= 4);
		scheduler_report(s, &step, 1000000 * (1 + step.n_prefill_rows));
		for (int i = 0; i < step.n_decode; i++)
			if (--left[step.decode[i]] == 0 || rand_r(&seed) % 50 == 0) {
				scheduler_remove(s, step.decode[i]);
				left[step.decode[i]] = 0;
			}
		for (int i = 0; i < step.n_slices; i++) /* cancelled in prefill */
			if (rand_r(&seed) % 40 == 0) {
				scheduler_remove(s, step.slices[i].id);
				left[step.slices[i].id] = 0;
			}
	}
	for (int id = 0; id < 12; id++)
		if (left[id])
			scheduler_remove(s, id);
	assert_int_equal(scheduler_running(s), 0);
	assert_int_equal(scheduler_waiting(s), 0);
	assert_int_equal(scheduler_waiting_tokens(s), 0);
	assert_int_equal(scheduler_free_pages(s), 64);
	scheduler_destroy(s);
}

/* Two grow until the pool is full: the newer one gives its pages back, and goes on with what it had said when the older one
 * has ended, tile by tile through its prompt and then row by row through its answer. */
static void the_newest_pauses_and_computes_again(void **state)
{
	(void)state;
	struct scheduler *s = make(4, 8);
	struct scheduler_step step;
	int older = add(s, PAGE, 8 * PAGE, 0, 0), newer = add(s, PAGE, 8 * PAGE, 0, 0), n_newer = 0, n_older = 0;
	for (;;) {
		assert_true(plan(s, 0, &step));
		if (admission.n_paused)
			break;
		for (int i = 0; i < step.n_decode; i++)
			++*(step.decode[i] == newer ? &n_newer : &n_older);
		scheduler_report(s, &step, 1000);
		assert_true(scheduler_free_pages(s) >= 0);
	}
	assert_int_equal(admission.n_paused, 1);
	assert_int_equal(admission.paused[0], newer);
	assert_true(scheduler_paused(s) == 1 && scheduler_running(s) == 2);
	assert_int_equal(n_newer, 3 * PAGE); /* four pages each */
	int third = add(s, 1, 2, 10, 0);     /* nobody goes before the one that pauses */
	for (; n_older < 7 * PAGE - 1; n_older++) {
		assert_true(step.n_decode == 1 && step.decode[0] == older && step.n_slices == 0);
		scheduler_report(s, &step, 1000);
		assert_true(plan(s, 0, &step));
		assert_int_equal(admission.n_admitted + admission.n_paused, 0);
	}
	scheduler_remove(s, older);
	assert_true(plan(s, 0, &step));
	assert_true(admission.n_prefilling == 2 && admission.prefilling[0] == newer && admission.admitted[0] == third);
	assert_true(step.slices[0].id == newer && step.slices[0].n_rows == PAGE && !step.slices[0].last);
	scheduler_report(s, &step, 1000);
	scheduler_remove(s, third);
	int64_t position = PAGE;
	while (plan(s, 0, &step) && step.n_slices) {
		assert_true(step.slices[0].again && step.slices[0].position == position && !step.slices[0].last);
		position += step.slices[0].n_rows;
		scheduler_report(s, &step, 1000);
	}
	assert_int_equal(position, PAGE + n_newer); /* all but the token that it decodes next */
	assert_true(step.n_decode == 1 && step.decode[0] == newer);
	scheduler_remove(s, newer);
	assert_int_equal(scheduler_free_pages(s), 8);
	scheduler_destroy(s);
}

/* What the scheduler must know of one that was admitted, counted from outside. */
struct follower {
	bool admitted, paused;
	int64_t n_prompt, n_total, n_known, n_done;
	int order;
};

enum { N_FOLLOWERS = 6 + 8 };

/* Nobody that runs is newer than one that pauses, and what runs has the pages of its tokens. */
static void check_followers(const struct scheduler *s, const struct follower *followers, int n_pages)
{
	int newest_running = -1, oldest_paused = 1 << 30;
	int64_t needed = 0;
	for (int id = 0; id < N_FOLLOWERS; id++) {
		const struct follower *one = &followers[id];
		if (one->admitted && !one->paused) {
			newest_running = one->order > newest_running ? one->order : newest_running;
			int64_t n_tokens = one->n_known < one->n_total ? one->n_known : one->n_total;
			needed += scheduler_pages(s, n_tokens);
		} else if (one->admitted) {
			oldest_paused = one->order < oldest_paused ? one->order : oldest_paused;
		}
	}
	assert_true(newest_running < oldest_paused);
	assert_true(needed <= n_pages - scheduler_free_pages(s) && scheduler_free_pages(s) >= 0);
}

/* What an admission says of them. Of those that do not decode a cache may know a beginning. */
static void follow_admission(struct scheduler *s, struct follower *followers, int *order, unsigned *seed)
{
	int oldest = -1;
	for (int id = 0; id < N_FOLLOWERS; id++)
		if (followers[id].admitted && (oldest < 0 || followers[id].order < followers[oldest].order))
			oldest = id;
	for (int i = 0; i < admission.n_paused; i++) {
		assert_true(admission.paused[i] != oldest);
		followers[admission.paused[i]].paused = true;
		followers[admission.paused[i]].n_done = 0;
	}
	for (int i = 0; i < admission.n_admitted; i++) {
		followers[admission.admitted[i]].admitted = true;
		followers[admission.admitted[i]].order = (*order)++;
	}
	for (int i = 0; i < admission.n_prefilling; i++) {
		struct follower *one = &followers[admission.prefilling[i]];
		one->paused = false;
		int64_t known = (one->n_done + (int64_t)(rand_r(seed) % 3) * TILE) / TILE * TILE;
		if (rand_r(seed) % 4 == 0 && known < one->n_known)
			one->n_done += scheduler_skip(s, admission.prefilling[i], known);
	}
}

/* A step goes on where each of them is. */
static void follow_step(struct follower *followers, const struct scheduler_step *step)
{
	for (int i = 0; i < step->n_slices; i++) {
		struct follower *one = &followers[step->slices[i].id];
		int64_t end = step->slices[i].position + step->slices[i].n_rows;
		assert_true(one->admitted && !one->paused && step->slices[i].position == one->n_done);
		assert_true(step->slices[i].again ? end < one->n_known && one->n_done >= one->n_prompt : end <= one->n_prompt);
		assert_int_equal(step->slices[i].last, end == one->n_prompt && one->n_known == one->n_prompt);
		one->n_done = end;
		one->n_known += step->slices[i].last;
	}
	for (int i = 0; i < step->n_decode; i++) {
		struct follower *one = &followers[step->decode[i]];
		assert_true(one->admitted && !one->paused && one->n_done == one->n_known - 1);
		one->n_done++;
		one->n_known++;
	}
}

/* Random requests that may each fill most of the pool, in a pool of a quarter of what they may need together: everyone that
 * is admitted gets all of its tokens, in order, whatever pauses; a step always makes progress; the oldest never pauses. */
static void everyone_admitted_finishes(void **state)
{
	(void)state;
	enum { N_PAGES = 24, N_REQUESTS = 1500 };
	struct follower followers[N_FOLLOWERS] = {0};
	struct scheduler *s = make(6, N_PAGES);
	struct scheduler_step step;
	unsigned seed = 17;
	int n_added = 0, n_finished = 0, n_cancelled = 0, n_pauses = 0, order = 0;
	for (int64_t now = 0; n_finished + n_cancelled < N_REQUESTS; now++) {
		assert_true(now < 3000000);
		if (n_added < N_REQUESTS && rand_r(&seed) % 4 == 0) {
			int64_t n_prompt = 1 + rand_r(&seed) % (N_PAGES * PAGE / 3);
			int64_t n_total = n_prompt + 1 + rand_r(&seed) % (N_PAGES * PAGE - (int)n_prompt);
			int id = add(s, n_prompt, n_total, 0, now);
			if (id >= 0)
				followers[id] = (struct follower){.n_prompt = n_prompt, .n_total = n_total, .n_known = n_prompt};
			n_added += id >= 0;
		}
		scheduler_admit(s, now, &admission);
		follow_admission(s, followers, &order, &seed);
		n_pauses += admission.n_paused;
		check_followers(s, followers, N_PAGES);
		bool any = scheduler_plan(s, &step);
		assert_true(any || scheduler_running(s) + scheduler_waiting(s) == 0);
		if (!any)
			continue;
		follow_step(followers, &step);
		scheduler_report(s, &step, 1000000);
		for (int id = 0; id < N_FOLLOWERS; id++) {
			bool cancelled = followers[id].admitted && rand_r(&seed) % 5000 == 0; /* also while it pauses */
			if (!followers[id].admitted || (followers[id].n_known < followers[id].n_total && !cancelled))
				continue;
			n_finished += !cancelled;
			n_cancelled += cancelled;
			scheduler_remove(s, id);
			followers[id] = (struct follower){0};
		}
	}
	assert_true(n_pauses > 100 && n_finished > N_REQUESTS / 2);
	assert_int_equal(scheduler_free_pages(s), N_PAGES);
	assert_true(scheduler_paused(s) == 0 && scheduler_running(s) == 0);
	scheduler_destroy(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(short_prompt_is_one_slice_then_decodes),
	    cmocka_unit_test(tokens_that_came_by_themselves_are_caught_up_with),
	    cmocka_unit_test(slices_end_at_tiles),
	    cmocka_unit_test(gap_of_running_streams_is_bounded),
	    cmocka_unit_test(admission_wants_the_prompt_and_a_page),
	    cmocka_unit_test(priority_goes_first_and_ages),
	    cmocka_unit_test(a_crowd_delays_its_own),
	    cmocka_unit_test(owners_share_tokens),
	    cmocka_unit_test(queue_is_bounded_by_requests_and_tokens),
	    cmocka_unit_test(retry_after_counts_places_and_pages),
	    cmocka_unit_test(nobody_is_kept_out_by_others),
	    cmocka_unit_test(several_come_together_or_not_at_all),
	    cmocka_unit_test(a_group_computes_its_prompt_once),
	    cmocka_unit_test(costly_rows_are_few_beside_others),
	    cmocka_unit_test(what_is_known_is_skipped),
	    cmocka_unit_test(random_load_gives_everything_back),
	    cmocka_unit_test(the_newest_pauses_and_computes_again),
	    cmocka_unit_test(everyone_admitted_finishes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
