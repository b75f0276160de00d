/* Rotary position embedding: frequencies of a model, angles of a position.
 *
 * Su et al., 2021; scaling as Hugging Face's modeling_rope_utils computes it. Frequencies and angles are f32, as there,
 * because at large positions the rounding of the product is part of what a model was trained with.
 */
#ifndef TALLOW_MODEL_ROPE_H
#define TALLOW_MODEL_ROPE_H

#include <stdbool.h>
#include <stdint.h>

#include "model/config.h"

/* Which frequencies a sequence of at most n_positions gets, chosen once for all its positions: 0 are the usual ones. Other
 * than 0 only for dynamic (its length, beyond the original positions) and longrope (1 beyond them). */
int64_t rope_variant(const struct rope_config *rope, int64_t n_positions);
static inline bool rope_varies(const struct rope_config *rope)
{
	return rope->type == ROPE_DYNAMIC || rope->type == ROPE_LONGROPE;
}

/* What cosines and sines are multiplied by where the model does not say: yarn's for positions stretched by `factor`, with
 * the weight `scale`, usually 1; and longrope's. */
double rope_yarn_magnitude(double factor, double scale);
double rope_longrope_magnitude(double factor, int64_t original_max_positions);

/* frequencies[rotary_dim / 2], each divided by divisors[rotary_dim / 2] unless that is NULL. */
void rope_frequencies(const struct rope_config *rope, int64_t rotary_dim, int64_t variant, const float *divisors,
                      float *frequencies);

/* cos and sin [n_frequencies] of one position, times rope->attention_factor. */
void rope_angles(const struct rope_config *rope, const float *frequencies, int64_t n_frequencies, int64_t position,
                 float *cosines, float *sines);

#endif
