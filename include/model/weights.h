/* Names -> bound weights: every tensor of the model at a place that says what it is, its shape checked against the
 * config. After binding no string look-up happens.
 *
 *     struct model_weights weights;
 *     if (!weights_bind(file, &config, &weights, &error)) ...
 *     weights.layers[0].matrix[M_Q]
 *     weights_free(&weights);
 *
 * Matrices are views: they borrow from the weight file, which must outlive them, or from what is put in their place
 * (plan.h says what that is). Norms and biases are copies in f32.
 */
#ifndef TALLOW_MODEL_WEIGHTS_H
#define TALLOW_MODEL_WEIGHTS_H

#include "base/error.h"
#include "kernels/matmul.h"
#include "model/config.h"
#include "model/layer.h"
#include "tensor/weight_file.h"

struct model_weights {
	struct weight embedding;    /* [vocab, hidden]; rows are looked up */
	const float *final_norm;    /* [hidden] */
	const float *rope_divisors; /* [rotary_dim / 2] or NULL */
	struct weight head;         /* [vocab, hidden]; the embedding's own view when tied */
	struct layer *layers;       /* [n_layers] */
	float *vectors;             /* owns norms, biases and divisors, widened to f32 */
	size_t vector_bytes;        /* size of `vectors` */
	size_t file_bytes;          /* of the files they are mapped from */
};

/* Binds and checks. ERROR_MODEL: missing tensors, unexpected ones, wrong shapes and unusable types are all named (the
 * first few, then a count); ERROR_MEMORY. `weights` is empty then. Caller frees. */
bool weights_bind(const struct weight_file *file, const struct model_config *config, struct model_weights *weights,
                  struct error *error) MUST_USE;
/* Shapes and specs without a file: matrices of `type` without data, no vectors, for what config.json alone can tell.
 * ERROR_MEMORY. Caller frees. */
bool weights_describe(const struct model_config *config, enum dtype type, struct model_weights *weights,
                      struct error *error) MUST_USE;
/* Frees what binding allocated and empties `weights`; harmless on an empty one. */
void weights_free(struct model_weights *weights);

/* A matrix of every layer and the head in turn, the embedding last: NULL after them. The embedding is looked up a row at
 * a time and always stays in the file; where it is the head, too, that is a view of its own. */
struct weight *weights_matrix(struct model_weights *weights, const struct model_config *config, int64_t index);

/* Elements of all matrices, norms and biases, from the config alone; a tied head counts once. */
uint64_t weights_parameter_count(const struct model_config *config);
/* Bytes that weights_bind allocates for vectors, from the config alone (the memory plan's line). False on overflow. */
bool weights_vector_bytes(const struct model_config *config, size_t *n_bytes) MUST_USE;

#endif
