/* What others see of the engine. */
#include "base/platform.h"
#include "engine/engine_private.h"

static const int64_t stall_limit_ns = 60000000000;

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

/* Locked. What changes; all of it is at hand, nothing is counted here. */
static void fill_loaded_status(struct engine *engine, struct engine_status *status)
{
	status->threads = engine->n_active;
	status->active = scheduler_running(engine->scheduler);
	status->queued = scheduler_waiting(engine->scheduler);
	status->queued_tokens = scheduler_waiting_tokens(engine->scheduler);
	status->queue_full = status->queued >= engine->options.max_queue ||
	                     (status->queued > 0 && status->queued_tokens >= engine->options.max_queued_tokens);
	status->kv_pages_free = kv_pool_free(model_kv(engine->model));
	status->kv_pages_cached = prefix_cache_pages(engine->cache) + engine->n_catch_up_pages;
	status->catching_up = engine->n_catch_ups;
	status->tokens_per_second = rate_per_second(&engine->rate, clock_ns());
}

bool engine_is_loaded(const struct engine *engine)
{
	return engine->loaded && (engine->state == ENGINE_READY || engine->state == ENGINE_DRAINING);
}

void engine_status(struct engine *engine, struct engine_status *status)
{
	int64_t now_ns = clock_ns();
	pthread_mutex_lock(&engine->mutex);
	bool loaded = engine_is_loaded(engine);
	*status = loaded ? engine->facts : (struct engine_status){0};
	status->state = engine->state;
	status->unfit = loaded && engine->fault.code != ERROR_NONE;
	status->error = status->unfit ? engine->fault : engine->error;
	status->leaving = engine->leaving;
	status->stalled = engine->step_started_ns && now_ns - engine->step_started_ns > stall_limit_ns;
	status->load_stage = load_stage_name(engine->load_stage);
	status->load_bytes_done = engine->load_bytes_done;
	status->load_bytes_total = engine->load_bytes_total;
	status->model_name = engine->name;
	status->max_tokens = engine->options.max_tokens;
	status->uptime_seconds = (double)(now_ns - engine->created_ns) / 1e9;
	if (loaded)
		fill_loaded_status(engine, status);
	pthread_mutex_unlock(&engine->mutex);
}

void engine_metrics(struct engine *engine, struct engine_metrics *metrics)
{
	pthread_mutex_lock(&engine->mutex);
	*metrics = engine->metrics;
	pthread_mutex_unlock(&engine->mutex);
}

const struct chat_template *engine_chat_template(struct engine *engine, struct error *error)
{
	pthread_mutex_lock(&engine->mutex);
	bool loaded = engine_is_loaded(engine);
	pthread_mutex_unlock(&engine->mutex);
	if (!loaded)
		error_set(error, ERROR_LOADING, "the model is still loading");
	else if (!engine->chat_template)
		*error = engine->chat_error;
	return loaded ? engine->chat_template : NULL;
}

const struct tokenizer *engine_tokenizer(struct engine *engine)
{
	pthread_mutex_lock(&engine->mutex);
	const struct tokenizer *tokenizer = engine_is_loaded(engine) ? engine->tokenizer : NULL;
	pthread_mutex_unlock(&engine->mutex);
	return tokenizer;
}
