/* Loading: tokenizer, model, and what the engine keeps beside them. On the engine's thread. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/platform.h"
#include "engine/engine_private.h"
#include "model/generation_defaults.h"
#include "model/pooling.h"
#include "text/chat_template.h"
#include "text/grammar.h"

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
		if (plan->weights.types & UINT64_C(1) << type)
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
	engine->n_sequences = plan->n_parallel + engine->options.max_queue + SCHEDULER_OWN_PLACES;
	engine->scheduler = scheduler_create(&limits);
	engine->cache = prefix_cache_create(model_kv(engine->model), plan->kv.page_tokens);
	engine->decode_is_prefill = all_types_invariant(engine->model);
	engine->sequences = calloc((size_t)engine->n_sequences, sizeof *engine->sequences);
	engine->spans = calloc((size_t)engine->n_sequences, sizeof *engine->spans);
	engine->span_owners = calloc((size_t)engine->n_sequences, sizeof *engine->span_owners);
	engine->constrained = calloc((size_t)engine->n_sequences, sizeof(struct sequence *));
	engine->sampler = sampler_create(engine->config.vocab_size);
	engine->kept_logits = calloc((size_t)engine->config.vocab_size, sizeof *engine->kept_logits);
	engine->masker = masker_create(engine->n_sequences);
	if (!engine->scheduler || !engine->cache || !engine->sequences || !engine->spans || !engine->span_owners ||
	    !engine->sampler || !engine->masker || !engine->constrained || !engine->kept_logits)
		return error_set(error, ERROR_MEMORY, "no memory for %d sequences", engine->n_sequences);
	return true;
}

/* A model whose own pooling is not there still completes prompts: false only when memory is short. */
static bool choose_pooling(struct engine *engine, struct error *error)
{
	static const char *const names[] = {[POOLING_AUTO] = "",
	                                    [POOLING_NONE] = "none",
	                                    [POOLING_MEAN] = "mean",
	                                    [POOLING_CLS] = "cls",
	                                    [POOLING_LAST] = "last"};
	struct error own_error = {0};
	engine->pooling = engine->options.pooling;
	if (engine->pooling == POOLING_AUTO) {
		const char *own = model_pooling(engine->files, &own_error);
		engine->pooling = !own ? POOLING_NONE : POOLING_LAST;
		for (int i = POOLING_NONE; own && i <= POOLING_LAST; i++)
			if (strcmp(own, names[i]) == 0)
				engine->pooling = (enum pooling)i;
	}
	if (own_error.code == ERROR_MEMORY) {
		*error = own_error;
		return false;
	}
	error_set(&engine->pooling_error, ERROR_INVALID_REQUEST, "this worker makes no embeddings: %s",
	          engine->options.pooling == POOLING_NONE ? "--pooling is none"
	          : own_error.code == ERROR_NONE          ? "the model's pooling is none; --pooling chooses another"
	                                         : "the model's pooling is not supported; --pooling chooses another");
	if (own_error.code != ERROR_NONE)
		log_message(LOG_WARN, "pooling", "embeddings are refused unless --pooling is given: %s", own_error.message);
	return true;
}

/* A model whose publisher asks for what cannot be honoured still serves, as any without such a wish: false only when memory
 * is short. */
static bool choose_sampling(struct engine *engine, struct error *error)
{
	struct error own_error = {0};
	struct generation_defaults defaults = {.typical_p = 1, .repetition_penalty = 1};
	engine->sampling = sampling_neutral;
	if (engine->options.no_generation_defaults)
		return true;
	if (!model_generation_defaults(engine->files, &defaults, &own_error)) {
		if (own_error.code == ERROR_MEMORY) {
			*error = own_error;
			return false;
		}
		log_message(LOG_WARN, "generation_defaults", "the model's own sampling defaults are not used: %s",
		            own_error.message);
	}
	engine->sampling.top_k = defaults.top_k;
	engine->sampling.min_p = defaults.min_p;
	engine->sampling.typical_p = defaults.typical_p;
	engine->sampling.repetition_penalty = defaults.repetition_penalty;
	return true;
}

/* What engine_status says that does not change any more. */
static void note_facts(struct engine *engine, double load_seconds)
{
	const struct model_plan *plan = model_memory_plan(engine->model);
	const struct digest *digest = model_digest(engine->model);
	if (digest)
		digest_write(digest, engine->model_sha256);
	engine->facts = (struct engine_status){
	    .fingerprint = model_fingerprint(engine->model),
	    .model_sha256 = digest ? engine->model_sha256 : NULL,
	    .load_seconds = load_seconds,
	    .architecture = engine->config.architecture,
	    .quant_kind = model_quant_kind(engine->model),
	    .tokenizer_kind = tokenizer_kind(engine->tokenizer),
	    .isa = model_kernels(engine->model)->name,
	    .vocab_size = engine->config.vocab_size,
	    .embedding_size = engine->pooling == POOLING_NONE ? 0 : engine->config.hidden_size,
	    .context_length = plan->context,
	    .sampling = &engine->sampling,
	    .n_parallel = plan->n_parallel,
	    .planned_bytes = plan->total_bytes,
	    .kv_pages_total = kv_pool_total(model_kv(engine->model)),
	    .kv_page_tokens = plan->kv.page_tokens,
	};
}

/* The text of a control token; NULL when the model names none. Caller frees. */
static bool control_text(const struct tokenizer *tokenizer, int32_t id, char **out, struct error *error)
{
	size_t n_bytes;
	const char *text = id >= 0 ? tokenizer_token_text(tokenizer, id, &n_bytes) : NULL;
	*out = text ? strndup(text, n_bytes) : NULL;
	return !text || *out || error_set(error, ERROR_MEMORY, "no memory for a control token");
}

static void load_template_file(struct engine *engine, struct error *error)
{
	const struct tokenizer *tokenizer = engine->tokenizer;
	char *bos = NULL, *eos = NULL;
	if (control_text(tokenizer, tokenizer_bos_id(tokenizer), &bos, error) &&
	    control_text(tokenizer, tokenizer_eos_id(tokenizer), &eos, error))
		engine->chat_template = chat_template_load_file(engine->template_path, bos, eos, error);
	free(bos);
	free(eos);
}

/* Why there is no chat template, without the folders of this machine, which are nobody's business who asks over HTTP. */
static void note_chat_error(struct engine *engine, const struct error *error)
{
	const char *message = error->message;
	size_t n_path = strlen(engine->path);
	if (strncmp(message, engine->path, n_path) == 0)
		message += n_path + strspn(message + n_path, "/: ");
	error_set(&engine->chat_error, ERROR_TEMPLATE, "chat needs a template: %s", message);
}

/* A model without a chat template, or with one that does not compile, still completes prompts: false only when memory is
 * short. */
static bool load_chat_template(struct engine *engine, struct error *error)
{
	if (!engine->options.chats) {
		error_set(&engine->chat_error, ERROR_TEMPLATE, "chat needs a template, and none was loaded");
		return true;
	}
	if (engine->template_path)
		load_template_file(engine, error);
	else
		engine->chat_template = chat_template_read(engine->files, error);
	if (engine->chat_template || error->code == ERROR_MEMORY)
		return engine->chat_template != NULL;
	note_chat_error(engine, error);
	log_message(LOG_WARN, "chat_template", "chat is refused, there is no usable template: %s", error->message);
	return true;
}

uint64_t engine_constraint_bytes(uint64_t memory_limit_bytes)
{
	uint64_t share = memory_limit_bytes / 32;
	if (share < ENGINE_MIN_CONSTRAINT_BYTES && memory_limit_bytes > 0)
		return ENGINE_MIN_CONSTRAINT_BYTES;
	return memory_limit_bytes == 0 || share > ENGINE_CONSTRAINT_BYTES ? ENGINE_CONSTRAINT_BYTES : share;
}

/* What constraints are made of, as the plan counts it. A model with tokens that have no bytes still completes prompts: false
 * only when memory is short. */
static bool prepare_constraints(struct engine *engine, struct model_options *options, struct error *error)
{
	size_t all = options->constraint_bytes ? options->constraint_bytes : ENGINE_CONSTRAINT_BYTES, one = all / 4;
	one = one < GRAMMAR_MAX_BYTES ? one : GRAMMAR_MAX_BYTES;
	grammars_allow(one);
	engine->constraints.max_bytes = all - one * GRAMMAR_COMPILERS;
	engine->vocabulary = grammar_vocabulary_create(engine->tokenizer, &engine->vocabulary_error);
	if (engine->vocabulary)
		options->vocabulary_bytes = grammar_vocabulary_bytes(engine->vocabulary);
	else if (engine->vocabulary_error.code == ERROR_MEMORY)
		*error = engine->vocabulary_error;
	else
		log_message(LOG_WARN, "vocabulary", "constraints are refused: %s", engine->vocabulary_error.message);
	return engine->vocabulary || engine->vocabulary_error.code != ERROR_MEMORY;
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
	if (!prepare_constraints(engine, &options, error))
		return false;
	engine->model = model_open(&options, note_progress, engine, error);
	if (!engine->model)
		return false;
	engine->config = *model_config(engine->model);
	int n_ends;
	const int32_t *ends = tokenizer_end_ids(tokenizer, &n_ends);
	for (int i = 0; i < n_ends; i++)
		config_add_eos(&engine->config, ends[i]);
	engine->n_active = model_memory_plan(engine->model)->n_threads;
	if (!choose_pooling(engine, error) || !choose_sampling(engine, error))
		return false;
	note_facts(engine, (double)(clock_ns() - started_ns) / 1e9);
	return load_chat_template(engine, error) && model_self_test(engine->model, error) && make_scheduler(engine, error);
}
