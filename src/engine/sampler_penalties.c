#include <math.h>

#include "engine/sampler_private.h"

static bool is_token(const struct sampler *sampler, int32_t token)
{
	return token >= 0 && token < sampler->vocab_size;
}

void apply_mask(const struct sampler *sampler, float *logits, const struct sampler_place *place)
{
	int64_t n_words = (sampler->vocab_size + 31) / 32;
	for (int64_t word = 0; place->mask && word < n_words; word++) {
		uint32_t bits = (uint64_t)word < place->n_mask ? place->mask[word] : 0;
		int64_t first = word * 32, last = first + 32 < sampler->vocab_size ? first + 32 : sampler->vocab_size;
		if (bits == UINT32_MAX)
			continue;
		for (int64_t id = first; id < last; id++)
			logits[id] = bits >> (id - first) & 1 ? logits[id] : -INFINITY;
	}
}

void apply_biases(const struct sampler *sampler, float *logits, const struct sampling *sampling)
{
	for (int i = 0; i < sampling->n_biases; i++)
		if (is_token(sampler, sampling->biases[i].token))
			logits[sampling->biases[i].token] += sampling->biases[i].bias;
}

/* The tokens from `from` on, inside the window. */
static size_t window_start(const struct sampling *sampling, const struct sampler_place *place, size_t from)
{
	size_t window = (size_t)sampling->repeat_last_n;
	size_t start = window > 0 && window < place->n_tokens ? place->n_tokens - window : 0;
	return start > from ? start : from;
}

/* Keskar et al., 2019, as Hugging Face applies it: once per distinct token, towards less likely. */
static void apply_repetition_penalty(struct sampler *sampler, float *logits, double penalty, const int32_t *tokens,
                                     size_t n_tokens)
{
	/* Less would carry logits beyond what a float holds, and changes nothing more: whatever is favoured has won by now. */
	const double least_penalty = 1e-30;
	penalty = penalty < least_penalty ? least_penalty : penalty;
	for (size_t i = 0; i < n_tokens; i++) {
		int32_t token = tokens[i];
		if (!is_token(sampler, token) || sampler->counts[token])
			continue;
		sampler->counts[token] = 1;
		double logit = logits[token];
		logits[token] = (float)(logit > 0 ? logit / penalty : logit * penalty);
	}
	for (size_t i = 0; i < n_tokens; i++)
		if (is_token(sampler, tokens[i]))
			sampler->counts[tokens[i]] = 0;
}

/* OpenAI's: logit - count * frequency_penalty - (count > 0) * presence_penalty, over the output's tokens. */
static void apply_count_penalties(struct sampler *sampler, float *logits, const struct sampling *sampling,
                                  const int32_t *tokens, size_t n_tokens)
{
	for (size_t i = 0; i < n_tokens; i++)
		if (is_token(sampler, tokens[i]))
			sampler->counts[tokens[i]]++;
	for (size_t i = 0; i < n_tokens; i++) {
		if (!is_token(sampler, tokens[i]) || !sampler->counts[tokens[i]])
			continue;
		double penalty = sampler->counts[tokens[i]] * sampling->frequency_penalty + sampling->presence_penalty;
		logits[tokens[i]] = (float)((double)logits[tokens[i]] - penalty);
		sampler->counts[tokens[i]] = 0;
	}
}

void apply_penalties(struct sampler *sampler, float *logits, const struct sampling *sampling,
                     const struct sampler_place *place)
{
	if (sampling->repetition_penalty != 1) {
		size_t start = window_start(sampling, place, 0);
		apply_repetition_penalty(sampler, logits, sampling->repetition_penalty, place->tokens + start,
		                         place->n_tokens - start);
	}
	if (sampling->presence_penalty != 0 || sampling->frequency_penalty != 0) {
		size_t start = window_start(sampling, place, place->n_prompt);
		apply_count_penalties(sampler, logits, sampling, place->tokens + start, place->n_tokens - start);
	}
}

/* z[i], for i in [1, n): how many of the last tokens, backwards, are those before place n - i, backwards (the Z function of
 * the reversed text). */
static void measure_repeats(const int32_t *tokens, int64_t n, int32_t *z)
{
	const int32_t *last = tokens + n - 1;
	int64_t left = 0, right = 0; /* the match that reaches farthest: [left, right) */
	for (int64_t i = 1; i < n; i++) {
		int64_t length = 0;
		if (i < right)
			length = z[i - left] < right - i ? z[i - left] : right - i;
		while (i + length < n && last[-length] == last[-(i + length)])
			length++;
		z[i] = (int32_t)length;
		if (i + length > right) {
			left = i;
			right = i + length;
		}
	}
}

/* Tokens from the end back to the first that no repetition is followed across. */
static int64_t distance_to_breaker(const struct sampling *sampling, const int32_t *tokens, int64_t n)
{
	for (int64_t i = 0; i < n; i++) {
		int32_t token = tokens[n - 1 - i];
		if (token < sampling->n_dry_breakers && sampling->dry_breakers[token / 64] >> token % 64 & 1)
			return i;
	}
	return n;
}

void apply_dry(struct sampler *sampler, float *logits, const struct sampling *sampling,
               const struct sampler_place *place)
{
	const double most_penalty = 1e30; /* logits stay finite */
	int64_t n = (int64_t)place->n_tokens, allowed = sampling->dry_allowed_length;
	if (sampling->dry_multiplier == 0 || n < 2)
		return;
	if (sampling->dry_last_n > 0 && sampling->dry_last_n < n)
		n = sampling->dry_last_n;
	n = n < sampler->vocab_size ? n : sampler->vocab_size; /* what the scratch has room for */
	const int32_t *tokens = place->tokens + place->n_tokens - n;
	int64_t limit = distance_to_breaker(sampling, tokens, n);
	if (limit < allowed)
		return;
	int32_t *z = (int32_t *)sampler->candidates; /* nobody needs them yet */
	measure_repeats(tokens, n, z);
	for (int64_t i = 1; i < n; i++) {
		int64_t length = z[i] < limit ? z[i] : limit;
		int32_t next = tokens[n - i];
		if (length >= allowed && length > 0 && is_token(sampler, next) && length > sampler->counts[next])
			sampler->counts[next] = (uint32_t)length;
	}
	for (int64_t i = 1; i < n; i++) {
		int32_t next = tokens[n - i];
		if (!is_token(sampler, next) || sampler->counts[next] == 0)
			continue;
		double over = (double)(sampler->counts[next] - allowed);
		double penalty = sampling->dry_multiplier * pow(sampling->dry_base, over);
		logits[next] = (float)((double)logits[next] - (penalty < most_penalty ? penalty : most_penalty));
		sampler->counts[next] = 0;
	}
}

static bool is_end(const struct sampling *sampling, const struct sampler_place *place, int32_t token)
{
	for (int i = 0; i < place->n_ends; i++)
		if (place->ends[i] == token)
			return true;
	for (int i = 0; i < sampling->n_stop_tokens; i++)
		if (sampling->stop_tokens[i] == token)
			return true;
	return false;
}

/* A mask may leave nothing but them. */
static bool may_go_on(const struct sampler *sampler, const float *logits, const struct sampling *sampling,
                      const struct sampler_place *place)
{
	for (int64_t i = 0; i < sampler->vocab_size; i++)
		if (isfinite(logits[i]) && !is_end(sampling, place, (int32_t)i))
			return true;
	return false;
}

void forbid_early_end(const struct sampler *sampler, float *logits, const struct sampling *sampling,
                      const struct sampler_place *place)
{
	if ((int64_t)(place->n_tokens - place->n_prompt) >= sampling->min_tokens ||
	    !may_go_on(sampler, logits, sampling, place))
		return;
	for (int i = 0; i < place->n_ends; i++)
		if (is_token(sampler, place->ends[i]))
			logits[place->ends[i]] = -INFINITY;
	for (int i = 0; i < sampling->n_stop_tokens; i++)
		if (is_token(sampler, sampling->stop_tokens[i]))
			logits[sampling->stop_tokens[i]] = -INFINITY;
}
