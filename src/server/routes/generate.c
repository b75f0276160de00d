/* Generations over HTTP (generate.h). A connection's thread waits on two descriptors at once, the engine's stream and
 * the client's socket, so a client that leaves is noticed whatever the generation is doing. */
#include "server/routes/generate.h"

#include "base/json.h"
#include "base/platform.h"
#include "server/dialects/dialect.h"

enum { OUT_FULL_BYTES = 16 << 10 };

/* ---- from the body to the engine ---- */

/* There is no tokenizer either when the engine stopped just now. */
static bool check_taking_work(struct server *server, const struct engine_status *status,
                              const struct tokenizer *tokenizer, struct error *error)
{
	if (status->state == ENGINE_CREATED || status->state == ENGINE_LOADING)
		return error_set(error, ERROR_LOADING, "the model is still loading");
	if (server_is_draining(server, status) || !tokenizer)
		return error_set(error, ERROR_SHUTTING_DOWN, "the worker is shutting down");
	return true;
}

/* False when the body is not good; then the answer is queued. */
static bool parse_body(struct exchange *exchange, const struct json *document, const struct request_limits *limits,
                       struct generation *generation, enum MHD_Result *result)
{
	struct error error = {0};
	struct field_checker check;
	field_checker_init(&check, document);
	bool good = exchange->dialect->parse(document, limits, generation, &check, &error);
	if (!good)
		*result = error.code != ERROR_NONE ? respond_error(exchange, &error, 0) : respond_bad_fields(exchange, &check);
	field_checker_free(&check);
	return good;
}

static bool check_model(struct exchange *exchange, const char *asked, const char *name, enum MHD_Result *result)
{
	struct error error;
	if (server_serves_model(exchange->server, asked, name, &error))
		return true;
	*result = respond_error(exchange, &error, 0);
	return false;
}

/* Whether the key has tokens left, and the jobs that wait a place; each choice of what there is no room for counts as
 * rejected. */
static bool check_limits(struct exchange *exchange, bool for_later, const struct asked *asked, struct account *account,
                         int *retry_after_s, struct error *error)
{
	struct server *server = exchange->server;
	const struct key_access *access = &exchange->access;
	if (for_later && !jobs_may_put(&server->jobs, access->owner, asked->job_id, error))
		*retry_after_s = error->code == ERROR_QUEUE_FULL ? engine_retry_after(server->engine) : 0;
	else if (key_may_spend(access, clock_ns(), retry_after_s, error))
		return true;
	int n_prompts = asked->n_prompts > 0 ? asked->n_prompts : 1,
	    n_choices = asked->n_choices > 1 ? asked->n_choices : 1;
	if (error->code == ERROR_QUEUE_FULL)
		engine_count_rejected(server->engine, account, n_prompts * n_choices);
	return false;
}

static bool submit(struct exchange *exchange, bool for_later, struct generation *generation, enum MHD_Result *result)
{
	const struct key_access *access = &exchange->access;
	struct sender sender = {.request_id = exchange->request_id,
	                        .owner = access->owner,
	                        .account = access->account ? &access->account->account : NULL,
	                        .max_requests = access->max_requests,
	                        .max_priority = access->max_priority,
	                        .cache_key = exchange->cache_key,
	                        .received_ns = exchange->started_ns};
	struct error error = {0};
	int retry_after_s = 0;
	if (check_limits(exchange, for_later, &generation->asked, sender.account, &retry_after_s, &error) &&
	    generation_submit(generation, &sender, exchange->server->engine, &retry_after_s, &error))
		return true;
	*result = respond_error(exchange, &error, retry_after_s);
	return false;
}

/* Answers a request that has nothing to generate, if it is one. */
static bool answer_load(struct exchange *exchange, struct generation *generation, const struct engine_status *status,
                        enum MHD_Result *result)
{
	if (!generation->asked.only_load)
		return false;
	struct bytes body = {0};
	generation->model = status->model_name;
	exchange->dialect->whole(generation, &(struct bytes){0}, &body);
	*result = respond_json(exchange, 200, &body);
	return true;
}

struct generation *generate_begin(struct exchange *exchange, bool for_later, enum MHD_Result *result)
{
	struct server *server = exchange->server;
	struct error error = {0};
	struct engine_status status;
	engine_status(server->engine, &status);
	const struct tokenizer *tokenizer = engine_tokenizer(server->engine);
	if (!check_taking_work(server, &status, tokenizer, &error)) {
		*result = respond_error(exchange, &error, engine_retry_after(server->engine));
		return NULL;
	}
	struct json *document = request_parse(exchange->body.data, exchange->body.n_bytes, status.context_length, &error);
	struct generation *generation = document ? generation_create(&error) : NULL;
	struct request_limits limits = {
	    .max_tokens = status.max_tokens,
	    .context = status.context_length,
	    .vocab_size = status.vocab_size,
	    .tokenizer = tokenizer,
	    .sampling = status.sampling,
	    .answers = server->answers,
	};
	if (!generation) {
		*result = respond_error(exchange, &error, 0);
	} else if (!parse_body(exchange, document, &limits, generation, result) ||
	           !check_model(exchange, generation->asked.model, status.model_name, result) ||
	           answer_load(exchange, generation, &status, result) || !submit(exchange, for_later, generation, result)) {
		generation_destroy(generation);
		generation = NULL;
	} else {
		/* It may run on when this exchange has ended, and its end is noted before the client can know it. */
		generation->running = server->running;
		generation->running_place = exchange->running_place;
		exchange->running_place = -1;
	}
	json_destroy(document);
	/* A stream may last for minutes; its prompt need not stay in memory. */
	exchange_drop_body(exchange);
	return generation;
}

/* ---- streamed ---- */

static void pull_generation(struct exchange *exchange)
{
	struct generation *generation = exchange->generation;
	struct event event;
	while (exchange->out.n_bytes < OUT_FULL_BYTES && generation_next(generation, &event))
		exchange->dialect->frame(generation, &event, &exchange->out);
	exchange->source.more =
	    exchange->out.n_bytes >= OUT_FULL_BYTES; /* events that were kept leave the stream's fd quiet */
	exchange->source.ended = generation->finished;
	if (generation->finished)
		generation_end_running(generation);
}

enum MHD_Result generate_stream(struct exchange *exchange, struct generation *generation)
{
	exchange->generation = generation;
	return respond_events(exchange, &(struct event_source){.fd = generation_fd(generation), .pull = pull_generation});
}

/* ---- whole ---- */

/* Appends what there is to the texts [n_choices]. */
static void take_texts(const struct dialect *dialect, struct generation *generation, struct bytes *texts)
{
	struct event event;
	while (generation_next(generation, &event)) {
		if (event.type == EVENT_TOKEN)
			bytes_append(&texts[event.choice], event.text, event.n_text_bytes);
		if (dialect->note)
			dialect->note(generation, &event);
	}
}

/* False when the client has gone: exchange_end closes the stream, which cancels it. */
static bool take_all(struct exchange *exchange, struct generation *generation, struct bytes *texts)
{
	while (!generation->finished) {
		if (exchange_wait(exchange, generation_fd(generation), -1) == WAIT_GONE)
			return false;
		take_texts(exchange->dialect, generation, texts);
		if (!generation_notes_fit(generation, &generation->error))
			return true;
	}
	return true;
}

enum MHD_Result generate_whole(struct exchange *exchange, struct generation *generation)
{
	struct bytes texts[ENGINE_MAX_CHOICES] = {0}, body = {0};
	enum MHD_Result result = MHD_NO;
	exchange->generation = generation;
	if (take_all(exchange, generation, texts)) {
		if (generation->error.code == ERROR_NONE)
			exchange->dialect->whole(generation, texts, &body);
		for (int i = 0; i < generation->n_choices; i++)
			body.failed |= texts[i].failed;
		generation_end_running(generation);
		result = generation->error.code == ERROR_NONE
		             ? respond_json(exchange, 200, &body)
		             : respond_error(exchange, &generation->error, engine_retry_after(exchange->server->engine));
	}
	for (int i = 0; i < generation->n_choices; i++)
		bytes_free(&texts[i]);
	return result;
}
