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

#include "gguf_model.h"
#include "model_run.h"

enum { N_TOKENS = 150, DECODE_FROM = 140, MAX_VOCAB = 1024 };

static struct folder folder;
static int32_t tokens[N_TOKENS];

static int set_up(void **state)
{
	(void)state;
	folder = folder_make();
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	folder_remove(&folder);
	return 0;
}

static int clear_folder(void **state)
{
	(void)state;
	folder_clear(&folder);
	return 0;
}

/* Logits [N_TOKENS, vocab] of a fixed text, most of it prefilled, the rest decoded. Long enough for longrope's long factors
 * where the model switches before; the others keep the short ones. */
static int64_t compute(const char *path, enum isa isa, struct variant variant, enum dtype kv, float *logits)
{
	struct run run;
	run_open_as(&run, path, isa, variant, kv, 2);
	run.rope_variant = model_rope_variant(run.model, N_TOKENS);
	int64_t vocab = model_config(run.model)->vocab_size;
	assert_true(vocab <= MAX_VOCAB);
	for (int i = 0; i < N_TOKENS; i++)
		tokens[i] = (int32_t)((i * 37 + i * i) % vocab);
	all_logits(&run, tokens, N_TOKENS, 384, DECODE_FROM, logits);
	model_close(run.model);
	return vocab;
}

static float *new_logits(void)
{
	float *logits = malloc(sizeof(float) * N_TOKENS * MAX_VOCAB);
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

/* What the formats say in other words is rounded otherwise: llama3's blended frequencies, a given attention factor of yarn.
 * (7 bits of an activation turn one last bit into 5e-3.) All else is the same to the bit. */
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
	    {"tests/models/rope-yarn-factor-f16", 1e-2},
	};
	static const struct variant variants[] = {{COMPUTE_AUTO, AS_IN_FILE}, {COMPUTE_AUTO, DTYPE_Q8}};
	float *of_gguf = new_logits(), *of_safetensors = new_logits();
	const char *path = folder_file(&folder, "model.gguf");
	for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
		gguf_of_model(models[i].path, path);
		for (int set = 0; set < N_SETS; set++)
			for (size_t v = 0; v < sizeof variants / sizeof *variants; v++) {
				if (!is_supported(sets[set]))
					continue;
				int64_t vocab = compute(models[i].path, sets[set], variants[v], DTYPE_F16, of_safetensors);
				assert_int_equal(compute(path, sets[set], variants[v], DTYPE_F16, of_gguf), vocab);
				double worst = difference(of_gguf, of_safetensors, N_TOKENS * vocab);
				if (!(worst <= models[i].bound))
					fail_msg("%s %s: logits differ by %.2e of their range", models[i].path, set_names[set], worst);
			}
	}
	free(of_gguf);
	free(of_safetensors);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_teardown(a_gguf_file_has_the_logits_of_its_safetensors, clear_folder),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
