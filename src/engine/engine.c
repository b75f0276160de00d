/* The engine thread: loads the model, then makes one step after another while there is work.
 *
 * One mutex guards the scheduler, the table of sequences, the status and the counters; the model, KV pages and a running
 * sequence's tokens belong to the engine's thread and are touched without it. A step:
 *
 *     locked:   drop what was cancelled or is late, plan, admit (pages are taken)
 *     unlocked: forward, sample, push events
 *     locked:   report to the scheduler, remove what ended
 */
#include "engine/engine.h"

#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/platform.h"
#include "engine/metrics.h"
#include "engine/prefix_cache.h"
#include "engine/scheduler.h"
#include "engine/sequence.h"
#include "engine/stream.h"
#include "model/model.h"

enum {
	DEFAULT_MAX_QUEUE = 64,
	DEFAULT_MAX_QUEUED_TOKENS = 1000000,
	DEFAULT_MAX_TOKENS = 2048,
	DEFAULT_MAX_GAP_MS = 250,
};
static const int64_t stall_limit_ns = 60000000000;

struct engine {
	struct engine_options options;
	char *path;
	char *name; /* last part of path */
	int64_t created_ns;

	pthread_mutex_t mutex;
	pthread_cond_t work;    /* the engine thread waits for something to do */
	pthread_cond_t changed; /* others wait for the state to change */
	pthread_t thread;
	bool thread_runs;
	bool stopping;
	enum engine_state state;
	struct error error;
	atomic_int wanted_threads; /* 0 = no change */

	/* loading; written by the thread */
	enum load_stage load_stage;
	uint64_t load_bytes_done, load_bytes_total;
	double load_seconds;

	/* once `loaded`, which is set under the mutex when all of them are there; until then only the thread looks */
	bool loaded;
	struct tokenizer *tokenizer;
	struct model *model;
	struct model_config config; /* with the tokenizer's EOS */
	struct sampler *sampler;
	struct scheduler *scheduler;
	struct prefix_cache *cache;
	bool decode_is_prefill;      /* a decoded row has the bits of a prefilled one: pages of answers are shared, too */
	struct sequence **sequences; /* [n_sequences], by the scheduler's id; NULL = free */
	int n_sequences;
	struct forward_span *spans; /* [n_sequences] */
	int *span_owners;           /* [n_sequences] id of the sequence of each span */
	int n_active;               /* threads that compute now */

	int64_t step_started_ns; /* 0 while idle */
	struct engine_metrics metrics;
	struct rate rate;
};

const char *engine_state_name(enum engine_state state)
{
	static const char *const names[] = {"created", "loading", "ready", "draining", "stopped", "failed"};
	return names[state];
}

const char *stop_reason_name(enum stop_reason reason)
{
	static const char *const names[] = {"max_tokens", "eos", "stop_sequence", "context"};
	return names[reason];
}

/* ---- creation ---- */

static char *last_part(const char *path)
{
	size_t end = strlen(path);
	while (end > 1 && path[end - 1] == '/')
		end--;
	size_t start = end;
	while (start > 0 && path[start - 1] != '/')
		start--;
	return strndup(path + start, end - start);
}

struct engine *engine_create(const struct engine_options *options, struct error *error)
{
	struct engine *engine = calloc(1, sizeof *engine);
	if (!engine) {
		error_set(error, ERROR_MEMORY, "no memory for the engine");
		return NULL;
	}
	pthread_condattr_t monotonic;
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_mutex_init(&engine->mutex, NULL);
	pthread_cond_init(&engine->work, NULL);
	pthread_cond_init(&engine->changed, &monotonic);
	pthread_condattr_destroy(&monotonic);
	engine->options = *options;
	engine->path = strdup(options->model.path);
	engine->name = last_part(options->model.path);
	engine->options.model.path = engine->path;
	engine->created_ns = clock_ns();
	struct engine_options *set = &engine->options;
	set->max_queue = set->max_queue ? set->max_queue : DEFAULT_MAX_QUEUE;
	set->max_queued_tokens = set->max_queued_tokens ? set->max_queued_tokens : DEFAULT_MAX_QUEUED_TOKENS;
	set->max_tokens = set->max_tokens ? set->max_tokens : DEFAULT_MAX_TOKENS;
	set->max_gap_ms = set->max_gap_ms ? set->max_gap_ms : DEFAULT_MAX_GAP_MS;
	if (!engine->path || !engine->name) {
		engine_destroy(engine);
		error_set(error, ERROR_MEMORY, "no memory for the engine");
		return NULL;
	}
	return engine;
}

static void set_state(struct engine *engine, enum engine_state state)
{
	pthread_mutex_lock(&engine->mutex);
	engine->state = state;
	pthread_cond_broadcast(&engine->changed);
	pthread_mutex_unlock(&engine->mutex);
}

/* ---- loading ---- */

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

/* The tokenizer lies beside the weights: in the directory, or in that of the file. */
static struct tokenizer *load_tokenizer(const char *path, struct error *error)
{
	size_t n = strlen(path);
	static const char suffix[] = ".safetensors";
	if (n < sizeof suffix || strcmp(path + n - (sizeof suffix - 1), suffix) != 0)
		return tokenizer_load(path, error);
	const char *slash = strrchr(path, '/');
	char *directory = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
	if (!directory) {
		error_set(error, ERROR_MEMORY, "no memory for a path");
		return NULL;
	}
	struct tokenizer *tokenizer = tokenizer_load(directory, error);
	free(directory);
	return tokenizer;
}

/* The scheduler admits a request, or is about to go on with its prompt: what the prefix cache has of the rest by now, which
 * another request may just have computed. The last token is always computed, for its logits. */
static int64_t take_cached(void *context, int id, int64_t n_prefilled)
{
	struct engine *engine = context;
	struct sequence *sequence = engine->sequences[id];
	int page_tokens = model_memory_plan(engine->model)->kv.page_tokens;
	sequence_adopt_pages(sequence, engine->cache, page_tokens);
	int64_t n_known = (int64_t)sequence->n_published * page_tokens;
	if (n_known <= n_prefilled)
		return n_prefilled;
	sequence->cached_tokens += n_known - n_prefilled;
	engine->metrics.cached_tokens += (uint64_t)(n_known - n_prefilled);
	return n_known;
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
	    .cached_tokens = take_cached,
	    .context = engine,
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

static bool load(struct engine *engine, struct error *error)
{
	int64_t started_ns = clock_ns();
	struct tokenizer *tokenizer = load_tokenizer(engine->path, error);
	if (!tokenizer)
		return false;
	engine->tokenizer = tokenizer;
	struct model_options options = engine->options.model;
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
	engine->load_seconds = (double)(clock_ns() - started_ns) / 1e9;
	return make_scheduler(engine, error);
}

/* ---- one step ---- */

static void observe_outcome(struct engine *engine, const struct sequence *sequence, enum outcome outcome,
                            int64_t now_ns)
{
	struct engine_metrics *metrics = &engine->metrics;
	metrics->requests[outcome]++;
	histogram_observe(&metrics->request, (double)(now_ns - sequence->submitted_ns) / 1e9);
	if (sequence->first_token_ns)
		histogram_observe(&metrics->decode, (double)(now_ns - sequence->first_token_ns) / 1e9);
	log_event(LOG_INFO, "request_end", sequence->request.request_id, LOG_TEXT("job_id", sequence->request.job_id),
	          LOG_TEXT("outcome", outcome_name(outcome)), LOG_INT("prompt_tokens", sequence->request.n_prompt),
	          LOG_INT("tokens_out", sequence_output_tokens(sequence)),
	          LOG_MS("total_ms", (double)(now_ns - sequence->submitted_ns) / 1e6));
}

/* Locked. The sequence has ended: pages, place and memory are given back. */
static void remove_sequence(struct engine *engine, int id, enum outcome outcome, int64_t now_ns)
{
	struct sequence *sequence = engine->sequences[id];
	observe_outcome(engine, sequence, outcome, now_ns);
	prefix_cache_release(engine->cache, sequence->pages, sequence->n_pages);
	scheduler_remove(engine->scheduler, id);
	engine->sequences[id] = NULL;
	sequence_push_terminal(sequence);
	sequence_destroy(sequence);
}

static enum outcome outcome_of_cancel(enum error_code code)
{
	return code == ERROR_DEADLINE ? OUTCOME_DEADLINE : OUTCOME_CANCELLED;
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

/* Locked. Takes every page the sequence may need beside those it was given; the scheduler has counted them, so there is
 * one to take, from the pool or from the cache. */
static void admit(struct engine *engine, struct sequence *sequence, int64_t now_ns)
{
	while (sequence->n_pages < sequence->max_pages) {
		int32_t page = prefix_cache_take(engine->cache);
		assert(page >= 0);
		sequence->pages[sequence->n_pages++] = page;
	}
	sequence->admitted_ns = now_ns;
	histogram_observe(&engine->metrics.queue, (double)(now_ns - sequence->submitted_ns) / 1e9);
	engine->metrics.prompt_tokens += (uint64_t)sequence->request.n_prompt;
	stream_push_started(sequence->stream, sequence->request.n_prompt, sequence->cached_tokens);
}

static void add_span(struct engine *engine, int *n_spans, int id, struct forward_span span)
{
	struct sequence *sequence = engine->sequences[id];
	span.tokens = sequence->tokens + span.position;
	span.rope_variant = sequence->chain.rope_variant;
	span.pages = sequence->pages;
	span.n_pages = sequence->n_pages;
	span.cancel = stream_cancel_flag(sequence->stream);
	/* What is written belongs to nobody else: pages are shared when they are full, so that none must be copied on write. */
	int64_t page_tokens = model_memory_plan(engine->model)->kv.page_tokens;
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
		add_span(engine, &n_spans, slice->id,
		         (struct forward_span){.n_rows = slice->n_rows,
		                               .phase = ROWS_PREFILL,
		                               .position = slice->position,
		                               .logits = slice->last ? LOGITS_LAST : LOGITS_NONE});
	}
	return n_spans;
}

/* Samples for one span and pushes what follows; true when the sequence has ended, with its outcome. */
static bool take_token(struct engine *engine, const struct forward_span *span, struct sequence *sequence,
                       enum outcome *outcome)
{
	int32_t token =
	    sampler_pick(engine->sampler, model_logits(engine->model, span->logit_row), &sequence->request.sampling,
	                 sequence->tokens, (size_t)sequence->n_tokens, 0, (uint64_t)sequence->n_tokens);
	return sequence_take(sequence, token, &engine->config, clock_ns(), outcome);
}

/* Locked. */
static void observe_token(struct engine *engine, const struct sequence *sequence, int64_t previous_ns, int64_t now_ns)
{
	struct engine_metrics *metrics = &engine->metrics;
	metrics->tokens_generated++;
	rate_add(&engine->rate, now_ns, 1);
	if (previous_ns) {
		histogram_observe(&metrics->inter_token, (double)(now_ns - previous_ns) / 1e9);
		return;
	}
	histogram_observe(&metrics->time_to_first_token, (double)(now_ns - sequence->submitted_ns) / 1e9);
	histogram_observe(&metrics->prefill, (double)(now_ns - sequence->admitted_ns) / 1e9);
}

/* Locked. Pages that the step filled can be found from now on. */
static void publish_pages(struct engine *engine, int n_spans)
{
	int64_t page_tokens = model_memory_plan(engine->model)->kv.page_tokens;
	for (int i = 0; i < n_spans; i++) {
		const struct forward_span *span = &engine->spans[i];
		struct sequence *sequence = engine->sequences[engine->span_owners[i]];
		if (span->cancelled || (span->phase == ROWS_DECODE && !engine->decode_is_prefill))
			continue;
		for (; (sequence->n_published + 1) * page_tokens <= span->position + span->n_rows; sequence->n_published++)
			prefix_cache_add(engine->cache, &sequence->chain, sequence->tokens + sequence->n_published * page_tokens,
			                 sequence->pages[sequence->n_published]);
	}
}

static void finish_step(struct engine *engine, const struct scheduler_step *step, int n_spans, int64_t started_ns)
{
	int64_t forward_ns = clock_ns() - started_ns;
	pthread_mutex_lock(&engine->mutex);
	scheduler_report(engine->scheduler, step, forward_ns);
	publish_pages(engine, n_spans);
	pthread_mutex_unlock(&engine->mutex);
	for (int i = 0; i < n_spans; i++) {
		const struct forward_span *span = &engine->spans[i];
		int id = engine->span_owners[i];
		struct sequence *sequence = engine->sequences[id];
		if (span->cancelled || span->logit_row < 0)
			continue; /* a cancelled one is dropped before the next step */
		int64_t previous_ns = sequence->last_token_ns;
		int64_t n_before = sequence->n_tokens;
		enum outcome outcome;
		bool ended = take_token(engine, span, sequence, &outcome);
		pthread_mutex_lock(&engine->mutex);
		if (sequence->n_tokens > n_before)
			observe_token(engine, sequence, previous_ns, sequence->last_token_ns);
		if (ended)
			remove_sequence(engine, id, outcome, clock_ns());
		pthread_mutex_unlock(&engine->mutex);
	}
}

/* ---- the thread ---- */

static void apply_threads(struct engine *engine)
{
	int wanted = atomic_load(&engine->wanted_threads);
	if (wanted == 0 || wanted == engine->n_active)
		return;
	model_set_threads(engine->model, wanted);
	engine->n_active = wanted;
	log_event(LOG_INFO, "threads_changed", NULL, LOG_INT("threads", wanted));
}

static void serve(struct engine *engine)
{
	pthread_mutex_lock(&engine->mutex);
	while (!engine->stopping) {
		struct scheduler_step step;
		int64_t now_ns = clock_ns();
		drop_cancelled(engine, now_ns);
		if (!scheduler_plan(engine->scheduler, now_ns, &step)) {
			/* Whatever waits or runs can make a step, so there is nothing here that a cancel could be about. */
			engine->step_started_ns = 0;
			pthread_cond_broadcast(&engine->changed);
			pthread_cond_wait(&engine->work, &engine->mutex);
			continue;
		}
		engine->step_started_ns = now_ns;
		for (int i = 0; i < step.n_admitted; i++)
			admit(engine, engine->sequences[step.admitted[i]], now_ns);
		apply_threads(engine);
		pthread_mutex_unlock(&engine->mutex);

		int n_spans = build_spans(engine, &step);
		model_forward(engine->model, engine->spans, n_spans);
		finish_step(engine, &step, n_spans, now_ns);
		pthread_mutex_lock(&engine->mutex);
	}
	/* What is left ends with an error event; nobody can have been added since `stopping` was set. */
	for (int id = 0; id < engine->n_sequences; id++) {
		if (!engine->sequences[id])
			continue;
		stream_cancel(engine->sequences[id]->stream, ERROR_SHUTTING_DOWN);
		remove_sequence(engine, id, OUTCOME_CANCELLED, clock_ns());
	}
	pthread_mutex_unlock(&engine->mutex);
}

static void *engine_main(void *argument)
{
	struct engine *engine = argument;
	struct error error = {0};
	if (!load(engine, &error)) {
		pthread_mutex_lock(&engine->mutex);
		engine->error = error;
		engine->state = ENGINE_FAILED;
		pthread_cond_broadcast(&engine->changed);
		pthread_mutex_unlock(&engine->mutex);
		return NULL;
	}
	pthread_mutex_lock(&engine->mutex);
	engine->loaded = true;
	if (engine->state == ENGINE_LOADING)
		engine->state = ENGINE_READY;
	pthread_cond_broadcast(&engine->changed);
	pthread_mutex_unlock(&engine->mutex);
	serve(engine);
	return NULL;
}

bool engine_start(struct engine *engine, struct error *error)
{
	sigset_t all, old;
	set_state(engine, ENGINE_LOADING);
	/* Signals are main's business. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	int failed = pthread_create(&engine->thread, NULL, engine_main, engine);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (failed)
		return error_set(error, ERROR_INTERNAL, "cannot start the engine's thread: %s", strerror(failed));
	engine->thread_runs = true;
	return true;
}

void engine_drain(struct engine *engine)
{
	pthread_mutex_lock(&engine->mutex);
	if (engine->state == ENGINE_READY || engine->state == ENGINE_LOADING)
		engine->state = ENGINE_DRAINING;
	pthread_cond_broadcast(&engine->changed);
	pthread_mutex_unlock(&engine->mutex);
}

bool engine_idle(struct engine *engine)
{
	pthread_mutex_lock(&engine->mutex);
	bool idle =
	    !engine->loaded || (scheduler_running(engine->scheduler) == 0 && scheduler_waiting(engine->scheduler) == 0);
	pthread_mutex_unlock(&engine->mutex);
	return idle;
}

/* Raises the cancel flag of everything, so that a running forward ends between two matrices. */
static void cancel_all(struct engine *engine)
{
	pthread_mutex_lock(&engine->mutex);
	engine->stopping = true;
	engine->state = engine->state == ENGINE_FAILED ? ENGINE_FAILED : ENGINE_DRAINING;
	for (int id = 0; engine->loaded && id < engine->n_sequences; id++)
		if (engine->sequences[id])
			stream_cancel(engine->sequences[id]->stream, ERROR_SHUTTING_DOWN);
	pthread_cond_broadcast(&engine->work);
	pthread_mutex_unlock(&engine->mutex);
}

void engine_stop(struct engine *engine)
{
	if (!engine->thread_runs)
		return;
	cancel_all(engine);
	pthread_join(engine->thread, NULL);
	engine->thread_runs = false;
	pthread_mutex_lock(&engine->mutex);
	if (engine->state != ENGINE_FAILED)
		engine->state = ENGINE_STOPPED;
	pthread_cond_broadcast(&engine->changed);
	pthread_mutex_unlock(&engine->mutex);
}

void engine_destroy(struct engine *engine)
{
	if (!engine)
		return;
	engine_stop(engine);
	scheduler_destroy(engine->scheduler);
	sampler_destroy(engine->sampler);
	free(engine->sequences);
	free(engine->spans);
	free(engine->span_owners);
	prefix_cache_destroy(engine->cache);
	model_close(engine->model);
	tokenizer_destroy(engine->tokenizer);
	pthread_cond_destroy(&engine->work);
	pthread_cond_destroy(&engine->changed);
	pthread_mutex_destroy(&engine->mutex);
	free(engine->path);
	free(engine->name);
	free(engine);
}

bool engine_wait_ready(struct engine *engine, int timeout_ms, struct error *error)
{
	struct timespec until;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += timeout_ms / 1000;
	until.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	pthread_mutex_lock(&engine->mutex);
	int timed_out = 0;
	while (engine->state == ENGINE_LOADING && !timed_out)
		timed_out = timeout_ms < 0 ? pthread_cond_wait(&engine->changed, &engine->mutex)
		                           : pthread_cond_timedwait(&engine->changed, &engine->mutex, &until);
	bool ready = engine->state == ENGINE_READY;
	if (engine->state == ENGINE_FAILED)
		*error = engine->error;
	else if (!ready)
		error_set(error, timed_out ? ERROR_LOADING : ERROR_SHUTTING_DOWN, "the model is not loaded: the engine is %s",
		          engine_state_name(engine->state));
	pthread_mutex_unlock(&engine->mutex);
	return ready;
}

void engine_set_threads(struct engine *engine, int n_threads)
{
	atomic_store(&engine->wanted_threads, n_threads);
}

/* ---- status ---- */

static void fill_loaded_status(struct engine *engine, struct engine_status *status)
{
	status->plan = *model_memory_plan(engine->model);
	status->load_seconds = engine->load_seconds;
	status->architecture = engine->config.architecture;
	status->quant_kind = model_quant_kind(engine->model);
	status->tokenizer_kind = tokenizer_kind(engine->tokenizer);
	status->isa = model_kernels(engine->model)->name;
	status->threads = engine->n_active;
	status->vocab_size = engine->config.vocab_size;
	status->context_length = status->plan.context;
	status->n_parallel = status->plan.n_parallel;
	status->active = scheduler_running(engine->scheduler);
	status->queued = scheduler_waiting(engine->scheduler);
	status->queued_tokens = scheduler_waiting_tokens(engine->scheduler);
	status->queue_full = status->queued >= engine->options.max_queue ||
	                     (status->queued > 0 && status->queued_tokens >= engine->options.max_queued_tokens);
	status->kv_pages_total = kv_pool_total(model_kv(engine->model));
	status->kv_pages_free = kv_pool_free(model_kv(engine->model));
	status->kv_pages_cached = prefix_cache_pages(engine->cache);
	status->tokens_per_second = rate_per_second(&engine->rate, clock_ns());
}

static bool is_loaded(const struct engine *engine)
{
	return engine->loaded && (engine->state == ENGINE_READY || engine->state == ENGINE_DRAINING);
}

void engine_status(struct engine *engine, struct engine_status *status)
{
	int64_t now_ns = clock_ns();
	memset(status, 0, sizeof *status);
	pthread_mutex_lock(&engine->mutex);
	status->state = engine->state;
	status->error = engine->error;
	status->stalled = engine->step_started_ns && now_ns - engine->step_started_ns > stall_limit_ns;
	status->load_stage = load_stage_name(engine->load_stage);
	status->load_bytes_done = engine->load_bytes_done;
	status->load_bytes_total = engine->load_bytes_total;
	status->model_name = engine->name;
	status->max_tokens = engine->options.max_tokens;
	status->uptime_seconds = (double)(now_ns - engine->created_ns) / 1e9;
	if (is_loaded(engine))
		fill_loaded_status(engine, status);
	pthread_mutex_unlock(&engine->mutex);
}

void engine_metrics(struct engine *engine, struct engine_metrics *metrics)
{
	pthread_mutex_lock(&engine->mutex);
	*metrics = engine->metrics;
	pthread_mutex_unlock(&engine->mutex);
}

const struct tokenizer *engine_tokenizer(struct engine *engine)
{
	pthread_mutex_lock(&engine->mutex);
	const struct tokenizer *tokenizer = is_loaded(engine) ? engine->tokenizer : NULL;
	pthread_mutex_unlock(&engine->mutex);
	return tokenizer;
}

/* ---- requests ---- */

/* Where the request must end; refuses what cannot fit. Immutable facts only: no lock needed. */
static bool measure_request(const struct engine *engine, const struct request *request, int64_t *n_total, bool *clipped,
                            struct error *error)
{
	int64_t context = model_memory_plan(engine->model)->context;
	if (request->n_prompt >= context)
		return error_set(error, ERROR_CONTEXT_LENGTH,
		                 "the prompt has %lld tokens, the context holds %lld with at least one to generate",
		                 (long long)request->n_prompt, (long long)context);
	for (int64_t i = 0; i < request->n_prompt; i++)
		if (request->prompt[i] < 0 || request->prompt[i] >= engine->config.vocab_size)
			return error_set(error, ERROR_INVALID_REQUEST, "token %d at place %lld is not in the vocabulary of %lld",
			                 request->prompt[i], (long long)i, (long long)engine->config.vocab_size);
	int64_t max_tokens = request->max_tokens ? request->max_tokens : engine->options.max_tokens;
	*clipped = max_tokens > context - request->n_prompt;
	*n_total = *clipped ? context : request->n_prompt + max_tokens;
	return true;
}

/* Locked. */
static bool may_submit(struct engine *engine, const struct request *request, struct error *error)
{
	if (engine->state == ENGINE_CREATED || engine->state == ENGINE_LOADING)
		return error_set(error, ERROR_LOADING, "the model is still loading");
	if (engine->state == ENGINE_FAILED)
		return error_set(error, ERROR_LOADING, "the model could not be loaded");
	if (engine->state != ENGINE_READY)
		return error_set(error, ERROR_SHUTTING_DOWN, "the worker is shutting down");
	for (int id = 0; request && id < engine->n_sequences; id++) {
		const struct sequence *sequence = engine->sequences[id];
		if (sequence && strcmp(sequence->request.job_id, request->job_id) == 0 && !stream_ended(sequence->stream))
			return error_set(error, ERROR_CONFLICT, "job_id %s is active", request->job_id);
	}
	return true;
}

/* Locked. */
static int retry_after(const struct engine *engine)
{
	return (int)((scheduler_wait_estimate_ns(engine->scheduler) + 999999999) / 1000000000);
}

/* Locked. On success the scheduler and the table own the sequence. */
static bool enqueue(struct engine *engine, struct sequence *sequence, int *retry_after_s, struct error *error)
{
	if (!may_submit(engine, &sequence->request, error))
		return false;
	enum scheduler_refusal refusal;
	struct scheduler_request place = {
	    .n_prompt = sequence->request.n_prompt,
	    .n_total = sequence->n_total,
	    .priority = sequence->request.priority,
	    .arrival_ns = sequence->submitted_ns,
	};
	int id = scheduler_add(engine->scheduler, &place, &refusal);
	if (id < 0) {
		engine->metrics.requests[OUTCOME_REJECTED]++;
		int pages_total = kv_pool_total(model_kv(engine->model));
		if (refusal == SCHEDULER_NEVER_FITS)
			return error_set(error, ERROR_INSUFFICIENT_MEMORY,
			                 "prompt and max_tokens need %lld KV pages, the pool has %d: at most %lld tokens in all",
			                 (long long)sequence->max_pages, pages_total,
			                 (long long)pages_total * model_memory_plan(engine->model)->kv.page_tokens);
		int seconds = retry_after(engine);
		if (retry_after_s)
			*retry_after_s = seconds;
		return error_set(
		    error, ERROR_QUEUE_FULL,
		    "%d requests with %lld prompt tokens wait already, at most %d with %lld may; try again in %d s",
		    scheduler_waiting(engine->scheduler), (long long)scheduler_waiting_tokens(engine->scheduler),
		    engine->options.max_queue, (long long)engine->options.max_queued_tokens, seconds);
	}
	sequence->id = id;
	engine->sequences[id] = sequence;
	return true;
}

struct stream *engine_submit(struct engine *engine, const struct request *request, int *retry_after_s,
                             struct error *error)
{
	int64_t n_total = 0;
	bool clipped = false;
	pthread_mutex_lock(&engine->mutex);
	bool open = may_submit(engine, request, error);
	pthread_mutex_unlock(&engine->mutex);
	if (!open || !measure_request(engine, request, &n_total, &clipped, error))
		return NULL;
	int64_t page_tokens = model_memory_plan(engine->model)->kv.page_tokens;
	struct sequence *sequence = sequence_create(
	    request, n_total, clipped, (int)((n_total + page_tokens - 1) / page_tokens), engine->tokenizer, error);
	if (!sequence)
		return NULL;
	sequence->chain.key = request->cache_key;
	sequence->chain.rope_variant = model_rope_variant(engine->model, n_total);
	sequence->submitted_ns = clock_ns();
	struct stream *stream = stream_create(error);
	if (!stream) {
		sequence_destroy(sequence);
		return NULL;
	}
	sequence->stream = stream;
	pthread_mutex_lock(&engine->mutex);
	bool queued = enqueue(engine, sequence, retry_after_s, error);
	if (queued)
		pthread_cond_signal(&engine->work);
	pthread_mutex_unlock(&engine->mutex);
	if (!queued) {
		sequence_destroy(sequence);
		stream_unref(stream);
		return NULL;
	}
	return stream;
}

bool engine_cancel(struct engine *engine, const char *job_id)
{
	bool found = false;
	pthread_mutex_lock(&engine->mutex);
	for (int id = 0; engine->loaded && id < engine->n_sequences && !found; id++) {
		struct sequence *sequence = engine->sequences[id];
		if (sequence && strcmp(sequence->request.job_id, job_id) == 0 && !stream_ended(sequence->stream)) {
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
	int seconds = is_loaded(engine) ? retry_after(engine) : 1;
	pthread_mutex_unlock(&engine->mutex);
	return seconds;
}
