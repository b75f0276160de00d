/* `tallow logits`: token ids in, logits out, straight from the model layer; for comparing with any reference, and
 * prefill with decode. The .npy format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/setup.h"
#include "model/timeline.h"
#include "text/tokenizer.h"

struct logits_job {
	const struct options *options;
	struct token_ids ids;
	struct model *model;
	struct timeline *timeline;
	FILE *out;
	bool npy;
};

/* ---- output ---- */

static bool open_output(struct logits_job *job, struct error *error)
{
	const char *path = job->options->npy;
	job->npy = path != NULL;
	job->out = path && strcmp(path, "-") != 0 ? fopen(path, "we") : stdout;
	return job->out || error_set(error, ERROR_USAGE, "cannot write %.200s: %s", path, strerror(errno));
}

static void write_npy_header(FILE *out, size_t n_rows, int64_t n_columns)
{
	enum { PREFIX_BYTES = 10, ALIGNMENT = 64 };
	char text[2 * ALIGNMENT];
	int n = snprintf(text, sizeof text, "{'descr': '<f4', 'fortran_order': False, 'shape': (%zu, %" PRId64 "), }",
	                 n_rows, n_columns);
	/* Spaces and a newline make the data start at a multiple of 64. */
	int padded = (PREFIX_BYTES + n + ALIGNMENT) / ALIGNMENT * ALIGNMENT - PREFIX_BYTES;
	unsigned char prefix[PREFIX_BYTES] = "\x93NUMPY\x01\x00";
	prefix[8] = (unsigned char)(padded & 255);
	prefix[9] = (unsigned char)(padded >> 8);
	fwrite(prefix, 1, sizeof prefix, out);
	fprintf(out, "%s%*s\n", text, padded - n - 1, "");
}

/* Text: one line per row, digits enough to read the same float back. */
static void write_row(const struct logits_job *job, const float *logits, int64_t n)
{
	if (job->npy) {
		fwrite(logits, sizeof *logits, (size_t)n, job->out);
		return;
	}
	for (int64_t i = 0; i < n; i++)
		fprintf(job->out, "%s%.9g", i ? " " : "", (double)logits[i]);
	fputc('\n', job->out);
}

/* ---- computing ---- */

static int64_t decode_from(const struct logits_job *job)
{
	int64_t n = (int64_t)job->ids.n_ids, from = job->options->decode_from;
	return from < 0 || from > n ? n : from;
}

/* The next n_rows; writes the logits of all of them, or of the last token alone. */
static void append(struct logits_job *job, enum row_phase phase, int n_rows)
{
	const int32_t *ids = job->ids.ids + timeline_length(job->timeline);
	int64_t n_vocab = model_config(job->model)->vocab_size;
	bool reaches_end = timeline_length(job->timeline) + n_rows == (int64_t)job->ids.n_ids;
	int n_wanted = job->options->all ? n_rows : reaches_end ? LOGITS_LAST : LOGITS_NONE;
	const float *logits = timeline_step(job->timeline, ids, n_rows, phase, n_wanted);
	for (int i = 0; i < n_wanted; i++)
		write_row(job, logits + i * n_vocab, n_vocab);
}

static void run_all(struct logits_job *job, int slice)
{
	int64_t n = (int64_t)job->ids.n_ids, from = decode_from(job);
	for (int64_t at = 0; at < from; at += slice)
		append(job, ROWS_PREFILL, from - at < slice ? (int)(from - at) : slice);
	for (int64_t at = from; at < n; at++)
		append(job, ROWS_DECODE, 1);
}

static bool choose_slice(const struct logits_job *job, int *slice, struct error *error)
{
	const struct model_plan *plan = model_memory_plan(job->model);
	int64_t wanted = job->options->slice ? job->options->slice : plan->max_prefill_rows;
	if (wanted % plan->tile_rows != 0)
		return error_set(error, ERROR_USAGE, "--slice must be a multiple of the model's tile, %d (got %" PRId64 ")",
		                 plan->tile_rows, wanted);
	*slice = wanted < plan->max_prefill_rows ? (int)wanted : plan->max_prefill_rows;
	return true;
}

static bool check_ids(const struct logits_job *job, struct error *error)
{
	int64_t n_vocab = model_config(job->model)->vocab_size;
	for (size_t i = 0; i < job->ids.n_ids; i++)
		if (job->ids.ids[i] >= n_vocab)
			return error_set(error, ERROR_USAGE, "token id %" PRId32 " is outside the vocabulary of %" PRId64,
			                 job->ids.ids[i], n_vocab);
	return true;
}

static bool open_model(struct logits_job *job, struct error *error)
{
	enum { MAX_LOGIT_ROWS = 512 }; /* the model's prefill slices are not longer */
	struct model_options options;
	if (!setup_model_options(job->options, &options, error))
		return false;
	options.context = (int64_t)job->ids.n_ids;
	options.n_parallel = 1;
	options.max_logit_rows = !job->options->all                ? 1
	                         : job->ids.n_ids < MAX_LOGIT_ROWS ? (int)job->ids.n_ids
	                                                           : MAX_LOGIT_ROWS;
	job->model = model_open(&options, NULL, NULL, error);
	job->timeline = job->model ? timeline_create(job->model, options.context, error) : NULL;
	return job->timeline != NULL;
}

static bool run(struct logits_job *job, struct error *error)
{
	int slice = 0;
	if (!job->options->tokens)
		return error_set(error, ERROR_USAGE, "--tokens is missing: token ids such as 1,403,407");
	if (!setup_parse_ids(job->options->tokens, &job->ids, error))
		return false;
	if (job->ids.n_ids == 0)
		return error_set(error, ERROR_USAGE, "--tokens holds no token id");
	if (!open_model(job, error) || !check_ids(job, error) || !choose_slice(job, &slice, error) ||
	    !open_output(job, error))
		return false;
	if (job->npy)
		write_npy_header(job->out, job->options->all ? job->ids.n_ids : 1, model_config(job->model)->vocab_size);
	run_all(job, slice);
	if (fflush(job->out) != 0 || ferror(job->out))
		return error_set(error, ERROR_INTERNAL, "cannot write the logits: %s", strerror(errno));
	return true;
}

bool logits_run(const struct options *options, struct error *error)
{
	struct logits_job job = {.options = options};
	bool ok = run(&job, error);
	if (job.out && job.out != stdout && fclose(job.out) != 0 && ok)
		ok = error_set(error, ERROR_INTERNAL, "cannot write %.200s: %s", options->npy, strerror(errno));
	timeline_destroy(job.timeline);
	model_close(job.model);
	token_ids_free(&job.ids);
	return ok;
}
