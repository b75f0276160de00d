/* The sampler: each filter against a hand-made distribution, and draws that depend on (seed, choice, position) alone. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/sampler.h"

enum { VOCAB = 8, DRAWS = 20000 };
static const struct sampling plain = {.temperature = 1, .top_p = 1, .repetition_penalty = 1};

/* The prompt is all that was said. */
static int32_t pick(struct sampler *sampler, float *logits, const struct sampling *sampling, const int32_t *history,
                    size_t n_history, uint32_t choice, uint64_t position)
{
	struct sampler_place place = {
	    .tokens = history, .n_tokens = n_history, .n_prompt = n_history, .choice = choice, .position = position};
	return sampler_pick(sampler, logits, sampling, &place, NULL);
}

/* Probabilities 0.4 0.3 0.15 0.1 0.05, the others impossible. */
static void set_logits(float *logits)
{
	const double p[] = {0.15, 0.4, 0.05, 0.3, 0.1};
	for (int i = 0; i < VOCAB; i++)
		logits[i] = i < 5 ? (float)log(p[i]) : -INFINITY;
}

static void count_draws(struct sampling sampling, int *counts)
{
	struct sampler *sampler = sampler_create(VOCAB);
	assert_non_null(sampler);
	memset(counts, 0, VOCAB * sizeof *counts);
	for (int i = 0; i < DRAWS; i++) {
		float logits[VOCAB];
		set_logits(logits);
		sampling.seed = 7;
		int32_t token = pick(sampler, logits, &sampling, NULL, 0, 0, (uint64_t)i);
		assert_in_range(token, 0, VOCAB - 1);
		counts[token]++;
	}
	sampler_destroy(sampler);
}

static void assert_share(int count, double expected)
{
	assert_true(fabs((double)count / DRAWS - expected) < 0.015);
}

static void draws_follow_the_distribution(void **state)
{
	(void)state;
	int counts[VOCAB];
	count_draws(plain, counts);
	assert_share(counts[0], 0.15);
	assert_share(counts[1], 0.4);
	assert_share(counts[2], 0.05);
	assert_share(counts[3], 0.3);
	assert_share(counts[4], 0.1);
	assert_int_equal(counts[5] + counts[6] + counts[7], 0);
}

static void temperature_sharpens(void **state)
{
	(void)state;
	int counts[VOCAB];
	struct sampling sampling = plain;
	sampling.temperature = 0.5; /* squares the probabilities */
	count_draws(sampling, counts);
	double total = 0.16 + 0.09 + 0.0225 + 0.01 + 0.0025;
	assert_share(counts[1], 0.16 / total);
	assert_share(counts[3], 0.09 / total);
	sampling.temperature = 1e-9;
	count_draws(sampling, counts);
	assert_int_equal(counts[1], DRAWS);
}

static void filters_keep_what_they_should(void **state)
{
	(void)state;
	int counts[VOCAB];
	struct sampling sampling = plain;
	sampling.top_k = 2;
	count_draws(sampling, counts);
	assert_share(counts[1], 0.4 / 0.7);
	assert_int_equal(counts[1] + counts[3], DRAWS);

	sampling = plain;
	sampling.top_p = 0.8; /* 0.4 + 0.3 < 0.8 <= 0.85 */
	count_draws(sampling, counts);
	assert_int_equal(counts[1] + counts[3] + counts[0], DRAWS);
	assert_share(counts[0], 0.15 / 0.85);

	sampling = plain;
	sampling.top_p = 0; /* at least one stays */
	count_draws(sampling, counts);
	assert_int_equal(counts[1], DRAWS);

	sampling = plain;
	sampling.min_p = 0.3; /* below 0.12 goes */
	count_draws(sampling, counts);
	assert_int_equal(counts[0] + counts[1] + counts[3], DRAWS);
	assert_share(counts[0], 0.15 / 0.85);

	sampling = plain;
	sampling.top_k = 4;
	sampling.top_p = 0.9; /* of what top_k left: 0.4 0.3 0.15 0.1 of 0.95 */
	count_draws(sampling, counts);
	assert_int_equal(counts[4] + counts[2], counts[4]);
	assert_true(counts[4] > 0);
}

/* Whatever order leaves nothing of the likeliest: what remains is drawn by its own weights, however little it had beside. */
static void what_is_left_without_the_likeliest_is_drawn(void **state)
{
	(void)state;
	static const double p[VOCAB] = {0.1, 0.098, 0.3, 0.104, 0.102, 0.096, 0.1, 0.1};
	struct sampler *sampler = sampler_create(VOCAB);
	struct sampling typical = plain, xtc = plain;
	typical.has_order = true;
	typical.n_order = 3;
	typical.order[0] = STAGE_TYPICAL_P; /* all but the likeliest, which says less than the average */
	typical.order[1] = STAGE_TEMPERATURE;
	typical.order[2] = STAGE_TOP_P;
	typical.typical_p = 0.6;
	typical.temperature = 1e-4;
	xtc.has_order = true;
	xtc.n_order = 3;
	xtc.order[0] = STAGE_TEMPERATURE;
	xtc.order[1] = STAGE_XTC; /* all but the least likely */
	xtc.order[2] = STAGE_TYPICAL_P;
	xtc.temperature = 0.01;
	xtc.typical_p = 0.5;
	xtc.xtc_probability = 1;
	for (uint64_t i = 0; i < 20; i++) {
		float logits[VOCAB], others[VOCAB] = {20, 5, 30, 7, -3, 9, 8, 1};
		for (int j = 0; j < VOCAB; j++)
			logits[j] = (float)log(p[j]);
		typical.top_p = i % 2 ? 0 : 0.999999;
		assert_int_equal(pick(sampler, logits, &typical, NULL, 0, 0, i), 3);
		assert_int_equal(pick(sampler, others, &xtc, NULL, 0, 0, i), 4);
	}
	sampler_destroy(sampler);
}

/* Logits as far apart as floats can be. */
static void whatever_is_finite_can_be_drawn(void **state)
{
	(void)state;
	struct sampler *sampler = sampler_create(VOCAB);
	for (int i = 0; i < 4; i++) {
		struct sampling sampling = plain;
		float logits[VOCAB] = {-3.4e38F, 1, NAN, 3.4e38F, -INFINITY, -3.4e38F, 0, INFINITY};
		sampling.typical_p = i % 2 ? 0.5 : 1;
		sampling.dynamic_range = i / 2 ? 0.5 : 0;
		assert_int_equal(pick(sampler, logits, &sampling, NULL, 0, 0, (uint64_t)i), 3);
	}
	sampler_destroy(sampler);
}

static void an_early_end_comes_where_nothing_else_may(void **state)
{
	(void)state;
	static const int32_t ends[] = {3}, stops[] = {5, -1, VOCAB};
	struct sampler *sampler = sampler_create(VOCAB);
	struct sampling sampling = plain;
	sampling.min_tokens = 4;
	sampling.stop_tokens = stops;
	sampling.n_stop_tokens = 3;
	for (uint32_t mask = 1; mask < 1U << VOCAB; mask++) {
		float logits[VOCAB] = {0};
		struct sampler_place place = {
		    .ends = ends, .n_ends = 1, .position = mask, .mask = &mask, .n_mask = 1, .n_prompt = 0};
		int32_t token = sampler_pick(sampler, logits, &sampling, &place, NULL);
		assert_true(token >= 0 && mask >> token & 1);
		assert_int_equal(token == 3 || token == 5, (mask & ~(1U << 3 | 1U << 5)) == 0);
	}
	sampler_destroy(sampler);
}

/* ---- many tokens ---- */

enum { MANY = 5000 };

struct ranked {
	float logit;
	int32_t token;
};

static int compare_ranked(const void *left, const void *right)
{
	const struct ranked *a = left, *b = right;
	return a->logit != b->logit ? (a->logit > b->logit ? -1 : 1) : a->token - b->token;
}

/* What top_p leaves, in the order of a sort of the C library, and the draw among it. */
static int32_t expected_token(const float *logits, double top_p, double uniform)
{
	static struct ranked ranked[MANY];
	static double weights[MANY];
	double total = 0, kept = 0, reached = 0;
	int n = 0;
	for (int i = 0; i < MANY; i++)
		ranked[i] = (struct ranked){logits[i], i};
	qsort(ranked, MANY, sizeof *ranked, compare_ranked);
	for (int i = 0; i < MANY; i++)
		total += weights[i] = exp((double)(ranked[i].logit - ranked[0].logit));
	while (n < MANY && kept < top_p * total)
		kept += weights[n++];
	for (int i = 0; i < n; i++)
		if ((reached += weights[i]) > uniform * kept)
			return ranked[i].token;
	return ranked[n - 1].token;
}

/* Orders that a sort might find hard, among them many equal logits. */
static float many_logit(int order, int i)
{
	switch (order) {
	case 0:
		return (float)i / MANY;
	case 1:
		return (float)(MANY - i) / MANY;
	case 2:
		return (float)(i < MANY / 2 ? i : MANY - i) / MANY; /* up and down */
	case 3:
		return 1; /* all the same */
	default:
		return (float)(4 * sampler_uniform(1, 0, (uint64_t)(i / 3 * 3)));
	}
}

static void many_tokens_are_put_in_order(void **state)
{
	(void)state;
	static float logits[MANY], given[MANY];
	struct sampler *sampler = sampler_create(MANY);
	struct sampling sampling = plain;
	sampling.top_p = 0.9;
	for (int order = 0; order < 5; order++) {
		for (int i = 0; i < MANY; i++)
			logits[i] = many_logit(order, i);
		for (uint64_t position = 0; position < 20; position++) {
			memcpy(given, logits, sizeof given);
			assert_int_equal(pick(sampler, given, &sampling, NULL, 0, 0, position),
			                 expected_token(logits, 0.9, sampler_uniform(0, 0, position)));
		}
	}
	sampler_destroy(sampler);
}

/* However small the penalty: of what was seen, what was likeliest wins, by chance as greedily. */
static void a_tiny_penalty_favours_what_was_seen(void **state)
{
	(void)state;
	static const double penalties[] = {0.1, 1e-20, 1e-38, 1e-40, 1e-310, 5e-324};
	static const int32_t history[] = {1, 2, 3, 2};
	struct sampler *sampler = sampler_create(VOCAB);
	for (size_t i = 0; i < 2 * sizeof penalties / sizeof *penalties; i++) {
		struct sampling sampling = {
		    .temperature = i % 2, .top_p = 1, .repetition_penalty = penalties[i / 2], .seed = 5};
		float logits[VOCAB] = {20, 12.5f, 14.25f, -1, 19, 0, -3, 2};
		assert_int_equal(pick(sampler, logits, &sampling, history, 4, 0, i), 2);
		float negative[VOCAB] = {-20, -12.5f, -14.25f, -1e-3f, -19, -2, -3, -INFINITY};
		sampling.temperature = 0;
		int32_t token = pick(sampler, negative, &sampling, history, 4, 0, i);
		assert_true(token == 1 || token == 2 || token == 3);
	}
	sampler_destroy(sampler);
}

static void greedy_takes_the_first_of_equals(void **state)
{
	(void)state;
	struct sampler *sampler = sampler_create(VOCAB);
	struct sampling sampling = plain;
	sampling.temperature = 0;
	float logits[VOCAB] = {NAN, 1, 3, 3, -INFINITY, 3, 0, 2};
	assert_int_equal(pick(sampler, logits, &sampling, NULL, 0, 0, 0), 2);
	float none[VOCAB];
	for (int i = 0; i < VOCAB; i++)
		none[i] = i % 2 ? NAN : -INFINITY;
	assert_int_equal(pick(sampler, none, &sampling, NULL, 0, 0, 0), -1);
	sampling.temperature = 1;
	assert_int_equal(pick(sampler, none, &sampling, NULL, 0, 0, 0), -1);
	sampler_destroy(sampler);
}

static void penalty_counts_a_token_once_and_pushes_down(void **state)
{
	(void)state;
	struct sampler *sampler = sampler_create(VOCAB);
	struct sampling sampling = plain;
	sampling.temperature = 0;
	sampling.repetition_penalty = 2;
	float logits[VOCAB] = {4, 3, -1, -1.5F, 0, 0, 0, 0};
	const int32_t history[] = {0, 0, 2, 0, 99, -5};
	assert_int_equal(pick(sampler, logits, &sampling, history, 6, 0, 0), 1);
	assert_true(logits[0] == 2 && logits[2] == -2 && logits[1] == 3 && logits[3] == -1.5F);
	sampler_destroy(sampler);
}

static void uniform_is_a_function_of_its_counter(void **state)
{
	(void)state;
	double sum = 0;
	for (uint64_t i = 0; i < 100000; i++) {
		double u = sampler_uniform(1, 2, i);
		assert_true(u >= 0 && u < 1);
		assert_true(u == sampler_uniform(1, 2, i));
		sum += u;
	}
	assert_true(fabs(sum / 100000 - 0.5) < 0.01);
	assert_true(sampler_uniform(1, 2, 3) != sampler_uniform(1, 3, 3));
	assert_true(sampler_uniform(1, 2, 3) != sampler_uniform(2, 2, 3));
	assert_true(sampler_uniform(1, 2, 3) != sampler_uniform(1, 3, 2));
	assert_true(sampler_uniform(UINT64_MAX, 0, 0) != sampler_uniform(UINT64_MAX - 1, 0, 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(draws_follow_the_distribution),
	    cmocka_unit_test(temperature_sharpens),
	    cmocka_unit_test(filters_keep_what_they_should),
	    cmocka_unit_test(what_is_left_without_the_likeliest_is_drawn),
	    cmocka_unit_test(whatever_is_finite_can_be_drawn),
	    cmocka_unit_test(an_early_end_comes_where_nothing_else_may),
	    cmocka_unit_test(many_tokens_are_put_in_order),
	    cmocka_unit_test(a_tiny_penalty_favours_what_was_seen),
	    cmocka_unit_test(greedy_takes_the_first_of_equals),
	    cmocka_unit_test(penalty_counts_a_token_once_and_pushes_down),
	    cmocka_unit_test(uniform_is_a_function_of_its_counter),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
