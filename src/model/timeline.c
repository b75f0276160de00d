#include "model/timeline.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

struct timeline {
	struct model *model;
	int64_t n_tokens; /* appended */
	int64_t max_tokens;
	int64_t rope_variant;
	int n_pages;
	int32_t pages[]; /* [n_pages] */
};

struct timeline *timeline_create(struct model *model, int64_t n_tokens, struct error *error)
{
	const struct model_plan *plan = model_memory_plan(model);
	struct kv_pool *pool = model_kv(model);
	assert(n_tokens > 0);
	if (n_tokens > plan->context) {
		error_set(error, ERROR_USAGE, "a sequence of %" PRId64 " tokens is longer than the context, %" PRId64, n_tokens,
		          plan->context);
		return NULL;
	}
	int n_pages = (int)((n_tokens + plan->kv.page_tokens - 1) / plan->kv.page_tokens);
	struct timeline *timeline = malloc(sizeof *timeline + (size_t)n_pages * sizeof *timeline->pages);
	if (!timeline || kv_pool_free(pool) < n_pages) {
		error_set(error, ERROR_MEMORY, "no memory for %d KV pages, %d are free", n_pages, kv_pool_free(pool));
		free(timeline);
		return NULL;
	}
	*timeline = (struct timeline){.model = model,
	                              .max_tokens = n_tokens,
	                              .rope_variant = model_rope_variant(model, n_tokens),
	                              .n_pages = n_pages};
	for (int i = 0; i < n_pages; i++)
		timeline->pages[i] = kv_page_take(pool);
	return timeline;
}

void timeline_destroy(struct timeline *timeline)
{
	if (!timeline)
		return;
	/* The pool is a stack: the next timeline finds them in the same order. */
	for (int i = timeline->n_pages - 1; i >= 0; i--)
		kv_page_release(model_kv(timeline->model), timeline->pages[i]);
	free(timeline);
}

int64_t timeline_length(const struct timeline *timeline)
{
	return timeline->n_tokens;
}

/* What later tokens left in the pages needs no clearing: attention reads no position after a row's own, and a position is
 * written before any row of it or after it reads. */
void timeline_rewind(struct timeline *timeline, int64_t position)
{
	assert(position >= 0 && position <= timeline->n_tokens);
	timeline->n_tokens = position;
}

void timeline_skip(struct timeline *timeline, int64_t n_tokens)
{
	assert(n_tokens >= 0 && n_tokens <= timeline->max_tokens - timeline->n_tokens);
	timeline->n_tokens += n_tokens;
}

struct forward_span timeline_append(struct timeline *timeline, const int32_t *tokens, int n_rows, enum row_phase phase,
                                    int n_logits)
{
	struct forward_span span = {
	    .tokens = tokens,
	    .n_rows = n_rows,
	    .phase = phase,
	    .position = timeline->n_tokens,
	    .rope_variant = timeline->rope_variant,
	    .pages = timeline->pages,
	    .n_pages = timeline->n_pages,
	    .logits = n_logits,
	};
	timeline_skip(timeline, n_rows);
	return span;
}

const float *timeline_step(struct timeline *timeline, const int32_t *tokens, int n_rows, enum row_phase phase,
                           int n_logits)
{
	struct forward_span span = timeline_append(timeline, tokens, n_rows, phase, n_logits);
	model_forward(timeline->model, &span, 1);
	return n_logits ? model_logits(timeline->model, span.logit_row) : NULL;
}

const float *timeline_prefill(struct timeline *timeline, const int32_t *tokens, int64_t n_tokens, int n_logits)
{
	const struct model_plan *plan = model_memory_plan(timeline->model);
	int64_t most = plan->max_prefill_rows, end = timeline->n_tokens + n_tokens;
	int64_t last = (end - n_logits) / plan->tile_rows * plan->tile_rows; /* where the last step may begin */
	const float *logits = NULL;
	assert(n_tokens > 0 && n_logits <= n_tokens && (n_tokens <= most || n_logits <= most - plan->tile_rows));
	for (int64_t left = n_tokens; left > 0; left = end - timeline->n_tokens) {
		int64_t before = last - timeline->n_tokens;
		int n_rows = (int)(left <= most ? left : before < most ? before : most);
		logits = timeline_step(timeline, tokens + n_tokens - left, n_rows, ROWS_PREFILL, n_rows == left ? n_logits : 0);
	}
	return logits;
}
