/* The table of families. Parts as in transformers' modeling_*.py, defaults as in its configuration_*.py (4.57). */
#include "model/family.h"

#include <string.h>

static const struct family families[] = {
    /* Llama 1 to 3.3, TinyLlama, CodeLlama, SmolLM2, Yi, DeepSeek LLM and Coder, and many more */
    {
        .architecture = "LlamaForCausalLM",
        .model_type = "llama",
        .gguf = "llama",
        .gguf_paired_rows = true,
        .qkv_bias = BIAS_CONFIGURED,
        .o_bias = BIAS_CONFIGURED,
        .mlp_bias = BIAS_CONFIGURED,
        .defaults = {.hidden_size = 4096,
                     .intermediate_size = 11008,
                     .vocab_size = 32000,
                     .max_positions = 2048,
                     .rms_norm_eps = 1e-6,
                     .bos_id = 1,
                     .eos_id = 2},
    },
    /* Mistral 7B, Mistral Nemo, Ministral of one kind of layer; llama in GGUF */
    {
        .architecture = "MistralForCausalLM",
        .model_type = "mistral",
        .window = WINDOW_EVERYWHERE,
        .defaults = {.hidden_size = 4096,
                     .intermediate_size = 14336,
                     .n_kv_heads = 8,
                     .vocab_size = 32000,
                     .max_positions = 131072,
                     .window = 4096,
                     .rms_norm_eps = 1e-6,
                     .bos_id = 1,
                     .eos_id = 2},
    },
    /* Qwen1.5, Qwen2, Qwen2.5 */
    {
        .architecture = "Qwen2ForCausalLM",
        .model_type = "qwen2",
        .gguf = "qwen2",
        .qkv_bias = BIAS_ALWAYS,
        .window = WINDOW_SWITCHED,
        .defaults = {.hidden_size = 4096,
                     .intermediate_size = 22016,
                     .n_kv_heads = 32,
                     .vocab_size = 151936,
                     .max_positions = 32768,
                     .window = 4096,
                     .rms_norm_eps = 1e-6,
                     .bos_id = -1,
                     .eos_id = -1},
    },
    /* Qwen3, without experts */
    {
        .architecture = "Qwen3ForCausalLM",
        .model_type = "qwen3",
        .gguf = "qwen3",
        .qkv_bias = BIAS_CONFIGURED,
        .o_bias = BIAS_CONFIGURED,
        .qk_norm = true,
        .window = WINDOW_SWITCHED,
        .defaults = {.hidden_size = 4096,
                     .intermediate_size = 22016,
                     .n_kv_heads = 32,
                     .head_dim = 128,
                     .vocab_size = 151936,
                     .max_positions = 32768,
                     .window = 4096,
                     .rms_norm_eps = 1e-6,
                     .bos_id = -1,
                     .eos_id = -1},
    },
    /* Phi-3, Phi-3.5 and Phi-4, mini and medium */
    {
        .architecture = "Phi3ForCausalLM",
        .model_type = "phi3",
        .gguf = "phi3",
        .fused = true,
        .partial_rotary = true,
        .window = WINDOW_EVERYWHERE,
        .defaults = {.hidden_size = 3072,
                     .intermediate_size = 8192,
                     .vocab_size = 32064,
                     .max_positions = 4096,
                     .original_positions = 4096,
                     .rms_norm_eps = 1e-5,
                     .bos_id = 1,
                     .eos_id = 32000},
    },
};
enum { N_FAMILIES = sizeof families / sizeof *families };

const struct family *family_find(const char *architecture, const char *model_type)
{
	for (int i = 0; i < N_FAMILIES; i++)
		if (strcmp(*architecture ? architecture : model_type,
		           *architecture ? families[i].architecture : families[i].model_type) == 0)
			return &families[i];
	return NULL;
}

const struct family *family_find_gguf(const char *name, size_t n_name)
{
	for (int i = 0; i < N_FAMILIES; i++)
		if (families[i].gguf && n_name == strlen(families[i].gguf) && memcmp(name, families[i].gguf, n_name) == 0)
			return &families[i];
	return NULL;
}

void family_list(char *text, size_t capacity, bool of_gguf)
{
	*text = 0;
	for (int i = 0; i < N_FAMILIES; i++) {
		const char *name = of_gguf ? families[i].gguf : families[i].architecture;
		if (!name)
			continue;
		strncat(text, *text ? ", " : "", capacity - strlen(text) - 1);
		strncat(text, name, capacity - strlen(text) - 1);
	}
}
