/* The tokenizer's core: compiles a description, answers questions about tokens, decodes. Encoding is in encode.c. */
#include "text/tokenizer.h"

#include <stdlib.h>
#include <string.h>

#include "tensor/model_files.h"
#include "text/tokenizer_gguf.h"
#include "text/tokenizer_private.h"
#include "text/unicode.h"

void tokenizer_description_free(struct tokenizer_description *description)
{
	vocab_free(&description->vocab);
	free(description->merges);
	free(description->added);
	normalizer_free(&description->normalizer);
	pretokenizer_free(&description->pretokenizer);
	decoder_free(&description->decoder);
	arena_free(&description->arena);
	*description = (struct tokenizer_description){0};
}

void tokenizer_destroy(struct tokenizer *tokenizer)
{
	if (!tokenizer)
		return;
	bpe_free(&tokenizer->bpe);
	added_tokens_free(&tokenizer->added);
	free(tokenizer->special);
	tokenizer_description_free(&tokenizer->parts);
	free(tokenizer);
}

int32_t tokenizer_find(const struct tokenizer *tokenizer, const char *text, size_t n_bytes)
{
	int32_t index = vocab_find(&tokenizer->added.ids, text, n_bytes);
	return index >= 0 ? tokenizer->added.tokens[index].id : vocab_find(&tokenizer->parts.vocab, text, n_bytes);
}

static bool index_special(struct tokenizer *tokenizer, struct error *error)
{
	tokenizer->n_ids = tokenizer->parts.vocab.n_ids;
	if (tokenizer->added.n_ids > tokenizer->n_ids)
		tokenizer->n_ids = tokenizer->added.n_ids;
	if (tokenizer->n_ids == 0)
		return error_set(error, ERROR_MODEL, "the vocabulary is empty");
	tokenizer->special = calloc(tokenizer->n_ids, 1);
	if (!tokenizer->special)
		return error_set(error, ERROR_MEMORY, "not enough memory for the tokenizer's tables");
	for (size_t i = 0; i < tokenizer->added.n_tokens; i++)
		tokenizer->special[tokenizer->added.tokens[i].id] = tokenizer->added.tokens[i].special;
	return true;
}

static bool build_bpe(struct tokenizer *tokenizer, struct error *error)
{
	struct tokenizer_description *parts = &tokenizer->parts;
	struct pretokenizer *pretokenizer = &parts->pretokenizer;
	struct bpe_options *options = &parts->bpe;
	int last = pretokenizer->n_steps - 1;
	options->unknown_id = options->has_unknown ? vocab_find(&parts->vocab, parts->unknown, parts->n_unknown) : -1;
	options->byte_level = last >= 0 && pretokenizer->steps[last].kind == PRETOKENIZER_BYTE_LEVEL;
	options->special = tokenizer->special;
	if (!bpe_init(&tokenizer->bpe, &parts->vocab, parts->merges, parts->n_merges, options, error))
		return false;
	pretokenizer->raw_bytes = tokenizer->bpe.raw_bytes;
	free(parts->merges);
	parts->merges = NULL;
	return true;
}

/* The post-processor that transformers' Llama class makes anew from add_bos_token and add_eos_token. */
static bool rebuild_template(struct tokenizer *tokenizer, struct error *error)
{
	struct tokenizer_description *parts = &tokenizer->parts;
	if (!parts->rebuild_template)
		return true;
	if (parts->add_bos && tokenizer->bos_id < 0)
		return error_set(error, ERROR_MODEL, "add_bos_token is set, but there is no bos_token in the vocabulary");
	if (parts->add_eos && tokenizer->eos_id < 0)
		return error_set(error, ERROR_MODEL, "add_eos_token is set, but there is no eos_token in the vocabulary");
	parts->n_template = 0;
	if (parts->add_bos)
		parts->template[parts->n_template++] = tokenizer->bos_id;
	parts->template[parts->n_template++] = TEMPLATE_TEXT;
	if (parts->add_eos)
		parts->template[parts->n_template++] = tokenizer->eos_id;
	return true;
}

static bool check_template(const struct tokenizer *tokenizer, struct error *error)
{
	for (int i = 0; i < tokenizer->parts.n_template; i++) {
		int32_t id = tokenizer->parts.template[i];
		if (id != TEMPLATE_TEXT && (size_t)id >= tokenizer->n_ids)
			return error_set(error, ERROR_MODEL, "post_processor: token id %d is not within 0..%d", id,
			                 (int)tokenizer->n_ids - 1);
	}
	return true;
}

static bool check_vocab(const struct vocab *vocab, struct error *error)
{
	for (size_t i = 0; i < vocab->n_strings; i++) {
		const struct vocab_string *string = &vocab->strings[i];
		if (unicode_valid_prefix(vocab->texts.data + string->offset, string->n_bytes) < string->n_bytes)
			return error_set(error, ERROR_MODEL, "token %d is not valid UTF-8", string->id);
	}
	return true;
}

static void add_end_id(struct tokenizer *tokenizer, int32_t id)
{
	struct tokenizer_description *parts = &tokenizer->parts;
	for (int i = 0; i < parts->n_end_ids; i++)
		if (parts->end_ids[i] == id)
			return;
	if (id >= 0 && parts->n_end_ids < TOKENIZER_MAX_END_IDS)
		parts->end_ids[parts->n_end_ids++] = id;
}

static bool build(struct tokenizer *tokenizer, struct error *error)
{
	struct tokenizer_description *parts = &tokenizer->parts;
	struct added_token *added = parts->added;
	parts->added = NULL;
	if (!added_tokens_init(&tokenizer->added, added, parts->n_added, &parts->vocab, &parts->normalizer, error) ||
	    !check_vocab(&parts->vocab, error) || !index_special(tokenizer, error) || !build_bpe(tokenizer, error) ||
	    !decoder_check(&parts->decoder, error))
		return false;
	tokenizer->bos_id = parts->bos ? tokenizer_find(tokenizer, parts->bos, parts->n_bos) : -1;
	tokenizer->eos_id = parts->eos ? tokenizer_find(tokenizer, parts->eos, parts->n_eos) : -1;
	add_end_id(tokenizer, tokenizer->eos_id);
	return rebuild_template(tokenizer, error) && check_template(tokenizer, error);
}

struct tokenizer *tokenizer_build(struct tokenizer_description *description, struct error *error)
{
	struct tokenizer *tokenizer = calloc(1, sizeof *tokenizer);
	if (!tokenizer) {
		tokenizer_description_free(description);
		error_set(error, ERROR_MEMORY, "not enough memory for a tokenizer");
		return NULL;
	}
	tokenizer->parts = *description;
	*description = (struct tokenizer_description){0};
	if (build(tokenizer, error))
		return tokenizer;
	tokenizer_destroy(tokenizer);
	return NULL;
}

struct tokenizer *tokenizer_read(const struct model_files *files, struct error *error)
{
	if (model_files_gguf(files))
		return tokenizer_load_gguf(model_files_gguf(files), error);
	const char *path = model_files_expect(files, MODEL_TOKENIZER);
	struct tokenizer_description description = {0};
	struct tokenizer *tokenizer = NULL;
	if (tokenizer_read_json(path, model_files_directory(files) ? files : NULL, &description, error)) {
		tokenizer = tokenizer_build(&description, error);
		if (!tokenizer)
			error_prefix(error, "%s", path);
	}
	tokenizer_description_free(&description);
	return tokenizer;
}

struct tokenizer *tokenizer_load(const char *path, struct error *error)
{
	struct model_files *files = model_files_open(path, error);
	struct tokenizer *tokenizer = files ? tokenizer_read(files, error) : NULL;
	model_files_close(files);
	return tokenizer;
}

/* ---- questions ---- */

int32_t tokenizer_vocab_size(const struct tokenizer *tokenizer)
{
	return (int32_t)tokenizer->n_ids;
}

const char *tokenizer_kind(const struct tokenizer *tokenizer)
{
	return tokenizer->bpe.options.byte_level      ? "bpe-byte-level"
	       : tokenizer->bpe.options.byte_fallback ? "bpe-byte-fallback"
	                                              : "bpe";
}

bool tokenizer_is_special(const struct tokenizer *tokenizer, int32_t id)
{
	return id >= 0 && (size_t)id < tokenizer->n_ids && tokenizer->special[id];
}

const char *tokenizer_token_text(const struct tokenizer *tokenizer, int32_t id, size_t *n_bytes)
{
	const struct added_token *added = added_token_by_id(&tokenizer->added, id);
	if (!added)
		return vocab_text(&tokenizer->parts.vocab, id, n_bytes);
	*n_bytes = added->n_bytes;
	return added->content;
}

void tokenizer_token_bytes(const struct tokenizer *tokenizer, int32_t id, struct bytes *out)
{
	size_t n_bytes;
	struct error error;
	const char *text = tokenizer_token_text(tokenizer, id, &n_bytes);
	if (text && tokenizer_is_special(tokenizer, id))
		bytes_append(out, text, n_bytes);
	else if (text && !decoder_token_bytes(&tokenizer->parts.decoder, text, n_bytes, out, &error))
		out->failed = true;
}

int32_t tokenizer_bos_id(const struct tokenizer *tokenizer)
{
	return tokenizer->bos_id;
}

int32_t tokenizer_eos_id(const struct tokenizer *tokenizer)
{
	return tokenizer->eos_id;
}

size_t tokenizer_bytes(const struct tokenizer *tokenizer)
{
	size_t n = sizeof *tokenizer + tokenizer->n_ids + tokenizer->bpe.n_bytes + vocab_bytes(&tokenizer->parts.vocab) +
	           added_tokens_bytes(&tokenizer->added) + tokenizer->parts.arena.used_bytes;
	for (int i = 0; i < tokenizer->parts.pretokenizer.n_steps; i++)
		if (tokenizer->parts.pretokenizer.steps[i].regex)
			n += regex_bytes(tokenizer->parts.pretokenizer.steps[i].regex);
	return n;
}

const int32_t *tokenizer_end_ids(const struct tokenizer *tokenizer, int *n_ids)
{
	*n_ids = tokenizer->parts.n_end_ids;
	return tokenizer->parts.end_ids;
}

/* ---- decoding ---- */

bool tokenizer_decode(const struct tokenizer *tokenizer, const int32_t *ids, size_t n_ids, bool skip_special,
                      struct bytes *out, struct error *error)
{
	const struct decoder *decoder = &tokenizer->parts.decoder;
	struct decoding decoding = {0};
	bool ok = true;
	for (size_t i = 0; ok && i < n_ids; i++) {
		size_t n_bytes;
		if (ids[i] < 0 || (size_t)ids[i] >= tokenizer->n_ids) {
			ok = error_set(error, ERROR_INVALID_REQUEST, "token id %d is not within 0..%d", ids[i],
			               (int)tokenizer->n_ids - 1);
			break;
		}
		const char *text = tokenizer_token_text(tokenizer, ids[i], &n_bytes);
		if (text && !(skip_special && tokenizer->special[ids[i]]))
			ok = decoding_push(decoder, &decoding, text, n_bytes, out, error);
	}
	decoding_end(decoder, &decoding, out);
	if (ok && out->failed)
		ok = error_set(error, ERROR_MEMORY, "not enough memory to decode %zu tokens", n_ids);
	decoding_free(&decoding);
	return ok;
}
