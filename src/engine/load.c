/* Loading: tokenizer, model, and what the engine keeps beside them. On the engine's thread. */
#include <stdlib.h>
#include <string.h>

#include "base/platform.h"
#include "engine/engine_private.h"

static bool note_progress(void *context, enum load_stage stage, uint64_t done, uint64_t total)
{
	struct engine *engine = context;
	pthread_mutex_lock(&engine->mutex);
	engine->load_stage = stage;
	engine->load_bytes_done = done;
	engine->load_bytes_total = total;
	bool go_on = !engine->stopping;
	pthread_cond_broadcast(&engine->changed);
	pthread_mutex_unlock(&engine->mutex);
	return go_on;
}

static bool all_types_invariant(const struct model *model)
{
	const struct model_plan *plan = model_memory_plan(model);
	bool invariant = true;
	for (int type = 0; type < DTYPE_COUNT; type++)
		if (plan->weights.types & 1u << type)
			invariant &= matmul_phase_invariant(model_kernels(model), (enum dtype)type);
	return invariant;
}

static bool make_scheduler(struct engine *engine, struct error *error)
{
	const struct model_plan *plan = model_memory_plan(engine->model);
	struct scheduler_limits limits = {
	    .n_parallel = plan->n_parallel,
	    .max_waiting = engine->options.max_queue,
	    .max_waiting_tokens = engine->options.max_queued_tokens,
	    .n_pages = plan->n_kv_pages,
	    .page_tokens = plan->kv.page_tokens,
	    .tile_rows = plan->tile_rows,
	    .max_prefill_rows = plan->max_prefill_rows,
	    .max_gap_ns = (int64_t)engine->options.max_gap_ms * 1000000,
	};
	engine->n_sequences = plan->n_parallel + engine->options.max_queue;
	engine->scheduler = scheduler_create(&limits);
	engine->cache = prefix_cache_create(model_kv(engine->model), plan->kv.page_tokens);
	engine->decode_is_prefill = all_types_invariant(engine->model);
	engine->sequences = calloc((size_t)engine->n_sequences, sizeof *engine->sequences);
	engine->spans = calloc((size_t)engine->n_sequences, sizeof *engine->spans);
	engine->span_owners = calloc((size_t)engine->n_sequences, sizeof *engine->span_owners);
	engine->sampler = sampler_create(engine->config.vocab_size);
	if (!engine->scheduler || !engine->cache || !engine->sequences || !engine->spans || !engine->span_owners ||
	    !engine->sampler)
		return error_set(error, ERROR_MEMORY, "no memory for %d sequences", engine->n_sequences);
	return true;
}

/* What engine_status says that does not change any more. */
static void note_facts(struct engine *engine, double load_seconds)
{
	const struct model_plan *plan = model_memory_plan(engine->model);
	engine->facts = (struct engine_status){
	    .load_seconds = load_seconds,
	    .architecture = engine->config.architecture,
	    .quant_kind = model_quant_kind(engine->model),
	    .tokenizer_kind = tokenizer_kind(engine->tokenizer),
	    .isa = model_kernels(engine->model)->name,
	    .vocab_size = engine->config.vocab_size,
	    .context_length = plan->context,
	    .n_parallel = plan->n_parallel,
	    .planned_bytes = plan->total_bytes,
	    .kv_pages_total = kv_pool_total(model_kv(engine->model)),
	    .kv_page_tokens = plan->kv.page_tokens,
	};
}

bool engine_load(struct engine *engine, struct error *error)
{
	int64_t started_ns = clock_ns();
	struct model_options options = engine->model_options;
	options.files = engine->files = model_files_open(engine->path, error);
	struct tokenizer *tokenizer = engine->files ? tokenizer_read(engine->files, error) : NULL;
	if (!tokenizer)
		return false;
	engine->tokenizer = tokenizer;
	options.tokenizer_bytes = tokenizer_bytes(tokenizer);
	engine->model = model_open(&options, note_progress, engine, error);
	if (!engine->model)
		return false;
	engine->config = *model_config(engine->model);
	int n_ends;
	const int32_t *ends = tokenizer_end_ids(tokenizer, &n_ends);
	for (int i = 0; i < n_ends; i++)
		config_add_eos(&engine->config, ends[i]);
	engine->n_active = model_memory_plan(engine->model)->n_threads;
	note_facts(engine, (double)(clock_ns() - started_ns) / 1e9);
	return make_scheduler(engine, error);
}
