/* tokenizer_config.json, special_tokens_map.json and added_tokens.json. */
#include "text/tokenizer_config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "tensor/model_files.h"
#include "text/tokenizer_json.h"

enum { MAX_CONFIG_BYTES = 32 << 20, N_STANDARD = 7 }; /* chat templates stand in it too */

static const char *const standard_names[N_STANDARD] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                                       "pad_token", "cls_token", "mask_token"};

/* A token by the name of its role. */
struct named_token {
	const char *file, *role;
	const struct json *value; /* a string or an object; NULL: the class's default, in `text` */
	const char *text;         /* borrowed from the documents */
	size_t n_bytes;
};

/* One of added_tokens_decoder. */
struct listed_token {
	int64_t number;
	size_t order;
	struct added_token token;
};

struct reading {
	const struct model_files *files;
	const struct json *document;      /* tokenizer.json */
	struct json *config, *map, *list; /* the three files; NULL where there is none */
	bool has_decoder;                 /* added_tokens_decoder is there */
	const struct tokenizer_class *class;
	struct named_token *named; /* [n_named] */
	size_t n_named;
	struct vocab names; /* contents of the named tokens */
	struct vocab known; /* contents of tokens that need not be added again */
	struct tokenizer_description *out;
	struct error *error;
};

static bool is_set(const struct json *value)
{
	return value && json_type(value) != JSON_NULL;
}

static bool add_text(struct vocab *vocab, const char *text, size_t n_bytes, struct error *error)
{
	return vocab_find(vocab, text, n_bytes) >= 0 || vocab_add(vocab, text, n_bytes, (int64_t)vocab->n_strings, error);
}

static bool has_text(const struct vocab *vocab, const char *text, size_t n_bytes)
{
	return vocab_find(vocab, text, n_bytes) >= 0;
}

/* ---- one token ---- */

/* The content of a string or an object; NULL with the error set. */
static const char *content_of(const struct json *value, const char *key, size_t *n_bytes, struct error *error)
{
	if (json_type(value) == JSON_OBJECT)
		return entry_string(value, key, "content", n_bytes, error);
	const char *text = json_string(value, n_bytes);
	if (!text)
		error_set(error, ERROR_MODEL, "%s is %s, not a string or an object", key, json_type_name(json_type(value)));
	return text;
}

/* Strings are special, objects as they say (`special` when they do not), and those that have a name always are. Without a
 * word of it special tokens are not normalized and others are. */
static bool read_token(const struct reading *r, const struct json *value, const char *key, bool special,
                       struct added_token *token)
{
	*token = (struct added_token){.id = -1, .special = special};
	const char *text = content_of(value, key, &token->n_bytes, r->error);
	if (!text)
		return false;
	if (token->n_bytes > ADDED_TOKEN_MAX_BYTES)
		return error_set(r->error, ERROR_MODEL, "%s has %zu bytes, at most %d are taken", key, token->n_bytes,
		                 ADDED_TOKEN_MAX_BYTES);
	token->content = arena_strdup(&r->out->arena, text, token->n_bytes);
	if (!token->content)
		return error_set(r->error, ERROR_MEMORY, "not enough memory for %s", key);
	if (!field_optional_bool(value, key, "special", &token->special, r->error))
		return false;
	token->special = token->special || has_text(&r->names, text, token->n_bytes);
	token->normalized = !token->special;
	return field_optional_bool(value, key, "single_word", &token->single_word, r->error) &&
	       field_optional_bool(value, key, "lstrip", &token->lstrip, r->error) &&
	       field_optional_bool(value, key, "rstrip", &token->rstrip, r->error) &&
	       field_optional_bool(value, key, "normalized", &token->normalized, r->error);
}

/* ---- named tokens ---- */

static bool add_named(struct reading *r, const char *file, const char *role, const struct json *value)
{
	struct named_token *named = &r->named[r->n_named];
	*named = (struct named_token){.file = file, .role = role, .value = value};
	named->text = content_of(value, role, &named->n_bytes, r->error);
	if (!named->text)
		return error_prefix(r->error, "%s", file);
	r->n_named++;
	return add_text(&r->names, named->text, named->n_bytes, r->error);
}

/* Only where the vocabulary has it: a token that no text and no model knows would only take an id. */
static bool add_default(struct reading *r, const char *role, const char *text)
{
	if (!text || (vocab_find(&r->out->vocab, text, strlen(text)) < 0 && !has_text(&r->known, text, strlen(text))))
		return true;
	r->named[r->n_named++] = (struct named_token){.role = role, .text = text, .n_bytes = strlen(text)};
	return add_text(&r->names, text, strlen(text), r->error);
}

static const char *class_default(const struct tokenizer_class *class, const char *role)
{
	if (!class)
		return NULL;
	return !strcmp(role, "bos_token")   ? class->bos
	       : !strcmp(role, "eos_token") ? class->eos
	       : !strcmp(role, "unk_token") ? class->unknown
	       : !strcmp(role, "pad_token") ? class->pad
	                                    : NULL;
}

/* bos, eos, unk, sep, pad, cls, mask. null takes the default away. */
static bool name_standard(struct reading *r)
{
	for (int i = 0; i < N_STANDARD; i++) {
		const char *role = standard_names[i];
		const struct json *mapped = json_get(r->map, role), *value = mapped ? mapped : json_get(r->config, role);
		const struct json *padding = json_get(json_get(r->document, "padding"), "pad_token");
		if (!value && !strcmp(role, "pad_token") && json_string(padding, NULL))
			value = padding;
		if (!value && !add_default(r, role, class_default(r->class, role)))
			return false;
		if (is_set(value) && !add_named(r, mapped ? "special_tokens_map.json" : "tokenizer_config.json", role, value))
			return false;
	}
	return true;
}

static bool is_standard(const char *role)
{
	for (int i = 0; i < N_STANDARD; i++)
		if (!strcmp(role, standard_names[i]))
			return true;
	return false;
}

static bool is_other_role(const char *key, size_t n_bytes)
{
	if (n_bytes < 7 || strcmp(key + n_bytes - 6, "_token") != 0)
		return false;
	return !is_standard(key);
}

static bool is_token_object(const struct json *value)
{
	const char *type = json_string(json_get(value, "__type"), NULL);
	return type && !strcmp(type, "AddedToken");
}

/* Keys of the model's own ("image_token"), the objects or the strings among them. Other values are settings. */
static bool name_others(struct reading *r, const struct json *object, const char *file, bool objects)
{
	for (const struct json *value = json_first(object); value; value = json_next(value)) {
		size_t n_bytes;
		const char *key = json_key(value, &n_bytes);
		bool token = object == r->map ? json_type(value) == JSON_OBJECT : is_token_object(value);
		bool wanted = objects ? token : json_string(value, NULL) != NULL;
		if (wanted && is_other_role(key, n_bytes) && !add_named(r, file, key, value))
			return false;
	}
	return true;
}

static bool name_extra(struct reading *r)
{
	const struct json *extra = json_get(r->config, "extra_special_tokens");
	if (!extra || json_type(extra) != JSON_OBJECT)
		return true;
	for (const struct json *value = json_first(extra); value; value = json_next(value))
		if (!add_named(r, "tokenizer_config.json", json_key(value, NULL), value))
			return false;
	return true;
}

static bool gather_names(struct reading *r)
{
	const struct json *extra = json_get(r->config, "extra_special_tokens");
	size_t n = 2 * N_STANDARD + 2 * json_count(r->config) + 2 * json_count(r->map) + json_count(extra);
	r->named = arena_array(&r->out->arena, n, sizeof *r->named);
	if (!r->named)
		return error_set(r->error, ERROR_MEMORY, "not enough memory for the named tokens");
	return name_standard(r) && name_others(r, r->config, "tokenizer_config.json", true) &&
	       name_others(r, r->map, "special_tokens_map.json", true) &&
	       name_others(r, r->map, "special_tokens_map.json", false) &&
	       name_others(r, r->config, "tokenizer_config.json", false) && name_extra(r);
}

/* ---- extra special tokens ---- */

static const struct json *list_of(const struct json *object, const char *key)
{
	const struct json *value = json_get(object, key);
	return value && json_type(value) == JSON_ARRAY && json_count(value) ? value : NULL;
}

/* The lists that count, in order; those that do not count are NULL. The older name, additional_special_tokens, counts
 * where the newer one is not there, and special_tokens_map.json's where tokenizer_config.json has neither. */
static void extra_lists(const struct reading *r, const struct json *lists[2])
{
	const struct json *own = json_get(r->config, "extra_special_tokens");
	const struct json *mapped = json_get(r->map, "additional_special_tokens");
	bool named = own && json_type(own) == JSON_OBJECT;
	bool has_older = json_get(r->config, "additional_special_tokens") != NULL;
	lists[0] = list_of(r->config, "extra_special_tokens");
	if (!lists[0] && !(named && json_count(own) && mapped))
		lists[0] = list_of(r->config, "additional_special_tokens");
	lists[1] = list_of(r->map, "extra_special_tokens");
	if (!lists[1] && (named ? json_count(own) || !has_older : !own && !has_older))
		lists[1] = list_of(r->map, "additional_special_tokens");
}

static bool add_extra(struct reading *r)
{
	const struct json *lists[2];
	extra_lists(r, lists);
	for (int i = 0; i < 2; i++) {
		const char *file = i ? "special_tokens_map.json" : "tokenizer_config.json";
		for (const struct json *value = json_first(lists[i]); value; value = json_next(value)) {
			struct added_token token;
			bool special = json_type(value) == JSON_STRING || !is_token_object(value);
			if (!read_token(r, value, "a token of extra_special_tokens", special, &token))
				return error_prefix(r->error, "%s", file);
			if (!has_text(&r->known, token.content, token.n_bytes) && !description_add_token(r->out, &token, r->error))
				return false;
		}
	}
	return true;
}

/* ---- added_tokens_decoder, and what stood for it before there was one ---- */

static int by_number(const void *a, const void *b)
{
	const struct listed_token *x = a, *y = b;
	if (x->number != y->number)
		return x->number < y->number ? -1 : 1;
	return x->order < y->order ? -1 : x->order > y->order;
}

static bool read_number(const char *key, int64_t *number)
{
	char *end;
	errno = 0;
	*number = strtoll(key, &end, 10);
	return end != key && !*end && errno == 0 && *number >= 0 && *number <= VOCAB_MAX_ID;
}

static bool read_decoder_entries(struct reading *r, const struct json *decoder, struct listed_token *tokens, size_t *n)
{
	if (json_type(decoder) != JSON_OBJECT)
		return error_set(r->error, ERROR_MODEL, "tokenizer_config.json: added_tokens_decoder is %s, not an object",
		                 json_type_name(json_type(decoder)));
	for (const struct json *value = json_first(decoder); value; value = json_next(value), (*n)++) {
		struct listed_token *listed = &tokens[*n];
		listed->order = *n;
		if (!read_number(json_key(value, NULL), &listed->number))
			return error_set(r->error, ERROR_MODEL,
			                 "tokenizer_config.json: added_tokens_decoder: \"%.40s\" is no id within 0..%d",
			                 json_key(value, NULL), VOCAB_MAX_ID);
		if (!read_token(r, value, "it", json_type(value) == JSON_STRING, &listed->token))
			return error_prefix(r->error, "tokenizer_config.json: added_tokens_decoder[%lld]",
			                    (long long)listed->number);
	}
	return true;
}

/* Contents that make a token of added_tokens.json special. The objects of tokenizer_config.json are not looked into, as
 * they are not there. */
static bool gather_specials(struct reading *r, struct vocab *specials)
{
	const struct json *lists[2];
	extra_lists(r, lists);
	for (size_t i = 0; i < r->n_named; i++) {
		const struct named_token *named = &r->named[i];
		bool counts = named->value && is_standard(named->role) &&
		              (json_type(named->value) == JSON_STRING || json_get(r->map, named->role));
		if (counts && !add_text(specials, named->text, named->n_bytes, r->error))
			return false;
	}
	const struct json *own = json_get(r->config, "extra_special_tokens");
	if (own && json_type(own) == JSON_OBJECT && json_count(own))
		lists[0] = NULL;
	lists[1] = list_of(r->map, "extra_special_tokens");
	for (int i = 0; i < 2; i++)
		for (const struct json *value = json_first(lists[i]); value; value = json_next(value)) {
			size_t n_bytes;
			const char *text = json_string(value, &n_bytes);
			if (text && !add_text(specials, text, n_bytes, r->error))
				return false;
		}
	return true;
}

/* {"content": id}, but for ids that tokenizer.json's own added tokens have. */
static bool read_list_entries(struct reading *r, const struct vocab *specials, struct listed_token *tokens, size_t *n)
{
	struct vocab taken = {0}; /* only by id */
	bool ok = true;
	for (size_t i = 0; ok && i < r->out->n_added; i++) {
		tokens[*n] = (struct listed_token){.number = r->out->added[i].id, .order = *n, .token = r->out->added[i]};
		ok = tokens[*n].number < 0 || vocab_add(&taken, "id", 2, tokens[*n].number, r->error);
		++*n;
	}
	for (const struct json *value = json_first(r->list); ok && value; value = json_next(value)) {
		struct listed_token *listed = &tokens[*n];
		struct added_token *token = &listed->token;
		size_t n_bytes;
		const char *text = json_key(value, &n_bytes);
		ok = json_int64(value, &listed->number) && listed->number >= 0 && listed->number <= VOCAB_MAX_ID;
		if (!ok) {
			error_set(r->error, ERROR_MODEL, "added_tokens.json: the id of \"%.60s\" is not within 0..%d", text,
			          VOCAB_MAX_ID);
			break;
		}
		if (vocab_text(&taken, (int32_t)listed->number, &token->n_bytes))
			continue;
		*token = (struct added_token){.n_bytes = n_bytes, .special = has_text(specials, text, n_bytes)};
		token->normalized = !token->special;
		token->content = arena_strdup(&r->out->arena, text, n_bytes);
		ok = token->content || error_set(r->error, ERROR_MEMORY, "not enough memory for added_tokens.json");
		listed->order = (*n)++;
	}
	vocab_free(&taken);
	return ok;
}

static bool read_listed(struct reading *r, struct listed_token *tokens, size_t *n)
{
	if (r->has_decoder)
		return read_decoder_entries(r, json_get(r->config, "added_tokens_decoder"), tokens, n);
	struct vocab specials = {0};
	bool ok = gather_specials(r, &specials) && read_list_entries(r, &specials, tokens, n);
	vocab_free(&specials);
	return ok;
}

/* Adds them by number; a token that has a name is special whatever its entry says. */
static bool add_listed(struct reading *r)
{
	const struct json *decoder = json_get(r->config, "added_tokens_decoder");
	size_t n = 0, max = r->has_decoder ? json_count(decoder) : r->out->n_added + json_count(r->list);
	if (!r->has_decoder && !r->list) {
		for (size_t i = 0; i < r->out->n_added; i++) {
			struct added_token *token = &r->out->added[i];
			token->special = token->special || has_text(&r->names, token->content, token->n_bytes);
		}
		return true;
	}
	struct listed_token *tokens = calloc(max + 1, sizeof *tokens);
	if (!tokens)
		return error_set(r->error, ERROR_MEMORY, "not enough memory for the added tokens");
	bool ok = read_listed(r, tokens, &n);
	if (ok)
		qsort(tokens, n, sizeof *tokens, by_number);
	for (size_t i = 0; ok && i < n; i++) {
		struct added_token *token = &tokens[i].token;
		if (i + 1 < n && tokens[i + 1].number == tokens[i].number)
			continue; /* the last one of a number */
		token->id = (int32_t)tokens[i].number;
		token->special = token->special || has_text(&r->names, token->content, token->n_bytes);
		ok = description_add_token(r->out, token, r->error);
	}
	free(tokens);
	return ok;
}

/* Those of the description so far. */
static bool gather_known(struct reading *r)
{
	for (size_t i = 0; i < r->out->n_added; i++)
		if (!add_text(&r->known, r->out->added[i].content, r->out->added[i].n_bytes, r->error))
			return false;
	return true;
}

static bool add_unknown_names(struct reading *r)
{
	for (size_t i = 0; i < r->n_named; i++) {
		const struct named_token *named = &r->named[i];
		struct added_token token = {.content = named->text, .n_bytes = named->n_bytes, .id = -1, .special = true};
		if (has_text(&r->known, named->text, named->n_bytes))
			continue;
		if (named->value && !read_token(r, named->value, named->role, true, &token))
			return error_prefix(r->error, "%s", named->file);
		if (!description_add_token(r->out, &token, r->error))
			return false;
	}
	return true;
}

/* ---- bos, eos and settings ---- */

static bool copy_end(struct reading *r, const char *role, const char **text, size_t *n_bytes)
{
	*text = NULL;
	for (size_t i = 0; i < r->n_named; i++) {
		const struct named_token *named = &r->named[i];
		if (strcmp(named->role, role) != 0)
			continue;
		*n_bytes = named->n_bytes;
		*text = arena_strdup(&r->out->arena, named->text, named->n_bytes);
		return *text || error_set(r->error, ERROR_MEMORY, "not enough memory for %s", role);
	}
	return true;
}

static bool read_flag(struct reading *r, const char *key, bool *out)
{
	const struct json *value = json_get(r->config, key);
	if (value && json_type(value) == JSON_NULL)
		*out = false; /* what Python makes of None */
	return field_optional_bool(r->config, "tokenizer_config.json: the file", key, out, r->error);
}

/* What would run code or read other files. */
static void report_unheeded(const struct reading *r)
{
	if (is_set(json_get(r->config, "auto_map")))
		log_message(LOG_WARN, "tokenizer_config",
		            "auto_map names a tokenizer in Python, which is not run; tokenizer.json is followed");
	if (is_set(json_get(r->config, "fast_tokenizer_files")))
		log_message(LOG_WARN, "tokenizer_config", "fast_tokenizer_files is not looked at; tokenizer.json is read");
}

static size_t vocab_size(const struct tokenizer_description *out, struct vocab *added)
{
	size_t n = out->vocab.n_strings;
	struct error ignored;
	for (size_t i = 0; i < out->n_added; i++) {
		const struct added_token *token = &out->added[i];
		if (vocab_find(&out->vocab, token->content, token->n_bytes) < 0 &&
		    !has_text(added, token->content, token->n_bytes))
			n += add_text(added, token->content, token->n_bytes, &ignored);
	}
	return n;
}

static bool read_settings(struct reading *r, struct tokenizer_config *config)
{
	bool prefix_space = false, cut = is_set(json_get(r->document, "pre_tokenizer"));
	const struct json *given = json_get(r->config, "add_prefix_space");
	config->class = r->class;
	r->out->rebuild_template = r->class && r->class->rebuilds;
	r->out->add_bos = r->class && r->class->add_bos;
	if (!read_flag(r, "add_prefix_space", &prefix_space) ||
	    !read_flag(r, "split_special_tokens", &r->out->split_special) ||
	    !read_flag(r, "add_bos_token", &r->out->add_bos) || !read_flag(r, "add_eos_token", &r->out->add_eos) ||
	    !copy_end(r, "bos_token", &r->out->bos, &r->out->n_bos) ||
	    !copy_end(r, "eos_token", &r->out->eos, &r->out->n_eos))
		return false;
	if (is_set(given))
		config->prefix_space = prefix_space ? PREFIX_SPACE_YES : PREFIX_SPACE_NO;
	report_unheeded(r);
	struct vocab added = {0};
	size_t n_tokens = vocab_size(r->out, &added);
	vocab_free(&added);
	return !cut || tokenizer_wants_tekken(r->files, json_get(r->config, "fix_mistral_regex"), n_tokens,
	                                      &config->tekken_words, r->error);
}

/* ---- the files ---- */

/* *document is NULL when there is no such file. */
static bool open_file(struct reading *r, enum model_file which, struct json **document)
{
	struct json_limits limits = {.max_values = 1000000, .allow_duplicates = true};
	const char *path = model_files_find(r->files, which);
	if (!path)
		return true;
	*document = json_parse_file(path, MAX_CONFIG_BYTES, &limits, r->error);
	if (!*document)
		return false;
	return json_type(*document) == JSON_OBJECT || error_set(r->error, ERROR_MODEL, "%s: the file is %s, not an object",
	                                                        path, json_type_name(json_type(*document)));
}

static bool read_files(struct reading *r, struct tokenizer_config *config)
{
	if (!open_file(r, MODEL_TOKENIZER_CONFIG, &r->config))
		return false;
	r->has_decoder = is_set(json_get(r->config, "added_tokens_decoder"));
	if (!r->has_decoder &&
	    (!open_file(r, MODEL_SPECIAL_TOKENS_MAP, &r->map) || !open_file(r, MODEL_ADDED_TOKENS, &r->list)))
		return false;
	r->class = tokenizer_class_find(json_string(json_get(r->config, "tokenizer_class"), NULL));
	bool ok = gather_known(r) && gather_names(r) && add_listed(r) && gather_known(r) && add_unknown_names(r) &&
	          add_extra(r) && read_settings(r, config);
	const char *directory = model_files_directory(r->files);
	return ok || strstr(r->error->message, directory) == r->error->message || error_prefix(r->error, "%s", directory);
}

bool tokenizer_read_config(const struct model_files *files, const struct json *document,
                           struct tokenizer_config *config, struct tokenizer_description *out, struct error *error)
{
	struct reading r = {.files = files, .document = document, .out = out, .error = error};
	bool ok = read_files(&r, config);
	json_destroy(r.config);
	json_destroy(r.map);
	json_destroy(r.list);
	vocab_free(&r.names);
	vocab_free(&r.known);
	return ok;
}
