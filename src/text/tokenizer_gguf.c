/* Reader of tokenizer.ggml.*: tokens, their types, special ids and flags fill the same description that tokenizer.json
 * fills. Merges are in gguf_merges.c, pre-tokenizers in gguf_pretokenizer.c.
 */
#include "text/tokenizer_gguf.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text/gguf_vocabulary.h"

static bool out_of_memory(struct error *error)
{
	return error_set(error, ERROR_MEMORY, "not enough memory for the vocabulary");
}

enum gguf_token_type gguf_token_type(const struct gguf_vocabulary *vocabulary, size_t id)
{
	return vocabulary->types ? (enum gguf_token_type)gguf_item_i64(vocabulary->types, id) : GGUF_TOKEN_NORMAL;
}

/* ---- tokens ---- */

static bool read_types(const struct gguf_file *gguf, struct gguf_vocabulary *out, struct error *error)
{
	const struct gguf_value *types;
	if (!gguf_array(gguf, "tokenizer.ggml.token_type", GGUF_I32, &types, error))
		return false;
	if (types && types->n_items != out->n_tokens)
		return error_set(error, ERROR_MODEL, "tokenizer.ggml.token_type has %zu items, tokenizer.ggml.tokens %zu",
		                 types->n_items, out->n_tokens);
	for (size_t i = 0; types && i < types->n_items; i++) {
		int64_t type = gguf_item_i64(types, i);
		if (type < 0 || type >= GGUF_TOKEN_TYPE_COUNT)
			return error_set(error, ERROR_MODEL, "tokenizer.ggml.token_type[%zu] is %" PRId64 ", expected 0 to %d", i,
			                 type, GGUF_TOKEN_TYPE_COUNT - 1);
	}
	out->types = types;
	return true;
}

/* Empty tokens are gaps that some converters leave; every other text stands for one id. */
static bool read_tokens(const struct gguf_value *tokens, struct vocab *vocab, struct error *error)
{
	const unsigned char *cursor = tokens->data;
	for (size_t i = 0; i < tokens->n_items; i++) {
		size_t n_bytes;
		const char *text = gguf_next_string(tokens, &cursor, &n_bytes);
		int32_t known = n_bytes ? vocab_find(vocab, text, n_bytes) : -1;
		if (known >= 0)
			return error_set(error, ERROR_MODEL, "tokenizer.ggml.tokens: %d and %zu are the same", known, i);
		if (!vocab_add(vocab, text, n_bytes, (int64_t)i, error))
			return error_prefix(error, "tokenizer.ggml.tokens");
	}
	return true;
}

static bool read_vocabulary(const struct gguf_file *gguf, struct gguf_vocabulary *vocabulary, struct vocab *vocab,
                            struct error *error)
{
	const struct gguf_value *tokens;
	if (!gguf_array(gguf, "tokenizer.ggml.tokens", GGUF_STRING, &tokens, error))
		return false;
	if (!tokens || tokens->n_items == 0)
		return error_set(error, ERROR_MODEL, "tokenizer.ggml.tokens is %s", tokens ? "empty" : "missing");
	*vocabulary = (struct gguf_vocabulary){.gguf = gguf, .n_tokens = tokens->n_items};
	return read_types(gguf, vocabulary, error) && read_tokens(tokens, vocab, error);
}

static bool is_text(const char *text, size_t n_bytes, const char *expected)
{
	return n_bytes == strlen(expected) && memcmp(text, expected, n_bytes) == 0;
}

/* Phi-3's tokens take the space after them along, which its tokenizer.json says of each and GGUF has no word for: all but
 * those that Llama 2 had, </s> excepted. */
static bool takes_space(const char *text, size_t n_bytes)
{
	return !is_text(text, n_bytes, "<unk>") && !is_text(text, n_bytes, "<s>") &&
	       !is_text(text, n_bytes, "<|endoftext|>");
}

static bool is_added(const struct gguf_vocabulary *vocabulary, size_t id)
{
	enum gguf_token_type type = gguf_token_type(vocabulary, id);
	return type == GGUF_TOKEN_CONTROL || type == GGUF_TOKEN_UNKNOWN || type == GGUF_TOKEN_USER_DEFINED;
}

/* Control tokens are special; those that the user defined are text like any other, but always one token. Both are found
 * in the text as it came. */
static bool read_added(const struct gguf_vocabulary *vocabulary, bool phi3, struct tokenizer_description *out,
                       struct error *error)
{
	size_t n_added = 0;
	for (size_t i = 0; i < vocabulary->n_tokens; i++)
		n_added += is_added(vocabulary, i);
	out->added = calloc(n_added + 1, sizeof *out->added);
	if (!out->added)
		return out_of_memory(error);
	for (size_t i = 0; i < vocabulary->n_tokens; i++) {
		if (!is_added(vocabulary, i))
			continue;
		struct added_token *token = &out->added[out->n_added++];
		const char *text = vocab_text(&out->vocab, (int32_t)i, &token->n_bytes);
		if (token->n_bytes > ADDED_TOKEN_MAX_BYTES)
			return error_set(error, ERROR_MODEL,
			                 "tokenizer.ggml.tokens[%zu] has %zu bytes, at most %d are taken for a special token", i,
			                 token->n_bytes, ADDED_TOKEN_MAX_BYTES);
		token->content = arena_strdup(&out->arena, text, token->n_bytes);
		if (!token->content)
			return out_of_memory(error);
		token->id = (int32_t)i;
		token->special = gguf_token_type(vocabulary, i) != GGUF_TOKEN_USER_DEFINED;
		token->rstrip = phi3 && takes_space(text, token->n_bytes);
	}
	return true;
}

/* ---- special ids ---- */

/* Leaves *id as it is when the key is absent. */
static bool read_id(const struct gguf_file *gguf, size_t n_tokens, const char *key, int32_t *id, struct error *error)
{
	uint64_t found = UINT64_MAX;
	if (!gguf_u64(gguf, key, &found, error))
		return false;
	if (!gguf_find(gguf, key))
		return true;
	if (found >= n_tokens)
		return error_set(error, ERROR_MODEL, "%s: %s is %" PRIu64 ", expected a token id within 0..%zu",
		                 gguf_path(gguf), key, found, n_tokens - 1);
	*id = (int32_t)found;
	return true;
}

/* The text of a special token by its id; nothing for -1. */
static bool name_token(struct tokenizer_description *out, const char *key, int32_t id, const char **name,
                       size_t *n_name, struct error *error)
{
	if (id < 0)
		return true;
	const char *text = vocab_text(&out->vocab, id, n_name);
	if (!*n_name)
		return error_set(error, ERROR_MODEL, "%s is %d, which is an empty token", key, id);
	*name = arena_strdup(&out->arena, text, *n_name);
	return *name || out_of_memory(error);
}

/* What SentencePiece calls them unless told otherwise. */
static int32_t usual_id(const struct gguf_vocabulary *vocabulary, size_t id, enum gguf_token_type type)
{
	return vocabulary->types && id < vocabulary->n_tokens && gguf_token_type(vocabulary, id) == type ? (int32_t)id : -1;
}

static bool read_ends(const struct gguf_vocabulary *vocabulary, bool sentencepiece, bool add_bos,
                      struct tokenizer_description *out, struct error *error)
{
	int32_t bos = sentencepiece ? usual_id(vocabulary, 1, GGUF_TOKEN_CONTROL) : -1;
	int32_t eos = sentencepiece ? usual_id(vocabulary, 2, GGUF_TOKEN_CONTROL) : -1;
	const struct gguf_file *gguf = vocabulary->gguf;
	if (!read_id(gguf, vocabulary->n_tokens, "tokenizer.ggml.bos_token_id", &bos, error) ||
	    !read_id(gguf, vocabulary->n_tokens, "tokenizer.ggml.eos_token_id", &eos, error))
		return false;
	out->rebuild_template = true;
	out->add_bos = add_bos && bos >= 0;
	return gguf_bool(gguf, "tokenizer.ggml.add_bos_token", &out->add_bos, error) &&
	       gguf_bool(gguf, "tokenizer.ggml.add_eos_token", &out->add_eos, error) &&
	       name_token(out, "tokenizer.ggml.bos_token_id", bos, &out->bos, &out->n_bos, error) &&
	       name_token(out, "tokenizer.ggml.eos_token_id", eos, &out->eos, &out->n_eos, error);
}

/* ---- the two models ---- */

static bool read_merge_list(const struct gguf_vocabulary *vocabulary, bool required, bool *found,
                            struct tokenizer_description *out, struct error *error)
{
	const struct gguf_value *merges;
	if (!gguf_array(vocabulary->gguf, "tokenizer.ggml.merges", GGUF_STRING, &merges, error))
		return false;
	*found = merges != NULL;
	if (!merges)
		return !required || error_set(error, ERROR_MODEL, "tokenizer.ggml.merges is missing");
	return gguf_merges_of_list(merges, out, error);
}

static bool read_gpt2(const struct gguf_vocabulary *vocabulary, struct tokenizer_description *out, struct error *error)
{
	const char *pre = NULL;
	size_t n_pre = 0;
	bool add_bos = false, found;
	if (!gguf_string(vocabulary->gguf, "tokenizer.ggml.pre", &pre, &n_pre, error))
		return false;
	if (!pre)
		return error_set(error, ERROR_MODEL,
		                 "tokenizer.ggml.pre is missing: how text is cut into words is not known (a file of before "
		                 "May 2024 has to be converted anew)");
	out->decoder.steps[out->decoder.n_steps++].kind = DECODER_BYTE_LEVEL;
	return gguf_pretokenizer(pre, n_pre, out, &add_bos, error) &&
	       read_merge_list(vocabulary, true, &found, out, error) && read_ends(vocabulary, false, add_bos, out, error);
}

static bool check_byte_token(const struct vocab *vocab, size_t id, struct error *error)
{
	char name[8];
	size_t n_bytes;
	const char *text = vocab_text(vocab, (int32_t)id, &n_bytes);
	for (unsigned byte = 0; byte < 256; byte++) {
		int n = snprintf(name, sizeof name, "<0x%02X>", byte);
		if ((size_t)n == n_bytes && memcmp(name, text, n_bytes) == 0)
			return true;
	}
	return error_set(error, ERROR_MODEL, "tokenizer.ggml.tokens[%zu] is of type byte, expected <0x00> to <0xFF>", id);
}

/* Without an unknown token, bytes must be able to spell everything. */
static bool check_unknown(const struct tokenizer_description *out, struct error *error)
{
	for (unsigned byte = 0; byte < 256 && !out->bpe.has_unknown; byte++) {
		char name[8];
		int n = snprintf(name, sizeof name, "<0x%02X>", byte);
		if (vocab_find(&out->vocab, name, (size_t)n) < 0)
			return error_set(error, ERROR_MODEL, "tokenizer.ggml.tokens has neither an unknown token nor the byte %s",
			                 name);
	}
	return true;
}

static bool read_unknown(const struct gguf_vocabulary *vocabulary, struct tokenizer_description *out,
                         struct error *error)
{
	static const char key[] = "tokenizer.ggml.unknown_token_id";
	int32_t unknown = usual_id(vocabulary, 0, GGUF_TOKEN_UNKNOWN);
	if (!read_id(vocabulary->gguf, vocabulary->n_tokens, key, &unknown, error) ||
	    !name_token(out, key, unknown, &out->unknown, &out->n_unknown, error))
		return false;
	out->bpe.has_unknown = unknown >= 0;
	return check_unknown(out, error);
}

/* Spaces are spelled as ▁, and one goes before the text. */
static void add_sentencepiece_stages(struct tokenizer_description *out, bool space_prefix)
{
	static const char bar[] = "\xE2\x96\x81";
	struct normalizer *normalizer = &out->normalizer;
	struct decoder *decoder = &out->decoder;
	if (space_prefix)
		normalizer->steps[normalizer->n_steps++] =
		    (struct normalizer_step){.kind = NORMALIZER_PREPEND, .text = bar, .n_text = 3};
	normalizer->steps[normalizer->n_steps++] =
	    (struct normalizer_step){.kind = NORMALIZER_REPLACE, .text = bar, .n_text = 3, .pattern = " ", .n_pattern = 1};
	decoder->steps[decoder->n_steps++] =
	    (struct decoder_step){.kind = DECODER_REPLACE, .text = " ", .n_text = 1, .pattern = bar, .n_pattern = 3};
	decoder->steps[decoder->n_steps++].kind = DECODER_BYTE_FALLBACK;
	decoder->steps[decoder->n_steps++].kind = DECODER_FUSE;
	if (space_prefix)
		decoder->steps[decoder->n_steps++] =
		    (struct decoder_step){.kind = DECODER_STRIP, .text = " ", .n_text = 1, .start = 1};
}

/* Converters of tokenizer.json list merges, and scores that mean nothing: a list goes first. */
static bool read_sentencepiece(const struct gguf_vocabulary *vocabulary, struct tokenizer_description *out,
                               struct error *error)
{
	const struct gguf_file *gguf = vocabulary->gguf;
	bool space_prefix = true, tidies_space = false, listed;
	if (!gguf_bool(gguf, "tokenizer.ggml.add_space_prefix", &space_prefix, error) ||
	    !gguf_bool(gguf, "tokenizer.ggml.remove_extra_whitespaces", &tidies_space, error))
		return false;
	if (tidies_space)
		return error_set(error, ERROR_MODEL, "tokenizer.ggml.remove_extra_whitespaces is set, which is not supported");
	const struct gguf_value *charsmap = gguf_find(gguf, "tokenizer.ggml.precompiled_charsmap");
	if (charsmap && charsmap->n_items)
		return error_set(error, ERROR_MODEL, "tokenizer.ggml.precompiled_charsmap is there, which is not supported");
	for (size_t i = 0; i < vocabulary->n_tokens; i++)
		if (gguf_token_type(vocabulary, i) == GGUF_TOKEN_BYTE && !check_byte_token(&out->vocab, i, error))
			return false;
	out->bpe.byte_fallback = out->bpe.fuse_unknown = true;
	add_sentencepiece_stages(out, space_prefix);
	return read_unknown(vocabulary, out, error) && read_merge_list(vocabulary, false, &listed, out, error) &&
	       (listed || gguf_merges_of_scores(vocabulary, out, error)) && read_ends(vocabulary, true, true, out, error);
}

bool tokenizer_gguf_kind(const struct gguf_file *gguf, bool *sentencepiece, struct error *error)
{
	const char *model = NULL;
	size_t n_model = 0;
	if (!gguf_string(gguf, "tokenizer.ggml.model", &model, &n_model, error))
		return false;
	if (!model)
		return error_set(error, ERROR_MODEL, "tokenizer.ggml.model is missing");
	*sentencepiece = is_text(model, n_model, "llama");
	if (!*sentencepiece && !is_text(model, n_model, "gpt2"))
		return error_set(error, ERROR_MODEL, "tokenizer.ggml.model \"%.*s\" is not supported, only llama and gpt2 are",
		                 (int)(n_model < 60 ? n_model : 60), model);
	return true;
}

static bool read_description(const struct gguf_file *gguf, struct tokenizer_description *out, struct error *error)
{
	bool sentencepiece = false;
	const char *architecture = "";
	size_t n_architecture = 0;
	struct gguf_vocabulary vocabulary = {0};
	if (!tokenizer_gguf_kind(gguf, &sentencepiece, error) ||
	    !gguf_string(gguf, "general.architecture", &architecture, &n_architecture, error))
		return false;
	bool phi3 = sentencepiece && is_text(architecture, n_architecture, "phi3"); /* Phi-4 has another vocabulary */
	return read_vocabulary(gguf, &vocabulary, &out->vocab, error) && read_added(&vocabulary, phi3, out, error) &&
	       (sentencepiece ? read_sentencepiece : read_gpt2)(&vocabulary, out, error) &&
	       tokenizer_gguf_end_ids(gguf, out->end_ids, &out->n_end_ids, error);
}

struct tokenizer *tokenizer_load_gguf(const struct gguf_file *gguf, struct error *error)
{
	struct tokenizer_description description = {0};
	struct tokenizer *tokenizer = NULL;
	if (read_description(gguf, &description, error))
		tokenizer = tokenizer_build(&description, error);
	if (!tokenizer && !strstr(error->message, gguf_path(gguf)))
		error_prefix(error, "%s", gguf_path(gguf));
	tokenizer_description_free(&description);
	return tokenizer;
}

/* ---- what ends an answer ---- */

static bool has_end(int32_t id, const int32_t *ids, int n_ids)
{
	for (int i = 0; i < n_ids; i++)
		if (ids[i] == id)
			return true;
	return false;
}

static void add_end(int32_t id, int32_t *ids, int *n_ids)
{
	if (id >= 0 && !has_end(id, ids, *n_ids) && *n_ids < TOKENIZER_MAX_END_IDS)
		ids[(*n_ids)++] = id;
}

/* tokenizer.ggml.eos_token_ids: a list, for models that end in several ways. */
static bool read_end_list(const struct gguf_file *gguf, size_t n_tokens, int32_t *ids, int *n_ids, struct error *error)
{
	static const char key[] = "tokenizer.ggml.eos_token_ids";
	const struct gguf_value *list = gguf_find(gguf, key);
	bool integers = list && list->type != GGUF_STRING && list->type != GGUF_F32 && list->type != GGUF_F64 &&
	                list->type != GGUF_BOOL;
	if (list && !integers)
		return error_set(error, ERROR_MODEL, "%s: %s is of type %s, expected a list of token ids", gguf_path(gguf), key,
		                 gguf_type_name(list->type));
	for (size_t i = 0; list && i < list->n_items; i++) {
		int64_t id = gguf_item_i64(list, i);
		if (id < 0 || (uint64_t)id >= n_tokens)
			return error_set(error, ERROR_MODEL, "%s: %s[%zu] is %" PRId64 ", expected a token id within 0..%zd",
			                 gguf_path(gguf), key, i, id, (ssize_t)n_tokens - 1);
		if (!has_end((int32_t)id, ids, *n_ids) && *n_ids == TOKENIZER_MAX_END_IDS)
			return error_set(error, ERROR_MODEL, "%s: %s: more than %d ids end an answer", gguf_path(gguf), key,
			                 TOKENIZER_MAX_END_IDS);
		add_end((int32_t)id, ids, n_ids);
	}
	return true;
}

/* Tokens of these names end an answer whether the converter took them for control tokens or for a user's: of models that
 * were taught a chat format later, many files say the latter. */
bool tokenizer_gguf_end_ids(const struct gguf_file *gguf, int32_t ids[TOKENIZER_MAX_END_IDS], int *n_ids,
                            struct error *error)
{
	static const char *const keys[] = {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id",
	                                   "tokenizer.ggml.eom_token_id"};
	static const char *const names[] = {"<|eot_id|>",      "<|eom_id|>",    "<|im_end|>",
	                                    "<|end|>",         "<end_of_turn>", "<|endoftext|>",
	                                    "<|end_of_text|>", "<|EOT|>",       "<｜end▁of▁sentence｜>"};
	const struct gguf_value *tokens;
	struct gguf_vocabulary vocabulary = {.gguf = gguf};
	*n_ids = 0;
	if (!gguf_array(gguf, "tokenizer.ggml.tokens", GGUF_STRING, &tokens, error))
		return false;
	vocabulary.n_tokens = tokens ? tokens->n_items : 0;
	if (!read_types(gguf, &vocabulary, error))
		return false;
	for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
		int32_t id = -1;
		if (!read_id(gguf, vocabulary.n_tokens, keys[i], &id, error))
			return false;
		add_end(id, ids, n_ids);
	}
	if (!read_end_list(gguf, vocabulary.n_tokens, ids, n_ids, error))
		return false;
	const unsigned char *cursor = tokens ? tokens->data : NULL;
	for (size_t i = 0; i < vocabulary.n_tokens; i++) {
		size_t n_bytes;
		const char *text = gguf_next_string(tokens, &cursor, &n_bytes);
		for (size_t j = 0; n_bytes && text[0] == '<' && j < sizeof names / sizeof *names; j++)
			if (is_text(text, n_bytes, names[j]) && is_added(&vocabulary, i))
				add_end((int32_t)i, ids, n_ids);
	}
	return true;
}
