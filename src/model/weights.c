/* Tensor names -> fields, by two tables: matrices that stay where they lie, vectors that are widened to f32. */
#include "model/weights.h"

#include <assert.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "kernels/convert.h"
#include "model/config_private.h"
#include "tensor/block.h"

enum { MAX_NAME_BYTES = 256, MAX_NAMED = 4 };

enum width { HIDDEN, ATTENDED, KV, INNER, HEAD };
enum presence { ALWAYS, WITH_QKV_BIAS, WITH_O_BIAS, WITH_MLP_BIAS, WITH_QK_NORM };

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

/* A matrix [n_out, n_in] of every layer. */
static const struct matrix_row {
	const char *names[FORMAT_COUNT];
	size_t offset; /* of the struct weight in layer_weights */
	enum width n_out, n_in;
	const char *const *fused; /* by format; NULL: never */
} matrix_rows[] = {
    {{"self_attn.q_proj.weight", "attn_q.weight"}, offsetof(struct layer_weights, q), ATTENDED, HIDDEN, fused_qkv},
    {{"self_attn.k_proj.weight", "attn_k.weight"}, offsetof(struct layer_weights, k), KV, HIDDEN, fused_qkv},
    {{"self_attn.v_proj.weight", "attn_v.weight"}, offsetof(struct layer_weights, v), KV, HIDDEN, fused_qkv},
    {{"self_attn.o_proj.weight", "attn_output.weight"}, offsetof(struct layer_weights, o), HIDDEN, ATTENDED, NULL},
    {{"mlp.gate_proj.weight", "ffn_gate.weight"}, offsetof(struct layer_weights, gate), INNER, HIDDEN, fused_gate_up},
    {{"mlp.up_proj.weight", "ffn_up.weight"}, offsetof(struct layer_weights, up), INNER, HIDDEN, fused_gate_up},
    {{"mlp.down_proj.weight", "ffn_down.weight"}, offsetof(struct layer_weights, down), HIDDEN, INNER, NULL},
};

/* A vector of every layer. */
static const struct vector_row {
	const char *names[FORMAT_COUNT];
	size_t offset; /* of the pointer in layer_weights */
	enum width width;
	enum presence presence;
} vector_rows[] = {
    {{"input_layernorm.weight", "attn_norm.weight"}, offsetof(struct layer_weights, attention_norm), HIDDEN, ALWAYS},
    {{"post_attention_layernorm.weight", "ffn_norm.weight"}, offsetof(struct layer_weights, mlp_norm), HIDDEN, ALWAYS},
    {{"self_attn.q_proj.bias", "attn_q.bias"}, offsetof(struct layer_weights, q_bias), ATTENDED, WITH_QKV_BIAS},
    {{"self_attn.k_proj.bias", "attn_k.bias"}, offsetof(struct layer_weights, k_bias), KV, WITH_QKV_BIAS},
    {{"self_attn.v_proj.bias", "attn_v.bias"}, offsetof(struct layer_weights, v_bias), KV, WITH_QKV_BIAS},
    {{"self_attn.o_proj.bias", "attn_output.bias"}, offsetof(struct layer_weights, o_bias), HIDDEN, WITH_O_BIAS},
    {{"self_attn.q_norm.weight", "attn_q_norm.weight"}, offsetof(struct layer_weights, q_norm), HEAD, WITH_QK_NORM},
    {{"self_attn.k_norm.weight", "attn_k_norm.weight"}, offsetof(struct layer_weights, k_norm), HEAD, WITH_QK_NORM},
    {{"mlp.gate_proj.bias", "ffn_gate.bias"}, offsetof(struct layer_weights, gate_bias), INNER, WITH_MLP_BIAS},
    {{"mlp.up_proj.bias", "ffn_up.bias"}, offsetof(struct layer_weights, up_bias), INNER, WITH_MLP_BIAS},
    {{"mlp.down_proj.bias", "ffn_down.bias"}, offsetof(struct layer_weights, down_bias), HIDDEN, WITH_MLP_BIAS},
};

enum { N_MATRICES = sizeof matrix_rows / sizeof *matrix_rows, N_VECTORS = sizeof vector_rows / sizeof *vector_rows };

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

static bool is_present(const struct model_config *config, enum presence presence)
{
	switch (presence) {
	case WITH_QKV_BIAS:
		return config->qkv_bias;
	case WITH_O_BIAS:
		return config->o_bias;
	case WITH_MLP_BIAS:
		return config->mlp_bias;
	case WITH_QK_NORM:
		return config->qk_norm;
	default:
		return true;
	}
}

/* Where a matrix lies: in a tensor of its own, or in rows of one that it shares. */
struct place {
	const char *name; /* of the tensor, after the prefix and number of the layer */
	int64_t first;    /* its first row there */
	int64_t n_rows;   /* of the tensor */
};

static struct place place_of(const struct model_config *config, const struct matrix_row *row)
{
	struct place place = {.name = row->names[config->format], .n_rows = width_of(config, row->n_out)};
	if (!config->fused || !row->fused)
		return place;
	place.name = row->fused[config->format];
	place.n_rows = 0;
	for (int i = 0; i < N_MATRICES; i++) {
		if (matrix_rows[i].fused != row->fused)
			continue;
		if (&matrix_rows[i] == row)
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

static bool bind_layer_matrix(struct binder *binder, int64_t layer, const struct matrix_row *row, struct weight *weight)
{
	char name[MAX_NAME_BYTES];
	struct place place = place_of(binder->config, row);
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

static bool bind_layer(struct binder *binder, int64_t layer)
{
	char name[MAX_NAME_BYTES];
	char *fields = (char *)&binder->weights->layers[layer];
	const struct model_config *config = binder->config;
	for (int i = 0; i < N_MATRICES; i++)
		if (!bind_layer_matrix(binder, layer, &matrix_rows[i],
		                       (struct weight *)(void *)(fields + matrix_rows[i].offset)))
			return false;
	for (int i = 0; i < N_VECTORS; i++) {
		const struct vector_row *row = &vector_rows[i];
		if (!is_present(config, row->presence))
			continue;
		snprintf(name, sizeof name, "%s%" PRId64 ".%s", binder->naming->layer, layer, row->names[config->format]);
		if (!bind_vector(binder, name, width_of(config, row->width), (const float **)(void *)(fields + row->offset)))
			return false;
	}
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
static const char *name_in_layer(const struct model_config *config, const char *name)
{
	const char *prefix = namings[config->format].layer;
	if (strncmp(name, prefix, strlen(prefix)) != 0)
		return NULL;
	const char *digits = name + strlen(prefix);
	size_t n = strspn(digits, "0123456789");
	if (n == 0 || n > 9 || (n > 1 && digits[0] == '0') || digits[n] != '.' ||
	    strtol(digits, NULL, 10) >= config->n_layers)
		return NULL;
	return digits + n + 1;
}

static bool is_layer_tensor(const struct model_config *config, const char *name)
{
	const char *rest = name_in_layer(config, name);
	for (int i = 0; rest && i < N_MATRICES; i++)
		if (strcmp(rest, place_of(config, &matrix_rows[i]).name) == 0)
			return true;
	for (int i = 0; rest && i < N_VECTORS; i++)
		if (is_present(config, vector_rows[i].presence) && strcmp(rest, vector_rows[i].names[config->format]) == 0)
			return true;
	return false;
}

static bool is_expected(const struct model_config *config, const char *name)
{
	const struct naming *naming = &namings[config->format];
	return strcmp(name, naming->embedding) == 0 || strcmp(name, naming->final_norm) == 0 ||
	       strcmp(name, naming->head) == 0 || (config->rope.has_divisors && strcmp(name, naming->rope_divisors) == 0) ||
	       is_layer_tensor(config, name) || is_redundant(config, name);
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
		if (!is_expected(binder->config, name))
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
	size_t per_layer = 0, n;
	for (int i = 0; i < N_VECTORS; i++)
		if (is_present(config, vector_rows[i].presence))
			per_layer += (size_t)width_of(config, vector_rows[i].width);
	size_t once = (size_t)config->hidden_size + (config->rope.has_divisors ? (size_t)config->rotary_dim / 2 : 0);
	return checked_mul(per_layer, (size_t)config->n_layers, &n) && checked_add(n, once, &n) &&
	       checked_mul(n, sizeof(float), n_bytes);
}

static bool bind_rope_divisors(struct binder *binder)
{
	const char *name = binder->naming->rope_divisors;
	const float **divisors = &binder->weights->rope_divisors;
	int64_t n = binder->config->rotary_dim / 2;
	if (!bind_vector(binder, name, n, divisors))
		return false;
	for (int64_t i = 0; *divisors && i < n; i++)
		if (!config_is_positive((double)(*divisors)[i]))
			return error_set(binder->error, ERROR_MODEL, "%s: %s[%" PRId64 "] is %g, expected %s",
			                 weight_file_find(binder->file, name)->file, name, i, (double)(*divisors)[i],
			                 CONFIG_POSITIVE_EXPECTED);
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
	weights->layers = calloc((size_t)config->n_layers, sizeof *weights->layers);
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
	int64_t n_in_layers = config->n_layers * N_MATRICES;
	if (index < n_in_layers) {
		char *fields = (char *)&weights->layers[index / N_MATRICES];
		return (struct weight *)(void *)(fields + matrix_rows[index % N_MATRICES].offset);
	}
	return index == n_in_layers ? &weights->head : index == n_in_layers + 1 ? &weights->embedding : NULL;
}

bool weights_describe(const struct model_config *config, enum dtype type, struct model_weights *weights,
                      struct error *error)
{
	*weights = (struct model_weights){.layers = calloc((size_t)config->n_layers, sizeof *weights->layers)};
	if (!weights->layers)
		return error_set(error, ERROR_MEMORY, "no memory for %" PRId64 " layers", config->n_layers);
	struct weight table = {.type = type, .n_out = config->vocab_size, .n_in = config->hidden_size};
	weights->embedding = weights->head = table;
	for (int64_t i = 0; i < config->n_layers * N_MATRICES; i++) {
		const struct matrix_row *row = &matrix_rows[i % N_MATRICES];
		*weights_matrix(weights, config, i) =
		    (struct weight){.type = type, .n_out = width_of(config, row->n_out), .n_in = width_of(config, row->n_in)};
	}
	return true;
}

/* 4 bits are too few for the head: its errors are the logits' errors. */
enum dtype weights_target(const struct model_weights *weights, const struct weight *matrix,
                          const struct weights_wanted *wanted)
{
	if (matrix == &weights->embedding)
		return matrix->type;
	enum dtype type = wanted->as_stored ? weight_served_type(matrix->type) : wanted->type;
	if (type == DTYPE_Q4 && !wanted->as_stored && matrix == &weights->head)
		return DTYPE_Q8;
	return type == DTYPE_BF16 && wanted->tiles ? DTYPE_BF16T : type;
}

/* Bytes of one matrix in the file, and as products read it. */
struct matrix_bytes {
	size_t stored, read;
};

static bool measure(const struct weight *matrix, enum dtype target, struct matrix_bytes *bytes)
{
	if (!dtype_bytes(matrix->type, (size_t)(matrix->n_out * matrix->n_in), &bytes->stored))
		return false;
	bytes->read = bytes->stored;
	return target == matrix->type || weight_bytes(target, matrix->n_out, matrix->n_in, &bytes->read);
}

/* Adds what the matrix takes; `total` is what the file has of matrices, `released` what conversion gives back of it. */
static bool add_stored(struct weight_sizes *sizes, const struct matrix_bytes *bytes, bool converted, bool shared,
                       uint64_t *total, uint64_t *released)
{
	size_t made = sizes->converted_bytes;
	if (converted && !checked_add(made, bytes->read, &made))
		return false;
	sizes->converted_bytes = made;
	*total += shared ? 0 : bytes->stored;
	*released += converted && !shared ? bytes->stored : 0;
	return true;
}

bool weights_sizes(const struct model_weights *weights, const struct model_config *config,
                   const struct weights_wanted *wanted, struct weight_sizes *sizes, struct error *error)
{
	struct model_weights *all = (struct model_weights *)weights; /* weights_matrix gives them to be changed */
	uint64_t elements[DTYPE_COUNT] = {0}, kinds[DTYPE_COUNT] = {0}, released = 0, stored = 0;
	*sizes = (struct weight_sizes){0};
	assert(weights);
	const struct weight *matrix;
	for (int64_t i = 0; (matrix = weights_matrix(all, config, i)); i++) {
		enum dtype target = weights_target(weights, matrix, wanted);
		enum dtype kind = wanted->as_stored ? matrix->type : wanted->type;
		bool shared = config->tie_word_embeddings && matrix == &weights->head;
		struct matrix_bytes bytes;
		if (!measure(matrix, target, &bytes) ||
		    !add_stored(sizes, &bytes, target != matrix->type, shared, &stored, &released))
			return error_set(error, ERROR_MEMORY, "the model's matrices have more bytes than can be counted");
		if (matrix == &weights->embedding)
			continue; /* no product */
		sizes->types |= 1u << target;
		sizes->product_bytes += bytes.read;
		sizes->head_bytes = matrix == &weights->head ? bytes.read : sizes->head_bytes;
		elements[target] += (uint64_t)(matrix->n_out * matrix->n_in);
		kinds[kind] += wanted->as_stored ? bytes.stored : bytes.read;
		sizes->type = elements[target] > elements[sizes->type] ? target : sizes->type;
		sizes->kind = kinds[kind] > kinds[sizes->kind] ? kind : sizes->kind;
	}
	sizes->mapped_bytes = (weights->file_bytes ? weights->file_bytes : stored) - released;
	return true;
}
