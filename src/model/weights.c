/* Tensor names -> weights, by two tables: matrices that stay where they lie, vectors that are widened to f32. */
#include "model/weights.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "model/config_private.h"
#include "tensor/block.h"

enum { MAX_NAME_BYTES = 256, MAX_NAMED = 4 };

enum width { HIDDEN, ATTENDED, KV, INNER, HEAD };

/* What tensors are called, by format; in a layer, what follows its prefix and number. */
static const struct naming {
	const char *layer, *embedding, *final_norm, *head, *rope_divisors;
	const char *config; /* where the shapes come from, for messages */
} namings[FORMAT_COUNT] = {
    [FORMAT_SAFETENSORS] = {"model.layers.", "model.embed_tokens.weight", "model.norm.weight", "lm_head.weight", NULL,
                            "config.json"},
    [FORMAT_GGUF] = {"blk.", "token_embd.weight", "output_norm.weight", "output.weight", "rope_freqs.weight",
                     "the file's metadata"},
};

/* Where the file is fused: one tensor with the rows of several matrices, in the order of the table. ffn_up is the name
 * of one matrix in other files. */
static const char *const fused_qkv[FORMAT_COUNT] = {"self_attn.qkv_proj.weight", "attn_qkv.weight"};
static const char *const fused_gate_up[FORMAT_COUNT] = {"mlp.gate_up_proj.weight", "ffn_up.weight"};

/* What a layer's matrices are called, and their shapes. */
static const struct matrix_row {
	const char *names[FORMAT_COUNT];
	enum width n_out, n_in;
	const char *const *fused; /* by format; NULL: never */
} matrix_rows[M_COUNT] = {
    [M_Q] = {{"self_attn.q_proj.weight", "attn_q.weight"}, ATTENDED, HIDDEN, fused_qkv},
    [M_K] = {{"self_attn.k_proj.weight", "attn_k.weight"}, KV, HIDDEN, fused_qkv},
    [M_V] = {{"self_attn.v_proj.weight", "attn_v.weight"}, KV, HIDDEN, fused_qkv},
    [M_O] = {{"self_attn.o_proj.weight", "attn_output.weight"}, HIDDEN, ATTENDED, NULL},
    [M_GATE] = {{"mlp.gate_proj.weight", "ffn_gate.weight"}, INNER, HIDDEN, fused_gate_up},
    [M_UP] = {{"mlp.up_proj.weight", "ffn_up.weight"}, INNER, HIDDEN, fused_gate_up},
    [M_DOWN] = {{"mlp.down_proj.weight", "ffn_down.weight"}, HIDDEN, INNER, NULL},
};

/* The same of its vectors. */
static const struct vector_row {
	const char *names[FORMAT_COUNT];
	enum width width;
} vector_rows[V_COUNT] = {
    [V_NORM_BEFORE_ATTENTION] = {{"input_layernorm.weight", "attn_norm.weight"}, HIDDEN},
    [V_NORM_BEFORE_MLP] = {{"post_attention_layernorm.weight", "ffn_norm.weight"}, HIDDEN},
    [V_NORM_Q] = {{"self_attn.q_norm.weight", "attn_q_norm.weight"}, HEAD},
    [V_NORM_K] = {{"self_attn.k_norm.weight", "attn_k_norm.weight"}, HEAD},
    [V_BIAS_Q] = {{"self_attn.q_proj.bias", "attn_q.bias"}, ATTENDED},
    [V_BIAS_K] = {{"self_attn.k_proj.bias", "attn_k.bias"}, KV},
    [V_BIAS_V] = {{"self_attn.v_proj.bias", "attn_v.bias"}, KV},
    [V_BIAS_O] = {{"self_attn.o_proj.bias", "attn_output.bias"}, HIDDEN},
    [V_BIAS_GATE] = {{"mlp.gate_proj.bias", "ffn_gate.bias"}, INNER},
    [V_BIAS_UP] = {{"mlp.up_proj.bias", "ffn_up.bias"}, INNER},
    [V_BIAS_DOWN] = {{"mlp.down_proj.bias", "ffn_down.bias"}, HIDDEN},
};

static int64_t width_of(const struct model_config *config, enum width width)
{
	switch (width) {
	case HIDDEN:
		return config->hidden_size;
	case ATTENDED:
		return config->n_heads * config->head_dim;
	case KV:
		return config->n_kv_heads * config->head_dim;
	case HEAD:
		return config->head_dim;
	default:
		return config->intermediate_size;
	}
}

/* Where a matrix lies: in a tensor of its own, or in rows of one that it shares. */
struct place {
	const char *name; /* of the tensor, after the prefix and number of the layer */
	int64_t first;    /* its first row there */
	int64_t n_rows;   /* of the tensor */
};

static struct place place_of(const struct model_config *config, enum layer_matrix matrix)
{
	const struct matrix_row *row = &matrix_rows[matrix];
	struct place place = {.name = row->names[config->format], .n_rows = width_of(config, row->n_out)};
	if (!config->fused || !row->fused)
		return place;
	place.name = row->fused[config->format];
	place.n_rows = 0;
	for (int i = 0; i < M_COUNT; i++) {
		if (matrix_rows[i].fused != row->fused)
			continue;
		if (i == (int)matrix)
			place.first = place.n_rows;
		place.n_rows += width_of(config, matrix_rows[i].n_out);
	}
	return place;
}

/* A binding in progress. */
struct binder {
	const struct weight_file *file;
	const struct model_config *config;
	const struct naming *naming;
	struct model_weights *weights;
	struct error *error;
	float *next_vector;
	int n_missing;
	struct bytes missing; /* the first few names */
};

static void note_name(struct bytes *names, int already, const char *name)
{
	if (already < MAX_NAMED)
		bytes_append_format(names, "%s%.80s", already ? ", " : "", name);
}

static const struct tensor *find(struct binder *binder, const char *name)
{
	const struct tensor *tensor = weight_file_find(binder->file, name);
	if (!tensor)
		note_name(&binder->missing, binder->n_missing++, name);
	return tensor;
}

/* Vectors are never in blocks: widened they take at most twice their bytes in the file. */
static bool check_type(const struct binder *binder, const struct tensor *tensor, bool blocks)
{
	if (tensor->usable && (blocks || dtype_info(tensor->type)->block_elements == 1))
		return true;
	return error_set(binder->error, ERROR_MODEL, "%s: tensor %s has dtype %s, expected %s", tensor->file, tensor->name,
	                 tensor->type_name,
	                 blocks && binder->config->format == FORMAT_GGUF ? block_type_supported() : "F32, F16 or BF16");
}

/* "[256, 64]" */
static void write_shape(struct bytes *out, const int64_t *dims, int n_dims)
{
	bytes_append_text(out, "[");
	for (int i = 0; i < n_dims; i++)
		bytes_append_format(out, "%s%" PRId64, i ? ", " : "", dims[i]);
	bytes_append_text(out, "]");
}

static bool wrong_shape(const struct binder *binder, const struct tensor *tensor, const int64_t *expected, int n_dims)
{
	struct bytes text = {0};
	write_shape(&text, tensor->dims, tensor->n_dims);
	bytes_append_format(&text, ", %s makes it ", binder->naming->config);
	write_shape(&text, expected, n_dims);
	error_set(binder->error, ERROR_MODEL, "%s: tensor %s has shape %s", tensor->file, tensor->name,
	          text.failed ? "?" : text.data);
	bytes_free(&text);
	return false;
}

/* Rows [first, first + n_out) of a tensor [n_rows, n_in]. What is missing is told at the end, a shared tensor once. */
static bool bind_rows(struct binder *binder, const char *name, int64_t n_rows, int64_t n_in, int64_t first,
                      struct weight *weight)
{
	const struct tensor *tensor = first ? weight_file_find(binder->file, name) : find(binder, name);
	size_t offset;
	if (!tensor)
		return true;
	if (!check_type(binder, tensor, true))
		return false;
	if (tensor->n_dims != 2 || tensor->dims[0] != n_rows || tensor->dims[1] != n_in)
		return wrong_shape(binder, tensor, (const int64_t[]){n_rows, n_in}, 2);
	if (!dtype_bytes(tensor->type, (size_t)(first * n_in), &offset))
		return error_set(binder->error, ERROR_MODEL, "%s: tensor %s has more bytes than can be counted", tensor->file,
		                 tensor->name);
	weight->type = tensor->type;
	weight->layout = LAYOUT_ROWS;
	weight->n_in = n_in;
	weight->data = (const unsigned char *)tensor->data + offset;
	return true;
}

static bool bind_matrix(struct binder *binder, const char *name, int64_t n_out, int64_t n_in, struct weight *weight)
{
	*weight = (struct weight){.n_out = n_out};
	return bind_rows(binder, name, n_out, n_in, 0, weight);
}

static bool bind_layer_matrix(struct binder *binder, int64_t layer, enum layer_matrix matrix)
{
	char name[MAX_NAME_BYTES];
	const struct matrix_row *row = &matrix_rows[matrix];
	struct place place = place_of(binder->config, matrix);
	struct weight *weight = &binder->weights->layers[layer].matrix[matrix];
	*weight = (struct weight){.n_out = width_of(binder->config, row->n_out)};
	snprintf(name, sizeof name, "%s%" PRId64 ".%s", binder->naming->layer, layer, place.name);
	return bind_rows(binder, name, place.n_rows, width_of(binder->config, row->n_in), place.first, weight);
}

static bool bind_vector(struct binder *binder, const char *name, int64_t n, const float **vector)
{
	const struct tensor *tensor = find(binder, name);
	if (!tensor)
		return true;
	if (!check_type(binder, tensor, false))
		return false;
	if (tensor->n_dims != 1 || tensor->dims[0] != n)
		return wrong_shape(binder, tensor, &n, 1);
	block_dequantise(tensor->type, tensor->data, binder->next_vector, (size_t)n);
	*vector = binder->next_vector;
	binder->next_vector += n;
	return true;
}

static bool bind_layer_vector(struct binder *binder, int64_t layer, enum layer_vector vector)
{
	char name[MAX_NAME_BYTES];
	const struct vector_row *row = &vector_rows[vector];
	snprintf(name, sizeof name, "%s%" PRId64 ".%s", binder->naming->layer, layer, row->names[binder->config->format]);
	return bind_vector(binder, name, width_of(binder->config, row->width),
	                   &binder->weights->layers[layer].vector[vector]);
}

static bool bind_layer(struct binder *binder, int64_t layer)
{
	const struct layer_spec *spec = &binder->weights->layers[layer].spec;
	for (int i = 0; i < M_COUNT; i++)
		if (!bind_layer_matrix(binder, layer, (enum layer_matrix)i))
			return false;
	for (int i = 0; i < V_COUNT; i++)
		if (layer_has(spec, (enum layer_vector)i) && !bind_layer_vector(binder, layer, (enum layer_vector)i))
			return false;
	return true;
}

/* ---- what is left over ---- */

/* Tensors that old or tied checkpoints carry and nobody needs, and those that were read with the config. */
static bool is_redundant(const struct model_config *config, const char *name)
{
	static const char suffix[] = ".rotary_emb.inv_freq";
	size_t n = strlen(name);
	if (n >= sizeof suffix && strcmp(name + n - (sizeof suffix - 1), suffix) == 0)
		return true;
	if (config->format == FORMAT_GGUF && config->rope.type == ROPE_LONGROPE &&
	    (strcmp(name, "rope_factors_short.weight") == 0 || strcmp(name, "rope_factors_long.weight") == 0))
		return true;
	return config->tie_word_embeddings && strcmp(name, namings[config->format].head) == 0;
}

/* What follows the prefix and "N." for an N of this model, written as weights_bind writes it; else NULL. */
static const char *name_in_layer(const struct model_config *config, const char *name, int64_t *layer)
{
	const char *prefix = namings[config->format].layer;
	if (strncmp(name, prefix, strlen(prefix)) != 0)
		return NULL;
	const char *digits = name + strlen(prefix);
	size_t n = strspn(digits, "0123456789");
	if (n == 0 || n > 9 || (n > 1 && digits[0] == '0') || digits[n] != '.')
		return NULL;
	*layer = strtol(digits, NULL, 10);
	return *layer < config->n_layers ? digits + n + 1 : NULL;
}

static bool is_layer_tensor(const struct binder *binder, const char *name)
{
	int64_t layer;
	const struct model_config *config = binder->config;
	const char *rest = name_in_layer(config, name, &layer);
	for (int i = 0; rest && i < M_COUNT; i++)
		if (strcmp(rest, place_of(config, (enum layer_matrix)i).name) == 0)
			return true;
	for (int i = 0; rest && i < V_COUNT; i++)
		if (layer_has(&binder->weights->layers[layer].spec, (enum layer_vector)i) &&
		    strcmp(rest, vector_rows[i].names[config->format]) == 0)
			return true;
	return false;
}

static bool is_expected(const struct binder *binder, const char *name)
{
	const struct model_config *config = binder->config;
	const struct naming *naming = binder->naming;
	return strcmp(name, naming->embedding) == 0 || strcmp(name, naming->final_norm) == 0 ||
	       strcmp(name, naming->head) == 0 || (config->rope.has_divisors && strcmp(name, naming->rope_divisors) == 0) ||
	       is_layer_tensor(binder, name) || is_redundant(config, name);
}

/* "; 12 missing: a, b, c, d, ..." */
static void list_names(struct bytes *text, const char *what, const struct bytes *names, int n)
{
	if (n)
		bytes_append_format(text, "; %d %s: %s%s", n, what, names->failed ? "?" : names->data,
		                    n > MAX_NAMED ? ", ..." : "");
}

/* Names the first few of what the file lacks and of what it has too much. */
static bool check_names(const struct binder *binder)
{
	struct bytes unexpected = {0}, text = {0};
	int n = 0;
	for (size_t i = 0; i < weight_file_count(binder->file); i++) {
		const char *name = weight_file_at(binder->file, i)->name;
		if (!is_expected(binder, name))
			note_name(&unexpected, n++, name);
	}
	list_names(&text, "missing", &binder->missing, binder->n_missing);
	list_names(&text, "unexpected", &unexpected, n);
	const struct tensor *first = weight_file_at(binder->file, 0);
	bool ok = n == 0 && binder->n_missing == 0;
	if (!ok)
		error_set(binder->error, ERROR_MODEL, "%s: tensors are not those of %s%s",
		          first ? first->file : "the weight file", binder->naming->config, text.failed ? "" : text.data);
	bytes_free(&unexpected);
	bytes_free(&text);
	return ok;
}

/* ---- the whole ---- */

bool weights_vector_bytes(const struct model_config *config, size_t *n_bytes)
{
	size_t n = (size_t)config->hidden_size + (config->rope.has_divisors ? (size_t)config->rotary_dim / 2 : 0);
	for (int64_t layer = 0; layer < config->n_layers; layer++) {
		struct layer_spec spec = layer_spec_of(config, layer);
		for (int i = 0; i < V_COUNT; i++)
			if (layer_has(&spec, (enum layer_vector)i) &&
			    !checked_add(n, (size_t)width_of(config, vector_rows[i].width), &n))
				return false;
	}
	return checked_mul(n, sizeof(float), n_bytes);
}

uint64_t weights_parameter_count(const struct model_config *config)
{
	uint64_t table = (uint64_t)config->vocab_size * (uint64_t)config->hidden_size;
	uint64_t n = table * (config->tie_word_embeddings ? 1 : 2) + (uint64_t)config->hidden_size;
	for (int64_t layer = 0; layer < config->n_layers; layer++) {
		struct layer_spec spec = layer_spec_of(config, layer);
		for (int i = 0; i < M_COUNT; i++)
			n += (uint64_t)width_of(config, matrix_rows[i].n_out) * (uint64_t)width_of(config, matrix_rows[i].n_in);
		for (int i = 0; i < V_COUNT; i++)
			n += layer_has(&spec, (enum layer_vector)i) ? (uint64_t)width_of(config, vector_rows[i].width) : 0;
	}
	return n;
}

static bool bind_rope_divisors(struct binder *binder)
{
	const char *name = binder->naming->rope_divisors;
	const float **divisors = &binder->weights->rope_divisors;
	int64_t n = binder->config->rotary_dim / 2;
	if (!bind_vector(binder, name, n, divisors))
		return false;
	for (int64_t i = 0; *divisors && i < n; i++)
		if (!config_is_divisor((double)(*divisors)[i]))
			return error_set(binder->error, ERROR_MODEL, "%s: %s[%" PRId64 "] is %g, expected %s",
			                 weight_file_find(binder->file, name)->file, name, i, (double)(*divisors)[i],
			                 CONFIG_DIVISOR_EXPECTED);
	return true;
}

static bool bind_all(struct binder *binder)
{
	const struct model_config *config = binder->config;
	const struct naming *naming = binder->naming;
	struct model_weights *weights = binder->weights;
	if (!bind_matrix(binder, naming->embedding, config->vocab_size, config->hidden_size, &weights->embedding) ||
	    !bind_vector(binder, naming->final_norm, config->hidden_size, &weights->final_norm) ||
	    (config->rope.has_divisors && !bind_rope_divisors(binder)))
		return false;
	if (config->tie_word_embeddings)
		weights->head = weights->embedding;
	else if (!bind_matrix(binder, naming->head, config->vocab_size, config->hidden_size, &weights->head))
		return false;
	for (int64_t layer = 0; layer < config->n_layers; layer++)
		if (!bind_layer(binder, layer))
			return false;
	return check_names(binder);
}

static struct layer *layers_make(const struct model_config *config)
{
	struct layer *layers = calloc((size_t)config->n_layers, sizeof *layers);
	for (int64_t i = 0; layers && i < config->n_layers; i++)
		layers[i].spec = layer_spec_of(config, i);
	return layers;
}

bool weights_bind(const struct weight_file *file, const struct model_config *config, struct model_weights *weights,
                  struct error *error)
{
	struct binder binder = {
	    .file = file, .config = config, .naming = &namings[config->format], .weights = weights, .error = error};
	*weights = (struct model_weights){.file_bytes = weight_file_bytes(file)};
	if (!weights_vector_bytes(config, &weights->vector_bytes))
		return error_set(error, ERROR_MODEL, "the model's norms have more bytes than can be counted");
	/* A vector takes at most twice its bytes in the file: a config that promises more than the file holds allocates no
	 * more than the file is worth, and ends with missing tensors. */
	size_t in_file = 2 * weights->file_bytes;
	weights->layers = layers_make(config);
	weights->vectors = malloc(weights->vector_bytes < in_file ? weights->vector_bytes : in_file);
	binder.next_vector = weights->vectors;
	bool ok = weights->layers && weights->vectors;
	if (!ok)
		error_set(error, ERROR_MEMORY, "no memory for %zu bytes of norms", weights->vector_bytes);
	ok = ok && bind_all(&binder);
	bytes_free(&binder.missing);
	if (!ok)
		weights_free(weights);
	return ok;
}

void weights_free(struct model_weights *weights)
{
	free(weights->layers);
	free(weights->vectors);
	memset(weights, 0, sizeof *weights);
}

/* ---- all matrices ---- */

struct weight *weights_matrix(struct model_weights *weights, const struct model_config *config, int64_t index)
{
	int64_t n_in_layers = config->n_layers * M_COUNT;
	if (index < n_in_layers)
		return &weights->layers[index / M_COUNT].matrix[index % M_COUNT];
	return index == n_in_layers ? &weights->head : index == n_in_layers + 1 ? &weights->embedding : NULL;
}

bool weights_describe(const struct model_config *config, enum dtype type, struct model_weights *weights,
                      struct error *error)
{
	*weights = (struct model_weights){.layers = layers_make(config)};
	if (!weights->layers)
		return error_set(error, ERROR_MEMORY, "no memory for %" PRId64 " layers", config->n_layers);
	struct weight table = {.type = type, .n_out = config->vocab_size, .n_in = config->hidden_size};
	weights->embedding = weights->head = table;
	for (int64_t layer = 0; layer < config->n_layers; layer++)
		for (int i = 0; i < M_COUNT; i++)
			weights->layers[layer].matrix[i] = (struct weight){.type = type,
			                                                   .n_out = width_of(config, matrix_rows[i].n_out),
			                                                   .n_in = width_of(config, matrix_rows[i].n_in)};
	return true;
}
