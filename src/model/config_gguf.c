/* Metadata of a GGUF file -> struct model_config. Keys: github.com/ggml-org/ggml/blob/master/docs/gguf.md */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "model/config_private.h"
#include "tensor/gguf.h"

enum { MAX_KEY_BYTES = 128 };

/* What general.architecture says, which is also what the model's keys begin with. Adding one starts with a row here. */
static const struct architecture {
	const char *name;
	const char *family; /* its architecture in config.json (`families` of config.c) */
	bool paired_rows;   /* the converter reorders the rows of q and k */
} architectures[] = {
    {.name = "llama", .family = "LlamaForCausalLM", .paired_rows = true},
};
enum { N_ARCHITECTURES = sizeof architectures / sizeof *architectures };

/* Keys of things that we lack, with the value that switches them off. */
static const struct neutral {
	const char *key;
	double value;
} neutrals[] = {
    {"expert_count", 0},
    {"attention.sliding_window", 0},
    {"attention.clamp_kqv", 0},
    {"attention.max_alibi_bias", 0},
    {"attn_logit_softcapping", 0},
    {"final_logit_softcapping", 0},
    {"embedding_scale", 1},
    {"residual_scale", 1},
    {"logit_scale", 1},
    {"rope.scaling.attn_factor", 1},
};

/* Reads keys of one file; the first bad one sets the error and `ok` stays false. */
struct keys {
	const struct gguf_file *gguf;
	const struct architecture *architecture;
	struct error *error;
	bool ok;
	char key[MAX_KEY_BYTES]; /* of the last one */
};

static const char *full_key(struct keys *keys, const char *name)
{
	snprintf(keys->key, sizeof keys->key, "%s.%s", keys->architecture->name, name);
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

static double positive_key(struct keys *keys, const char *name, double fallback)
{
	double number = fallback;
	char text[32] = "missing";
	const char *key = full_key(keys, name);
	if (!keys->ok || !gguf_f64(keys->gguf, key, &number, keys->error)) {
		keys->ok = false;
		return 1;
	}
	if (config_is_positive(number))
		return number;
	if (gguf_find(keys->gguf, key))
		snprintf(text, sizeof text, "%g", number);
	bad_key(keys, text, CONFIG_POSITIVE_EXPECTED);
	return 1;
}

/* ---- what is refused by name ---- */

/* NULL with the error set where there is none that we know. */
static const struct architecture *find_architecture(const struct gguf_file *gguf, struct error *error)
{
	const char *name = NULL;
	size_t n_name = 0;
	if (!gguf_string(gguf, "general.architecture", &name, &n_name, error))
		return NULL;
	if (!name) {
		error_set(error, ERROR_MODEL, "%s: general.architecture is missing", gguf_path(gguf));
		return NULL;
	}
	char supported[256] = "";
	for (int i = 0; i < N_ARCHITECTURES; i++) {
		if (n_name == strlen(architectures[i].name) && memcmp(name, architectures[i].name, n_name) == 0)
			return &architectures[i];
		strncat(supported, i ? ", " : "", sizeof supported - strlen(supported) - 1);
		strncat(supported, architectures[i].name, sizeof supported - strlen(supported) - 1);
	}
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

static bool is_text(const char *text, size_t n_bytes, const char *expected)
{
	return n_bytes == strlen(expected) && memcmp(text, expected, n_bytes) == 0;
}

/* Files of before rope.scaling.type have rope.scale_linear. */
static void read_scaling(struct keys *keys, struct rope_config *rope)
{
	const char *type = "none";
	size_t n_type = 4;
	bool old = gguf_find(keys->gguf, full_key(keys, "rope.scale_linear")) != NULL;
	double factor = positive_key(keys, "rope.scale_linear", 1);
	const char *key = full_key(keys, "rope.scaling.type");
	if (!keys->ok || !gguf_string(keys->gguf, key, &type, &n_type, keys->error)) {
		keys->ok = false;
		return;
	}
	if (is_text(type, n_type, "none") && !old)
		return;
	if (!is_text(type, n_type, "linear") && !is_text(type, n_type, "none")) {
		keys->ok = error_set(keys->error, ERROR_MODEL, "%s: %s %.*s is not supported (none and linear are)",
		                     gguf_path(keys->gguf), key, (int)(n_type < 40 ? n_type : 40), type);
		return;
	}
	rope->type = ROPE_LINEAR;
	rope->factor = positive_key(keys, "rope.scaling.factor", factor);
	if (keys->ok && rope->factor < 1)
		bad_key(keys, "below 1", "a factor of at least 1");
}

static void read_rope(struct keys *keys, struct model_config *config)
{
	char actual[24], expected[80];
	int64_t n_turned = count_key(keys, "rope.dimension_count", config->head_dim);
	if (n_turned != config->head_dim) {
		snprintf(actual, sizeof actual, "%" PRId64, n_turned);
		snprintf(expected, sizeof expected, "%" PRId64 " (rotating part of a head is not supported)", config->head_dim);
		bad_key(keys, actual, expected);
	}
	config->rotary_dim = config->head_dim;
	config->rope = (struct rope_config){
	    .type = ROPE_DEFAULT, .theta = positive_key(keys, "rope.freq_base", 10000.0), .attention_factor = 1};
	config->rope.has_divisors = gguf_tensor_find(keys->gguf, "rope_freqs.weight") != NULL;
	read_scaling(keys, &config->rope);
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
	config->qkv_bias = gguf_tensor_find(keys->gguf, "blk.0.attn_q.bias") != NULL;
	config->o_bias = gguf_tensor_find(keys->gguf, "blk.0.attn_output.bias") != NULL;
	config->mlp_bias = gguf_tensor_find(keys->gguf, "blk.0.ffn_gate.bias") != NULL;
	config->tie_word_embeddings = gguf_tensor_find(keys->gguf, "output.weight") == NULL;
}

static bool read_gguf(const struct gguf_file *gguf, struct model_config *config, struct error *error)
{
	static const struct config_names names = {"attention.head_count", "attention.head_count_kv", "embedding_length",
	                                          "attention.key_length"};
	struct keys keys = {.gguf = gguf, .architecture = find_architecture(gguf, error), .error = error, .ok = true};
	if (!keys.architecture || !refuse_unsupported(&keys))
		return false;
	snprintf(config->architecture, sizeof config->architecture, "%s", keys.architecture->family);
	config->format = FORMAT_GGUF;
	config->paired_rows = keys.architecture->paired_rows;
	read_shape(&keys, config);
	bool head_dim_given = gguf_find(gguf, full_key(&keys, "attention.key_length")) != NULL;
	if (!keys.ok || !config_check_shape(gguf_path(gguf), config, &names, head_dim_given, error))
		return false;
	read_rope(&keys, config);
	read_vocabulary(&keys, config);
	return keys.ok;
}

bool config_load_gguf(const char *path, struct model_config *config, struct error *error)
{
	struct gguf_file *gguf = gguf_open(path, error);
	bool ok = gguf && read_gguf(gguf, config, error);
	gguf_close(gguf);
	return ok;
}
