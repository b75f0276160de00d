/* Measures one weight type: prefill at several lengths, decode at several depths and with several streams. The rows are
 * gone through again and again, so that what the machine does meanwhile touches all of them.
 */
#include <stdlib.h>
#include <string.h>

#include "cli/bench_private.h"
#include "model/timeline.h"

enum {
	MAX_STEPS = 32, /* in one sample */
	MIN_DECODE_STEPS = 4,
	MAX_STREAMS = 64,
	SCALING_TOKENS = 512,
};

static const double sample_seconds = 0.4, quick_sample_seconds = 0.05; /* about, of short steps */
static const double row_seconds = 10; /* a row has its fill when it would take longer; but two samples at least */

struct run {
	const struct bench_shapes *shapes;
	struct bench_report *report;
	struct bench_result *result;
	struct model *model;
	struct read_probe *read;
	struct pool *pool;
	double read_gb_s; /* when last looked at */
	int n_pages;      /* most that a row takes */
	struct timeline *timelines[MAX_STREAMS];
	int n_timelines;
	int32_t *tokens; /* [context] */
	double layer_bytes, head_bytes, layer_flop, head_flop;
};

static int by_value(const void *left, const void *right)
{
	double a = *(const double *)left, b = *(const double *)right;
	return a < b ? -1 : a > b;
}

void bench_sort(double *values, int n_values)
{
	qsort(values, (size_t)n_values, sizeof *values, by_value);
}

double bench_median(const double *ascending, int n_values)
{
	return (ascending[(n_values - 1) / 2] + ascending[n_values / 2]) / 2;
}

/* ---- what a step moves ---- */

static void count_matrices(struct run *run)
{
	const struct model_config *config = model_config(run->model);
	const struct weight_sizes *sizes = &model_memory_plan(run->model)->weights;
	double head = (double)config->vocab_size * (double)config->hidden_size;
	double layers = (double)weights_parameter_count(config) - head * (config->tie_word_embeddings ? 1 : 2);
	run->head_bytes = (double)sizes->head_bytes;
	run->layer_bytes = (double)(sizes->product_bytes - sizes->head_bytes);
	run->head_flop = 2 * head;
	run->layer_flop = 2 * layers;
}

/* Bytes of keys and values of so many positions. */
static double kv_bytes(const struct run *run, double n_positions)
{
	const struct model_plan *plan = model_memory_plan(run->model);
	return (double)plan->kv_page_bytes / plan->kv.page_tokens * n_positions;
}

/* Operations of attention: every row with every position up to its own. */
static double attention_flop(const struct run *run, double n_pairs)
{
	const struct model_config *config = model_config(run->model);
	return 4 * (double)(config->n_heads * config->head_dim * config->n_layers) * n_pairs;
}

static void count_step(const struct run *run, struct bench_row *row)
{
	double bytes, flop, n = (double)row->tokens;
	if (row->phase == BENCH_PREFILL) {
		int64_t slice = model_memory_plan(run->model)->max_prefill_rows;
		bytes = run->head_bytes + kv_bytes(run, n);
		for (int64_t done = 0; done < row->tokens; done += slice)
			bytes += run->layer_bytes + kv_bytes(run, (double)done);
		flop = n * run->layer_flop + run->head_flop + attention_flop(run, n * (n + 1) / 2);
	} else {
		double depth = n + (row->n_steps + 1) / 2.0;
		bytes = run->layer_bytes + run->head_bytes + row->n_streams * kv_bytes(run, depth);
		flop = row->n_streams * (run->layer_flop + run->head_flop + attention_flop(run, depth));
	}
	row->gb = bytes / 1e9;
	row->gflop = flop / 1e9;
}

/* What bounds arithmetic: the instructions that most of the weights go through, where their ceiling is known. */
static enum arithmetic arithmetic_of(const struct run *run, enum bench_phase phase)
{
	enum arithmetic arithmetic = matmul_arithmetic(model_kernels(run->model), model_weight_type(run->model),
	                                               phase == BENCH_PREFILL ? ROWS_PREFILL : ROWS_DECODE);
	return run->report->ceilings.gop_s[arithmetic] > 0 ? arithmetic : ARITHMETIC_F32;
}

/* ---- steps ---- */

/* Of each of its sequences. */
static int64_t row_positions(const struct bench_row *row)
{
	return row->phase == BENCH_PREFILL ? row->tokens : row->tokens + MAX_STEPS;
}

/* The sequences of a row, each with so many positions as if it had been prefilled. */
static bool open_timelines(struct run *run, const struct bench_row *row, struct error *error)
{
	for (run->n_timelines = 0; run->n_timelines < row->n_streams; run->n_timelines++) {
		struct timeline *timeline = timeline_create(run->model, row_positions(row), error);
		if (!timeline)
			return false;
		run->timelines[run->n_timelines] = timeline;
	}
	return true;
}

static void close_timelines(struct run *run)
{
	while (run->n_timelines > 0)
		timeline_destroy(run->timelines[--run->n_timelines]);
}

static void prefill(struct run *run, int64_t n_tokens)
{
	timeline_rewind(run->timelines[0], 0);
	timeline_prefill(run->timelines[0], run->tokens, n_tokens, LOGITS_LAST);
}

static void decode(struct run *run)
{
	struct forward_span spans[MAX_STREAMS];
	const int32_t *token = run->tokens + timeline_length(run->timelines[0]);
	for (int i = 0; i < run->n_timelines; i++)
		spans[i] = timeline_append(run->timelines[i], token, 1, ROWS_DECODE, LOGITS_LAST);
	model_forward(run->model, spans, run->n_timelines);
}

static double step_seconds(struct run *run, const struct bench_row *row, int n_steps)
{
	for (int i = 0; i < run->n_timelines; i++) {
		timeline_rewind(run->timelines[i], 0);
		timeline_skip(run->timelines[i], row->phase == BENCH_PREFILL ? 0 : row->tokens);
	}
	int64_t start_ns = clock_ns();
	for (int i = 0; i < n_steps; i++) {
		if (row->phase == BENCH_PREFILL)
			prefill(run, row->tokens);
		else
			decode(run);
	}
	return (double)(clock_ns() - start_ns) / 1e9 / n_steps;
}

/* Once without counting, and how many steps make a sample. */
static bool warm_up(struct run *run, struct bench_row *row, struct error *error)
{
	enum { LONG_TOKENS = 128 }; /* a prompt that is longer is warm enough of itself */
	row->n_steps = 1;
	if (!open_timelines(run, row, error))
		return false;
	if (row->phase == BENCH_DECODE || row->tokens <= LONG_TOKENS) {
		step_seconds(run, row, 1);
		double steps = (run->shapes->quick ? quick_sample_seconds : sample_seconds) / step_seconds(run, row, 1);
		int least = row->phase == BENCH_DECODE ? MIN_DECODE_STEPS : 1;
		row->n_steps = steps > MAX_STEPS ? MAX_STEPS : steps < least ? least : (int)steps;
	}
	count_step(run, row);
	close_timelines(run);
	return true;
}

static void read_memory(struct run *run)
{
	struct bench_report *report = run->report;
	run->read_gb_s = read_probe_run(run->read, run->pool, &report->ceilings);
	if (report->n_reads < BENCH_MAX_READS)
		report->reads_gb_s[report->n_reads++] = run->read_gb_s;
}

static bool take_sample(struct run *run, struct bench_row *row, struct error *error)
{
	if (!open_timelines(run, row, error))
		return false;
	/* In turns with the read loops: the bandwidth of a shared machine is not the same for long. */
	double before_gb_s = run->read_gb_s;
	model_set_threads(run->model, row->n_threads);
	if (row->phase == BENCH_DECODE)
		step_seconds(run, row, 1); /* what the read loops have put out of the caches and to sleep */
	double seconds = step_seconds(run, row, row->n_steps);
	model_set_threads(run->model, run->report->n_threads);
	read_memory(run);
	double memory_seconds = row->gb / ((before_gb_s + run->read_gb_s) / 2);
	double arithmetic_seconds = row->gflop / run->report->ceilings.gop_s[row->arithmetic];
	row->memory_bound = memory_seconds > arithmetic_seconds;
	row->shares[row->n_samples] = (row->memory_bound ? memory_seconds : arithmetic_seconds) / seconds;
	row->rates[row->n_samples] = (row->phase == BENCH_PREFILL ? (double)row->tokens : row->n_streams) / seconds;
	row->n_samples++;
	row->seconds += seconds * row->n_steps;
	close_timelines(run);
	return true;
}

static bool has_its_fill(const struct run *run, const struct bench_row *row)
{
	return !run->shapes->all_repeats && row->n_samples >= 2 &&
	       row->seconds + row->seconds / row->n_samples > row_seconds;
}

static bool measure_rows(struct run *run, struct error *error)
{
	struct bench_result *result = run->result;
	for (int i = 0; i < result->n_rows; i++)
		if (bench_measured(&result->rows[i]) && !warm_up(run, &result->rows[i], error))
			return false;
	read_memory(run);
	for (int round = 0; round < run->shapes->n_repeats; round++)
		for (int i = 0; i < result->n_rows; i++)
			if (bench_measured(&result->rows[i]) && !has_its_fill(run, &result->rows[i]) &&
			    !take_sample(run, &result->rows[i], error))
				return false;
	for (int i = 0; i < result->n_rows; i++) {
		struct bench_row *row = &result->rows[i];
		bench_sort(row->rates, row->n_samples);
		bench_sort(row->shares, row->n_samples);
	}
	return true;
}

/* ---- the rows ---- */

static struct bench_row *add_row(struct run *run, enum bench_phase phase, int64_t tokens, int64_t n_streams)
{
	struct bench_row *row = &run->result->rows[run->result->n_rows++];
	*row = (struct bench_row){.phase = phase,
	                          .tokens = tokens,
	                          .n_streams = (int)n_streams,
	                          .n_threads = run->report->n_threads,
	                          .arithmetic = arithmetic_of(run, phase)};
	const struct model_plan *plan = model_memory_plan(run->model);
	int64_t positions = row_positions(row);
	int64_t pages = n_streams * ((positions + plan->kv.page_tokens - 1) / plan->kv.page_tokens);
	if (positions > plan->context)
		snprintf(row->left_out, sizeof row->left_out, "needs a context of %lld tokens, and there are %lld",
		         (long long)positions, (long long)plan->context);
	else if (n_streams > plan->n_parallel)
		snprintf(row->left_out, sizeof row->left_out, "--parallel is %d", plan->n_parallel);
	else if (pages > kv_pool_total(model_kv(run->model)))
		snprintf(row->left_out, sizeof row->left_out, "needs %lld KV pages, and there are %d", (long long)pages,
		         kv_pool_total(model_kv(run->model)));
	else if (pages > run->n_pages)
		run->n_pages = (int)pages;
	return row;
}

/* The prompt that is measured with one thread, too: the longest of at most SCALING_TOKENS. */
static int64_t scaling_tokens(const struct bench_list *prefill)
{
	int64_t longest = 0;
	for (int i = 0; i < prefill->n_values; i++)
		if (prefill->values[i] <= SCALING_TOKENS && prefill->values[i] > longest)
			longest = prefill->values[i];
	return longest;
}

static void choose_rows(struct run *run)
{
	const struct bench_shapes *shapes = run->shapes;
	int64_t scaling = run->report->n_threads > 1 ? scaling_tokens(&shapes->prefill) : 0;
	run->result->scaling = -1;
	for (int i = 0; i < shapes->prefill.n_values; i++) {
		const struct bench_row *row = add_row(run, BENCH_PREFILL, shapes->prefill.values[i], 1);
		if (row->tokens == scaling && bench_measured(row) && run->result->scaling < 0) {
			run->result->scaling = run->result->n_rows;
			add_row(run, BENCH_PREFILL, scaling, 1)->n_threads = 1;
		}
	}
	bool has_depth_0 = false;
	for (int i = 0; i < shapes->depths.n_values; i++) {
		add_row(run, BENCH_DECODE, shapes->depths.values[i], 1);
		has_depth_0 = has_depth_0 || shapes->depths.values[i] == 0;
	}
	for (int i = 0; i < shapes->streams.n_values; i++)
		if (!has_depth_0 || shapes->streams.values[i] != 1)
			add_row(run, BENCH_DECODE, 0, shapes->streams.values[i]);
}

/* ---- the whole ---- */

/* Keys and values at depth are never looked at, only read, so any will do; but they must have been written, or all pages
 * would be the system's one page of zeros. Small numbers in every type: 0x2C2C is 0.065 in f16. */
static bool fill_memory(struct run *run, struct error *error)
{
	const struct model_plan *plan = model_memory_plan(run->model);
	struct kv_pool *pool = model_kv(run->model);
	int32_t *pages = calloc((size_t)run->n_pages + 1, sizeof *pages);
	run->tokens = calloc((size_t)plan->context, sizeof *run->tokens);
	if (!pages || !run->tokens) {
		free(pages);
		return error_set(error, ERROR_MEMORY, "no memory for the benchmark's tokens");
	}
	for (int i = 0; i < run->n_pages; i++) {
		pages[i] = kv_page_take(pool);
		memset(kv_page_data(pool, pages[i]), 0x2C, plan->kv_page_bytes);
	}
	for (int i = run->n_pages - 1; i >= 0; i--) /* a stack: the rows get these */
		kv_page_release(pool, pages[i]);
	free(pages);
	for (int64_t i = 0; i < plan->context; i++)
		run->tokens[i] = (int32_t)((i * 7919 + 13) % model_config(run->model)->vocab_size);
	return true;
}

static int64_t largest(const struct bench_list *list)
{
	int64_t value = 0;
	for (int i = 0; i < list->n_values; i++)
		value = list->values[i] > value ? list->values[i] : value;
	return value;
}

/* Context and parallel for what is to be measured, where they were not given. */
static bool size_model(const struct bench_shapes *shapes, struct model_options *options, struct error *error)
{
	struct model_config config;
	if (!config_read(options->files, &config, error))
		return false;
	int64_t n_tokens = largest(&shapes->prefill), deep = largest(&shapes->depths) + MAX_STEPS;
	n_tokens = deep > n_tokens ? deep : n_tokens;
	if (!options->context)
		options->context = n_tokens < config.max_positions ? n_tokens : config.max_positions;
	if (!options->n_parallel)
		options->n_parallel = shapes->streams.n_values ? (int)largest(&shapes->streams) : 1;
	return true;
}

bool bench_measure(const struct model_options *options, const struct bench_shapes *shapes, struct read_probe *read,
                   struct pool *pool, struct bench_report *report, struct error *error)
{
	struct run run = {.shapes = shapes, .report = report, .read = read, .pool = pool};
	struct model_options sized = *options;
	struct platform_resident before = {0}, after = {0};
	if (!size_model(shapes, &sized, error))
		return false;
	struct bench_result *result = run.result = &report->results[report->n_results];
	platform_resident(&platform_default_roots, &before);
	int64_t start_ns = clock_ns();
	run.model = model_open(&sized, NULL, NULL, error);
	if (!run.model)
		return false;
	result->load_seconds = (double)(clock_ns() - start_ns) / 1e9;
	result->weights = model_quant_kind(run.model);
	result->kernels = model_kernels(run.model)->name;
	choose_rows(&run);
	count_matrices(&run);
	bool ok = fill_memory(&run, error) && measure_rows(&run, error);
	close_timelines(&run);
	if (ok) {
		platform_resident(&platform_default_roots, &after);
		result->resident_bytes = (double)after.total_bytes - (double)before.total_bytes;
		result->anonymous_bytes = (double)after.anonymous_bytes - (double)before.anonymous_bytes;
		report->n_results++;
	}
	free(run.tokens);
	model_close(run.model);
	return ok;
}
