/* The config -> what each layer is. */
#include "model/layer.h"

#include <assert.h>
#include <math.h>

#include "model/config_private.h"

enum {
	NORMS = 1 << V_NORM_BEFORE_ATTENTION | 1 << V_NORM_BEFORE_MLP,
	NORMS_OF_HEADS = 1 << V_NORM_Q | 1 << V_NORM_K,
	BIASES_OF_QKV = 1 << V_BIAS_Q | 1 << V_BIAS_K | 1 << V_BIAS_V,
	BIAS_OF_O = 1 << V_BIAS_O,
	BIASES_OF_MLP = 1 << V_BIAS_GATE | 1 << V_BIAS_UP | 1 << V_BIAS_DOWN,
};

struct layer_spec layer_spec_of(const struct model_config *config, int64_t layer)
{
	assert(layer >= 0 && layer < config->n_layers);
	int vectors = NORMS | (config->qk_norm ? NORMS_OF_HEADS : 0) | (config->qkv_bias ? BIASES_OF_QKV : 0) |
	              (config->o_bias ? BIAS_OF_O : 0) | (config->mlp_bias ? BIASES_OF_MLP : 0);
	return (struct layer_spec){
	    .vectors = (uint32_t)vectors,
	    .window = config_has_window(config, layer) ? config->window : 0,
	    .rope_table = ROPE_TABLE_MAIN,
	    .activation = ACTIVATION_SILU,
	    .attention_scale = 1.0f / sqrtf((float)config->head_dim),
	};
}
