/* `tallow perplexity`: how well a model predicts a text, and how far it is from the same model in f32.
 *
 * The text is cut into windows of --context tokens (default 512) that overlap by half. Every token but the first is
 * predicted once, from all that comes before it in its window: at least half a window, where there is that much. A
 * window starts with BOS when the tokenizer adds one. Perplexity is e to the mean of -log p(token).
 *
 * --reference loads the model a second time, with f32 weights, activations and KV cache, and compares whole
 * distributions: the Kullback-Leibler divergence from the reference, sum over the vocabulary of p log(p / q), and how
 * often both find the same token likeliest. --same-weights gives the reference the weights that are measured, so that what
 * is left is what the arithmetic costs.
 */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/bytes.h"
#include "base/json.h"
#include "cli/commands.h"
#include "cli/setup.h"
#include "model/timeline.h"
#include "text/tokenizer.h"

enum { DEFAULT_WINDOW = 512, SLICE_ROWS = 128 /* a multiple of every tile */, MAX_TEXT_BYTES = 256 << 20 };

struct subject {
	struct model *model;
	struct timeline *timeline;  /* of one window after the other */
	double sum, sum_of_squares; /* of -log p */
};

struct perplexity {
	const struct options *options;
	struct model_files *files;
	struct token_ids ids; /* without BOS */
	int32_t *window;      /* [n_window + 1], maybe BOS, then tokens */
	int32_t bos;          /* -1: none */
	int64_t n_window;
	struct subject subject, reference;
	int64_t n_scored, n_same;
	double *divergences; /* [n_scored at most] */
	double seconds;
};

/* ---- input ---- */

static bool read_text(const char *path, struct bytes *text, struct error *error)
{
	if (!path || strcmp(path, "-") == 0)
		return setup_read_input(text, MAX_TEXT_BYTES, error);
	FILE *file = fopen(path, "re");
	if (!file)
		return error_set(error, ERROR_USAGE, "cannot read %.200s: %s", path, strerror(errno));
	char block[65536];
	size_t n;
	text->max_bytes = MAX_TEXT_BYTES;
	while ((n = fread(block, 1, sizeof block, file)) > 0)
		bytes_append(text, block, n);
	bool ok = !ferror(file) && !text->failed;
	fclose(file);
	return ok ||
	       error_set(error, ERROR_USAGE, "cannot read %.200s, or it has more than %d bytes", path, MAX_TEXT_BYTES);
}

/* The text's ids, and the BOS that the tokenizer puts before a text. */
static bool encode(struct perplexity *job, const char *text_path, struct error *error)
{
	struct bytes text = {0};
	struct token_ids empty = {0};
	struct tokenizer *tokenizer = tokenizer_read(job->files, error);
	bool ok = tokenizer && read_text(text_path, &text, error) &&
	          tokenizer_encode(tokenizer, text.data ? text.data : "", text.n_bytes, 0, &job->ids, error) &&
	          tokenizer_encode(tokenizer, "", 0, TOKENIZER_ADD_SPECIAL, &empty, error);
	job->bos = ok && empty.n_ids > 0 && empty.ids[0] == tokenizer_bos_id(tokenizer) ? empty.ids[0] : -1;
	if (ok && job->ids.n_ids < 2)
		ok = error_set(error, ERROR_USAGE, "the text has %zu tokens; two are needed to predict one", job->ids.n_ids);
	token_ids_free(&empty);
	bytes_free(&text);
	tokenizer_destroy(tokenizer);
	return ok;
}

/* ---- computing ---- */

static bool has_reference(const struct perplexity *job)
{
	return job->options->reference || job->options->same_weights;
}

static bool open_subject(struct subject *subject, const struct perplexity *job, bool exact, struct error *error)
{
	struct model_options options;
	if (!setup_model_options(job->options, &options, error))
		return false;
	if (exact && !job->options->same_weights) {
		options.weights_auto = false;
		options.weights_type = DTYPE_F32;
	}
	if (exact) {
		options.kv_auto = false;
		options.kv_type = DTYPE_F32;
		options.compute = COMPUTE_F32;
	}
	options.files = job->files;
	options.context = job->n_window + (job->bos >= 0);
	options.n_parallel = 1;
	options.max_logit_rows = SLICE_ROWS;
	subject->model = model_open(&options, NULL, NULL, error);
	if (!subject->model)
		return false;
	subject->timeline = timeline_create(subject->model, options.context, error);
	return subject->timeline != NULL;
}

static void close_subject(struct subject *subject)
{
	timeline_destroy(subject->timeline);
	model_close(subject->model);
}

/* log(sum(exp(logits))), and the likeliest token. */
static double log_sum(const float *logits, int64_t n, int64_t *best)
{
	double sum = 1; /* the likeliest itself */
	*best = 0;
	for (int64_t i = 1; i < n; i++)
		*best = logits[i] > logits[*best] ? i : *best;
	for (int64_t i = 0; i < n; i++)
		sum += i == *best ? 0 : exp((double)logits[i] - logits[*best]);
	return logits[*best] + log(sum);
}

static void add_loss(struct subject *subject, double loss)
{
	subject->sum += loss;
	subject->sum_of_squares += loss * loss;
}

static void score_row(struct perplexity *job, const float *logits, const float *exact, int32_t next)
{
	int64_t n = model_config(job->subject.model)->vocab_size, best, exact_best;
	double total = log_sum(logits, n, &best);
	add_loss(&job->subject, total - logits[next]);
	if (exact) {
		double exact_total = log_sum(exact, n, &exact_best), divergence = 0;
		add_loss(&job->reference, exact_total - exact[next]);
		for (int64_t i = 0; i < n; i++) {
			double log_p = exact[i] - exact_total;
			divergence += exp(log_p) * (log_p - (logits[i] - total));
		}
		job->divergences[job->n_scored] = divergence > 0 ? divergence : 0; /* rounding */
		job->n_same += best == exact_best;
	}
	job->n_scored++;
}

/* Tokens [start, end) of the text in one window; those from `from` on are predicted. */
static void run_window(struct perplexity *job, int64_t start, int64_t end, int64_t from)
{
	int n_bos = job->bos >= 0, n_rows = 0;
	int64_t n_vocab = model_config(job->subject.model)->vocab_size;
	if (n_bos)
		job->window[n_rows++] = job->bos;
	for (int64_t i = start; i < end; i++)
		job->window[n_rows++] = job->ids.ids[i];
	struct timeline *subject = job->subject.timeline, *reference = job->reference.timeline; /* or NULL */
	timeline_rewind(subject, 0);
	if (reference)
		timeline_rewind(reference, 0);
	int wanted = (int)(from - start) + n_bos - 1; /* the row that predicts `from` */
	for (int first = 0; first < n_rows - 1; first += SLICE_ROWS) {
		int n = n_rows - first < SLICE_ROWS ? n_rows - first : SLICE_ROWS;
		int scored = wanted > first ? wanted : first, n_logits = scored < first + n ? first + n - scored : 0;
		const int32_t *tokens = job->window + first;
		const float *logits = timeline_step(subject, tokens, n, ROWS_PREFILL, n_logits);
		const float *exact = reference ? timeline_step(reference, tokens, n, ROWS_PREFILL, n_logits) : NULL;
		for (int i = 0; i < n_logits && scored + i + 1 < n_rows; i++)
			score_row(job, logits + i * n_vocab, exact ? exact + i * n_vocab : NULL, job->window[scored + i + 1]);
	}
}

static void run_windows(struct perplexity *job)
{
	int64_t n = (int64_t)job->ids.n_ids, half = job->n_window / 2;
	int64_t from = job->bos >= 0 ? 0 : 1; /* the first token that can be predicted */
	struct timespec begin, end;
	clock_gettime(CLOCK_MONOTONIC, &begin);
	for (int64_t start = 0; from < n; start += half) {
		int64_t stop = n - start < job->n_window ? n : start + job->n_window;
		run_window(job, start, stop, from);
		from = stop;
	}
	clock_gettime(CLOCK_MONOTONIC, &end);
	job->seconds = (double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) * 1e-9;
}

/* ---- output ---- */

static double perplexity_of(const struct perplexity *job, const struct subject *subject)
{
	return exp(subject->sum / (double)job->n_scored);
}

/* Of the perplexity: that of the mean loss, times its slope. */
static double standard_error(const struct perplexity *job, const struct subject *subject)
{
	double n = (double)job->n_scored, mean = subject->sum / n;
	double variance = subject->sum_of_squares / n - mean * mean;
	return exp(mean) * sqrt(variance > 0 ? variance / n : 0);
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static void print_json(const struct perplexity *job, double mean_divergence, double p99)
{
	struct bytes out = {0};
	json_open(&out);
	json_field_text(&out, "weights", model_quant_kind(job->subject.model));
	json_field_double(&out, "perplexity", perplexity_of(job, &job->subject));
	json_field_double(&out, "standard_error", standard_error(job, &job->subject));
	json_field_int(&out, "tokens", job->n_scored);
	json_field_int(&out, "window", job->n_window);
	json_field_double(&out, "tokens_per_second", (double)job->n_scored / job->seconds);
	if (job->reference.model) {
		json_field_double(&out, "reference_perplexity", perplexity_of(job, &job->reference));
		json_field_double(&out, "divergence_mean", mean_divergence);
		json_field_double(&out, "divergence_p99", p99);
		json_field_double(&out, "divergence_max", job->divergences[job->n_scored - 1]);
		json_field_double(&out, "same_top", (double)job->n_same / (double)job->n_scored);
	}
	json_close(&out);
	printf("%s\n", out.failed ? "{}" : out.data);
	bytes_free(&out);
}

static void print(struct perplexity *job)
{
	double sum = 0, p99 = 0;
	if (job->reference.model) {
		qsort(job->divergences, (size_t)job->n_scored, sizeof *job->divergences, compare);
		for (int64_t i = 0; i < job->n_scored; i++)
			sum += job->divergences[i];
		p99 = job->divergences[(int64_t)(0.99 * (double)(job->n_scored - 1))];
	}
	double mean = sum / (double)job->n_scored;
	if (job->options->json) {
		print_json(job, mean, p99);
		return;
	}
	double value = perplexity_of(job, &job->subject);
	printf("weights %s: perplexity %.4f +- %.4f over %" PRId64 " tokens, windows of %" PRId64 ", %.0f tokens/s\n",
	       model_quant_kind(job->subject.model), value, standard_error(job, &job->subject), job->n_scored,
	       job->n_window, (double)job->n_scored / job->seconds);
	if (!job->reference.model)
		return;
	double exact = perplexity_of(job, &job->reference);
	printf("in f32: perplexity %.4f, so %+.3f%%; divergence mean %.6f, p99 %.6f, max %.6f; same top token %.2f%%\n",
	       exact, (value / exact - 1) * 100, mean, p99, job->divergences[job->n_scored - 1],
	       100 * (double)job->n_same / (double)job->n_scored);
}

/* ---- the command ---- */

static bool run(struct perplexity *job, const char *text_path, struct error *error)
{
	if (!job->options->model)
		return error_set(error, ERROR_USAGE, "a model is missing: tallow perplexity MODEL FILE");
	struct model_config config;
	job->files = model_files_open(job->options->model, error);
	if (!job->files || !encode(job, text_path, error) || !config_read(job->files, &config, error))
		return false;
	int64_t n = (int64_t)job->ids.n_ids;
	job->n_window = job->options->context ? job->options->context : DEFAULT_WINDOW;
	job->n_window = job->n_window < config.max_positions ? job->n_window : config.max_positions;
	job->n_window -= job->bos >= 0;
	if (job->n_window < 2)
		return error_set(error, ERROR_USAGE, "--context must hold two tokens and BOS (got %" PRId64 ")",
		                 job->options->context);
	job->n_window = n < job->n_window ? n : job->n_window;
	job->window = calloc((size_t)job->n_window + 1, sizeof *job->window);
	job->divergences = calloc(job->ids.n_ids + 1, sizeof *job->divergences);
	if (!job->window || !job->divergences)
		return error_set(error, ERROR_MEMORY, "no memory for %" PRId64 " tokens", n);
	if (!open_subject(&job->subject, job, false, error) ||
	    (has_reference(job) && !open_subject(&job->reference, job, true, error)))
		return false;
	for (int64_t i = 0; i < n; i++)
		if (job->ids.ids[i] >= model_config(job->subject.model)->vocab_size)
			return error_set(error, ERROR_MODEL, "the tokenizer gives id %" PRId32 ", the model has only %" PRId64,
			                 job->ids.ids[i], model_config(job->subject.model)->vocab_size);
	run_windows(job);
	print(job);
	return true;
}

bool perplexity_run(const struct options *options, struct error *error)
{
	struct options with_model = *options;
	const char *text_path = options->text;
	if (options->model && options->path) /* --model MODEL FILE */
		text_path = options->path;
	else if (!options->model)
		with_model.model = options->path;
	struct perplexity job = {.options = &with_model};
	bool ok = run(&job, text_path, error);
	close_subject(&job.subject);
	close_subject(&job.reference);
	model_files_close(job.files);
	free(job.window);
	free(job.divergences);
	token_ids_free(&job.ids);
	return ok;
}
