#include "engine/sequence.h"

#include <stdlib.h>
#include <string.h>

static char *copy_text(const char *text, size_t n_bytes)
{
	char *copy = malloc(n_bytes + 1);
	if (copy) {
		memcpy(copy, text, n_bytes);
		copy[n_bytes] = 0;
	}
	return copy;
}

/* Puts a copy of the list in its place, or NULL where it is empty or memory is short (false). */
static bool own_list(const void **list, size_t n_bytes)
{
	void *copy = n_bytes ? malloc(n_bytes) : NULL;
	if (copy)
		memcpy(copy, *list, n_bytes);
	*list = copy;
	return copy || n_bytes == 0;
}

/* The words lie behind their list. */
static bool own_words(struct sampling *sampling)
{
	size_t n_list = (size_t)sampling->n_bad_words * sizeof *sampling->bad_words, n_bytes = n_list;
	for (int i = 0; i < sampling->n_bad_words; i++)
		n_bytes += sampling->bad_words[i].n_bytes;
	const struct bad_word *given = sampling->bad_words;
	struct bad_word *own = n_list ? malloc(n_bytes) : NULL;
	sampling->bad_words = own;
	if (!own)
		return n_list == 0;
	char *at = (char *)own + n_list;
	for (int i = 0; i < sampling->n_bad_words; at += own[i++].n_bytes) {
		own[i] = (struct bad_word){.text = at, .n_bytes = given[i].n_bytes};
		memcpy(at, given[i].text, given[i].n_bytes);
	}
	return true;
}

/* The lists become the sequence's own, all of them, whatever fails. */
static bool own_lists(struct sampling *sampling)
{
	size_t n_words = (size_t)(sampling->n_dry_breakers + 63) / 64;
	bool ok = own_list((const void **)&sampling->biases, (size_t)sampling->n_biases * sizeof *sampling->biases);
	ok &= own_list((const void **)&sampling->dry_breakers, n_words * sizeof *sampling->dry_breakers);
	ok &= own_list((const void **)&sampling->stop_tokens,
	               (size_t)sampling->n_stop_tokens * sizeof *sampling->stop_tokens);
	return own_words(sampling) && ok;
}

static void free_lists(struct sampling *sampling)
{
	free((void *)sampling->biases);
	free((void *)sampling->dry_breakers);
	free((void *)sampling->stop_tokens);
	free((void *)sampling->bad_words);
}

static bool copy_request(struct sequence *sequence, const struct request *request)
{
	sequence->request = *request;
	sequence->request.n_stops = 0;
	bool copied = own_lists(&sequence->request.sampling); /* first: what is destroyed must be the sequence's */
	for (int i = 0; i < request->n_stops; i++) {
		char *copy = copy_text(request->stops[i].text, request->stops[i].n_bytes);
		if (!copy)
			return false;
		sequence->request.stops[sequence->request.n_stops++].text = copy;
	}
	sequence->tokens = malloc((size_t)sequence->n_total * sizeof *sequence->tokens);
	sequence->pages = malloc((size_t)sequence->max_pages * sizeof *sequence->pages);
	if (!copied || !sequence->tokens || !sequence->pages)
		return false;
	memcpy(sequence->tokens, request->prompt, (size_t)request->n_prompt * sizeof *sequence->tokens);
	sequence->n_tokens = sequence->n_settled = request->n_prompt;
	sequence->request.prompt = sequence->tokens;
	return true;
}

/* All the text that a token can make: nothing is allocated while tokens come. */
static bool reserve_texts(struct sequence *sequence, const struct tokenizer *tokenizer, struct error *error)
{
	size_t text = detokenizer_push_bytes(tokenizer), held = 0;
	for (int i = 0; i < sequence->request.n_stops; i++)
		held = sequence->request.stops[i].n_bytes > held ? sequence->request.stops[i].n_bytes : held;
	/* What is held back comes out with a later token, and with the last one once more at its end. */
	if (bytes_reserve(&sequence->text, text) && bytes_reserve(&sequence->stops.held, held + text) &&
	    bytes_reserve(&sequence->safe, held + text) && bytes_reserve(&sequence->pending.text, 2 * (held + text)))
		return true;
	return error_set(error, ERROR_MEMORY, "no memory for the text of a request");
}

struct sequence *sequence_create(const struct request *request, int64_t n_total, bool clipped, int max_pages,
                                 const struct tokenizer *tokenizer, struct error *error)
{
	struct sequence *sequence = calloc(1, sizeof *sequence);
	if (!sequence) {
		error_set(error, ERROR_MEMORY, "no memory for a request");
		return NULL;
	}
	sequence->n_total = n_total;
	sequence->clipped = clipped;
	sequence->max_pages = max_pages;
	sequence->mirostat = 2 * request->sampling.mirostat_tau;
	if (!copy_request(sequence, request)) {
		sequence_destroy(sequence);
		error_set(error, ERROR_MEMORY, "no memory for a request of %lld tokens", (long long)n_total);
		return NULL;
	}
	stop_init(&sequence->stops, sequence->request.stops, sequence->request.n_stops);
	sequence->detokenizer = detokenizer_create(tokenizer, request->prompt, (size_t)request->n_prompt, error);
	if (!sequence->detokenizer || !reserve_texts(sequence, tokenizer, error)) {
		sequence_destroy(sequence);
		return NULL;
	}
	return sequence;
}

void sequence_destroy(struct sequence *sequence)
{
	if (!sequence)
		return;
	for (int i = 0; i < sequence->request.n_stops; i++)
		free((char *)sequence->request.stops[i].text);
	free_lists(&sequence->request.sampling);
	constraint_free(&sequence->constraint);
	embedding_free(&sequence->embedding);
	bad_words_destroy(sequence->bad_words);
	detokenizer_destroy(sequence->detokenizer);
	stop_free(&sequence->stops);
	bytes_free(&sequence->text);
	bytes_free(&sequence->safe);
	bytes_free(&sequence->pending.text);
	stream_unref(sequence->stream);
	free(sequence->tokens);
	free(sequence->pages);
	free(sequence);
}

void sequence_adopt_pages(struct sequence *sequence, struct prefix_cache *cache, int page_tokens, int64_t n_tokens)
{
	int n_full = (int)((n_tokens - 1) / page_tokens);
	for (; sequence->n_published < n_full; sequence->n_published++) {
		int at = sequence->n_published;
		int32_t page = prefix_cache_find(cache, &sequence->chain, sequence->tokens + (int64_t)at * page_tokens);
		if (page < 0)
			return;
		if (at < sequence->n_pages)
			prefix_cache_release(cache, &sequence->pages[at], 1);
		else
			sequence->n_pages++;
		sequence->pages[at] = page;
	}
}

/* ---- events ---- */

/* These say how the sequence ended, and are true for sequence_take() to return. */
static bool end_with_error(struct sequence *sequence, enum error_code code, const char *why)
{
	sequence->ended = true;
	sequence->terminal = (struct event){.type = EVENT_ERROR};
	error_set(&sequence->terminal.error, code, "%s", why);
	return true;
}

static bool cancel_slow_reader(struct sequence *sequence, enum outcome *outcome)
{
	*outcome = OUTCOME_CANCELLED;
	return end_with_error(sequence, ERROR_CANCELLED, "the client reads too slowly");
}

static bool fail(struct sequence *sequence, enum error_code code, const char *why, enum outcome *outcome)
{
	*outcome = OUTCOME_FAILED;
	return end_with_error(sequence, code, why);
}

/* Text that a token brought was lost on its way to the reader: it is never left out without a word. */
static bool has_lost_text(const struct sequence *sequence)
{
	return sequence->text.failed || sequence->safe.failed || sequence->stops.held.failed ||
	       sequence->pending.text.failed;
}

static bool fail_for_lost_text(struct sequence *sequence, enum outcome *outcome)
{
	return fail(sequence, ERROR_MEMORY, "no memory for the text of an answer", outcome);
}

static bool flush_pending(struct sequence *sequence)
{
	struct pending_token *pending = &sequence->pending;
	if (!pending->waits)
		return true;
	pending->waits = false;
	const char *text = pending->text.data ? pending->text.data : "";
	return stream_push_token(sequence->stream,
	                         &(struct event){.type = EVENT_TOKEN,
	                                         .choice = sequence->choice,
	                                         .token = pending->token,
	                                         .index = pending->index,
	                                         .logprobs = pending->has_logprobs ? &pending->logprobs : NULL,
	                                         .text = text,
	                                         .n_text_bytes = pending->text.n_bytes});
}

/* Makes the newest token the pending one, with the text that is safe now. */
static void set_pending(struct sequence *sequence, int32_t token, int64_t index, const struct token_logprobs *logprobs)
{
	struct pending_token *pending = &sequence->pending;
	pending->waits = true;
	pending->token = token;
	pending->index = index;
	pending->has_logprobs = logprobs != NULL;
	if (logprobs)
		pending->logprobs = *logprobs;
	bytes_clear(&pending->text);
	bytes_append(&pending->text, sequence->safe.data, sequence->safe.n_bytes);
}

static void set_end(struct sequence *sequence, enum stop_reason reason, int64_t now_ns)
{
	sequence->n_tokens = sequence->n_settled;
	int64_t n_out = sequence_output_tokens(sequence);
	double decode_ms = sequence->first_token_ns ? (double)(now_ns - sequence->first_token_ns) / 1e6 : 0;
	int64_t first_ns = sequence->first_token_ns ? sequence->first_token_ns : now_ns;
	sequence->ended = true;
	sequence->terminal = (struct event){
	    .type = EVENT_END,
	    .choice = sequence->choice,
	    .stop_reason = reason,
	    .stop_matched = reason == STOP_SEQUENCE ? sequence->stops.matched : -1,
	    .prompt_tokens = sequence->request.n_prompt,
	    .cached_tokens = sequence->cached_tokens,
	    .completion_tokens = n_out,
	    .queue_ms = (double)(sequence->admitted_ns - sequence->submitted_ns) / 1e6,
	    .prefill_ms = (double)(first_ns - sequence->admitted_ns) / 1e6,
	    .decode_ms = decode_ms,
	    .time_to_first_token_ms = (double)(first_ns - sequence->submitted_ns) / 1e6,
	    /* The first token is prefill's; the rate is that of the others. */
	    .tokens_per_second = decode_ms > 0 && n_out > 1 ? (double)(n_out - 1) / decode_ms * 1e3 : 0,
	};
}

/* The output is complete: what was held back and is no stop string belongs to the last token. */
static bool finish(struct sequence *sequence, enum stop_reason reason, int64_t now_ns, enum outcome *outcome)
{
	if (reason != STOP_SEQUENCE) {
		bytes_clear(&sequence->text);
		bytes_clear(&sequence->safe);
		detokenizer_finish(sequence->detokenizer, &sequence->text);
		if (stop_push(&sequence->stops, sequence->text.data, sequence->text.n_bytes, &sequence->safe))
			reason = STOP_SEQUENCE;
		else
			stop_finish(&sequence->stops, &sequence->safe);
		bytes_append(&sequence->pending.text, sequence->safe.data, sequence->safe.n_bytes);
	}
	if (has_lost_text(sequence))
		return fail_for_lost_text(sequence, outcome);
	if (!flush_pending(sequence))
		return cancel_slow_reader(sequence, outcome);
	*outcome = OUTCOME_COMPLETED;
	set_end(sequence, reason, now_ns);
	return true;
}

static bool is_shown(const struct request *request, int32_t token)
{
	for (int i = 0; i < request->n_shown; i++)
		if (request->shown[i] == token)
			return true;
	return false;
}

/* The token's text goes through the stop strings; true when one is hit. */
static bool push_text(struct sequence *sequence, int32_t token)
{
	size_t n_control;
	const char *control = detokenizer_control(sequence->detokenizer, token, &n_control);
	if (control && is_shown(&sequence->request, token)) {
		bytes_append(&sequence->text, control, n_control);
		control = NULL;
	}
	return control ? stop_push_control(&sequence->stops, control, n_control, &sequence->safe)
	               : stop_push(&sequence->stops, sequence->text.data, sequence->text.n_bytes, &sequence->safe);
}

bool sequence_is_end(const struct sequence *sequence, const struct model_config *config, int32_t token)
{
	const struct sampling *sampling = &sequence->request.sampling;
	for (int i = 0; i < sampling->n_stop_tokens; i++)
		if (sampling->stop_tokens[i] == token)
			return true;
	return !sequence->request.ignore_eos && config_is_eos(config, token);
}

bool sequence_take(struct sequence *sequence, int32_t token, const struct token_logprobs *logprobs,
                   const struct model_config *config, int64_t now_ns, enum outcome *outcome)
{
	const struct constraint *constraint = &sequence->constraint;
	if (constraint->error.code != ERROR_NONE)
		return fail(sequence, constraint->error.code, constraint->error.message, outcome);
	if (token == -1)
		return fail(sequence, ERROR_MODEL_FAULT, "the model gave no finite logits", outcome);
	if (!sequence->first_token_ns)
		sequence->first_token_ns = now_ns;
	sequence->last_token_ns = now_ns;
	if (token == SEQUENCE_OVER || sequence_is_end(sequence, config, token)) {
		bool ended = finish(sequence, STOP_EOS, now_ns, outcome);
		if (logprobs && sequence->terminal.type == EVENT_END) {
			sequence->end_logprobs = *logprobs;
			sequence->terminal.token = token;
			sequence->terminal.logprobs = &sequence->end_logprobs;
		}
		return ended;
	}

	int64_t index = sequence_output_tokens(sequence);
	sequence->tokens[sequence->n_settled++] = token;
	if (sequence->n_tokens < sequence->n_settled)
		sequence->n_tokens = sequence->n_settled;
	bytes_clear(&sequence->text);
	bytes_clear(&sequence->safe);
	detokenizer_push(sequence->detokenizer, token, &sequence->text);
	if (sequence->text.failed)
		return fail(sequence, ERROR_INFERENCE, "the tokenizer's decoder gives up on this text", outcome);
	bool stopped = push_text(sequence, token);
	if (!flush_pending(sequence))
		return cancel_slow_reader(sequence, outcome);
	set_pending(sequence, token, index, logprobs);
	if (has_lost_text(sequence))
		return fail_for_lost_text(sequence, outcome);
	if (stopped)
		return finish(sequence, STOP_SEQUENCE, now_ns, outcome);
	if (constraint->grammar && constraint->over && sequence->n_settled == sequence->n_tokens)
		return finish(sequence, STOP_EOS, now_ns, outcome);
	if (sequence->n_settled == sequence->n_total)
		return finish(sequence, sequence->clipped ? STOP_CONTEXT : STOP_MAX_TOKENS, now_ns, outcome);
	bool held = sequence->stops.held.n_bytes > 0 || detokenizer_holds(sequence->detokenizer);
	if (!held && !flush_pending(sequence))
		return cancel_slow_reader(sequence, outcome);
	return false;
}

bool sequence_embed(struct sequence *sequence, int64_t now_ns, enum outcome *outcome)
{
	if (!embedding_finish(&sequence->embedding, sequence->vector))
		return fail(sequence, ERROR_MODEL_FAULT, "the model gave no finite hidden states", outcome);
	*outcome = OUTCOME_COMPLETED;
	set_end(sequence, STOP_MAX_TOKENS, now_ns);
	sequence->terminal.embedding = sequence->vector;
	sequence->terminal.n_embedding = sequence->embedding.n;
	return true;
}

void sequence_fail(struct sequence *sequence, const struct error *why)
{
	end_with_error(sequence, why->code, why->message);
}

bool sequence_end_prompt(struct sequence *sequence, bool ok, int64_t now_ns, enum outcome *outcome)
{
	if (!ok)
		return fail(sequence, ERROR_MODEL_FAULT, "the model gave no finite logits", outcome);
	*outcome = OUTCOME_COMPLETED;
	set_end(sequence, STOP_MAX_TOKENS, now_ns);
	return true;
}

void sequence_push_terminal(struct sequence *sequence)
{
	if (sequence->ended)
		stream_push_terminal(sequence->stream, &sequence->terminal);
}
