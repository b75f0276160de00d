/* Opening and closing a model: config, file, plan, pool, kernels, buffers. The forward pass is forward.c. */
#include "model/model.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/checked.h"
#include "kernels/convert.h"
#include "model/model_private.h"
#include "model/rope.h"
#include "tensor/manifest.h"
#include "tensor/weight_file.h"

const char *load_stage_name(enum load_stage stage)
{
	static const char *const names[] = {"config", "map", "bind", "check", "touch", "convert", "allocate", "done"};
	return names[stage];
}

/* The caller's progress function, or nothing. */
struct reporter {
	load_progress *function;
	void *context;
};

static bool report(const struct reporter *reporter, enum load_stage stage, uint64_t done, uint64_t total,
                   struct error *error)
{
	if (!reporter->function || reporter->function(reporter->context, stage, done, total))
		return true;
	return error_set(error, ERROR_CANCELLED, "loading was stopped");
}

static bool map_and_bind(struct model *model, const struct model_options *options, const struct reporter *reporter,
                         struct error *error)
{
	if (!report(reporter, LOAD_CONFIG, 0, 0, error))
		return false;
	const struct model_files *files = options->files;
	if (!files)
		files = model->own_files = model_files_open(options->path, error);
	if (!files || !config_read(files, &model->config, error) || !report(reporter, LOAD_MAP, 0, 0, error))
		return false;
	model->file = weight_file_read(files, error);
	if (!model->file || !report(reporter, LOAD_BIND, 0, weight_file_bytes(model->file), error))
		return false;
	return weights_bind(model->file, &model->config, &model->weights, error);
}

static bool plan_memory(struct model *model, const struct model_options *options, struct error *error)
{
	struct weight_choices sizes;
	return model_weight_choices(&model->weights, &model->config, options, &sizes, error) &&
	       model_plan(&model->config, options, &sizes, &model->plan, error);
}

/* ---- weights ---- */

/* Matrices that stay in the file are touched, so that the first request does not pay for page faults; the others are
 * converted, and their pages given back. */
struct preparation {
	struct model *model;
	const struct reporter *reporter;
	enum load_stage stage;
	unsigned char *next; /* free memory for converted weights */
	uint64_t done, total;
};

struct touch {
	const unsigned char *data;
	size_t n_bytes;
};

enum { TOUCH_PIECE_BYTES = 4 << 20 };

static void touch_piece(void *context, int task, int worker)
{
	(void)worker;
	const struct touch *touch = context;
	size_t offset = (size_t)task * TOUCH_PIECE_BYTES, left = touch->n_bytes - offset;
	mapped_touch(touch->data + offset, left < TOUCH_PIECE_BYTES ? left : TOUCH_PIECE_BYTES);
}

static bool prepare_matrix(struct preparation *preparation, struct weight *matrix, enum dtype target,
                           struct error *error)
{
	struct model *model = preparation->model;
	size_t stored, made;
	if (!report(preparation->reporter, preparation->stage, preparation->done, preparation->total, error))
		return false;
	if (!dtype_bytes(matrix->type, (size_t)(matrix->n_out * matrix->n_in), &stored) ||
	    !weight_bytes(target, matrix->n_out, matrix->n_in, &made))
		return error_set(error, ERROR_INTERNAL, "a matrix has more bytes than were counted");
	preparation->done += stored;
	if (target == matrix->type) {
		struct touch touch = {.data = matrix->data, .n_bytes = stored};
		pool_run(model->pool, (int)((stored + TOUCH_PIECE_BYTES - 1) / TOUCH_PIECE_BYTES), touch_piece, &touch);
		return true;
	}
	struct weight in_file = *matrix;
	weight_convert(model->kernels, model->pool, &in_file, target, preparation->next, matrix);
	preparation->next += made;
	mapped_release(in_file.data, stored);
	return true;
}

static bool prepare_weights(struct model *model, const struct model_options *options, const struct reporter *reporter,
                            struct error *error)
{
	size_t n_bytes = model->plan.weights.converted_bytes;
	struct preparation preparation = {
	    .model = model,
	    .reporter = reporter,
	    .stage = n_bytes ? LOAD_CONVERT : LOAD_TOUCH,
	    .total = model->weights.file_bytes,
	};
	if (n_bytes) {
		void *memory = mmap(NULL, n_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (memory == MAP_FAILED)
			return error_set(error, ERROR_MEMORY, "cannot allocate %zu bytes of converted weights", n_bytes);
		madvise(memory, n_bytes, MADV_DONTDUMP); /* they are in a file already */
		madvise(memory, n_bytes, MADV_HUGEPAGE); /* where there are none, small pages do */
		model->converted = preparation.next = memory;
	}
	struct weights_wanted wanted = model_wanted(options, model->plan.tiles);
	struct weight *matrix;
	for (int64_t i = 0; (matrix = weights_matrix(&model->weights, &model->config, i)); i++) {
		enum dtype target = plan_weight_target(&model->weights, matrix, &wanted);
		if (!prepare_matrix(&preparation, matrix, target, error))
			return false;
	}
	return report(reporter, LOAD_ALLOCATE, preparation.total, preparation.total, error);
}

/* ---- is it the model that was asked for? ---- */

static bool report_check(void *context, uint64_t done, uint64_t total)
{
	struct error error;
	return report(context, LOAD_CHECK, done, total, &error);
}

/* Before anything is computed with: what is checked are the bytes that are mapped. */
static bool check_digest(struct model *model, const struct model_options *options, const struct reporter *reporter,
                         struct error *error)
{
	struct manifest manifest = {0};
	const struct model_files *files = options->files ? options->files : model->own_files;
	if (!options->sha256)
		return true;
	model->pinned = manifest_list(&manifest, files, model->file, error) &&
	                manifest_digest(&manifest, model->pool, report_check, (void *)(uintptr_t)reporter, error) &&
	                manifest_check(&manifest, options->sha256, error);
	model->digest = manifest.model;
	manifest_free(&manifest);
	return model->pinned;
}

static bool create_kernels(struct model *model, const struct model_options *options, struct error *error)
{
	int n_threads = model->plan.n_threads;
	model->pool = pool_create(n_threads, NULL, 0, error);
	model->kernels = model->pool ? kernels_create(options->isa, options->compute, n_threads,
	                                              config_widest_input(&model->config), error)
	                             : NULL;
	return model->kernels && (model->plan.tile_rows == 1 || matmul_reserve(n_threads, error));
}

static bool allocate(struct model *model, struct error *error)
{
	const struct model_plan *plan = &model->plan;
	void *memory = mmap(NULL, plan->workspace_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	model->workspace_memory = memory == MAP_FAILED ? NULL : memory;
	if (model->workspace_memory) /* logits tell what is said */
		(void)madvise(memory, plan->workspace_bytes, MADV_DONTDUMP);
	model->first_rows = calloc((size_t)plan->max_step_rows, sizeof(int));
	model->first_pages = calloc((size_t)plan->max_step_rows, sizeof(int));
	if (!model->workspace_memory || !model->first_rows || !model->first_pages)
		return error_set(error, ERROR_MEMORY, "cannot allocate %zu bytes of step buffers", plan->workspace_bytes);
	size_t used = workspace_layout(&model->work, memory, &model->config, plan, model->kernels);
	if (used != plan->workspace_bytes)
		return error_set(error, ERROR_INTERNAL, "step buffers take %zu bytes where the plan says %zu", used,
		                 plan->workspace_bytes);
	rope_frequencies(&model->config.rope, model->config.rotary_dim, 0, model->weights.rope_divisors,
	                 model->work.frequencies);
	model->kv = kv_pool_create(&plan->kv, plan->n_kv_pages, error);
	return model->kv != NULL;
}

struct model *model_open(const struct model_options *options, load_progress *progress, void *context,
                         struct error *error)
{
	struct reporter reporter = {.function = progress, .context = context};
	struct model *model = calloc(1, sizeof *model);
	if (!model) {
		error_set(error, ERROR_MEMORY, "cannot allocate the model");
		return NULL;
	}
	if (!map_and_bind(model, options, &reporter, error) || !plan_memory(model, options, error) ||
	    !create_kernels(model, options, error) || !check_digest(model, options, &reporter, error) ||
	    !prepare_weights(model, options, &reporter, error) || !allocate(model, error) ||
	    !model_make_fingerprint(model, options, error))
		goto fail;
	if (!report(&reporter, LOAD_DONE, weight_file_bytes(model->file), weight_file_bytes(model->file), error))
		goto fail;
	return model;
fail:
	model_close(model);
	return NULL;
}

void model_close(struct model *model)
{
	if (!model)
		return;
	kv_pool_destroy(model->kv);
	free(model->first_pages);
	free(model->first_rows);
	if (model->workspace_memory)
		munmap(model->workspace_memory, model->plan.workspace_bytes);
	kernels_destroy(model->kernels);
	pool_destroy(model->pool);
	weights_free(&model->weights);
	if (model->converted)
		munmap(model->converted, model->plan.weights.converted_bytes);
	weight_file_close(model->file);
	model_files_close(model->own_files);
	free(model);
}

const struct model_config *model_config(const struct model *model)
{
	return &model->config;
}

const struct model_plan *model_memory_plan(const struct model *model)
{
	return &model->plan;
}

struct kv_pool *model_kv(struct model *model)
{
	return model->kv;
}

const struct kernels *model_kernels(const struct model *model)
{
	return model->kernels;
}

enum dtype model_weight_type(const struct model *model)
{
	return model->plan.weights.type;
}

const char *model_quant_kind(const struct model *model)
{
	return dtype_info(model->plan.weights.kind)->name;
}

const struct digest *model_digest(const struct model *model)
{
	return model->pinned ? &model->digest : NULL;
}

const char *model_fingerprint(const struct model *model)
{
	return model->fingerprint;
}

int64_t model_rope_variant(const struct model *model, int64_t n_tokens)
{
	return rope_variant(&model->config.rope, n_tokens);
}

void model_set_threads(struct model *model, int n_threads)
{
	int most = pool_size(model->pool);
	pool_set_active(model->pool, n_threads < 1 ? 1 : n_threads > most ? most : n_threads);
}
