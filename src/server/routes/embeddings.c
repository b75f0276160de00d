/* POST /v1/embeddings, and Ollama's /api/embed and /api/embeddings: each text is a request of its own to the engine, a
 * few at a time, so that short ones share steps and a long list leaves the queue to others, too. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/json.h"
#include "base/platform.h"
#include "server/dialects/openai_embeddings.h"
#include "server/server_private.h"

enum { AT_ONCE = 8 };

/* One exchange's work. */
struct work {
	struct exchange *exchange;
	enum embeddings_form form;
	struct engine_status status;
	struct embeddings_asked asked;
	struct stream *streams[AT_ONCE]; /* of input i at i % AT_ONCE; NULL: none */
	size_t n_submitted, n_done;
	int64_t n_tokens;
	int retry_after_s;
	struct bytes body;
};

static bool submit(struct work *work, const struct embeddings_input *input, struct error *error)
{
	struct exchange *exchange = work->exchange;
	struct engine *engine = exchange->server->engine;
	const struct tokenizer *tokenizer = engine_tokenizer(engine);
	struct token_ids encoded = {0};
	const struct key_access *access = &exchange->access;
	struct request request = {.owner = access->owner,
	                          .account = access->account ? &access->account->account : NULL,
	                          .max_of_owner = access->max_requests,
	                          .cache_key = exchange->cache_key,
	                          .embeds = true,
	                          .priority = access->max_priority < 0 ? access->max_priority : 0,
	                          .comes_again = true,
	                          .goes_on = work->n_submitted > 0};
	uint64_t number;
	if (!tokenizer || !random_bytes(&number, sizeof number))
		return error_set(error, tokenizer ? ERROR_INTERNAL : ERROR_LOADING, "%s",
		                 tokenizer ? "the kernel gives no random numbers" : "the model is still loading");
	if (input->text &&
	    !tokenizer_encode(tokenizer, input->text, input->n_bytes, TOKENIZER_ADD_SPECIAL, &encoded, error))
		return false;
	snprintf(request.request_id, sizeof request.request_id, "%s", exchange->request_id);
	snprintf(request.job_id, sizeof request.job_id, "emb-%016" PRIx64, number);
	request.prompt = input->text ? encoded.ids : input->ids;
	request.n_prompt = (int64_t)(input->text ? encoded.n_ids : input->n_ids);
	struct stream *stream = NULL;
	const char *field = embeddings_field(work->form);
	if (request.n_prompt == 0)
		error_set(error, ERROR_INVALID_REQUEST, "a text of %s has no tokens", field);
	else
		stream = engine_submit(engine, &request, &work->retry_after_s, error);
	if (request.n_prompt == 0 || (!stream && error->code == ERROR_CONTEXT_LENGTH))
		error_blame(error, field);
	token_ids_free(&encoded);
	work->streams[work->n_submitted % AT_ONCE] = stream;
	work->n_submitted += stream != NULL;
	return stream != NULL;
}

/* As many as may be under way. A full queue counts only when nothing of ours is in it. */
static bool submit_some(struct work *work, struct error *error)
{
	while (work->n_submitted < work->asked.n_inputs && work->n_submitted - work->n_done < AT_ONCE) {
		if (submit(work, &work->asked.inputs[work->n_submitted], error))
			continue;
		if (error->code != ERROR_QUEUE_FULL || work->n_submitted == work->n_done)
			return false;
		*error = (struct error){0};
		break;
	}
	return true;
}

/* The oldest one's vector. False with *error; with code NONE when the client is gone. */
static bool take_next(struct work *work, struct error *error)
{
	struct stream **place = &work->streams[work->n_done % AT_ONCE];
	struct event event = {.type = EVENT_STARTED};
	while (event.type != EVENT_END && event.type != EVENT_ERROR)
		if (!stream_next(*place, &event) && exchange_wait(work->exchange, stream_fd(*place), -1) == WAIT_GONE)
			return false;
	if (event.type == EVENT_ERROR) {
		*error = event.error;
		return false;
	}
	embeddings_add(&work->body, &work->asked, work->n_done, event.embedding);
	work->n_tokens += event.prompt_tokens;
	work->n_done++;
	stream_close(*place);
	*place = NULL;
	return true;
}

/* Between two texts the engine may have nothing to do: the process does not end there. */
static bool embed_inputs(struct work *work, struct error *error)
{
	atomic_int *n_in_parts = &work->exchange->server->n_in_parts;
	bool ok = true;
	atomic_fetch_add(n_in_parts, 1);
	while (ok && work->n_done < work->asked.n_inputs)
		ok = submit_some(work, error) && take_next(work, error);
	atomic_fetch_sub(n_in_parts, 1);
	return ok;
}

/* Each text counts, as it does where it is computed. */
static void count_rejected(const struct work *work)
{
	const struct key_access *access = &work->exchange->access;
	engine_count_rejected(work->exchange->server->engine, access->account ? &access->account->account : NULL,
	                      (int)(work->asked.n_inputs - work->n_submitted));
}

static bool embed_all(struct work *work, struct error *error)
{
	embeddings_begin(&work->body, &work->asked);
	if (!embed_inputs(work, error))
		return false;
	embeddings_end(&work->body, &work->asked, work->status.model_name, work->n_tokens,
	               clock_ns() - work->exchange->started_ns);
	return true;
}

static enum MHD_Result answer(struct work *work, const struct json *document)
{
	struct exchange *exchange = work->exchange;
	struct error error = {0};
	struct field_checker check;
	enum MHD_Result result;
	field_checker_init(&check, document);
	int64_t n = work->status.embedding_size > 0 ? work->status.embedding_size : EMBEDDINGS_MAX_NUMBERS;
	bool ok = embeddings_parse(&check, work->form, work->status.vocab_size, n, &work->asked, &error) &&
	          server_serves_model(exchange->server, work->asked.model, work->status.model_name, &error) &&
	          key_may_spend(&exchange->access, clock_ns(), &work->retry_after_s, &error) && embed_all(work, &error);
	for (int i = 0; i < AT_ONCE; i++)
		stream_close(work->streams[i]);
	if (!ok && error.code == ERROR_QUEUE_FULL)
		count_rejected(work);
	if (ok)
		result = respond_json(exchange, 200, &work->body);
	else if (error.code != ERROR_NONE)
		result = respond_error(exchange, &error, work->retry_after_s);
	else
		result = check.n_errors > 0 ? respond_bad_fields(exchange, &check) : MHD_NO; /* the client is gone */
	if (!ok)
		bytes_free(&work->body);
	embeddings_free(&work->asked);
	field_checker_free(&check);
	return result;
}

static enum MHD_Result embed(struct exchange *exchange, enum embeddings_form form)
{
	struct error error = {0};
	struct engine *engine = exchange->server->engine;
	struct work work = {.exchange = exchange, .form = form};
	engine_status(engine, &work.status);
	if (server_is_draining(exchange->server, &work.status))
		error_set(&error, ERROR_SHUTTING_DOWN, "the worker is shutting down");
	else if (!engine_tokenizer(engine))
		error_set(&error, ERROR_LOADING, "the model is still loading");
	if (error.code != ERROR_NONE)
		return respond_error(exchange, &error, engine_retry_after(engine));
	struct json *document =
	    request_parse(exchange->body.data, exchange->body.n_bytes, work.status.context_length, &error);
	if (!document)
		return respond_error(exchange, &error, 0);
	exchange_drop_body(exchange); /* the document is a copy */
	enum MHD_Result result = answer(&work, document);
	json_destroy(document);
	return result;
}

enum MHD_Result handle_embeddings(struct exchange *exchange)
{
	return embed(exchange, EMBEDDINGS_OPENAI);
}

enum MHD_Result handle_ollama_embed(struct exchange *exchange)
{
	return embed(exchange, EMBEDDINGS_OLLAMA);
}

enum MHD_Result handle_ollama_embeddings(struct exchange *exchange)
{
	return embed(exchange, EMBEDDINGS_OLLAMA_ONE);
}
