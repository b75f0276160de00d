/* Reader of Hugging Face's tokenizer.json: the model, added tokens and post-processor; the stages of the pipeline are
 * in tokenizer_json_stages.c. Strict where the reference is; what it knows and we do not is refused by name.
 * Truncation and padding are not looked at: prompts are never cut silently.
 */
#include "text/tokenizer_json.h"

#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "text/tokenizer_config.h"

enum { MAX_FILE_BYTES = 256 << 20, MAX_VALUES = 12000000 };

/* ---- fields ---- */

static bool wrong_type(const struct json *value, const char *where, const char *key, const char *expected,
                       struct error *error)
{
	if (!value)
		return error_set(error, ERROR_MODEL, "%s.%s is missing", where, key);
	return error_set(error, ERROR_MODEL, "%s.%s is %s, not %s", where, key, json_type_name(json_type(value)), expected);
}

bool entry_bool(const struct json *object, const char *where, const char *key, bool *out, struct error *error)
{
	const struct json *value = json_get(object, key);
	return (value && json_bool(value, out)) || wrong_type(value, where, key, "a boolean", error);
}

bool field_optional_bool(const struct json *object, const char *where, const char *key, bool *out, struct error *error)
{
	const struct json *value = json_get(object, key);
	return !value || json_type(value) == JSON_NULL || entry_bool(object, where, key, out, error);
}

const char *entry_string(const struct json *object, const char *where, const char *key, size_t *n_bytes,
                         struct error *error)
{
	const struct json *value = json_get(object, key);
	const char *text = value ? json_string(value, n_bytes) : NULL;
	if (!text && !wrong_type(value, where, key, "a string", error))
		return NULL;
	return text;
}

bool entry_copy(const struct json *object, const char *where, const char *key, struct arena *arena, const char **text,
                size_t *n_bytes, struct error *error)
{
	const char *found = entry_string(object, where, key, n_bytes, error);
	if (!found)
		return false;
	*text = arena_strdup(arena, found, *n_bytes);
	return *text || error_set(error, ERROR_MEMORY, "not enough memory for %s", where);
}

/* ---- model ---- */

static bool is_set(const struct json *value)
{
	return value && json_type(value) != JSON_NULL;
}

/* Old files do not name the model's type. */
static const char *model_type(const struct json *model)
{
	const struct json *type = json_get(model, "type"), *vocab = json_get(model, "vocab");
	if (is_set(type))
		return json_string(type, NULL);
	if (vocab && json_type(vocab) == JSON_ARRAY)
		return "Unigram";
	if (json_get(model, "merges"))
		return "BPE";
	return json_get(model, "max_input_chars_per_word") ? "WordPiece" : "WordLevel";
}

static bool read_vocab(const struct json *model, struct vocab *vocab, struct error *error)
{
	const struct json *object = json_get(model, "vocab");
	if (!object || json_type(object) != JSON_OBJECT)
		return wrong_type(object, "model", "vocab", "an object", error);
	for (const struct json *entry = json_first(object); entry; entry = json_next(entry)) {
		size_t n_bytes;
		const char *text = json_key(entry, &n_bytes);
		int64_t id;
		if (!json_int64(entry, &id))
			return error_set(error, ERROR_MODEL, "model.vocab: the id of entry %zu is not an integer",
			                 vocab->n_strings);
		if (!vocab_add(vocab, text, n_bytes, id, error))
			return error_prefix(error, "model.vocab");
	}
	return true;
}

struct halves {
	const char *left, *right;
	size_t n_left, n_right;
};

/* "left right", or ["left", "right"]. */
static bool read_halves(const struct json *value, struct halves *out)
{
	size_t n_bytes;
	const char *text = json_string(value, &n_bytes);
	if (text) {
		const char *space = memchr(text, ' ', n_bytes);
		size_t n_left = space ? (size_t)(space - text) : 0;
		if (!space || memchr(space + 1, ' ', n_bytes - n_left - 1))
			return false;
		*out = (struct halves){text, space + 1, n_left, n_bytes - n_left - 1};
		return true;
	}
	const struct json *left = json_first(value), *right = left ? json_next(left) : NULL;
	if (!right || json_next(right) || json_type(value) != JSON_ARRAY)
		return false;
	out->left = json_string(left, &out->n_left);
	out->right = json_string(right, &out->n_right);
	return out->left && out->right;
}

static bool read_merge(const struct json *value, const struct vocab *vocab, struct bytes *joined, size_t index,
                       struct bpe_merge *merge, struct error *error)
{
	struct halves halves;
	if (!read_halves(value, &halves))
		return error_set(error, ERROR_MODEL, "model.merges[%zu] is not a pair of tokens", index);
	bytes_clear(joined);
	bytes_append(joined, halves.left, halves.n_left);
	bytes_append(joined, halves.right, halves.n_right);
	if (joined->failed)
		return error_set(error, ERROR_MEMORY, "not enough memory for the merges");
	merge->left = vocab_find(vocab, halves.left, halves.n_left);
	merge->right = vocab_find(vocab, halves.right, halves.n_right);
	merge->merged = vocab_find(vocab, joined->data, joined->n_bytes);
	const char *absent = merge->left < 0     ? "its left half"
	                     : merge->right < 0  ? "its right half"
	                     : merge->merged < 0 ? "the token it makes"
	                                         : NULL;
	return !absent || error_set(error, ERROR_MODEL, "model.merges[%zu]: %s is not in model.vocab", index, absent);
}

static bool read_merges(const struct json *model, struct tokenizer_description *out, struct error *error)
{
	const struct json *array = json_get(model, "merges");
	if (!array)
		return error_set(error, ERROR_MODEL, "model.merges is missing (and model.vocab has %zu tokens: is it a stub?)",
		                 out->vocab.n_strings);
	if (json_type(array) != JSON_ARRAY)
		return wrong_type(array, "model", "merges", "an array", error);
	size_t n = json_count(array), n_bytes;
	if (!checked_mul(n + 1, sizeof *out->merges, &n_bytes) || !(out->merges = malloc(n_bytes)))
		return error_set(error, ERROR_MEMORY, "not enough memory for %zu merges", n);
	struct bytes joined = {0};
	bool ok = true;
	size_t index = 0;
	for (const struct json *value = json_first(array); ok && value; value = json_next(value), index++) {
		const char *line = json_string(value, NULL);
		if (line && !strncmp(line, "#version", 8))
			continue;
		struct bpe_merge *merge = &out->merges[out->n_merges];
		ok = read_merge(value, &out->vocab, &joined, index, merge, error);
		merge->rank = (uint32_t)out->n_merges++;
	}
	bytes_free(&joined);
	return ok;
}

static bool read_affix(const struct json *model, const char *key, struct error *error)
{
	const struct json *value = json_get(model, key);
	size_t n_bytes = 0;
	if (is_set(value) && !json_string(value, &n_bytes))
		return wrong_type(value, "model", key, "a string", error);
	return n_bytes == 0 || error_set(error, ERROR_MODEL, "model.%s is not supported", key);
}

static bool read_model(const struct json *model, struct tokenizer_description *out, struct error *error)
{
	if (!model || json_type(model) != JSON_OBJECT)
		return error_set(error, ERROR_MODEL, "model is %s, not an object",
		                 model ? json_type_name(json_type(model)) : "missing");
	const char *type = model_type(model);
	if (!type || strcmp(type, "BPE") != 0)
		return error_set(error, ERROR_MODEL, "model.type %s is not supported, only BPE is",
		                 type ? type : "(no string)");
	const struct json *dropout = json_get(model, "dropout");
	double rate;
	if (is_set(dropout) && (!json_double(dropout, &rate) || rate != 0))
		return error_set(error, ERROR_MODEL, "model.dropout is set: encoding would be random");
	out->bpe.has_unknown = is_set(json_get(model, "unk_token"));
	return read_affix(model, "continuing_subword_prefix", error) && read_affix(model, "end_of_word_suffix", error) &&
	       (!out->bpe.has_unknown ||
	        entry_copy(model, "model", "unk_token", &out->arena, &out->unknown, &out->n_unknown, error)) &&
	       field_optional_bool(model, "model", "fuse_unk", &out->bpe.fuse_unknown, error) &&
	       field_optional_bool(model, "model", "byte_fallback", &out->bpe.byte_fallback, error) &&
	       field_optional_bool(model, "model", "ignore_merges", &out->bpe.ignore_merges, error) &&
	       read_vocab(model, &out->vocab, error) && read_merges(model, out, error);
}

/* ---- added tokens ---- */

bool description_add_token(struct tokenizer_description *description, const struct added_token *token,
                           struct error *error)
{
	if (description->n_added == description->max_added) {
		size_t n = description->max_added ? 2 * description->max_added : 16, n_bytes;
		struct added_token *added =
		    checked_mul(n, sizeof *added, &n_bytes) ? realloc(description->added, n_bytes) : NULL;
		if (!added)
			return error_set(error, ERROR_MEMORY, "not enough memory for the added tokens");
		description->added = added;
		description->max_added = n;
	}
	description->added[description->n_added++] = *token;
	return true;
}

static bool read_added(const struct json *array, struct tokenizer_description *out, struct error *error)
{
	if (!is_set(array))
		return true;
	if (json_type(array) != JSON_ARRAY)
		return error_set(error, ERROR_MODEL, "added_tokens is %s, not an array", json_type_name(json_type(array)));
	for (const struct json *item = json_first(array); item; item = json_next(item)) {
		struct added_token token = {.id = -1};
		int64_t id;
		if (json_int64(json_get(item, "id"), &id) && id >= 0 && id <= VOCAB_MAX_ID)
			token.id = (int32_t)id;
		if (!entry_copy(item, "it", "content", &out->arena, &token.content, &token.n_bytes, error) ||
		    !entry_bool(item, "it", "single_word", &token.single_word, error) ||
		    !entry_bool(item, "it", "lstrip", &token.lstrip, error) ||
		    !entry_bool(item, "it", "rstrip", &token.rstrip, error) ||
		    !entry_bool(item, "it", "normalized", &token.normalized, error) ||
		    !entry_bool(item, "it", "special", &token.special, error) || !description_add_token(out, &token, error))
			return error_prefix(error, "added_tokens[%zu]", out->n_added);
	}
	return true;
}

/* ---- post-processor ---- */

static bool add_item(struct tokenizer_description *out, int64_t item, struct error *error)
{
	if (out->n_template == TEMPLATE_MAX_ITEMS)
		return error_set(error, ERROR_MODEL, "post_processor: more than %d tokens", TEMPLATE_MAX_ITEMS);
	out->template[out->n_template++] = (int32_t)item;
	return true;
}

static bool add_special_ids(const struct json *processor, const struct json *piece, struct tokenizer_description *out,
                            struct error *error)
{
	const char *name = entry_string(piece, "post_processor.single[].SpecialToken", "id", NULL, error);
	if (!name)
		return false;
	const struct json *ids = json_get(json_get(json_get(processor, "special_tokens"), name), "ids");
	if (!ids || json_type(ids) != JSON_ARRAY)
		return error_set(error, ERROR_MODEL, "post_processor.special_tokens has no ids for %s", name);
	for (const struct json *value = json_first(ids); value; value = json_next(value)) {
		int64_t id;
		if (!json_int64(value, &id) || id < 0 || id > VOCAB_MAX_ID)
			return error_set(error, ERROR_MODEL, "post_processor.special_tokens: an id of %s is not within 0..%d", name,
			                 VOCAB_MAX_ID);
		if (!add_item(out, id, error))
			return false;
	}
	return true;
}

static bool read_template(const struct json *processor, struct tokenizer_description *out, struct error *error)
{
	const struct json *single = json_get(processor, "single");
	int n_texts = 0;
	if (out->n_template > 0)
		return error_set(error, ERROR_MODEL, "post_processor: more than one TemplateProcessing is not supported");
	if (!single || json_type(single) != JSON_ARRAY)
		return wrong_type(single, "post_processor", "single", "an array", error);
	/* Also of pieces that stand for nothing: each is looked up in the whole list of special tokens. */
	if (json_count(single) > TEMPLATE_MAX_ITEMS)
		return error_set(error, ERROR_MODEL, "post_processor.single: more than %d pieces", TEMPLATE_MAX_ITEMS);
	for (const struct json *piece = json_first(single); piece; piece = json_next(piece)) {
		const struct json *special = json_get(piece, "SpecialToken"), *sequence = json_get(piece, "Sequence");
		if (special) {
			if (!add_special_ids(processor, special, out, error))
				return false;
			continue;
		}
		const struct json *id = json_get(sequence, "id");
		const char *name = id ? json_string(id, NULL) : NULL;
		if (!name || strcmp(name, "A") != 0)
			return error_set(error, ERROR_MODEL,
			                 "post_processor.single: a piece is neither a SpecialToken nor Sequence A");
		if (n_texts++ == TEMPLATE_MAX_TEXTS)
			return error_set(error, ERROR_MODEL, "post_processor.single: Sequence A more than %d times",
			                 TEMPLATE_MAX_TEXTS);
		if (!add_item(out, TEMPLATE_TEXT, error))
			return false;
	}
	return out->n_template > 0 || error_set(error, ERROR_MODEL, "post_processor.single is empty");
}

static bool read_processor(const struct json *processor, struct tokenizer_description *out, struct error *error)
{
	const char *type = entry_string(processor, "post_processor", "type", NULL, error);
	if (!type)
		return false;
	if (!strcmp(type, "ByteLevel")) /* only trims offsets, which are not kept here */
		return true;
	if (!strcmp(type, "TemplateProcessing"))
		return read_template(processor, out, error);
	if (strcmp(type, "Sequence") != 0)
		return error_set(error, ERROR_MODEL, "post_processor %s is not supported", type);
	const struct json *list = json_get(processor, "processors");
	if (!list || json_type(list) != JSON_ARRAY)
		return wrong_type(list, "post_processor", "processors", "an array", error);
	/* Nesting is bounded by the JSON reader. */
	for (const struct json *item = json_first(list); item; item = json_next(item))
		if (!read_processor(item, out, error))
			return false;
	return true;
}

static bool read_post_processor(const struct json *processor, struct tokenizer_description *out, struct error *error)
{
	if (is_set(processor) && !read_processor(processor, out, error))
		return false;
	return out->n_template > 0 || add_item(out, TEMPLATE_TEXT, error);
}

/* ---- the file ---- */

static bool read_document(const struct json *document, const char *path, const struct model_files *files,
                          struct tokenizer_description *out, struct error *error)
{
	const struct json *version = json_get(document, "version"), *cut = json_get(document, "pre_tokenizer");
	struct tokenizer_config config = {0};
	if (json_type(document) != JSON_OBJECT)
		return error_set(error, ERROR_MODEL, "%s: the file is %s, not an object", path,
		                 json_type_name(json_type(document)));
	if (version && (!json_string(version, NULL) || strcmp(json_string(version, NULL), "1.0") != 0))
		return error_set(error, ERROR_MODEL, "%s: version is not \"1.0\"", path);
	if (!read_model(json_get(document, "model"), out, error) ||
	    !read_added(json_get(document, "added_tokens"), out, error))
		return error_prefix(error, "%s", path);
	if (files && !tokenizer_read_config(files, document, &config, out, error))
		return false;
	bool ok = read_normalizer(json_get(document, "normalizer"), out, error) &&
	          (config.tekken_words ? read_tekken_pretokenizer : read_pretokenizer)(cut, out, error) &&
	          read_decoder(json_get(document, "decoder"), out, error) &&
	          read_post_processor(json_get(document, "post_processor"), out, error);
	if (!ok)
		return error_prefix(error, "%s", path);
	tokenizer_apply_config(&config, cut, out);
	return true;
}

bool tokenizer_read_json(const char *path, const struct model_files *files, struct tokenizer_description *description,
                         struct error *error)
{
	struct json_limits limits = {.max_values = MAX_VALUES, .allow_duplicates = true};
	struct json *document = json_parse_file(path, MAX_FILE_BYTES, &limits, error);
	if (!document)
		return false;
	bool ok = read_document(document, path, files, description, error);
	json_destroy(document);
	return ok;
}
