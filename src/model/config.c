/* config.json and generation_config.json -> struct model_config. */
#include "model/config.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "model/config_fields.h"
#include "model/config_private.h"
#include "model/config_rope.h"
#include "model/family.h"
#include "tensor/model_files.h"

enum { MAX_CONFIG_BYTES = 16 << 20 };

const struct json_limits config_json_limits = {.max_values = 100000};

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
	char supported[256];
	family_list(supported, sizeof supported, false);
	error_set(error, ERROR_MODEL, "%s: architecture %.60s is not supported (supported: %s)", path,
	          *name ? name : "(neither architectures nor model_type names one)", supported);
}

static const struct family *find_family(struct fields *fields, struct error *error)
{
	const char *architecture = architecture_field(fields);
	const char *type = text_field(fields, "model_type", "");
	const struct family *family = family_find(architecture, type);
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

static void read_bos(struct fields *fields, const struct family *family, struct model_config *config)
{
	const struct json *value = field(fields, "bos_token_id");
	int64_t id = json_get(fields->object, "bos_token_id") ? -1 : family->defaults.bos_id; /* null is none */
	if (value && !json_int64(value, &id))
		bad_field(fields, "bos_token_id", value, "a token id");
	config->bos_id = id >= 0 && id < config->vocab_size ? (int32_t)id : -1;
}

/* ---- shape and parts ---- */

static void read_shape(struct fields *fields, const struct family *family, struct model_config *config)
{
	const struct family_defaults *defaults = &family->defaults;
	config->hidden_size = count_field(fields, "hidden_size", defaults->hidden_size);
	config->intermediate_size = count_field(fields, "intermediate_size", defaults->intermediate_size);
	config->n_layers = count_field(fields, "num_hidden_layers", 32);
	config->n_heads = count_field(fields, "num_attention_heads", 32);
	/* null is not as good as absent here: it means one key head for each head. */
	bool kv_null = json_get(fields->object, "num_key_value_heads") && !field(fields, "num_key_value_heads");
	config->n_kv_heads = count_field(fields, "num_key_value_heads",
	                                 kv_null || !defaults->n_kv_heads ? config->n_heads : defaults->n_kv_heads);
	config->head_dim = count_field(fields, "head_dim",
	                               defaults->head_dim ? defaults->head_dim : config->hidden_size / config->n_heads);
	config->vocab_size = count_field(fields, "vocab_size", defaults->vocab_size);
	config->max_positions = count_field(fields, "max_position_embeddings", defaults->max_positions);
	config->rms_norm_eps = positive_field(fields, "rms_norm_eps", defaults->rms_norm_eps);
	config->tie_word_embeddings = flag_field(fields, "tie_word_embeddings", false);
	const char *dtype = text_field(fields, "dtype", text_field(fields, "torch_dtype", ""));
	snprintf(config->stored_dtype, sizeof config->stored_dtype, "%s", dtype);
}

static bool has_bias(struct fields *fields, enum bias_rule rule, const char *name)
{
	bool configured = rule == BIAS_CONFIGURED && flag_field(fields, name, false);
	return configured || rule == BIAS_ALWAYS;
}

static void read_parts(struct fields *fields, const struct family *family, struct model_config *config)
{
	config->qkv_bias = has_bias(fields, family->qkv_bias, "attention_bias");
	config->o_bias = has_bias(fields, family->o_bias, "attention_bias");
	config->mlp_bias = has_bias(fields, family->mlp_bias, "mlp_bias");
	config->qk_norm = family->qk_norm;
	config->fused = family->fused;
}

/* ---- sliding attention ---- */

void config_set_window_layer(struct model_config *config, int64_t layer, bool slides)
{
	uint64_t bit = (uint64_t)1 << (layer % 64);
	config->window_layers[layer / 64] &= ~bit;
	config->window_layers[layer / 64] |= slides ? bit : 0;
}

/* layer_types of the newer layouts: what it says of each layer counts where the family has layers of both kinds, and must
 * agree with the rest where it has not. */
static void read_layer_types(struct fields *fields, const struct family *family, struct model_config *config)
{
	const struct json *list = field(fields, "layer_types");
	if (!list)
		return;
	if (json_type(list) != JSON_ARRAY || json_count(list) != (size_t)config->n_layers) {
		bad_field(fields, "layer_types", list, "a list with the type of each layer");
		return;
	}
	int64_t layer = 0;
	for (const struct json *type = json_first(list); type; type = json_next(type), layer++) {
		const char *name = json_string(type, NULL);
		bool slides = name && strcmp(name, "sliding_attention") == 0;
		if (!slides && !(name && strcmp(name, "full_attention") == 0))
			bad_field(fields, "layer_types", list, "full_attention or sliding_attention for each layer");
		else if (family->window == WINDOW_SWITCHED ? slides && !config->window
		                                           : slides != config_has_window(config, layer))
			bad_field(fields, "layer_types", list, "types that agree with sliding_window");
		else
			config_set_window_layer(config, layer, slides);
	}
}

static void read_window(struct fields *fields, const struct family *family, struct model_config *config)
{
	bool is_null = json_get(fields->object, "sliding_window") && !field(fields, "sliding_window");
	bool on = family->window == WINDOW_EVERYWHERE;
	int64_t first = 0;
	if (family->window == WINDOW_SWITCHED) {
		on = flag_field(fields, "use_sliding_window", false);
		first = index_field(fields, "max_window_layers", 28);
	}
	if (on && !is_null)
		config->window = count_field(fields, "sliding_window", family->defaults.window);
	for (int64_t layer = first; config->window && layer < config->n_layers; layer++)
		config_set_window_layer(config, layer, true);
	read_layer_types(fields, family, config);
}

/* ---- the whole ---- */

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
	if (config->n_heads > 4096 || config->n_layers > CONFIG_MAX_LAYERS)
		return error_set(error, ERROR_MODEL, "%s: %" PRId64 " layers of %" PRId64 " heads, at most 4096 of each", path,
		                 config->n_layers, config->n_heads);
	return true;
}

static bool is_object(const char *path, const struct json *document, struct error *error)
{
	return json_type(document) == JSON_OBJECT ||
	       error_set(error, ERROR_MODEL, "%s: is %s, expected an object", path, json_type_name(json_type(document)));
}

/* *default_eos: what stands for an eos_token_id that is not there, -1 for none. */
static bool read_config(const char *path, const struct json *document, struct model_config *config, int *default_eos,
                        struct error *error)
{
	static const struct config_names names = {"num_attention_heads", "num_key_value_heads", "hidden_size", "head_dim"};
	struct fields fields = {.path = path, .prefix = "", .object = document, .error = error, .ok = true};
	if (!is_object(path, document, error))
		return false;
	const struct family *family = find_family(&fields, error);
	if (!family || !refuse_unsupported(&fields, error))
		return false;
	snprintf(config->architecture, sizeof config->architecture, "%s", family->architecture);
	read_shape(&fields, family, config);
	bool head_dim_given = field(&fields, "head_dim") || family->defaults.head_dim;
	if (!fields.ok || !config_check_shape(path, config, &names, head_dim_given, error))
		return false;
	read_parts(&fields, family, config);
	read_window(&fields, family, config);
	config_read_rope(&fields, family, config);
	read_bos(&fields, family, config);
	read_eos(&fields, config);
	if (!json_get(document, "eos_token_id")) /* null names none */
		*default_eos = family->defaults.eos_id;
	return fields.ok;
}

/* generation_config.json adds the ids that end a chat; nothing else of it counts here. */
static bool read_generation_config(const char *path, struct model_config *config, struct error *error)
{
	struct json *document = json_parse_file(path, MAX_CONFIG_BYTES, &config_json_limits, error);
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

bool config_read(const struct model_files *files, struct model_config *config, struct error *error)
{
	memset(config, 0, sizeof *config);
	if (model_files_gguf(files))
		return config_read_gguf(model_files_gguf(files), config, error);
	const char *path = model_files_expect(files, MODEL_CONFIG);
	struct json *document = json_parse_file(path, MAX_CONFIG_BYTES, &config_json_limits, error);
	if (!document)
		return false;
	int default_eos = -1;
	bool ok = read_config(path, document, config, &default_eos, error);
	json_destroy(document);
	const char *generation = model_files_find(files, MODEL_GENERATION_CONFIG);
	if (!ok || (generation && !read_generation_config(generation, config, error)))
		return false;
	if (config->n_eos_ids == 0)
		config_add_eos(config, default_eos);
	return true;
}

bool config_load(const char *path, struct model_config *config, struct error *error)
{
	memset(config, 0, sizeof *config);
	struct model_files *files = model_files_open(path, error);
	bool ok = files && config_read(files, config, error);
	model_files_close(files);
	return ok;
}

int64_t config_max_context(const struct model_config *config)
{
	const struct rope_config *rope = &config->rope;
	bool stretches = rope->type == ROPE_DYNAMIC || rope->type == ROPE_YARN;
	double reached = stretches ? (double)rope->original_max_positions * rope->factor : 0;
	int64_t most = reached < CONFIG_MAX_COUNT ? (int64_t)reached : CONFIG_MAX_COUNT;
	return most > config->max_positions ? most : config->max_positions;
}
