/* The scheduler over hours of made-up load (tests/bench/simulation.h): what must hold in every step holds, the gap stays
 * under its bound, and the last in priority is served while the first keep coming. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "../bench/simulation.h"

static struct simulation_result result, again;

static struct simulation_options hours(double n)
{
	struct simulation_options options = simulation_defaults;
	options.hours = n;
	options.requests_per_second = 1.5; /* by night a quarter of it comes, and the worker manages about 0.6 */
	return options;
}

static void run(const struct simulation_options *options)
{
	assert_true(simulation_run(options, &result));
	if (result.violation[0])
		fail_msg("%s", result.violation);
	for (int i = 0; i < PRIORITY_LEVELS; i++) {
		const struct priority_result *level = &result.by_priority[i];
		assert_true(level->n_finished > 0);
		assert_int_equal(level->n_came, level->n_finished + level->n_cancelled + level->n_refused);
	}
}

static void gaps_stay_under_their_bound(void **state)
{
	(void)state;
	struct simulation_options options = hours(2);
	run(&options);
	assert_true(result.prefill_gap_ms.n > 10000 && result.first_token_long_ms.n > 10);
	/* What steps cost is learned: when many streams start at once the first step may be a little late. */
	assert_true(result.late_gaps < 0.0001 && result.prefill_gap_ms.max < 1.1 * options.max_gap_ms);
	assert_true(tally_quantile(&result.prefill_gap_ms, 0.5) > 150); /* and the bound is used */

	options.max_gap_ms = 100;
	run(&options);
	assert_true(result.late_gaps < 0.001 && result.prefill_gap_ms.max < 1.3 * options.max_gap_ms);
	options.tile_rows = 32; /* a tile is 110 ms: as near to the bound as it goes */
	run(&options);
	assert_true(result.prefill_gap_ms.max < 300);
}

/* More comes than can be served, at all priorities: whoever is in the queue gets out of it, the first sooner. */
static void nobody_starves(void **state)
{
	(void)state;
	struct simulation_options options = hours(2);
	options.requests_per_second = 4;
	run(&options);
	const struct priority_result *low = &result.by_priority[PRIORITY_LOW], *high = &result.by_priority[PRIORITY_HIGH];
	assert_true(result.n_answers_429 > 1000);
	assert_true(tally_quantile(&low->waiting_ms, 0.5) > tally_quantile(&high->waiting_ms, 0.5));
	/* Ten levels are fifty seconds of waiting; the rest is the queue itself. */
	assert_true(tally_quantile(&low->waiting_ms, 0.5) < tally_quantile(&high->waiting_ms, 0.5) + 60000);
	assert_true(low->waiting_ms.max < 300000);
}

/* The same where they are several owners'. */
static void nobody_starves_among_owners(void **state)
{
	(void)state;
	struct simulation_options options = hours(2);
	options.requests_per_second = 4;
	options.n_owners = 5;
	run(&options);
	const struct priority_result *low = &result.by_priority[PRIORITY_LOW], *high = &result.by_priority[PRIORITY_HIGH];
	assert_true(tally_quantile(&low->waiting_ms, 0.5) > tally_quantile(&high->waiting_ms, 0.5));
	assert_true(low->waiting_ms.max < 500000);
	assert_true(result.late_gaps < 0.0001);
}

/* Decoding alone takes as long as the gap may be: prefill gets its share all the same. */
static void newcomers_are_not_kept_out_by_slow_decoding(void **state)
{
	(void)state;
	struct simulation_options options = hours(6);
	options.requests_per_second = 0.1;
	options.bursts_per_hour = 0;
	options.decode_step_ms = 240;
	run(&options);
	for (int i = 0; i < PRIORITY_LEVELS; i++)
		assert_true(tally_quantile(&result.by_priority[i].first_token_ms, 0.5) < 60000);
	assert_true(result.prefill_gap_ms.max < 1.5 * (240 + 15 * 2.5 + 40));
}

static void few_pages_are_enough(void **state)
{
	(void)state;
	struct simulation_options options = hours(1);
	options.n_pages = 2 * options.context / options.page_tokens;
	options.cancel_share = 0.5;
	run(&options);
	assert_true(result.late_gaps < 0.0001);
}

/* Who comes back when it was told to finds a place more often than not, and most get in. */
static void retry_after_means_something(void **state)
{
	(void)state;
	struct simulation_options options = hours(6);
	options.requests_per_second = 0;
	run(&options);
	assert_true(result.n_answers_429 > 50);
	assert_true(result.n_came_back > 0 && 2 * result.n_in_at_first_return > result.n_came_back);
}

static void the_same_seed_gives_the_same_result(void **state)
{
	(void)state;
	struct simulation_options options = hours(0.5);
	run(&options);
	assert_true(simulation_run(&options, &again));
	assert_memory_equal(&result, &again, sizeof result);
	options.seed++;
	run(&options);
	assert_memory_not_equal(&result, &again, sizeof result);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(gaps_stay_under_their_bound),
	    cmocka_unit_test(nobody_starves),
	    cmocka_unit_test(nobody_starves_among_owners),
	    cmocka_unit_test(newcomers_are_not_kept_out_by_slow_decoding),
	    cmocka_unit_test(few_pages_are_enough),
	    cmocka_unit_test(retry_after_means_something),
	    cmocka_unit_test(the_same_seed_gives_the_same_result),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
