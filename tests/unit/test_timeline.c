/* A timeline against itself: rows of one sequence that share a decode step have the bits that they have alone, in every
 * kernel set and with every type of weights, keys and values; so has what follows a rewind. */
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

enum { MAX_VOCAB = 4096, N_DECODED = 40, MAX_TOKENS = 640 };

static struct folder folder;
static int32_t text[MAX_TOKENS], other_text[MAX_TOKENS];
static float *expected, *of_other; /* logits of single rows, [N_DECODED, vocab] */

static int set_up(void **state)
{
	(void)state;
	folder = folder_make();
	expected = malloc(sizeof *expected * N_DECODED * MAX_VOCAB);
	of_other = malloc(sizeof *of_other * N_DECODED * MAX_VOCAB);
	return expected && of_other ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	folder_remove(&folder);
	free(expected);
	free(of_other);
	return 0;
}

static void fill_texts(int64_t vocab)
{
	assert_true(vocab <= MAX_VOCAB);
	for (int i = 0; i < MAX_TOKENS; i++) {
		text[i] = (int32_t)((i * 37 + i * i) % vocab);
		other_text[i] = (int32_t)((i * 11 + 5) % vocab);
	}
}

/* Which model, in which set, for messages. */
struct subject {
	const char *name;
	enum isa isa;
	struct variant variant;
	enum dtype kv;
};

static void fail_subject(const struct subject *subject, const char *what, int row)
{
	fail_msg("%s, set %d, weights %d, compute %d, kv %s: %s, row %d", subject->name, (int)subject->isa,
	         subject->variant.weights, (int)subject->variant.compute, dtype_info(subject->kv)->name, what, row);
}

static void check_rows(const struct subject *subject, const struct run *run, const float *logits, const float *singles,
                       int n_rows, const char *what)
{
	size_t vocab = (size_t)model_config(run->model)->vocab_size;
	for (int row = 0; row < n_rows; row++)
		if (memcmp(logits + (size_t)row * vocab, singles + (size_t)row * vocab, vocab * sizeof *logits) != 0)
			fail_subject(subject, what, row);
}

/* Where decode begins: shortly before the end of a page and of a block of keys. */
static int first_decoded(const struct run *run)
{
	int page_tokens = model_memory_plan(run->model)->kv.page_tokens;
	return (page_tokens < 64 ? 64 : page_tokens) - 5;
}

/* The logits of N_DECODED single rows after first_decoded. */
static void decode_singles(const struct run *run, struct timeline *timeline, const int32_t *tokens, float *singles)
{
	int64_t vocab = model_config(run->model)->vocab_size;
	int first = first_decoded(run);
	timeline_prefill(timeline, tokens, first, 0);
	for (int i = 0; i < N_DECODED; i++)
		memcpy(singles + i * vocab, timeline_step(timeline, tokens + first + i, 1, ROWS_DECODE, 1),
		       (size_t)vocab * sizeof *singles);
}

/* Decodes again, in steps of a pattern of sizes that repeats. */
static void check_pattern(const struct subject *subject, const struct run *run, struct timeline *timeline,
                          const int *sizes)
{
	int64_t vocab = model_config(run->model)->vocab_size;
	int first = first_decoded(run), turn = 0;
	timeline_rewind(timeline, first);
	for (int done = 0, n; done < N_DECODED; done += n, turn++) {
		if (!sizes[turn])
			turn = 0;
		n = sizes[turn] < N_DECODED - done ? sizes[turn] : N_DECODED - done;
		const float *logits = timeline_step(timeline, text + first + done, n, ROWS_DECODE, n);
		check_rows(subject, run, logits, expected + done * vocab, n, "several rows in a step");
	}
}

/* Beside several rows of another sequence, and beside prefill. */
static void check_company(const struct subject *subject, const struct run *run, struct timeline *timeline,
                          struct timeline *other)
{
	enum { N_ROWS = 7, N_OTHER = 3, N_PREFILLED = 19 };
	int first = first_decoded(run);
	struct timeline *prefilled = timeline_open(run->model, N_PREFILLED);
	timeline_rewind(timeline, first);
	timeline_rewind(other, first);
	struct forward_span spans[] = {
	    timeline_append(other, other_text + first, N_OTHER, ROWS_DECODE, N_OTHER),
	    timeline_append(timeline, text + first, N_ROWS, ROWS_DECODE, N_ROWS),
	    timeline_append(prefilled, text + 1, N_PREFILLED, ROWS_PREFILL, 1),
	};
	model_forward(run->model, spans, 3);
	check_rows(subject, run, model_logits(run->model, spans[0].logit_row), of_other, N_OTHER, "beside others");
	check_rows(subject, run, model_logits(run->model, spans[1].logit_row), expected, N_ROWS, "beside others");
	timeline_destroy(prefilled);
}

static void check_subject(const struct subject *subject, const char *path)
{
	static const int twos[] = {2, 0}, mixed[] = {3, 1, 8, 5, 0}, many[] = {17, 0}, all[] = {N_DECODED, 0};
	const int *const patterns[] = {twos, mixed, many, all};
	struct run run;
	run_open_as(&run, path, subject->isa, subject->variant, subject->kv, 2);
	int64_t vocab = model_config(run.model)->vocab_size;
	fill_texts(vocab);
	int n_tokens = first_decoded(&run) + N_DECODED;
	struct timeline *timeline = timeline_open(run.model, n_tokens), *other = timeline_open(run.model, n_tokens);
	decode_singles(&run, timeline, text, expected);
	decode_singles(&run, other, other_text, of_other);
	assert_memory_not_equal(expected, of_other, (size_t)vocab * sizeof *expected);
	for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++)
		check_pattern(subject, &run, timeline, patterns[i]);
	check_company(subject, &run, timeline, other);
	timeline_destroy(timeline);
	timeline_destroy(other);
	model_close(run.model);
}

/* Windows begin within, at and before the rows; heads are shared or not; 24 elements fill no vector. */
static const char *const models[] = {
    "tests/models/gqa-f32",  "tests/models/mistral-bf16",   "tests/models/qwen2-window-f16", "tests/models/phi3-f16",
    "tests/models/mqa-bf16", "tests/models/wide-head-bf16", "tests/models/rope-dynamic-f16",
};
enum { N_MODELS = sizeof models / sizeof *models };

static bool has_whole_groups(const char *path)
{
	struct model_config config;
	struct error error;
	assert_true(config_load(path, &config, &error));
	return config.head_dim % dtype_info(DTYPE_Q8)->block_elements == 0;
}

static void several_rows_of_a_sequence_have_the_bits_of_single_ones(void **state)
{
	(void)state;
	static const struct variant variants[] = {
	    {COMPUTE_AUTO, AS_IN_FILE}, {COMPUTE_F32, AS_IN_FILE}, {COMPUTE_AUTO, DTYPE_F32}, {COMPUTE_AUTO, DTYPE_F16},
	    {COMPUTE_AUTO, DTYPE_BF16}, {COMPUTE_AUTO, DTYPE_Q8},  {COMPUTE_AUTO, DTYPE_Q4}};
	static const enum dtype kv_types[] = {DTYPE_F16, DTYPE_F32, DTYPE_BF16, DTYPE_Q8};
	int turn = 0; /* the type of keys and values changes with every one */
	for (int i = 0; i < N_MODELS; i++)
		for (int set = 0; set < N_SETS; set++)
			for (size_t v = 0; v < sizeof variants / sizeof *variants && runs_in(i, set); v++, turn++) {
				struct subject subject = {models[i], sets[set], variants[v], kv_types[turn % 4]};
				if (subject.kv == DTYPE_Q8 && !has_whole_groups(models[i]))
					subject.kv = DTYPE_F16;
				check_subject(&subject, models[i]);
			}
}

static void so_have_those_of_every_block_type(void **state)
{
	(void)state;
	const char *path = folder_file(&folder, "blocks.gguf"), *plain = folder_file(&folder, "values.gguf");
	for (int i = 0; i < N_BLOCK_TYPES; i++) {
		const struct block_scales *scales = &block_scales[i];
		gguf_random_models(&(struct random_types){scales, scales, scales, NULL}, path, plain);
		for (int set = 0; set < N_SETS; set++) {
			struct subject subject = {
			    dtype_info(scales->type)->name, sets[set], {COMPUTE_AUTO, AS_IN_FILE}, i % 2 ? DTYPE_Q8 : DTYPE_F16};
			if (runs_in(i, set))
				check_subject(&subject, path);
		}
	}
}

/* All pages hold what is no number in any type. */
static void poison_pages(struct model *model)
{
	for (int page = 0; page < kv_pool_total(model_kv(model)); page++)
		memset(kv_page_data(model_kv(model), page), 0xFF, model_memory_plan(model)->kv_page_bytes);
}

static const struct variant as_in_file = {COMPUTE_AUTO, AS_IN_FILE};

/* What was written after the position, by decode and by prefill, and what the pages held before anything was. */
static void a_rewind_leaves_nothing_behind(void **state)
{
	(void)state;
	static const enum dtype kv_types[] = {DTYPE_F16, DTYPE_F32, DTYPE_BF16, DTYPE_Q8};
	for (int i = 0; i < N_MODELS; i++)
		for (int set = 0; set < N_SETS; set++) {
			struct subject subject = {models[i], sets[set], as_in_file, kv_types[(i + set) % 4]};
			struct run run;
			if (!runs_in(i, set))
				continue;
			if (subject.kv == DTYPE_Q8 && !has_whole_groups(models[i]))
				subject.kv = DTYPE_F16;
			run_open_as(&run, models[i], subject.isa, as_in_file, subject.kv, 2);
			int64_t vocab = model_config(run.model)->vocab_size;
			fill_texts(vocab);
			int first = first_decoded(&run), n_tokens = first + N_DECODED;
			struct timeline *timeline = timeline_open(run.model, n_tokens);
			decode_singles(&run, timeline, text, expected);
			timeline_destroy(timeline);
			poison_pages(run.model);
			timeline = timeline_open(run.model, n_tokens);
			timeline_prefill(timeline, other_text, n_tokens, 1);
			timeline_rewind(timeline, 0);
			decode_singles(&run, timeline, text, of_other);
			check_rows(&subject, &run, of_other, expected, N_DECODED, "after another text");
			for (int back = 1; back < N_DECODED; back += 6) {
				timeline_rewind(timeline, n_tokens - back);
				timeline_step(timeline, other_text, back, ROWS_DECODE, 0);
				timeline_rewind(timeline, n_tokens - back);
				const float *logits = timeline_step(timeline, text + n_tokens - back, back, ROWS_DECODE, back);
				check_rows(&subject, &run, logits, expected + (N_DECODED - back) * vocab, back, "after a rewind");
			}
			timeline_destroy(timeline);
			model_close(run.model);
		}
}

static struct model *open_long(enum isa isa, int n_logits)
{
	struct error error;
	struct model_options options = {.path = "models/tallow-tiny",
	                                .isa = isa,
	                                .n_threads = 2,
	                                .context = 640,
	                                .n_parallel = 1,
	                                .kv_type = DTYPE_F32,
	                                .weights_auto = true,
	                                .max_logit_rows = n_logits};
	struct model *model = model_open(&options, NULL, NULL, &error);
	if (!model)
		fail_msg("%s", error.message);
	return model;
}

/* A text longer than a step, with logits on both sides of where the first step would end if it were as long as it may be:
 * they are those of two steps that part there. */
static void logits_of_the_last_tokens_are_whatever_the_steps(void **state)
{
	(void)state;
	enum { N_LOGITS = 24, N_AFTER = 7, N_BEFORE = N_LOGITS - N_AFTER };
	for (int set = 0; set < N_SETS; set++) {
		if (!is_supported(sets[set]))
			continue;
		struct model *model = open_long(sets[set], N_LOGITS);
		int64_t vocab = model_config(model)->vocab_size;
		int most = model_memory_plan(model)->max_prefill_rows;
		assert_true(most + N_AFTER <= MAX_TOKENS);
		fill_texts(vocab);
		struct timeline *timeline = timeline_open(model, most + N_AFTER);
		memcpy(expected, timeline_step(timeline, text, most, ROWS_PREFILL, N_BEFORE),
		       (size_t)(N_BEFORE * vocab) * sizeof *expected);
		memcpy(expected + N_BEFORE * vocab, timeline_step(timeline, text + most, N_AFTER, ROWS_PREFILL, N_AFTER),
		       (size_t)(N_AFTER * vocab) * sizeof *expected);
		timeline_rewind(timeline, 0);
		const float *logits = timeline_prefill(timeline, text, most + N_AFTER, N_LOGITS);
		assert_memory_equal(logits, expected, (size_t)(N_LOGITS * vocab) * sizeof *expected);
		assert_int_equal(timeline_length(timeline), most + N_AFTER);
		timeline_destroy(timeline);
		model_close(model);
	}
}

static void pages_are_taken_for_its_length_and_come_back(void **state)
{
	(void)state;
	struct run run;
	struct error error;
	run_open_as(&run, models[0], ISA_AUTO, as_in_file, DTYPE_F16, 1);
	const struct model_plan *plan = model_memory_plan(run.model);
	struct kv_pool *pool = model_kv(run.model);
	int total = kv_pool_total(pool), page_tokens = plan->kv.page_tokens;
	struct timeline *one = timeline_open(run.model, 1), *two = timeline_open(run.model, page_tokens + 1);
	assert_int_equal(kv_pool_free(pool), total - 3);
	timeline_skip(two, page_tokens + 1);
	assert_int_equal(timeline_length(two), page_tokens + 1);
	timeline_rewind(two, 1);
	assert_int_equal(timeline_length(two), 1);
	assert_int_equal(kv_pool_free(pool), total - 3);

	assert_null(timeline_create(run.model, plan->context + 1, &error));
	assert_int_equal(error.code, ERROR_USAGE);
	assert_string_equal(error.message, "a sequence of 513 tokens is longer than the context, 512");
	struct timeline *rest[3] = {timeline_open(run.model, plan->context), timeline_open(run.model, plan->context)};
	assert_null(timeline_create(run.model, plan->context, &error));
	assert_int_equal(error.code, ERROR_MEMORY);
	assert_non_null(strstr(error.message, "KV pages"));
	timeline_destroy(one);
	timeline_destroy(two);
	rest[2] = timeline_open(run.model, plan->context);
	assert_int_equal(kv_pool_free(pool), 0);
	for (int i = 0; i < 3; i++)
		timeline_destroy(rest[i]);
	timeline_destroy(NULL);
	assert_int_equal(kv_pool_free(pool), total);
	model_close(run.model);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(several_rows_of_a_sequence_have_the_bits_of_single_ones),
	    cmocka_unit_test(so_have_those_of_every_block_type),
	    cmocka_unit_test(a_rewind_leaves_nothing_behind),
	    cmocka_unit_test(logits_of_the_last_tokens_are_whatever_the_steps),
	    cmocka_unit_test(pages_are_taken_for_its_length_and_come_back),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
