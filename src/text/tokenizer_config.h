/* The files beside a tokenizer.json that transformers' AutoTokenizer looks at: tokenizer_config.json,
 * special_tokens_map.json, added_tokens.json, and config.json for what depends on the model's type. They add tokens,
 * change flags of tokens that tokenizer.json has, and change two of its stages. What decides is what transformers 5.24
 * makes of a folder with a tokenizer.json (TokenizersBackend); README.md says where its classes go further.
 *
 * In this order, since ids are given in the order of adding:
 *
 *   1. tokenizer.json's added_tokens
 *   2. tokenizer_config.json's added_tokens_decoder, by their number; without it special_tokens_map.json goes before
 *      tokenizer_config.json's names, and added_tokens.json lists tokens
 *   3. the named tokens that are none of these: bos, eos, unk, sep, pad, cls, mask, then other "..._token" keys
 *   4. extra_special_tokens, or additional_special_tokens
 */
#ifndef TALLOW_TEXT_TOKENIZER_CONFIG_H
#define TALLOW_TEXT_TOKENIZER_CONFIG_H

#include "base/json.h"
#include "text/description.h"

enum prefix_space { PREFIX_SPACE_UNSAID, PREFIX_SPACE_NO, PREFIX_SPACE_YES };

struct tokenizer_class;

struct tokenizer_config {
	const struct tokenizer_class *class; /* NULL: one that follows tokenizer.json */
	enum prefix_space prefix_space;      /* add_prefix_space */
	bool tekken_words;                   /* fix_mistral_regex, where it applies */
};

/* Reads those of `files` that are there; tokens, flags and names of bos and eos go into the description, which has
 * the model and the added tokens of tokenizer.json (`document`) already. Errors name file and field; what cannot be
 * honoured is logged by its name. */
bool tokenizer_read_config(const struct model_files *files, const struct json *document,
                           struct tokenizer_config *config, struct tokenizer_description *out,
                           struct error *error) MUST_USE;
/* Changes the stages that have been read meanwhile. */
void tokenizer_apply_config(const struct tokenizer_config *config, const struct json *pre_tokenizer,
                            struct tokenizer_description *out);

/* A row of the classes that do more than follow tokenizer.json, by its name with or without "Fast"; NULL. In
 * tokenizer_class.c. */
enum prefix_stage { PREFIX_IN_FILE, PREFIX_IN_BYTE_LEVEL, PREFIX_IN_SENTENCEPIECE };

struct tokenizer_class {
	const char *name;
	const char *bos, *eos, *unknown, *pad; /* defaults, or NULL; they count where the vocabulary has them */
	bool rebuilds;                         /* makes its own post-processor from add_bos_token and add_eos_token */
	bool add_bos;                          /* default of the former */
	enum prefix_stage prefix;              /* where add_prefix_space goes */
};
const struct tokenizer_class *tokenizer_class_find(const char *name);

/* Whether transformers' fix_mistral_regex applies: the config.json names a Mistral model and a version of
 * transformers before 5. `flag` is that of tokenizer_config.json (NULL: not given). In tokenizer_class.c. */
bool tokenizer_wants_tekken(const struct model_files *files, const struct json *flag, size_t vocab_size, bool *wanted,
                            struct error *error) MUST_USE;

#endif
