/* The fingerprint (model.h): cheap enough for every start. What is not pinned is told apart by what a file's headers say and
 * by a few bytes of each tensor: two trainings of one shape differ in those. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "model/model_private.h"
#include "tensor/manifest.h"
#include "tensor/weight_file.h"

enum { SAMPLE_BYTES = 64 };

static bool digest_text(const struct bytes *text, struct digest *out, struct error *error)
{
	return text->failed ? error_set(error, ERROR_MEMORY, "no memory for the model's fingerprint")
	                    : digest_of(text->data, text->n_bytes, out, error);
}

static void add_tensor(struct bytes *text, const struct tensor *tensor)
{
	bytes_append_format(text, "%s %s", tensor->name, tensor->type_name);
	for (int i = 0; i < tensor->n_dims; i++)
		bytes_append_format(text, " %" PRId64, tensor->dims[i]);
	size_t n = tensor->n_bytes < SAMPLE_BYTES ? tensor->n_bytes : SAMPLE_BYTES;
	if (n)
		bytes_append(text, (const unsigned char *)tensor->data + (tensor->n_bytes - n) / 2, n);
	bytes_append(text, "\n", 1);
}

/* What the files seem to be. */
static bool digest_sample(const struct model *model, const struct model_files *files, struct digest *out,
                          struct error *error)
{
	struct bytes text = {0};
	struct manifest manifest = {0};
	const struct tensor *tensor;
	bool ok = manifest_list(&manifest, files, model->file, error);
	/* Their names may be anybody's choice: a file of weights is not another for being called otherwise. */
	for (size_t i = 0; ok && i < manifest.n_files; i++)
		bytes_append_format(&text, "%s %" PRIu64 "\n", manifest.files[i].data ? "" : manifest.files[i].name,
		                    manifest.files[i].n_bytes);
	for (size_t i = 0; ok && (tensor = weight_file_at(model->file, i)); i++)
		add_tensor(&text, tensor);
	ok = ok && digest_text(&text, out, error);
	manifest_free(&manifest);
	bytes_free(&text);
	return ok;
}

/* Everything beside the model that the bits of an answer depend on; not the number of threads. */
static bool digest_settings(const struct model *model, const struct model_options *options, struct digest *out,
                            struct error *error)
{
	const struct model_plan *plan = &model->plan;
	struct bytes text = {0};
	bytes_append_format(&text, "%s %s compute %d weights %" PRIx64 " kv %d %d",
	                    options->version ? options->version : "", model->kernels->name, (int)options->compute,
	                    plan->weights.types, (int)plan->kv.k_type, (int)plan->kv.v_type);
	bool ok = digest_text(&text, out, error);
	bytes_free(&text);
	return ok;
}

bool model_make_fingerprint(struct model *model, const struct model_options *options, struct error *error)
{
	const struct model_files *model_files = options->files ? options->files : model->own_files;
	struct digest files = model->digest, settings;
	char of_files[DIGEST_HEX_BYTES], of_settings[DIGEST_HEX_BYTES];
	if ((!model->pinned && !digest_sample(model, model_files, &files, error)) ||
	    !digest_settings(model, options, &settings, error))
		return false;
	digest_write(&files, of_files);
	digest_write(&settings, of_settings);
	snprintf(model->fingerprint, sizeof model->fingerprint, "fp_%.16s_%.8s", of_files, of_settings);
	return true;
}
