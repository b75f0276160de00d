/* The forward pass against Hugging Face transformers (goldens of tests/goldens/make_models.py), in every kernel set and
 * mode, and against itself: the same bits whatever the slicing, the company and the threads.
 *
 * Bounds are shares of the range of the reference's logits. f32 everywhere: rounding in another order, 1e-4 (2e-6 seen).
 * f16 keys and values: 11 bits each, 2e-3 (9e-4 seen). Activations rounded to bf16 (8 bits) besides: 5e-3 for the trained
 * model (6e-4 seen); the random ones spread errors more than a trained one does, 1.5e-2 (1.2e-2 seen).
 */
#include <dirent.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/json.h"
#include "base/platform.h"
#include "model_run.h"

enum { MAX_PROMPT = 512, MAX_POSITIONS = 16, N_GREEDY = 64, MAX_MODELS = 64, MAX_VOCAB = 4096 };

struct golden {
	char path[512]; /* of the model */
	int32_t prompt[MAX_PROMPT];
	int n_prompt;
	int positions[MAX_POSITIONS];
	int n_positions;
	int64_t vocab;
	double range;
	float *logits; /* [n_positions, vocab] */
	int32_t greedy[N_GREEDY];
	double gaps[N_GREEDY];
};

static const struct mode {
	const char *name;
	enum compute compute;
	enum dtype kv;
	double bound;
} modes[] = {
    {"f32", COMPUTE_F32, DTYPE_F32, 1e-4},
    {"f16 kv", COMPUTE_F32, DTYPE_F16, 2e-3},
    {"auto", COMPUTE_AUTO, DTYPE_F16, 1.5e-2},
};

static const double trained_auto_bound = 5e-3;

/* The best two logits of every greedy step are further apart than this share of the range: ten times the rounding seen. */
static const double nearest_tie = 2e-5;

/* ---- goldens ---- */

static int read_ids(const struct json *list, int32_t *ids, int most)
{
	int n = 0;
	for (const struct json *value = json_first(list); value; value = json_next(value)) {
		int64_t id;
		assert_true(n < most && json_int64(value, &id));
		ids[n++] = (int32_t)id;
	}
	return n;
}

static void read_logits(const char *folder, struct golden *golden)
{
	char path[600];
	snprintf(path, sizeof path, "%s/golden.bin", folder);
	size_t n = (size_t)golden->n_positions * (size_t)golden->vocab;
	golden->logits = malloc(n * sizeof *golden->logits);
	FILE *file = fopen(path, "rb");
	assert_non_null(file);
	assert_int_equal(fread(golden->logits, sizeof *golden->logits, n, file), n);
	fclose(file);
}

static void read_golden(const char *folder, const char *model, struct golden *golden)
{
	char path[600];
	struct error error;
	int64_t vocab;
	int32_t positions[MAX_POSITIONS];
	memset(golden, 0, sizeof *golden);
	snprintf(golden->path, sizeof golden->path, "%s", model);
	snprintf(path, sizeof path, "%s/golden.json", folder);
	struct json *document = json_parse_file(path, 1 << 20, NULL, &error);
	if (!document)
		fail_msg("%s", error.message);
	golden->n_prompt = read_ids(json_get(document, "prompt"), golden->prompt, MAX_PROMPT);
	golden->n_positions = read_ids(json_get(document, "positions"), positions, MAX_POSITIONS);
	for (int i = 0; i < golden->n_positions; i++)
		golden->positions[i] = positions[i];
	assert_int_equal(read_ids(json_get(document, "greedy"), golden->greedy, N_GREEDY), N_GREEDY);
	int n = 0;
	for (const struct json *v = json_first(json_get(document, "gaps")); v; v = json_next(v))
		assert_true(n < N_GREEDY && json_double(v, &golden->gaps[n++]));
	assert_true(json_int64(json_get(document, "vocab"), &vocab));
	assert_true(json_double(json_get(document, "logits_range"), &golden->range));
	golden->vocab = vocab;
	read_logits(folder, golden);
	json_destroy(document);
}

static struct golden goldens[MAX_MODELS];
static int n_goldens;

/* TALLOW_TEST_GOLDENS names the few that an emulator has time for, as "gqa-f32 mha-f16-tied". */
static bool is_wanted(const char *name)
{
	char word[300], list[300];
	const char *wanted = getenv("TALLOW_TEST_GOLDENS");
	snprintf(word, sizeof word, " %s ", name);
	snprintf(list, sizeof list, " %s ", wanted ? wanted : name);
	return strstr(list, word) != NULL;
}

static int read_goldens(void **state)
{
	(void)state;
	DIR *folders = opendir("tests/models");
	assert_non_null(folders);
	for (const struct dirent *entry; (entry = readdir(folders)) != NULL;) {
		char folder[512];
		if (entry->d_name[0] == '.' || !is_wanted(entry->d_name))
			continue;
		snprintf(folder, sizeof folder, "tests/models/%s", entry->d_name);
		bool shipped = strcmp(entry->d_name, "shipped") == 0;
		read_golden(folder, shipped ? "models/tallow-tiny" : folder, &goldens[n_goldens++]);
	}
	closedir(folders);
	return n_goldens >= (getenv("TALLOW_TEST_GOLDENS") ? 1 : 26) ? 0 : -1;
}

static int free_goldens(void **state)
{
	(void)state;
	for (int i = 0; i < n_goldens; i++)
		free(goldens[i].logits);
	return 0;
}

/* What "same bits" is tested with. */
static const struct variant variants[] = {
    {COMPUTE_AUTO, AS_IN_FILE}, {COMPUTE_F32, AS_IN_FILE}, {COMPUTE_AUTO, DTYPE_Q8}, {COMPUTE_AUTO, DTYPE_Q4}};
enum { N_VARIANTS = sizeof variants / sizeof *variants };

/* With the rope of the golden's prompt and greedy tokens. */
static void golden_open_as(struct run *run, const struct golden *golden, enum isa isa, struct variant variant,
                           enum dtype kv, int n_threads)
{
	run_open_as(run, golden->path, isa, variant, kv, n_threads);
	run->n_tokens = golden->n_prompt + N_GREEDY;
}

static void golden_open(struct run *run, const struct golden *golden, enum isa isa, enum compute compute, enum dtype kv,
                        int n_threads)
{
	golden_open_as(run, golden, isa, (struct variant){compute, AS_IN_FILE}, kv, n_threads);
}

static double worst_difference(const struct golden *golden, const float *logits)
{
	double worst = 0;
	for (int i = 0; i < golden->n_positions; i++)
		for (int64_t j = 0; j < golden->vocab; j++) {
			double difference = fabs((double)golden->logits[i * golden->vocab + j] -
			                         (double)logits[golden->positions[i] * golden->vocab + j]);
			worst = difference > worst || isnan(difference) ? difference : worst;
		}
	return worst / golden->range;
}

/* ---- tests ---- */

static void logits_equal_the_reference(void **state)
{
	(void)state;
	float *logits = malloc(sizeof(float) * MAX_PROMPT * MAX_VOCAB);
	for (int i = 0; i < n_goldens; i++)
		for (int set = 0; set < N_SETS; set++)
			for (int mode = 0; mode < 3; mode++) {
				struct run run;
				if (!runs_in(i, set))
					continue;
				golden_open(&run, &goldens[i], sets[set], modes[mode].compute, modes[mode].kv, 2);
				for (int decoded = 0; decoded < 2; decoded++) {
					int n = goldens[i].n_prompt;
					all_logits(&run, goldens[i].prompt, n, 384, decoded ? 0 : n, logits);
					double worst = worst_difference(&goldens[i], logits);
					bool trained = strcmp(goldens[i].path, "models/tallow-tiny") == 0;
					double bound = trained && mode == 2 ? trained_auto_bound : modes[mode].bound;
					if (!(worst <= bound))
						fail_msg("%s %s %s %s: logits differ by %.2e of their range, bound %.1e", goldens[i].path,
						         set_names[set], modes[mode].name, decoded ? "decode" : "prefill", worst, bound);
				}
				model_close(run.model);
			}
	free(logits);
}

/* All 64; fed with the reference's own tokens, so that each is judged by itself. */
static void greedy_tokens_equal_the_reference(void **state)
{
	(void)state;
	for (int i = 0; i < n_goldens; i++)
		for (int set = 0; set < N_SETS; set++) {
			const struct golden *golden = &goldens[i];
			struct run run;
			if (!runs_in(i, set))
				continue;
			golden_open(&run, golden, sets[set], COMPUTE_F32, DTYPE_F32, 2);
			struct timeline *timeline = timeline_open(run.model, run.n_tokens);
			const float *logits = timeline_prefill(timeline, golden->prompt, golden->n_prompt, 1);
			for (int step = 0; step < N_GREEDY; step++) {
				int32_t best = 0;
				for (int32_t j = 1; j < golden->vocab; j++)
					best = logits[j] > logits[best] ? j : best;
				assert_true(golden->gaps[step] > nearest_tie * golden->range);
				assert_int_equal(best, golden->greedy[step]);
				logits = timeline_step(timeline, &golden->greedy[step], 1, ROWS_DECODE, 1);
			}
			timeline_destroy(timeline);
			model_close(run.model);
		}
}

/* Every model with every other variant; every slicing with some number of threads, another one for the next model and variant
 * (all with all is minutes under a sanitizer). */
static void slicing_and_threads_do_not_change_bits(void **state)
{
	(void)state;
	size_t n_bytes = sizeof(float) * MAX_PROMPT * MAX_VOCAB;
	float *whole = malloc(n_bytes), *other = malloc(n_bytes);
	for (int i = 0; i < n_goldens; i++)
		for (int set = 0; set < N_SETS; set++)
			for (int v = i % 2; v < N_VARIANTS; v += 2) {
				const struct golden *golden = &goldens[i];
				struct run run;
				if (!runs_in(i / 2, set))
					continue;
				size_t used = sizeof(float) * (size_t)golden->n_prompt * (size_t)golden->vocab;
				for (int n_threads = 1; n_threads <= 3; n_threads++) {
					golden_open_as(&run, golden, sets[set], variants[v], DTYPE_F16, n_threads);
					int tile = model_memory_plan(run.model)->tile_rows;
					if (n_threads == 1)
						all_logits(&run, golden->prompt, golden->n_prompt, 384, golden->n_prompt, whole);
					for (int slice = tile, turn = i + v; slice <= 128; slice *= 4, turn++) {
						if (turn % 3 != n_threads - 1)
							continue;
						all_logits(&run, golden->prompt, golden->n_prompt, slice, golden->n_prompt, other);
						assert_memory_equal(whole, other, used);
					}
					model_close(run.model);
				}
			}
	free(whole);
	free(other);
}

/* A sequence that decodes beside another and beside another's prefill has the logits it has alone. */
static void company_does_not_change_bits(void **state)
{
	(void)state;
	for (int i = 0; i < n_goldens * N_VARIANTS; i++)
		for (int set = 0; set < N_SETS; set++) {
			const struct golden *golden = &goldens[i / N_VARIANTS];
			struct run run;
			float alone[2][MAX_VOCAB];
			size_t row = sizeof(float) * (size_t)golden->vocab;
			if (!runs_in(i + i / N_VARIANTS, set))
				continue;
			golden_open_as(&run, golden, sets[set], variants[i % N_VARIANTS], DTYPE_F16, 2);
			/* Twice the same sequence of 20 tokens and one, and another that prefills 39. */
			struct timeline *a = timeline_open(run.model, run.n_tokens), *twin = timeline_open(run.model, run.n_tokens);
			struct timeline *b = timeline_open(run.model, run.n_tokens);
			const int32_t *next = golden->prompt + 20;
			timeline_step(twin, golden->prompt, 20, ROWS_PREFILL, 0);
			timeline_step(a, golden->prompt, 20, ROWS_PREFILL, 0);
			memcpy(alone[0], timeline_step(a, next, 1, ROWS_DECODE, 1), row);
			memcpy(alone[1], timeline_step(b, golden->prompt + 1, 39, ROWS_PREFILL, 1), row);
			timeline_rewind(a, 20);
			timeline_rewind(b, 0);
			struct forward_span all[] = {timeline_append(a, next, 1, ROWS_DECODE, 1),
			                             timeline_append(twin, next, 1, ROWS_DECODE, 1),
			                             timeline_append(b, golden->prompt + 1, 39, ROWS_PREFILL, 1)};
			model_forward(run.model, all, 3);
			assert_memory_equal(alone[0], model_logits(run.model, all[0].logit_row), row);
			assert_memory_equal(alone[0], model_logits(run.model, all[1].logit_row), row);
			assert_memory_equal(alone[1], model_logits(run.model, all[2].logit_row), row);
			timeline_destroy(a);
			timeline_destroy(twin);
			timeline_destroy(b);
			model_close(run.model);
		}
}

static void a_cancelled_span_leaves_the_others_alone(void **state)
{
	(void)state;
	const struct golden *golden = &goldens[0];
	struct run run;
	atomic_bool cancel = true;
	float alone[MAX_VOCAB];
	size_t row = sizeof(float) * (size_t)golden->vocab;
	golden_open(&run, golden, ISA_AUTO, COMPUTE_AUTO, DTYPE_F16, 2);
	struct timeline *kept = timeline_open(run.model, 33), *cancelled = timeline_open(run.model, 33);
	memcpy(alone, timeline_step(kept, golden->prompt, 33, ROWS_PREFILL, 1), row);
	timeline_rewind(kept, 0);
	struct forward_span both[] = {timeline_append(cancelled, golden->prompt, 33, ROWS_PREFILL, 1),
	                              timeline_append(kept, golden->prompt, 33, ROWS_PREFILL, 1)};
	both[0].cancel = &cancel;
	model_forward(run.model, both, 2);
	assert_true(both[0].cancelled && both[0].logit_row == -1);
	assert_false(both[1].cancelled);
	assert_memory_equal(alone, model_logits(run.model, both[1].logit_row), row);
	timeline_destroy(kept);
	timeline_destroy(cancelled);
	model_close(run.model);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(logits_equal_the_reference),
	    cmocka_unit_test(greedy_tokens_equal_the_reference),
	    cmocka_unit_test(slicing_and_threads_do_not_change_bits),
	    cmocka_unit_test(company_does_not_change_bits),
	    cmocka_unit_test(a_cancelled_span_leaves_the_others_alone),
	};
	return cmocka_run_group_tests(tests, read_goldens, free_goldens);
}
