/* Classes of transformers by name, and the one repair that depends on the model's type. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "tensor/model_files.h"
#include "text/tokenizer_config.h"

enum { MAX_MODEL_CONFIG_BYTES = 32 << 20, TEKKEN_MIN_VOCAB = 100000 };

/* add_bos_token and add_eos_token count for those that rebuild (transformers 4.57, update_post_processor); the others
 * leave that to tokenizer.json's post-processor. */
static const struct tokenizer_class classes[] = {
    {"LlamaTokenizer", "<s>", "</s>", "<unk>", NULL, true, true, PREFIX_IN_SENTENCEPIECE},
    {"CodeLlamaTokenizer", "<s>", "</s>", "<unk>", NULL, true, true, PREFIX_IN_SENTENCEPIECE},
    {"GemmaTokenizer", "<bos>", "<eos>", "<unk>", "<pad>", true, true, PREFIX_IN_FILE},
    {"CohereTokenizer", "<BOS_TOKEN>", "<|END_OF_TURN_TOKEN|>", "<UNK>", "<PAD>", true, true, PREFIX_IN_BYTE_LEVEL},
    {"GPTNeoXTokenizer", "<|endoftext|>", "<|endoftext|>", "<|endoftext|>", "<|padding|>", true, false,
     PREFIX_IN_BYTE_LEVEL},
    {"GPT2Tokenizer", "<|endoftext|>", "<|endoftext|>", "<|endoftext|>", NULL, false, false, PREFIX_IN_BYTE_LEVEL},
    {"Qwen2Tokenizer", NULL, "<|endoftext|>", "<|endoftext|>", "<|endoftext|>", false, false, PREFIX_IN_BYTE_LEVEL},
    {"Qwen3_5Tokenizer", NULL, "<|endoftext|>", "<|endoftext|>", "<|endoftext|>", false, false, PREFIX_IN_BYTE_LEVEL},
};

const struct tokenizer_class *tokenizer_class_find(const char *name)
{
	for (size_t i = 0; name && i < sizeof classes / sizeof *classes; i++) {
		size_t n = strlen(classes[i].name);
		if (!strncmp(name, classes[i].name, n) && (!name[n] || !strcmp(name + n, "Fast")))
			return &classes[i];
	}
	return NULL;
}

/* Python's order of versions, as far as 5.0.0 needs it: 5.0.0.dev0 and 5.0.0rc1 come before it. */
static bool version_before_5(const char *text)
{
	char *end;
	long major = strtol(text, &end, 10);
	if (end == text)
		return false;
	if (major != 5)
		return major < 5;
	bool zeros = true;
	while (zeros && end[0] == '.' && end[1] >= '0' && end[1] <= '9')
		zeros = strtol(end + 1, &end, 10) == 0;
	end += *end == '.' || *end == '-' || *end == '_';
	return zeros && (!strncmp(end, "dev", 3) || *end == 'a' || *end == 'b' || *end == 'r');
}

static bool is_mistral(const struct json *config)
{
	static const char *const types[] = {"mistral", "mistral3", "voxtral", "ministral", "pixtral"};
	const struct json *type = json_get(config, "model_type"), *version = json_get(config, "transformers_version");
	const char *type_name = json_string(type, NULL), *version_name = json_string(version, NULL);
	if (version_name && version_name[0] && !version_before_5(version_name))
		return false;
	if (!type_name)
		return true;
	for (size_t i = 0; i < sizeof types / sizeof *types; i++)
		if (!strcmp(type_name, types[i]))
			return true;
	return false;
}

bool tokenizer_wants_tekken(const struct model_files *files, const struct json *flag, size_t vocab_size, bool *wanted,
                            struct error *error)
{
	const char *path = model_files_find(files, MODEL_CONFIG);
	bool set = false;
	*wanted = false;
	json_bool(flag, &set);
	bool applies = false;
	if (path && vocab_size > TEKKEN_MIN_VOCAB) {
		struct json_limits limits = {.max_values = 1000000, .allow_duplicates = true};
		struct json *config = json_parse_file(path, MAX_MODEL_CONFIG_BYTES, &limits, error);
		if (!config)
			return false;
		applies = is_mistral(config);
		json_destroy(config);
	}
	*wanted = applies && set;
	if (set && !applies)
		log_message(LOG_WARN, "tokenizer_config",
		            "fix_mistral_regex is not applied: it takes a vocabulary of more than %d tokens (%zu here) and a "
		            "config.json of a Mistral model written by transformers before 5",
		            TEKKEN_MIN_VOCAB, vocab_size);
	if (applies && (!flag || json_type(flag) == JSON_NULL))
		log_message(
		    LOG_WARN, "tokenizer_config",
		    "this is a Mistral tokenizer of before transformers 5, whose expression may cut words other than in "
		    "training; \"fix_mistral_regex\": true in tokenizer_config.json repairs it");
	return true;
}

/* ---- add_prefix_space ---- */

static bool has_prefix(const struct tokenizer_description *out)
{
	for (int i = 0; i < out->normalizer.n_steps; i++)
		if (out->normalizer.steps[i].kind == NORMALIZER_PREPEND)
			return true;
	for (int i = 0; i < out->pretokenizer.n_steps; i++) {
		const struct pretokenizer_step *step = &out->pretokenizer.steps[i];
		if ((step->kind == PRETOKENIZER_BYTE_LEVEL && step->add_prefix_space) ||
		    (step->kind == PRETOKENIZER_METASPACE && step->prepend != METASPACE_NEVER))
			return true;
	}
	return false;
}

/* A stage that puts the space there goes, and with it the one that takes it away again. */
static void drop_sentencepiece_prefix(struct tokenizer_description *out)
{
	struct normalizer *normalizer = &out->normalizer;
	int n = 0;
	for (int i = 0; i < normalizer->n_steps; i++)
		if (normalizer->steps[i].kind != NORMALIZER_PREPEND)
			normalizer->steps[n++] = normalizer->steps[i];
	normalizer->n_steps = n;
	for (int i = 0; i < out->pretokenizer.n_steps; i++)
		out->pretokenizer.steps[i].prepend = METASPACE_NEVER;
	for (int i = 0; i < out->decoder.n_steps; i++) {
		out->decoder.steps[i].start = 0;
		out->decoder.steps[i].drops_first = false;
	}
}

void tokenizer_apply_config(const struct tokenizer_config *config, const struct json *pre_tokenizer,
                            struct tokenizer_description *out)
{
	const char *type = json_string(json_get(pre_tokenizer, "type"), NULL);
	bool byte_level = config->class && config->class->prefix == PREFIX_IN_BYTE_LEVEL;
	bool whole = type && !strcmp(type, "ByteLevel") && config->prefix_space != PREFIX_SPACE_UNSAID;
	for (int i = 0; i < out->pretokenizer.n_steps && (byte_level || whole); i++)
		out->pretokenizer.steps[i].add_prefix_space = config->prefix_space == PREFIX_SPACE_YES;
	if (config->prefix_space == PREFIX_SPACE_NO && config->class && config->class->prefix == PREFIX_IN_SENTENCEPIECE)
		drop_sentencepiece_prefix(out);
	if (config->prefix_space != PREFIX_SPACE_UNSAID && has_prefix(out) != (config->prefix_space == PREFIX_SPACE_YES))
		log_message(LOG_WARN, "tokenizer_config",
		            "add_prefix_space is %s, but not by the stages of tokenizer.json, which are followed",
		            config->prefix_space == PREFIX_SPACE_YES ? "true" : "false");
}
