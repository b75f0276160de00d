/* Metadata of a GGUF file -> struct model_config. Keys: github.com/ggml-org/ggml/blob/master/docs/gguf.md */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "model/config_private.h"
#include "model/family.h"
#include "model/rope.h"
#include "tensor/gguf.h"

enum { MAX_KEY_BYTES = 128 };

/* Keys of things that we lack, with the value that switches them off. */
static const struct neutral {
	const char *key;
	double value;
} neutrals[] = {
    {"expert_count", 0},
    {"attention.clamp_kqv", 0},
    {"attention.max_alibi_bias", 0},
    {"attn_logit_softcapping", 0},
    {"final_logit_softcapping", 0},
    {"embedding_scale", 1},
    {"residual_scale", 1},
    {"logit_scale", 1},
    {"rope.scaling.yarn_ext_factor", 1},
    {"rope.scaling.yarn_log_multiplier", 0},
};

/* Reads keys of one file; the first bad one sets the error and `ok` stays false. */
struct keys {
	const struct gguf_file *gguf;
	const struct family *family;
	struct error *error;
	bool ok;
	char key[MAX_KEY_BYTES]; /* of the last one */
};

static const char *full_key(struct keys *keys, const char *name)
{
	snprintf(keys->key, sizeof keys->key, "%s.%s", keys->family->gguf, name);
	return keys->key;
}

static void bad_key(struct keys *keys, const char *actual, const char *expected)
{
	if (keys->ok)
		keys->ok = error_set(keys->error, ERROR_MODEL, "%s: %s is %s, expected %s", gguf_path(keys->gguf), keys->key,
		                     actual, expected);
}

/* fallback 0: the key must be there. */
static int64_t count_key(struct keys *keys, const char *name, int64_t fallback)
{
	uint64_t count = (uint64_t)fallback;
	char text[24] = "missing";
	const char *key = full_key(keys, name);
	if (!keys->ok || !gguf_u64(keys->gguf, key, &count, keys->error)) {
		keys->ok = false;
		return 1;
	}
	if (count <= INT64_MAX && config_is_count((int64_t)count))
		return (int64_t)count;
	if (fallback || gguf_find(keys->gguf, key))
		snprintf(text, sizeof text, "%" PRIu64, count);
	bad_key(keys, text, CONFIG_COUNT_EXPECTED);
	return 1;
}

static double number_key(struct keys *keys, const char *name, bool (*is_good)(double), const char *expected,
                         double fallback)
{
	double number = fallback;
	char text[32] = "missing";
	const char *key = full_key(keys, name);
	if (!keys->ok || !gguf_f64(keys->gguf, key, &number, keys->error)) {
		keys->ok = false;
		return 1;
	}
	if (is_good(number))
		return number;
	if (gguf_find(keys->gguf, key))
		snprintf(text, sizeof text, "%g", number);
	bad_key(keys, text, expected);
	return 1;
}

static double positive_key(struct keys *keys, const char *name, double fallback)
{
	return number_key(keys, name, config_is_positive, CONFIG_POSITIVE_EXPECTED, fallback);
}

/* ---- what is refused by name ---- */

/* NULL with the error set where there is none that we know. */
static const struct family *find_family(const struct gguf_file *gguf, struct error *error)
{
	const char *name = NULL;
	size_t n_name = 0;
	if (!gguf_string(gguf, "general.architecture", &name, &n_name, error))
		return NULL;
	if (!name) {
		error_set(error, ERROR_MODEL, "%s: general.architecture is missing", gguf_path(gguf));
		return NULL;
	}
	const struct family *family = family_find_gguf(name, n_name);
	if (family)
		return family;
	char supported[256];
	family_list(supported, sizeof supported, true);
	error_set(error, ERROR_MODEL, "%s: general.architecture %.*s is not supported (supported: %s)", gguf_path(gguf),
	          (int)(n_name < 60 ? n_name : 60), name, supported);
	return NULL;
}

static bool refuse_unsupported(struct keys *keys)
{
	for (size_t i = 0; i < sizeof neutrals / sizeof *neutrals; i++) {
		double value = neutrals[i].value;
		const char *key = full_key(keys, neutrals[i].key);
		if (!gguf_f64(keys->gguf, key, &value, keys->error))
			return false;
		if (value != neutrals[i].value)
			return error_set(keys->error, ERROR_MODEL, "%s: %s is %g, which is not supported (%g is)",
			                 gguf_path(keys->gguf), key, value, neutrals[i].value);
	}
	bool causal = true;
	const char *key = full_key(keys, "attention.causal");
	if (!gguf_bool(keys->gguf, key, &causal, keys->error))
		return false;
	return causal ||
	       error_set(keys->error, ERROR_MODEL, "%s: %s is false, which is not supported", gguf_path(keys->gguf), key);
}

/* ---- rope ---- */

enum scaling { SCALING_NONE, SCALING_LINEAR, SCALING_YARN, SCALING_LONGROPE, N_SCALINGS };

/* Without a type a factor is a linear one; files of before rope.scaling.type have rope.scale_linear. Longrope is known by
 * its tensors: converters of phi3 do not write the type. */
static enum scaling read_scaling_type(struct keys *keys)
{
	static const char *const names[N_SCALINGS] = {"none", "linear", "yarn", "longrope"};
	bool stretched = gguf_find(keys->gguf, full_key(keys, "rope.scale_linear")) ||
	                 gguf_find(keys->gguf, full_key(keys, "rope.scaling.factor"));
	bool factors = gguf_tensor_find(keys->gguf, "rope_factors_long.weight") != NULL;
	const char *type = NULL;
	size_t n_type = 0;
	const char *key = full_key(keys, "rope.scaling.type");
	if (!keys->ok || !gguf_string(keys->gguf, key, &type, &n_type, keys->error)) {
		keys->ok = false;
		return SCALING_NONE;
	}
	for (int scaling = 0; type && scaling < N_SCALINGS; scaling++)
		if (n_type == strlen(names[scaling]) && memcmp(type, names[scaling], n_type) == 0 && scaling != SCALING_NONE)
			return (enum scaling)scaling;
	if (type && !(n_type == 4 && memcmp(type, "none", 4) == 0))
		keys->ok =
		    error_set(keys->error, ERROR_MODEL, "%s: %s %.*s is not supported (none, linear, yarn and longrope are)",
		              gguf_path(keys->gguf), key, (int)(n_type < 40 ? n_type : 40), type);
	return factors ? SCALING_LONGROPE : stretched && !type ? SCALING_LINEAR : SCALING_NONE;
}

static double stretching_factor(struct keys *keys)
{
	double factor = positive_key(keys, "rope.scaling.factor", positive_key(keys, "rope.scale_linear", 1));
	char actual[32];
	snprintf(actual, sizeof actual, "%g", factor);
	if (keys->ok && !config_is_stretch(factor))
		bad_key(keys, actual, CONFIG_STRETCH_EXPECTED);
	return factor;
}

static void read_yarn(struct keys *keys, struct model_config *config)
{
	struct rope_config *rope = &config->rope;
	rope->type = ROPE_YARN;
	rope->factor = stretching_factor(keys);
	rope->original_max_positions = count_key(keys, "rope.scaling.original_context_length", config->max_positions);
	rope->beta_fast = positive_key(keys, "rope.scaling.yarn_beta_fast", 32);
	rope->beta_slow = positive_key(keys, "rope.scaling.yarn_beta_slow", 1);
	rope->truncate = true;
	rope->attention_factor *=
	    rope_yarn_magnitude(rope->factor, 1) * positive_key(keys, "rope.scaling.yarn_attn_factor", 1);
	full_key(keys, "rope.freq_base");
	if (rope->theta <= 1)
		bad_key(keys, "at most 1", "more for rope scaling yarn");
}

/* One of longrope's lists: [rotary_dim / 2] f32. */
static void read_factors(struct keys *keys, const char *name, int64_t n, float *factors)
{
	const struct gguf_tensor *tensor = gguf_tensor_find(keys->gguf, name);
	snprintf(keys->key, sizeof keys->key, "%s", name);
	if (!tensor || tensor->n_dims != 1 || tensor->dims[0] != n || tensor->type->type != DTYPE_F32) {
		char expected[64];
		snprintf(expected, sizeof expected, "a tensor of %" PRId64 " F32 values", n);
		bad_key(keys, tensor ? "another tensor" : "missing", expected);
		return;
	}
	memcpy(factors, tensor->data, (size_t)n * sizeof *factors);
	for (int64_t i = 0; i < n; i++) {
		char actual[48];
		snprintf(actual, sizeof actual, "%g at %" PRId64, (double)factors[i], i);
		if (!config_is_factor((double)factors[i]))
			bad_key(keys, actual, CONFIG_FACTOR_EXPECTED);
	}
}

static void read_longrope(struct keys *keys, struct model_config *config)
{
	struct rope_config *rope = &config->rope;
	rope->type = ROPE_LONGROPE;
	full_key(keys, "rope.dimension_count");
	if (config->rotary_dim / 2 > ROPE_MAX_FACTORS) {
		bad_key(keys, "above 512", "at most 512 for rope scaling longrope");
		return;
	}
	rope->original_max_positions = count_key(keys, "rope.scaling.original_context_length", config->max_positions);
	if (keys->ok && rope->original_max_positions < 2)
		bad_key(keys, "below 2", "at least 2 for rope scaling longrope");
	rope->factor = (double)config->max_positions / (double)rope->original_max_positions;
	if (keys->ok && !gguf_find(keys->gguf, full_key(keys, "rope.scaling.attn_factor")))
		rope->attention_factor = rope_longrope_magnitude(rope->factor, rope->original_max_positions);
	read_factors(keys, "rope_factors_short.weight", config->rotary_dim / 2, rope->factors[0]);
	read_factors(keys, "rope_factors_long.weight", config->rotary_dim / 2, rope->factors[1]);
}

static void read_rotary_dim(struct keys *keys, struct model_config *config)
{
	char actual[24], expected[80];
	bool whole = !keys->family->partial_rotary;
	config->rotary_dim = count_key(keys, "rope.dimension_count", config->head_dim);
	if (config->rotary_dim == config->head_dim ||
	    (!whole && config->rotary_dim < config->head_dim && config->rotary_dim % 2 == 0))
		return;
	snprintf(actual, sizeof actual, "%" PRId64, config->rotary_dim);
	snprintf(expected, sizeof expected,
	         whole ? "%" PRId64 " (rotating part of a head is not supported)" : "an even number up to %" PRId64,
	         config->head_dim);
	bad_key(keys, actual, expected);
}

static void read_rope(struct keys *keys, struct model_config *config)
{
	struct rope_config *rope = &config->rope;
	*rope = (struct rope_config){
	    .type = ROPE_DEFAULT,
	    .theta = number_key(keys, "rope.freq_base", config_is_theta, CONFIG_THETA_EXPECTED, 10000.0),
	    .attention_factor = positive_key(keys, "rope.scaling.attn_factor", 1)};
	rope->has_divisors = gguf_tensor_find(keys->gguf, "rope_freqs.weight") != NULL;
	read_rotary_dim(keys, config);
	switch (read_scaling_type(keys)) {
	case SCALING_LINEAR:
		rope->type = ROPE_LINEAR;
		rope->factor = stretching_factor(keys);
		break;
	case SCALING_YARN:
		read_yarn(keys, config);
		break;
	case SCALING_LONGROPE:
		read_longrope(keys, config);
		break;
	default:
		break;
	}
	full_key(keys, "rope.scaling.attn_factor");
	if (!config_is_positive(rope->attention_factor)) /* a product of several */
		bad_key(keys, "out of range with yarn_attn_factor", CONFIG_POSITIVE_EXPECTED);
}

/* ---- sliding attention ---- */

/* All layers have the window, or those that sliding_window_pattern marks. */
static void read_window(struct keys *keys, struct model_config *config)
{
	const struct gguf_value *pattern = NULL;
	double window = 0; /* 0 is written for none */
	const char *key = full_key(keys, "attention.sliding_window");
	if (!keys->ok || !gguf_f64(keys->gguf, key, &window, keys->error)) {
		keys->ok = false;
		return;
	}
	if (window == 0)
		return;
	config->window = count_key(keys, "attention.sliding_window", 0);
	key = full_key(keys, "attention.sliding_window_pattern");
	if (!keys->ok || !gguf_array(keys->gguf, key, GGUF_BOOL, &pattern, keys->error)) {
		keys->ok = false;
		return;
	}
	if (pattern ? pattern->n_items != (size_t)config->n_layers : keys->family->window == WINDOW_SWITCHED)
		bad_key(keys, pattern ? "of another length" : "missing", "which layers have the window");
	for (int64_t layer = 0; keys->ok && layer < config->n_layers; layer++)
		config_set_window_layer(config, layer, !pattern || gguf_item_i64(pattern, (size_t)layer));
}

/* ---- the whole ---- */

static int64_t rows_of(const struct gguf_file *gguf, const char *name)
{
	const struct gguf_tensor *tensor = gguf_tensor_find(gguf, name);
	return tensor && tensor->n_dims == 2 ? tensor->dims[0] : 0;
}

/* Every token of the file's vocabulary has a row; models have more rows than tokens at times. */
static void check_vocabulary(struct keys *keys, const struct model_config *config)
{
	const struct gguf_value *tokens = gguf_find(keys->gguf, "tokenizer.ggml.tokens");
	if (keys->ok && tokens && tokens->is_array && tokens->n_items > (size_t)config->vocab_size)
		keys->ok =
		    error_set(keys->error, ERROR_MODEL, "%s: tokenizer.ggml.tokens has %zu tokens, the model only %" PRId64,
		              gguf_path(keys->gguf), tokens->n_items, config->vocab_size);
}

static void read_vocabulary(struct keys *keys, struct model_config *config)
{
	uint64_t bos = UINT64_MAX;
	int64_t n_rows = rows_of(keys->gguf, "token_embd.weight");
	if (keys->ok && n_rows == 0)
		keys->ok = error_set(keys->error, ERROR_MODEL, "%s: tensor token_embd.weight is missing or no matrix",
		                     gguf_path(keys->gguf));
	config->vocab_size = count_key(keys, "vocab_size", n_rows);
	check_vocabulary(keys, config);
	keys->ok = keys->ok && gguf_u64(keys->gguf, "tokenizer.ggml.bos_token_id", &bos, keys->error);
	config->bos_id = bos < (uint64_t)config->vocab_size ? (int32_t)bos : -1;
}

static void read_shape(struct keys *keys, struct model_config *config)
{
	config->hidden_size = count_key(keys, "embedding_length", 0);
	config->intermediate_size = count_key(keys, "feed_forward_length", 0);
	config->n_layers = count_key(keys, "block_count", 0);
	config->n_heads = count_key(keys, "attention.head_count", 0);
	config->n_kv_heads = count_key(keys, "attention.head_count_kv", config->n_heads);
	config->max_positions = count_key(keys, "context_length", 0);
	config->rms_norm_eps = positive_key(keys, "attention.layer_norm_rms_epsilon", 0);
	config->head_dim = config->hidden_size / config->n_heads;
	/* A shape that does not divide has its own message. */
	config->head_dim = count_key(keys, "attention.key_length", config->head_dim ? config->head_dim : 1);
	if (count_key(keys, "attention.value_length", config->head_dim) != config->head_dim)
		bad_key(keys, "another number", "that of attention.key_length");
	config->tie_word_embeddings = gguf_tensor_find(keys->gguf, "output.weight") == NULL;
}

static bool has_bias(const struct keys *keys, enum bias_rule rule, const char *name)
{
	return rule == BIAS_ALWAYS || (rule == BIAS_CONFIGURED && gguf_tensor_find(keys->gguf, name));
}

static void read_parts(const struct keys *keys, struct model_config *config)
{
	const struct family *family = keys->family;
	config->paired_rows = family->gguf_paired_rows;
	config->qkv_bias = has_bias(keys, family->qkv_bias, "blk.0.attn_q.bias");
	config->o_bias = has_bias(keys, family->o_bias, "blk.0.attn_output.bias");
	config->mlp_bias = has_bias(keys, family->mlp_bias, "blk.0.ffn_gate.bias");
	config->qk_norm = family->qk_norm;
	config->fused = family->fused;
}

bool config_read_gguf(const struct gguf_file *gguf, struct model_config *config, struct error *error)
{
	static const struct config_names names = {"attention.head_count", "attention.head_count_kv", "embedding_length",
	                                          "attention.key_length"};
	struct keys keys = {.gguf = gguf, .family = find_family(gguf, error), .error = error, .ok = true};
	if (!keys.family || !refuse_unsupported(&keys))
		return false;
	snprintf(config->architecture, sizeof config->architecture, "%s", keys.family->architecture);
	config->format = FORMAT_GGUF;
	read_shape(&keys, config);
	bool head_dim_given = gguf_find(gguf, full_key(&keys, "attention.key_length")) != NULL;
	if (!keys.ok || !config_check_shape(gguf_path(gguf), config, &names, head_dim_given, error))
		return false;
	read_parts(&keys, config);
	read_window(&keys, config);
	read_rope(&keys, config);
	read_vocabulary(&keys, config);
	return keys.ok;
}
