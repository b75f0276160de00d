/* Names -> bound weights: every tensor of the model in a field that says what it is, its shape checked against the
 * config. After binding no string look-up happens. Views borrow from the weight file.
 */
#ifndef TALLOW_MODEL_WEIGHTS_H
#define TALLOW_MODEL_WEIGHTS_H

#include "base/error.h"
#include "kernels/matmul.h"
#include "model/config.h"
#include "tensor/weight_file.h"

/* A vector in whatever float type the file has; short, so it is read through vector_f32. */
struct layer_weights {
	const float *attention_norm; /* [hidden] f32 */
	struct weight q, k, v, o; /* [n_heads*head_dim, hidden], [n_kv*head_dim, hidden] x2, [hidden, n_heads*head_dim] */
	const float *q_bias, *k_bias, *v_bias, *o_bias; /* f32 or NULL */
	const float *mlp_norm;                          /* [hidden] f32 */
	struct weight gate, up, down;                   /* [intermediate, hidden] x2, [hidden, intermediate] */
	const float *gate_bias, *up_bias, *down_bias;   /* f32 or NULL */
};

struct model_weights {
	struct weight embedding;      /* [vocab, hidden]; rows are looked up */
	const float *final_norm;      /* [hidden] */
	struct weight head;           /* [vocab, hidden]; the embedding's own view when tied */
	struct layer_weights *layers; /* [n_layers] */
	float *vectors;               /* owns norms and biases widened to f32 */
	size_t vector_bytes;          /* size of `vectors` */
	unsigned types;               /* every type that a matrix has, as bits 1 << type */
	enum dtype type;              /* of the matrices (of most bytes when they differ) */
};

/* Binds and checks: missing tensors, unexpected ones, wrong shapes and unusable types are all named (first few, then
 * a count). Frees nothing on failure that the caller owns; `weights` is then empty. */
bool weights_bind(const struct weight_file *file, const struct model_config *config, struct model_weights *weights,
                  struct error *error) MUST_USE;
void weights_free(struct model_weights *weights);
/* Bytes weights_bind allocates for vectors, from the config alone (the memory plan's line). */
bool weights_vector_bytes(const struct model_config *config, size_t *n_bytes);

#endif
