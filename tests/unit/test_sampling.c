/* Every stage of the sampler against numbers that a script made from the formulas' definitions (tests/goldens/
 * make_sampling.py): the logits after the penalties, and 20,000 draws by chi-square. And log-probabilities. */
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/json.h"
#include "engine/sampler.h"

enum { VOCAB = 40, DRAWS = 20000, MAX_HISTORY = 64 };

static struct json *golden;
static int32_t history[MAX_HISTORY];
static size_t n_history, n_prompt;

static double number(const struct json *object, const char *key, double absent)
{
	double value = absent;
	json_double(json_get(object, key), &value);
	return value;
}

static size_t read_tokens(const struct json *array, int32_t *out, size_t most)
{
	size_t n = 0;
	int64_t token;
	for (const struct json *item = json_first(array); item && n < most; item = json_next(item)) {
		assert_true(json_int64(item, &token));
		out[n++] = (int32_t)token;
	}
	return n;
}

/* null is minus infinity. */
static void read_numbers(const struct json *array, double *out)
{
	int n = 0;
	assert_int_equal(json_count(array), VOCAB);
	for (const struct json *item = json_first(array); item; item = json_next(item), n++)
		if (!json_double(item, &out[n]))
			out[n] = -INFINITY;
}

static void read_logits(const char *name, float *logits)
{
	double numbers[VOCAB];
	read_numbers(json_get(json_get(golden, "logits"), name), numbers);
	for (int i = 0; i < VOCAB; i++)
		logits[i] = (float)numbers[i];
}

static struct sampling read_sampling(const struct json *given, struct logit_bias *biases, int32_t *ends, int *n_ends)
{
	static uint64_t breakers; /* a bit for each token */
	struct sampling sampling = {
	    .temperature = number(given, "temperature", 1),
	    .top_p = number(given, "top_p", 1),
	    .min_p = number(given, "min_p", 0),
	    .top_k = (int64_t)number(given, "top_k", 0),
	    .typical_p = number(given, "typical_p", 0),
	    .top_n_sigma = number(given, "top_n_sigma", 0),
	    .seed = 11,
	    .repetition_penalty = number(given, "repetition_penalty", 1),
	    .presence_penalty = number(given, "presence_penalty", 0),
	    .frequency_penalty = number(given, "frequency_penalty", 0),
	    .repeat_last_n = (int64_t)number(given, "repeat_last_n", 0),
	    .min_tokens = (int64_t)number(given, "min_tokens", 0),
	    .biases = biases,
	    .dynamic_range = number(given, "dynamic_range", 0),
	    .dynamic_exponent = number(given, "dynamic_exponent", 1),
	    .xtc_probability = number(given, "xtc_probability", 0),
	    .xtc_threshold = number(given, "xtc_threshold", 0),
	    .mirostat_tau = number(given, "mirostat_tau", 0),
	    .mirostat_eta = number(given, "mirostat_eta", 0),
	    .dry_multiplier = number(given, "dry_multiplier", 0),
	    .dry_base = number(given, "dry_base", 0),
	    .dry_allowed_length = (int64_t)number(given, "dry_allowed_length", 0),
	    .dry_last_n = (int64_t)number(given, "dry_last_n", 0),
	};
	for (const struct json *pair = json_first(json_get(given, "logit_bias")); pair; pair = json_next(pair)) {
		int64_t token;
		double bias;
		assert_true(json_int64(json_first(pair), &token) && json_double(json_next(json_first(pair)), &bias));
		biases[sampling.n_biases++] = (struct logit_bias){.token = (int32_t)token, .bias = (float)bias};
	}
	static const char *const stages[STAGE_COUNT] = {"top_n_sigma", "temperature", "top_k", "top_p",
	                                                "min_p",       "typical_p",   "xtc"};
	const struct json *order = json_get(given, "samplers");
	sampling.has_order = order != NULL;
	for (const struct json *name = json_first(order); name; name = json_next(name))
		for (int stage = 0; stage < STAGE_COUNT; stage++)
			if (strcmp(json_string(name, NULL), stages[stage]) == 0)
				sampling.order[sampling.n_order++] = (enum sampling_stage)stage;
	assert_int_equal(sampling.n_order, json_count(order));
	int32_t breaking[VOCAB];
	size_t n_breaking = read_tokens(json_get(given, "dry_breakers"), breaking, VOCAB);
	breakers = 0;
	for (size_t i = 0; i < n_breaking; i++)
		breakers |= 1ull << breaking[i];
	sampling.dry_breakers = &breakers;
	sampling.n_dry_breakers = n_breaking > 0 ? VOCAB : 0;
	*n_ends = (int)read_tokens(json_get(given, "ends"), ends, VOCAB);
	return sampling;
}

/* What 999 of 1,000 samples of the right distribution stay below (Wilson and Hilferty, 1931). */
static double chi_square_bound(int freedom)
{
	double part = 2.0 / (9.0 * freedom), root = 1 - part + 3.09 * sqrt(part);
	return freedom * root * root * root;
}

static void check_counts(const char *name, const int *counts, const double *probabilities)
{
	double chi_square = 0, rare_expected = 0;
	int bins = 0, rare = 0;
	for (int i = 0; i < VOCAB; i++) {
		double expected = probabilities[i] * DRAWS;
		if (probabilities[i] == 0 && counts[i])
			fail_msg("%s: token %d was drawn and must not be", name, i);
		if (expected < 5) { /* together they are one bin */
			rare_expected += expected;
			rare += counts[i];
			continue;
		}
		chi_square += (counts[i] - expected) * (counts[i] - expected) / expected;
		bins++;
	}
	if (rare_expected >= 5) {
		chi_square += (rare - rare_expected) * (rare - rare_expected) / rare_expected;
		bins++;
	}
	if (bins > 1 && chi_square > chi_square_bound(bins - 1))
		fail_msg("%s: chi-square is %g for %d bins", name, chi_square, bins);
}

static void check_penalised(const char *name, const float *logits, const struct json *wanted)
{
	double expected[VOCAB];
	read_numbers(wanted, expected);
	for (int i = 0; i < VOCAB; i++) {
		double difference = isfinite(expected[i]) ? fabs((double)logits[i] - expected[i]) : 0;
		if (isfinite(expected[i]) != isfinite(logits[i]) || difference > 4e-6 * fmax(1, fabs(expected[i])))
			fail_msg("%s: logit %d is %.9g after the penalties, not %.9g", name, i, (double)logits[i], expected[i]);
	}
}

static void check_case(struct sampler *sampler, const struct json *item)
{
	const char *name = json_string(json_get(item, "name"), NULL);
	const struct json *given = json_get(item, "sampling");
	struct logit_bias biases[VOCAB];
	int32_t ends[VOCAB];
	int counts[VOCAB] = {0}, n_ends;
	float given_logits[VOCAB], logits[VOCAB];
	double probabilities[VOCAB], bounds[VOCAB];
	struct sampling sampling = read_sampling(given, biases, ends, &n_ends);
	read_logits(json_string(json_get(item, "logits"), NULL), given_logits);
	read_numbers(json_get(item, "probabilities"), probabilities);
	if (sampling.mirostat_tau > 0)
		read_numbers(json_get(item, "bounds"), bounds);
	for (int i = 0; i < DRAWS; i++) {
		double bound = number(given, "mirostat_bound", 0);
		struct sampler_place place = {
		    .tokens = history,
		    .n_tokens = n_history,
		    .n_prompt = n_prompt,
		    .ends = ends,
		    .n_ends = n_ends,
		    .position = (uint64_t)i,
		    .mirostat = &bound,
		};
		memcpy(logits, given_logits, sizeof logits);
		int32_t token = sampler_pick(sampler, logits, &sampling, &place, NULL);
		assert_in_range(token, 0, VOCAB - 1);
		counts[token]++;
		if (sampling.mirostat_tau > 0 && fabs(bound - bounds[token]) > 1e-9)
			fail_msg("%s: after token %d the bound is %.12g, not %.12g", name, token, bound, bounds[token]);
	}
	check_penalised(name, logits, json_get(item, "penalised"));
	check_counts(name, counts, probabilities);
}

static void each_stage_does_what_its_formula_says(void **state)
{
	(void)state;
	struct sampler *sampler = sampler_create(VOCAB);
	int n_cases = 0;
	for (const struct json *item = json_first(json_get(golden, "cases")); item; item = json_next(item), n_cases++)
		check_case(sampler, item);
	assert_true(n_cases >= 30);
	sampler_destroy(sampler);
}

/* ---- log-probabilities ---- */

static void check_logprobs(const struct token_logprobs *given, const struct json *wanted, int32_t token, int n_top)
{
	double all[VOCAB], ranks[VOCAB];
	int32_t top[SAMPLING_MAX_TOP_LOGPROBS];
	read_numbers(json_get(wanted, "all"), all);
	read_numbers(json_get(wanted, "rank"), ranks);
	read_tokens(json_get(wanted, "top"), top, SAMPLING_MAX_TOP_LOGPROBS);
	assert_true(fabs(given->logprob - all[token]) < 1e-9);
	assert_int_equal(given->rank, (int64_t)ranks[token]);
	assert_int_equal(given->n_top, n_top);
	for (int i = 0; i < n_top; i++) {
		assert_int_equal(given->top[i].token, top[i]);
		assert_true(fabs(given->top[i].logprob - all[top[i]]) < 1e-9);
	}
}

/* Whatever penalties, temperature and filters make of the logits, the model's own are told of. */
static void logprobs_are_the_models_own(void **state)
{
	(void)state;
	static const char *const names[] = {"peaked", "flat", "shifted", "ties"};
	static const int n_tops[] = {0, 1, 5, 20};
	struct sampler *sampler = sampler_create(VOCAB);
	for (int i = 0; i < 400; i++) {
		struct token_logprobs logprobs;
		float logits[VOCAB];
		struct logit_bias biases[] = {{.token = 3, .bias = 5}};
		struct sampling sampling = {
		    .temperature = i % 3,
		    .top_p = i % 2 ? 0.9 : 1,
		    .repetition_penalty = 1.5,
		    .presence_penalty = 1,
		    .biases = biases,
		    .n_biases = 1,
		    .logprobs = true,
		    .n_top_logprobs = n_tops[i / 4 % 4],
		};
		struct sampler_place place = {
		    .tokens = history, .n_tokens = n_history, .n_prompt = n_prompt, .position = (uint64_t)i};
		read_logits(names[i % 4], logits);
		int32_t token = sampler_pick(sampler, logits, &sampling, &place, &logprobs);
		check_logprobs(&logprobs, json_get(json_get(golden, "logprobs"), names[i % 4]), token, n_tops[i / 4 % 4]);
	}
	sampler_destroy(sampler);
}

/* Logits that are not finite are no alternatives; those that a float hardly holds still give a number. */
static void logprobs_are_always_finite(void **state)
{
	(void)state;
	struct sampler *sampler = sampler_create(VOCAB);
	struct sampling sampling = {
	    .top_p = 1, .repetition_penalty = 1, .logprobs = true, .n_top_logprobs = SAMPLING_MAX_TOP_LOGPROBS};
	struct sampler_place place = {.tokens = history};
	struct token_logprobs logprobs;
	float logits[VOCAB];
	for (int i = 0; i < VOCAB; i++)
		logits[i] = i % 2 ? NAN : -INFINITY;
	logits[4] = -FLT_MAX;
	logits[6] = FLT_MAX;
	logits[8] = INFINITY;
	logits[10] = FLT_MAX;
	assert_int_equal(sampler_pick(sampler, logits, &sampling, &place, &logprobs), 6);
	assert_int_equal(logprobs.rank, 1);
	assert_int_equal(logprobs.n_top, 3);
	assert_int_equal(logprobs.top[1].token, 10);
	assert_true(fabs(logprobs.logprob) <= (double)FLT_MAX && isfinite(logprobs.top[2].logprob));
	assert_int_equal(logprobs.top[2].token, 4);
	sampler_destroy(sampler);
}

/* ---- what a golden does not show ---- */

/* More tokens than a list of alternatives or a bin holds, in an order that parts badly: the typical set by sorting. */
enum { MANY = 5000 };

struct typical {
	double distance, weight;
	int32_t token;
};

static int compare_typical(const void *left, const void *right)
{
	const struct typical *a = left, *b = right;
	return a->distance < b->distance ? -1 : a->distance > b->distance;
}

static void many_typical_tokens_are_found(void **state)
{
	(void)state;
	static float logits[MANY];
	static struct typical sorted[MANY];
	static bool kept[MANY];
	struct sampler *sampler = sampler_create(MANY);
	double total = 0, entropy = 0, mass = 0;
	for (int i = 0; i < MANY; i++) {
		logits[i] = (float)(8 * sampler_uniform(3, 0, (uint64_t)i)) + (float)(i % 7 == 0);
		total += exp((double)logits[i]);
	}
	for (int i = 0; i < MANY; i++) {
		double p = exp((double)logits[i]) / total;
		entropy -= p * log(p);
	}
	for (int i = 0; i < MANY; i++) {
		double p = exp((double)logits[i]) / total;
		sorted[i] = (struct typical){.distance = fabs(-log(p) - entropy), .weight = p, .token = i};
	}
	qsort(sorted, MANY, sizeof *sorted, compare_typical);
	int n_kept = 0, n_seen = 0;
	while (mass < 0.4) {
		mass += sorted[n_kept].weight;
		kept[sorted[n_kept++].token] = true;
	}
	struct sampling sampling = {.temperature = 1, .top_p = 1, .repetition_penalty = 1, .typical_p = 0.4};
	static float given[MANY];
	static bool seen[MANY];
	for (uint64_t i = 0; i < DRAWS; i++) {
		struct sampler_place place = {.tokens = history, .position = i};
		memcpy(given, logits, sizeof given);
		int32_t token = sampler_pick(sampler, given, &sampling, &place, NULL);
		assert_true(kept[token]);
		n_seen += !seen[token];
		seen[token] = true;
	}
	assert_true(n_seen > n_kept * 95 / 100);
	sampler_destroy(sampler);
}

/* Mirostat over a whole text: the surprise comes near what was asked for. */
static void mirostat_reaches_its_surprise(void **state)
{
	(void)state;
	struct sampler *sampler = sampler_create(VOCAB);
	for (double tau = 1.5; tau < 4; tau++) {
		struct sampling sampling = {
		    .temperature = 1, .top_p = 1, .repetition_penalty = 1, .mirostat_tau = tau, .mirostat_eta = 0.1};
		double bound = 2 * tau, sum = 0;
		for (uint64_t i = 0; i < 4000; i++) {
			struct sampler_place place = {.tokens = history, .position = i, .mirostat = &bound};
			float logits[VOCAB];
			double before = bound;
			read_logits("flat", logits);
			sampler_pick(sampler, logits, &sampling, &place, NULL);
			sum += tau - (bound - before) / sampling.mirostat_eta;
		}
		assert_true(fabs(sum / 4000 - tau) < 0.02);
	}
	sampler_destroy(sampler);
}

/* Repeats so long that their penalty is beyond a float leave finite logits. */
static void dry_stays_finite(void **state)
{
	(void)state;
	struct sampler *sampler = sampler_create(1000);
	static int32_t tokens[1000];
	static float logits[1000];
	struct sampling sampling = {
	    .top_p = 1, .repetition_penalty = 1, .dry_multiplier = 5, .dry_base = 4, .dry_allowed_length = 1};
	struct sampler_place place = {.tokens = tokens, .n_tokens = 1000};
	logits[0] = 3;
	logits[7] = 1;
	assert_int_equal(sampler_pick(sampler, logits, &sampling, &place, NULL), 7);
	assert_true(isfinite(logits[0]) && logits[0] < -1e29F);
	sampler_destroy(sampler);
}

static int open_golden(void **state)
{
	(void)state;
	struct error error = {0};
	golden = json_parse_file("tests/sampling/sampling.json", 1 << 20, NULL, &error);
	if (!golden)
		return -1;
	n_history = read_tokens(json_get(golden, "history"), history, MAX_HISTORY);
	n_prompt = (size_t)number(golden, "n_prompt", 0);
	return 0;
}

static int close_golden(void **state)
{
	(void)state;
	json_destroy(golden);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(each_stage_does_what_its_formula_says),
	    cmocka_unit_test(logprobs_are_the_models_own),
	    cmocka_unit_test(logprobs_are_always_finite),
	    cmocka_unit_test(many_typical_tokens_are_found),
	    cmocka_unit_test(mirostat_reaches_its_surprise),
	    cmocka_unit_test(dry_stays_finite),
	};
	return cmocka_run_group_tests(tests, open_golden, close_golden);
}
