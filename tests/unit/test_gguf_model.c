/* GGUF models: the logits of the SafeTensors files that they were made of, and, for every block type, those of the same
 * weights in f32. What tokens and logits should be is transformers' word (test_model.c, on the same SafeTensors files). */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "folder_fixture.h"
#include "gguf_model.h"
#include "kernels/convert.h"
#include "model_run.h"

enum { N_TOKENS = 150, N_SHORT = 40, N_DECODED = 10, MAX_TOKENS = 320, MAX_VOCAB = 1024 };

static int32_t tokens[MAX_TOKENS];

/* Of the model that compute() opened last: whether some of its products are OpenBLAS's, and whether llama.cpp's converters
 * write the rows of q and k in another order. */
static bool calls_openblas, has_paired_rows;

/* Logits [n, vocab] of a fixed text, most of it prefilled, the rest decoded; N_TOKENS are enough for longrope's long
 * factors where the model switches before. Returns how many numbers that are. */
static int64_t compute(const char *path, enum isa isa, struct variant variant, enum dtype kv, int n, float *logits)
{
	struct run run;
	run_open_as(&run, path, isa, variant, kv, 2);
	run.n_tokens = n;
	int64_t vocab = model_config(run.model)->vocab_size;
	assert_true(vocab <= MAX_VOCAB);
	for (int i = 0; i < n; i++)
		tokens[i] = (int32_t)((i * 37 + i * i) % vocab);
	all_logits(&run, tokens, n, 384, n - N_DECODED, logits);
	calls_openblas = model_memory_plan(run.model)->tile_rows > 1;
	has_paired_rows = strcmp(gguf_architecture_of(model_config(run.model)), "llama") == 0;
	model_close(run.model);
	return n * vocab;
}

static float *new_logits(void)
{
	float *logits = malloc(sizeof(float) * MAX_TOKENS * MAX_VOCAB);
	assert_non_null(logits);
	return logits;
}

/* The largest difference as a share of the range of `expected`. */
static double difference(const float *logits, const float *expected, int64_t n)
{
	double worst = 0, low = INFINITY, high = -INFINITY;
	for (int64_t i = 0; i < n; i++) {
		double d = fabs((double)logits[i] - (double)expected[i]);
		worst = d > worst || isnan(d) ? d : worst;
		low = fmin(low, (double)expected[i]);
		high = fmax(high, (double)expected[i]);
	}
	return worst / (high - low);
}

/* ---- of SafeTensors files ---- */

/* What the formats say in other words is rounded otherwise: llama3's blended frequencies, a given attention factor of
 * yarn. (7 bits of an activation turn one last bit into 5e-3, or 1.2e-2.) And where OpenBLAS multiplies, the bits of an
 * output may depend on its place among the others, which is another one for the rows of q and k of a llama: f32
 * rounding and, now and then, the last of a key's 11 bits (2e-3 as in test_model.c, 1e-4 seen). All else is the same to
 * the bit. */
static void a_gguf_file_has_the_logits_of_its_safetensors(void **state)
{
	(void)state;
	static const struct {
		const char *path;
		double bound;
	} models[] = {
	    {"tests/models/gqa-f32", 0},
	    {"tests/models/bias-f32", 0},
	    {"tests/models/mha-f16-tied", 0},
	    {"tests/models/mqa-bf16", 0},
	    {"tests/models/odd-sizes-bf16", 0},
	    {"tests/models/rope-linear-f16", 0},
	    {"tests/models/wide-head-bf16", 0},
	    {"tests/models/sharded-f16", 0},
	    {"models/tallow-tiny", 0},
	    {"tests/models/rope-llama3-bf16", 1e-5},
	    {"tests/models/mistral-bf16", 0},
	    {"tests/models/qwen2-bf16", 0},
	    {"tests/models/qwen2-window-f16", 0},
	    {"tests/models/qwen3-bf16", 0},
	    {"tests/models/phi3-f16", 0},
	    {"tests/models/phi3-longrope-short-bf16", 0},
	    {"tests/models/phi3-longrope-long-bf16", 0},
	    {"tests/models/phi3-partial-f16", 0},
	    {"tests/models/rope-yarn-bf16", 0},
	    {"tests/models/rope-yarn-factor-f16", 2e-2},
	};
	static const struct variant variants[] = {{COMPUTE_AUTO, AS_IN_FILE}, {COMPUTE_AUTO, DTYPE_Q8}};
	float *of_gguf = new_logits(), *of_safetensors = new_logits();
	const char *path = folder_file(&folder, "model.gguf");
	for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
		gguf_of_model(models[i].path, path);
		for (int set = 0; set < N_SETS; set++)
			for (size_t v = 0; v < sizeof variants / sizeof *variants; v++) {
				if (!runs_in((int)i, set))
					continue;
				int64_t n = compute(models[i].path, sets[set], variants[v], DTYPE_F16, N_TOKENS, of_safetensors);
				assert_int_equal(compute(path, sets[set], variants[v], DTYPE_F16, N_TOKENS, of_gguf), n);
				double worst = difference(of_gguf, of_safetensors, n);
				double of_place = calls_openblas && has_paired_rows ? 2e-3 : 0;
				if (!(worst <= fmax(models[i].bound, of_place)))
					fail_msg("%s %s: logits differ by %.2e of their range", models[i].path, set_names[set], worst);
			}
	}
	free(of_gguf);
	free(of_safetensors);
}

/* ---- of blocks ---- */

/* Bytes of the plan's line, 0 when there is none. */
static uint64_t plan_line(const struct model_plan *plan, const char *name)
{
	for (int i = 0; i < plan->n_lines; i++)
		if (strcmp(plan->lines[i].name, name) == 0)
			return plan->lines[i].n_bytes;
	return 0;
}

static const struct block_scales *scales_of(enum dtype type)
{
	for (int i = 0; i < N_BLOCK_TYPES; i++)
		if (block_scales[i].type == type)
			return &block_scales[i];
	fail_msg("%s is no type of blocks", dtype_info(type)->name);
	return NULL;
}

static struct random_types all_of(const struct block_scales *scales, bool tied)
{
	return (struct random_types){scales, scales, scales, tied ? NULL : scales};
}

/* Adds what a matrix takes where its type is repacked, and notes the type that products read. */
static void count_matrix(const struct block_scales *scales, int64_t n_out, int64_t n_in, size_t *n_bytes,
                         uint64_t *types)
{
	size_t made;
	enum dtype served = weight_served_type(scales->type);
	assert_true(weight_bytes(served, n_out, n_in, &made));
	*n_bytes += served != scales->type ? made : 0;
	*types |= UINT64_C(1) << served;
}

/* What is repacked is counted as such, to the byte, and goes by the name that it has in the file. */
static void check_plan(const char *path, const struct random_types *types, enum dtype kind)
{
	struct run run;
	size_t n_bytes = 0;
	uint64_t served = 0;
	run_open_as(&run, path, ISA_AUTO, (struct variant){COMPUTE_AUTO, AS_IN_FILE}, DTYPE_F16, 1);
	const struct model_plan *plan = model_memory_plan(run.model);
	assert_string_equal(model_quant_kind(run.model), dtype_info(kind)->name);
	for (int i = 0; i < RANDOM_LAYERS * N_RANDOM_MATRICES; i++) {
		const struct random_matrix *matrix = &random_matrices[i % N_RANDOM_MATRICES];
		count_matrix(matrix->some ? types->some : types->most, matrix->rows, matrix->columns, &n_bytes, &served);
	}
	count_matrix(types->head ? types->head : types->embedding, RANDOM_VOCAB, RANDOM_HIDDEN, &n_bytes, &served);
	assert_int_equal(plan_line(plan, "weights (converted)"), n_bytes);
	assert_int_equal(plan->weights.types, served);
	model_close(run.model);
}

/* In every set, with f32 activations and as served: with activations rounded to 8 bits, or to bf16, where a type has
 * kernels that do. What is widened gives the bits that its values give. */
static void check_random_model(const char *name, const struct random_types *types, enum dtype kind)
{
	static const struct variant exact = {COMPUTE_F32, AS_IN_FILE}, automatic = {COMPUTE_AUTO, AS_IN_FILE};
	const char *path = folder_file(&folder, "blocks.gguf"), *plain = folder_file(&folder, "values.gguf");
	const struct block_scales *head = types->head ? types->head : types->embedding;
	float *of_blocks = new_logits(), *of_values = new_logits();
	bool repacked = weight_served_type(types->most->type) != types->most->type ||
	                weight_served_type(types->some->type) != types->some->type ||
	                weight_served_type(head->type) != head->type;
	gguf_random_models(types, path, plain);
	check_plan(path, types, kind);
	for (int set = 0; set < N_SETS; set++) {
		if (!is_supported(sets[set]))
			continue;
		int64_t n = compute(plain, sets[set], exact, DTYPE_F32, N_SHORT, of_values);
		assert_int_equal(compute(path, sets[set], exact, DTYPE_F32, N_SHORT, of_blocks), n);
		double worst = difference(of_blocks, of_values, n);
		if (!(worst <= (repacked ? 1e-5 : 0)))
			fail_msg("%s %s: logits differ by %.2e of their range", name, set_names[set], worst);
		compute(path, sets[set], automatic, DTYPE_F32, N_SHORT, of_blocks);
		worst = difference(of_blocks, of_values, n);
		if (!(worst <= (repacked ? 3e-2 : 0)))
			fail_msg("%s %s as served: logits differ by %.2e of their range", name, set_names[set], worst);
	}
	free(of_blocks);
	free(of_values);
}

static void every_block_type_has_the_logits_of_its_values(void **state)
{
	(void)state;
	for (int i = 0; i < N_BLOCK_TYPES; i++) {
		struct random_types types = all_of(&block_scales[i], i % 2);
		check_random_model(dtype_info(block_scales[i].type)->name, &types, block_scales[i].type);
	}
}

/* By default some inputs keep 15 bits, but for weights of 2 bits: in a set that multiplies integers in prefill, too. */
static void inputs_of_two_bits_are_rounded_to_8(void **state)
{
	(void)state;
	static const enum dtype types[] = {DTYPE_Q2_K, DTYPE_Q3_K};
	const char *path = folder_file(&folder, "blocks.gguf"), *plain = folder_file(&folder, "values.gguf");
	float *of_fast = new_logits(), *of_auto = new_logits();
	for (int i = 0; i < 2; i++) {
		struct random_types all = all_of(scales_of(types[i]), false);
		gguf_random_models(&all, path, plain);
		int64_t n = compute(path, ISA_SCALAR, (struct variant){COMPUTE_FAST, AS_IN_FILE}, DTYPE_F32, N_SHORT, of_fast);
		compute(path, ISA_SCALAR, (struct variant){COMPUTE_AUTO, AS_IN_FILE}, DTYPE_F32, N_SHORT, of_auto);
		assert_true((difference(of_fast, of_auto, n) == 0) == (types[i] == DTYPE_Q2_K));
	}
	free(of_fast);
	free(of_auto);
}

/* Files as people download them: v, down, embedding and head are of other types than the rest. */
static void files_of_several_types_have_the_logits_of_their_values(void **state)
{
	(void)state;
	enum { TIED = DTYPE_COUNT };
	static const struct {
		const char *name;
		enum dtype most, some, embedding;
		int head; /* or TIED */
		enum dtype kind;
	} rows[] = {
	    {"Q4_K_M", DTYPE_Q4_K, DTYPE_Q6_K, DTYPE_Q4_K, DTYPE_Q6_K, DTYPE_Q4_K},
	    {"Q4_K_M with a tied head", DTYPE_Q4_K, DTYPE_Q6_K, DTYPE_Q6_K, TIED, DTYPE_Q4_K},
	    {"Q5_K_M", DTYPE_Q5_K, DTYPE_Q6_K, DTYPE_Q5_K, DTYPE_Q6_K, DTYPE_Q5_K},
	    {"Q3_K_M", DTYPE_Q3_K, DTYPE_Q5_K, DTYPE_Q3_K, DTYPE_Q6_K, DTYPE_Q3_K},
	    {"Q2_K", DTYPE_Q2_K, DTYPE_Q3_K, DTYPE_Q2_K, DTYPE_Q6_K, DTYPE_Q2_K},
	    {"Q4_0", DTYPE_Q4_0, DTYPE_Q4_1, DTYPE_Q4_0, DTYPE_Q6_K, DTYPE_Q4_0},
	    {"IQ4_NL", DTYPE_IQ4_NL, DTYPE_Q5_0, DTYPE_Q8_0, TIED, DTYPE_IQ4_NL},
	    {"IQ4_XS", DTYPE_IQ4_XS, DTYPE_Q5_K, DTYPE_IQ4_XS, DTYPE_Q6_K, DTYPE_IQ4_XS},
	    {"MXFP4", DTYPE_MXFP4, DTYPE_Q8_0, DTYPE_Q8_0, DTYPE_Q6_K, DTYPE_MXFP4},
	    {"IQ3_M", DTYPE_IQ3_S, DTYPE_Q4_K, DTYPE_IQ3_S, DTYPE_Q6_K, DTYPE_IQ3_S},
	    {"IQ2_XXS", DTYPE_IQ2_XXS, DTYPE_IQ3_XXS, DTYPE_Q2_K, DTYPE_Q5_K, DTYPE_IQ2_XXS},
	    {"TQ1_0", DTYPE_TQ1_0, DTYPE_TQ2_0, DTYPE_Q4_K, TIED, DTYPE_TQ1_0},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct random_types types = {scales_of(rows[i].most), scales_of(rows[i].some), scales_of(rows[i].embedding),
		                             rows[i].head == TIED ? NULL : scales_of((enum dtype)rows[i].head)};
		check_random_model(rows[i].name, &types, rows[i].kind);
	}
}

/* --weights: from any block type to any type that can be made, as from f32. */
static void blocks_are_converted_as_their_values_are(void **state)
{
	(void)state;
	static const enum dtype targets[] = {DTYPE_F32, DTYPE_F16, DTYPE_BF16, DTYPE_Q8, DTYPE_Q4};
	const char *path = folder_file(&folder, "blocks.gguf"), *plain = folder_file(&folder, "values.gguf");
	float *of_blocks = new_logits(), *of_values = new_logits();
	for (int i = 0; i < N_BLOCK_TYPES; i++) {
		const struct block_scales *scales = &block_scales[i];
		struct random_types types = all_of(scales, i % 2);
		gguf_random_models(&types, path, plain);
		for (size_t j = 0; j < sizeof targets / sizeof *targets; j++) {
			struct variant variant = {COMPUTE_AUTO, (int)targets[j]};
			/* Repacked, where the values would be rounded anew: with Q4 the head has 8 bits. */
			bool repacked = scales->type == DTYPE_Q8_0 ? targets[j] == DTYPE_Q8 || targets[j] == DTYPE_Q4
			                                           : scales->type == DTYPE_Q4_0 && targets[j] == DTYPE_Q4;
			int64_t n = compute(plain, ISA_AUTO, variant, DTYPE_F16, N_SHORT, of_values);
			compute(path, ISA_AUTO, variant, DTYPE_F16, N_SHORT, of_blocks);
			double worst = difference(of_blocks, of_values, n);
			if (!(worst <= (repacked ? 5e-2 : 0)))
				fail_msg("%s to %s: logits differ by %.2e of their range", dtype_info(scales->type)->name,
				         dtype_info(targets[j])->name, worst);
		}
	}
	free(of_blocks);
	free(of_values);
}

/* A request's bits: neither the number of threads nor how its prompt is cut into slices is in them. */
static void blocks_give_the_same_bits_however_they_are_cut(void **state)
{
	(void)state;
	static const struct {
		int n_tiles, n_threads;
	} cuts[] = {{100, 2}, {1, 1}, {2, 2}};
	const char *path = folder_file(&folder, "blocks.gguf"), *plain = folder_file(&folder, "values.gguf");
	float *first = new_logits(), *other = new_logits();
	for (int i = 0; i < N_BLOCK_TYPES; i++) {
		struct random_types types = all_of(&block_scales[i], i % 2);
		gguf_random_models(&types, path, plain);
		for (int set = 0; set < N_SETS; set++)
			for (size_t cut = 0; cut < sizeof cuts / sizeof *cuts && runs_in(i, set); cut++) {
				struct variant variant = {COMPUTE_AUTO, AS_IN_FILE};
				struct run run;
				run_open_as(&run, path, sets[set], variant, DTYPE_F16, cuts[cut].n_threads);
				int tile = model_memory_plan(run.model)->tile_rows, n = 2 * tile + N_SHORT;
				int64_t vocab = model_config(run.model)->vocab_size;
				assert_true(n <= MAX_TOKENS);
				tile = tile < 16 ? 16 : tile;
				for (int token = 0; token < n; token++)
					tokens[token] = token * 7 % 300;
				all_logits(&run, tokens, n, tile * cuts[cut].n_tiles, n - N_DECODED, cut ? other : first);
				model_close(run.model);
				if (cut && memcmp(other, first, sizeof *first * (size_t)(n * vocab)) != 0)
					fail_msg("%s %s: other bits in slices of %d tiles on %d threads",
					         dtype_info(block_scales[i].type)->name, set_names[set], cuts[cut].n_tiles,
					         cuts[cut].n_threads);
			}
	}
	free(first);
	free(other);
}

/* ---- what does not fit ---- */

static const struct model_config small_config = {
    .architecture = "LlamaForCausalLM",
    .hidden_size = 64,
    .intermediate_size = 96,
    .n_layers = 2,
    .n_heads = 2,
    .n_kv_heads = 1,
    .head_dim = 32,
    .rotary_dim = 32,
    .vocab_size = 10,
    .max_positions = 1024,
    .rms_norm_eps = 1e-5,
    .rope = {.theta = 10000},
};

/* A tensor that takes the place of the one of its name, or comes on top. */
struct other {
	const char *name; /* NULL: none */
	int64_t rows, columns;
	enum dtype type;
	const void *data; /* NULL: zeros */
};

static bool is_named(const struct other *other, const char *name)
{
	return other->name && strcmp(other->name, name) == 0;
}

static void write_small(const char *path, int64_t n_layers, const struct other *other, const struct other *another)
{
	static const struct {
		const char *name;
		int64_t rows, columns;
	} matrices[] = {{"attn_q", 64, 64},   {"attn_k", 32, 64}, {"attn_v", 32, 64},  {"attn_output", 64, 64},
	                {"ffn_gate", 96, 64}, {"ffn_up", 96, 64}, {"ffn_down", 64, 96}};
	struct gguf_maker maker = {.n_values = 0};
	struct model_config config = small_config;
	char name[80];
	config.n_layers = n_layers;
	gguf_maker_config(&maker, &config);
	gguf_maker_ones(&maker, &small_config);
	for (const struct other *one = other; one; one = one == other ? another : NULL)
		if (one->name)
			gguf_maker_tensor(&maker, one->name, one->rows, one->columns, one->type, one->data);
	if (!is_named(other, "token_embd.weight"))
		gguf_maker_tensor(&maker, "token_embd.weight", 10, 64, DTYPE_F32, NULL);
	for (int layer = 0; layer < 2; layer++)
		for (size_t i = 0; i < sizeof matrices / sizeof *matrices; i++) {
			snprintf(name, sizeof name, "blk.%d.%s.weight", layer, matrices[i].name);
			if (!is_named(other, name))
				gguf_maker_tensor(&maker, name, matrices[i].rows, matrices[i].columns, DTYPE_F16, NULL);
		}
	gguf_maker_write(&maker, path);
}

static void check_small_refused(int64_t n_layers, const struct other *other, const char *says)
{
	struct error error = {0};
	const char *path = folder_file(&folder, "small.gguf");
	struct model_options options = {.path = path, .weights_auto = true, .kv_auto = true, .n_threads = 1};
	write_small(path, n_layers, other, NULL);
	struct model *model = model_open(&options, NULL, NULL, &error);
	if (model)
		fail_msg("was opened, where it should say: %s", says);
	assert_int_equal(error.code, ERROR_MODEL);
	if (!strstr(error.message, says) || !strstr(error.message, "small.gguf: "))
		fail_msg("says: %s\n  not: %s", error.message, says);
}

static void models_that_do_not_fit_are_refused(void **state)
{
	(void)state;
	static const float zero[16], nan[16] = {1, NAN}, minus[16] = {1, -2}, tiny[16] = {1, 1e-7f};
	static const struct {
		int64_t n_layers;
		struct other other;
		const char *says;
	} rows[] = {
	    {3, {NULL, 0, 0, DTYPE_F32, NULL}, "9 missing: "},
	    {1, {NULL, 0, 0, DTYPE_F32, NULL}, "9 unexpected: blk.1."},
	    {2,
	     {"output.weight", 11, 64, DTYPE_F32, NULL},
	     "tensor output.weight has shape [11, 64], the file's metadata makes it [10, 64]"},
	    {2, {"output.weight", 10, 32, DTYPE_F32, NULL}, "tensor output.weight has shape [10, 32]"},
	    {2, {"token_embd.weight", 10, 32, DTYPE_F32, NULL}, "tensor token_embd.weight has shape [10, 32]"},
	    {2, {"token_embd.weight", 640, 0, DTYPE_F32, NULL}, "tensor token_embd.weight is missing or no matrix"},
	    {2, {"token_embd.weight", 9, 64, DTYPE_F32, NULL}, "tensor token_embd.weight has shape [9, 64]"},
	    {2, {"blk.1.attn_k.weight", 64, 64, DTYPE_F16, NULL}, "tensor blk.1.attn_k.weight has shape [64, 64]"},
	    {2, {"blk.0.ffn_down.weight", 96, 64, DTYPE_Q8_0, NULL}, "tensor blk.0.ffn_down.weight has shape [96, 64]"},
	    {2, {"blk.0.attn_q_norm.weight", 32, 0, DTYPE_F32, NULL}, "1 unexpected: blk.0.attn_q_norm.weight"},
	    {2, {"blk.0.attn_v.bias", 64, 0, DTYPE_F32, NULL}, "1 unexpected: blk.0.attn_v.bias"},
	    {2,
	     {"blk.0.attn_q.bias", 64, 0, DTYPE_Q8_0, NULL},
	     "tensor blk.0.attn_q.bias has dtype Q8_0, expected F32, F16 or BF16"},
	    {2, {"blk.2.attn_q.weight", 64, 64, DTYPE_F16, NULL}, "1 unexpected: blk.2.attn_q.weight"},
	    {2, {"rope_freqs.weight", 16, 0, DTYPE_F32, zero}, "rope_freqs.weight[0] is 0"},
	    {2, {"rope_freqs.weight", 16, 0, DTYPE_F32, nan}, "rope_freqs.weight[1] is nan"},
	    {2, {"rope_freqs.weight", 16, 0, DTYPE_F32, minus}, "rope_freqs.weight[1] is -2"},
	    {2, {"rope_freqs.weight", 16, 0, DTYPE_F32, tiny}, "rope_freqs.weight[1] is 1e-07, expected 1e-6 to 1e30"},
	    {2,
	     {"rope_freqs.weight", 32, 0, DTYPE_F32, NULL},
	     "tensor rope_freqs.weight has shape [32], the file's metadata makes it [16]"},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		check_small_refused(rows[i].n_layers, &rows[i].other, rows[i].says);
}

/* A head that is the embedding once more is a head like any other. */
static void a_copy_of_the_embedding_is_a_head(void **state)
{
	(void)state;
	float table[10 * 64];
	uint64_t seed = 5;
	for (size_t i = 0; i < sizeof table / sizeof *table; i++)
		table[i] = (float)random_byte(&seed) / 128 - 1;
	const struct other embedding = {"token_embd.weight", 10, 64, DTYPE_F32, table},
	                   head = {"output.weight", 10, 64, DTYPE_F32, table};
	const char *tied = folder_file(&folder, "tied.gguf"), *copied = folder_file(&folder, "copied.gguf");
	const struct variant variant = {COMPUTE_AUTO, AS_IN_FILE};
	float *of_tied = new_logits(), *of_copied = new_logits();
	write_small(tied, 2, &embedding, NULL);
	write_small(copied, 2, &embedding, &head);
	int64_t n = compute(tied, ISA_AUTO, variant, DTYPE_F32, N_SHORT, of_tied);
	assert_int_equal(compute(copied, ISA_AUTO, variant, DTYPE_F32, N_SHORT, of_copied), n);
	assert_memory_equal(of_copied, of_tied, (size_t)n * sizeof *of_tied);
	assert_true(of_tied[0] != of_tied[1]);
	free(of_tied);
	free(of_copied);
}

/* ---- repacking ---- */

/* Every value that a block can hold, and odd numbers of outputs: the values stay what they are, to the bit. */
static void repacking_changes_no_value(void **state)
{
	(void)state;
	enum { N_IN = 512 };
	static const int64_t outputs[] = {1, 15, 16, 17, 50};
	struct error error;
	struct kernels *kernels = kernels_create(ISA_AUTO, COMPUTE_AUTO, 2, N_IN, &error);
	struct pool *pool = pool_create(2, NULL, 0, &error);
	assert_true(kernels && pool);
	int n_repacked = 0;
	for (int i = 0; i < N_BLOCK_TYPES; i++) {
		enum dtype type = block_scales[i].type, target = weight_served_type(type);
		n_repacked += target != type;
		for (size_t j = 0; target != type && j < sizeof outputs / sizeof *outputs; j++) {
			size_t n = N_IN * (size_t)outputs[j], n_bytes, n_stored;
			uint64_t seed = j + 1;
			assert_true(weight_bytes(target, outputs[j], N_IN, &n_bytes) && dtype_bytes(type, n, &n_stored));
			unsigned char *stored = malloc(n_stored); /* exact: sanitizers watch the end */
			void *memory = aligned_alloc(64, n_bytes);
			float *expected = malloc(n * sizeof *expected), *found = malloc(n * sizeof *found);
			assert_true(stored && memory && expected && found);
			random_blocks(&block_scales[i], stored, n / (size_t)dtype_info(type)->block_elements, 1, &seed);
			if (type == DTYPE_Q8_0)
				memset(stored + 2, 0x80, 32); /* -128, which rounding never makes */
			memset(memory, 0xFF, n_bytes);
			block_dequantise(type, stored, expected, n);
			struct weight from = {.type = type, .n_out = outputs[j], .n_in = N_IN, .data = stored}, to;
			weight_convert(kernels, pool, &from, target, memory, &to);
			weight_widen(kernels, &to, 0, outputs[j], found);
			assert_memory_equal(found, expected, n * sizeof *found);
			free(stored);
			free(memory);
			free(expected);
			free(found);
		}
	}
	assert_int_equal(n_repacked, 13);
	pool_destroy(pool);
	kernels_destroy(kernels);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_teardown(a_gguf_file_has_the_logits_of_its_safetensors, clear_folder),
	    cmocka_unit_test_teardown(every_block_type_has_the_logits_of_its_values, clear_folder),
	    cmocka_unit_test_teardown(inputs_of_two_bits_are_rounded_to_8, clear_folder),
	    cmocka_unit_test_teardown(files_of_several_types_have_the_logits_of_their_values, clear_folder),
	    cmocka_unit_test_teardown(blocks_are_converted_as_their_values_are, clear_folder),
	    cmocka_unit_test_teardown(blocks_give_the_same_bits_however_they_are_cut, clear_folder),
	    cmocka_unit_test_teardown(models_that_do_not_fit_are_refused, clear_folder),
	    cmocka_unit_test_teardown(a_copy_of_the_embedding_is_a_head, clear_folder),
	    cmocka_unit_test(repacking_changes_no_value),
	};
	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
