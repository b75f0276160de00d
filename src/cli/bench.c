/* `tallow bench` as a whole: its lists of shapes, the machine's ceilings, one weight type after another, the output. */
#include "cli/bench.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "cli/bench_private.h"
#include "cli/option_values.h"
#include "tensor/model_files.h"
#include "text/tokenizer.h"

/* ---- lists ---- */

/* Copies the item at *text to `item` and steps over it and its comma; false at the end. */
static bool next_item(const char **text, char *item, size_t capacity)
{
	if (!*text)
		return false;
	const char *comma = strchr(*text, ',');
	snprintf(item, capacity, "%.*s", comma ? (int)(comma - *text) : (int)strlen(*text), *text);
	*text = comma ? comma + 1 : NULL;
	return true;
}

static bool parse_list(const char *name, const char *text, int64_t min, int64_t max, struct bench_list *list,
                       struct error *error)
{
	char item[32];
	for (const char *at = text; next_item(&at, item, sizeof item);) {
		int64_t value;
		if (list->n_values == BENCH_MAX_LIST || !value_int64(item, &value) || value < min || value > max)
			return error_set(error, ERROR_USAGE,
			                 "%s must be at most %d integers from %lld to %lld, as 1,2,4 (got \"%.60s\")", name,
			                 BENCH_MAX_LIST, (long long)min, (long long)max, text);
		list->values[list->n_values++] = value;
	}
	return true;
}

static bool parse_shapes(const struct bench_options *options, struct bench_shapes *shapes, struct error *error)
{
	const char *prefill = options->quick ? "32,128" : "32,128,512,2048";
	const char *depths = options->quick ? "0,512" : "0,512,2048,8192";
	const char *streams = options->quick ? "1,8" : "1,2,4,8,16";
	enum { MOST_TOKENS = 1 << 20, MOST_STREAMS = 64 };
	*shapes = (struct bench_shapes){.quick = options->quick, .all_repeats = options->repeats > 0};
	shapes->n_repeats = options->repeats ? options->repeats : options->quick ? 2 : 5;
	if (shapes->n_repeats < 1 || shapes->n_repeats > BENCH_MAX_REPEATS)
		return error_set(error, ERROR_USAGE, "--repeats must be 1 to %d", BENCH_MAX_REPEATS);
	return parse_list("--prefill", options->prefill ? options->prefill : prefill, 1, MOST_TOKENS, &shapes->prefill,
	                  error) &&
	       parse_list("--depths", options->depths ? options->depths : depths, 0, MOST_TOKENS, &shapes->depths, error) &&
	       parse_list("--streams", options->streams ? options->streams : streams, 1, MOST_STREAMS, &shapes->streams,
	                  error);
}

/* Indices into weight_names. */
static const char weight_names[] = "auto|f32|f16|bf16|q8|q4";
static const enum dtype weight_types[] = {DTYPE_F32, DTYPE_F32, DTYPE_F16, DTYPE_BF16, DTYPE_Q8, DTYPE_Q4};

static bool parse_weights(const char *text, struct bench_list *list, struct error *error)
{
	char item[32];
	for (const char *at = text; next_item(&at, item, sizeof item);) {
		int choice = value_choice(weight_names, item);
		if (choice < 0 || list->n_values == BENCH_MAX_LIST)
			return error_set(error, ERROR_USAGE, "--weights must be one or more of %s, as bf16,q8 (got \"%.60s\")",
			                 weight_names, text);
		list->values[list->n_values++] = choice;
	}
	return true;
}

/* ---- the tokenizer ---- */

static bool read_text(const char *path, struct bytes *text, struct error *error)
{
	char buffer[65536];
	FILE *file = fopen(path, "re");
	if (!file)
		return error_set(error, ERROR_USAGE, "%s: cannot be read: %s", path, strerror(errno));
	for (size_t n; (n = fread(buffer, 1, sizeof buffer, file)) > 0;)
		bytes_append(text, buffer, n);
	bool ok = !ferror(file) && !text->failed;
	fclose(file);
	return ok || error_set(error, ERROR_USAGE, "%s: cannot be read", path);
}

static bool measure_tokenizer(const struct bench_options *options, const struct model_files *files,
                              struct bench_report *report, struct error *error)
{
	enum { ATTEMPTS = 3 };
	struct bytes text = {0};
	struct tokenizer *tokenizer = NULL;
	double rates[ATTEMPTS];
	bool ok = read_text(options->text_path, &text, error) && (tokenizer = tokenizer_read(files, error)) != NULL;
	for (int i = 0; ok && i < ATTEMPTS; i++) {
		struct token_ids ids = {0};
		int64_t start_ns = clock_ns();
		ok = tokenizer_encode(tokenizer, text.data, text.n_bytes, 0, &ids, error);
		rates[i] = (double)text.n_bytes / ((double)(clock_ns() - start_ns) / 1e9) / 1e6;
		report->tokenizer_mb_s = rates[i] > report->tokenizer_mb_s ? rates[i] : report->tokenizer_mb_s;
		token_ids_free(&ids);
	}
	tokenizer_destroy(tokenizer);
	bytes_free(&text);
	return ok;
}

/* ---- the whole ---- */

static bool measure_all(const struct bench_options *options, const struct bench_shapes *shapes,
                        const struct bench_list *weights, struct bench_report *report, struct error *error)
{
	struct model_files *files = model_files_open(options->model.path, error);
	struct pool *pool = files ? pool_create(report->n_threads, NULL, 0, error) : NULL;
	struct read_probe *read = pool ? read_probe_create(error) : NULL;
	bool ok = read && ceilings_measure(pool, (enum isa)options->model.isa, read, options->quick ? 1 : 5,
	                                   &report->ceilings, error);
	if (ok)
		report->region_us = ceilings_region_us(pool);
	if (ok && options->text_path)
		ok = measure_tokenizer(options, files, report, error);
	for (int i = 0; ok && i < weights->n_values; i++) {
		struct model_options model = options->model;
		model.files = files;
		model.weights_auto = weights->values[i] == 0;
		model.weights_type = weight_types[weights->values[i]];
		ok = bench_measure(&model, shapes, read, pool, report, error);
	}
	bench_sort(report->reads_gb_s, report->n_reads);
	report->read_median_gb_s = report->n_reads ? bench_median(report->reads_gb_s, report->n_reads) : 0;
	read_probe_destroy(read);
	pool_destroy(pool);
	model_files_close(files);
	return ok;
}

bool bench_run(const struct bench_options *options, struct error *error)
{
	struct bench_shapes shapes;
	struct bench_list weights = {0};
	if (!parse_shapes(options, &shapes, error) ||
	    !parse_weights(options->weights ? options->weights : "auto", &weights, error))
		return false;
	struct bench_report *report = calloc(1, sizeof *report);
	if (!report)
		return error_set(error, ERROR_MEMORY, "no memory for the benchmark's results");
	/* Before the minutes that measuring takes. */
	FILE *plot = options->plot_path ? fopen(options->plot_path, "we") : NULL;
	bool ok = !options->plot_path || plot ||
	          error_set(error, ERROR_USAGE, "--plot %s: cannot be written: %s", options->plot_path, strerror(errno));
	platform_cpu(&report->cpu);
	report->n_threads =
	    options->model.n_threads ? options->model.n_threads : platform_usable_threads(&platform_default_roots);
	ok = ok && measure_all(options, &shapes, &weights, report, error);
	if (ok && options->json)
		bench_print_json(report);
	else if (ok)
		bench_print_table(report);
	bool drawn = !ok || !plot || bench_plot(report, plot);
	if (plot && fclose(plot) != 0)
		drawn = false;
	free(report);
	if (ok && !drawn)
		return error_set(error, ERROR_INTERNAL, "--plot %s: cannot be written", options->plot_path);
	return ok;
}
