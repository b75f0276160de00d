/* model/config: Hugging Face's defaults, every layout met in the wild, and a refusal with a name for the rest. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "folder_fixture.h"
#include "model/generation_defaults.h"
#include "model/weights.h"

/* ---- one config.json ---- */

#define BASE                                                                                                           \
	"\"architectures\":[\"LlamaForCausalLM\"],\"model_type\":\"llama\",\"hidden_size\":64,\"intermediate_size\":96,"   \
	"\"num_hidden_layers\":2,\"num_attention_heads\":4,\"vocab_size\":128"

static void write_config(const char *fields)
{
	struct bytes text = {0};
	bytes_append_format(&text, "{" BASE "%s%s}", *fields ? "," : "", fields);
	folder_write(&folder, "config.json", text.data);
	bytes_free(&text);
}

static struct model_config load_good(void)
{
	struct model_config config;
	struct error error = {0};
	if (!config_load(folder.path, &config, &error))
		fail_msg("%s", error.message);
	return config;
}

/* BASE and these fields. */
static struct model_config understood(const char *fields)
{
	write_config(fields);
	return load_good();
}

static void expect_refusal(const char *text, const char *says)
{
	struct model_config config;
	struct error error = {0};
	if (config_load(folder.path, &config, &error))
		fail_msg("understood: %s", text);
	assert_int_equal(error.code, ERROR_MODEL);
	if (!strstr(error.message, says))
		fail_msg("%s\n  says: %s\n  not:  %s", text, error.message, says);
}

/* BASE and these fields; the message names the file and says `says`. */
static void refused(const char *fields, const char *says)
{
	write_config(fields);
	expect_refusal(fields, says);
	expect_refusal(fields, "/config.json: ");
}

/* The whole text of config.json. */
static void refused_whole(const char *text, const char *says)
{
	folder_write(&folder, "config.json", text);
	expect_refusal(text, says);
}

static void defaults_are_those_of_transformers(void **state)
{
	(void)state;
	folder_write(&folder, "config.json", "{\"model_type\":\"llama\"}");
	struct model_config config = load_good();
	assert_string_equal(config.architecture, "LlamaForCausalLM");
	assert_int_equal(config.hidden_size, 4096);
	assert_int_equal(config.intermediate_size, 11008);
	assert_int_equal(config.n_layers, 32);
	assert_int_equal(config.n_heads, 32);
	assert_int_equal(config.n_kv_heads, 32);
	assert_int_equal(config.head_dim, 128);
	assert_int_equal(config.vocab_size, 32000);
	assert_int_equal(config.max_positions, 2048);
	assert_true(config.rms_norm_eps == 1e-6);
	assert_true(config.rope.type == ROPE_DEFAULT && config.rope.theta == 10000.0);
	assert_false(config.tie_word_embeddings || config.qkv_bias || config.o_bias || config.mlp_bias);
	assert_int_equal(config.bos_id, 1);
	assert_true(config.n_eos_ids == 1 && config_is_eos(&config, 2));
	assert_string_equal(config.stored_dtype, "");
	assert_true(weights_parameter_count(&config) == 6738415616u);
}

static void every_field_is_read(void **state)
{
	(void)state;
	struct model_config config =
	    understood("\"num_key_value_heads\":2,\"head_dim\":24,\"max_position_embeddings\":512,\"rms_norm_eps\":1e-5,"
	               "\"rope_theta\":500000,\"tie_word_embeddings\":true,\"attention_bias\":true,\"mlp_bias\":true,"
	               "\"hidden_act\":\"silu\",\"bos_token_id\":7,\"eos_token_id\":9,\"torch_dtype\":\"bfloat16\"");
	assert_int_equal(config.hidden_size, 64);
	assert_int_equal(config.intermediate_size, 96);
	assert_int_equal(config.n_layers, 2);
	assert_int_equal(config.n_heads, 4);
	assert_int_equal(config.n_kv_heads, 2);
	assert_int_equal(config.head_dim, 24);
	assert_int_equal(config.vocab_size, 128);
	assert_int_equal(config.max_positions, 512);
	assert_true(config.rms_norm_eps == 1e-5);
	assert_true(config.rope.theta == 500000.0);
	assert_true(config.tie_word_embeddings && config.qkv_bias && config.o_bias && config.mlp_bias);
	assert_int_equal(config.bos_id, 7);
	assert_true(config.n_eos_ids == 1 && config.eos_ids[0] == 9);
	assert_string_equal(config.stored_dtype, "bfloat16");
	assert_int_equal(config_widest_input(&config), 96);
	assert_string_equal(understood("\"dtype\":\"float16\"").stored_dtype, "float16");

	/* null is as good as absent, and whole numbers may be written as fractions. */
	config = understood("\"num_key_value_heads\":null,\"head_dim\":null,\"rope_scaling\":null,"
	                    "\"max_position_embeddings\":512.0,\"quantization_config\":null,\"rms_norm_eps\":1");
	assert_true(config.n_kv_heads == 4 && config.head_dim == 16 && config.max_positions == 512);
	/* Unknown fields and a window that Llama does not use are nobody's business. */
	understood("\"sliding_window\":4096,\"use_sliding_window\":false,\"pretraining_tp\":2,\"novel\":{\"a\":[1]}");
}

static void rope_is_read_in_every_layout(void **state)
{
	(void)state;
	struct rope_config rope =
	    understood("\"rope_parameters\":{\"rope_theta\":250000.0,\"rope_type\":\"default\"}").rope;
	assert_true(rope.type == ROPE_DEFAULT && rope.theta == 250000.0);
	rope = understood("\"rope_theta\":20000,\"rope_scaling\":{\"type\":\"linear\",\"factor\":4}").rope;
	assert_true(rope.type == ROPE_LINEAR && rope.factor == 4.0 && rope.theta == 20000.0);
	rope = understood("\"rope_scaling\":{\"rope_type\":\"default\"}").rope;
	assert_true(rope.type == ROPE_DEFAULT && rope.theta == 10000.0);
#define LLAMA3                                                                                                         \
	"\"rope_type\":\"llama3\",\"factor\":8.0,\"low_freq_factor\":1.0,\"high_freq_factor\":4,"                          \
	"\"original_max_position_embeddings\":8192"
	rope = understood("\"rope_theta\":500000.0,\"rope_scaling\":{" LLAMA3 "}").rope;
	assert_true(rope.type == ROPE_LLAMA3 && rope.theta == 500000.0 && rope.factor == 8.0);
	assert_true(rope.low_freq_factor == 1.0 && rope.high_freq_factor == 4.0 && rope.original_max_positions == 8192);
	struct rope_config newest = understood("\"rope_parameters\":{\"rope_theta\":500000.0," LLAMA3 "}").rope;
	assert_memory_equal(&newest, &rope, sizeof rope);
	assert_string_equal(rope_type_name(ROPE_LLAMA3), "llama3");

	refused("\"rope_scaling\":{\"type\":\"ntk\",\"factor\":4}",
	        "rope_scaling.rope_type ntk is not supported (default, linear, dynamic, llama3, yarn and longrope are)");
	refused("\"rope_parameters\":{\"full_attention\":{\"rope_theta\":1e6}}", "rope_parameters.full_attention");
	refused("\"rope_scaling\":{\"type\":\"linear\"}", "rope_scaling.factor is missing");
	refused("\"rope_scaling\":{\"type\":\"linear\",\"factor\":0.5}", "rope_scaling.factor");
	refused("\"rope_scaling\":{\"type\":\"linear\",\"factor\":\"4\"}", "rope_scaling.factor is a string");
	refused("\"rope_scaling\":{\"type\":3}", "rope_scaling.type is 3");
	refused("\"rope_scaling\":[4]", "rope_scaling is an array, expected an object");
	refused("\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8}", "original_max_position_embeddings");
	refused("\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8,\"low_freq_factor\":4,\"high_freq_factor\":4,"
	        "\"original_max_position_embeddings\":8192}",
	        "low_freq_factor below high_freq_factor");
	refused("\"rope_theta\":0", "rope_theta is 0");
	refused("\"rope_theta\":0.999", "rope_theta is 0.999, expected a number of at least 1");
	refused("\"rope_parameters\":{\"rope_theta\":1e-30}",
	        "rope_parameters.rope_theta is 1e-30, expected a number of at");
	refused("\"rope_parameters\":{\"rope_theta\":-1}", "rope_parameters.rope_theta is -1");
	refused("\"partial_rotary_factor\":0.5", "partial_rotary_factor is 0.5");
	refused("\"rope_parameters\":{\"partial_rotary_factor\":0.25}", "rope_parameters.partial_rotary_factor is 0.25");
	understood("\"partial_rotary_factor\":1.0");
}

/* dynamic, yarn and longrope: what they stretch, how far, and what is worked out where it is not said. */
static void rope_that_depends_on_the_length_is_read(void **state)
{
	(void)state;
	struct model_config config =
	    understood("\"max_position_embeddings\":64,\"rope_scaling\":{\"type\":\"dynamic\",\"factor\":8}");
	assert_true(config.rope.type == ROPE_DYNAMIC && config.rope.factor == 8);
	assert_true(config.rope.original_max_positions == 64 && config_max_context(&config) == 512);
	assert_true(config.rope.attention_factor == 1);

	config = understood("\"max_position_embeddings\":256,\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":4,"
	                    "\"original_max_position_embeddings\":128}");
	assert_true(config.rope.type == ROPE_YARN && config.rope.beta_fast == 32 && config.rope.beta_slow == 1);
	assert_true(config.rope.truncate && config.rope.original_max_positions == 128);
	assert_int_equal(config_max_context(&config), 512);
	assert_true(fabs(config.rope.attention_factor - (0.1 * log(4) + 1)) < 1e-12);
	config = understood(
	    "\"rope_scaling\":{\"type\":\"yarn\",\"factor\":4,\"beta_fast\":16,\"beta_slow\":2,\"truncate\":false,"
	    "\"attention_factor\":0.9}");
	assert_true(config.rope.beta_fast == 16 && config.rope.beta_slow == 2 && !config.rope.truncate);
	assert_true(config.rope.attention_factor == 0.9 && config.rope.original_max_positions == 2048);

#define FACTORS "\"short_factor\":[1,1,1,1,1,1,1,1.5],\"long_factor\":[1,2,3,4,5,6,7,8.25]"
	static const char *const longropes[] = {"longrope", "su", "yarn"};
	for (int i = 0; i < 3; i++) {
		char fields[512];
		snprintf(fields, sizeof fields,
		         "\"max_position_embeddings\":4096,\"original_max_position_embeddings\":1024,"
		         "\"rope_scaling\":{\"type\":\"%s\"," FACTORS "}",
		         longropes[i]);
		config = understood(fields);
		assert_true(config.rope.type == ROPE_LONGROPE && config.rope.original_max_positions == 1024);
		assert_true(config.rope.factors[0][7] == 1.5f && config.rope.factors[1][7] == 8.25f);
		assert_true(fabs(config.rope.attention_factor - sqrt(1 + log(4) / log(1024))) < 1e-12);
		assert_int_equal(config_max_context(&config), 4096);
	}

	refused("\"rope_scaling\":{\"type\":\"dynamic\"}", "rope_scaling.factor is missing");
	refused("\"rope_scaling\":{\"type\":\"dynamic\",\"factor\":4e17}", "factor is missing or not 1 to 1e6");
	refused("\"rope_scaling\":{\"type\":\"yarn\",\"factor\":0.5}", "rope_scaling.factor");
	refused("\"rope_scaling\":{\"type\":\"yarn\",\"factor\":4,\"beta_fast\":-1}", "beta_fast is -1");
	refused("\"rope_scaling\":{\"type\":\"yarn\",\"factor\":4,\"mscale\":\"0\"}", "mscale is a string");
	refused("\"rope_scaling\":{\"type\":\"yarn\",\"factor\":4,\"attention_factor\":0}", "attention_factor is 0");
	refused("\"rope_theta\":1,\"rope_scaling\":{\"type\":\"yarn\",\"factor\":4}", "rope_theta above 1");
	refused("\"head_dim\":2,\"rope_scaling\":{\"type\":\"dynamic\",\"factor\":4}", "heads of at least 4");
	refused("\"rope_scaling\":{\"type\":\"longrope\"}", "needs short_factor and long_factor");
	refused("\"rope_scaling\":{\"type\":\"longrope\"," FACTORS "}", "needs factor or original_max");
	refused("\"head_dim\":8,\"rope_scaling\":{\"type\":\"longrope\",\"factor\":4," FACTORS "}",
	        "short_factor is an array, expected a list of 4 numbers above 0");
	refused("\"head_dim\":1024,\"rope_scaling\":{\"type\":\"longrope\",\"factor\":4," FACTORS "}", "at most 512 wide");
	refused(
	    "\"head_dim\":2,\"rope_scaling\":{\"type\":\"longrope\",\"factor\":4,\"short_factor\":[1],\"long_factor\":[0]}",
	    "long_factor is an array");
}

/* As transformers' `beta_fast or 32` and `if mscale and mscale_all_dim`. */
static void zeros_of_yarn_are_not_given(void **state)
{
	(void)state;
	static const char *const zeros[] = {"\"mscale\":0", "\"mscale_all_dim\":0.0", "\"mscale\":1.0,\"mscale_all_dim\":0",
	                                    "\"mscale\":0,\"mscale_all_dim\":0.7", "\"beta_fast\":0,\"beta_slow\":0"};
	for (size_t i = 0; i < sizeof zeros / sizeof *zeros; i++) {
		char fields[256];
		snprintf(fields, sizeof fields, "\"rope_scaling\":{\"type\":\"yarn\",\"factor\":4,%s}", zeros[i]);
		struct model_config config = understood(fields);
		assert_true(fabs(config.rope.attention_factor - (0.1 * log(4) + 1)) < 1e-12);
		assert_true(config.rope.beta_fast == 32 && config.rope.beta_slow == 1);
	}
	struct error error = {0};
	struct model_config found;
	if (!config_load("tests/found/yarn-mscale-zero", &found, &error))
		fail_msg("%s", error.message);
	assert_true(fabs(found.rope.attention_factor - (0.1 * log(4) + 1)) < 1e-12);
	struct model_config given =
	    understood("\"rope_scaling\":{\"type\":\"yarn\",\"factor\":4,\"mscale\":0.5,\"mscale_all_dim\":1}");
	assert_true(fabs(given.rope.attention_factor - (0.05 * log(4) + 1) / (0.1 * log(4) + 1)) < 1e-12);
}

/* ---- families ---- */

/* A shape that is small in every family, and these fields. */
static const char *family_text(const char *architecture, const char *fields)
{
	static char text[1024];
	snprintf(text, sizeof text,
	         "{\"architectures\":[\"%s\"],\"hidden_size\":64,\"intermediate_size\":96,\"num_hidden_layers\":3,"
	         "\"num_attention_heads\":4,\"num_key_value_heads\":2,\"vocab_size\":128,\"eos_token_id\":2%s%s}",
	         architecture, *fields ? "," : "", fields);
	return text;
}

static struct model_config understood_family(const char *architecture, const char *fields)
{
	folder_write(&folder, "config.json", family_text(architecture, fields));
	return load_good();
}

static void refused_family(const char *architecture, const char *fields, const char *says)
{
	refused_whole(family_text(architecture, fields), says);
}

static void every_family_has_its_parts(void **state)
{
	(void)state;
	static const struct {
		const char *architecture, *fields;
		bool qkv_bias, o_bias, mlp_bias, qk_norm, fused;
		int64_t head_dim, rotary_dim;
	} rows[] = {
	    {"LlamaForCausalLM", "", false, false, false, false, false, 16, 16},
	    {"LlamaForCausalLM", "\"attention_bias\":true", true, true, false, false, false, 16, 16},
	    {"MistralForCausalLM", "\"attention_bias\":true", false, false, false, false, false, 16, 16},
	    {"Qwen2ForCausalLM", "\"mlp_bias\":true", true, false, false, false, false, 16, 16},
	    {"Qwen3ForCausalLM", "", false, false, false, true, false, 128, 128},
	    {"Qwen3ForCausalLM", "\"attention_bias\":true,\"head_dim\":32", true, true, false, true, false, 32, 32},
	    {"Phi3ForCausalLM", "", false, false, false, false, true, 16, 16},
	    {"Phi3ForCausalLM", "\"partial_rotary_factor\":0.75", false, false, false, false, true, 16, 12},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct model_config config = understood_family(rows[i].architecture, rows[i].fields);
		assert_string_equal(config.architecture, rows[i].architecture);
		assert_true(config.qkv_bias == rows[i].qkv_bias && config.o_bias == rows[i].o_bias);
		assert_true(config.mlp_bias == rows[i].mlp_bias && config.qk_norm == rows[i].qk_norm);
		assert_true(config.fused == rows[i].fused);
		assert_int_equal(config.head_dim, rows[i].head_dim);
		assert_int_equal(config.rotary_dim, rows[i].rotary_dim);
	}
	refused_family("Phi3ForCausalLM", "\"partial_rotary_factor\":1.5", "partial_rotary_factor is 1.5");
	refused_family("Phi3ForCausalLM", "\"partial_rotary_factor\":0.01", "an even part of head_dim");
	refused_family("Qwen2ForCausalLM", "\"partial_rotary_factor\":0.5", "not supported for this architecture");
}

static void windows_are_in_the_layers_that_have_them(void **state)
{
	(void)state;
	static const struct {
		const char *architecture, *fields;
		int64_t windows[3];
	} rows[] = {
	    {"LlamaForCausalLM", "\"sliding_window\":8", {0, 0, 0}},
	    {"MistralForCausalLM", "", {4096, 4096, 4096}}, /* transformers' default */
	    {"MistralForCausalLM", "\"sliding_window\":null", {0, 0, 0}},
	    {"MistralForCausalLM", "\"sliding_window\":8", {8, 8, 8}},
	    {"Phi3ForCausalLM", "", {0, 0, 0}},
	    {"Phi3ForCausalLM", "\"sliding_window\":8", {8, 8, 8}},
	    {"Qwen2ForCausalLM", "\"sliding_window\":8", {0, 0, 0}},
	    {"Qwen2ForCausalLM", "\"sliding_window\":8,\"use_sliding_window\":true", {0, 0, 0}}, /* from layer 28 on */
	    {"Qwen2ForCausalLM", "\"sliding_window\":8,\"use_sliding_window\":true,\"max_window_layers\":1", {0, 8, 8}},
	    {"Qwen3ForCausalLM", "\"sliding_window\":8,\"use_sliding_window\":false,\"max_window_layers\":0", {0, 0, 0}},
	    {"Qwen3ForCausalLM",
	     "\"sliding_window\":8,\"use_sliding_window\":true,"
	     "\"layer_types\":[\"sliding_attention\",\"full_attention\",\"sliding_attention\"]",
	     {8, 0, 8}},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct model_config config = understood_family(rows[i].architecture, rows[i].fields);
		for (int64_t layer = 0; layer < 3; layer++)
			assert_int_equal(layer_spec_of(&config, layer).window, rows[i].windows[layer]);
	}
#define SLIDING3 "\"layer_types\":[\"sliding_attention\",\"sliding_attention\",\"sliding_attention\"]"
	refused_family("MistralForCausalLM", "\"sliding_window\":0", "sliding_window is 0");
	refused_family("Qwen2ForCausalLM", "\"use_sliding_window\":1", "use_sliding_window is 1");
	refused_family("Qwen2ForCausalLM", "\"use_sliding_window\":true,\"max_window_layers\":-1",
	               "max_window_layers is -1");
	refused_family("Qwen3ForCausalLM", SLIDING3, "types that agree with sliding_window");
	refused_family("LlamaForCausalLM", SLIDING3, "types that agree with sliding_window");
	refused_family("Qwen3ForCausalLM", "\"layer_types\":[\"full_attention\"]", "the type of each layer");
	refused_family("Qwen3ForCausalLM", "\"layer_types\":[\"full_attention\",\"full_attention\",\"chunked\"]",
	               "full_attention or sliding_attention");
}

/* ---- ids ---- */

static void eos_ids_come_from_both_files(void **state)
{
	(void)state;
	struct model_config config = understood("\"eos_token_id\":[5,6,5,-1]");
	assert_true(config.n_eos_ids == 2 && config_is_eos(&config, 5) && config_is_eos(&config, 6));
	config_add_eos(&config, 9);
	config_add_eos(&config, 9);
	config_add_eos(&config, 128);
	config_add_eos(&config, -1);
	assert_true(config.n_eos_ids == 3 && config_is_eos(&config, 9) && !config_is_eos(&config, 128));
	for (int32_t id = 20; id < 60; id++)
		config_add_eos(&config, id);
	assert_int_equal(config.n_eos_ids, CONFIG_MAX_EOS_IDS);
	assert_int_equal(understood("\"eos_token_id\":null").n_eos_ids, 0);
	assert_int_equal(understood("\"bos_token_id\":null").bos_id, -1);

	folder_write(&folder, "generation_config.json", "{\"eos_token_id\":[7,2],\"temperature\":0.6}");
	config = understood("\"eos_token_id\":2");
	assert_true(config.n_eos_ids == 2 && config.eos_ids[0] == 2 && config.eos_ids[1] == 7);
	config = understood("\"bos_token_id\":3");
	assert_true(config.n_eos_ids == 2 && config.eos_ids[0] == 7);
	folder_write(&folder, "generation_config.json", "{\"eos_token_id\":\"</s>\"}");
	expect_refusal("", "generation_config.json: eos_token_id is a string");
	folder_write(&folder, "generation_config.json", "{\"eos_token_id\":[1,");
	expect_refusal("", "generation_config.json: ");
	folder_write(&folder, "generation_config.json", "[]");
	expect_refusal("", "generation_config.json: is an array");
	assert_int_equal(remove(folder_file(&folder, "generation_config.json")), 0);

	refused("\"eos_token_id\":128", "eos_token_id is 128, expected an id below vocab_size");
	refused("\"eos_token_id\":[1,\"2\"]", "eos_token_id is a string");
	refused("\"eos_token_id\":{}", "eos_token_id is an object");
	refused("\"eos_token_id\":[0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16]", "at most 16");
	refused("\"bos_token_id\":\"<s>\"", "bos_token_id is a string");
	refused("\"bos_token_id\":1.5", "bos_token_id is 1.5");
}

/* ---- what is refused ---- */

static void the_unsupported_is_named(void **state)
{
	(void)state;
	refused_whole("{\"architectures\":[\"MixtralForCausalLM\"]}", "architecture MixtralForCausalLM is not supported");
	refused_whole(
	    "{\"model_type\":\"gemma3\"}",
	    "architecture gemma3 is not supported (supported: LlamaForCausalLM, MistralForCausalLM, Qwen2ForCausalLM, "
	    "Qwen3ForCausalLM, Phi3ForCausalLM)");
	refused_whole("{\"architectures\":[\"LlamaForSequenceClassification\"],\"model_type\":\"llama\"}",
	              "LlamaForSequenceClassification");
	refused_whole("{\"architectures\":[\"LlamaForCausalLM\"],\"model_type\":\"mistral\"}", "model_type is mistral");
	refused_whole("{\"architectures\":\"LlamaForCausalLM\"}", "architectures is a string");
	refused_whole("{\"architectures\":[7]}", "architectures[0] is 7");
	refused_whole("{\"model_type\":7}", "model_type is 7");
	refused_whole("{}", "neither architectures nor model_type");
	refused_whole("[]", "is an array, expected an object");
	refused_whole("null", "expected an object");
	refused_whole("", "config.json");
	refused_whole("{\"model_type\":\"llama\",\"rope_theta\":NaN}", "config.json");
	refused_whole("{\"model_type\":\"llama\",\"rms_norm_eps\":Infinity}", "config.json");
	refused_whole("{\"model_type\":\"llama\"} x", "config.json");
	refused_whole("{\"model_type\":\"llama\",\"vocab_size\":1,\"vocab_size\":2}", "vocab_size");
	refused("\"quantization_config\":{\"quant_method\":\"gptq\",\"bits\":4}",
	        "quantization_config (quant_method gptq)");
	refused("\"quantization_config\":{}", "quantization_config");
	refused("\"quantization_config\":7", "quantization_config");
	refused("\"compression_config\":{}", "compression_config");
	refused("\"quantization\":{\"bits\":4,\"group_size\":64}", "quantization (");
	refused("\"hidden_act\":\"gelu\"", "hidden_act gelu is not supported");
	understood("\"hidden_act\":\"swish\"");
	folder_write(&folder, "config.json", "{\"architectures\":[\"LlamaForCausalLM\"]}");
	load_good();
	folder_write(&folder, "config.json", "{\"architectures\":[],\"model_type\":\"llama\"}");
	load_good();
}

/* Each field with each value that it may not have: the message names the field. */
static void wrong_values_are_named(void **state)
{
	(void)state;
	static const char *const counts[] = {"head_dim", "num_key_value_heads", "max_position_embeddings"};
	static const char *const wrong_counts[] = {"\"4\"",
	                                           "true",
	                                           "[]",
	                                           "{}",
	                                           "-1",
	                                           "0",
	                                           "1.5",
	                                           "-0.0",
	                                           "1e9",
	                                           "2147483648",
	                                           "4294967297",
	                                           "1e308",
	                                           "1e400",
	                                           "9223372036854775808",
	                                           "-9223372036854775809"};
	static const char *const positives[] = {"rms_norm_eps", "rope_theta"};
	static const char *const wrong_positives[] = {"\"1\"", "false", "[]",     "{}",    "-1",   "0",
	                                              "-0.0",  "1e400", "1e-400", "1e308", "1e-50"};
	static const char *const flags[] = {"tie_word_embeddings", "attention_bias", "mlp_bias"};
	static const char *const wrong_flags[] = {"0", "1", "\"true\"", "[]", "{}"};
	static const char *const texts[] = {"hidden_act", "torch_dtype", "dtype"};
	static const char *const wrong_texts[] = {"0", "true", "[]", "{}"};
	static const struct {
		const char *const *names;
		size_t n_names;
		const char *const *values;
		size_t n_values;
	} kinds[] = {
	    {counts, sizeof counts / sizeof *counts, wrong_counts, sizeof wrong_counts / sizeof *wrong_counts},
	    {positives, sizeof positives / sizeof *positives, wrong_positives,
	     sizeof wrong_positives / sizeof *wrong_positives},
	    {flags, sizeof flags / sizeof *flags, wrong_flags, sizeof wrong_flags / sizeof *wrong_flags},
	    {texts, sizeof texts / sizeof *texts, wrong_texts, sizeof wrong_texts / sizeof *wrong_texts},
	};
	for (size_t kind = 0; kind < sizeof kinds / sizeof *kinds; kind++)
		for (size_t i = 0; i < kinds[kind].n_names; i++)
			for (size_t j = 0; j < kinds[kind].n_values; j++) {
				char field[128];
				snprintf(field, sizeof field, "\"%s\":%s", kinds[kind].names[i], kinds[kind].values[j]);
				refused(field, kinds[kind].names[i]);
			}
	/* The fields of BASE. */
	static const char *const required[] = {"hidden_size", "intermediate_size", "num_hidden_layers",
	                                       "num_attention_heads", "vocab_size"};
	for (size_t i = 0; i < sizeof required / sizeof *required; i++)
		for (size_t j = 0; j < sizeof wrong_counts / sizeof *wrong_counts; j++) {
			char text[128];
			snprintf(text, sizeof text, "{\"model_type\":\"llama\",\"%s\":%s}", required[i], wrong_counts[j]);
			refused_whole(text, required[i]);
		}
}

static void numbers_must_agree(void **state)
{
	(void)state;
	refused("\"num_key_value_heads\":3", "num_attention_heads 4 is not a multiple of num_key_value_heads 3");
	refused("\"num_key_value_heads\":8", "num_attention_heads 4 is not a multiple of num_key_value_heads 8");
	refused("\"head_dim\":15", "head_dim 15 must be even");
	refused("\"head_dim\":4098", "head_dim 4098");
	refused_whole("{\"model_type\":\"llama\",\"hidden_size\":100,\"num_attention_heads\":3}",
	              "hidden_size 100 is not a multiple of num_attention_heads 3");
	refused_whole("{\"model_type\":\"llama\",\"hidden_size\":2,\"num_attention_heads\":32}", "hidden_size 2");
	refused_whole("{\"model_type\":\"llama\",\"num_hidden_layers\":100000}", "100000 layers");
}

static void files_that_are_none_are_refused(void **state)
{
	(void)state;
	const char *path = folder_file(&folder, "config.json");
	expect_refusal("absent", "config.json");
	assert_int_equal(mkdir(path, 0700), 0);
	expect_refusal("directory", "config.json");
	assert_int_equal(remove(path), 0);
	assert_int_equal(mkfifo(path, 0600), 0);
	expect_refusal("fifo", "config.json"); /* at once: nobody writes to it */
	assert_int_equal(remove(path), 0);
	write_config("");
	struct model_config config;
	struct error error = {0};
	assert_false(config_load(folder_file(&folder, "absent.safetensors"), &config, &error));
	assert_non_null(strstr(error.message, "absent.safetensors"));
	folder_write(&folder, "model.safetensors", "");
	assert_true(config_load(folder_file(&folder, "model.safetensors"), &config, &error)); /* its directory counts */
	assert_int_equal(config.hidden_size, 64);
}

/* A value takes a hundred times the memory of its two bytes, so that bytes alone are no bound. */
static void values_are_bounded(void **state)
{
	(void)state;
	enum { N = 100000 };
	struct bytes text = {0};
	struct error error = {0};
	bytes_append_text(&text, "{" BASE ",\"zz\":[0");
	for (int i = 0; i < N; i++)
		bytes_append_text(&text, ",0");
	bytes_append_text(&text, "]}");
	refused_whole(text.data, "too many values");
	write_config("");
	folder_write(&folder, "generation_config.json", text.data);
	expect_refusal("zeros", "generation_config.json: ");
	struct model_files *files = model_files_open(folder.path, &error);
	struct generation_defaults defaults = {0};
	assert_non_null(files);
	assert_false(model_generation_defaults(files, &defaults, &error));
	assert_int_equal(error.code, ERROR_MODEL);
	assert_non_null(strstr(error.message, "too many values"));
	model_files_close(files);
	bytes_free(&text);
}

static void changed_bytes_never_crash(void **state)
{
	(void)state;
	static const char text[] = "{" BASE ",\"rope_scaling\":{" LLAMA3 "},\"eos_token_id\":[1,2],\"head_dim\":16}";
	unsigned seed = 3;
	for (int i = 0; i < 3000; i++) {
		char copy[sizeof text];
		memcpy(copy, text, sizeof text);
		for (int j = rand_r(&seed) % 4; j >= 0; j--)
			copy[(size_t)rand_r(&seed) % (sizeof text - 1)] = text[(size_t)rand_r(&seed) % (sizeof text - 1)];
		folder_write(&folder, "config.json", copy);
		struct model_config config;
		struct error error = {0};
		if (!config_load(folder.path, &config, &error))
			assert_true(error.code == ERROR_MODEL && strstr(error.message, "config.json"));
		else
			assert_true(config.n_kv_heads > 0 && config.n_heads % config.n_kv_heads == 0 && config.head_dim % 2 == 0 &&
			            isfinite(config.rope.theta));
	}
}

/* ---- as published ---- */

static void published_configs_are_understood_or_refused_by_name(void **state)
{
	(void)state;
	static const struct {
		const char *name, *refusal; /* NULL = understood */
		int64_t n_kv_heads, head_dim;
		double theta;
		enum rope_type rope;
		int n_eos_ids;
		int64_t window;
	} rows[] = {
	    {"1layer-llama", NULL, 32, 128, 10000, ROPE_DEFAULT, 1, 0},
	    {"Llama-2-7b-chat", NULL, 32, 128, 10000, ROPE_DEFAULT, 1, 0},
	    {"Meta-Llama-3-8B-Instruct", NULL, 8, 128, 500000, ROPE_DEFAULT, 1, 0},
	    {"Meta-Llama-3.1-8B-Instruct", NULL, 8, 128, 500000, ROPE_LLAMA3, 3, 0},
	    {"Llama-3.2-1B-Instruct", NULL, 8, 64, 500000, ROPE_LLAMA3, 3, 0},
	    {"TinyLlama-1.1B-Chat-v1.0", NULL, 4, 64, 10000, ROPE_DEFAULT, 1, 0},
	    {"TinyLlama-1.1B-Chat-v1.0.transformers4.56", NULL, 4, 64, 10000, ROPE_DEFAULT, 1, 0},
	    {"TinyLlama-1.1B-Chat-v1.0.transformers5", NULL, 4, 64, 10000, ROPE_DEFAULT, 1, 0},
	    {.name = "CodeLlama-7b-hf", .refusal = "quantization_config (quant_method bitsandbytes)"},
	    {"Mistral-7B-Instruct-v0.2", NULL, 8, 128, 1000000, ROPE_DEFAULT, 1, 0},
	    {"Mistral-7B-Instruct-v0.3", NULL, 8, 128, 1000000, ROPE_DEFAULT, 1, 0},
	    {"1layer-mistral", NULL, 8, 128, 10000, ROPE_DEFAULT, 1, 4096},
	    {"Qwen1.5-0.5B-Chat", NULL, 16, 64, 1000000, ROPE_DEFAULT, 1, 0},
	    {"Qwen2-1.5B-Instruct", NULL, 2, 128, 1000000, ROPE_DEFAULT, 1, 0},
	    {"Qwen2.5-0.5B-Instruct", NULL, 2, 64, 1000000, ROPE_DEFAULT, 1, 0},
	    {"Qwen3-4B", NULL, 8, 128, 1000000, ROPE_DEFAULT, 2, 0},
	    {"Phi-3-mini-4k-instruct", NULL, 32, 96, 10000, ROPE_DEFAULT, 1, 2047},
	    {"Phi-3-mini-128k-instruct", NULL, 32, 96, 10000, ROPE_LONGROPE, 1, 262144},
	    {.name = "gemma-3-4b-it", .refusal = "Gemma3ForConditionalGeneration"},
	    {.name = "granite-3.3-8b-instruct", .refusal = "GraniteForCausalLM"},
	    {.name = "1layer-stablelm", .refusal = "StableLmForCausalLM"},
	};
	const char *fixtures = getenv("TALLOW_FIXTURES");
	for (size_t i = 0; fixtures && i < sizeof rows / sizeof *rows; i++) {
		char path[1024];
		struct model_config config;
		struct error error = {0};
		snprintf(path, sizeof path, "%s/configs/%s", fixtures, rows[i].name);
		bool ok = config_load(path, &config, &error);
		if (rows[i].refusal) {
			if (ok || error.code != ERROR_MODEL || !strstr(error.message, rows[i].refusal))
				fail_msg("%s: %s", rows[i].name, ok ? "understood" : error.message);
			continue;
		}
		if (!ok)
			fail_msg("%s", error.message);
		assert_int_equal(config.n_kv_heads, rows[i].n_kv_heads);
		assert_int_equal(config.head_dim, rows[i].head_dim);
		assert_true(config.rope.theta == rows[i].theta);
		assert_int_equal(config.rope.type, rows[i].rope);
		assert_int_equal(config.n_eos_ids, rows[i].n_eos_ids);
		for (int64_t layer = 0; layer < config.n_layers; layer++)
			assert_int_equal(layer_spec_of(&config, layer).window, rows[i].window);
	}
}

static struct generation_defaults defaults_of(const char *text, struct error *error)
{
	struct generation_defaults defaults = {.top_k = 9, .min_p = 0.5, .typical_p = 0.75, .repetition_penalty = 1.5};
	*error = (struct error){0};
	folder_write(&folder, "config.json", "{}");
	if (text)
		folder_write(&folder, "generation_config.json", text);
	struct model_files *files = model_files_open(folder.path, error);
	assert_non_null(files);
	bool ok = model_generation_defaults(files, &defaults, error);
	assert_int_equal(ok, error->code == ERROR_NONE);
	model_files_close(files);
	return defaults;
}

static void sampling_defaults_of_the_publisher(void **state)
{
	(void)state;
	struct error error;
	struct generation_defaults defaults = defaults_of(NULL, &error);
	assert_true(defaults.top_k == 9 && defaults.min_p == 0.5 && defaults.typical_p == 0.75);
	defaults = defaults_of("{\"top_k\":64,\"temperature\":7,\"min_p\":0.05,\"typical_p\":null}", &error);
	assert_true(defaults.top_k == 64 && defaults.min_p == 0.05 && defaults.typical_p == 0.75);
	assert_true(defaults.repetition_penalty == 1.5);
	defaults = defaults_of("{\"typical_p\":0.9,\"repetition_penalty\":1.05}", &error);
	assert_true(defaults.typical_p == 0.9 && defaults.repetition_penalty == 1.05);
	static const char *const bad[][2] = {
	    {"{\"top_k\":\"50\"}", "top_k must be a number (got a string)"},
	    {"{\"top_k\":-1}", "top_k must be from 0"},
	    {"{\"top_k\":5,\"min_p\":1.5}", "min_p must be from 0 to 1 (got 1.5)"},
	    {"{\"typical_p\":0}", "typical_p must be from"},
	    {"{\"repetition_penalty\":2.5}", "repetition_penalty must be from"},
	};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		defaults = defaults_of(bad[i][0], &error);
		assert_int_equal(error.code, ERROR_MODEL);
		assert_non_null(strstr(error.message, bad[i][1]));
		assert_true(defaults.top_k == 9 && defaults.min_p == 0.5);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_teardown(defaults_are_those_of_transformers, clear_folder),
	    cmocka_unit_test_teardown(every_field_is_read, clear_folder),
	    cmocka_unit_test_teardown(rope_is_read_in_every_layout, clear_folder),
	    cmocka_unit_test_teardown(rope_that_depends_on_the_length_is_read, clear_folder),
	    cmocka_unit_test_teardown(zeros_of_yarn_are_not_given, clear_folder),
	    cmocka_unit_test_teardown(every_family_has_its_parts, clear_folder),
	    cmocka_unit_test_teardown(windows_are_in_the_layers_that_have_them, clear_folder),
	    cmocka_unit_test_teardown(eos_ids_come_from_both_files, clear_folder),
	    cmocka_unit_test_teardown(sampling_defaults_of_the_publisher, clear_folder),
	    cmocka_unit_test_teardown(the_unsupported_is_named, clear_folder),
	    cmocka_unit_test_teardown(wrong_values_are_named, clear_folder),
	    cmocka_unit_test_teardown(numbers_must_agree, clear_folder),
	    cmocka_unit_test_teardown(files_that_are_none_are_refused, clear_folder),
	    cmocka_unit_test_teardown(values_are_bounded, clear_folder),
	    cmocka_unit_test_teardown(changed_bytes_never_crash, clear_folder),
	    cmocka_unit_test(published_configs_are_understood_or_refused_by_name),
	};
	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
