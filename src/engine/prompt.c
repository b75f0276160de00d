#include "engine/prompt.h"

bool prompt_is_told(const struct engine *engine, int span)
{
	int owner = engine->span_owners[span];
	return owner >= 0 && engine->sequences[owner]->prompt_logprobs && engine->spans[span].phase == ROWS_PREFILL;
}

/* Of rows [first, first + n_rows) of the span, whose logits are there: each row's are about the token behind it. */
static bool tell_rows(struct engine *engine, const struct forward_span *span, int first, int n_rows)
{
	const struct sequence *sequence = engine->sequences[engine->span_owners[span - engine->spans]];
	const struct request *request = &sequence->request;
	bool ok = true;
	for (int r = 0; r < n_rows; r++) {
		int64_t next = span->position + first + r + 1;
		if (next < request->n_prompt)
			ok &= sampler_logprobs(model_logits(engine->model, r), engine->config.vocab_size, sequence->tokens[next],
			                       request->sampling.n_top_logprobs, &sequence->prompt_logprobs[next]);
	}
	return ok;
}

bool prompt_tell(struct engine *engine, int span_number)
{
	struct forward_span *span = &engine->spans[span_number];
	struct sequence *sequence = engine->sequences[engine->span_owners[span_number]];
	int most = model_memory_plan(engine->model)->max_logit_rows, n_rows = 0;
	for (int first = 0; first < span->n_rows; first += n_rows) {
		if (atomic_load(span->cancel)) {
			span->cancelled = true;
			return true;
		}
		n_rows = span->n_rows - first < most ? span->n_rows - first : most;
		model_compute_logits(engine->model, engine->spans, span_number, first, n_rows);
		if (!tell_rows(engine, span, first, n_rows))
			return false;
	}
	bool ends = span->position + span->n_rows == sequence->request.n_prompt;
	span->logit_row = ends ? n_rows - 1 : -1;
	if (ends) /* it is the reader's now, whatever is computed again after a pause */
		sequence->prompt_logprobs = NULL;
	return true;
}
