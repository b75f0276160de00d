/* model/weights: every tensor in its field, whatever float type it is stored in; what is missing, too much or of the
 * wrong shape is named. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "folder_fixture.h"
#include "kernels/convert.h"
#include "model/plan.h"
#include "model/weights.h"

/* ---- a model of two layers, tensor by tensor ---- */

enum { HIDDEN = 6, INNER = 10, N_HEADS = 4, N_KV = 2, HEAD_DIM = 2, VOCAB = 5, MAX_TENSORS = 64 };

static const struct model_config plain = {
    .architecture = "LlamaForCausalLM",
    .hidden_size = HIDDEN,
    .intermediate_size = INNER,
    .n_layers = 2,
    .n_heads = N_HEADS,
    .n_kv_heads = N_KV,
    .head_dim = HEAD_DIM,
    .vocab_size = VOCAB,
    .max_positions = 32,
    .rms_norm_eps = 1e-5,
};

struct draft {
	char name[80];
	const char *dtype;
	int64_t rows, columns; /* columns 0 = a vector */
};

static struct draft drafts[MAX_TENSORS];
static int n_drafts;

static struct draft *add(const char *name, int64_t rows, int64_t columns)
{
	struct draft *draft = &drafts[n_drafts++];
	assert_true(n_drafts <= MAX_TENSORS);
	*draft = (struct draft){.dtype = "F32", .rows = rows, .columns = columns};
	snprintf(draft->name, sizeof draft->name, "%s", name);
	return draft;
}

static void add_in_layers(const char *name, int64_t rows, int64_t columns)
{
	for (int layer = 0; layer < 2; layer++) {
		char full[80];
		snprintf(full, sizeof full, "model.layers.%d.%s", layer, name);
		add(full, rows, columns);
	}
}

static void draft_model(void)
{
	n_drafts = 0;
	add("model.embed_tokens.weight", VOCAB, HIDDEN);
	add("model.norm.weight", HIDDEN, 0);
	add("lm_head.weight", VOCAB, HIDDEN);
	add_in_layers("input_layernorm.weight", HIDDEN, 0);
	add_in_layers("post_attention_layernorm.weight", HIDDEN, 0);
	add_in_layers("self_attn.q_proj.weight", N_HEADS * HEAD_DIM, HIDDEN);
	add_in_layers("self_attn.k_proj.weight", N_KV * HEAD_DIM, HIDDEN);
	add_in_layers("self_attn.v_proj.weight", N_KV * HEAD_DIM, HIDDEN);
	add_in_layers("self_attn.o_proj.weight", HIDDEN, N_HEADS * HEAD_DIM);
	add_in_layers("mlp.gate_proj.weight", INNER, HIDDEN);
	add_in_layers("mlp.up_proj.weight", INNER, HIDDEN);
	add_in_layers("mlp.down_proj.weight", HIDDEN, INNER);
}

static void draft_biases(void)
{
	add_in_layers("self_attn.q_proj.bias", N_HEADS * HEAD_DIM, 0);
	add_in_layers("self_attn.k_proj.bias", N_KV * HEAD_DIM, 0);
	add_in_layers("self_attn.v_proj.bias", N_KV * HEAD_DIM, 0);
	add_in_layers("self_attn.o_proj.bias", HIDDEN, 0);
	add_in_layers("mlp.gate_proj.bias", INNER, 0);
	add_in_layers("mlp.up_proj.bias", INNER, 0);
	add_in_layers("mlp.down_proj.bias", HIDDEN, 0);
}

static struct draft *draft(const char *name)
{
	for (int i = 0; i < n_drafts; i++)
		if (strcmp(drafts[i].name, name) == 0)
			return &drafts[i];
	fail_msg("no tensor %s", name);
	return NULL;
}

static void drop(const char *name)
{
	*draft(name) = drafts[--n_drafts];
}

/* Element i of the tensor: small whole numbers, which every float type holds exactly. */
static float element_of(const char *name, int64_t i)
{
	unsigned sum = 0;
	for (const char *at = name; *at; at++)
		sum = sum * 31 + (unsigned char)*at;
	return (float)((int64_t)((sum + (unsigned)i * 7) % 101) - 50);
}

static void write_draft(struct file_maker *maker, const struct draft *tensor)
{
	struct bytes data = {0};
	char shape[64];
	int64_t n = tensor->rows * (tensor->columns ? tensor->columns : 1);
	snprintf(shape, sizeof shape, tensor->columns ? "[%d,%d]" : "[%d]", (int)tensor->rows, (int)tensor->columns);
	for (int64_t i = 0; i < n; i++) {
		float value = element_of(tensor->name, i);
		uint16_t half = strcmp(tensor->dtype, "F16") == 0 ? f32_to_f16(value) : f32_to_bf16(value);
		if (strcmp(tensor->dtype, "F32") == 0)
			bytes_append(&data, &value, sizeof value);
		else if (strstr(tensor->dtype, "F16"))
			bytes_append(&data, &half, sizeof half);
		else
			bytes_append(&data, &(int64_t){1}, sizeof(int64_t));
	}
	maker_add(maker, tensor->name, tensor->dtype, shape, data.data, data.n_bytes);
	bytes_free(&data);
}

static struct weight_file *write_and_open(void)
{
	struct file_maker maker = {0};
	struct error error = {0};
	for (int i = 0; i < n_drafts; i++)
		write_draft(&maker, &drafts[i]);
	maker_write(&maker, folder_file(&folder, "model.safetensors"));
	struct weight_file *file = weight_file_open(folder.path, &error);
	if (!file)
		fail_msg("%s", error.message);
	return file;
}

/* ---- checks ---- */

static const struct weights_wanted as_stored = {.as_stored = true};

static void check_vector(const float *vector, const char *name, int64_t n)
{
	assert_non_null(vector);
	for (int64_t i = 0; i < n; i++)
		assert_true(vector[i] == element_of(name, i));
}

static void check_matrix(const struct weight *weight, const char *name, int64_t n_out, int64_t n_in)
{
	const unsigned char *data = weight->data;
	assert_true(weight->n_out == n_out && weight->n_in == n_in && weight->layout == LAYOUT_ROWS);
	for (int64_t i = 0; i < n_out * n_in; i++) {
		float value;
		uint16_t half;
		memcpy(&value, data + (weight->type == DTYPE_F32 ? 4 * i : 0), sizeof value);
		memcpy(&half, data + 2 * i, sizeof half);
		if (weight->type == DTYPE_F16)
			value = f16_to_f32(half);
		else if (weight->type == DTYPE_BF16)
			value = bf16_to_f32(half);
		assert_true(value == element_of(name, i));
	}
}

#define IN_LAYER(check, field, name, ...)                                                                              \
	do {                                                                                                               \
		char full_name[80];                                                                                            \
		snprintf(full_name, sizeof full_name, "model.layers.%d." name, number);                                        \
		check(field, full_name, __VA_ARGS__);                                                                          \
	} while (0)

static void check_layer(const struct layer *layer, int number, bool biases)
{
	IN_LAYER(check_vector, layer->vector[V_NORM_BEFORE_ATTENTION], "input_layernorm.weight", HIDDEN);
	IN_LAYER(check_vector, layer->vector[V_NORM_BEFORE_MLP], "post_attention_layernorm.weight", HIDDEN);
	IN_LAYER(check_matrix, &layer->matrix[M_Q], "self_attn.q_proj.weight", N_HEADS * HEAD_DIM, HIDDEN);
	IN_LAYER(check_matrix, &layer->matrix[M_K], "self_attn.k_proj.weight", N_KV * HEAD_DIM, HIDDEN);
	IN_LAYER(check_matrix, &layer->matrix[M_V], "self_attn.v_proj.weight", N_KV * HEAD_DIM, HIDDEN);
	IN_LAYER(check_matrix, &layer->matrix[M_O], "self_attn.o_proj.weight", HIDDEN, N_HEADS * HEAD_DIM);
	IN_LAYER(check_matrix, &layer->matrix[M_GATE], "mlp.gate_proj.weight", INNER, HIDDEN);
	IN_LAYER(check_matrix, &layer->matrix[M_UP], "mlp.up_proj.weight", INNER, HIDDEN);
	IN_LAYER(check_matrix, &layer->matrix[M_DOWN], "mlp.down_proj.weight", HIDDEN, INNER);
	for (int i = 0; i < V_COUNT; i++)
		assert_true((layer->vector[i] != NULL) == layer_has(&layer->spec, (enum layer_vector)i));
	assert_true((layer->vector[V_BIAS_DOWN] != NULL) == biases);
	if (!biases) {
		for (int i = V_BIAS_Q; i <= V_BIAS_DOWN; i++)
			assert_null(layer->vector[i]);
		return;
	}
	IN_LAYER(check_vector, layer->vector[V_BIAS_Q], "self_attn.q_proj.bias", N_HEADS * HEAD_DIM);
	IN_LAYER(check_vector, layer->vector[V_BIAS_K], "self_attn.k_proj.bias", N_KV * HEAD_DIM);
	IN_LAYER(check_vector, layer->vector[V_BIAS_V], "self_attn.v_proj.bias", N_KV * HEAD_DIM);
	IN_LAYER(check_vector, layer->vector[V_BIAS_O], "self_attn.o_proj.bias", HIDDEN);
	IN_LAYER(check_vector, layer->vector[V_BIAS_GATE], "mlp.gate_proj.bias", INNER);
	IN_LAYER(check_vector, layer->vector[V_BIAS_UP], "mlp.up_proj.bias", INNER);
	IN_LAYER(check_vector, layer->vector[V_BIAS_DOWN], "mlp.down_proj.bias", HIDDEN);
}

/* Binds the drafts and checks every number. */
static enum dtype bind_good(const struct model_config *config)
{
	struct model_weights weights;
	struct error error = {0};
	size_t vector_bytes;
	struct weight_file *file = write_and_open();
	if (!weights_bind(file, config, &weights, &error))
		fail_msg("%s", error.message);
	check_matrix(&weights.embedding, "model.embed_tokens.weight", VOCAB, HIDDEN);
	check_vector(weights.final_norm, "model.norm.weight", HIDDEN);
	if (config->tie_word_embeddings)
		assert_memory_equal(&weights.head, &weights.embedding, sizeof weights.head);
	else
		check_matrix(&weights.head, "lm_head.weight", VOCAB, HIDDEN);
	for (int layer = 0; layer < 2; layer++)
		check_layer(&weights.layers[layer], layer, config->o_bias);
	assert_true(weights_vector_bytes(config, &vector_bytes));
	assert_int_equal(vector_bytes, weights.vector_bytes);
	struct weight_sizes sizes;
	assert_true(plan_weight_sizes(&weights, config, &as_stored, &sizes, &error));
	assert_int_equal(sizes.mapped_bytes, weight_file_bytes(file));
	assert_int_equal(sizes.converted_bytes, 0);
	enum dtype type = sizes.type;
	weights_free(&weights);
	weight_file_close(file);
	return type;
}

/* The message names each of the NULL-terminated texts. */
static void refused(const struct model_config *config, const char *const *says)
{
	struct model_weights weights;
	struct error error = {0};
	struct weight_file *file = write_and_open();
	assert_false(weights_bind(file, config, &weights, &error));
	assert_int_equal(error.code, ERROR_MODEL);
	assert_non_null(strstr(error.message, "/model.safetensors: "));
	for (; *says; says++)
		if (!strstr(error.message, *says))
			fail_msg("says: %s\nnot:  %s", error.message, *says);
	assert_true(!weights.layers && !weights.vectors);
	weights_free(&weights); /* harmless */
	weight_file_close(file);
}
#define REFUSED(config, ...) refused(config, (const char *const[]){__VA_ARGS__, NULL})

/* ---- tests ---- */

static void every_tensor_finds_its_field(void **state)
{
	(void)state;
	draft_model();
	assert_int_equal(bind_good(&plain), DTYPE_F32);
}

static void biases_are_bound_when_the_config_says_so(void **state)
{
	(void)state;
	struct model_config config = plain;
	config.qkv_bias = config.o_bias = config.mlp_bias = true;
	draft_model();
	draft_biases();
	bind_good(&config);
	REFUSED(&plain, "14 unexpected: model.layers.0.mlp.down_proj.bias, ", ", ...");
	draft_model();
	REFUSED(&config, "14 missing: model.layers.0.self_attn.q_proj.bias, ");
}

/* Each head of queries and keys is normalised. */
static void norms_of_heads_are_bound_when_the_config_says_so(void **state)
{
	(void)state;
	struct model_config config = plain;
	struct model_weights weights;
	struct error error = {0};
	config.qk_norm = true;
	draft_model();
	add_in_layers("self_attn.q_norm.weight", HEAD_DIM, 0);
	add_in_layers("self_attn.k_norm.weight", HEAD_DIM, 0);
	bind_good(&config);
	struct weight_file *file = write_and_open();
	assert_true(weights_bind(file, &config, &weights, &error));
	for (int number = 0; number < 2; number++) {
		IN_LAYER(check_vector, weights.layers[number].vector[V_NORM_Q], "self_attn.q_norm.weight", HEAD_DIM);
		IN_LAYER(check_vector, weights.layers[number].vector[V_NORM_K], "self_attn.k_norm.weight", HEAD_DIM);
	}
	weights_free(&weights);
	weight_file_close(file);
	REFUSED(&plain, "4 unexpected: model.layers.0.self_attn.k_norm.weight, ");
	draft("model.layers.1.self_attn.k_norm.weight")->rows = N_KV * HEAD_DIM;
	REFUSED(&config, "model.layers.1.self_attn.k_norm.weight has shape [4], config.json makes it [2]");
}

/* n_out rows that begin at row `first` of a tensor. */
static void check_rows(const struct weight *weight, const struct weight_file *file, const char *name, int64_t first,
                       int64_t n_out)
{
	const struct tensor *tensor = weight_file_find(file, name);
	assert_true(tensor && weight->n_out == n_out && weight->n_in == HIDDEN && weight->layout == LAYOUT_ROWS);
	assert_true((const char *)weight->data == (const char *)tensor->data + first * HIDDEN * (int64_t)sizeof(float));
}

static void fused_tensors_are_bound_by_their_rows(void **state)
{
	(void)state;
	enum { Q = N_HEADS * HEAD_DIM, KV = N_KV * HEAD_DIM };
	static const char *const parts[] = {"q_proj", "k_proj", "v_proj", "gate_proj", "up_proj"};
	struct model_config config = plain;
	struct model_weights weights;
	struct error error = {0};
	config.fused = true;
	draft_model();
	REFUSED(&config, "4 missing: model.layers.0.self_attn.qkv_proj.weight, model.layers.0.mlp.gate_up_proj.weight, ",
	        "10 unexpected: ");
	for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
		for (int layer = 0; layer < 2; layer++) {
			char name[80];
			snprintf(name, sizeof name, "model.layers.%d.%s.%s.weight", layer, i < 3 ? "self_attn" : "mlp", parts[i]);
			drop(name);
		}
	add_in_layers("self_attn.qkv_proj.weight", Q + 2 * KV, HIDDEN);
	add_in_layers("mlp.gate_up_proj.weight", 2 * INNER, HIDDEN);
	struct weight_file *file = write_and_open();
	if (!weights_bind(file, &config, &weights, &error))
		fail_msg("%s", error.message);
	for (int number = 0; number < 2; number++) {
		const struct layer *layer = &weights.layers[number];
		char name[80];
		snprintf(name, sizeof name, "model.layers.%d.self_attn.qkv_proj.weight", number);
		check_rows(&layer->matrix[M_Q], file, name, 0, Q);
		check_rows(&layer->matrix[M_K], file, name, Q, KV);
		check_rows(&layer->matrix[M_V], file, name, Q + KV, KV);
		snprintf(name, sizeof name, "model.layers.%d.mlp.gate_up_proj.weight", number);
		check_rows(&layer->matrix[M_GATE], file, name, 0, INNER);
		check_rows(&layer->matrix[M_UP], file, name, INNER, INNER);
		IN_LAYER(check_matrix, &layer->matrix[M_O], "self_attn.o_proj.weight", HIDDEN, Q);
	}
	weights_free(&weights);
	weight_file_close(file);
	draft("model.layers.1.self_attn.qkv_proj.weight")->rows = Q + KV;
	REFUSED(&config, "model.layers.1.self_attn.qkv_proj.weight has shape [12, 6], config.json makes it [16, 6]");
}

static void types_may_be_mixed_and_addresses_odd(void **state)
{
	(void)state;
	draft_model();
	n_drafts++;
	memmove(drafts + 1, drafts, (size_t)(n_drafts - 1) * sizeof *drafts);
	drafts[0] = (struct draft){.name = "model.layers.0.self_attn.rotary_emb.inv_freq", .dtype = "F32", .rows = 1};
	static const char *const types[] = {"BF16", "F16", "F32", "BF16"};
	for (int i = 1; i < n_drafts; i++)
		drafts[i].dtype = types[i % 4];
	bind_good(&plain);

	/* One byte in front moves everything else to odd addresses. */
	struct file_maker maker = {0};
	struct error error = {0};
	struct model_weights weights;
	maker_add(&maker, "model.layers.0.self_attn.rotary_emb.inv_freq", "U8", "[1]", "x", 1);
	for (int i = 1; i < n_drafts; i++)
		write_draft(&maker, &drafts[i]);
	maker_write(&maker, folder_file(&folder, "model.safetensors"));
	struct weight_file *file = weight_file_open(folder.path, &error);
	assert_non_null(file);
	assert_true(weights_bind(file, &plain, &weights, &error));
	for (int layer = 0; layer < 2; layer++)
		check_layer(&weights.layers[layer], layer, false);
	weights_free(&weights);
	weight_file_close(file);

	draft_model();
	for (int i = 0; i < n_drafts; i++)
		drafts[i].dtype = drafts[i].columns ? "F16" : "F32";
	assert_int_equal(bind_good(&plain), DTYPE_F16);
}

static void what_nobody_needs_is_ignored(void **state)
{
	(void)state;
	struct model_config tied = plain;
	tied.tie_word_embeddings = true;
	draft_model();
	add_in_layers("self_attn.rotary_emb.inv_freq", 1, 0);
	bind_good(&tied); /* with a redundant lm_head.weight */
	draft("lm_head.weight")->dtype = "I64";
	bind_good(&tied);
	drop("lm_head.weight");
	bind_good(&tied);
	REFUSED(&plain, "1 missing: lm_head.weight");
}

static void missing_and_unexpected_tensors_are_named(void **state)
{
	(void)state;
	draft_model();
	snprintf(draft("model.layers.1.mlp.up_proj.weight")->name, sizeof drafts->name, "model.layers.1.mlp.w3.weight");
	REFUSED(&plain, "1 missing: model.layers.1.mlp.up_proj.weight", "1 unexpected: model.layers.1.mlp.w3.weight");
	static const char *const strays[] = {"model.layers.2.mlp.up_proj.weight",
	                                     "model.layers.01.mlp.up_proj.weight",
	                                     "model.layers.+1.mlp.up_proj.weight",
	                                     "model.layers. 1.mlp.up_proj.weight",
	                                     "model.layers.-1.mlp.up_proj.weight",
	                                     "model.layers.18446744073709551616.mlp.up_proj.weight",
	                                     "model.layers.1.mlp.up_proj.weight.x",
	                                     "model.layers.1.self_attn.q_proj.bias",
	                                     "model.layers.",
	                                     "",
	                                     "visual.patch_embed.weight"};
	for (size_t i = 0; i < sizeof strays / sizeof *strays; i++) {
		draft_model();
		add(strays[i], INNER, HIDDEN);
		REFUSED(&plain, "1 unexpected: ", strays[i]);
	}
	n_drafts = 0;
	add("model.embed_tokens.weight", VOCAB, HIDDEN);
	add("a\\u001b[31m\\n", 1, 0);
	REFUSED(&plain, "20 missing: model.norm.weight, lm_head.weight", ", ...; 1 unexpected: a?[31m?");
}

static void shapes_and_types_are_checked(void **state)
{
	(void)state;
	static const char *const names[] = {"model.embed_tokens.weight", "lm_head.weight",
	                                    "model.layers.0.self_attn.q_proj.weight",
	                                    "model.layers.1.mlp.down_proj.weight"};
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		char expected[64];
		draft_model();
		struct draft *tensor = draft(names[i]);
		snprintf(expected, sizeof expected, "config.json makes it [%d, %d]", (int)tensor->rows, (int)tensor->columns);
		tensor->rows++;
		REFUSED(&plain, names[i], expected);
		tensor->rows--;
		tensor->columns = 0;
		REFUSED(&plain, names[i], expected);
		draft_model();
		draft(names[i])->dtype = "I64";
		REFUSED(&plain, names[i], "has dtype I64, expected F32, F16 or BF16");
	}
	draft_model();
	draft("model.norm.weight")->rows = 7;
	REFUSED(&plain, "tensor model.norm.weight has shape [7], config.json makes it [6]");
	draft("model.norm.weight")->columns = 1;
	REFUSED(&plain, "tensor model.norm.weight has shape [7, 1], config.json makes it [6]");
	draft_model();
	draft("model.layers.1.input_layernorm.weight")->dtype = "F64";
	REFUSED(&plain, "model.layers.1.input_layernorm.weight has dtype F64");
}

static void a_config_that_promises_too_much_costs_nothing(void **state)
{
	(void)state;
	struct model_config config = plain;
	draft_model();
	config.n_layers = 4096;
	REFUSED(&config, "36846 missing: model.layers.2.self_attn.q_proj.weight");
	config = plain;
	config.hidden_size = 1 << 24;
	config.n_layers = 4096;
	REFUSED(&config, "tensor model.embed_tokens.weight has shape [5, 6], config.json makes it [5, 16777216]");
}

/* Every matrix but the embedding is made anew; the head gets 8 bits where the others get 4. */
static void conversion_is_counted(void **state)
{
	(void)state;
	static const char *const names[] = {"gqa-f32", "mha-f16-tied"};
	for (int i = 0; i < 2; i++) {
		char path[128];
		struct model_config config;
		struct model_weights weights;
		struct weight_sizes as_is, made;
		struct error error = {0};
		snprintf(path, sizeof path, "tests/models/%s", names[i]);
		assert_true(config_load(path, &config, &error));
		struct weight_file *file = weight_file_open(path, &error);
		assert_true(file && weights_bind(file, &config, &weights, &error));
		enum dtype own = weights.head.type;
		struct weights_wanted q4 = {.type = DTYPE_Q4}, same = {.type = own};
		assert_true(plan_weight_sizes(&weights, &config, &same, &as_is, &error));
		assert_true(plan_weight_sizes(&weights, &config, &q4, &made, &error));
		assert_int_equal(as_is.converted_bytes, 0);
		assert_int_equal(made.types, UINT64_C(1) << DTYPE_Q8 | UINT64_C(1) << DTYPE_Q4);
		assert_int_equal(made.type, DTYPE_Q4);
		uint64_t converted = 0, replaced = 0;
		const struct weight *matrix;
		for (int64_t m = 0; (matrix = weights_matrix(&weights, &config, m)); m++) {
			size_t n;
			enum dtype target = matrix == &weights.head ? DTYPE_Q8 : DTYPE_Q4;
			if (matrix == &weights.embedding)
				continue;
			assert_true(weight_bytes(target, matrix->n_out, matrix->n_in, &n));
			converted += n;
			if (matrix != &weights.head || !config.tie_word_embeddings)
				replaced += (uint64_t)(matrix->n_out * matrix->n_in) * (own == DTYPE_F32 ? 4 : 2);
		}
		assert_int_equal(made.converted_bytes, converted);
		assert_int_equal(made.mapped_bytes, weight_file_bytes(file) - replaced);
		weights_free(&weights);
		weight_file_close(file);
	}
}

static void models_of_the_repository_bind(void **state)
{
	(void)state;
	static const char *const names[] = {"gqa-f32",        "mha-f16-tied", "bias-f32", "sharded-f16",
	                                    "odd-sizes-bf16", "qwen3-bf16",   "phi3-f16"};
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		char path[128];
		struct model_config config;
		struct model_weights weights;
		struct error error = {0};
		snprintf(path, sizeof path, "tests/models/%s", names[i]);
		if (!config_load(path, &config, &error))
			fail_msg("%s", error.message);
		struct weight_file *file = weight_file_open(path, &error);
		if (!file || !weights_bind(file, &config, &weights, &error))
			fail_msg("%s", error.message);
		struct weight_sizes sizes, described;
		struct model_weights shapes;
		assert_true(plan_weight_sizes(&weights, &config, &as_stored, &sizes, &error));
		assert_true(weights_describe(&config, sizes.type, &shapes, &error));
		assert_true(plan_weight_sizes(&shapes, &config, &as_stored, &described, &error));
		weights_free(&shapes);
		assert_int_equal(described.types, sizes.types);
		assert_true(described.mapped_bytes < sizes.mapped_bytes); /* by headers and vectors */
		assert_string_equal(dtype_info(sizes.type)->name, strstr(names[i], "bf16")  ? "BF16"
		                                                  : strstr(names[i], "f16") ? "F16"
		                                                                            : "F32");
		assert_true((weights.layers[1].vector[V_BIAS_DOWN] != NULL) == config.mlp_bias);
		uint64_t n_elements = weights.vector_bytes / sizeof(float);
		struct weight *matrix;
		for (int64_t m = 0; (matrix = weights_matrix(&weights, &config, m)); m++)
			if (matrix != &weights.head || !config.tie_word_embeddings)
				n_elements += (uint64_t)(matrix->n_out * matrix->n_in);
		assert_int_equal(weights_parameter_count(&config), n_elements);
		weights_free(&weights);
		weight_file_close(file);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_teardown(every_tensor_finds_its_field, clear_folder),
	    cmocka_unit_test_teardown(biases_are_bound_when_the_config_says_so, clear_folder),
	    cmocka_unit_test_teardown(norms_of_heads_are_bound_when_the_config_says_so, clear_folder),
	    cmocka_unit_test_teardown(fused_tensors_are_bound_by_their_rows, clear_folder),
	    cmocka_unit_test_teardown(types_may_be_mixed_and_addresses_odd, clear_folder),
	    cmocka_unit_test_teardown(what_nobody_needs_is_ignored, clear_folder),
	    cmocka_unit_test_teardown(missing_and_unexpected_tensors_are_named, clear_folder),
	    cmocka_unit_test_teardown(shapes_and_types_are_checked, clear_folder),
	    cmocka_unit_test_teardown(a_config_that_promises_too_much_costs_nothing, clear_folder),
	    cmocka_unit_test(models_of_the_repository_bind),
	    cmocka_unit_test(conversion_is_counted),
	};
	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
