/* GGUF models made by tests: whatever a converter would make of a SafeTensors model, and models of random blocks. */
#ifndef TALLOW_TESTS_GGUF_MODEL_H
#define TALLOW_TESTS_GGUF_MODEL_H

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "gguf_files.h"
#include "model/layer.h"
#include "model_files.h"
#include "random_blocks.h"
#include "tensor/block.h"
#include "tensor/weight_file.h"

/* A GGUF file in the making. */
struct gguf_maker {
	struct bytes values, infos, data;
	uint64_t n_values, n_tensors;
};

static inline void gguf_maker_u32(struct gguf_maker *maker, const char *key, uint32_t value)
{
	put_key_u32(&maker->values, key, value);
	maker->n_values++;
}

static inline void gguf_maker_f32(struct gguf_maker *maker, const char *key, float value)
{
	put_key(&maker->values, key, GGUF_F32);
	bytes_append(&maker->values, &value, sizeof value);
	maker->n_values++;
}

static inline void gguf_maker_string(struct gguf_maker *maker, const char *key, const char *value)
{
	put_key_string(&maker->values, key, value);
	maker->n_values++;
}

static inline uint32_t number_of_type(enum dtype type)
{
	static const uint32_t numbers[] = {
#define X(type, name, block, bytes, number) [type] = (uint32_t)(number),
	    DTYPE_TABLE(X)
#undef X
	};
	return numbers[type];
}

/* columns 0: a vector. data NULL: zeros. */
static inline void gguf_maker_tensor(struct gguf_maker *maker, const char *name, int64_t rows, int64_t columns,
                                     enum dtype type, const void *data)
{
	size_t n_bytes;
	assert_true(dtype_bytes(type, (size_t)(rows * (columns ? columns : 1)), &n_bytes));
	put_string(&maker->infos, name);
	put_u32(&maker->infos, columns ? 2 : 1);
	if (columns)
		put_u64(&maker->infos, (uint64_t)columns);
	put_u64(&maker->infos, (uint64_t)rows);
	put_u32(&maker->infos, number_of_type(type));
	put_u64(&maker->infos, maker->data.n_bytes);
	if (data)
		bytes_append(&maker->data, data, n_bytes);
	else
		for (size_t i = 0; i < n_bytes; i++)
			bytes_append(&maker->data, "", 1);
	for (; maker->data.n_bytes % 32;)
		bytes_append(&maker->data, "", 1);
	maker->n_tensors++;
}

/* Leaves an empty maker. */
static inline void gguf_maker_write(struct gguf_maker *maker, const char *path)
{
	struct bytes file = {0};
	put_header(&file, maker->n_tensors, maker->n_values);
	bytes_append(&file, maker->values.data, maker->values.n_bytes);
	if (maker->infos.n_bytes)
		bytes_append(&file, maker->infos.data, maker->infos.n_bytes);
	put_data(&file, 0);
	if (maker->data.n_bytes)
		bytes_append(&file, maker->data.data, maker->data.n_bytes);
	assert_false(file.failed || maker->values.failed || maker->infos.failed || maker->data.failed);
	file_write(path, file.data, file.n_bytes);
	bytes_free(&file);
	bytes_free(&maker->values);
	bytes_free(&maker->infos);
	bytes_free(&maker->data);
	*maker = (struct gguf_maker){0};
}

/* What converters call the family in general.architecture. */
static inline const char *gguf_architecture_of(const struct model_config *config)
{
	static const char *const names[][2] = {
	    {"LlamaForCausalLM", "llama"}, {"MistralForCausalLM", "llama"}, {"Qwen2ForCausalLM", "qwen2"},
	    {"Qwen3ForCausalLM", "qwen3"}, {"Phi3ForCausalLM", "phi3"},
	};
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (strcmp(config->architecture, names[i][0]) == 0)
			return names[i][1];
	fail_msg("%s has no name in GGUF", config->architecture);
	return NULL;
}

/* Keys of one model's family. */
struct gguf_keys {
	struct gguf_maker *maker;
	const char *architecture;
};

static inline void gguf_count(struct gguf_keys keys, const char *name, int64_t value)
{
	char key[128];
	snprintf(key, sizeof key, "%s.%s", keys.architecture, name);
	gguf_maker_u32(keys.maker, key, (uint32_t)value);
}

static inline void gguf_number(struct gguf_keys keys, const char *name, double value)
{
	char key[128];
	snprintf(key, sizeof key, "%s.%s", keys.architecture, name);
	gguf_maker_f32(keys.maker, key, (float)value);
}

static inline void gguf_text(struct gguf_keys keys, const char *name, const char *value)
{
	char key[128];
	snprintf(key, sizeof key, "%s.%s", keys.architecture, name);
	gguf_maker_string(keys.maker, key, value);
}

/* Dynamic scaling has no keys. The type of longrope is not written: its tensors say it. Readers multiply attention
 * factors by yarn's own. */
static inline void gguf_rope_keys(struct gguf_keys keys, const struct rope_config *rope)
{
	gguf_number(keys, "rope.freq_base", rope->theta);
	if (rope->type == ROPE_LINEAR || rope->type == ROPE_YARN) {
		gguf_text(keys, "rope.scaling.type", rope->type == ROPE_LINEAR ? "linear" : "yarn");
		gguf_number(keys, "rope.scaling.factor", rope->factor);
	}
	if (rope->type == ROPE_YARN || rope->type == ROPE_LONGROPE)
		gguf_count(keys, "rope.scaling.original_context_length", rope->original_max_positions);
	if (rope->type == ROPE_LONGROPE)
		gguf_number(keys, "rope.scaling.attn_factor", rope->attention_factor);
	if (rope->type == ROPE_YARN) {
		gguf_number(keys, "rope.scaling.yarn_beta_fast", rope->beta_fast);
		gguf_number(keys, "rope.scaling.yarn_beta_slow", rope->beta_slow);
		gguf_number(keys, "rope.scaling.yarn_attn_factor", rope->attention_factor / (0.1 * log(rope->factor) + 1));
	}
}

/* Where only some layers have the window, a list says which. */
static inline void gguf_window_keys(struct gguf_keys keys, const struct model_config *config)
{
	char key[128];
	int64_t n = 0;
	for (int64_t layer = 0; layer < config->n_layers; layer++)
		n += layer_spec_of(config, layer).window > 0;
	if (n)
		gguf_count(keys, "attention.sliding_window", config->window);
	if (n == 0 || n == config->n_layers)
		return;
	snprintf(key, sizeof key, "%s.attention.sliding_window_pattern", keys.architecture);
	put_key_array(&keys.maker->values, key, GGUF_BOOL, (uint64_t)config->n_layers);
	keys.maker->n_values++;
	for (int64_t layer = 0; layer < config->n_layers; layer++)
		bytes_append(&keys.maker->values, layer_spec_of(config, layer).window ? "\1" : "\0", 1);
}

/* The keys of a model. */
static inline void gguf_maker_config(struct gguf_maker *maker, const struct model_config *config)
{
	struct gguf_keys keys = {maker, gguf_architecture_of(config)};
	gguf_maker_string(maker, "general.architecture", keys.architecture);
	gguf_count(keys, "embedding_length", config->hidden_size);
	gguf_count(keys, "feed_forward_length", config->intermediate_size);
	gguf_count(keys, "block_count", config->n_layers);
	gguf_count(keys, "attention.head_count", config->n_heads);
	gguf_count(keys, "attention.head_count_kv", config->n_kv_heads);
	gguf_count(keys, "attention.key_length", config->head_dim);
	gguf_count(keys, "attention.value_length", config->head_dim);
	gguf_count(keys, "rope.dimension_count", config->rotary_dim);
	gguf_count(keys, "context_length", config->max_positions);
	gguf_count(keys, "vocab_size", config->vocab_size);
	gguf_number(keys, "attention.layer_norm_rms_epsilon", config->rms_norm_eps);
	gguf_rope_keys(keys, &config->rope);
	gguf_window_keys(keys, config);
}

/* ---- from SafeTensors ---- */

/* What a tensor of a SafeTensors model is called in a GGUF file. */
static inline void gguf_name_of(const char *name, char *out, size_t n_out)
{
	static const char *const names[][2] = {
	    {"model.embed_tokens.", "token_embd."},
	    {"model.norm.", "output_norm."},
	    {"lm_head.", "output."},
	    {"self_attn.q_proj.", "attn_q."},
	    {"self_attn.k_proj.", "attn_k."},
	    {"self_attn.v_proj.", "attn_v."},
	    {"self_attn.qkv_proj.", "attn_qkv."},
	    {"self_attn.o_proj.", "attn_output."},
	    {"self_attn.q_norm.", "attn_q_norm."},
	    {"self_attn.k_norm.", "attn_k_norm."},
	    {"mlp.gate_proj.", "ffn_gate."},
	    {"mlp.up_proj.", "ffn_up."},
	    {"mlp.gate_up_proj.", "ffn_up."},
	    {"mlp.down_proj.", "ffn_down."},
	    {"input_layernorm.", "attn_norm."},
	    {"post_attention_layernorm.", "ffn_norm."},
	};
	int layer = 0, n_prefix = 0;
	if (sscanf(name, "model.layers.%d.%n", &layer, &n_prefix) == 1 && n_prefix)
		snprintf(out, n_out, "blk.%d.", layer);
	else
		out[0] = '\0';
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		size_t n = strlen(names[i][0]);
		if (strncmp(name + n_prefix, names[i][0], n) == 0) {
			snprintf(out + strlen(out), n_out - strlen(out), "%s%s", names[i][1], name + n_prefix + n);
			return;
		}
	}
	fail_msg("%s has no name in GGUF", name);
}

/* The rows of a q or k matrix (or of its bias) as a converter reorders them: row i of the second half of a head comes
 * after row i of the first. */
static inline void *pair_rows(const struct tensor *tensor, int64_t head_dim)
{
	unsigned char *out = malloc(tensor->n_bytes);
	size_t row_bytes = tensor->n_bytes / (size_t)tensor->dims[0];
	assert_non_null(out);
	for (int64_t row = 0; row < tensor->dims[0]; row++) {
		int64_t in_head = row % head_dim, half = head_dim / 2;
		int64_t to = row - in_head + (in_head < half ? 2 * in_head : 2 * (in_head - half) + 1);
		memcpy(out + (size_t)to * row_bytes, (const unsigned char *)tensor->data + (size_t)row * row_bytes, row_bytes);
	}
	return out;
}

/* Llama 3.1's scaling as converters write it. */
static inline void gguf_maker_divisors(struct gguf_maker *maker, const struct model_config *config)
{
	const struct rope_config *rope = &config->rope;
	float divisors[2048];
	for (int64_t i = 0; i < config->head_dim / 2; i++) {
		double wavelength = 2 * M_PI * pow(rope->theta, 2.0 * (double)i / (double)config->head_dim);
		double original = (double)rope->original_max_positions;
		double smooth =
		    (original / wavelength - rope->low_freq_factor) / (rope->high_freq_factor - rope->low_freq_factor);
		divisors[i] = wavelength < original / rope->high_freq_factor ? 1
		              : wavelength > original / rope->low_freq_factor
		                  ? (float)rope->factor
		                  : (float)(1 / ((1 - smooth) / rope->factor + smooth));
	}
	gguf_maker_tensor(maker, "rope_freqs.weight", config->head_dim / 2, 0, DTYPE_F32, divisors);
}

static inline void gguf_maker_factors(struct gguf_maker *maker, const struct model_config *config)
{
	static const char *const names[] = {"rope_factors_short.weight", "rope_factors_long.weight"};
	for (int i = 0; i < 2; i++)
		gguf_maker_tensor(maker, names[i], config->rotary_dim / 2, 0, DTYPE_F32, config->rope.factors[i]);
}

/* Tensors [first, last) of the model. */
static inline void gguf_maker_model_part(struct gguf_maker *maker, const struct weight_file *file,
                                         const struct model_config *config, size_t first, size_t last)
{
	const struct tensor *tensor;
	for (size_t i = first; i < last && (tensor = weight_file_at(file, i)); i++) {
		char name[80];
		gguf_name_of(tensor->name, name, sizeof name);
		bool paired =
		    strcmp(gguf_architecture_of(config), "llama") == 0 && (strstr(name, "attn_q.") || strstr(name, "attn_k."));
		void *rows = paired ? pair_rows(tensor, config->head_dim) : NULL;
		gguf_maker_tensor(maker, name, tensor->dims[0], tensor->n_dims == 2 ? tensor->dims[1] : 0, tensor->type,
		                  rows ? rows : tensor->data);
		free(rows);
	}
	if (first == 0 && config->rope.type == ROPE_LLAMA3)
		gguf_maker_divisors(maker, config);
	if (first == 0 && config->rope.type == ROPE_LONGROPE)
		gguf_maker_factors(maker, config);
}

/* Everything but the vocabulary. */
static inline void gguf_of_model(const char *model, const char *path)
{
	struct error error = {0};
	struct model_config config;
	struct gguf_maker maker = {0};
	struct weight_file *file = config_load(model, &config, &error) ? weight_file_open(model, &error) : NULL;
	if (!file)
		fail_msg("%s", error.message);
	gguf_maker_config(&maker, &config);
	gguf_maker_model_part(&maker, file, &config, 0, SIZE_MAX);
	gguf_maker_write(&maker, path);
	weight_file_close(file);
}

/* ---- random ---- */

/* A matrix of random blocks, and the same as f32 for `plain`. */
static inline void gguf_maker_random(struct gguf_maker *maker, struct gguf_maker *plain, const char *name, int64_t rows,
                                     int64_t columns, const struct block_scales *scales, float size, uint64_t *state)
{
	size_t n = (size_t)(rows * columns), n_bytes;
	assert_true(dtype_bytes(scales->type, n, &n_bytes));
	unsigned char *blocks = malloc(n_bytes);
	float *values = malloc(n * sizeof *values);
	assert_true(blocks && values);
	random_blocks(scales, blocks, n / (size_t)dtype_info(scales->type)->block_elements, size, state);
	block_dequantise(scales->type, blocks, values, n);
	gguf_maker_tensor(maker, name, rows, columns, scales->type, blocks);
	gguf_maker_tensor(plain, name, rows, columns, DTYPE_F32, values);
	free(blocks);
	free(values);
}

/* Of which blocks a model is made; files that people download mix them. */
struct random_types {
	const struct block_scales *most;
	const struct block_scales *some;      /* of v and down, which suffer most */
	const struct block_scales *embedding; /* of the head too, where `head` is NULL */
	const struct block_scales *head;
};

static const struct random_matrix {
	const char *name;
	int64_t rows, columns;
	bool some;
} random_matrices[] = {
    {"attn_q", 256, 256, false},      {"attn_k", 128, 256, false},   {"attn_v", 128, 256, true},
    {"attn_output", 256, 256, false}, {"ffn_gate", 256, 256, false}, {"ffn_up", 256, 256, false},
    {"ffn_down", 256, 256, true},
};
enum {
	N_RANDOM_MATRICES = sizeof random_matrices / sizeof *random_matrices,
	RANDOM_LAYERS = 1,
	RANDOM_HIDDEN = 256,
	RANDOM_VOCAB = 300,
};

/* The vectors of a model of these sizes, all ones. */
static inline void gguf_maker_ones(struct gguf_maker *maker, const struct model_config *config)
{
	float ones[256];
	char name[80];
	assert_true(config->hidden_size <= 256);
	for (int i = 0; i < 256; i++)
		ones[i] = 1;
	gguf_maker_tensor(maker, "output_norm.weight", config->hidden_size, 0, DTYPE_F32, ones);
	for (int64_t norm = 0; norm < 2 * config->n_layers; norm++) {
		snprintf(name, sizeof name, "blk.%d.%s_norm.weight", (int)norm / 2, norm % 2 ? "ffn" : "attn");
		gguf_maker_tensor(maker, name, config->hidden_size, 0, DTYPE_F32, ones);
	}
}

/* A llama of one layer whose matrices are random blocks, in two files: as blocks and as the same values in f32. */
static inline void gguf_random_models(const struct random_types *types, const char *path, const char *plain_path)
{
	static const struct model_config config = {
	    .architecture = "LlamaForCausalLM",
	    .hidden_size = RANDOM_HIDDEN,
	    .intermediate_size = 256,
	    .n_layers = RANDOM_LAYERS,
	    .n_heads = 4,
	    .n_kv_heads = 2,
	    .head_dim = 64,
	    .rotary_dim = 64,
	    .vocab_size = RANDOM_VOCAB,
	    .max_positions = 1024,
	    .rms_norm_eps = 1e-5,
	    .rope = {.theta = 10000},
	};
	const float size = 0.1f;
	struct gguf_maker blocks = {.n_values = 0}, plain = {.n_values = 0}, *made[2] = {&blocks, &plain};
	uint64_t state = 1 + (uint64_t)types->most->type;
	char name[80];
	gguf_maker_random(&blocks, &plain, "token_embd.weight", RANDOM_VOCAB, RANDOM_HIDDEN, types->embedding, size,
	                  &state);
	if (types->head)
		gguf_maker_random(&blocks, &plain, "output.weight", RANDOM_VOCAB, RANDOM_HIDDEN, types->head, size, &state);
	for (int i = 0; i < RANDOM_LAYERS * N_RANDOM_MATRICES; i++) {
		const struct random_matrix *matrix = &random_matrices[i % N_RANDOM_MATRICES];
		snprintf(name, sizeof name, "blk.%d.%s.weight", i / N_RANDOM_MATRICES, matrix->name);
		gguf_maker_random(&blocks, &plain, name, matrix->rows, matrix->columns,
		                  matrix->some ? types->some : types->most, size, &state);
	}
	for (int file = 0; file < 2; file++) {
		gguf_maker_config(made[file], &config);
		gguf_maker_ones(made[file], &config);
		gguf_maker_write(made[file], file ? plain_path : path);
	}
}

#endif
