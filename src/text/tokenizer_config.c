/* tokenizer_config.json: the names of BOS and EOS, and whether they are added.
 *
 * Most of transformers' classes leave that to tokenizer.json's post-processor and ignore add_bos_token. Those in the
 * table throw the post-processor away and make their own from add_bos_token and add_eos_token (transformers 4.57,
 * update_post_processor).
 */
#include <string.h>

#include "text/tokenizer_json.h"

enum { MAX_CONFIG_BYTES = 32 << 20 }; /* chat templates stand in it too */

static const struct rebuilding_class {
	const char *name; /* also with "Fast" behind it */
	const char *bos, *eos;
	bool add_bos;
} rebuilding_classes[] = {
    {"LlamaTokenizer", "<s>", "</s>", true},
    {"CodeLlamaTokenizer", "<s>", "</s>", true},
    {"GemmaTokenizer", "<bos>", "<eos>", true},
    {"CohereTokenizer", "<BOS_TOKEN>", "<|END_OF_TURN_TOKEN|>", true},
    {"GPTNeoXTokenizer", "<|endoftext|>", "<|endoftext|>", false},
};

static const struct rebuilding_class *find_class(const char *name)
{
	for (size_t i = 0; name && i < sizeof rebuilding_classes / sizeof *rebuilding_classes; i++) {
		size_t n = strlen(rebuilding_classes[i].name);
		if (!strncmp(name, rebuilding_classes[i].name, n) && (!name[n] || !strcmp(name + n, "Fast")))
			return &rebuilding_classes[i];
	}
	return NULL;
}

/* A name, or an object with the name in `content`; null takes the default away. */
static bool read_token_name(const struct json *document, const char *key, struct arena *arena, const char **text,
                            size_t *n_bytes, struct error *error)
{
	const struct json *value = json_get(document, key);
	if (!value)
		return true;
	*text = NULL;
	if (json_type(value) == JSON_NULL)
		return true;
	if (json_type(value) == JSON_OBJECT)
		return entry_copy(value, key, "content", arena, text, n_bytes, error);
	return entry_copy(document, "the file", key, arena, text, n_bytes, error);
}

static bool read_flag(const struct json *document, const char *key, bool *out, struct error *error)
{
	const struct json *value = json_get(document, key);
	if (value && json_type(value) == JSON_NULL)
		*out = false; /* what Python makes of None */
	return field_optional_bool(document, "the file", key, out, error);
}

static bool read_document(const struct json *document, struct tokenizer_description *out, struct error *error)
{
	if (json_type(document) != JSON_OBJECT)
		return error_set(error, ERROR_MODEL, "the file is %s, not an object", json_type_name(json_type(document)));
	const struct json *name = json_get(document, "tokenizer_class");
	const struct rebuilding_class *class = find_class(name ? json_string(name, NULL) : NULL);
	if (class) {
		out->rebuild_template = true;
		out->add_bos = class->add_bos;
		out->bos = class->bos;
		out->n_bos = strlen(class->bos);
		out->eos = class->eos;
		out->n_eos = strlen(class->eos);
	}
	return read_token_name(document, "bos_token", &out->arena, &out->bos, &out->n_bos, error) &&
	       read_token_name(document, "eos_token", &out->arena, &out->eos, &out->n_eos, error) &&
	       read_flag(document, "add_bos_token", &out->add_bos, error) &&
	       read_flag(document, "add_eos_token", &out->add_eos, error);
}

bool tokenizer_read_config(const char *path, struct tokenizer_description *description, struct error *error)
{
	struct json_limits limits = {.max_values = 1000000, .allow_duplicates = true};
	struct json *document = json_parse_file(path, MAX_CONFIG_BYTES, &limits, error);
	if (!document)
		return false;
	bool ok = read_document(document, description, error) || error_prefix(error, "%s", path);
	json_destroy(document);
	return ok;
}
