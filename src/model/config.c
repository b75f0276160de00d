/* config.json and generation_config.json -> struct model_config. */
#include "model/config.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/json.h"
#include "model/config_private.h"
#include "tensor/gguf.h"

enum { MAX_CONFIG_BYTES = 16 << 20 };
enum { DEFAULT_BOS = 1, DEFAULT_EOS = 2 }; /* LlamaConfig's, where the fields are absent */

/* A model family: what its config.json says and what it leaves to defaults. Adding one starts with a row here. */
struct family {
	const char *architecture;
	const char *model_type;
};

static const struct family families[] = {
    {.architecture = "LlamaForCausalLM", .model_type = "llama"},
};
enum { N_FAMILIES = sizeof families / sizeof *families };

const char *rope_type_name(enum rope_type type)
{
	static const char *const names[] = {"default", "linear", "llama3"};
	return names[type];
}

/* ---- typed fields ---- */

/* Reads fields of one object; the first bad one sets the error and `ok` stays false. */
struct fields {
	const char *path;   /* of the file, for messages */
	const char *prefix; /* "rope_scaling." inside that object */
	const struct json *object;
	struct error *error;
	bool ok;
};

static const struct json *field(const struct fields *fields, const char *name)
{
	const struct json *value = json_get(fields->object, name);
	return value && json_type(value) != JSON_NULL ? value : NULL;
}

static void bad_field(struct fields *fields, const char *name, const struct json *value, const char *expected)
{
	if (!fields->ok)
		return;
	fields->ok = false;
	const char *text = json_number_text(value);
	error_set(fields->error, ERROR_MODEL, "%s: %s%s is %.60s, expected %s", fields->path, fields->prefix, name,
	          text ? text : json_type_name(json_type(value)), expected);
}

static int64_t count_field(struct fields *fields, const char *name, int64_t fallback)
{
	const struct json *value = field(fields, name);
	int64_t count;
	if (!value)
		return fallback;
	if (json_int64(value, &count) && config_is_count(count))
		return count;
	bad_field(fields, name, value, CONFIG_COUNT_EXPECTED);
	return fallback;
}

static double positive_field(struct fields *fields, const char *name, double fallback)
{
	const struct json *value = field(fields, name);
	double number;
	if (!value)
		return fallback;
	if (json_double(value, &number) && config_is_positive(number))
		return number;
	bad_field(fields, name, value, CONFIG_POSITIVE_EXPECTED);
	return fallback;
}

static bool flag_field(struct fields *fields, const char *name, bool fallback)
{
	const struct json *value = field(fields, name);
	bool flag;
	if (!value)
		return fallback;
	if (json_bool(value, &flag))
		return flag;
	bad_field(fields, name, value, "true or false");
	return fallback;
}

static const char *text_field(struct fields *fields, const char *name, const char *fallback)
{
	const struct json *value = field(fields, name);
	if (!value)
		return fallback;
	const char *text = json_string(value, NULL);
	if (text)
		return text;
	bad_field(fields, name, value, "a string");
	return fallback;
}

/* ---- rope ---- */

static void read_llama3(struct fields *fields, struct rope_config *rope)
{
	rope->low_freq_factor = positive_field(fields, "low_freq_factor", 0);
	rope->high_freq_factor = positive_field(fields, "high_freq_factor", 0);
	rope->original_max_positions = count_field(fields, "original_max_position_embeddings", 0);
	if (fields->ok &&
	    (!rope->low_freq_factor || !rope->original_max_positions || rope->high_freq_factor <= rope->low_freq_factor))
		fields->ok = error_set(fields->error, ERROR_MODEL,
		                       "%s: %stype llama3 needs original_max_position_embeddings and low_freq_factor below "
		                       "high_freq_factor",
		                       fields->path, fields->prefix);
}

/* Heads are rotated whole. */
static void check_whole_rotary(struct fields *fields)
{
	const struct json *value = field(fields, "partial_rotary_factor");
	double factor;
	if (value && !(json_double(value, &factor) && factor == 1))
		bad_field(fields, "partial_rotary_factor", value, "1 (rotating part of a head is not supported)");
}

/* One object that says how positions are scaled: rope_scaling, or rope_parameters of the newest layout. */
static void read_rope_object(struct fields *config, const char *name, struct rope_config *rope)
{
	char prefix[64];
	const struct json *object = field(config, name);
	if (!object || !config->ok)
		return;
	if (json_type(object) != JSON_OBJECT) {
		bad_field(config, name, object, "an object");
		return;
	}
	snprintf(prefix, sizeof prefix, "%s.", name);
	struct fields fields = {
	    .path = config->path, .prefix = prefix, .object = object, .error = config->error, .ok = true};
	/* Parameters for each kind of layer would otherwise read as the defaults. */
	for (const struct json *member = json_first(object); member; member = json_next(member))
		if (json_type(member) == JSON_OBJECT)
			bad_field(&fields, json_key(member, NULL), member, "a number or a name");
	check_whole_rotary(&fields);
	rope->theta = positive_field(&fields, "rope_theta", rope->theta);
	const char *type = text_field(&fields, "rope_type", text_field(&fields, "type", "default"));
	if (strcmp(type, "linear") == 0 || strcmp(type, "llama3") == 0) {
		rope->type = type[1] == 'i' ? ROPE_LINEAR : ROPE_LLAMA3;
		rope->factor = positive_field(&fields, "factor", 0);
		if (fields.ok && rope->factor < 1)
			fields.ok =
			    error_set(config->error, ERROR_MODEL, "%s: %sfactor is missing or below 1", config->path, prefix);
		if (rope->type == ROPE_LLAMA3)
			read_llama3(&fields, rope);
	} else if (strcmp(type, "default") != 0 && fields.ok) {
		fields.ok = error_set(config->error, ERROR_MODEL,
		                      "%s: %srope_type %.40s is not supported (default, linear and llama3 are)", config->path,
		                      prefix, type);
	}
	config->ok = fields.ok;
}

static void read_rope(struct fields *fields, struct rope_config *rope)
{
	*rope = (struct rope_config){.type = ROPE_DEFAULT, .theta = positive_field(fields, "rope_theta", 10000.0)};
	check_whole_rotary(fields);
	read_rope_object(fields, "rope_scaling", rope);
	read_rope_object(fields, "rope_parameters", rope);
}

/* ---- what is refused by name ---- */

/* The first of `architectures`, "" when there is none: then model_type decides, as in transformers' AutoModel. */
static const char *architecture_field(struct fields *fields)
{
	const struct json *list = field(fields, "architectures");
	if (!list)
		return "";
	if (json_type(list) != JSON_ARRAY) {
		bad_field(fields, "architectures", list, "a list of names");
		return "";
	}
	const struct json *first = json_first(list);
	const char *name = first ? json_string(first, NULL) : "";
	if (!name)
		bad_field(fields, "architectures[0]", first, "a name");
	return name ? name : "";
}

static void refuse_architecture(const char *path, const char *name, struct error *error)
{
	char supported[256] = "";
	for (int i = 0; i < N_FAMILIES; i++) {
		strncat(supported, i ? ", " : "", sizeof supported - strlen(supported) - 1);
		strncat(supported, families[i].architecture, sizeof supported - strlen(supported) - 1);
	}
	error_set(error, ERROR_MODEL, "%s: architecture %.60s is not supported (supported: %s)", path,
	          *name ? name : "(neither architectures nor model_type names one)", supported);
}

static const struct family *find_family(struct fields *fields, struct error *error)
{
	const char *architecture = architecture_field(fields);
	const char *type = text_field(fields, "model_type", "");
	const struct family *family = NULL;
	for (int i = 0; i < N_FAMILIES && !family; i++)
		if (strcmp(*architecture ? architecture : type,
		           *architecture ? families[i].architecture : families[i].model_type) == 0)
			family = &families[i];
	if (!fields->ok)
		return NULL;
	if (!family) {
		refuse_architecture(fields->path, *architecture ? architecture : type, error);
		return NULL;
	}
	if (*type && strcmp(type, family->model_type) != 0) {
		error_set(error, ERROR_MODEL, "%s: model_type is %.60s, expected %s for architecture %s", fields->path, type,
		          family->model_type, family->architecture);
		return NULL;
	}
	return family;
}

/* Weights that are packed, under any of the names that tools write. */
static bool refuse_quantization(struct fields *fields, struct error *error)
{
	static const char *const names[] = {"quantization_config", "compression_config", "quantization"};
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		const struct json *value = field(fields, names[i]);
		if (!value)
			continue;
		const char *method = json_string(json_get(value, "quant_method"), NULL);
		return error_set(error, ERROR_MODEL,
		                 "%s: %s (quant_method %.40s) is not supported; use the unquantised weights", fields->path,
		                 names[i], method ? method : "not named");
	}
	return true;
}

static bool refuse_unsupported(struct fields *fields, struct error *error)
{
	if (!refuse_quantization(fields, error))
		return false;
	const char *activation = text_field(fields, "hidden_act", "silu");
	if (fields->ok && strcmp(activation, "silu") != 0 && strcmp(activation, "swish") != 0)
		return error_set(error, ERROR_MODEL, "%s: hidden_act %.40s is not supported (silu is)", fields->path,
		                 activation);
	return fields->ok;
}

/* ---- ids ---- */

void config_add_eos(struct model_config *config, int32_t id)
{
	if (id < 0 || id >= config->vocab_size || config_is_eos(config, id) || config->n_eos_ids == CONFIG_MAX_EOS_IDS)
		return;
	config->eos_ids[config->n_eos_ids++] = id;
}

bool config_is_eos(const struct model_config *config, int32_t id)
{
	for (int i = 0; i < config->n_eos_ids; i++)
		if (config->eos_ids[i] == id)
			return true;
	return false;
}

static void add_eos_value(struct fields *fields, const struct json *value, struct model_config *config)
{
	int64_t id;
	if (!json_int64(value, &id)) {
		bad_field(fields, "eos_token_id", value, "a token id or a list of them");
		return;
	}
	/* -1 is met in the wild for "none". */
	if (id >= 0 && id < config->vocab_size)
		config_add_eos(config, (int32_t)id);
	else if (id != -1)
		bad_field(fields, "eos_token_id", value, "an id below vocab_size");
}

static void read_eos(struct fields *fields, struct model_config *config)
{
	const struct json *value = field(fields, "eos_token_id");
	if (!value)
		return;
	if (json_type(value) != JSON_ARRAY) {
		add_eos_value(fields, value, config);
		return;
	}
	for (const struct json *id = json_first(value); id; id = json_next(id))
		add_eos_value(fields, id, config);
	if (json_count(value) > CONFIG_MAX_EOS_IDS)
		bad_field(fields, "eos_token_id", value, "at most 16 ids");
}

static void read_bos(struct fields *fields, struct model_config *config)
{
	const struct json *value = field(fields, "bos_token_id");
	int64_t id = json_get(fields->object, "bos_token_id") ? -1 : DEFAULT_BOS; /* null is none */
	if (value && !json_int64(value, &id))
		bad_field(fields, "bos_token_id", value, "a token id");
	config->bos_id = id >= 0 && id < config->vocab_size ? (int32_t)id : -1;
}

/* ---- the whole ---- */

static void read_shape(struct fields *fields, struct model_config *config)
{
	config->hidden_size = count_field(fields, "hidden_size", 4096);
	config->intermediate_size = count_field(fields, "intermediate_size", 11008);
	config->n_layers = count_field(fields, "num_hidden_layers", 32);
	config->n_heads = count_field(fields, "num_attention_heads", 32);
	config->n_kv_heads = count_field(fields, "num_key_value_heads", config->n_heads);
	config->head_dim = count_field(fields, "head_dim", config->hidden_size / config->n_heads);
	config->vocab_size = count_field(fields, "vocab_size", 32000);
	config->max_positions = count_field(fields, "max_position_embeddings", 2048);
	config->rms_norm_eps = positive_field(fields, "rms_norm_eps", 1e-6);
	config->tie_word_embeddings = flag_field(fields, "tie_word_embeddings", false);
	config->attention_bias = flag_field(fields, "attention_bias", false);
	config->mlp_bias = flag_field(fields, "mlp_bias", false);
	const char *dtype = text_field(fields, "dtype", text_field(fields, "torch_dtype", ""));
	snprintf(config->stored_dtype, sizeof config->stored_dtype, "%s", dtype);
}

bool config_check_shape(const char *path, const struct model_config *config, const struct config_names *names,
                        bool head_dim_given, struct error *error)
{
	if (config->n_heads % config->n_kv_heads != 0)
		return error_set(error, ERROR_MODEL, "%s: %s %" PRId64 " is not a multiple of %s %" PRId64, path, names->heads,
		                 config->n_heads, names->kv_heads, config->n_kv_heads);
	if (!head_dim_given && config->hidden_size % config->n_heads != 0)
		return error_set(error, ERROR_MODEL,
		                 "%s: %s %" PRId64 " is not a multiple of %s %" PRId64 " and %s is not given", path,
		                 names->hidden, config->hidden_size, names->heads, config->n_heads, names->head_dim);
	if (config->head_dim < 2 || config->head_dim % 2 != 0 || config->head_dim > 4096)
		return error_set(error, ERROR_MODEL, "%s: %s %" PRId64 " must be even, 2 to 4096", path, names->head_dim,
		                 config->head_dim);
	if (config->n_heads > 4096 || config->n_layers > 4096)
		return error_set(error, ERROR_MODEL, "%s: %" PRId64 " layers of %" PRId64 " heads, at most 4096 of each", path,
		                 config->n_layers, config->n_heads);
	return true;
}

static bool is_object(const char *path, const struct json *document, struct error *error)
{
	return json_type(document) == JSON_OBJECT ||
	       error_set(error, ERROR_MODEL, "%s: is %s, expected an object", path, json_type_name(json_type(document)));
}

static bool read_config(const char *path, const struct json *document, struct model_config *config, struct error *error)
{
	static const struct config_names names = {"num_attention_heads", "num_key_value_heads", "hidden_size", "head_dim"};
	struct fields fields = {.path = path, .prefix = "", .object = document, .error = error, .ok = true};
	if (!is_object(path, document, error))
		return false;
	const struct family *family = find_family(&fields, error);
	if (!family || !refuse_unsupported(&fields, error))
		return false;
	snprintf(config->architecture, sizeof config->architecture, "%s", family->architecture);
	read_shape(&fields, config);
	if (fields.ok)
		read_rope(&fields, &config->rope);
	if (!fields.ok || !config_check_shape(path, config, &names, field(&fields, "head_dim") != NULL, error))
		return false;
	read_bos(&fields, config);
	read_eos(&fields, config);
	return fields.ok;
}

/* Directory of a path: itself, or that of a .safetensors file. */
static bool config_directory(const char *path, char *directory, size_t capacity, struct error *error)
{
	struct stat info;
	int n = snprintf(directory, capacity, "%s", path);
	if (n < 0 || (size_t)n >= capacity)
		return error_set(error, ERROR_MODEL, "the model's path is too long");
	if (stat(path, &info) != 0)
		return error_set(error, ERROR_MODEL, "%s: no such file or directory", path);
	if (S_ISDIR(info.st_mode))
		return true;
	char *slash = strrchr(directory, '/');
	if (slash)
		slash[slash == directory] = 0;
	else
		snprintf(directory, capacity, ".");
	return true;
}

/* generation_config.json adds the ids that end a chat; nothing else of it counts here. */
static bool read_generation_config(const char *path, struct model_config *config, struct error *error)
{
	struct stat info;
	if (stat(path, &info) != 0 && errno == ENOENT)
		return true;
	struct json *document = json_parse_file(path, MAX_CONFIG_BYTES, NULL, error);
	if (!document)
		return false;
	struct fields fields = {.path = path, .prefix = "", .object = document, .error = error, .ok = true};
	if (is_object(path, document, error))
		read_eos(&fields, config);
	else
		fields.ok = false;
	json_destroy(document);
	return fields.ok;
}

bool config_load(const char *path, struct model_config *config, struct error *error)
{
	char directory[3072], file[4096];
	memset(config, 0, sizeof *config);
	if (gguf_is_path(path))
		return config_load_gguf(path, config, error);
	if (!config_directory(path, directory, sizeof directory, error))
		return false;
	snprintf(file, sizeof file, "%s/config.json", directory);
	struct json *document = json_parse_file(file, MAX_CONFIG_BYTES, NULL, error);
	if (!document)
		return false;
	bool ok = read_config(file, document, config, error);
	bool names_eos = json_get(document, "eos_token_id") != NULL; /* null names none */
	json_destroy(document);
	snprintf(file, sizeof file, "%s/generation_config.json", directory);
	if (!ok || !read_generation_config(file, config, error))
		return false;
	if (!names_eos && config->n_eos_ids == 0)
		config_add_eos(config, DEFAULT_EOS);
	return true;
}

uint64_t config_parameter_count(const struct model_config *config)
{
	uint64_t hidden = (uint64_t)config->hidden_size, inner = (uint64_t)config->intermediate_size;
	uint64_t q = (uint64_t)(config->n_heads * config->head_dim), kv = (uint64_t)(config->n_kv_heads * config->head_dim);
	uint64_t layer = 2 * hidden * q + 2 * hidden * kv + 3 * hidden * inner + 2 * hidden;
	if (config->attention_bias)
		layer += q + 2 * kv + hidden;
	if (config->mlp_bias)
		layer += 2 * inner + hidden;
	uint64_t embedding = (uint64_t)config->vocab_size * hidden;
	return (uint64_t)config->n_layers * layer + embedding * (config->tie_word_embeddings ? 1 : 2) + hidden;
}
