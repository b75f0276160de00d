/* Embeddings: what a prompt's hidden states become. Rows are taken in the order of their positions, whatever the slices, so
 * a vector's bits are a function of the prompt alone. */
#ifndef TALLOW_ENGINE_POOLING_H
#define TALLOW_ENGINE_POOLING_H

#include "engine/engine.h"

struct embedding {
	double *sums; /* [n] of the rows so far, or the one row that counts; NULL: the request wants none */
	int64_t n;
};

/* ERROR_MEMORY when it is short. */
bool embedding_create(struct embedding *embedding, int64_t n, struct error *error) MUST_USE;
void embedding_free(struct embedding *embedding);
/* The prompt will be computed again from its beginning. */
void embedding_restart(struct embedding *embedding);
/* Takes the normed hidden states [n_rows, n] of positions from `position` on of a prompt of n_prompt tokens. */
void embedding_take(struct embedding *embedding, enum pooling pooling, const float *rows, int n_rows, int64_t position,
                    int64_t n_prompt);
/* The vector, brought to unit length, into out [n]; false when it has no finite direction. */
bool embedding_finish(const struct embedding *embedding, float *out);

#endif
