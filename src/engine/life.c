/* The engine's life: made, started, drained, stopped, freed; and its thread, from loading to the last step. */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/platform.h"
#include "engine/engine_private.h"
#include "text/chat_template.h"

enum {
	DEFAULT_MAX_QUEUE = 64,
	DEFAULT_MAX_QUEUED_TOKENS = 1000000,
	DEFAULT_MAX_TOKENS = 2048,
	DEFAULT_MAX_GAP_MS = 250,
};

/* ---- creation ---- */

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
	engine->model_options = *options->model;
	engine->path = strdup(options->model->path);
	engine->name = options->name && *options->name ? strdup(options->name) : model_files_name(options->model->path);
	engine->template_path = options->chat_template ? strdup(options->chat_template) : NULL;
	engine->model_options.path = engine->path;
	engine->options.model = &engine->model_options;
	engine->options.chat_template = engine->template_path;
	engine->created_ns = clock_ns();
	struct engine_options *set = &engine->options;
	set->max_queue = set->max_queue ? set->max_queue : DEFAULT_MAX_QUEUE;
	set->max_queued_tokens = set->max_queued_tokens ? set->max_queued_tokens : DEFAULT_MAX_QUEUED_TOKENS;
	set->max_tokens = set->max_tokens ? set->max_tokens : DEFAULT_MAX_TOKENS;
	set->max_gap_ms = set->max_gap_ms ? set->max_gap_ms : DEFAULT_MAX_GAP_MS;
	if (!engine->path || !engine->name || (options->chat_template && !engine->template_path)) {
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

/* ---- the thread ---- */

static void *engine_main(void *argument)
{
	struct engine *engine = argument;
	struct error error = {0};
	platform_name_thread("engine");
	if (!engine_load(engine, &error)) {
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
	engine_serve(engine);
	return NULL;
}

bool engine_start(struct engine *engine, struct error *error)
{
	sigset_t old;
	set_state(engine, ENGINE_LOADING);
	/* Signals are main's business. */
	platform_block_signals(&old);
	int failed = pthread_create(&engine->thread, NULL, engine_main, engine);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (failed)
		return error_set(error, ERROR_MEMORY, "cannot start the engine's thread: %s", strerror(failed));
	engine->thread_runs = true;
	return true;
}

void engine_leave(struct engine *engine)
{
	pthread_mutex_lock(&engine->mutex);
	engine->leaving = true;
	pthread_mutex_unlock(&engine->mutex);
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
	atomic_store(&engine->hurry, true);
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
	catch_up_clear(engine);
	scheduler_destroy(engine->scheduler);
	sampler_destroy(engine->sampler);
	masker_destroy(engine->masker);
	free(engine->constrained);
	free(engine->kept_logits);
	grammar_vocabulary_destroy(engine->vocabulary);
	free(engine->sequences);
	free(engine->spans);
	free(engine->span_owners);
	prefix_cache_destroy(engine->cache);
	model_close(engine->model);
	model_files_close(engine->files);
	chat_template_destroy(engine->chat_template);
	tokenizer_destroy(engine->tokenizer);
	pthread_cond_destroy(&engine->work);
	pthread_cond_destroy(&engine->changed);
	pthread_mutex_destroy(&engine->mutex);
	free(engine->path);
	free(engine->name);
	free(engine->template_path);
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
