/* From logits to a token. In this order: the mask of a constraint; logit biases; penalties (repetition, frequency and
 * presence, DRY); min_tokens; top_n_sigma; temperature; top_k, top_p, min_p, typical_p, XTC; one draw. From top_n_sigma
 * to XTC the order may be another. What a filter looks at is what the one before it left. sampler_private.h says where
 * each formula is from.
 *
 * The draw is a function of (seed, choice, position) alone, so the same request gives the same tokens always. Ties in
 * greedy mode go to the lowest id. Logits that are not finite are treated as impossible; when none is finite the sampler
 * says so.
 */
#ifndef TALLOW_ENGINE_SAMPLER_H
#define TALLOW_ENGINE_SAMPLER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	SAMPLING_MAX_BIASES = 1024,
	SAMPLING_MAX_TOP_LOGPROBS = 20,
	SAMPLING_MAX_STOP_TOKENS = 64,
	SAMPLING_MAX_BAD_WORDS = 128,
	SAMPLING_MAX_WORD_BYTES = 256,
};

/* What may come in another order, in the usual one. */
enum sampling_stage {
	STAGE_TOP_N_SIGMA,
	STAGE_TEMPERATURE,
	STAGE_TOP_K,
	STAGE_TOP_P,
	STAGE_MIN_P,
	STAGE_TYPICAL_P,
	STAGE_XTC,
	STAGE_COUNT
};

struct logit_bias {
	int32_t token;
	float bias; /* -100..100, added to the logit before all else */
};

/* Bytes that an output must not have; not empty. */
struct bad_word {
	const char *text;
	size_t n_bytes;
};

/* Zero is off where no other value is named. */
struct sampling {
	double temperature; /* 0 = greedy */
	double top_p;       /* 0..1; 1 = off */
	double min_p;       /* 0..1 */
	int64_t top_k;
	double typical_p;   /* 0..1; 1 = off */
	double top_n_sigma; /* >= 0 */
	uint64_t seed;

	double repetition_penalty; /* > 0; 1 = off; over prompt and output; below 1e-30 it is as 1e-30 */
	double presence_penalty;   /* -2..2; over the output: once for a token that is there ... */
	double frequency_penalty;  /* -2..2; ... and for each time it is */
	int64_t repeat_last_n;     /* these three look at so many of the last tokens; 0 = all */
	int64_t min_tokens;        /* nothing ends the output before it has so many, unless nothing else may come */
	int n_biases;              /* 0..SAMPLING_MAX_BIASES */
	const struct logit_bias *biases;
	int n_stop_tokens;          /* 0..SAMPLING_MAX_STOP_TOKENS */
	const int32_t *stop_tokens; /* these end the output as EOS does */

	int n_bad_words;                  /* 0..SAMPLING_MAX_BAD_WORDS */
	const struct bad_word *bad_words; /* the engine goes back where one is complete (engine/bad_words.h) */

	/* In place of the usual order these stages, each at most once; the others are off. */
	bool has_order;
	int n_order;
	enum sampling_stage order[STAGE_COUNT];

	/* The temperature becomes one between temperature - range and temperature + range, by how even the distribution is:
	 * least + (most - least) * (entropy / log(tokens)) ^ exponent, as in llama.cpp. */
	double dynamic_range, dynamic_exponent;
	/* XTC: with this probability all tokens at least as likely as the threshold go but the least likely of them. */
	double xtc_probability, xtc_threshold; /* 0..1; a threshold above 0.5 does nothing */
	/* Mirostat 2.0 instead of top_n_sigma, top_k, top_p, min_p, typical_p and XTC: the surprise to aim at, in bits, and
	 * how fast to correct. */
	double mirostat_tau, mirostat_eta;
	/* DRY over prompt and output, at most as many tokens as the vocabulary has. */
	double dry_multiplier, dry_base; /* >= 0; >= 1 */
	int64_t dry_allowed_length;      /* repeats shorter than that cost nothing */
	int64_t dry_last_n;              /* 0 = all */
	/* No repeat is followed across these tokens: a bit for each of the first n_dry_breakers of the vocabulary, token t's
	 * being bit t % 64 of word t / 64. */
	const uint64_t *dry_breakers;
	int64_t n_dry_breakers;

	bool logprobs;      /* tell each token's log-probability ... */
	int n_top_logprobs; /* ... and those of the likeliest ones, 0..SAMPLING_MAX_TOP_LOGPROBS */
};

/* Draws from the model's own distribution: temperature 1, and all else off (what is on, has its usual parameters). */
extern const struct sampling sampling_neutral;

/* What was said so far, and which draw this is. */
struct sampler_place {
	const int32_t *tokens; /* [n_tokens] prompt, then output; borrowed */
	size_t n_tokens, n_prompt;
	const int32_t *ends; /* [n_ends] tokens that would end the output; borrowed */
	int n_ends;
	uint32_t choice;      /* tells apart several answers to one prompt */
	uint64_t position;    /* of the token to be drawn */
	uint32_t attempt;     /* sampler_again: how many were refused at this position */
	const uint32_t *mask; /* [n_mask] bits of the tokens that may come, the others are impossible; NULL: any may */
	size_t n_mask;
	double *mirostat; /* the most bits a token may have; changed; at first twice mirostat_tau. NULL without mirostat */
};

struct token_logprob {
	double logprob;
	int32_t token;
};

/* By the model's own logits: before a constraint's mask, biases, penalties, temperature and filters, as OpenAI's and
 * vLLM's are. Natural logarithms, always finite. Equal tokens rank by id. */
struct token_logprobs {
	double logprob;                                      /* of the token that was taken */
	int64_t rank;                                        /* its place among all, 1 = likeliest */
	int n_top;                                           /* as many as were asked for, or as are possible at all */
	struct token_logprob top[SAMPLING_MAX_TOP_LOGPROBS]; /* likeliest first */
};

struct sampler; /* scratch for one vocabulary; used by one thread */

struct sampler *sampler_create(int64_t vocab_size); /* NULL when memory is short */
void sampler_destroy(struct sampler *sampler);      /* NULL is harmless */
int64_t sampler_vocab_size(const struct sampler *sampler);

/* logits [vocab] are overwritten. Returns the token, or -1 when no logit is finite. *logprobs is filled in when the
 * sampling asks for it and there is a token; else it may be NULL. */
int32_t sampler_pick(struct sampler *sampler, float *logits, const struct sampling *sampling,
                     const struct sampler_place *place, struct token_logprobs *logprobs);

/* Another token in place of one that was just drawn and is `refused` from now on: `logits` are as that call left them, and so
 * much as there is of the model's own that log-probabilities tell. With an `attempt` of its own the draw is, too. */
int32_t sampler_again(struct sampler *sampler, float *logits, const struct sampling *sampling,
                      const struct sampler_place *place, int32_t refused, struct token_logprobs *logprobs);

/* Of any token, by the model's own logits [vocab]; the other fields as well, with n_top of the likeliest. One that the model
 * holds for impossible has LOGPROB_LEAST. False when no logit is finite. */
#define LOGPROB_LEAST (-9999.0)
bool sampler_logprobs(const float *logits, int64_t vocab_size, int32_t token, int n_top, struct token_logprobs *out);

/* Uniform in [0, 1) from the counter (seed, choice, position). */
double sampler_uniform(uint64_t seed, uint32_t choice, uint64_t position);

#endif
