/* Opening and closing a model: config, file, plan, pool, kernels, buffers. The forward pass is forward.c. */
#include "model/model.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/checked.h"
#include "model/model_private.h"
#include "model/rope.h"

const char *load_stage_name(enum load_stage stage)
{
	static const char *const names[] = {"config", "map", "bind", "touch", "allocate", "done"};
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
	if (!report(reporter, LOAD_CONFIG, 0, 0, error) || !config_load(options->path, &model->config, error) ||
	    !report(reporter, LOAD_MAP, 0, 0, error))
		return false;
	model->file = weight_file_open(options->path, error);
	if (!model->file || !report(reporter, LOAD_BIND, 0, weight_file_bytes(model->file), error))
		return false;
	return weights_bind(model->file, &model->config, &model->weights, error);
}

static bool plan_memory(struct model *model, const struct model_options *options, struct error *error)
{
	struct model_options known = *options;
	known.weights_mapped_bytes = weight_file_bytes(model->file);
	known.weight_type = model->weights.type;
	known.weight_types = model->weights.types;
	return model_plan(&model->config, &known, &model->plan, error);
}

/* Touches the mapping in pieces, shared out over the pool, so that the first request does not pay for page faults. */
struct touch {
	const struct weight_file *file;
	size_t offset, n_bytes, piece_bytes;
};

static void touch_piece(void *context, int task, int worker)
{
	(void)worker;
	const struct touch *touch = context;
	size_t offset = (size_t)task * touch->piece_bytes;
	size_t n = touch->n_bytes - offset < touch->piece_bytes ? touch->n_bytes - offset : touch->piece_bytes;
	weight_file_touch(touch->file, touch->offset + offset, n);
}

static bool touch_weights(struct model *model, const struct reporter *reporter, struct error *error)
{
	enum { PIECE_BYTES = 4 << 20, BATCH_BYTES = 128 << 20 };
	size_t total = weight_file_bytes(model->file);
	for (size_t done = 0; done < total;) {
		size_t n = total - done < BATCH_BYTES ? total - done : BATCH_BYTES;
		struct touch touch = {.file = model->file, .offset = done, .n_bytes = n, .piece_bytes = PIECE_BYTES};
		if (!report(reporter, LOAD_TOUCH, done, total, error))
			return false;
		pool_run(model->pool, (int)((n + PIECE_BYTES - 1) / PIECE_BYTES), touch_piece, &touch);
		done += n;
	}
	return report(reporter, LOAD_ALLOCATE, total, total, error);
}

static bool allocate(struct model *model, const struct model_options *options, struct error *error)
{
	const struct model_plan *plan = &model->plan;
	model->kernels =
	    kernels_create(options->isa, options->compute, plan->n_threads, config_widest_input(&model->config), error);
	if (!model->kernels)
		return false;
	void *memory = mmap(NULL, plan->workspace_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	model->workspace_memory = memory == MAP_FAILED ? NULL : memory;
	model->rope_frequencies = malloc((size_t)model->config.head_dim / 2 * sizeof(float));
	model->first_rows = calloc((size_t)plan->max_step_rows, sizeof(int));
	model->first_pages = calloc((size_t)plan->max_step_rows, sizeof(int));
	if (!model->workspace_memory || !model->rope_frequencies || !model->first_rows || !model->first_pages)
		return error_set(error, ERROR_MEMORY, "cannot allocate %zu bytes of step buffers", plan->workspace_bytes);
	size_t used = workspace_layout(&model->work, memory, &model->config, plan, model->kernels);
	if (used != plan->workspace_bytes)
		return error_set(error, ERROR_INTERNAL, "step buffers take %zu bytes where the plan says %zu", used,
		                 plan->workspace_bytes);
	rope_frequencies(&model->config.rope, model->config.head_dim, model->rope_frequencies);
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
	if (!map_and_bind(model, options, &reporter, error) || !plan_memory(model, options, error))
		goto fail;
	model->pool = pool_create(model->plan.n_threads, NULL, 0, error);
	if (!model->pool || !touch_weights(model, &reporter, error) || !allocate(model, options, error))
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
	free(model->rope_frequencies);
	if (model->workspace_memory)
		munmap(model->workspace_memory, model->plan.workspace_bytes);
	kernels_destroy(model->kernels);
	pool_destroy(model->pool);
	weights_free(&model->weights);
	weight_file_close(model->file);
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
	return model->weights.type;
}

const char *model_quant_kind(const struct model *model)
{
	return dtype_info(model->weights.type)->name;
}

void model_set_threads(struct model *model, int n_threads)
{
	int most = pool_size(model->pool);
	pool_set_active(model->pool, n_threads < 1 ? 1 : n_threads > most ? most : n_threads);
}
