#include "engine/sampler.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

struct candidate {
	float logit;
	int32_t token;
	double weight; /* exp(logit - max), not normalised */
};

struct sampler {
	int64_t vocab_size;
	uint8_t *seen;                /* [vocab]; all zero between calls */
	struct candidate *candidates; /* [vocab] */
};

struct sampler *sampler_create(int64_t vocab_size)
{
	struct sampler *sampler = calloc(1, sizeof *sampler);
	if (!sampler)
		return NULL;
	sampler->vocab_size = vocab_size;
	sampler->seen = calloc((size_t)vocab_size, 1);
	sampler->candidates = calloc((size_t)vocab_size, sizeof *sampler->candidates);
	if (!sampler->seen || !sampler->candidates) {
		sampler_destroy(sampler);
		return NULL;
	}
	return sampler;
}

void sampler_destroy(struct sampler *sampler)
{
	if (!sampler)
		return;
	free(sampler->seen);
	free(sampler->candidates);
	free(sampler);
}

double sampler_uniform(uint64_t seed, uint32_t choice, uint64_t position)
{
	uint64_t bits = hash_mix(hash_mix(hash_mix(seed) ^ choice) ^ position);
	return (double)(bits >> 11) * 0x1p-53;
}

/* Keskar et al., 2019, as Hugging Face applies it: once per distinct token, towards less likely. */
static void penalise(struct sampler *sampler, float *logits, double penalty, const int32_t *history, size_t n_history)
{
	/* Less would carry logits beyond what a float holds, and changes nothing more: whatever is favoured has won by now. */
	const double least_penalty = 1e-30;
	if (penalty == 1.0)
		return;
	penalty = penalty < least_penalty ? least_penalty : penalty;
	for (size_t i = 0; i < n_history; i++) {
		int32_t token = history[i];
		if (token < 0 || token >= sampler->vocab_size || sampler->seen[token])
			continue;
		sampler->seen[token] = 1;
		double logit = logits[token];
		logits[token] = (float)(logit > 0 ? logit / penalty : logit * penalty);
	}
	for (size_t i = 0; i < n_history; i++)
		if (history[i] >= 0 && history[i] < sampler->vocab_size)
			sampler->seen[history[i]] = 0;
}

static int32_t greedy(const float *logits, int64_t n)
{
	int32_t best = -1;
	for (int64_t i = 0; i < n; i++)
		if (isfinite(logits[i]) && (best < 0 || logits[i] > logits[best]))
			best = (int32_t)i;
	return best;
}

/* Most likely first; equal ones by id, so that the order is total and the result the same everywhere. */
static int by_likelihood(const struct candidate *a, const struct candidate *b)
{
	if (a->logit != b->logit)
		return a->logit > b->logit ? -1 : 1;
	return a->token < b->token ? -1 : a->token > b->token;
}

/* Parts [low, high] in two (Hoare): [low, *left] are more likely than [*right, high], and the one that may lie between is in
 * its place. */
static void part(struct candidate *candidates, int64_t low, int64_t high, int64_t *left, int64_t *right)
{
	struct candidate pivot = candidates[low + (high - low) / 2];
	int64_t i = low, j = high;
	while (i <= j) {
		while (by_likelihood(&candidates[i], &pivot) < 0)
			i++;
		while (by_likelihood(&candidates[j], &pivot) > 0)
			j--;
		if (i <= j) {
			struct candidate swapped = candidates[i];
			candidates[i++] = candidates[j];
			candidates[j--] = swapped;
		}
	}
	*left = j;
	*right = i;
}

/* Moves the k most likely of n candidates to the front, in any order. */
static void select_most_likely(struct candidate *candidates, int64_t n, int64_t k)
{
	int64_t low = 0, high = n - 1, left, right;
	while (low < high) {
		part(candidates, low, high, &left, &right);
		if (k - 1 <= left)
			high = left;
		else if (k - 1 >= right)
			low = right;
		else
			return;
	}
}

/* In place: qsort would allocate. The shorter part goes first, so few ranges wait: fewer than n has bits. */
static void sort_by_likelihood(struct candidate *candidates, int64_t n)
{
	struct {
		int64_t low, high;
	} waiting[64];
	int n_waiting = 0;
	int64_t low = 0, high = n - 1, left, right;
	for (;;) {
		while (low < high) {
			part(candidates, low, high, &left, &right);
			bool left_is_longer = left - low > high - right;
			waiting[n_waiting].low = left_is_longer ? low : right;
			waiting[n_waiting++].high = left_is_longer ? left : high;
			low = left_is_longer ? right : low;
			high = left_is_longer ? high : left;
		}
		if (n_waiting == 0)
			return;
		low = waiting[--n_waiting].low;
		high = waiting[n_waiting].high;
	}
}

/* Keeps the smallest set of most likely tokens whose probabilities reach top_p (Holtzman et al., 2020). */
static int64_t keep_nucleus(struct candidate *candidates, int64_t n, double top_p)
{
	double total = 0;
	for (int64_t i = 0; i < n; i++)
		total += candidates[i].weight;
	/* The tokens below this weight hold less than 1 - top_p together, so none of them can be needed. */
	double cutoff = n > 1 ? (1.0 - top_p) * total / (double)n : 0;
	int64_t n_kept = 0;
	for (int64_t i = 0; i < n; i++)
		if (candidates[i].weight >= cutoff)
			candidates[n_kept++] = candidates[i];
	sort_by_likelihood(candidates, n_kept);
	double reached = 0;
	for (int64_t i = 0; i < n_kept; i++) {
		reached += candidates[i].weight;
		if (reached >= top_p * total)
			return i + 1;
	}
	return n_kept;
}

static int64_t keep_min_p(struct candidate *candidates, int64_t n, double min_p)
{
	double most = 0;
	for (int64_t i = 0; i < n; i++)
		most = candidates[i].weight > most ? candidates[i].weight : most;
	int64_t n_kept = 0;
	for (int64_t i = 0; i < n; i++)
		if (candidates[i].weight >= min_p * most)
			candidates[n_kept++] = candidates[i];
	return n_kept;
}

static int32_t draw(const struct candidate *candidates, int64_t n, double uniform)
{
	double total = 0;
	for (int64_t i = 0; i < n; i++)
		total += candidates[i].weight;
	double target = uniform * total, reached = 0;
	for (int64_t i = 0; i < n; i++) {
		reached += candidates[i].weight;
		if (reached > target)
			return candidates[i].token;
	}
	return candidates[n - 1].token;
}

int32_t sampler_pick(struct sampler *sampler, float *logits, const struct sampling *sampling, const int32_t *history,
                     size_t n_history, uint32_t choice, uint64_t position)
{
	penalise(sampler, logits, sampling->repetition_penalty, history, n_history);
	int32_t best = greedy(logits, sampler->vocab_size);
	if (best < 0 || sampling->temperature == 0)
		return best;

	struct candidate *candidates = sampler->candidates;
	int64_t n = 0;
	for (int64_t i = 0; i < sampler->vocab_size; i++)
		if (isfinite(logits[i]))
			candidates[n++] = (struct candidate){.logit = logits[i], .token = (int32_t)i};
	if (sampling->top_k > 0 && sampling->top_k < n) {
		select_most_likely(candidates, n, sampling->top_k);
		n = sampling->top_k;
	}
	float most = logits[best];
	for (int64_t i = 0; i < n; i++)
		candidates[i].weight = exp((double)(candidates[i].logit - most) / sampling->temperature);
	if (sampling->top_p < 1)
		n = keep_nucleus(candidates, n, sampling->top_p);
	if (sampling->min_p > 0)
		n = keep_min_p(candidates, n, sampling->min_p);
	/* Selection leaves its own order; the draw must depend on the set alone. */
	if (sampling->top_k > 0 && sampling->top_p >= 1)
		sort_by_likelihood(candidates, n);
	return draw(candidates, n, sampler_uniform(sampling->seed, choice, position));
}
