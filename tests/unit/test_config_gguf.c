/* Metadata of GGUF files -> hyperparameters: families by name, windows, rope scaling; what is wrong or not supported is
 * named. Numbers that stay within the reader (types, lengths) are test_gguf.c's. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "folder_fixture.h"
#include "gguf_model.h"

static struct gguf_maker maker; /* of the file in the making */
static struct gguf_keys keys;   /* its family's */

/* ---- one file ---- */

enum { N_LAYERS = 3, HEAD_DIM = 16, MAX_POSITIONS = 4096 };

static float epsilon = 1e-5f;

/* A small model's keys, but for those whose names are in `left_out` (NULL-terminated, or NULL). */
static void begin(const char *architecture, const char *const *left_out)
{
	static const struct {
		const char *name;
		int64_t value;
	} counts[] = {
	    {"embedding_length", 64},          {"feed_forward_length", 96},    {"block_count", N_LAYERS},
	    {"attention.head_count", 4},       {"attention.head_count_kv", 2}, {"attention.key_length", HEAD_DIM},
	    {"context_length", MAX_POSITIONS},
	};
	assert_true(maker.n_values == 0 && maker.n_tensors == 0);
	keys = (struct gguf_keys){&maker, architecture};
	gguf_maker_string(&maker, "general.architecture", architecture);
	gguf_number(keys, "attention.layer_norm_rms_epsilon", (double)epsilon);
	for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
		bool out = false;
		for (const char *const *name = left_out; name && *name; name++)
			out = out || strcmp(*name, counts[i].name) == 0;
		if (!out)
			gguf_count(keys, counts[i].name, counts[i].value);
	}
	gguf_maker_tensor(&maker, "token_embd.weight", 8, 64, DTYPE_F32, NULL);
}

static void begin_with(const char *architecture, const char *name, int64_t value)
{
	begin(architecture, (const char *const[]){name, NULL});
	gguf_count(keys, name, value);
}

static void begin_with_epsilon(float value)
{
	epsilon = value;
	begin("llama", NULL);
	epsilon = 1e-5f;
}

static struct model_config understood(void)
{
	struct model_config config;
	struct error error = {0};
	const char *path = folder_file(&folder, "model.gguf");
	gguf_maker_write(&maker, path);
	if (!config_load(path, &config, &error))
		fail_msg("%s", error.message);
	return config;
}

static void refused(const char *says)
{
	struct model_config config;
	struct error error = {0};
	const char *path = folder_file(&folder, "model.gguf");
	gguf_maker_write(&maker, path);
	if (config_load(path, &config, &error))
		fail_msg("understood, where it should say: %s", says);
	assert_int_equal(error.code, ERROR_MODEL);
	if (!strstr(error.message, says) || !strstr(error.message, "model.gguf: "))
		fail_msg("says: %s\nnot:  %s", error.message, says);
}

static void factors_tensor(const char *name, int n, float last)
{
	float factors[64];
	for (int i = 0; i < n; i++)
		factors[i] = i == n - 1 ? last : 1 + 0.5f * (float)i;
	gguf_maker_tensor(&maker, name, n, 0, DTYPE_F32, factors);
}

/* ---- tests ---- */

static void families_are_known_by_name(void **state)
{
	(void)state;
	static const struct {
		const char *name, *architecture;
		bool paired, qkv_bias, qk_norm, fused;
	} rows[] = {
	    {"llama", "LlamaForCausalLM", true, false, false, false},
	    {"qwen2", "Qwen2ForCausalLM", false, true, false, false},
	    {"qwen3", "Qwen3ForCausalLM", false, false, true, false},
	    {"phi3", "Phi3ForCausalLM", false, false, false, true},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		begin(rows[i].name, NULL);
		struct model_config config = understood();
		assert_string_equal(config.architecture, rows[i].architecture);
		assert_int_equal(config.format, FORMAT_GGUF);
		assert_true(config.paired_rows == rows[i].paired && config.qkv_bias == rows[i].qkv_bias);
		assert_true(config.qk_norm == rows[i].qk_norm && config.fused == rows[i].fused);
		assert_true(!config.o_bias && !config.mlp_bias && config.tie_word_embeddings);
		assert_true(config.head_dim == HEAD_DIM && config.rotary_dim == HEAD_DIM && config.vocab_size == 8);
		assert_true(config.rope.type == ROPE_DEFAULT && config.rope.attention_factor == 1);
	}
	static const char *const unknown[] = {"gemma3", "mistral", "llam", "llama2", ""};
	for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++) {
		char says[128];
		begin(unknown[i], NULL);
		snprintf(says, sizeof says, "general.architecture %s is not supported (supported: llama, qwen2, qwen3, phi3)",
		         unknown[i]);
		refused(says);
	}
	/* Biases of a llama are those that are there. */
	begin("llama", NULL);
	gguf_maker_tensor(&maker, "blk.0.attn_q.bias", 64, 0, DTYPE_F32, NULL);
	gguf_maker_tensor(&maker, "blk.0.ffn_gate.bias", 96, 0, DTYPE_F32, NULL);
	struct model_config config = understood();
	assert_true(config.qkv_bias && !config.o_bias && config.mlp_bias);
}

static void put_pattern(const char *layers)
{
	char key[128];
	snprintf(key, sizeof key, "%s.attention.sliding_window_pattern", keys.architecture);
	put_key_array(&maker.values, key, GGUF_BOOL, strlen(layers));
	maker.n_values++;
	for (; *layers; layers++)
		bytes_append(&maker.values, *layers == '1' ? "\1" : "\0", 1);
}

static void windows_are_in_the_layers_that_have_them(void **state)
{
	(void)state;
	static const char *const names[] = {"llama", "phi3", "qwen2", "qwen3"};
	struct model_config config;
	for (int i = 0; i < 4; i++) {
		begin_with(names[i], "attention.sliding_window", 0); /* as converters write "none" */
		config = understood();
		for (int64_t layer = 0; layer < N_LAYERS; layer++)
			assert_int_equal(layer_spec_of(&config, layer).window, 0);
		begin_with(names[i], "attention.sliding_window", 7);
		put_pattern("101");
		config = understood();
		for (int64_t layer = 0; layer < N_LAYERS; layer++)
			assert_int_equal(layer_spec_of(&config, layer).window, layer == 1 ? 0 : 7);
	}
	begin_with("llama", "attention.sliding_window", 7);
	config = understood();
	for (int64_t layer = 0; layer < N_LAYERS; layer++)
		assert_int_equal(layer_spec_of(&config, layer).window, 7);
	begin_with("qwen2", "attention.sliding_window", 7);
	refused("qwen2.attention.sliding_window_pattern is missing, expected which layers have the window");
	begin_with("phi3", "attention.sliding_window", 7);
	put_pattern("1010");
	refused("phi3.attention.sliding_window_pattern is of another length");
	begin_with("phi3", "attention.sliding_window", 1 << 25);
	refused("phi3.attention.sliding_window is 33554432");
	begin("phi3", NULL);
	gguf_text(keys, "attention.sliding_window", "7");
	refused("phi3.attention.sliding_window");
	begin_with("phi3", "attention.sliding_window", 7);
	gguf_count(keys, "attention.sliding_window_pattern", 2);
	refused("phi3.attention.sliding_window_pattern");
}

static void part_of_a_head_may_turn_in_some_families(void **state)
{
	(void)state;
	begin_with("phi3", "rope.dimension_count", 12);
	assert_int_equal(understood().rotary_dim, 12);
	static const int64_t wrong[] = {0, 11, 18, 1 << 25};
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
		begin_with("phi3", "rope.dimension_count", wrong[i]);
		refused("phi3.rope.dimension_count is ");
	}
	begin_with("llama", "rope.dimension_count", 12);
	refused("llama.rope.dimension_count is 12, expected 16 (rotating part of a head is not supported)");
}

static void linear_and_yarn_are_read(void **state)
{
	(void)state;
	begin("llama", NULL);
	gguf_number(keys, "rope.scale_linear", 4); /* of before rope.scaling.type */
	struct model_config config = understood();
	assert_true(config.rope.type == ROPE_LINEAR && config.rope.factor == 4);
	begin("llama", NULL);
	gguf_number(keys, "rope.scaling.factor", 8);
	config = understood();
	assert_true(config.rope.type == ROPE_LINEAR && config.rope.factor == 8);
	begin("llama", NULL);
	gguf_text(keys, "rope.scaling.type", "none"); /* then the factor is not used */
	gguf_number(keys, "rope.scaling.factor", 8);
	assert_int_equal(understood().rope.type, ROPE_DEFAULT);

	begin("qwen2", NULL);
	gguf_text(keys, "rope.scaling.type", "yarn");
	gguf_number(keys, "rope.scaling.factor", 4);
	gguf_count(keys, "rope.scaling.original_context_length", 2048);
	config = understood();
	assert_true(config.rope.type == ROPE_YARN && config.rope.factor == 4 && config.rope.truncate);
	assert_true(config.rope.beta_fast == 32 && config.rope.beta_slow == 1);
	assert_int_equal(config.rope.original_max_positions, 2048);
	assert_int_equal(config_max_context(&config), 8192);
	assert_true(fabs(config.rope.attention_factor - (0.1 * log(4) + 1)) < 1e-12);

	begin("llama", NULL);
	gguf_text(keys, "rope.scaling.type", "yarn");
	gguf_number(keys, "rope.scaling.factor", 2);
	gguf_number(keys, "rope.scaling.attn_factor", 0.5);
	gguf_number(keys, "rope.scaling.yarn_attn_factor", 0.25);
	gguf_number(keys, "rope.scaling.yarn_beta_fast", 16);
	gguf_number(keys, "rope.scaling.yarn_beta_slow", 2);
	gguf_number(keys, "rope.scaling.yarn_ext_factor", 1);
	config = understood();
	assert_true(config.rope.beta_fast == 16 && config.rope.beta_slow == 2);
	assert_int_equal(config.rope.original_max_positions, MAX_POSITIONS);
	assert_true(fabs(config.rope.attention_factor - 0.125 * (0.1 * log(2) + 1)) < 1e-12);
}

static void longrope_is_known_by_its_tensors(void **state)
{
	(void)state;
	for (int typed = 0; typed < 2; typed++) {
		begin("phi3", NULL);
		if (typed) {
			gguf_text(keys, "rope.scaling.type", "longrope");
			gguf_number(keys, "rope.scaling.attn_factor", 1.5);
		}
		gguf_count(keys, "rope.scaling.original_context_length", 1024);
		factors_tensor("rope_factors_short.weight", HEAD_DIM / 2, 1.5f);
		factors_tensor("rope_factors_long.weight", HEAD_DIM / 2, 8.25f);
		struct model_config config = understood();
		assert_true(config.rope.type == ROPE_LONGROPE && config.rope.original_max_positions == 1024);
		assert_true(config.rope.factors[0][7] == 1.5f && config.rope.factors[1][7] == 8.25f);
		assert_true(config.rope.factors[0][3] == 2.5f);
		double expected = typed ? 1.5 : sqrt(1 + log(4) / log(1024));
		assert_true(fabs(config.rope.attention_factor - expected) < 1e-12);
		assert_int_equal(config_max_context(&config), MAX_POSITIONS);
	}
}

static void rope_that_is_wrong_is_named(void **state)
{
	(void)state;
	static const struct {
		const char *type, *name;
		double value;
		const char *says;
	} rows[] = {
	    {"dynamic", NULL, 0, "llama.rope.scaling.type dynamic is not supported (none, linear, yarn and longrope are)"},
	    {"", NULL, 0, "llama.rope.scaling.type  is not supported"},
	    {"linear", "rope.scaling.factor", 0.5, "llama.rope.scaling.factor is 0.5, expected 1 to 1e6"},
	    {"yarn", "rope.scaling.factor", 1e7, "llama.rope.scaling.factor is 1e+07, expected 1 to 1e6"},
	    {"linear", "rope.scaling.factor", 0, "llama.rope.scaling.factor is 0"},
	    {"yarn", "rope.scaling.factor", (double)NAN, "llama.rope.scaling.factor is "},
	    {"yarn", "rope.scaling.yarn_beta_fast", 0, "llama.rope.scaling.yarn_beta_fast is 0"},
	    {"yarn", "rope.scaling.yarn_beta_slow", -1, "llama.rope.scaling.yarn_beta_slow is -1"},
	    {"yarn", "rope.scaling.yarn_ext_factor", 0.5, "llama.rope.scaling.yarn_ext_factor is 0.5"},
	    {"yarn", "rope.scaling.yarn_log_multiplier", 0.1, "llama.rope.scaling.yarn_log_multiplier is 0.1"},
	    {"yarn", "rope.scaling.attn_factor", -1, "llama.rope.scaling.attn_factor is -1"},
	    {"yarn", "rope.freq_base", 1, "llama.rope.freq_base is at most 1"},
	    {"none", "rope.freq_base", 0, "llama.rope.freq_base is 0"},
	    {"none", "rope.freq_base", 1e-30, "llama.rope.freq_base is 1e-30, expected a number of at least 1"},
	    {"none", "rope.freq_base", (double)INFINITY, "llama.rope.freq_base is inf"},
	    {"none", "rope.freq_base", (double)NAN, "llama.rope.freq_base is "},
	    {"longrope", NULL, 0, "rope_factors_short.weight is missing, expected a tensor of 8 F32 values"},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		begin("llama", NULL);
		gguf_text(keys, "rope.scaling.type", rows[i].type);
		if (rows[i].name)
			gguf_number(keys, rows[i].name, rows[i].value);
		refused(rows[i].says);
	}
	begin("llama", NULL);
	gguf_text(keys, "rope.scaling.type", "yarn");
	gguf_number(keys, "rope.scaling.attn_factor", 1e20);
	gguf_number(keys, "rope.scaling.yarn_attn_factor", 1e20);
	refused("llama.rope.scaling.attn_factor is out of range with yarn_attn_factor");
	begin_with("llama", "rope.scaling.original_context_length", 1);
	factors_tensor("rope_factors_short.weight", 8, 1);
	factors_tensor("rope_factors_long.weight", 8, 1);
	refused("llama.rope.scaling.original_context_length is below 2");
	static const float wrong[] = {0, -1, NAN, INFINITY, 1e9f};
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
		begin("phi3", NULL);
		factors_tensor("rope_factors_short.weight", 8, 1);
		factors_tensor("rope_factors_long.weight", 8, wrong[i]);
		refused("rope_factors_long.weight is ");
	}
	begin("phi3", NULL);
	factors_tensor("rope_factors_short.weight", 7, 1);
	factors_tensor("rope_factors_long.weight", 8, 1);
	refused("rope_factors_short.weight is another tensor, expected a tensor of 8 F32 values");
	begin("phi3", NULL);
	factors_tensor("rope_factors_short.weight", 8, 1);
	gguf_maker_tensor(&maker, "rope_factors_long.weight", 8, 0, DTYPE_F16, NULL);
	refused("rope_factors_long.weight is another tensor");
	begin_with("phi3", "attention.key_length", 1024);
	factors_tensor("rope_factors_long.weight", 8, 1);
	refused("at most 512 for rope scaling longrope");
}

/* Each number of the shape with values that it may not have. */
static void wrong_numbers_are_named(void **state)
{
	(void)state;
	static const struct {
		const char *name;
		int64_t value;
		const char *says;
	} rows[] = {
	    {"attention.head_count", 0, "llama.attention.head_count is 0"},
	    {"attention.head_count", 4098, "heads, at most 4096 of each"},
	    {"attention.head_count_kv", 0, "llama.attention.head_count_kv is 0"},
	    {"attention.head_count_kv", 3, "attention.head_count 4 is not a multiple of attention.head_count_kv 3"},
	    {"attention.head_count_kv", 8, "attention.head_count 4 is not a multiple of attention.head_count_kv 8"},
	    {"attention.key_length", 0, "llama.attention.key_length is 0"},
	    {"attention.key_length", 15, "attention.key_length 15 must be even"},
	    {"attention.key_length", 4098, "attention.key_length 4098"},
	    {"block_count", 0, "llama.block_count is 0"},
	    {"block_count", 4097, "4097 layers"},
	    {"block_count", 1LL << 31, "llama.block_count is 2147483648"},
	    {"context_length", 0, "llama.context_length is 0"},
	    {"context_length", 4294967295, "llama.context_length is 4294967295"},
	    {"embedding_length", 0, "llama.embedding_length is 0"},
	    {"feed_forward_length", 0, "llama.feed_forward_length is 0"},
	    {"expert_count", 8, "llama.expert_count is 8, which is not supported (0 is)"},
	    {"attention.value_length", 8, "that of attention.key_length"},
	};
	static const char *const needed[] = {"embedding_length", "feed_forward_length", "block_count",
	                                     "attention.head_count", "context_length"};
	char says[128];
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		begin_with("llama", rows[i].name, rows[i].value);
		refused(rows[i].says);
	}
	for (size_t i = 0; i < sizeof needed / sizeof *needed; i++) {
		begin("llama", (const char *const[]){needed[i], NULL});
		snprintf(says, sizeof says, "llama.%s is missing", needed[i]);
		refused(says);
		begin("llama", (const char *const[]){needed[i], NULL});
		gguf_text(keys, needed[i], "4");
		snprintf(says, sizeof says, "llama.%s is of type string, expected an integer", needed[i]);
		refused(says);
		begin("llama", (const char *const[]){needed[i], NULL});
		gguf_number(keys, needed[i], 4);
		snprintf(says, sizeof says, "llama.%s is of type f32, expected an integer", needed[i]);
		refused(says);
	}
	static const float epsilons[] = {0, -1e-5f, NAN, INFINITY};
	for (size_t i = 0; i < sizeof epsilons / sizeof *epsilons; i++) {
		begin_with_epsilon(epsilons[i]);
		refused("llama.attention.layer_norm_rms_epsilon is ");
	}
	begin("llama",
	      (const char *const[]){"attention.key_length", "attention.head_count", "attention.head_count_kv", NULL});
	gguf_count(keys, "attention.head_count", 3);
	refused("embedding_length 64 is not a multiple of attention.head_count 3 and attention.key_length is not given");
}

/* One key of another type than the format's, or of a type that can hold what others cannot. */
static void typed(const char *name, enum gguf_type type, const void *value, size_t n_bytes, const char *says)
{
	char key[128];
	begin("llama", (const char *const[]){name, NULL});
	snprintf(key, sizeof key, "llama.%s", name);
	put_key(&maker.values, key, type);
	bytes_append(&maker.values, value, n_bytes);
	maker.n_values++;
	refused(says);
}

static void numbers_of_other_types_are_refused(void **state)
{
	(void)state;
	static const char *const counts[] = {"embedding_length",     "feed_forward_length",     "block_count",
	                                     "attention.head_count", "attention.head_count_kv", "context_length"};
	for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
		char says[128];
		snprintf(says, sizeof says, "llama.%s is of type f32, expected an integer", counts[i]);
		typed(counts[i], GGUF_F32, &(float){2}, sizeof(float), says);
		snprintf(says, sizeof says, "llama.%s is of type f64, expected an integer", counts[i]);
		typed(counts[i], GGUF_F64, &(double){2}, sizeof(double), says);
		snprintf(says, sizeof says, "llama.%s is of type bool, expected an integer", counts[i]);
		typed(counts[i], GGUF_BOOL, "\1", 1, says);
		snprintf(says, sizeof says, "llama.%s is -1, expected 0 or more", counts[i]);
		typed(counts[i], GGUF_I32, &(int32_t){-1}, sizeof(int32_t), says);
		typed(counts[i], GGUF_I64, &(int64_t){-1}, sizeof(int64_t), says);
		snprintf(says, sizeof says, "llama.%s is 18446744073709551615", counts[i]);
		typed(counts[i], GGUF_U64, &(uint64_t){UINT64_MAX}, sizeof(uint64_t), says);
		snprintf(says, sizeof says, "llama.%s is 9223372036854775807", counts[i]);
		typed(counts[i], GGUF_U64, &(uint64_t){INT64_MAX}, sizeof(uint64_t), says);
	}
	/* Every width of integer will do. */
	begin("llama", (const char *const[]){"block_count", NULL});
	put_key(&maker.values, "llama.block_count", GGUF_U8);
	bytes_append(&maker.values, "\3", 1);
	maker.n_values++;
	assert_int_equal(understood().n_layers, 3);
	/* A list of counts by layer is other models'. */
	begin("llama", (const char *const[]){"attention.head_count", NULL});
	put_key_array(&maker.values, "llama.attention.head_count", GGUF_U32, 3);
	for (int i = 0; i < 3; i++)
		put_u32(&maker.values, 4);
	maker.n_values++;
	refused("llama.attention.head_count is of type array of u32, expected an integer");
}

static void llamas_turn_whole_heads(void **state)
{
	(void)state;
	static const int64_t wrong[] = {0, 2, 15, 17, 18, 64, 4294967295};
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
		begin_with("llama", "rope.dimension_count", wrong[i]);
		refused("llama.rope.dimension_count is ");
	}
	begin_with("llama", "rope.dimension_count", HEAD_DIM);
	assert_int_equal(understood().rotary_dim, HEAD_DIM);
}

/* The rows of token_embd are the vocabulary; where its size is given too, or tokens are, they are compared. */
static void vocabularies_are_as_large_as_the_embedding(void **state)
{
	(void)state;
	begin("llama", NULL);
	assert_int_equal(understood().vocab_size, 8);
	static const int64_t wrong[] = {0, 1LL << 31, 4294967295};
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
		begin_with("llama", "vocab_size", wrong[i]);
		refused("llama.vocab_size is ");
	}
	for (uint64_t n_tokens = 7; n_tokens <= 9; n_tokens++) {
		begin("llama", NULL);
		put_key_array(&maker.values, "tokenizer.ggml.tokens", GGUF_STRING, n_tokens);
		for (uint64_t i = 0; i < n_tokens; i++)
			put_string(&maker.values, "t");
		maker.n_values++;
		gguf_maker_u32(&maker, "tokenizer.ggml.bos_token_id", 7);
		if (n_tokens <= 8)
			assert_int_equal(understood().bos_id, 7);
		else
			refused("tokenizer.ggml.tokens has 9 tokens, the model only 8");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_teardown(families_are_known_by_name, clear_folder),
	    cmocka_unit_test_teardown(windows_are_in_the_layers_that_have_them, clear_folder),
	    cmocka_unit_test_teardown(part_of_a_head_may_turn_in_some_families, clear_folder),
	    cmocka_unit_test_teardown(linear_and_yarn_are_read, clear_folder),
	    cmocka_unit_test_teardown(longrope_is_known_by_its_tensors, clear_folder),
	    cmocka_unit_test_teardown(wrong_numbers_are_named, clear_folder),
	    cmocka_unit_test_teardown(rope_that_is_wrong_is_named, clear_folder),
	    cmocka_unit_test_teardown(numbers_of_other_types_are_refused, clear_folder),
	    cmocka_unit_test_teardown(llamas_turn_whole_heads, clear_folder),
	    cmocka_unit_test_teardown(vocabularies_are_as_large_as_the_embedding, clear_folder),
	};
	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
