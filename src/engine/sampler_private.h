/* The stages of the sampler (engine/sampler.h), each in the file that is named. */
#ifndef TALLOW_ENGINE_SAMPLER_PRIVATE_H
#define TALLOW_ENGINE_SAMPLER_PRIVATE_H

#include "engine/sampler.h"

struct candidate {
	float logit;
	int32_t token;
	double weight; /* exp((logit - max) / temperature), not normalised */
};

struct sampler {
	int64_t vocab_size;
	uint32_t *counts;             /* [vocab]; all zero between calls */
	struct candidate *candidates; /* [vocab] */
	float *raw;                   /* [vocab] the model's own logits, where somebody asks for log-probabilities */
};

/* ---- sampler_penalties.c: what changes logits before anything is left out ---- */

void apply_mask(const struct sampler *sampler, float *logits, const struct sampler_place *place);
void apply_biases(const struct sampler *sampler, float *logits, const struct sampling *sampling);
void apply_penalties(struct sampler *sampler, float *logits, const struct sampling *sampling,
                     const struct sampler_place *place);
/* Don't repeat yourself: a token that would go on with a repetition loses multiplier * base ^ (length - allowed_length),
 * where length is that of the longest end of the text that stands before an earlier occurrence of the token (the formula
 * of llama.cpp's llama_sampler_dry). */
void apply_dry(struct sampler *sampler, float *logits, const struct sampling *sampling,
               const struct sampler_place *place);
/* Tokens that would end the output are impossible while it is shorter than min_tokens and another may come. */
void forbid_early_end(const struct sampler *sampler, float *logits, const struct sampling *sampling,
                      const struct sampler_place *place);

/* ---- sampler_filters.c: each moves what it keeps to the front and returns how many that are, at least one; the largest
 * weight they are given is 1 ---- */

/* Moves the k most likely of n candidates to the front, in any order. */
void select_most_likely(struct candidate *candidates, int64_t n, int64_t k);
/* Most likely first, in place; equal ones by id. */
void sort_by_likelihood(struct candidate *candidates, int64_t n);
/* The smallest set of most likely tokens whose probabilities reach top_p (Holtzman et al., 2020), sorted. */
int64_t keep_nucleus(struct candidate *candidates, int64_t n, double top_p);
/* Those at least min_p times as likely as the likeliest. */
int64_t keep_min_p(struct candidate *candidates, int64_t n, double min_p);

/* Those whose logits are at most n_sigma standard deviations (of all logits) below the largest (Tang et al., 2024). */
int64_t keep_top_n_sigma(struct candidate *candidates, int64_t n, double n_sigma);
/* The smallest set whose probabilities reach typical_p, of those whose surprisal is nearest to the entropy; equally near
 * ones stay together (Meister et al., 2022, as transformers' TypicalLogitsWarper has it). */
int64_t keep_typical(struct candidate *candidates, int64_t n, double typical_p);
/* XTC: of the tokens whose probability is at least the threshold all but the least likely go, where there are two or more
 * (the formula of llama.cpp's llama_sampler_xtc, without its draw). */
int64_t drop_top_choices(struct candidate *candidates, int64_t n, double threshold);
/* Those whose surprisal is at most so many bits; the likeliest always (mirostat 2.0: Basu et al., 2020, as llama.cpp has
 * it). */
int64_t keep_unsurprising(struct candidate *candidates, int64_t n, double most_bits);

#endif
