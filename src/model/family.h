/* Model families: what each is called in config.json and in GGUF files, what its layers have beside the common parts,
 * and what transformers takes for the fields that a config.json leaves out. Everything that differs between families
 * stands in the table of family.c; the rest of the model layer reads the parts from struct model_config and never asks
 * which family a model is of.
 */
#ifndef TALLOW_MODEL_FAMILY_H
#define TALLOW_MODEL_FAMILY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* CONFIGURED: as attention_bias or mlp_bias of config.json says. */
enum bias_rule { BIAS_NEVER, BIAS_ALWAYS, BIAS_CONFIGURED };

/* Which layers attend to no more than sliding_window positions. */
enum window_rule {
	WINDOW_NEVER,      /* sliding_window means nothing here */
	WINDOW_EVERYWHERE, /* all, where sliding_window is not null */
	WINDOW_SWITCHED,   /* where use_sliding_window is true: those from max_window_layers on, or as layer_types says */
};

/* Of the fields that have the same default in all families, none is here. 0: number of heads for n_kv_heads,
 * hidden_size / heads for head_dim, none for original_positions and window; -1: no such token. */
struct family_defaults {
	int64_t hidden_size, intermediate_size, n_kv_heads, head_dim, vocab_size;
	int64_t max_positions, original_positions, window;
	double rms_norm_eps;
	int bos_id, eos_id;
};

struct family {
	const char *architecture; /* the name in "architectures" */
	const char *model_type;
	const char *gguf;      /* general.architecture, which keys begin with; NULL: its files say another family's */
	bool gguf_paired_rows; /* converters put rows of q and k that rope turns together next to each other */
	enum bias_rule qkv_bias, o_bias, mlp_bias;
	bool qk_norm;        /* every head of queries and keys is normalised before rope */
	bool fused;          /* one tensor for q, k and v, one for gate and up */
	bool partial_rotary; /* partial_rotary_factor may be below 1 */
	enum window_rule window;
	struct family_defaults defaults;
};

/* By architecture, or by model_type where the architecture is "". NULL when there is none. */
const struct family *family_find(const char *architecture, const char *model_type);
const struct family *family_find_gguf(const char *name, size_t n_name);
/* "LlamaForCausalLM, ...", or "llama, ..." of GGUF, for messages. */
void family_list(char *text, size_t capacity, bool of_gguf);

#endif
