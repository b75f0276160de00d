/* The memory plan: resolves the options against the config and adds up every byte. */
#include "model/plan.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "base/platform.h"
#include "model/weights.h"
#include "model/workspace.h"

enum {
	LEAST_CONTEXT = 4096,    /* of a default: where even this does not fit, somebody should choose */
	PARALLEL_PER_THREAD = 8, /* README.md's figures: 16 on two threads */
	MAX_DEFAULT_PARALLEL = 64,
	MAX_PARALLEL = 1024,
	MAX_PREFILL_ROWS = 512, /* of one step; beyond it a product gains nothing and activations only cost memory */
	MIN_PAGE_TOKENS = 32,
	MAX_CONTEXT = 1 << 24,
};

/* Not ours to size, but resident all the same: code and data of the program and its libraries, stacks. Measured. */
static const uint64_t libraries_bytes = 12u << 20;
/* What OpenBLAS packs panels into, per thread that calls it; where tiles are one row, nobody does. Measured. */
static const uint64_t openblas_thread_bytes = 4u << 20;

static void add_line(struct model_plan *plan, const char *name, enum plan_kind kind, uint64_t n_bytes)
{
	plan->lines[plan->n_lines++] = (struct plan_line){.name = name, .kind = kind, .n_bytes = n_bytes};
	if (__builtin_add_overflow(plan->total_bytes, n_bytes, &plan->total_bytes))
		plan->total_bytes = UINT64_MAX;
}

static bool resolve_context(const struct model_config *config, const struct model_options *options,
                            struct model_plan *plan, struct error *error)
{
	int64_t most = config_max_context(config);
	if (options->context > most)
		return error_set(error, ERROR_USAGE,
		                 "--context %" PRId64 " is more than the model's max_position_embeddings%s, %" PRId64,
		                 options->context, most > config->max_positions ? " with its rope scaling" : "", most);
	plan->context = options->context;
	if (plan->context < 1 || plan->context > MAX_CONTEXT)
		return error_set(error, ERROR_USAGE, "--context must be 1 to %d (got %" PRId64 ")", MAX_CONTEXT, plan->context);
	return true;
}

/* Keys with biases stay f16 where q8 is asked for: Qwen2.5's reach 211, and the scale of their group leaves nothing of the
 * other values in it (measured on 0.5B: a divergence of 0.05, where values in 8 bits alone cost 0.0001). */
static struct kv_shape resolve_kv(const struct model_config *config, const struct model_options *options,
                                  const struct model_plan *plan)
{
	enum dtype type = !options->kv_auto ? options->kv_type : plan->weights.type == DTYPE_F32 ? DTYPE_F32 : DTYPE_F16;
	return (struct kv_shape){
	    .k_type = type == DTYPE_Q8 && config->qkv_bias ? DTYPE_F16 : type,
	    .v_type = type,
	    .n_layers = (int)config->n_layers,
	    .n_kv_heads = (int)config->n_kv_heads,
	    .head_dim = (int)config->head_dim,
	    .page_tokens = plan->tile_rows > MIN_PAGE_TOKENS ? plan->tile_rows : MIN_PAGE_TOKENS,
	};
}

/* Threads, sequences, context, page shape and rows of a step: everything but the number of pages. */
static bool resolve_shapes(const struct model_config *config, const struct model_options *options,
                           const struct kernels *kernels, struct model_plan *plan, struct error *error)
{
	if (!resolve_context(config, options, plan, error))
		return false;
	plan->n_parallel = options->n_parallel;
	if (plan->n_parallel < 1 || plan->n_parallel > MAX_PARALLEL)
		return error_set(error, ERROR_USAGE, "--parallel must be 1 to %d (got %d)", MAX_PARALLEL, plan->n_parallel);

	/* Tiles are powers of two: a slice that suits the largest suits all. */
	for (int type = 0; type < DTYPE_COUNT; type++)
		if (plan->weights.types & UINT64_C(1) << type) {
			int tile = matmul_tile_rows(kernels, (enum dtype)type);
			plan->tile_rows = tile > plan->tile_rows ? tile : plan->tile_rows;
		}
	plan->kv = resolve_kv(config, options, plan);
	int block = dtype_info(plan->kv.v_type)->block_elements;
	if (config->head_dim % block != 0)
		return error_set(error, ERROR_USAGE,
		                 "--kv q8 needs a head_dim that is a multiple of %d; this model's is %" PRId64, block,
		                 config->head_dim);
	if (!kv_page_bytes(&plan->kv, &plan->kv_page_bytes))
		return error_set(error, ERROR_MEMORY, "a KV page of this model has more bytes than can be counted");

	size_t context_rows = round_up((size_t)plan->context, (size_t)plan->kv.page_tokens);
	plan->max_prefill_rows = context_rows < MAX_PREFILL_ROWS ? (int)context_rows : MAX_PREFILL_ROWS;
	/* Decode rows come first and each prefill span is rounded up on its own. */
	plan->max_step_rows = (int)round_up((size_t)plan->n_parallel, MATMUL_ROW_PAD) + plan->max_prefill_rows +
	                      MATMUL_ROW_PAD * plan->n_parallel;
	plan->max_logit_rows = options->max_logit_rows ? options->max_logit_rows : plan->n_parallel;
	return true;
}

/* Of the table that finds a page by its tokens again. */
static uint64_t page_index_bytes(const struct model_plan *plan)
{
	enum { ENTRY_BYTES = 64 };
	return ENTRY_BYTES + (uint64_t)plan->kv.page_tokens * sizeof(int32_t);
}

/* How many pages: what was asked for, else n_parallel full contexts as far as the limit allows. */
static bool resolve_pages(const struct model_options *options, struct model_plan *plan, struct error *error)
{
	uint64_t page = plan->kv_page_bytes;
	uint64_t context_pages = (uint64_t)(plan->context + plan->kv.page_tokens - 1) / (uint64_t)plan->kv.page_tokens;
	uint64_t n_pages = context_pages * (uint64_t)plan->n_parallel;
	if (options->kv_memory_bytes) {
		uint64_t asked = options->kv_memory_bytes / page;
		if (asked == 0)
			return error_set(error, ERROR_USAGE,
			                 "--kv-memory %" PRIu64 " is less than one page of %d tokens, %" PRIu64 " bytes",
			                 options->kv_memory_bytes, plan->kv.page_tokens, page);
		n_pages = asked < n_pages ? asked : n_pages;
	} else if (plan->limit_bytes) {
		uint64_t left = plan->limit_bytes > plan->total_bytes ? plan->limit_bytes - plan->total_bytes : 0;
		uint64_t fitting = left / (page + page_index_bytes(plan));
		if (fitting < context_pages)
			fitting = context_pages; /* less than one request of full context is no use: let the total fail */
		n_pages = fitting < n_pages ? fitting : n_pages;
	}
	if (n_pages > INT32_MAX)
		n_pages = INT32_MAX;
	plan->n_kv_pages = (int)n_pages;
	return true;
}

static bool check_limit(const struct model_plan *plan, struct error *error)
{
	if (!plan->limit_bytes || plan->total_bytes <= plan->limit_bytes)
		return true;
	char lines[400] = "";
	size_t used = 0;
	for (int i = 0; i < plan->n_lines; i++) {
		int n = snprintf(lines + used, sizeof lines - used, "%s%s %.1f MiB", i ? ", " : "", plan->lines[i].name,
		                 (double)plan->lines[i].n_bytes / (1 << 20));
		if (n < 0 || used + (size_t)n >= sizeof lines)
			break;
		used += (size_t)n;
	}
	return error_set(error, ERROR_MEMORY,
	                 "the model needs %.1f MiB, the limit is %.1f MiB (%s); lower --context, --parallel or --kv-memory",
	                 (double)plan->total_bytes / (1 << 20), (double)plan->limit_bytes / (1 << 20), lines);
}

static bool plan_with_kernels(const struct model_config *config, const struct model_options *options,
                              const struct kernels *kernels, struct model_plan *plan, struct error *error)
{
	if (!resolve_shapes(config, options, kernels, plan, error))
		return false;
	size_t vectors;
	struct workspace measured;
	plan->workspace_bytes = workspace_layout(&measured, NULL, config, plan, kernels);
	if (!weights_vector_bytes(config, &vectors) || plan->workspace_bytes == 0)
		return error_set(error, ERROR_MEMORY, "the model's buffers have more bytes than can be counted");

	add_line(plan, "weights (mapped)", PLAN_MAPPED, plan->weights.mapped_bytes);
	if (plan->weights.converted_bytes)
		add_line(plan, "weights (converted)", PLAN_ALLOCATED, plan->weights.converted_bytes);
	add_line(plan, "norms and biases", PLAN_ALLOCATED, vectors);
	add_line(plan, "step buffers", PLAN_ALLOCATED, plan->workspace_bytes);
	add_line(plan, "kernel scratch", PLAN_ALLOCATED,
	         kernels_scratch_bytes(plan->n_threads, config_widest_input(config)));
	if (plan->tile_rows > 1)
		add_line(plan, "OpenBLAS buffers", PLAN_ALLOCATED, openblas_thread_bytes * (uint64_t)plan->n_threads);
	add_line(plan, "tokenizer", PLAN_ALLOCATED, options->tokenizer_bytes);
	if (options->vocabulary_bytes)
		add_line(plan, "tokens of constraints", PLAN_ALLOCATED, options->vocabulary_bytes);
	if (options->constraint_bytes)
		add_line(plan, "constraints", PLAN_ALLOCATED, options->constraint_bytes);
	if (options->http_bytes)
		add_line(plan, "HTTP connections", PLAN_ALLOCATED, options->http_bytes);
	add_line(plan, "program and libraries", PLAN_ALLOCATED, libraries_bytes);
	if (!resolve_pages(options, plan, error))
		return false;
	add_line(plan, "KV pages", PLAN_ALLOCATED, (uint64_t)plan->n_kv_pages * plan->kv_page_bytes);
	add_line(plan, "KV page index", PLAN_ALLOCATED, (uint64_t)plan->n_kv_pages * page_index_bytes(plan));
	return check_limit(plan, error);
}

static bool plan_with(const struct model_config *config, const struct model_options *options,
                      const struct kernels *kernels, const struct weight_sizes *weights, struct model_plan *plan,
                      struct error *error)
{
	*plan = (struct model_plan){
	    .weights = *weights, .limit_bytes = options->memory_limit_bytes, .limit_source = options->memory_limit_source};
	plan->n_threads = options->n_threads ? options->n_threads : platform_usable_threads(&platform_default_roots);
	return plan_with_kernels(config, options, kernels, plan, error);
}

static int64_t smaller(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* Where n_parallel is not given: some for each thread, halved until they fit. */
static bool plan_with_parallel(const struct model_config *config, struct model_options *options,
                               const struct kernels *kernels, const struct weight_sizes *weights,
                               struct model_plan *plan, struct error *error)
{
	if (options->n_parallel)
		return plan_with(config, options, kernels, weights, plan, error);
	int n_threads = options->n_threads ? options->n_threads : platform_usable_threads(&platform_default_roots);
	int most = MAX_DEFAULT_PARALLEL / PARALLEL_PER_THREAD;
	options->n_parallel = PARALLEL_PER_THREAD * (n_threads < most ? n_threads : most);
	struct error tried;
	while (!plan_with(config, options, kernels, weights, plan, &tried)) {
		if (tried.code != ERROR_MEMORY || options->n_parallel == 1) {
			*error = tried;
			return false;
		}
		options->n_parallel /= 2;
	}
	return true;
}

/* Whether a plan for this context fits, with room in the pool for one request of it. */
static bool try_context(const struct model_config *config, const struct model_options *options, int64_t context,
                        const struct kernels *kernels, const struct weight_sizes *weights, struct model_plan *plan)
{
	struct model_options longer = *options;
	struct model_plan tried;
	struct error too_large;
	longer.context = context;
	if (!plan_with(config, &longer, kernels, weights, &tried, &too_large) ||
	    (int64_t)tried.n_kv_pages * tried.kv.page_tokens < context)
		return false;
	*plan = tried;
	return true;
}

/* Where no context is given: the model's own, or as many pages of it as fit. How many requests run together was decided
 * for LEAST_CONTEXT before, so that a long context costs nobody a place. */
static bool plan_with_context(const struct model_config *config, struct model_options *options,
                              const struct kernels *kernels, const struct weight_sizes *weights,
                              struct model_plan *plan, struct error *error)
{
	if (options->context)
		return plan_with_parallel(config, options, kernels, weights, plan, error);
	int64_t own = smaller(config->max_positions, MAX_CONTEXT), least = smaller(own, LEAST_CONTEXT);
	options->context = least;
	if (!plan_with_parallel(config, options, kernels, weights, plan, error))
		return false;
	options->context = 0;
	if (least == own || try_context(config, options, own, kernels, weights, plan)) {
		plan->context_chosen = CONTEXT_OF_MODEL;
		return true;
	}
	int64_t page_tokens = plan->kv.page_tokens;
	for (int64_t fits = least / page_tokens, beyond = own / page_tokens + 1; beyond - fits > 1;) {
		int64_t middle = fits + (beyond - fits) / 2;
		bool fitted = try_context(config, options, middle * page_tokens, kernels, weights, plan);
		*(fitted ? &fits : &beyond) = middle;
	}
	plan->context_chosen = CONTEXT_OF_MEMORY;
	return true;
}

/* Pages that n_parallel requests of the least default context can use: what tiles may not take from them. What is beyond
 * is used for long requests and for what earlier ones left, and as many pages as memory holds. */
static int64_t pages_to_keep(const struct model_plan *plan)
{
	int64_t context = smaller(plan->context, LEAST_CONTEXT);
	int64_t each = (context + plan->kv.page_tokens - 1) / plan->kv.page_tokens;
	return smaller(each * plan->n_parallel, plan->n_kv_pages);
}

bool model_plan(const struct model_config *config, const struct model_options *wanted,
                const struct weight_choices *weights, struct model_plan *plan, struct error *error)
{
	struct model_options options = *wanted;
	*plan = (struct model_plan){.weights = weights->rows};
	/* The kernels know their tile and scratch; a set for one thread is cheap to make and answers for all. */
	struct kernels *kernels = kernels_create(options.isa, options.compute, 1, config_widest_input(config), error);
	if (!kernels)
		return false;
	bool ok = plan_with_context(config, &options, kernels, &weights->rows, plan, error);
	if (ok && weights->rows.types >> DTYPE_BF16 & 1 && matmul_prefers_tiles(kernels)) {
		struct model_plan tiled;
		struct error too_large = {0};
		if (plan_with_context(config, &options, kernels, &weights->tiles, &tiled, &too_large) &&
		    pages_to_keep(&tiled) == pages_to_keep(plan)) {
			*plan = tiled;
			plan->tiles = true;
		}
	}
	kernels_destroy(kernels);
	return ok;
}
