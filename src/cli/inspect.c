/* `tallow inspect`: what is understood of a model folder, the memory that serving it would take, and what is refused and
 * why. Nothing is loaded but headers; a folder with only config.json and tokenizer.json is enough.
 */
#include "cli/inspect.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "cli/commands.h"
#include "cli/setup.h"
#include "tensor/gguf.h"

static bool ends_with(const char *text, const char *suffix)
{
	size_t n = strlen(text), n_suffix = strlen(suffix);
	return n >= n_suffix && strcmp(text + n - n_suffix, suffix) == 0;
}

/* Where the tokenizer is: the folder, that of the weight file, or the GGUF file. */
static void tokenizer_place(const char *path, char *out, size_t capacity)
{
	const char *slash = strrchr(path, '/');
	if (!ends_with(path, ".safetensors"))
		snprintf(out, capacity, "%s", path);
	else
		snprintf(out, capacity, "%.*s", slash ? (int)(slash - path) + 1 : 1, slash ? path : ".");
}

/* Also where it is not said which of several: then loading says so. */
static bool is_gguf(const char *path)
{
	char file[GGUF_MAX_PATH];
	struct error error;
	return !gguf_locate(path, file, &error) || file[0];
}

static bool has_tokenizer(const char *folder)
{
	struct bytes path = {0};
	if (is_gguf(folder))
		return true;
	bytes_append_format(&path, "%s/tokenizer.json", folder);
	bool found = !path.failed && access(path.data, F_OK) == 0;
	bytes_free(&path);
	return found;
}

static bool has_weights(const char *path)
{
	if (ends_with(path, ".safetensors") || is_gguf(path))
		return true;
	DIR *folder = opendir(path);
	bool found = false;
	for (struct dirent *entry; folder && !found && (entry = readdir(folder));)
		found = ends_with(entry->d_name, ".safetensors") || ends_with(entry->d_name, ".safetensors.index.json");
	if (folder)
		closedir(folder);
	return found;
}

/* The type that config.json says the weights are stored in. */
static enum dtype stored_type(const struct model_config *config)
{
	if (strcmp(config->stored_dtype, "bfloat16") == 0)
		return DTYPE_BF16;
	return strcmp(config->stored_dtype, "float16") == 0 ? DTYPE_F16 : DTYPE_F32;
}

static void look_at_tokenizer(struct inspection *found, const char *folder)
{
	if (!has_tokenizer(folder))
		return;
	found->tokenizer.state = PART_REFUSED;
	found->loaded_tokenizer = tokenizer_load(folder, &found->tokenizer.error);
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

static void look_at_weights(struct inspection *found, const struct model_options *options)
{
	struct model_weights bound = {0};
	if (!has_weights(options->path))
		return;
	found->weights.state = PART_REFUSED;
	struct weight_file *file = weight_file_open(options->path, &found->weights.error);
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
	bool fits = (found->weights.state == PART_UNDERSTOOD || describe_weights(found, options, &found->memory.error)) &&
	            model_plan(&found->config, &known, &found->sizes, &found->plan, &found->memory.error);
	found->memory.state = fits ? PART_UNDERSTOOD : PART_REFUSED;
}

static void look(struct inspection *found, const struct model_options *options)
{
	char folder[4096];
	tokenizer_place(options->path, folder, sizeof folder);
	found->config_part.state = PART_REFUSED;
	if (config_load(options->path, &found->config, &found->config_part.error))
		found->config_part.state = PART_UNDERSTOOD;
	look_at_tokenizer(found, folder);
	int n_ends = 0;
	const int32_t *ends = found->loaded_tokenizer ? tokenizer_end_ids(found->loaded_tokenizer, &n_ends) : NULL;
	for (int i = 0; found->config_part.state == PART_UNDERSTOOD && i < n_ends; i++)
		config_add_eos(&found->config, ends[i]);
	look_at_weights(found, options);
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
	struct stat info;
	found->path = with_path.model = options->path ? options->path : options->model;
	if (!found->path)
		return error_set(error, ERROR_USAGE, "a path is missing: tallow inspect PATH");
	if (stat(found->path, &info) != 0)
		return error_set(error, ERROR_MODEL, "%.300s: no such file or directory", found->path);
	if (!setup_model_options(&with_path, &model_options, error))
		return false;
	look(found, &model_options);
	if (options->json)
		inspection_print_json(found);
	else
		inspection_print(found);
	return verdict(found, options, error);
}

bool inspect_run(const struct options *options, struct error *error)
{
	struct inspection *found = calloc(1, sizeof *found);
	if (!found)
		return error_set(error, ERROR_MEMORY, "no memory to look at a model");
	bool ok = inspect(found, options, error);
	tokenizer_destroy(found->loaded_tokenizer);
	free(found);
	return ok;
}
