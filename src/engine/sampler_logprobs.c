#include <math.h>

#include "engine/sampler_private.h"

/* Terms this far below the largest add less than a double can hold to the sum, even a million of them. */
static const float negligible = 60;

static bool ranks_before(float logit, int32_t token, float other_logit, int32_t other_token)
{
	return logit != other_logit ? logit > other_logit : token < other_token;
}

/* Puts a token among the most likely ones so far, if it is one of them. logprob holds the logit until the end. */
static void offer(struct token_logprobs *out, int n_top, float logit, int32_t token)
{
	int at = out->n_top;
	while (at > 0 && ranks_before(logit, token, (float)out->top[at - 1].logprob, out->top[at - 1].token))
		at--;
	if (at == n_top)
		return;
	out->n_top += out->n_top < n_top;
	for (int i = out->n_top - 1; i > at; i--)
		out->top[i] = out->top[i - 1];
	out->top[at] = (struct token_logprob){.logprob = (double)logit, .token = token};
}

bool sampler_logprobs(const float *logits, int64_t vocab_size, int32_t token, int n_top, struct token_logprobs *out)
{
	*out = (struct token_logprobs){.rank = 1};
	int64_t likeliest = -1;
	float own = isfinite(logits[token]) ? logits[token] : -INFINITY;
	for (int64_t i = 0; i < vocab_size; i++) {
		if (!isfinite(logits[i]))
			continue;
		likeliest = likeliest < 0 || logits[i] > logits[likeliest] ? i : likeliest;
		out->rank += i != token && ranks_before(logits[i], (int32_t)i, own, token);
		if (out->n_top < n_top || (n_top > 0 && logits[i] > (float)out->top[n_top - 1].logprob))
			offer(out, n_top, logits[i], (int32_t)i);
	}
	if (likeliest < 0)
		return false;
	float most = logits[likeliest];
	double total = 1; /* the likeliest one itself */
	for (int64_t i = 0; i < vocab_size; i++)
		if (i != likeliest && isfinite(logits[i]) && most - logits[i] < negligible)
			total += exp((double)logits[i] - (double)most);
	double normaliser = (double)most + log(total);
	out->logprob = isfinite(own) ? (double)own - normaliser : LOGPROB_LEAST;
	for (int i = 0; i < out->n_top; i++)
		out->top[i].logprob -= normaliser;
	return true;
}
