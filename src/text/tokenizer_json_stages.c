/* The pipeline's stages in tokenizer.json. Sequences may be nested (as deep as the JSON reader allows) and are laid
 * flat. */
#include <string.h>

#include "text/tokenizer_json.h"
#include "text/unicode.h"

static bool is_set(const struct json *value)
{
	return value && json_type(value) != JSON_NULL;
}

/* The list of a Sequence. */
static bool sequence_items(const struct json *sequence, const char *where, const char *key, const struct json **items,
                           struct error *error)
{
	*items = json_get(sequence, key);
	return (*items && json_type(*items) == JSON_ARRAY) ||
	       error_set(error, ERROR_MODEL, "%s.%s is missing or no array", where, key);
}

/* {"String": ...} or {"Regex": ...}. An empty string is left to the regular expressions: it matches everywhere. */
static bool read_pattern(const struct json *stage, const char *where, struct arena *arena, const char **text,
                         size_t *n_bytes, struct regex **regex, struct error *error)
{
	const struct json *pattern = json_get(stage, "pattern");
	bool is_string = json_get(pattern, "String") != NULL;
	if (!entry_copy(pattern, where, is_string ? "String" : "Regex", arena, text, n_bytes, error))
		return error_prefix(error, "pattern");
	if (is_string && *n_bytes > 0)
		return true;
	*regex = regex_compile(*text, *n_bytes, error);
	return *regex || error_prefix(error, "%s", where);
}

/* A string of one character. */
static bool read_char(const struct json *stage, const char *where, const char *key, struct arena *arena,
                      const char **text, size_t *n_bytes, struct error *error)
{
	if (!entry_copy(stage, where, key, arena, text, n_bytes, error))
		return false;
	return (*n_bytes > 0 && char_length((unsigned char)**text) == *n_bytes) ||
	       error_set(error, ERROR_MODEL, "%s.%s is not one character", where, key);
}

static bool unsupported(const char *where, const char *type, struct error *error)
{
	return error_set(error, ERROR_MODEL, "%s %s is not supported", where, type);
}

/* ---- normalizers ---- */

static bool read_normalizer_step(const struct json *stage, const char *type, struct arena *arena,
                                 struct normalizer_step *step, struct error *error)
{
	static const struct {
		const char *type;
		enum normalizer_kind kind;
	} plain[] = {
	    {"NFC", NORMALIZER_NFC},
	    {"NFD", NORMALIZER_NFD},
	    {"NFKC", NORMALIZER_NFKC},
	    {"NFKD", NORMALIZER_NFKD},
	    {"Lowercase", NORMALIZER_LOWERCASE},
	    {"StripAccents", NORMALIZER_STRIP_ACCENTS},
	};
	for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
		if (!strcmp(type, plain[i].type)) {
			step->kind = plain[i].kind;
			return true;
		}
	if (!strcmp(type, "Prepend")) {
		step->kind = NORMALIZER_PREPEND;
		return entry_copy(stage, "normalizer", "prepend", arena, &step->text, &step->n_text, error);
	}
	if (!strcmp(type, "Replace")) {
		step->kind = NORMALIZER_REPLACE;
		return read_pattern(stage, "normalizer", arena, &step->pattern, &step->n_pattern, &step->regex, error) &&
		       entry_copy(stage, "normalizer", "content", arena, &step->text, &step->n_text, error);
	}
	if (!strcmp(type, "Strip")) {
		step->kind = NORMALIZER_STRIP;
		return entry_bool(stage, "normalizer", "strip_left", &step->left, error) &&
		       entry_bool(stage, "normalizer", "strip_right", &step->right, error);
	}
	return unsupported("normalizer", type, error);
}

bool read_normalizer(const struct json *stage, struct tokenizer_description *out, struct error *error)
{
	struct normalizer *normalizer = &out->normalizer;
	if (!is_set(stage))
		return true;
	const char *type = entry_string(stage, "normalizer", "type", NULL, error);
	if (!type)
		return false;
	if (!strcmp(type, "Sequence")) {
		const struct json *items;
		if (!sequence_items(stage, "normalizer", "normalizers", &items, error))
			return false;
		for (const struct json *item = json_first(items); item; item = json_next(item))
			if (!read_normalizer(item, out, error))
				return false;
		return true;
	}
	if (normalizer->n_steps == NORMALIZER_MAX_STEPS)
		return error_set(error, ERROR_MODEL, "normalizer: more than %d steps", NORMALIZER_MAX_STEPS);
	return read_normalizer_step(stage, type, &out->arena, &normalizer->steps[normalizer->n_steps++], error);
}

/* ---- pre-tokenizers ---- */

static bool read_behavior(const struct json *stage, enum split_behavior *out, struct error *error)
{
	static const char *const names[] = {
	    [SPLIT_REMOVED] = "Removed",
	    [SPLIT_ISOLATED] = "Isolated",
	    [SPLIT_MERGED_WITH_PREVIOUS] = "MergedWithPrevious",
	    [SPLIT_MERGED_WITH_NEXT] = "MergedWithNext",
	    [SPLIT_CONTIGUOUS] = "Contiguous",
	};
	const char *name = entry_string(stage, "pre_tokenizer", "behavior", NULL, error);
	if (!name)
		return false;
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (!strcmp(name, names[i])) {
			*out = (enum split_behavior)i;
			return true;
		}
	return error_set(error, ERROR_MODEL, "pre_tokenizer.behavior %s is unknown", name);
}

/* The scheme of a Metaspace, pre-tokenizer or decoder; add_prefix_space is its older form. */
static bool read_prepend_scheme(const struct json *stage, const char *where, enum metaspace_prepend *out,
                                struct error *error)
{
	bool prefix_space = true;
	*out = METASPACE_ALWAYS;
	if (!field_optional_bool(stage, where, "add_prefix_space", &prefix_space, error))
		return false;
	if (json_get(stage, "prepend_scheme")) {
		const char *scheme = entry_string(stage, where, "prepend_scheme", NULL, error);
		if (!scheme)
			return false;
		if (!strcmp(scheme, "never"))
			*out = METASPACE_NEVER;
		else if (!strcmp(scheme, "first"))
			*out = METASPACE_FIRST;
		else if (strcmp(scheme, "always") != 0)
			return error_set(error, ERROR_MODEL, "%s.prepend_scheme %s is unknown", where, scheme);
	}
	if (!prefix_space && *out != METASPACE_NEVER)
		return error_set(error, ERROR_MODEL, "%s: add_prefix_space does not go with prepend_scheme", where);
	return true;
}

static bool read_metaspace(const struct json *stage, struct arena *arena, struct pretokenizer_step *step,
                           struct error *error)
{
	step->kind = PRETOKENIZER_METASPACE;
	step->split = true;
	return read_char(stage, "pre_tokenizer", "replacement", arena, &step->text, &step->n_text, error) &&
	       read_prepend_scheme(stage, "pre_tokenizer", &step->prepend, error) &&
	       field_optional_bool(stage, "pre_tokenizer", "split", &step->split, error);
}

static bool read_byte_level(const struct json *stage, struct pretokenizer_step *step, struct error *error)
{
	bool use_regex = true;
	step->kind = PRETOKENIZER_BYTE_LEVEL;
	if (!entry_bool(stage, "pre_tokenizer", "add_prefix_space", &step->add_prefix_space, error) ||
	    !field_optional_bool(stage, "pre_tokenizer", "use_regex", &use_regex, error))
		return false;
	return !use_regex || (step->regex = pretokenizer_gpt2_regex(error)) != NULL;
}

static bool read_pretokenizer_step(const struct json *stage, const char *type, struct arena *arena,
                                   struct pretokenizer_step *step, struct error *error)
{
	if (!strcmp(type, "ByteLevel"))
		return read_byte_level(stage, step, error);
	if (!strcmp(type, "Metaspace"))
		return read_metaspace(stage, arena, step, error);
	if (!strcmp(type, "Split")) {
		step->kind = PRETOKENIZER_SPLIT;
		return read_pattern(stage, "pre_tokenizer", arena, &step->text, &step->n_text, &step->regex, error) &&
		       read_behavior(stage, &step->behavior, error) &&
		       entry_bool(stage, "pre_tokenizer", "invert", &step->invert, error);
	}
	if (!strcmp(type, "Digits")) {
		bool individual = false;
		step->kind = PRETOKENIZER_DIGITS;
		if (!entry_bool(stage, "pre_tokenizer", "individual_digits", &individual, error))
			return false;
		step->behavior = individual ? SPLIT_ISOLATED : SPLIT_CONTIGUOUS;
		return true;
	}
	if (!strcmp(type, "Punctuation")) {
		step->kind = PRETOKENIZER_PUNCTUATION;
		step->behavior = SPLIT_ISOLATED;
		return !json_get(stage, "behavior") || read_behavior(stage, &step->behavior, error);
	}
	if (!strcmp(type, "Whitespace") || !strcmp(type, "WhitespaceSplit")) {
		step->kind = type[10] ? PRETOKENIZER_WHITESPACE_SPLIT : PRETOKENIZER_WHITESPACE;
		step->behavior = SPLIT_REMOVED;
		return true;
	}
	return unsupported("pre_tokenizer", type, error);
}

static bool check_growth(const struct pretokenizer *pretokenizer, struct error *error)
{
	int n = 0;
	for (int i = 0; i < pretokenizer->n_steps; i++) {
		enum pretokenizer_kind kind = pretokenizer->steps[i].kind;
		n += kind == PRETOKENIZER_BYTE_LEVEL || kind == PRETOKENIZER_METASPACE;
	}
	return n <= PRETOKENIZER_MAX_GROWING_STEPS ||
	       error_set(error, ERROR_MODEL, "pre_tokenizer: more than %d ByteLevel and Metaspace steps",
	                 PRETOKENIZER_MAX_GROWING_STEPS);
}

bool read_pretokenizer(const struct json *stage, struct tokenizer_description *out, struct error *error)
{
	struct pretokenizer *pretokenizer = &out->pretokenizer;
	if (!is_set(stage))
		return true;
	const char *type = entry_string(stage, "pre_tokenizer", "type", NULL, error);
	if (!type)
		return false;
	if (!strcmp(type, "Sequence")) {
		const struct json *items;
		if (!sequence_items(stage, "pre_tokenizer", "pretokenizers", &items, error))
			return false;
		for (const struct json *item = json_first(items); item; item = json_next(item))
			if (!read_pretokenizer(item, out, error))
				return false;
		return true;
	}
	if (pretokenizer->n_steps == PRETOKENIZER_MAX_STEPS)
		return error_set(error, ERROR_MODEL, "pre_tokenizer: more than %d steps", PRETOKENIZER_MAX_STEPS);
	return read_pretokenizer_step(stage, type, &out->arena, &pretokenizer->steps[pretokenizer->n_steps++], error) &&
	       check_growth(pretokenizer, error);
}

/* In a Sequence the first stage is replaced, else the words are cut before the stage; Metaspace would lose the spaces
 * then, and the byte-level alphabet takes its place. */
bool read_tekken_pretokenizer(const struct json *stage, struct tokenizer_description *out, struct error *error)
{
	struct pretokenizer *pretokenizer = &out->pretokenizer;
	struct pretokenizer_step *step = &pretokenizer->steps[pretokenizer->n_steps++];
	*step = (struct pretokenizer_step){.kind = PRETOKENIZER_SPLIT, .behavior = SPLIT_ISOLATED};
	step->regex = pretokenizer_tekken_regex(error);
	const char *type = step->regex ? entry_string(stage, "pre_tokenizer", "type", NULL, error) : NULL;
	if (!type)
		return false;
	if (!strcmp(type, "Metaspace")) {
		pretokenizer->steps[pretokenizer->n_steps++] = (struct pretokenizer_step){.kind = PRETOKENIZER_BYTE_LEVEL};
		return true;
	}
	if (strcmp(type, "Sequence") != 0)
		return read_pretokenizer(stage, out, error);
	const struct json *items;
	if (!sequence_items(stage, "pre_tokenizer", "pretokenizers", &items, error))
		return false;
	const struct json *first = json_first(items);
	for (const struct json *item = first ? json_next(first) : NULL; item; item = json_next(item))
		if (!read_pretokenizer(item, out, error))
			return false;
	return true;
}

/* ---- decoders ---- */

static bool read_count(const struct json *stage, const char *key, uint32_t *out, struct error *error)
{
	const struct json *value = json_get(stage, key);
	int64_t count;
	if (!value || !json_int64(value, &count) || count < 0 || count > INT32_MAX)
		return error_set(error, ERROR_MODEL, "decoder.%s is not a count", key);
	*out = (uint32_t)count;
	return true;
}

static bool read_decoder_step(const struct json *stage, const char *type, struct arena *arena,
                              struct decoder_step *step, struct error *error)
{
	if (!strcmp(type, "ByteLevel") || !strcmp(type, "ByteFallback") || !strcmp(type, "Fuse")) {
		step->kind = type[0] == 'F' ? DECODER_FUSE : type[4] == 'L' ? DECODER_BYTE_LEVEL : DECODER_BYTE_FALLBACK;
		return true;
	}
	if (!strcmp(type, "Replace")) {
		step->kind = DECODER_REPLACE;
		return read_pattern(stage, "decoder", arena, &step->pattern, &step->n_pattern, &step->regex, error) &&
		       entry_copy(stage, "decoder", "content", arena, &step->text, &step->n_text, error);
	}
	if (!strcmp(type, "Strip")) {
		step->kind = DECODER_STRIP;
		return read_char(stage, "decoder", "content", arena, &step->text, &step->n_text, error) &&
		       read_count(stage, "start", &step->start, error) && read_count(stage, "stop", &step->stop, error);
	}
	if (!strcmp(type, "Metaspace")) {
		enum metaspace_prepend scheme;
		step->kind = DECODER_METASPACE;
		if (!read_char(stage, "decoder", "replacement", arena, &step->pattern, &step->n_pattern, error) ||
		    !read_prepend_scheme(stage, "decoder", &scheme, error))
			return false;
		step->drops_first = scheme != METASPACE_NEVER;
		return true;
	}
	return unsupported("decoder", type, error);
}

static bool read_decoder_stage(const struct json *stage, struct tokenizer_description *out, struct error *error)
{
	struct decoder *decoder = &out->decoder;
	const char *type = entry_string(stage, "decoder", "type", NULL, error);
	if (!type)
		return false;
	if (!strcmp(type, "Sequence")) {
		const struct json *items;
		if (!sequence_items(stage, "decoder", "decoders", &items, error))
			return false;
		for (const struct json *item = json_first(items); item; item = json_next(item))
			if (!read_decoder_stage(item, out, error))
				return false;
		return true;
	}
	if (decoder->n_steps == DECODER_MAX_STEPS)
		return error_set(error, ERROR_MODEL, "decoder: more than %d steps", DECODER_MAX_STEPS);
	return read_decoder_step(stage, type, &out->arena, &decoder->steps[decoder->n_steps++], error);
}

bool read_decoder(const struct json *stage, struct tokenizer_description *out, struct error *error)
{
	out->decoder.spaces = !is_set(stage);
	return out->decoder.spaces || read_decoder_stage(stage, out, error);
}
