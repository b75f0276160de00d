/* The engine's steps (engine_private.h says who owns what):
 *
 *     locked:   drop what was cancelled or is late, admit (pages are taken, or found in the cache), plan
 *     unlocked: forward, sample, push events
 *     locked:   report to the scheduler, publish pages; give back pages and places of what ended
 *     unlocked: push the end of what ended, log it, free it
 */
#include <assert.h>
#include <string.h>

#include "base/log.h"
#include "base/platform.h"
#include "engine/engine_private.h"
#include "engine/prompt.h"

_Thread_local bool engine_in_step;

/* ---- ends ---- */

/* Locked. */
static void observe_outcome(struct engine *engine, const struct sequence *sequence)
{
	struct engine_metrics *metrics = &engine->metrics;
	bool faulty =
	    sequence->ended && sequence->terminal.type == EVENT_ERROR && sequence->terminal.error.code == ERROR_MODEL_FAULT;
	if (faulty || sequence->outcome == OUTCOME_COMPLETED)
		engine_count_fault(engine, faulty);
	metrics->requests[sequence->outcome]++;
	if (sequence->outcome == OUTCOME_COMPLETED)
		metrics->answers[sequence->terminal.stop_reason]++;
	if (sequence->request.account)
		atomic_fetch_add(&sequence->request.account->requests[sequence->outcome], 1);
	histogram_observe(&metrics->request, (double)(sequence->ended_ns - sequence->submitted_ns) / 1e9);
	if (sequence->first_token_ns)
		histogram_observe(&metrics->decode, (double)(sequence->ended_ns - sequence->first_token_ns) / 1e9);
}

/* Locked. The sequence has ended: pages and place are given back; the rest is say_goodbye's. */
static void remove_sequence(struct engine *engine, int id, enum outcome outcome, int64_t now_ns)
{
	struct sequence *sequence = engine->sequences[id];
	sequence->outcome = outcome;
	sequence->ended_ns = now_ns;
	observe_outcome(engine, sequence);
	prefix_cache_release(engine->cache, sequence->pages, sequence->n_pages);
	scheduler_remove(engine->scheduler, id);
	catch_up_add(engine, sequence);
	engine->sequences[id] = NULL;
	struct sequence **end = &engine->ended;
	while (*end)
		end = &(*end)->next_ended;
	*end = sequence;
}

/* Not locked. Whoever reads the end finds pages and place free. */
static void say_goodbye(struct engine *engine)
{
	while (engine->ended) {
		struct sequence *sequence = engine->ended;
		engine->ended = sequence->next_ended;
		sequence_push_terminal(sequence);
		log_event(LOG_INFO, "request_end", sequence->request.request_id, LOG_TEXT("job_id", sequence->request.job_id),
		          LOG_INT("choice", sequence->choice), LOG_TEXT("outcome", outcome_name(sequence->outcome)),
		          LOG_INT("prompt_tokens", sequence->request.n_prompt),
		          LOG_INT("tokens_out", sequence_output_tokens(sequence)),
		          LOG_MS("total_ms", (double)(sequence->ended_ns - sequence->submitted_ns) / 1e6));
		sequence_destroy(sequence);
	}
}

static enum outcome outcome_of_cancel(enum error_code code)
{
	if (code == ERROR_CANCELLED || code == ERROR_SHUTTING_DOWN)
		return OUTCOME_CANCELLED;
	return code == ERROR_DEADLINE ? OUTCOME_DEADLINE : OUTCOME_FAILED; /* another choice of it failed */
}

/* Locked. */
static void drop_cancelled(struct engine *engine, int64_t now_ns)
{
	for (int id = 0; id < engine->n_sequences; id++) {
		struct sequence *sequence = engine->sequences[id];
		if (!sequence)
			continue;
		if (sequence->request.deadline_ns && now_ns >= sequence->request.deadline_ns)
			stream_cancel(sequence->stream, ERROR_DEADLINE);
		if (atomic_load(stream_cancel_flag(sequence->stream)))
			remove_sequence(engine, id, outcome_of_cancel(stream_cancel_code(sequence->stream)), now_ns);
	}
}

/* ---- the plan ---- */

/* Locked. What the prefix cache has by now of one that does not decode yet; another request may just have computed it. The
 * last token is always computed, for its logits. */
static void adopt_cached(struct engine *engine, int id)
{
	struct sequence *sequence = engine->sequences[id];
	int page_tokens = engine->facts.kv_page_tokens;
	if ((sequence->request.embeds && engine->pooling != POOLING_LAST) || sequence->prompt_logprobs)
		return; /* every row is looked at, and pages hold none */
	/* Where decoding has bits of its own, those of the answer are the sequence's own, too. */
	sequence_adopt_pages(sequence, engine->cache, page_tokens,
	                     engine->decode_is_prefill ? sequence->n_settled : sequence->request.n_prompt);
	int64_t n_known = (int64_t)sequence->n_published * page_tokens;
	int64_t n_new = scheduler_skip(engine->scheduler, id, n_known);
	if (sequence->was_paused || sequence->n_tokens > sequence->request.n_prompt)
		return; /* what it finds it may have computed itself, or is none of the prompt's */
	sequence->cached_tokens += n_new;
	engine->metrics.cached_tokens += (uint64_t)n_new;
}

/* Locked. It was paused: its pages go back, and stay in the cache as long as nobody needs them. */
static void give_back(struct engine *engine, struct sequence *sequence)
{
	prefix_cache_release(engine->cache, sequence->pages, sequence->n_pages);
	sequence->n_pages = sequence->n_published = 0;
	sequence->chain.serial = 0;
	sequence->was_paused = true;
	embedding_restart(&sequence->embedding);
	engine->metrics.pauses++;
}

/* Locked. */
static void begin(struct engine *engine, struct sequence *sequence, int64_t now_ns)
{
	sequence->admitted_ns = now_ns;
	histogram_observe(&engine->metrics.queue, (double)(now_ns - sequence->submitted_ns) / 1e9);
	engine->metrics.prompt_tokens += (uint64_t)sequence->request.n_prompt;
	stream_push_started(sequence->stream, sequence->choice, sequence->request.n_prompt, sequence->cached_tokens);
}

/* Locked. The scheduler has counted them, so there is one to take, from the pool or from the cache. */
static void take_pages(struct engine *engine, int id, int64_t n_positions)
{
	struct sequence *sequence = engine->sequences[id];
	while ((int64_t)sequence->n_pages * engine->facts.kv_page_tokens < n_positions) {
		int32_t page = prefix_cache_take(engine->cache, sequence->chain.key);
		assert(page >= 0 && sequence->n_pages < sequence->max_pages);
		sequence->pages[sequence->n_pages++] = page;
	}
}

/* Locked. False when there is nothing to compute. */
static bool plan(struct engine *engine, int64_t now_ns, struct scheduler_step *step)
{
	struct scheduler_admission admission;
	scheduler_admit(engine->scheduler, now_ns, &admission);
	for (int i = 0; i < admission.n_paused; i++)
		give_back(engine, engine->sequences[admission.paused[i]]);
	/* All adopt before any takes: what one takes may be what another could have adopted. */
	for (int i = 0; i < admission.n_prefilling; i++)
		adopt_cached(engine, admission.prefilling[i]);
	for (int i = 0; i < admission.n_admitted; i++)
		begin(engine, engine->sequences[admission.admitted[i]], now_ns);
	bool any = scheduler_plan(engine->scheduler, step);
	for (int i = 0; i < step->n_decode; i++)
		take_pages(engine, step->decode[i], engine->sequences[step->decode[i]]->n_tokens);
	for (int i = 0; i < step->n_slices; i++)
		take_pages(engine, step->slices[i].id, step->slices[i].position + step->slices[i].n_rows);
	return any;
}

/* ---- the step ---- */

static void add_span(struct engine *engine, int *n_spans, int id, struct forward_span span)
{
	struct sequence *sequence = engine->sequences[id];
	span.tokens = sequence->tokens + span.position;
	span.rope_variant = sequence->chain.rope_variant;
	span.pages = sequence->pages;
	span.n_pages = sequence->n_pages;
	span.cancel = stream_cancel_flag(sequence->stream);
	if (sequence->request.embeds) {
		span.hidden = true;
		span.logits = LOGITS_NONE;
	}
	/* What is written belongs to nobody else: pages are shared when they are full, so that none must be copied on write. */
	int64_t page_tokens = engine->facts.kv_page_tokens;
	for (int64_t i = span.position / page_tokens; i * page_tokens < span.position + span.n_rows; i++)
		assert(kv_page_references(model_kv(engine->model), sequence->pages[i]) == 1);
	engine->span_owners[*n_spans] = id;
	engine->spans[(*n_spans)++] = span;
}

static int build_spans(struct engine *engine, const struct scheduler_step *step)
{
	int n_spans = 0;
	for (int i = 0; i < step->n_decode; i++) {
		const struct sequence *sequence = engine->sequences[step->decode[i]];
		add_span(engine, &n_spans, step->decode[i],
		         (struct forward_span){
		             .n_rows = 1, .phase = ROWS_DECODE, .position = sequence->n_tokens - 1, .logits = LOGITS_LAST});
	}
	for (int i = 0; i < step->n_slices; i++) {
		const struct scheduler_slice *slice = &step->slices[i];
		if (slice->again)
			add_span(
			    engine, &n_spans, slice->id,
			    (struct forward_span){
			        .n_rows = slice->n_rows, .phase = ROWS_DECODE, .position = slice->position, .logits = LOGITS_NONE});
	}
	for (int i = 0; i < step->n_slices; i++) {
		const struct scheduler_slice *slice = &step->slices[i];
		if (slice->again)
			continue;
		add_span(engine, &n_spans, slice->id,
		         (struct forward_span){.n_rows = slice->n_rows,
		                               .phase = ROWS_PREFILL,
		                               .position = slice->position,
		                               .logits = slice->last ? LOGITS_LAST : LOGITS_NONE});
	}
	return n_spans;
}

/* Those that are held and stay; true when the sequence has ended with one of them. */
static bool settle(struct engine *engine, struct sequence *sequence, bool nothing_follows, enum outcome *outcome)
{
	struct bad_words *words = sequence->bad_words;
	for (; words && bad_words_settled(words, nothing_follows); bad_words_pop(words)) {
		struct held_token held = bad_words_first(words);
		if (sequence_take(sequence, held.token, held.logprobs, &engine->config, clock_ns(), outcome))
			return true;
	}
	return false;
}

/* The same where there are words that must not come: tokens wait until they cannot be part of one, or make room. */
static bool take_held(struct engine *engine, float *logits, struct sequence *sequence, struct sampler_place *place,
                      enum outcome *outcome)
{
	struct bad_words *words = sequence->bad_words;
	struct error error = {0};
	int64_t n_held = bad_words_draw(words, engine->sampler, logits, &sequence->request.sampling, place, &error);
	bool is_next = sequence->n_settled + n_held == sequence->n_tokens + 1;
	if (n_held < 0) {
		sequence_fail(sequence, &error);
		*outcome = OUTCOME_FAILED;
		return true;
	}
	int32_t newest = bad_words_last(words);
	sequence->n_tokens = sequence->n_settled + n_held;
	sequence->tokens[sequence->n_tokens - 1] = newest;
	if (sequence->constraint.grammar) {
		engine_in_step = false; /* see pick_constrained */
		if (is_next)
			constraint_follow(sequence, &engine->config, newest);
		else
			constraint_retrace(sequence, &engine->config);
		engine_in_step = true;
	}
	bool over = sequence->constraint.grammar && (sequence->constraint.over || sequence->constraint.error.code);
	return settle(engine, sequence,
	              over || sequence->n_tokens == sequence->n_total || sequence_is_end(sequence, &engine->config, newest),
	              outcome);
}

/* What a constraint remembers grows with the text: the one thing that is allocated here. SEQUENCE_OVER where there is time for
 * nothing but the end. */
static int32_t pick_constrained(struct engine *engine, struct sequence *sequence, float *logits,
                                const struct sampler_place *place, struct token_logprobs *logprobs)
{
	const struct sampling *sampling = &sequence->request.sampling;
	size_t n_bytes = (size_t)engine->config.vocab_size * sizeof *logits;
	double mirostat = sequence->mirostat;
	bool again = sequence->constraint.whole && !sequence->constraint.exact;
	if (again)
		memcpy(engine->kept_logits, logits, n_bytes);
	int32_t token = sampler_pick(engine->sampler, logits, sampling, place, logprobs);
	engine_in_step = false;
	if (again && !constraint_has_time(sequence, &engine->config, token) &&
	    sequence->constraint.error.code == ERROR_NONE) {
		memcpy(logits, engine->kept_logits, n_bytes);
		sequence->mirostat = mirostat;
		token = sequence->constraint.only_end ? SEQUENCE_OVER
		                                      : sampler_pick(engine->sampler, logits, sampling, place, logprobs);
	}
	if (sequence->constraint.error.code == ERROR_NONE)
		constraint_follow(sequence, &engine->config, token);
	engine_in_step = true;
	return token;
}

/* Samples for one span and pushes what follows; true when the sequence has ended, with its outcome. */
static bool take_token(struct engine *engine, const struct forward_span *span, struct sequence *sequence,
                       enum outcome *outcome)
{
	const struct request *request = &sequence->request;
	struct constraint *constraint = &sequence->constraint;
	if (constraint->grammar && (constraint->only_end || constraint->error.code != ERROR_NONE))
		return settle(engine, sequence, true, outcome) ||
		       sequence_take(sequence, SEQUENCE_OVER, NULL, &engine->config, clock_ns(), outcome);
	struct sampler_place place = {
	    .tokens = sequence->tokens,
	    .n_tokens = (size_t)sequence->n_tokens,
	    .n_prompt = (size_t)request->n_prompt,
	    .ends = engine->config.eos_ids,
	    .n_ends = request->ignore_eos ? 0 : engine->config.n_eos_ids,
	    .choice = request->choice,
	    .position = (uint64_t)sequence->n_tokens,
	    .mask = constraint->grammar ? constraint->mask : NULL,
	    .n_mask = constraint->grammar ? grammar_mask_words(constraint->vocabulary) : 0,
	    .mirostat = &sequence->mirostat,
	};
	float *logits = model_logits(engine->model, span->logit_row);
	if (sequence->bad_words)
		return take_held(engine, logits, sequence, &place, outcome);
	struct token_logprobs logprobs;
	int32_t token = constraint->grammar ? pick_constrained(engine, sequence, logits, &place, &logprobs)
	                                    : sampler_pick(engine->sampler, logits, &request->sampling, &place, &logprobs);
	bool drawn = token != SEQUENCE_OVER;
	return sequence_take(sequence, token, drawn && request->sampling.logprobs ? &logprobs : NULL, &engine->config,
	                     clock_ns(), outcome);
}

/* Tokens that must come, up to as many as one step computes as rows of one sequence; true when it has ended with one. */
static bool take_forced(struct engine *engine, struct sequence *sequence, int64_t *n_forced, enum outcome *outcome)
{
	enum { MOST_AT_ONCE = 15 };
	int64_t n_before = sequence->n_settled;
	bool ended = false;
	for (int i = 0; i < MOST_AT_ONCE && !ended; i++) {
		engine_in_step = false; /* see pick_constrained */
		int32_t token = constraint_forced(sequence, &engine->config);
		if (token >= 0)
			constraint_follow(sequence, &engine->config, token);
		engine_in_step = true;
		if (token < 0)
			break;
		ended = sequence_take(sequence, token, NULL, &engine->config, clock_ns(), outcome);
	}
	*n_forced = sequence->n_settled - n_before; /* one that the constraint failed at was not taken */
	return ended;
}

/* Locked. The first token that was drawn may be the end, which is none of the answer's. */
static void observe_tokens(struct engine *engine, const struct sequence *sequence, int64_t n_new, int64_t previous_ns)
{
	struct engine_metrics *metrics = &engine->metrics;
	int64_t now_ns = sequence->last_token_ns;
	if (n_new > 0) {
		metrics->tokens_generated += (uint64_t)n_new;
		if (sequence->request.account)
			atomic_fetch_add(&sequence->request.account->tokens_generated, (unsigned long long)n_new);
		rate_add(&engine->rate, now_ns, (uint64_t)n_new);
	}
	if (n_new > 0 && previous_ns)
		histogram_observe(&metrics->inter_token, (double)(now_ns - previous_ns) / 1e9);
	if (previous_ns || !sequence->first_token_ns)
		return;
	histogram_observe(&metrics->time_to_first_token, (double)(now_ns - sequence->submitted_ns) / 1e9);
	histogram_observe(&metrics->prefill, (double)(now_ns - sequence->admitted_ns) / 1e9);
}

/* Locked. Pages that the step filled can be found from now on. */
static void publish_pages(struct engine *engine, int n_spans)
{
	int64_t page_tokens = engine->facts.kv_page_tokens;
	for (int i = 0; i < n_spans; i++) {
		const struct forward_span *span = &engine->spans[i];
		struct sequence *sequence = engine->sequences[engine->span_owners[i]];
		if (span->cancelled || (span->phase == ROWS_DECODE && !engine->decode_is_prefill))
			continue;
		int64_t n_final = span->position + span->n_rows;
		n_final = n_final < sequence->n_settled ? n_final : sequence->n_settled;
		for (; (sequence->n_published + 1) * page_tokens <= n_final; sequence->n_published++)
			prefix_cache_add(engine->cache, &sequence->chain, sequence->tokens + sequence->n_published * page_tokens,
			                 sequence->pages[sequence->n_published]);
	}
}

/* A slice of a prompt that is embedded; true when it was the last, with the outcome. */
static bool take_hidden(struct engine *engine, const struct forward_span *span, struct sequence *sequence,
                        enum outcome *outcome)
{
	int64_t n_prompt = sequence->request.n_prompt;
	embedding_take(&sequence->embedding, engine->pooling, model_hidden(engine->model, span->hidden_row), span->n_rows,
	               span->position, n_prompt);
	return span->position + span->n_rows == n_prompt && sequence_embed(sequence, clock_ns(), outcome);
}

/* What follows from one span; true when its sequence has ended, with its outcome. */
static bool take_span(struct engine *engine, int i, int64_t *n_forced, enum outcome *outcome)
{
	const struct forward_span *span = &engine->spans[i];
	struct sequence *sequence = engine->sequences[engine->span_owners[i]];
	bool ok = span->cancelled || !prompt_is_told(engine, i) || prompt_tell(engine, i);
	if (span->cancelled)
		return false; /* it is dropped before the next step */
	if (span->hidden)
		return take_hidden(engine, span, sequence, outcome);
	if (!ok || (sequence->request.prompt_only && span->logit_row >= 0))
		return sequence_end_prompt(sequence, ok, clock_ns(), outcome);
	return span->logit_row >= 0 &&
	       (take_token(engine, span, sequence, outcome) || take_forced(engine, sequence, n_forced, outcome));
}

static void push_span(struct engine *engine, int i)
{
	int id = engine->span_owners[i];
	struct sequence *sequence = engine->sequences[id];
	int64_t previous_ns = sequence->last_token_ns;
	int64_t n_before = sequence->n_settled, n_known = engine->spans[i].position + engine->spans[i].n_rows + 1;
	int64_t n_forced = 0;
	enum outcome outcome;
	engine_in_step = true;
	bool ended = take_span(engine, i, &n_forced, &outcome);
	engine_in_step = false;
	pthread_mutex_lock(&engine->mutex);
	observe_tokens(engine, sequence, sequence->n_settled - n_before, previous_ns);
	if (sequence->bad_words && !ended && !engine->spans[i].cancelled && sequence->n_tokens < n_known)
		scheduler_go_back(engine->scheduler, id, sequence->n_tokens);
	engine->metrics.forced_tokens += (uint64_t)n_forced;
	if (n_forced > 0 && !ended)
		scheduler_go_ahead(engine->scheduler, id, sequence->n_tokens);
	if (ended) {
		remove_sequence(engine, id, outcome, clock_ns());
		engine->span_owners[i] = -1; /* the id may be another's from here on */
	}
	pthread_mutex_unlock(&engine->mutex);
	say_goodbye(engine);
}

/* Where a prompt's tokens are told, logits are computed in place of those of the step: these spans come last. */
static void push_spans(struct engine *engine, int n_spans)
{
	for (int i = 0; i < n_spans; i++)
		if (!prompt_is_told(engine, i))
			push_span(engine, i);
	for (int i = 0; i < n_spans; i++)
		if (prompt_is_told(engine, i))
			push_span(engine, i);
}

/* Weights were lost: nothing that was computed since is worth anything. True when that has happened now. */
static bool notice_loss(struct engine *engine)
{
	struct error fault;
	if (!model_files_lost(&fault))
		return false;
	engine_check_files(engine);
	return true;
}

/* Locked. Whoever waits or runs ends with the engine's fault. */
static void fail_all(struct engine *engine)
{
	for (int id = 0; id < engine->n_sequences; id++) {
		struct sequence *sequence = engine->sequences[id];
		if (!sequence)
			continue;
		sequence_fail(sequence, &engine->fault);
		remove_sequence(engine, id, OUTCOME_FAILED, clock_ns());
	}
}

/* Those whose next token comes with this step: their masks are made meanwhile. */
static void begin_masks(struct engine *engine, int n_spans)
{
	int n = 0;
	for (int i = 0; i < n_spans; i++) {
		struct sequence *sequence = engine->sequences[engine->span_owners[i]];
		if (engine->spans[i].logits == LOGITS_LAST && sequence->constraint.grammar)
			engine->constrained[n++] = sequence;
	}
	masker_begin(engine->masker, engine->constrained, n, &engine->config);
}

static void compute_step(struct engine *engine, const struct scheduler_step *step, int64_t started_ns)
{
	int n_spans = build_spans(engine, step);
	begin_masks(engine, n_spans);
	prefix_cache_wipe(engine->cache);
	engine_in_step = true;
	model_forward(engine->model, engine->spans, n_spans);
	masker_wait(engine->masker);
	int64_t forward_ns = clock_ns() - started_ns;
	pthread_mutex_lock(&engine->mutex);
	scheduler_report(engine->scheduler, step, forward_ns);
	publish_pages(engine, n_spans);
	pthread_mutex_unlock(&engine->mutex);
	engine_in_step = false;
	if (!notice_loss(engine))
		push_spans(engine, n_spans);
}

/* ---- the loop ---- */

/* Locked. How many threads compute from now on, when that has changed; else 0. */
static int changed_threads(struct engine *engine)
{
	int wanted = atomic_load(&engine->wanted_threads);
	if (wanted == 0 || wanted == engine->n_active)
		return 0;
	model_set_threads(engine->model, wanted);
	engine->n_active = wanted;
	return wanted;
}

/* Locked. Nothing to compute: waits for work, unless somebody waits for a goodbye. */
static void rest(struct engine *engine)
{
	engine->step_started_ns = 0;
	if (engine->ended) {
		pthread_mutex_unlock(&engine->mutex);
		say_goodbye(engine);
		pthread_mutex_lock(&engine->mutex);
		return;
	}
	/* Whatever waits or runs can make a step, so there is nothing here that a cancel could be about. */
	pthread_cond_broadcast(&engine->changed);
	pthread_cond_wait(&engine->work, &engine->mutex);
}

/* Locked. Nobody can have been added since `stopping` was set. */
static void end_all(struct engine *engine)
{
	for (int id = 0; id < engine->n_sequences; id++) {
		if (!engine->sequences[id])
			continue;
		stream_cancel(engine->sequences[id]->stream, ERROR_SHUTTING_DOWN);
		remove_sequence(engine, id, OUTCOME_CANCELLED, clock_ns());
	}
}

void engine_serve(struct engine *engine)
{
	pthread_mutex_lock(&engine->mutex);
	while (!engine->stopping) {
		struct scheduler_step step;
		int64_t now_ns = clock_ns();
		drop_cancelled(engine, now_ns);
		if (engine->fault_is_final)
			fail_all(engine);
		bool works = plan(engine, now_ns, &step);
		engine->step_started_ns = now_ns;
		if (!works) {
			if (engine->ended || !catch_up_step(engine))
				rest(engine);
			continue;
		}
		int threads = changed_threads(engine);
		pthread_mutex_unlock(&engine->mutex);

		say_goodbye(engine);
		if (threads)
			log_event(LOG_INFO, "threads_changed", NULL, LOG_INT("threads", threads));
		compute_step(engine, &step, now_ns);
		pthread_mutex_lock(&engine->mutex);
	}
	end_all(engine);
	pthread_mutex_unlock(&engine->mutex);
	say_goodbye(engine);
}
