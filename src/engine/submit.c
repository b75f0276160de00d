/* Requests in: measured, refused or queued; and their cancellation by name. */
#include <string.h>

#include "base/platform.h"
#include "engine/engine_private.h"

static bool check_sampling(const struct engine *engine, const struct sampling *sampling, struct error *error)
{
	if (sampling->n_biases < 0 || sampling->n_biases > SAMPLING_MAX_BIASES)
		return error_set(error, ERROR_INVALID_REQUEST, "%d logit biases, at most %d may be given", sampling->n_biases,
		                 SAMPLING_MAX_BIASES);
	for (int i = 0; i < sampling->n_biases; i++) {
		const struct logit_bias *bias = &sampling->biases[i];
		if (bias->token < 0 || bias->token >= engine->config.vocab_size)
			return error_set(error, ERROR_INVALID_REQUEST,
			                 "logit bias for token %d, which is not in the vocabulary of %lld", bias->token,
			                 (long long)engine->config.vocab_size);
		if (!(bias->bias >= -100 && bias->bias <= 100))
			return error_set(error, ERROR_INVALID_REQUEST, "logit bias of %g for token %d; it must be -100 to 100",
			                 (double)bias->bias, bias->token);
	}
	if (sampling->n_dry_breakers < 0 || sampling->n_dry_breakers > engine->config.vocab_size)
		return error_set(error, ERROR_INVALID_REQUEST,
		                 "%lld tokens are said to break repeats or not, the vocabulary has %lld",
		                 (long long)sampling->n_dry_breakers, (long long)engine->config.vocab_size);
	if (sampling->n_stop_tokens < 0 || sampling->n_stop_tokens > SAMPLING_MAX_STOP_TOKENS)
		return error_set(error, ERROR_INVALID_REQUEST, "%d tokens are said to end the output, at most %d can",
		                 sampling->n_stop_tokens, SAMPLING_MAX_STOP_TOKENS);
	if (sampling->n_bad_words < 0 || sampling->n_bad_words > SAMPLING_MAX_BAD_WORDS)
		return error_set(error, ERROR_INVALID_REQUEST, "%d bad words, at most %d may be given", sampling->n_bad_words,
		                 SAMPLING_MAX_BAD_WORDS);
	for (int i = 0; i < sampling->n_bad_words; i++)
		if (sampling->bad_words[i].n_bytes == 0 || sampling->bad_words[i].n_bytes > SAMPLING_MAX_WORD_BYTES)
			return error_set(error, ERROR_INVALID_REQUEST, "a bad word of %zu bytes; it must have 1 to %d",
			                 sampling->bad_words[i].n_bytes, SAMPLING_MAX_WORD_BYTES);
	if (sampling->n_order < 0 || sampling->n_order > STAGE_COUNT)
		return error_set(error, ERROR_INVALID_REQUEST, "%d stages are put in order, there are %d", sampling->n_order,
		                 STAGE_COUNT);
	if (sampling->n_top_logprobs < 0 || sampling->n_top_logprobs > SAMPLING_MAX_TOP_LOGPROBS)
		return error_set(error, ERROR_INVALID_REQUEST, "%d top log-probabilities are asked for, at most %d can be",
		                 sampling->n_top_logprobs, SAMPLING_MAX_TOP_LOGPROBS);
	return true;
}

/* Where the request must end; refuses what cannot fit. Immutable facts only: no lock needed. */
static bool measure_request(const struct engine *engine, const struct request *request, int64_t *n_total, bool *clipped,
                            struct error *error)
{
	int64_t context = engine->facts.context_length;
	if (request->embeds && engine->facts.embedding_size == 0)
		return error_set(error, ERROR_INVALID_REQUEST, "%s", engine->pooling_error.message);
	if (request->embeds && request->n_prompt > context)
		return error_set(error, ERROR_CONTEXT_LENGTH, "the text has %lld tokens, the context holds %lld",
		                 (long long)request->n_prompt, (long long)context);
	if (!request->embeds && request->n_prompt + !request->prompt_only > context)
		return error_set(
		    error, ERROR_CONTEXT_LENGTH,
		    "the prompt is too long: it has %lld tokens, and this model's maximum context length is %lld%s",
		    (long long)request->n_prompt, (long long)context,
		    request->prompt_only ? "" : " with at least one to generate");
	for (int64_t i = 0; i < request->n_prompt; i++)
		if (request->prompt[i] < 0 || request->prompt[i] >= engine->config.vocab_size)
			return error_set(error, ERROR_INVALID_REQUEST, "token %d at place %lld is not in the vocabulary of %lld",
			                 request->prompt[i], (long long)i, (long long)engine->config.vocab_size);
	*clipped = false;
	*n_total = request->n_prompt;
	if (request->embeds || request->prompt_only)
		return true;
	int64_t max_tokens = request->max_tokens ? request->max_tokens : engine->options.max_tokens;
	int64_t pool = (int64_t)engine->facts.kv_pages_total * engine->facts.kv_page_tokens;
	int64_t room = request->fit_pool && pool < context && pool > request->n_prompt ? pool : context;
	*clipped = max_tokens > room - request->n_prompt;
	*n_total = *clipped ? room : request->n_prompt + max_tokens;
	return true;
}

/* True when that active job is the sequence's. */
static bool is_job(const struct sequence *sequence, uint64_t owner, const char *job_id)
{
	return sequence && sequence->request.owner == owner && strcmp(sequence->request.job_id, job_id) == 0 &&
	       !stream_ended(sequence->stream);
}

/* Locked. */
static bool may_submit(struct engine *engine, const struct request *request, struct error *error)
{
	if (engine->state == ENGINE_CREATED || engine->state == ENGINE_LOADING)
		return error_set(error, ERROR_LOADING, "the model is still loading");
	if (engine->state == ENGINE_FAILED)
		return error_set(error, ERROR_LOADING, "the model could not be loaded");
	bool may_go_on = engine->state == ENGINE_DRAINING && engine->loaded && !engine->stopping && request->goes_on;
	if (engine->state != ENGINE_READY && !may_go_on)
		return error_set(error, ERROR_SHUTTING_DOWN, "the worker is shutting down");
	if (engine->fault_is_final)
		return error_set(error, ERROR_SHUTTING_DOWN, "%s", engine->fault.message);
	for (int id = 0; id < engine->n_sequences; id++)
		if (is_job(engine->sequences[id], request->owner, request->job_id))
			return error_set(error, ERROR_CONFLICT, "job_id %s is active", request->job_id);
	return true;
}

/* Locked. */
static int retry_after(const struct engine *engine)
{
	return (int)((scheduler_wait_estimate_ns(engine->scheduler) + 999999999) / 1000000000);
}

/* Locked. */
static void count(struct engine *engine, struct account *account, int n)
{
	engine->metrics.requests[OUTCOME_REJECTED] += (uint64_t)n;
	if (account)
		atomic_fetch_add(&account->requests[OUTCOME_REJECTED], (unsigned long long)n);
}

void engine_count_rejected(struct engine *engine, struct account *account, int n)
{
	pthread_mutex_lock(&engine->mutex);
	count(engine, account, n);
	pthread_mutex_unlock(&engine->mutex);
}

/* For now: there may be room later. Locked. */
static void count_rejected(struct engine *engine, const struct request *request, int n, bool for_now)
{
	if (!for_now || !request->comes_again)
		count(engine, request->account, n);
}

/* Whether the owner may have n more. Locked. */
static bool check_share(struct engine *engine, const struct request *request, int n, int *retry_after_s,
                        struct error *error)
{
	int n_of_owner = 0;
	for (int id = 0; request->max_of_owner && id < engine->n_sequences; id++)
		n_of_owner += engine->sequences[id] && engine->sequences[id]->request.owner == request->owner;
	if (!request->max_of_owner || n_of_owner + n <= request->max_of_owner)
		return true;
	int seconds = retry_after(engine);
	if (retry_after_s)
		*retry_after_s = seconds;
	count_rejected(engine, request, n, true);
	return error_set(
	    error, ERROR_QUEUE_FULL,
	    "this key may have %d requests at a time, %d run or wait and %d more are asked for; try again in %d s",
	    request->max_of_owner, n_of_owner, n, seconds);
}

/* Why the scheduler takes none of them. Locked. */
static bool refuse(struct engine *engine, const struct sequence *sequence, int n, enum scheduler_refusal refusal,
                   int *retry_after_s, struct error *error)
{
	count_rejected(engine, &sequence->request, n, refusal == SCHEDULER_QUEUE_FULL);
	if (refusal == SCHEDULER_NEVER_FITS)
		return error_set(error, ERROR_INSUFFICIENT_MEMORY,
		                 "prompt and max_tokens need %lld KV pages, the pool has %d: at most %lld tokens in all",
		                 (long long)sequence->max_pages, engine->facts.kv_pages_total,
		                 (long long)engine->facts.kv_pages_total * engine->facts.kv_page_tokens);
	if (refusal == SCHEDULER_TOO_MANY)
		return error_set(error, ERROR_INVALID_REQUEST,
		                 "%d choices at once are more than can run (%d, as far as memory allows) and wait (%d) here", n,
		                 engine->facts.n_parallel, engine->options.max_queue);
	int seconds = retry_after(engine);
	if (retry_after_s)
		*retry_after_s = seconds;
	return error_set(error, ERROR_QUEUE_FULL,
	                 "%d requests with %lld prompt tokens wait already, at most %d with %lld may; try again in %d s",
	                 scheduler_waiting(engine->scheduler), (long long)scheduler_waiting_tokens(engine->scheduler),
	                 engine->options.max_queue, (long long)engine->options.max_queued_tokens, seconds);
}

/* Requests of the same prompt, neighbours in the array, are a group. Locked. */
static uint64_t group_of(struct engine *engine, const struct request *requests, int at, int n, uint64_t previous)
{
	const struct request *request = &requests[at];
	if (at > 0 && request->prompt == request[-1].prompt && request->n_prompt == request[-1].n_prompt)
		return previous;
	bool more = at + 1 < n && request->prompt == request[1].prompt && request->n_prompt == request[1].n_prompt;
	return more ? ++engine->n_groups : 0;
}

/* Locked. On success the scheduler and the table own the sequences. */
static bool enqueue(struct engine *engine, const struct request *requests, struct sequence **sequences, int n,
                    int *retry_after_s, struct error *error)
{
	if (!may_submit(engine, requests, error) || !check_share(engine, requests, n, retry_after_s, error))
		return false;
	enum scheduler_refusal refusal;
	struct scheduler_request places[ENGINE_MAX_CHOICES];
	int ids[ENGINE_MAX_CHOICES];
	for (int i = 0; i < n; i++)
		places[i] = (struct scheduler_request){
		    .n_prompt = requests[i].n_prompt,
		    .n_total = sequences[i]->n_total,
		    .priority = requests->priority,
		    .arrival_ns = sequences[0]->submitted_ns,
		    .group = group_of(engine, requests, i, n, i > 0 ? places[i - 1].group : 0),
		    .every_row = requests[i].prompt_logprobs,
		    .owner = requests->owner,
		};
	if (!scheduler_add_all(engine->scheduler, places, n, ids, &refusal))
		return refuse(engine, sequences[0], n, refusal, retry_after_s, error);
	for (int i = 0; i < n; i++) {
		sequences[i]->id = ids[i];
		engine->sequences[ids[i]] = sequences[i];
		if (requests[i].account)
			atomic_fetch_add(&requests[i].account->prompt_tokens, (unsigned long long)requests[i].n_prompt);
	}
	return true;
}

/* Its grammar stays the caller's. */
static void refuse_sequence(struct sequence *sequence)
{
	sequence->constraint.grammar = NULL;
	sequence_destroy(sequence);
}

/* What it embeds to goes into the stream's memory. */
static bool reserve_embedding(const struct engine *engine, struct sequence *sequence, struct error *error)
{
	int64_t n = engine->facts.embedding_size;
	if (!sequence->request.embeds)
		return true;
	sequence->vector = stream_reserve_embedding(sequence->stream, sequence->choice, n, error);
	return sequence->vector && embedding_create(&sequence->embedding, n, error);
}

static const struct grammar_vocabulary *vocabulary_of(const struct engine *engine, struct error *error)
{
	if (!engine->vocabulary)
		*error = engine->vocabulary_error;
	return engine->vocabulary;
}

static bool add_bad_words(struct engine *engine, struct sequence *sequence, struct error *error)
{
	const struct sampling *sampling = &sequence->request.sampling;
	if (sampling->n_bad_words == 0)
		return true;
	const struct grammar_vocabulary *vocabulary = vocabulary_of(engine, error);
	if (vocabulary)
		sequence->bad_words =
		    bad_words_create(sampling, vocabulary, sequence->n_total - sequence->request.n_prompt, error);
	return sequence->bad_words != NULL;
}

/* For the shortest whole output. */
static bool check_room(const struct sequence *sequence, struct grammar *grammar,
                       const struct grammar_vocabulary *vocabulary, struct error *error)
{
	int64_t room = sequence->n_total - sequence->request.n_prompt;
	if ((int64_t)grammar_bytes_left(grammar, vocabulary) <= room)
		return true;
	uint32_t n_tokens = grammar_tokens_left(grammar, vocabulary);
	if (n_tokens == UINT32_MAX && grammar_failed(grammar) && strcmp(grammar_failed(grammar), GRAMMAR_NO_MEMORY) == 0)
		return error_set(error, ERROR_MEMORY, "no memory to find the constraint's shortest output");
	if (n_tokens == UINT32_MAX)
		return error_set(error, ERROR_CONSTRAINT,
		                 "the constraint's shortest output cannot be found within bounds, so it cannot be kept "
		                 "\"complete\"");
	return n_tokens <= room ||
	       error_set(error, ERROR_CONSTRAINT,
	                 "the shortest output that the constraint allows takes %u tokens, and there are %lld%s", n_tokens,
	                 (long long)room, sequence->clipped ? " left in the context" : "; raise max_tokens");
}

static bool add_constraint(struct engine *engine, struct sequence *sequence, const struct request *request,
                           struct error *error)
{
	if (!request->grammar)
		return true;
	const struct grammar_vocabulary *vocabulary = vocabulary_of(engine, error);
	if (!vocabulary || (request->whole && !check_room(sequence, request->grammar, vocabulary, error)))
		return false;
	bool ok = constraint_create(&sequence->constraint, request->grammar, vocabulary, &engine->constraints, error);
	sequence->constraint.whole = request->whole;
	return ok;
}

static struct sequence *make_sequence(struct engine *engine, const struct request *request, struct stream *stream,
                                      int choice, struct error *error)
{
	int64_t n_total = 0, page_tokens = engine->facts.kv_page_tokens;
	bool clipped = false;
	if (!check_sampling(engine, &request->sampling, error) ||
	    !measure_request(engine, request, &n_total, &clipped, error))
		return NULL;
	int max_pages = (int)((n_total + page_tokens - 1) / page_tokens);
	struct sequence *sequence = sequence_create(request, n_total, clipped, max_pages, engine->tokenizer, error);
	if (!sequence)
		return NULL;
	sequence->stream = stream_ref(stream);
	sequence->choice = choice;
	sequence->chain.key = request->cache_key;
	sequence->chain.rope_variant = model_rope_variant(engine->model, n_total);
	sequence->submitted_ns = clock_ns();
	bool ok = reserve_embedding(engine, sequence, error) && add_bad_words(engine, sequence, error) &&
	          add_constraint(engine, sequence, request, error);
	if (ok && request->prompt_logprobs) {
		sequence->prompt_logprobs = stream_reserve_prompt(stream, choice, request->n_prompt, error);
		ok = sequence->prompt_logprobs != NULL;
	}
	if (ok)
		return sequence;
	refuse_sequence(sequence);
	return NULL;
}

static bool check_prompt_logprobs(const struct request *requests, int n, struct error *error)
{
	int64_t n_tokens = 0;
	for (int i = 0; i < n; i++)
		n_tokens += requests[i].prompt_logprobs ? requests[i].n_prompt : 0;
	return n_tokens <= ENGINE_MAX_PROMPT_LOGPROBS ||
	       error_set(error, ERROR_INVALID_REQUEST,
	                 "log-probabilities of prompts with %lld tokens are asked for at once, at most of %d can be",
	                 (long long)n_tokens, ENGINE_MAX_PROMPT_LOGPROBS);
}

/* Those of all choices are alike: whether they fit beside each other when nobody else has any. */
static bool check_constraints(const struct engine *engine, const struct request *requests, int n, struct error *error)
{
	size_t max = engine->constraints.max_bytes;
	size_t one = requests->grammar ? grammar_bytes(requests->grammar) + CONSTRAINT_GROWTH_BYTES : 0;
	return one <= max / (size_t)n ||
	       error_set(
	           error, ERROR_CONSTRAINT,
	           "%d choices of a constraint that takes %zu KiB, with what it may grow by, are more than the %zu KiB "
	           "of all constraints; ask for fewer choices, or raise --memory-limit",
	           n, one >> 10, max >> 10);
}

static bool enqueue_and_wake(struct engine *engine, const struct request *requests, struct sequence **sequences, int n,
                             int *retry_after_s, struct error *error)
{
	pthread_mutex_lock(&engine->mutex);
	bool ok = enqueue(engine, requests, sequences, n, retry_after_s, error);
	if (ok) {
		pthread_cond_signal(&engine->work);
		atomic_store(&engine->hurry, true);
	}
	pthread_mutex_unlock(&engine->mutex);
	return ok;
}

/* Others' constraints take the memory that there is for them. */
static void count_unmade(struct engine *engine, const struct request *request, int n, int *retry_after_s)
{
	pthread_mutex_lock(&engine->mutex);
	count_rejected(engine, request, n, true);
	if (retry_after_s)
		*retry_after_s = retry_after(engine);
	pthread_mutex_unlock(&engine->mutex);
}

/* All of them in one stream, or none. */
static bool submit(struct engine *engine, const struct request *requests, int n, struct stream *stream,
                   int *retry_after_s, struct error *error)
{
	struct sequence *sequences[ENGINE_MAX_CHOICES] = {NULL};
	int n_made = 0;
	bool logprobs = false;
	while (n_made < n && (sequences[n_made] = make_sequence(engine, &requests[n_made], stream, n_made, error)))
		logprobs |= requests[n_made++].sampling.logprobs;
	if (n_made < n && error->code == ERROR_QUEUE_FULL)
		count_unmade(engine, requests, n, retry_after_s);
	bool ok = n_made == n && (!logprobs || stream_reserve_logprobs(stream, error)) &&
	          enqueue_and_wake(engine, requests, sequences, n, retry_after_s, error);
	for (int i = 0; i < n_made && !ok; i++)
		refuse_sequence(sequences[i]);
	return ok;
}

struct stream *engine_submit_all(struct engine *engine, const struct request *requests, int n_requests,
                                 int *retry_after_s, struct error *error)
{
	if (n_requests < 1 || n_requests > ENGINE_MAX_CHOICES) {
		error_set(error, ERROR_INVALID_REQUEST, "%d choices are asked for at once, at most %d can be", n_requests,
		          ENGINE_MAX_CHOICES);
		return NULL;
	}
	pthread_mutex_lock(&engine->mutex);
	bool open = may_submit(engine, requests, error);
	pthread_mutex_unlock(&engine->mutex);
	open = open && check_prompt_logprobs(requests, n_requests, error) &&
	       check_constraints(engine, requests, n_requests, error);
	struct stream *stream = open ? stream_create(n_requests, error) : NULL;
	if (stream && !submit(engine, requests, n_requests, stream, retry_after_s, error)) {
		stream_unref(stream);
		stream = NULL;
	}
	return stream;
}

struct stream *engine_submit(struct engine *engine, const struct request *request, int *retry_after_s,
                             struct error *error)
{
	return engine_submit_all(engine, request, 1, retry_after_s, error);
}

bool engine_cancel(struct engine *engine, uint64_t owner, const char *job_id)
{
	bool found = false;
	pthread_mutex_lock(&engine->mutex);
	for (int id = 0; engine->loaded && id < engine->n_sequences && !found; id++) {
		struct sequence *sequence = engine->sequences[id];
		if (is_job(sequence, owner, job_id)) {
			stream_cancel(sequence->stream, ERROR_CANCELLED);
			found = true;
		}
	}
	pthread_mutex_unlock(&engine->mutex);
	return found;
}

int engine_retry_after(struct engine *engine)
{
	pthread_mutex_lock(&engine->mutex);
	int seconds = engine_is_loaded(engine) ? retry_after(engine) : 1;
	pthread_mutex_unlock(&engine->mutex);
	return seconds;
}
