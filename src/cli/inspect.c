/* `tallow inspect`: what is understood of a model folder, the memory that serving it would take, and what is refused and
 * why. Nothing is loaded but headers; a folder with only config.json and tokenizer.json is enough.
 */
#include "cli/inspect.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/topology.h"
#include "cli/commands.h"
#include "cli/setup.h"
#include "tensor/manifest.h"
#include "tensor/model_files.h"
#include "tensor/weight_file.h"
#include "text/grammar.h"

/* The type that config.json says the weights are stored in. */
static enum dtype stored_type(const struct model_config *config)
{
	if (strcmp(config->stored_dtype, "bfloat16") == 0)
		return DTYPE_BF16;
	return strcmp(config->stored_dtype, "float16") == 0 ? DTYPE_F16 : DTYPE_F32;
}

static void look_at_tokenizer(struct inspection *found, const struct model_files *files)
{
	if (!model_files_gguf(files) && !model_files_find(files, MODEL_TOKENIZER))
		return;
	found->tokenizer.state = PART_REFUSED;
	found->loaded_tokenizer = tokenizer_read(files, &found->tokenizer.error);
	if (found->loaded_tokenizer)
		found->tokenizer.state = PART_UNDERSTOOD;
}

static void count_types(struct inspection *found, const struct weight_file *file)
{
	const struct tensor *tensor;
	for (size_t i = 0; (tensor = weight_file_at(file, i)); i++) {
		int type = 0;
		while (type < found->n_types && strcmp(found->types[type].name, tensor->type_name) != 0)
			type++;
		if (type == INSPECT_MAX_TYPES)
			continue;
		found->n_types = type < found->n_types ? found->n_types : type + 1;
		snprintf(found->types[type].name, sizeof found->types[type].name, "%s", tensor->type_name);
		found->types[type].n_tensors++;
		found->types[type].n_bytes += tensor->n_bytes;
	}
}

static void look_at_weights(struct inspection *found, const struct model_options *options, bool every_value)
{
	struct model_weights bound = {0};
	if (model_files_weights(options->files)->form == WEIGHTS_NONE)
		return;
	found->weights.state = PART_REFUSED;
	struct weight_file *file = weight_file_read(options->files, &found->weights.error);
	if (!file)
		return;
	count_types(found, file);
	found->n_tensors = weight_file_count(file);
	found->file_bytes = weight_file_bytes(file);
	if (found->config_part.state != PART_UNDERSTOOD)
		found->weights.state = PART_UNCHECKED; /* without a config there is no saying which tensors belong */
	else if (weights_bind(file, &found->config, &bound, &found->weights.error) &&
	         model_weight_choices(&bound, &found->config, options, &found->sizes, &found->weights.error))
		found->weights.state = PART_UNDERSTOOD;
	if (every_value && found->weights.state != PART_REFUSED && !weight_file_check_finite(file, &found->weights.error))
		found->weights.state = PART_REFUSED;
	weights_free(&bound);
	weight_file_close(file);
}

/* What config.json alone tells of the weights. */
static bool describe_weights(struct inspection *found, const struct model_options *options, struct error *error)
{
	struct model_weights described = {0};
	bool ok = weights_describe(&found->config, stored_type(&found->config), &described, error) &&
	          model_weight_choices(&described, &found->config, options, &found->sizes, error);
	weights_free(&described);
	return ok;
}

static void look_at_memory(struct inspection *found, const struct model_options *options)
{
	struct model_options known = *options;
	known.tokenizer_bytes = found->loaded_tokenizer ? tokenizer_bytes(found->loaded_tokenizer) : 0;
	struct error ignored; /* a tokenizer whose tokens have no bytes: no constraints */
	struct grammar_vocabulary *vocabulary =
	    found->loaded_tokenizer ? grammar_vocabulary_create(found->loaded_tokenizer, &ignored) : NULL;
	known.vocabulary_bytes = vocabulary ? grammar_vocabulary_bytes(vocabulary) : 0;
	grammar_vocabulary_destroy(vocabulary);
	bool fits = (found->weights.state == PART_UNDERSTOOD || describe_weights(found, options, &found->memory.error)) &&
	            model_plan(&found->config, &known, &found->sizes, &found->plan, &found->memory.error);
	found->memory.state = fits ? PART_UNDERSTOOD : PART_REFUSED;
	if (options->n_threads == 0) {
		struct topology topology;
		topology_read(&platform_default_roots, &topology);
		topology_reason(&topology, found->threads_reason, sizeof found->threads_reason);
	} else {
		snprintf(found->threads_reason, sizeof found->threads_reason, "as --threads says");
	}
}

/* Without files the config's error says why there are none, and holds for all. */
static void look(struct inspection *found, const struct model_options *options, bool every_value)
{
	found->config_part.state = PART_REFUSED;
	if (!options->files) {
		found->tokenizer = found->weights = found->config_part;
		return;
	}
	if (config_read(options->files, &found->config, &found->config_part.error))
		found->config_part.state = PART_UNDERSTOOD;
	look_at_tokenizer(found, options->files);
	int n_ends = 0;
	const int32_t *ends = found->loaded_tokenizer ? tokenizer_end_ids(found->loaded_tokenizer, &n_ends) : NULL;
	for (int i = 0; found->config_part.state == PART_UNDERSTOOD && i < n_ends; i++)
		config_add_eos(&found->config, ends[i]);
	look_at_weights(found, options, every_value);
	if (found->config_part.state == PART_UNDERSTOOD)
		look_at_memory(found, options);
}

/* The first thing that serving this would stop at. Not fitting into this machine counts when the model is here to be
 * served, or when the limit was asked about. */
static bool verdict(const struct inspection *found, const struct options *options, struct error *error)
{
	enum { N_PARTS = 4 };
	const struct part *parts[N_PARTS] = {&found->config_part, &found->tokenizer, &found->weights, &found->memory};
	bool here = found->weights.state != PART_ABSENT || options->memory_limit_bytes > 0;
	for (int i = 0; i < N_PARTS; i++) {
		if (parts[i]->state != PART_REFUSED || (parts[i]->error.code == ERROR_MEMORY && !here))
			continue;
		*error = parts[i]->error;
		return false;
	}
	return true;
}

static bool inspect(struct inspection *found, const struct options *options, struct error *error)
{
	struct options with_path = *options;
	struct model_options model_options;
	found->path = with_path.model = options->path ? options->path : options->model;
	if (!found->path)
		return error_set(error, ERROR_USAGE, "a path is missing: tallow inspect PATH");
	if (!setup_model_options(&with_path, &model_options, error))
		return false;
	struct model_files *files = model_files_open(found->path, &found->config_part.error);
	model_options.files = files;
	look(found, &model_options, options->check_weights);
	model_files_close(files);
	if (options->json)
		inspection_print_json(found);
	else
		inspection_print(found);
	return verdict(found, options, error);
}

/* ---- --manifest ---- */

static bool make_manifest(const struct model_files *files, int n_threads, struct inspected_manifest *out,
                          struct error *error)
{
	struct pool *pool =
	    pool_create(n_threads ? n_threads : platform_usable_threads(&platform_default_roots), NULL, 0, error);
	out->weights = pool ? weight_file_read(files, error) : NULL;
	bool ok = out->weights && manifest_list(&out->files, files, out->weights, error) &&
	          manifest_digest(&out->files, pool, NULL, NULL, error);
	if (ok) {
		out->tensors = calloc(weight_file_count(out->weights) + 1, sizeof *out->tensors);
		ok = out->tensors ? manifest_tensors(out->weights, pool, out->tensors, error)
		                  : error_set(error, ERROR_MEMORY, "no memory for the model's manifest");
	}
	pool_destroy(pool);
	return ok;
}

static bool inspect_manifest(const char *path, const struct options *options, struct error *error)
{
	struct inspected_manifest found = {0};
	struct model_files *files = model_files_open(path, error);
	bool ok = files && make_manifest(files, (int)options->threads, &found, error);
	if (ok && options->json)
		inspection_print_manifest_json(&found);
	else if (ok)
		inspection_print_manifest(&found);
	free(found.tensors);
	manifest_free(&found.files);
	weight_file_close(found.weights);
	model_files_close(files);
	return ok;
}

bool inspect_run(const struct options *options, struct error *error)
{
	const char *path = options->path ? options->path : options->model;
	if (path && options->manifest)
		return inspect_manifest(path, options, error);
	struct inspection *found = calloc(1, sizeof *found);
	if (!found)
		return error_set(error, ERROR_MEMORY, "no memory to look at a model");
	bool ok = inspect(found, options, error);
	tokenizer_destroy(found->loaded_tokenizer);
	free(found);
	return ok;
}
