/* The real scheduler under made-up load: requests come, wait, run and end in time that is counted, not lived, so that a
 * day passes in seconds. What a step costs comes from a few numbers; the scheduler learns them as it would from a clock.
 * Everything drawn comes from the seed: the same options give the same result.
 *
 * Every step is checked: pages add up, slices follow each other and end at tiles, whoever decodes gets a row in every
 * step, no bound is passed. The first thing that is wrong is named in the result.
 */
#ifndef TALLOW_TESTS_SIMULATION_H
#define TALLOW_TESTS_SIMULATION_H

#include <stdbool.h>
#include <stdint.h>

struct simulation_options {
	int64_t seed;
	double hours;
	/* The worker. */
	int n_parallel, max_waiting, context, page_tokens, tile_rows, max_prefill_rows;
	int n_pages; /* 0: n_parallel contexts */
	double max_gap_ms;
	/* What a step costs. */
	double prefill_step_ms;                      /* that rows of prefill are there at all */
	double prefill_row_ms, prefill_row_depth_ms; /* a row; what 1,000 tokens before it add */
	double decode_step_ms, decode_row_ms;        /* the first row; each further one */
	double decode_row_depth_ms;                  /* what 1,000 tokens before a row add */
	double noise;                                /* 0.05: a step takes up to 5% more or less */
	/* The load. */
	double requests_per_second; /* in the busiest hour; a quarter of it in the quietest */
	double bursts_per_hour;
	int burst_requests; /* at most: one has a sixth of it to all of it, within two seconds */
	double long_share;  /* of prompts: 1,500 tokens to what the context holds; others have 16 to 1,000 */
	double cancel_share;
	int mean_output, max_tokens; /* generated; asked for */
	int n_owners;                /* who sends them, in turn; 0: one */
	int retries;                 /* a refused client comes back when it was told to, so often */
};

/* Near a 1.1B model in 8 bits on two cores. */
extern const struct simulation_options simulation_defaults;

/* Counts by size, in steps of 1/32 of an octave: quantiles to 2%, whatever the number of values. */
enum { TALLY_STEPS = 32, TALLY_BUCKETS = 40 * TALLY_STEPS };
struct tally {
	uint64_t counts[TALLY_BUCKETS], n;
	double sum, max;
};
double tally_quantile(const struct tally *tally, double q);

enum { PRIORITY_LOW, PRIORITY_NORMAL, PRIORITY_HIGH, PRIORITY_LEVELS };
extern const int simulation_priorities[PRIORITY_LEVELS]; /* -5, 0, 5: 10%, 80%, 10% of requests */

/* Times count from the request that was accepted, after those that were refused. */
struct priority_result {
	int64_t n_came, n_finished, n_cancelled, n_refused; /* refused: gave up after the last retry */
	struct tally waiting_ms, first_token_ms;
	int64_t max_overtaken; /* by how many that came later */
};

struct simulation_result {
	char violation[160]; /* "" when all is well */
	int64_t n_steps, n_prompt_tokens, n_output_tokens;
	int64_t n_pauses, n_computed_again; /* tokens, as if no cache had them */
	int64_t n_answers_429, n_came_back, n_in_at_first_return;
	double simulated_s, busy_s;
	double late_gaps; /* share of gaps beyond max_gap_ms */
	struct tally queue_length, gap_ms, prefill_gap_ms, first_token_long_ms, retry_after_s;
	struct priority_result by_priority[PRIORITY_LEVELS];
};

/* False when memory is short. */
bool simulation_run(const struct simulation_options *options, struct simulation_result *result);

#endif
