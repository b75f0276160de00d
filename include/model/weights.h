/* Names -> bound weights: every tensor of the model in a field that says what it is, its shape checked against the
 * config. After binding no string look-up happens. Views borrow from the weight file.
 */
#ifndef TALLOW_MODEL_WEIGHTS_H
#define TALLOW_MODEL_WEIGHTS_H

#include "base/error.h"
#include "kernels/matmul.h"
#include "model/config.h"
#include "tensor/weight_file.h"

struct layer_weights {
	const float *attention_norm; /* [hidden] f32 */
	struct weight q, k, v, o; /* [n_heads*head_dim, hidden], [n_kv*head_dim, hidden] x2, [hidden, n_heads*head_dim] */
	const float *q_bias, *k_bias, *v_bias, *o_bias; /* f32 or NULL */
	const float *q_norm, *k_norm;                   /* [head_dim] f32 or NULL */
	const float *mlp_norm;                          /* [hidden] f32 */
	struct weight gate, up, down;                   /* [intermediate, hidden] x2, [hidden, intermediate] */
	const float *gate_bias, *up_bias, *down_bias;   /* f32 or NULL */
};

struct model_weights {
	struct weight embedding;      /* [vocab, hidden]; rows are looked up */
	const float *final_norm;      /* [hidden] */
	const float *rope_divisors;   /* [head_dim / 2] or NULL */
	struct weight head;           /* [vocab, hidden]; the embedding's own view when tied */
	struct layer_weights *layers; /* [n_layers] */
	float *vectors;               /* owns norms and biases widened to f32 */
	size_t vector_bytes;          /* size of `vectors` */
	size_t file_bytes;            /* of the files they are mapped from */
};

/* What loading makes of the matrices. */
struct weight_sizes {
	uint64_t mapped_bytes;    /* read where they lie in the file */
	uint64_t converted_bytes; /* made at load */
	uint64_t product_bytes;   /* of all matrices, as products read them; that of the head is head_bytes */
	uint64_t head_bytes;
	unsigned types;  /* every type that a product meets, as bits 1 << type */
	enum dtype type; /* of most elements, as products meet them */
	enum dtype kind; /* of most bytes, as they were loaded: what repacking does not change */
};

/* Binds and checks: missing tensors, unexpected ones, wrong shapes and unusable types are all named (first few, then
 * a count). Frees nothing on failure that the caller owns; `weights` is then empty. */
bool weights_bind(const struct weight_file *file, const struct model_config *config, struct model_weights *weights,
                  struct error *error) MUST_USE;
/* Shapes without a file: matrices of `type` with no data, for what config.json alone can tell. */
bool weights_describe(const struct model_config *config, enum dtype type, struct model_weights *weights,
                      struct error *error) MUST_USE;
/* What the matrices are to become. */
struct weights_wanted {
	bool as_stored;  /* as the file has them, in the layout that products want */
	enum dtype type; /* else this */
	bool tiles;      /* those of bf16 in tiles (DTYPE_BF16T) */
};
/* How much is then mapped and how much made. */
bool weights_sizes(const struct model_weights *weights, const struct model_config *config,
                   const struct weights_wanted *wanted, struct weight_sizes *sizes, struct error *error) MUST_USE;

/* A matrix of every layer and the head in turn, the embedding last: NULL after them. The embedding is looked up a row at
 * a time and always stays in the file; where it is the head, too, that is a view of its own. */
struct weight *weights_matrix(struct model_weights *weights, const struct model_config *config, int64_t index);
/* The type that this matrix gets, which may be its own. */
enum dtype weights_target(const struct model_weights *weights, const struct weight *matrix,
                          const struct weights_wanted *wanted);
void weights_free(struct model_weights *weights);
/* Bytes weights_bind allocates for vectors, from the config alone (the memory plan's line). */
bool weights_vector_bytes(const struct model_config *config, size_t *n_bytes);

#endif
