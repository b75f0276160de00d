/* Rotary position embedding: frequencies of a model, angles of a position.
 *
 * Su et al., 2021; scaling as Hugging Face's modeling_rope_utils computes it. Frequencies and angles are f32, as there,
 * because at large positions the rounding of the product is part of what a model was trained with.
 */
#ifndef TALLOW_MODEL_ROPE_H
#define TALLOW_MODEL_ROPE_H

#include <stdint.h>

#include "model/config.h"

/* frequencies[head_dim / 2], each divided by divisors[head_dim / 2] unless that is NULL. */
void rope_frequencies(const struct rope_config *rope, int64_t head_dim, const float *divisors, float *frequencies);

/* cos and sin [n_frequencies] of one position. */
void rope_angles(const float *frequencies, int64_t n_frequencies, int64_t position, float *cosines, float *sines);

#endif
