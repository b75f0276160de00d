/* A layer as data: its weights by name, and a spec that says what is done with them.
 *
 * The forward pass is the same for all families and all layers; what differs between them is here. A part that no family
 * has yet is a matrix or a vector more, with its row in the tables of weights.c, or a field of the spec, set by
 * layer_spec_of and read where forward.c does that step.
 */
#ifndef TALLOW_MODEL_LAYER_H
#define TALLOW_MODEL_LAYER_H

#include <stdbool.h>
#include <stdint.h>

#include "kernels/matmul.h"
#include "model/config.h"

/* Matrices of a layer, [outputs, inputs]. attended = n_heads * head_dim, kv = n_kv_heads * head_dim. */
enum layer_matrix {
	M_Q,    /* [attended, hidden] */
	M_K,    /* [kv, hidden] */
	M_V,    /* [kv, hidden] */
	M_O,    /* [hidden, attended] */
	M_GATE, /* [intermediate, hidden] */
	M_UP,   /* [intermediate, hidden] */
	M_DOWN, /* [hidden, intermediate] */
	M_COUNT
};

/* Vectors of a layer. A norm stands where its name says; a bias is added to what its matrix gives. */
enum layer_vector {
	V_NORM_BEFORE_ATTENTION, /* [hidden] */
	V_NORM_BEFORE_MLP,       /* [hidden] */
	V_NORM_Q,                /* [head_dim], of each head, before it is rotated */
	V_NORM_K,                /* [head_dim] */
	V_BIAS_Q,                /* [attended] */
	V_BIAS_K,                /* [kv] */
	V_BIAS_V,                /* [kv] */
	V_BIAS_O,                /* [hidden] */
	V_BIAS_GATE,             /* [intermediate] */
	V_BIAS_UP,               /* [intermediate] */
	V_BIAS_DOWN,             /* [hidden] */
	V_COUNT
};

/* What a gate goes through before it is multiplied with up. */
enum activation { ACTIVATION_SILU };

/* Angles by which queries and keys are rotated; those of a step are computed once for all layers that share a table. */
enum rope_table { ROPE_TABLE_MAIN /* config.rope */, ROPE_TABLE_COUNT };

struct layer_spec {
	uint32_t vectors; /* which it has: bits 1 << enum layer_vector */
	int64_t window;   /* a position sees so many, itself included; 0 = all before it */
	enum rope_table rope_table;
	enum activation activation;
	float attention_scale; /* queries times keys are multiplied by it: 1 / sqrt(head_dim) (Vaswani et al., 2017) */
};

/* Views: they borrow from the weight file, or from what was made of it at load. */
struct layer {
	struct layer_spec spec;
	struct weight matrix[M_COUNT];
	const float *vector[V_COUNT]; /* NULL: the layer has none */
};

/* The spec of one layer, 0 <= layer < config->n_layers. Cannot fail. */
struct layer_spec layer_spec_of(const struct model_config *config, int64_t layer);

static inline bool layer_has(const struct layer_spec *spec, enum layer_vector vector)
{
	return spec->vectors >> vector & 1;
}

#endif
