/* A generation from the validated request to the engine's stream (reply.h). */
#include "server/reply.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/json.h"
#include "base/platform.h"
#include "server/server_private.h"
#include "server/sse.h"

/* A chosen seed has at most 53 bits, so that it survives clients whose numbers are doubles; a given one has all 64. */
static bool choose_seed(uint64_t *seed)
{
	if (!random_bytes(seed, sizeof(*seed)))
		return false;
	*seed >>= 11;
	return true;
}

static bool choose_job_id(char *job_id, size_t n_bytes)
{
	uint64_t number;
	if (!random_bytes(&number, sizeof(number)))
		return false;
	snprintf(job_id, n_bytes, "job-%016" PRIx64, number);
	return true;
}

static char *copy_bytes(const char *text, size_t n_bytes)
{
	char *copy = malloc(n_bytes + 1);
	if (copy) {
		memcpy(copy, text, n_bytes);
		copy[n_bytes] = '\0';
	}
	return copy;
}

/* What outlives the request's document. */
static struct reply *reply_create(const struct execute_request *request, const char *model, struct error *error)
{
	struct reply *reply = calloc(1, sizeof(*reply));
	if (!reply)
		goto no_memory;
	reply->stop_matched = -1;
	reply->seed = request->sampling.seed;
	reply->model = strdup(model ? model : "");
	if (!reply->model)
		goto no_memory;
	for (int i = 0; i < request->n_stops; i++) {
		reply->stops[i] = copy_bytes(request->stops[i].text, request->stops[i].n_bytes);
		reply->n_stop_bytes[i] = request->stops[i].n_bytes;
		if (!reply->stops[i])
			goto no_memory;
	}
	bytes_append(&reply->ignored, request->ignored.data, request->ignored.n_bytes);
	if (reply->ignored.failed)
		goto no_memory;
	if (request->job_id)
		memcpy(reply->job_id, request->job_id, request->n_job_id_bytes);
	if ((!request->job_id && !choose_job_id(reply->job_id, sizeof(reply->job_id))) ||
	    (!request->has_seed && !choose_seed(&reply->seed))) {
		error_set(error, ERROR_INTERNAL, "the kernel gives no random numbers");
		reply_destroy(reply);
		return NULL;
	}
	return reply;

no_memory:
	error_set(error, ERROR_INTERNAL, "no memory for the request");
	reply_destroy(reply);
	return NULL;
}

/* A deadline beyond what the clock can hold is none. */
static int64_t deadline_of(const struct execute_request *request, int64_t received_ns)
{
	int64_t nanoseconds, deadline_ns;
	if (request->deadline_ms == 0 || __builtin_mul_overflow(request->deadline_ms, 1000000, &nanoseconds) ||
	    __builtin_add_overflow(received_ns, nanoseconds, &deadline_ns))
		return 0;
	return deadline_ns;
}

struct reply *reply_submit(const struct exchange *exchange, const struct execute_request *request, int *retry_after_s,
                           struct error *error)
{
	struct engine *engine = exchange->server->engine;
	struct engine_status status;
	engine_status(engine, &status);
	struct reply *reply = reply_create(request, status.model_name, error);
	if (!reply)
		return NULL;

	struct token_ids prompt = {0};
	unsigned flags = TOKENIZER_ADD_SPECIAL | TOKENIZER_PROMPT | (request->parse_special ? TOKENIZER_PARSE_SPECIAL : 0);
	const struct tokenizer *tokenizer = engine_tokenizer(engine);
	if (!tokenizer) {
		error_set(error, ERROR_LOADING, "the model is still loading");
		goto fail;
	}
	if (!tokenizer_encode(tokenizer, request->prompt, request->n_prompt_bytes, flags, &prompt, error))
		goto fail;
	if (prompt.n_ids == 0) {
		error_set(error, ERROR_INVALID_REQUEST, "the prompt has no tokens");
		goto fail;
	}

	struct request work = {
	    .prompt = prompt.ids,
	    .n_prompt = (int64_t)prompt.n_ids,
	    .max_tokens = request->max_tokens,
	    .sampling = request->sampling,
	    .n_stops = request->n_stops,
	    .ignore_eos = request->ignore_eos,
	    .priority = (int)request->priority,
	    .deadline_ns = deadline_of(request, exchange->started_ns),
	    .cache_key = exchange->cache_key,
	};
	snprintf(work.request_id, sizeof(work.request_id), "%s", exchange->request_id);
	memcpy(work.job_id, reply->job_id, sizeof(work.job_id));
	work.sampling.seed = reply->seed;
	memcpy(work.stops, request->stops, sizeof(work.stops));
	reply->stream = engine_submit(engine, &work, retry_after_s, error);
	if (!reply->stream)
		goto fail;
	token_ids_free(&prompt);
	return reply;

fail:
	token_ids_free(&prompt);
	reply_destroy(reply);
	return NULL;
}

void reply_destroy(struct reply *reply)
{
	if (!reply)
		return;
	if (reply->stream)
		stream_close(reply->stream);
	for (int i = 0; i < STOP_MAX_STRINGS; i++)
		free(reply->stops[i]);
	free(reply->model);
	bytes_free(&reply->ignored);
	bytes_free(&reply->backlog);
	free(reply);
}

void reply_note(struct reply *reply, const struct event *event)
{
	switch (event->type) {
	case EVENT_STARTED:
		reply->started = true;
		reply->started_unix_ms = event->started_unix_ms;
		reply->prompt_tokens = event->prompt_tokens;
		reply->cached_tokens = event->cached_tokens;
		break;
	case EVENT_TOKEN:
		reply->tokens_out = event->index + 1;
		break;
	case EVENT_END:
		reply->finished = true;
		reply->tokens_out = event->completion_tokens;
		reply->cached_tokens = event->cached_tokens;
		reply->stop_reason = event->stop_reason;
		reply->stop_matched = event->stop_matched;
		reply->queue_ms = event->queue_ms;
		reply->prefill_ms = event->prefill_ms;
		reply->decode_ms = event->decode_ms;
		reply->time_to_first_token_ms = event->time_to_first_token_ms;
		reply->tokens_per_second = event->tokens_per_second;
		break;
	case EVENT_ERROR:
		reply->finished = true;
		reply->error = event->error;
		break;
	}
}

void reply_pull(struct reply *reply, struct bytes *out, size_t max_bytes)
{
	struct event event;
	while (!reply->finished && out->n_bytes < max_bytes && stream_next(reply->stream, &event)) {
		reply_note(reply, &event);
		sse_event(out, reply, &event);
	}
}

/* Microseconds are as fine as anyone reads them. */
static void field_rounded(struct bytes *out, const char *key, double value)
{
	json_field_double(out, key, round(value * 1000) / 1000);
}

void reply_write_usage(const struct reply *reply, struct bytes *out)
{
	json_field_key(out, "usage");
	json_open(out);
	json_field_int(out, "prompt_tokens", reply->prompt_tokens);
	json_field_int(out, "completion_tokens", reply->tokens_out);
	json_field_int(out, "total_tokens", reply->prompt_tokens + reply->tokens_out);
	json_field_int(out, "cached_tokens", reply->cached_tokens);
	json_close(out);
	json_field_key(out, "timings");
	json_open(out);
	field_rounded(out, "queue_ms", reply->queue_ms);
	field_rounded(out, "prefill_ms", reply->prefill_ms);
	field_rounded(out, "decode_ms", reply->decode_ms);
	field_rounded(out, "time_to_first_token_ms", reply->time_to_first_token_ms);
	field_rounded(out, "tokens_per_second", reply->tokens_per_second);
	json_close(out);
}

void reply_write_whole(const struct reply *reply, const struct bytes *text, struct bytes *out)
{
	char started_at[32];
	clock_rfc3339(reply->started_unix_ms, started_at);
	json_open(out);
	json_field_text(out, "job_id", reply->job_id);
	json_field_text(out, "model", reply->model);
	json_field_text(out, "started_at", started_at);
	json_field_string(out, "text", text->data ? text->data : "", text->n_bytes);
	json_field_int(out, "tokens_out", reply->tokens_out);
	json_field_int(out, "decode_time_ms", llround(reply->decode_ms));
	json_field_text(out, "stop_reason", stop_reason_name(reply->stop_reason));
	if (reply->stop_matched >= 0)
		json_field_string(out, "stop_sequence_matched", reply->stops[reply->stop_matched],
		                  reply->n_stop_bytes[reply->stop_matched]);
	json_field_uint(out, "seed", reply->seed);
	reply_write_usage(reply, out);
	if (reply->ignored.n_bytes > 0) {
		json_field_key(out, "ignored");
		bytes_append(out, reply->ignored.data, reply->ignored.n_bytes);
	}
	json_close(out);
}
