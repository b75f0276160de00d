/* Measures prefill at several lengths, decode at several depths and with several streams, and the tokenizer; prints each
 * with the bytes and operations it moved and the share of the machine's ceilings that this is.
 */
#include "cli/bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/json.h"
#include "base/platform.h"
#include "kernels/ceilings.h"
#include "model/model.h"
#include "text/tokenizer.h"

enum { MAX_REPEATS = 101, MAX_RESULTS = 64, MAX_STREAMS = 16, DECODE_STEPS = 12 };

struct result {
	const char *phase; /* "prefill", "decode" */
	int64_t tokens;    /* rows of the prompt, or depth */
	int streams;
	double tokens_per_second; /* median */
	double spread;            /* (largest - smallest) / median */
	double gb_per_second;     /* weights and KV read */
	double gflop_per_second;
	double of_ceiling; /* share of the read bandwidth (decode, few streams) or of the arithmetic (prefill) */
};

struct bench {
	const struct bench_options *options;
	struct model *model;
	struct ceilings ceilings;
	struct pool *pool; /* of the ceilings; the model has its own */
	struct read_probe *read;
	int n_repeats;
	int32_t *pages; /* [MAX_STREAMS][pages_per_stream] */
	int pages_per_stream;
	int32_t *tokens; /* [context] */
	struct result results[MAX_RESULTS];
	int n_results;
	double load_seconds;
	double tokenizer_mb_s;
};

static int by_value(const void *left, const void *right)
{
	double a = *(const double *)left, b = *(const double *)right;
	return a < b ? -1 : a > b;
}

/* ---- what a step moves ---- */

/* Bytes of the matrices that a step reads: all but the embedding's rows that are not looked up. */
static double matrix_bytes(const struct bench *bench)
{
	const struct model_config *config = model_config(bench->model);
	double embedding = config->tie_word_embeddings ? 0 : (double)config->vocab_size * (double)config->hidden_size;
	const struct dtype_info *info = dtype_info(model_weight_type(bench->model));
	return ((double)config_parameter_count(config) - embedding) * info->block_bytes / info->block_elements;
}

static double matrix_flop_per_token(const struct bench *bench, bool with_head)
{
	const struct model_config *config = model_config(bench->model);
	double embedding = (double)config->vocab_size * (double)config->hidden_size;
	double others = (double)config_parameter_count(config) - embedding * (config->tie_word_embeddings ? 1 : 2);
	return 2 * (others + (with_head ? embedding : 0));
}

/* Bytes of keys and values up to a depth, one stream. */
static double kv_bytes(const struct bench *bench, int64_t depth)
{
	const struct model_plan *plan = model_memory_plan(bench->model);
	return (double)plan->kv_page_bytes / plan->kv.page_tokens * (double)depth;
}

/* ---- runs ---- */

static void prefill(struct bench *bench, int stream, int64_t n_tokens, bool logits)
{
	const struct model_plan *plan = model_memory_plan(bench->model);
	for (int64_t done = 0; done < n_tokens;) {
		int64_t left = n_tokens - done;
		int n_rows = left < plan->max_prefill_rows ? (int)left : plan->max_prefill_rows;
		struct forward_span span = {
		    .tokens = bench->tokens + done,
		    .n_rows = n_rows,
		    .phase = ROWS_PREFILL,
		    .position = done,
		    .pages = bench->pages + (ptrdiff_t)stream * bench->pages_per_stream,
		    .n_pages = bench->pages_per_stream,
		    .logits = logits && n_rows == left ? LOGITS_LAST : LOGITS_NONE,
		};
		model_forward(bench->model, &span, 1);
		done += n_rows;
	}
}

static void decode(struct bench *bench, int n_streams, int64_t position)
{
	struct forward_span spans[MAX_STREAMS];
	for (int i = 0; i < n_streams; i++)
		spans[i] = (struct forward_span){
		    .tokens = bench->tokens + position,
		    .n_rows = 1,
		    .phase = ROWS_DECODE,
		    .position = position,
		    .pages = bench->pages + (ptrdiff_t)i * bench->pages_per_stream,
		    .n_pages = bench->pages_per_stream,
		    .logits = LOGITS_LAST,
		};
	model_forward(bench->model, spans, n_streams);
}

static struct result *add_result(struct bench *bench, const char *phase, int64_t tokens, int streams, double *rates,
                                 int n_rates)
{
	qsort(rates, (size_t)n_rates, sizeof *rates, by_value);
	struct result *result = &bench->results[bench->n_results++];
	*result = (struct result){.phase = phase, .tokens = tokens, .streams = streams};
	result->tokens_per_second = rates[n_rates / 2];
	result->spread = (rates[n_rates - 1] - rates[0]) / rates[n_rates / 2];
	return result;
}

/* What bounds prefill: the instructions that the model's weights go through. */
static const char *arithmetic_ceiling(const struct bench *bench, double *rate)
{
	enum dtype type = model_weight_type(bench->model);
	bool own = matmul_input_bytes(model_kernels(bench->model), type, 1, 1) > 0;
	const struct ceilings *c = &bench->ceilings;
	if (own && type == DTYPE_BF16 && c->bf16_gflop_s > 0)
		return *rate = c->bf16_gflop_s, "bf16 dot products";
	if (own && (type == DTYPE_Q8 || type == DTYPE_Q4) && c->int8_gop_s > 0)
		return *rate = c->int8_gop_s, "int8 dot products";
	return *rate = c->sgemm_gflop_s, "OpenBLAS sgemm";
}

static void bench_prefill(struct bench *bench, int64_t n_tokens)
{
	double rates[MAX_REPEATS] = {0};
	prefill(bench, 0, n_tokens, true);
	for (int i = 0; i < bench->n_repeats; i++) {
		int64_t start_ns = clock_ns();
		prefill(bench, 0, n_tokens, true);
		rates[i] = (double)n_tokens / ((double)(clock_ns() - start_ns) / 1e9);
	}
	struct result *result = add_result(bench, "prefill", n_tokens, 1, rates, bench->n_repeats);
	result->gflop_per_second = result->tokens_per_second * matrix_flop_per_token(bench, false) / 1e9;
	result->gb_per_second = result->tokens_per_second / (double)n_tokens * matrix_bytes(bench) / 1e9;
	double ceiling;
	arithmetic_ceiling(bench, &ceiling);
	result->of_ceiling = result->gflop_per_second / ceiling;
}

/* What the streams' pages hold at depth is never looked at, only read: leaving it out of the preparation keeps a bench of
 * depth 8192 short. */
static void bench_decode(struct bench *bench, int64_t depth, int n_streams)
{
	double rates[MAX_REPEATS] = {0}, shares[MAX_REPEATS] = {0};
	double gb_per_step = (matrix_bytes(bench) + n_streams * kv_bytes(bench, depth)) / 1e9;
	decode(bench, n_streams, depth);
	for (int i = 0; i < bench->n_repeats; i++) {
		/* In turns with the read loops: the bandwidth of a shared machine is not the same for long. */
		double read_gb_s = read_probe_run(bench->read, bench->pool);
		int64_t start_ns = clock_ns();
		for (int step = 0; step < DECODE_STEPS; step++)
			decode(bench, n_streams, depth + step);
		double steps_per_second = DECODE_STEPS / ((double)(clock_ns() - start_ns) / 1e9);
		read_gb_s = (read_gb_s + read_probe_run(bench->read, bench->pool)) / 2;
		rates[i] = n_streams * steps_per_second;
		shares[i] = steps_per_second * gb_per_step / read_gb_s;
	}
	qsort(shares, (size_t)bench->n_repeats, sizeof *shares, by_value);
	struct result *result = add_result(bench, "decode", depth, n_streams, rates, bench->n_repeats);
	double steps_per_second = result->tokens_per_second / n_streams;
	result->gb_per_second = steps_per_second * gb_per_step;
	result->gflop_per_second = result->tokens_per_second * matrix_flop_per_token(bench, true) / 1e9;
	result->of_ceiling = shares[bench->n_repeats / 2];
}

static bool bench_tokenizer(struct bench *bench, struct error *error)
{
	if (!bench->options->text_path)
		return true;
	struct bytes text = {0};
	char buffer[65536];
	FILE *file = fopen(bench->options->text_path, "re");
	if (!file)
		return error_set(error, ERROR_USAGE, "%s: cannot be read", bench->options->text_path);
	for (size_t n; (n = fread(buffer, 1, sizeof buffer, file)) > 0;)
		bytes_append(&text, buffer, n);
	fclose(file);
	struct tokenizer *tokenizer = tokenizer_load(bench->options->model.path, error);
	bool ok = tokenizer != NULL;
	double rates[3];
	for (int i = 0; ok && i < 3; i++) {
		struct token_ids ids = {0};
		int64_t start_ns = clock_ns();
		ok = tokenizer_encode(tokenizer, text.data, text.n_bytes, 0, &ids, error);
		rates[i] = (double)text.n_bytes / ((double)(clock_ns() - start_ns) / 1e9) / 1e6;
		token_ids_free(&ids);
	}
	if (ok) {
		qsort(rates, 3, sizeof *rates, by_value);
		bench->tokenizer_mb_s = rates[1];
	}
	tokenizer_destroy(tokenizer);
	bytes_free(&text);
	return ok;
}

/* ---- printing ---- */

static void print_table(const struct bench *bench)
{
	const struct ceilings *c = &bench->ceilings;
	const struct model_plan *plan = model_memory_plan(bench->model);
	struct platform_cpu cpu;
	struct platform_resident resident = {0};
	platform_cpu(&cpu);
	platform_resident(&platform_default_roots, &resident);
	printf("%s, %d threads, kernels %s, weights %s\n", cpu.name, plan->n_threads, model_kernels(bench->model)->name,
	       model_quant_kind(bench->model));
	printf("machine: read %.1f GB/s (%s), sgemm %.0f GFLOP/s", c->read_gb_s, c->read_loop, c->sgemm_gflop_s);
	if (c->bf16_gflop_s > 0)
		printf(", bf16 %.0f GFLOP/s", c->bf16_gflop_s);
	if (c->int8_gop_s > 0)
		printf(", int8 %.0f GOP/s", c->int8_gop_s);
	printf("\nloaded in %.2f s; resident %.0f MiB, of it anonymous %.0f MiB\n", bench->load_seconds,
	       (double)resident.total_bytes / (1 << 20), (double)resident.anonymous_bytes / (1 << 20));
	if (bench->tokenizer_mb_s > 0)
		printf("tokenizer: %.1f MB/s\n", bench->tokenizer_mb_s);
	printf("\n%-8s %8s %8s %12s %8s %8s %9s  %s\n", "", "tokens", "streams", "tokens/s", "spread", "GB/s", "GFLOP/s",
	       "of ceiling");
	for (int i = 0; i < bench->n_results; i++) {
		const struct result *r = &bench->results[i];
		printf("%-8s %8lld %8d %12.2f %7.1f%% %8.1f %9.1f  %.2f\n", r->phase, (long long)r->tokens, r->streams,
		       r->tokens_per_second, 100 * r->spread, r->gb_per_second, r->gflop_per_second, r->of_ceiling);
	}
	double ceiling;
	printf("\nThe ceiling of prefill is arithmetic (%s), that of decode the memory read.\n",
	       arithmetic_ceiling(bench, &ceiling));
}

static void print_json(const struct bench *bench)
{
	const struct ceilings *c = &bench->ceilings;
	struct bytes out = {0};
	json_open(&out);
	json_field_text(&out, "isa", model_kernels(bench->model)->name);
	json_field_text(&out, "weights", model_quant_kind(bench->model));
	json_field_int(&out, "threads", model_memory_plan(bench->model)->n_threads);
	json_field_double(&out, "load_seconds", bench->load_seconds);
	json_field_double(&out, "tokenizer_mb_s", bench->tokenizer_mb_s);
	json_field_double(&out, "read_gb_s", c->read_gb_s);
	json_field_double(&out, "sgemm_gflop_s", c->sgemm_gflop_s);
	json_field_double(&out, "bf16_gflop_s", c->bf16_gflop_s);
	json_field_double(&out, "int8_gop_s", c->int8_gop_s);
	json_field_key(&out, "results");
	bytes_append_text(&out, "[");
	for (int i = 0; i < bench->n_results; i++) {
		const struct result *r = &bench->results[i];
		if (i)
			bytes_append_text(&out, ",");
		json_open(&out);
		json_field_text(&out, "phase", r->phase);
		json_field_int(&out, "tokens", r->tokens);
		json_field_int(&out, "streams", r->streams);
		json_field_double(&out, "tokens_per_second", r->tokens_per_second);
		json_field_double(&out, "spread", r->spread);
		json_field_double(&out, "gb_per_second", r->gb_per_second);
		json_field_double(&out, "gflop_per_second", r->gflop_per_second);
		json_field_double(&out, "of_ceiling", r->of_ceiling);
		json_close(&out);
	}
	bytes_append_text(&out, "]");
	json_close(&out);
	puts(out.data);
	bytes_free(&out);
}

/* ---- the whole ---- */

static bool prepare(struct bench *bench, struct error *error)
{
	const struct model_plan *plan = model_memory_plan(bench->model);
	const struct model_config *config = model_config(bench->model);
	int n_streams = plan->n_parallel < MAX_STREAMS ? plan->n_parallel : MAX_STREAMS;
	bench->pages_per_stream = kv_pool_total(model_kv(bench->model)) / n_streams;
	size_t n_pages = (size_t)bench->pages_per_stream * MAX_STREAMS;
	bench->pages = calloc(n_pages, sizeof *bench->pages);
	bench->tokens = calloc((size_t)plan->context, sizeof *bench->tokens);
	if (!bench->pages || !bench->tokens)
		return error_set(error, ERROR_MEMORY, "no memory for the benchmark");
	for (int i = 0; i < bench->pages_per_stream * n_streams; i++)
		bench->pages[i] = kv_page_take(model_kv(bench->model));
	for (int64_t i = 0; i < plan->context; i++)
		bench->tokens[i] = (int32_t)((i * 7919 + 13) % config->vocab_size);
	return true;
}

static void measure(struct bench *bench)
{
	static const int64_t lengths[] = {32, 128, 512, 2048}, depths[] = {0, 512, 2048, 8192};
	static const int streams[] = {2, 4, 8, 16};
	const struct model_plan *plan = model_memory_plan(bench->model);
	int64_t room = (int64_t)bench->pages_per_stream * plan->kv.page_tokens;
	room = room < plan->context ? room : plan->context;
	for (int i = 0; i < (bench->options->quick ? 3 : 4); i++)
		if (lengths[i] <= room)
			bench_prefill(bench, lengths[i]);
	for (int i = 0; i < (bench->options->quick ? 2 : 4); i++)
		if (depths[i] + DECODE_STEPS <= room)
			bench_decode(bench, depths[i], 1);
	for (int i = 0; i < 4; i++)
		if (streams[i] <= plan->n_parallel && !(bench->options->quick && streams[i] % 8))
			bench_decode(bench, 0, streams[i]);
}

bool bench_run(const struct bench_options *options, struct error *error)
{
	struct bench bench = {.options = options};
	bench.n_repeats = options->repeats ? options->repeats : options->quick ? 3 : 5;
	if (bench.n_repeats < 1 || bench.n_repeats > MAX_REPEATS)
		return error_set(error, ERROR_USAGE, "--repeats must be 1 to %d", MAX_REPEATS);
	int n_threads =
	    options->model.n_threads ? options->model.n_threads : platform_usable_threads(&platform_default_roots);
	bench.pool = pool_create(n_threads, NULL, 0, error);
	bool ok = bench.pool && ceilings_measure(bench.pool, &bench.ceilings, error);
	bench.read = ok ? read_probe_create(error) : NULL;
	ok = bench.read != NULL;
	int64_t start_ns = clock_ns();
	if (ok)
		bench.model = model_open(&options->model, NULL, NULL, error);
	bench.load_seconds = (double)(clock_ns() - start_ns) / 1e9;
	ok = bench.model && prepare(&bench, error) && bench_tokenizer(&bench, error);
	if (ok) {
		measure(&bench);
		read_probe_destroy(bench.read); /* not the model's memory: gone before memory is reported */
		bench.read = NULL;
		if (options->json)
			print_json(&bench);
		else
			print_table(&bench);
	}
	free(bench.pages);
	free(bench.tokens);
	model_close(bench.model);
	read_probe_destroy(bench.read);
	pool_destroy(bench.pool);
	return ok;
}
