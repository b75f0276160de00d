/* Choosing weights and context by the memory plan (fit.h). */
#include "cli/fit.h"

#include <stdio.h>
#include <string.h>

#include "cli/setup.h"
#include "tensor/model_files.h"
#include "tensor/weight_file.h"
#include "text/tokenizer_gguf.h"

enum {
	WEIGHTS_AS_THEY_LIE = 0, /* choices of --weights */
	WEIGHTS_Q8 = 4,
	WEIGHTS_Q4 = 5,
	MOST_CONTEXT = 32768,
	LEAST_CONTEXT = 2048,
	TOKENIZER_BYTES = 130,  /* of a token; measured on vocabularies of 49,152 and 151,936: 96 and 123 */
	VOCABULARY_BYTES = 145, /* and as constraints look at it: 115 and 143 */
};
static const uint64_t most_product_bytes = 1u << 30;

const char *fit_weights_name(int weights)
{
	static const char *const names[] = {"auto", "f32", "f16", "bf16", "q8", "q4"};
	return names[weights];
}

/* A model as its headers tell it. */
struct headers {
	struct model_files *files;
	struct weight_file *file;
	struct model_config config;
	struct model_weights weights;
};

static bool check_tokenizer(const struct model_files *files, struct error *error)
{
	bool sentencepiece;
	if (model_files_gguf(files))
		return tokenizer_gguf_kind(model_files_gguf(files), &sentencepiece, error);
	return model_files_find(files, MODEL_TOKENIZER) || error_set(error, ERROR_MODEL, "tokenizer.json is missing");
}

/* The type of most bytes. */
static void note_type(const struct weight_file *file, struct fit *fit)
{
	enum { MAX_TYPES = 32 };
	struct {
		const char *name;
		uint64_t n_bytes;
	} types[MAX_TYPES];
	int n = 0, most = 0;
	const struct tensor *tensor;
	for (size_t i = 0; (tensor = weight_file_at(file, i)); i++) {
		int type = 0;
		while (type < n && strcmp(types[type].name, tensor->type_name) != 0)
			type++;
		if (type == MAX_TYPES)
			continue;
		if (type == n) {
			types[n].name = tensor->type_name;
			types[n++].n_bytes = 0;
		}
		types[type].n_bytes += tensor->n_bytes;
		most = types[type].n_bytes > types[most].n_bytes ? type : most;
	}
	if (n > 0)
		snprintf(fit->type, sizeof fit->type, "%s", types[most].name);
}

static bool open_headers(const char *path, struct headers *headers, struct fit *fit)
{
	struct error *error = &fit->error;
	headers->files = model_files_open(path, error);
	if (!headers->files)
		return false;
	struct error unreadable = {0};
	headers->file = weight_file_read(headers->files, &unreadable);
	if (headers->file) {
		fit->file_bytes = weight_file_bytes(headers->file);
		note_type(headers->file, fit);
	}
	if (!config_read(headers->files, &headers->config, error))
		return false;
	memcpy(fit->architecture, headers->config.architecture, sizeof fit->architecture);
	fit->n_parameters = (double)weights_parameter_count(&headers->config);
	fit->model_context = config_max_context(&headers->config);
	if (!headers->file) {
		*error = unreadable;
		return false;
	}
	return weights_bind(headers->file, &headers->config, &headers->weights, error) &&
	       check_tokenizer(headers->files, error);
}

static void close_headers(struct headers *headers)
{
	weights_free(&headers->weights);
	weight_file_close(headers->file);
	model_files_close(headers->files);
}

/* ---- choosing ---- */

/* What one choice comes to. False: it does not fit the limit, or cannot be. */
static bool plan_for(const struct headers *headers, const struct model_options *wanted, int weights, int64_t context,
                     struct fit *fit)
{
	struct model_options options = *wanted;
	struct weight_choices sizes;
	setup_weights(weights, &options);
	options.context = context;
	fit->weights = weights;
	fit->error = (struct error){0};
	return model_weight_choices(&headers->weights, &headers->config, &options, &sizes, &fit->error) &&
	       model_plan(&headers->config, &options, &sizes, &fit->plan, &fit->error);
}

static int64_t smaller(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* The longest context that leaves half of the limit, or the shortest that there may be. */
static bool choose_context(const struct headers *headers, const struct model_options *wanted, int weights,
                           struct fit *fit)
{
	if (wanted->context)
		return plan_for(headers, wanted, weights, wanted->context, fit);
	int64_t least = smaller(fit->model_context, LEAST_CONTEXT), context = smaller(fit->model_context, MOST_CONTEXT);
	for (;; context = context / 2 > least ? context / 2 : least) {
		bool fits = plan_for(headers, wanted, weights, context, fit);
		uint64_t limit = fit->plan.limit_bytes;
		if (fits && (!limit || fit->plan.total_bytes <= limit / 2))
			return true;
		if (context == least)
			return fits;
	}
}

static bool is_of_few_bits(enum dtype type)
{
	return type != DTYPE_F32 && type != DTYPE_F16 && type != DTYPE_BF16 && type != DTYPE_BF16T;
}

static void choose(const struct headers *headers, const struct options *options, const struct model_options *wanted,
                   struct fit *fit)
{
	struct weight_choices sizes;
	struct model_options as_they_lie = *wanted;
	setup_weights(WEIGHTS_AS_THEY_LIE, &as_they_lie);
	if (!model_weight_choices(&headers->weights, &headers->config, &as_they_lie, &sizes, &fit->error))
		return;
	fit->product_bytes = sizes.rows.product_bytes;
	if (options_given(options, "weights") || is_of_few_bits(sizes.rows.kind)) {
		(void)!choose_context(headers, wanted, options->weights, fit);
		return;
	}
	static const int finest_first[] = {WEIGHTS_AS_THEY_LIE, WEIGHTS_Q8, WEIGHTS_Q4};
	int first = fit->product_bytes <= most_product_bytes ? 0 : 1;
	for (int i = first; i < 3 && !choose_context(headers, wanted, finest_first[i], fit); i++)
		;
}

void fit_look(const char *path, const struct options *options, struct fit *fit)
{
	struct headers headers = {0};
	struct options with_path = *options;
	struct model_options wanted;
	*fit = (struct fit){0};
	with_path.model = path;
	if (open_headers(path, &headers, fit) && setup_talk_options(&with_path, &wanted, &fit->error)) {
		wanted.files = headers.files;
		wanted.tokenizer_bytes = (uint64_t)headers.config.vocab_size * TOKENIZER_BYTES;
		wanted.vocabulary_bytes = (uint64_t)headers.config.vocab_size * VOCABULARY_BYTES;
		choose(&headers, options, &wanted, fit);
	}
	close_headers(&headers);
}
