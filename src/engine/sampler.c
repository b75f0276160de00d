#include "engine/sampler_private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

const struct sampling sampling_neutral = {
    .temperature = 1,
    .top_p = 1,
    .typical_p = 1,
    .repetition_penalty = 1,
    .dynamic_exponent = 1,
    .xtc_threshold = 0.1,
    .dry_base = 1.75,
    .dry_allowed_length = 2,
};

struct sampler *sampler_create(int64_t vocab_size)
{
	struct sampler *sampler = calloc(1, sizeof *sampler);
	if (!sampler)
		return NULL;
	sampler->vocab_size = vocab_size;
	sampler->counts = calloc((size_t)vocab_size, sizeof *sampler->counts);
	sampler->candidates = calloc((size_t)vocab_size, sizeof *sampler->candidates);
	sampler->raw = calloc((size_t)vocab_size, sizeof *sampler->raw);
	if (!sampler->counts || !sampler->candidates || !sampler->raw) {
		sampler_destroy(sampler);
		return NULL;
	}
	return sampler;
}

void sampler_destroy(struct sampler *sampler)
{
	if (!sampler)
		return;
	free(sampler->counts);
	free(sampler->candidates);
	free(sampler->raw);
	free(sampler);
}

int64_t sampler_vocab_size(const struct sampler *sampler)
{
	return sampler->vocab_size;
}

double sampler_uniform(uint64_t seed, uint32_t choice, uint64_t position)
{
	uint64_t bits = hash_mix(hash_mix(hash_mix(seed) ^ choice) ^ position);
	return (double)(bits >> 11) * 0x1p-53;
}

static int32_t greedy(const float *logits, int64_t n)
{
	int32_t best = -1;
	for (int64_t i = 0; i < n; i++)
		if (isfinite(logits[i]) && (best < 0 || logits[i] > logits[best]))
			best = (int32_t)i;
	return best;
}

/* The index of a candidate. */
static int64_t draw(const struct candidate *candidates, int64_t n, double uniform)
{
	double total = 0;
	for (int64_t i = 0; i < n; i++)
		total += candidates[i].weight;
	double target = uniform * total, reached = 0;
	for (int64_t i = 0; i < n; i++) {
		reached += candidates[i].weight;
		if (reached > target)
			return i;
	}
	return n - 1;
}

/* The exponent's base is how far the entropy is from the largest that n candidates can have. */
static double temperature_for(const struct candidate *candidates, int64_t n, float most,
                              const struct sampling *sampling)
{
	const double least_temperature = 1e-6; /* as good as greedy, and nothing is divided by zero */
	double least = sampling->temperature - sampling->dynamic_range, total = 0, weighted = 0;
	if (sampling->dynamic_range <= 0 || n < 2)
		return sampling->temperature;
	for (int64_t i = 0; i < n; i++) {
		double below = (double)candidates[i].logit - (double)most, weight = exp(below); /* finite: weight may be 0 */
		total += weight;
		weighted += weight * below;
	}
	double entropy = log(total) - weighted / total;
	double evenness = entropy > 0 ? entropy / log((double)n) : 0;
	least = least > 0 ? least : 0;
	double temperature =
	    least + (sampling->temperature + sampling->dynamic_range - least) * pow(evenness, sampling->dynamic_exponent);
	return temperature > least_temperature ? temperature : least_temperature;
}

static void weigh(struct candidate *candidates, int64_t n, float most, double temperature)
{
	for (int64_t i = 0; i < n; i++)
		candidates[i].weight = exp((double)(candidates[i].logit - most) / temperature);
}

/* Draws among what is not too surprising, and learns from how surprising that was. */
static int32_t draw_mirostat(struct candidate *candidates, int64_t n, double uniform, const struct sampling *sampling,
                             double *most_bits)
{
	n = keep_unsurprising(candidates, n, *most_bits);
	const struct candidate *drawn = &candidates[draw(candidates, n, uniform)];
	double total = 0;
	for (int64_t i = 0; i < n; i++)
		total += candidates[i].weight;
	double bits = -log2(drawn->weight / total);
	*most_bits -= sampling->mirostat_eta * (bits - sampling->mirostat_tau);
	return drawn->token;
}

/* Of its own: the draw that follows must not depend on it. */
static bool draw_xtc(const struct sampling *sampling, const struct sampler_place *place)
{
	if (sampling->xtc_probability <= 0 || sampling->xtc_threshold > 0.5)
		return false;
	uint64_t seed = hash_mix(sampling->seed ^ 0x787463); /* "xtc" */
	return sampler_uniform(seed, place->choice, place->position) < sampling->xtc_probability;
}

/* Candidates on their way through the stages. */
struct filtering {
	struct candidate *candidates;
	int64_t n;
	float most; /* the largest logit */
	double temperature;
	bool weighed;  /* at this temperature */
	bool shuffled; /* by a selection by likelihood, which leaves an order of its own */
};

static void weigh_once(struct filtering *f)
{
	if (!f->weighed)
		weigh(f->candidates, f->n, f->most, f->temperature);
	f->weighed = true;
}

static void keep_top_k(struct filtering *f, int64_t k)
{
	f->shuffled |= k > 0;
	if (k <= 0 || k >= f->n)
		return;
	select_most_likely(f->candidates, f->n, k);
	f->n = k;
}

/* After a filter that may drop the likeliest. The largest weight is 1 always: beside what is gone, all that is left may weigh
 * nothing. */
static void find_most(struct filtering *f)
{
	float most = f->candidates[0].logit;
	for (int64_t i = 1; i < f->n; i++)
		most = f->candidates[i].logit > most ? f->candidates[i].logit : most;
	f->weighed &= most == f->most;
	f->most = most;
}

static bool is_on(enum sampling_stage stage, const struct sampling *sampling, const struct sampler_place *place)
{
	switch (stage) {
	case STAGE_TOP_N_SIGMA:
		return sampling->top_n_sigma > 0;
	case STAGE_TOP_P:
		return sampling->top_p < 1;
	case STAGE_MIN_P:
		return sampling->min_p > 0;
	case STAGE_TYPICAL_P:
		return sampling->typical_p > 0 && sampling->typical_p < 1;
	case STAGE_XTC:
		return draw_xtc(sampling, place);
	default:
		return true;
	}
}

static void run_stage(struct filtering *f, enum sampling_stage stage, const struct sampling *sampling)
{
	if (stage >= STAGE_TOP_P)
		weigh_once(f);
	switch (stage) {
	case STAGE_TOP_N_SIGMA:
		f->n = keep_top_n_sigma(f->candidates, f->n, sampling->top_n_sigma);
		break;
	case STAGE_TEMPERATURE:
		f->temperature = temperature_for(f->candidates, f->n, f->most, sampling);
		f->weighed = false;
		break;
	case STAGE_TOP_K:
		keep_top_k(f, sampling->top_k);
		break;
	case STAGE_TOP_P:
		f->n = keep_nucleus(f->candidates, f->n, sampling->top_p);
		f->shuffled = false; /* it sorts */
		break;
	case STAGE_MIN_P:
		f->n = keep_min_p(f->candidates, f->n, sampling->min_p);
		break;
	case STAGE_TYPICAL_P:
		f->n = keep_typical(f->candidates, f->n, sampling->typical_p);
		find_most(f);
		break;
	case STAGE_XTC:
		f->n = drop_top_choices(f->candidates, f->n, sampling->xtc_threshold);
		find_most(f);
		break;
	case STAGE_COUNT:
		break;
	}
}

/* Leaves weighed candidates in an order that depends on the set alone, as the draw must. Returns how many. */
static int64_t filter(struct candidate *candidates, int64_t n, float most, const struct sampling *sampling,
                      const struct sampler_place *place)
{
	struct filtering f = {.candidates = candidates, .n = n, .most = most, .temperature = 1};
	int n_stages = sampling->has_order ? sampling->n_order : STAGE_COUNT;
	for (int i = 0; i < n_stages; i++) {
		enum sampling_stage stage = sampling->has_order ? sampling->order[i] : (enum sampling_stage)i;
		if (is_on(stage, sampling, place))
			run_stage(&f, stage, sampling);
	}
	weigh_once(&f);
	if (f.shuffled)
		sort_by_likelihood(candidates, f.n);
	return f.n;
}

static int32_t draw_token(struct sampler *sampler, const float *logits, int32_t best, const struct sampling *sampling,
                          const struct sampler_place *place)
{
	struct candidate *candidates = sampler->candidates;
	uint64_t seed = place->attempt ? hash_mix(sampling->seed ^ (uint64_t)place->attempt << 32) : sampling->seed;
	double uniform = sampler_uniform(seed, place->choice, place->position);
	int64_t n = 0;
	for (int64_t i = 0; i < sampler->vocab_size; i++)
		if (isfinite(logits[i]))
			candidates[n++] = (struct candidate){.logit = logits[i], .token = (int32_t)i};
	float most = logits[best];
	if (sampling->mirostat_tau > 0) {
		weigh(candidates, n, most, temperature_for(candidates, n, most, sampling));
		return draw_mirostat(candidates, n, uniform, sampling, place->mirostat);
	}
	n = filter(candidates, n, most, sampling, place);
	return candidates[draw(candidates, n, uniform)].token;
}

/* From logits that nothing is done to any more. */
static int32_t choose(struct sampler *sampler, const float *logits, const struct sampling *sampling,
                      const struct sampler_place *place, struct token_logprobs *logprobs)
{
	int32_t token = greedy(logits, sampler->vocab_size);
	if (token >= 0 && sampling->temperature > 0)
		token = draw_token(sampler, logits, token, sampling, place);
	if (token >= 0 && sampling->logprobs)
		sampler_logprobs(sampler->raw, sampler->vocab_size, token, sampling->n_top_logprobs, logprobs);
	return token;
}

int32_t sampler_pick(struct sampler *sampler, float *logits, const struct sampling *sampling,
                     const struct sampler_place *place, struct token_logprobs *logprobs)
{
	if (sampling->logprobs)
		memcpy(sampler->raw, logits, (size_t)sampler->vocab_size * sizeof *logits);
	apply_mask(sampler, logits, place);
	apply_biases(sampler, logits, sampling);
	apply_penalties(sampler, logits, sampling, place);
	apply_dry(sampler, logits, sampling, place);
	forbid_early_end(sampler, logits, sampling, place);
	return choose(sampler, logits, sampling, place, logprobs);
}

int32_t sampler_again(struct sampler *sampler, float *logits, const struct sampling *sampling,
                      const struct sampler_place *place, int32_t refused, struct token_logprobs *logprobs)
{
	logits[refused] = -INFINITY;
	return choose(sampler, logits, sampling, place, logprobs);
}
