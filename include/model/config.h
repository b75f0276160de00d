/* config.json, or the metadata of a GGUF file -> checked hyperparameters. A plain struct: after this nobody reads either,
 * and every number in it has been checked against every other, so the rest of the model layer may rely on it.
 *
 * What is not supported is refused by name, never guessed: another architecture, quantization_config, an activation or
 * a rope type we lack. Defaults are Hugging Face's for the architecture. The families are a table (src/model/family.c).
 */
#ifndef TALLOW_MODEL_CONFIG_H
#define TALLOW_MODEL_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "tensor/dtype.h"

struct model_files;

/* Where the model comes from, and so what its tensors are called. */
enum model_format { FORMAT_SAFETENSORS, FORMAT_GGUF, FORMAT_COUNT };

enum rope_type { ROPE_DEFAULT, ROPE_LINEAR, ROPE_LLAMA3, ROPE_DYNAMIC, ROPE_YARN, ROPE_LONGROPE };

enum { ROPE_MAX_FACTORS = 256 };

struct rope_config {
	enum rope_type type;
	double theta;
	double factor;                  /* all but default; longrope: 0 when not said */
	double low_freq_factor;         /* llama3 */
	double high_freq_factor;        /* llama3 */
	bool has_divisors;              /* frequencies are divided by a tensor of the file: llama3, as GGUF has it */
	int64_t original_max_positions; /* all but default and linear: those of pretraining */
	double beta_fast, beta_slow;    /* yarn: turns within the original positions that bound the blended dimensions */
	bool truncate;                  /* yarn: these bounds are whole dimensions */
	double attention_factor;        /* cosines and sines are multiplied by it: 1 for all but yarn and longrope */
	/* longrope, [rotary_dim / 2]: what frequencies are divided by in sequences of up to the original positions, and in
	 * longer ones */
	float factors[2][ROPE_MAX_FACTORS];
};

enum { CONFIG_MAX_EOS_IDS = 16, CONFIG_MAX_LAYERS = 4096 };

struct model_config {
	char architecture[64]; /* "LlamaForCausalLM", ... */
	enum model_format format;
	int64_t hidden_size;
	int64_t intermediate_size;
	int64_t n_layers; /* at most CONFIG_MAX_LAYERS */
	int64_t n_heads;
	int64_t n_kv_heads; /* divides n_heads */
	int64_t head_dim;   /* even */
	int64_t rotary_dim; /* even; so much of a head is rotated, from its start */
	int64_t vocab_size;
	int64_t max_positions; /* max_position_embeddings */
	double rms_norm_eps;
	struct rope_config rope;
	bool paired_rows; /* rows 2i and 2i + 1 of a q or k head are the pair that rope turns, not i and i + head_dim / 2 */
	bool tie_word_embeddings;
	bool qkv_bias;  /* q, k and v have biases */
	bool o_bias;    /* so has o */
	bool mlp_bias;  /* so have gate, up and down */
	bool qk_norm;   /* each head of q and k is normalised before rope */
	bool fused;     /* the file has q, k and v in one tensor, gate and up in another */
	int64_t window; /* in the layers of window_layers a position sees so many, itself included; 0 = all in all layers */
	uint64_t window_layers[CONFIG_MAX_LAYERS / 64];
	int32_t bos_id;                      /* -1 when absent */
	int32_t eos_ids[CONFIG_MAX_EOS_IDS]; /* of config.json and generation_config.json, without repeats */
	int n_eos_ids;
	char stored_dtype[16]; /* torch_dtype / dtype as written, "" when absent; informational */
};

/* From config.json and, when it is there, generation_config.json; or from a GGUF model, whose EOS ids the tokenizer knows.
 * ERROR_MODEL names file, field, expected and actual. `files` may be closed afterwards. */
bool config_read(const struct model_files *files, struct model_config *config, struct error *error) MUST_USE;
/* The same for a path (tensor/model_files.h) of which nothing else is read. */
bool config_load(const char *path, struct model_config *config, struct error *error) MUST_USE;

/* Adds an EOS id that another source (the tokenizer's config) names; repeats and ids outside the vocabulary are
 * ignored. */
void config_add_eos(struct model_config *config, int32_t id);
/* Whether this token ends an answer. */
bool config_is_eos(const struct model_config *config, int32_t id);

/* As config.json spells it: "default", "llama3", ... A constant. */
const char *rope_type_name(enum rope_type type);
/* Positions that the model's rope reaches: max_positions, or more where scaling stretches it while running. */
int64_t config_max_context(const struct model_config *config);

/* Inputs of the widest matrix: elements of the longest row that any product of the model reads. */
static inline int64_t config_widest_input(const struct model_config *config)
{
	int64_t attended = config->n_heads * config->head_dim;
	int64_t widest = config->hidden_size > config->intermediate_size ? config->hidden_size : config->intermediate_size;
	return widest > attended ? widest : attended;
}

#endif
