#include "engine/pooling.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

bool embedding_create(struct embedding *embedding, int64_t n, struct error *error)
{
	embedding->sums = calloc((size_t)n, sizeof *embedding->sums);
	embedding->n = n;
	return embedding->sums ||
	       error_set(error, ERROR_MEMORY, "no memory for an embedding of %lld numbers", (long long)n);
}

void embedding_free(struct embedding *embedding)
{
	free(embedding->sums);
	embedding->sums = NULL;
}

void embedding_restart(struct embedding *embedding)
{
	if (embedding->sums)
		memset(embedding->sums, 0, (size_t)embedding->n * sizeof *embedding->sums);
}

static void add_row(struct embedding *embedding, const float *row)
{
	for (int64_t i = 0; i < embedding->n; i++)
		embedding->sums[i] += (double)row[i];
}

void embedding_take(struct embedding *embedding, enum pooling pooling, const float *rows, int n_rows, int64_t position,
                    int64_t n_prompt)
{
	bool ends = position + n_rows == n_prompt;
	if (pooling == POOLING_CLS && position == 0)
		add_row(embedding, rows);
	if (pooling == POOLING_LAST && ends)
		add_row(embedding, rows + (n_rows - 1) * embedding->n);
	for (int r = 0; pooling == POOLING_MEAN && r < n_rows; r++) /* the length that follows makes a mean of the sum */
		add_row(embedding, rows + r * embedding->n);
}

bool embedding_finish(const struct embedding *embedding, float *out)
{
	double squares = 0;
	for (int64_t i = 0; i < embedding->n; i++)
		squares += embedding->sums[i] * embedding->sums[i];
	double length = sqrt(squares);
	if (!(length > 0 && isfinite(length)))
		return false;
	for (int64_t i = 0; i < embedding->n; i++)
		out[i] = (float)(embedding->sums[i] / length);
	return true;
}
