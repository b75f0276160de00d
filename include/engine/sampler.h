/* From logits to a token: repetition penalty, temperature, top_k, top_p, min_p, in this order, then one draw.
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

struct sampling {
	double temperature;        /* 0 = greedy */
	double top_p;              /* 0..1; 1 = off */
	double min_p;              /* 0..1; 0 = off */
	double repetition_penalty; /* > 0; 1 = off; over prompt and output; below 1e-30 it is as 1e-30 */
	int64_t top_k;             /* 0 = off */
	uint64_t seed;
};

struct sampler; /* scratch for one vocabulary; used by one thread */

struct sampler *sampler_create(int64_t vocab_size); /* NULL when memory is short */
void sampler_destroy(struct sampler *sampler);      /* NULL is harmless */

/* logits [vocab] are overwritten. `history` are the tokens that the penalty counts (prompt and output, repeats
 * allowed). choice tells apart several answers to one prompt; position is that of the token to be drawn. Returns the
 * token, or -1 when no logit is finite. */
int32_t sampler_pick(struct sampler *sampler, float *logits, const struct sampling *sampling, const int32_t *history,
                     size_t n_history, uint32_t choice, uint64_t position);

/* Uniform in [0, 1) from the counter (seed, choice, position). */
double sampler_uniform(uint64_t seed, uint32_t choice, uint64_t position);

#endif
