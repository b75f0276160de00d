/* A generation from the checked request to the engine's stream, and its events (generation.h). */
#include "server/generation/generation.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "server/generation/constraints.h"
#include "server/generation/history.h"
#include "text/chat_template.h"

struct kept_token {
	int64_t index;
	size_t n_text_bytes;
	int32_t token;
};

bool generation_make_choices(struct generation *generation, int n_choices, struct error *error)
{
	struct choice *choices = arena_array(&generation->arena, (size_t)n_choices, sizeof *choices);
	if (!choices)
		return error_set(error, ERROR_MEMORY, "no memory for %d choices", n_choices);
	for (int i = 0; i < n_choices; i++) {
		choices[i].stop_matched = -1;
		for (int j = 0; j < GENERATION_NOTES; j++)
			choices[i].notes[j].max_bytes = GENERATION_NOTES_BYTES;
	}
	generation->choices = choices;
	generation->n_choices = generation->per_prompt = n_choices;
	return true;
}

struct generation *generation_create(struct error *error)
{
	struct generation *generation = calloc(1, sizeof *generation);
	if (!generation) {
		error_set(error, ERROR_MEMORY, "no memory for the request");
		return NULL;
	}
	generation->stop_matched = -1;
	generation->model = "";
	if (!generation_make_choices(generation, 1, error)) {
		generation_destroy(generation);
		return NULL;
	}
	return generation;
}

static void free_prompts(struct generation *generation)
{
	for (int i = 0; i < generation->n_prompts; i++)
		token_ids_free(&generation->prompts[i].ids);
	generation->n_prompts = 0;
}

/* Whether there is a whole answer, be it still to be given. */
static bool is_answered(const struct generation *generation)
{
	const struct backlog *backlog = &generation->backlog;
	return generation->finished ? generation->error.code == ERROR_NONE
	                            : backlog->has_last && backlog->last.type == EVENT_END;
}

void generation_end_running(struct generation *generation)
{
	if (generation->running)
		running_end(generation->running, generation->running_place, is_answered(generation));
	generation->running = NULL;
}

void generation_destroy(struct generation *generation)
{
	if (!generation)
		return;
	generation_end_running(generation);
	free_prompts(generation);
	grammar_destroy(generation->grammar);
	if (generation->stream)
		stream_close(generation->stream);
	bytes_free(&generation->backlog.tokens);
	bytes_free(&generation->backlog.text);
	for (int i = 0; i < generation->n_choices * GENERATION_NOTES; i++)
		bytes_free(&generation->choices[i / GENERATION_NOTES].notes[i % GENERATION_NOTES]);
	bytes_free(&generation->telling.name);
	bytes_free(&generation->telling.text);
	bytes_free(&generation->telling.items);
	for (int i = 0; i < generation->n_choices; i++)
		answer_reader_destroy(generation->choices[i].reader);
	json_destroy(generation->asked.made_conversation);
	arena_free(&generation->arena);
	free(generation);
}

/* ---- submitting ---- */

/* A chosen seed has at most 53 bits, so that it survives clients whose numbers are doubles; a given one has all 64. */
static bool choose_seed(uint64_t *seed)
{
	if (!random_bytes(seed, sizeof *seed))
		return false;
	*seed >>= 11;
	return true;
}

static bool choose_job_id(char *job_id, size_t n_bytes)
{
	uint64_t number;
	if (!random_bytes(&number, sizeof number))
		return false;
	snprintf(job_id, n_bytes, "job-%016" PRIx64, number);
	return true;
}

static bool choose_what_is_open(struct generation *generation, struct error *error)
{
	const struct asked *asked = &generation->asked;
	generation->seed = asked->sampling.seed;
	if (asked->job_id)
		snprintf(generation->job_id, sizeof generation->job_id, "%s", asked->job_id);
	if ((!asked->job_id && !choose_job_id(generation->job_id, sizeof generation->job_id)) ||
	    (!asked->has_seed && !choose_seed(&generation->seed)))
		return error_set(error, ERROR_INTERNAL, "the kernel gives no random numbers");
	return true;
}

/* A deadline beyond what the clock can hold is none. */
static int64_t deadline_of(int64_t deadline_ms, int64_t received_ns)
{
	int64_t nanoseconds, deadline_ns;
	if (deadline_ms == 0 || __builtin_mul_overflow(deadline_ms, 1000000, &nanoseconds) ||
	    __builtin_add_overflow(received_ns, nanoseconds, &deadline_ns))
		return 0;
	return deadline_ns;
}

/* With the calls and results of tools as this template takes them. */
static bool render(const struct chat_template *chat, const struct json *conversation, struct rendering *out,
                   struct error *error)
{
	static const struct template_limits defaults;
	bool with_tools = json_count(json_get(conversation, "tools")) > 0;
	const struct tool_format *tools = chat_template_answers(chat, with_tools).tools;
	struct history_style style = {
	    .calls = chat_template_calls(chat, with_tools),
	    .id_prefix = tools->id_prefix,
	    .id_characters = tools->id_characters,
	};
	struct json *made;
	bool ok = history_prepare(conversation, &style, &made, error) &&
	          chat_template_render(chat, made ? made : conversation, template_time_now(), &defaults, out, error);
	json_destroy(made);
	return ok;
}

bool generation_render(struct engine *engine, const struct json *conversation, struct rendering *out,
                       struct error *error)
{
	const struct chat_template *chat = engine_chat_template(engine, error);
	return chat && render(chat, conversation, out, error);
}

bool generation_encode_chat(struct engine *engine, const struct json *conversation, bool parse_special,
                            const struct asked_answer *asked, struct answer_reading *reading, struct token_ids *ids,
                            struct error *error)
{
	const struct tokenizer *tokenizer = engine_tokenizer(engine);
	const struct chat_template *chat = engine_chat_template(engine, error);
	struct rendering rendering = {0};
	if (!tokenizer)
		return error_set(error, ERROR_LOADING, "the model is still loading");
	bool ok = chat && render(chat, conversation, &rendering, error) &&
	          (parse_special
	               ? tokenizer_encode(tokenizer, rendering.text, rendering.n_bytes, TOKENIZER_PARSE_SPECIAL, ids, error)
	               : tokenizer_encode_marked(tokenizer, &rendering, ids, error));
	if (ok && reading)
		answers_prepare(asked, chat, &rendering, reading);
	rendering_free(&rendering);
	return ok;
}

static bool copy_tokens(const struct asked_prompt *asked, struct token_ids *ids, struct error *error)
{
	ids->ids = malloc(asked->n_tokens * sizeof *ids->ids);
	if (!ids->ids)
		return error_set(error, ERROR_MEMORY, "no memory for the request");
	memcpy(ids->ids, asked->tokens, asked->n_tokens * sizeof *ids->ids);
	ids->n_ids = ids->capacity = asked->n_tokens;
	return true;
}

static bool encode_text(const struct asked_prompt *asked, bool parse_special, struct engine *engine,
                        struct token_ids *ids, struct error *error)
{
	unsigned flags = TOKENIZER_ADD_SPECIAL | TOKENIZER_PROMPT | (parse_special ? TOKENIZER_PARSE_SPECIAL : 0);
	const struct tokenizer *tokenizer = engine_tokenizer(engine);
	if (!tokenizer)
		return error_set(error, ERROR_LOADING, "the model is still loading");
	return tokenizer_encode(tokenizer, asked->text, asked->n_bytes, flags, ids, error);
}

static bool no_tokens(const struct generation *generation, struct error *error)
{
	error_set(error, ERROR_INVALID_REQUEST, "the prompt has no tokens");
	return error_blame(error, generation->asked.prompt_field);
}

static bool encode_prompt(struct generation *generation, const struct asked_prompt *asked, struct engine *engine,
                          struct prompt *prompt, struct error *error)
{
	bool parse_special = generation->asked.parse_special;
	bool ok = asked->text ? encode_text(asked, parse_special, engine, &prompt->ids, error)
	                      : copy_tokens(asked, &prompt->ids, error);
	if (!ok)
		return false;
	if (generation->asked.echoes_prompt && asked->text) {
		prompt->text = arena_strdup(&generation->arena, asked->text, asked->n_bytes);
		prompt->n_text_bytes = asked->n_bytes;
		if (!prompt->text)
			return error_set(error, ERROR_MEMORY, "no memory for the request");
	}
	return prompt->ids.n_ids > 0 || no_tokens(generation, error);
}

static bool encode_prompts(struct generation *generation, struct engine *engine, struct error *error)
{
	const struct asked *asked = &generation->asked;
	struct asked_prompt only = {asked->prompt, asked->n_prompt_bytes, asked->prompt_tokens, asked->n_prompt_tokens};
	int n = asked->n_prompts > 0 ? asked->n_prompts : 1;
	generation->prompts = arena_array(&generation->arena, (size_t)n, sizeof *generation->prompts);
	if (!generation->prompts)
		return error_set(error, ERROR_MEMORY, "no memory for the request");
	generation->n_prompts = n;
	if (asked->conversation)
		return generation_encode_chat(engine, asked->conversation, asked->parse_special, &asked->answer,
		                              &generation->reading, &generation->prompts[0].ids, error) &&
		       (generation->prompts[0].ids.n_ids > 0 || no_tokens(generation, error));
	for (int i = 0; i < n; i++)
		if (!encode_prompt(generation, asked->n_prompts > 0 ? &asked->prompts[i] : &only, engine,
		                   &generation->prompts[i], error))
			return false;
	return true;
}

/* Each choice of a stream has a reader of its own. */
static bool prepare_readers(struct generation *generation, struct error *error)
{
	const struct asked *asked = &generation->asked;
	bool reads = asked->answer.reads && (asked->stream || asked->answer.follows);
	for (int i = 0; reads && i < generation->n_choices; i++) {
		generation->choices[i].reader = answer_reader_create(&generation->reading, error);
		if (!generation->choices[i].reader)
			return false;
	}
	return true;
}

static bool name_model(struct generation *generation, struct engine *engine, struct error *error)
{
	struct engine_status status;
	engine_status(engine, &status);
	const char *name = status.model_name ? status.model_name : "";
	generation->model = arena_strdup(&generation->arena, name, strlen(name));
	generation->fingerprint = status.fingerprint;
	return generation->model || error_set(error, ERROR_MEMORY, "no memory for the request");
}

/* What all choices are asked for. */
static void fill_work(const struct generation *generation, const struct sender *sender, struct request *work)
{
	const struct asked *asked = &generation->asked;
	*work = (struct request){
	    .owner = sender->owner,
	    .account = sender->account,
	    .max_of_owner = sender->max_requests,
	    .max_tokens = asked->max_tokens,
	    .fit_pool = asked->fit_pool,
	    .sampling = asked->sampling,
	    .n_stops = asked->n_stops,
	    .ignore_eos = asked->ignore_eos,
	    .prompt_only = asked->prompt_only,
	    .whole = asked->constraint.whole && !asked->prompt_only,
	    .priority = (int)(asked->priority < sender->max_priority ? asked->priority : sender->max_priority),
	    .deadline_ns = deadline_of(asked->deadline_ms, sender->received_ns),
	    .cache_key = sender->cache_key,
	};
	snprintf(work->request_id, sizeof work->request_id, "%s", sender->request_id);
	memcpy(work->job_id, generation->job_id, sizeof work->job_id);
	work->sampling.seed = generation->seed;
	memcpy(work->stops, asked->stops, sizeof work->stops);
	answers_show(&generation->reading, generation->tokenizer, work);
}

/* The log-probabilities of a prompt come from its first choice alone. */
static void submit(struct generation *generation, const struct sender *sender, struct engine *engine,
                   int *retry_after_s, struct error *error)
{
	struct grammar *grammars[ENGINE_MAX_CHOICES] = {NULL};
	struct request *work = malloc((size_t)generation->n_choices * sizeof *work);
	if (!work)
		error_set(error, ERROR_MEMORY, "no memory for %d choices", generation->n_choices);
	if (!work || !constraints_multiply(generation, grammars, error)) {
		free(work);
		return;
	}
	for (int i = 0; i < generation->n_choices; i++) {
		const struct token_ids *ids = &generation->prompts[i / generation->per_prompt].ids;
		fill_work(generation, sender, &work[i]);
		work[i].prompt = ids->ids;
		work[i].n_prompt = (int64_t)ids->n_ids;
		work[i].choice = (uint32_t)(i % generation->per_prompt);
		work[i].grammar = grammars[i];
		work[i].prompt_logprobs = generation->asked.echoes_prompt && generation->asked.logprobs && work[i].choice == 0;
	}
	generation->stream = engine_submit_all(engine, work, generation->n_choices, retry_after_s, error);
	for (int i = 0; i < generation->n_choices && !generation->stream; i++)
		grammar_destroy(grammars[i]);
	free(work);
}

static bool make_choices(struct generation *generation, struct error *error)
{
	int per_prompt = generation->asked.n_choices > 1 ? generation->asked.n_choices : 1;
	int n_choices = per_prompt * generation->n_prompts;
	if (n_choices > 1 && !generation_make_choices(generation, n_choices, error))
		return false;
	generation->per_prompt = per_prompt;
	return true;
}

/* The field that an error is about, as far as its code tells. */
static const char *field_of(const struct asked *asked, enum error_code code)
{
	if (code == ERROR_CONTEXT_LENGTH || code == ERROR_TEMPLATE)
		return asked->prompt_field;
	if (code == ERROR_CONSTRAINT)
		return asked->constraint.wanted && !asked->answer.must_call ? asked->constraint.field : "tools";
	return NULL;
}

bool generation_submit(struct generation *generation, const struct sender *sender, struct engine *engine,
                       int *retry_after_s, struct error *error)
{
	struct asked *asked = &generation->asked;
	generation->owner = sender->owner;
	snprintf(generation->request_id, sizeof generation->request_id, "%s", sender->request_id);
	generation->tokenizer = engine_tokenizer(engine);
	asked->answer.is_held = constraints_hold(asked);
	if (choose_what_is_open(generation, error) && name_model(generation, engine, error) &&
	    encode_prompts(generation, engine, error) && constraints_prepare(generation, error) &&
	    make_choices(generation, error) && prepare_readers(generation, error))
		submit(generation, sender, engine, retry_after_s, error);
	if (!generation->stream && !error->field[0])
		error_blame(error, field_of(asked, error->code));
	if (!asked->echoes_prompt)
		free_prompts(generation);
	asked->prompts = NULL;
	asked->prompt = NULL;
	asked->prompt_tokens = NULL;
	asked->conversation = NULL;
	json_destroy(asked->made_conversation);
	asked->made_conversation = NULL;
	return generation->stream != NULL;
}

/* ---- events ---- */

int generation_fd(const struct generation *generation)
{
	return stream_fd(generation->stream);
}

/* Another choice, which tells of the same prompt, comes before it. */
static bool repeats_prompt(const struct generation *generation, int choice)
{
	return generation->per_prompt > 1 && choice % generation->per_prompt > 0;
}

static void note_started(struct generation *generation, struct choice *choice, const struct event *event)
{
	if (!generation->started)
		generation->started_unix_ms = event->started_unix_ms;
	generation->started = true;
	if (repeats_prompt(generation, event->choice))
		return;
	choice->prompt_tokens = event->prompt_tokens;
	choice->cached_tokens = event->cached_tokens;
	generation->prompt_tokens += choice->prompt_tokens;
	generation->cached_tokens += choice->cached_tokens;
}

static void note_end(struct generation *generation, struct choice *choice, const struct event *event)
{
	bool finished = true;
	choice->finished = true;
	choice->stop_reason = generation->stop_reason = event->stop_reason;
	choice->stop_matched = generation->stop_matched = event->stop_matched;
	generation->tokens_out += event->completion_tokens - choice->tokens_out;
	choice->tokens_out = event->completion_tokens;
	if (!repeats_prompt(generation, event->choice)) {
		generation->cached_tokens += event->cached_tokens - choice->cached_tokens;
		choice->cached_tokens = event->cached_tokens;
	}
	generation->queue_ms = event->queue_ms;
	generation->prefill_ms = event->prefill_ms;
	generation->decode_ms = event->decode_ms;
	generation->time_to_first_token_ms = event->time_to_first_token_ms;
	generation->tokens_per_second = event->tokens_per_second;
	for (int i = 0; i < generation->n_choices; i++)
		finished &= generation->choices[i].finished;
	generation->finished = finished;
}

void generation_note(struct generation *generation, const struct event *event)
{
	struct choice *choice = &generation->choices[event->choice];
	switch (event->type) {
	case EVENT_STARTED:
		note_started(generation, choice, event);
		break;
	case EVENT_TOKEN:
		generation->tokens_out += event->index + 1 - choice->tokens_out;
		choice->tokens_out = event->index + 1;
		choice->logprob += event->logprobs ? event->logprobs->logprob : 0;
		break;
	case EVENT_END:
		note_end(generation, choice, event);
		break;
	case EVENT_ERROR:
		generation->finished = true;
		generation->error = event->error;
		break;
	}
}

bool generation_notes_fit(const struct generation *generation, struct error *error)
{
	size_t n_bytes = 0;
	bool full = false;
	for (int i = 0; i < generation->n_choices; i++)
		for (int j = 0; j < GENERATION_NOTES; j++) {
			const struct bytes *notes = &generation->choices[i].notes[j];
			if (notes->failed && !notes->full)
				return error_set(error, ERROR_MEMORY, "no memory for the log-probabilities of this answer");
			n_bytes += notes->n_bytes;
			full |= notes->full;
		}
	return (!full && n_bytes <= GENERATION_NOTES_BYTES) ||
	       error_set(error, ERROR_INVALID_REQUEST,
	                 "the log-probabilities of this answer take more than the %d MiB that one object may have; ask for "
	                 "fewer, or for a stream",
	                 GENERATION_NOTES_BYTES >> 20);
}

static void keep(struct backlog *backlog, const struct event *event)
{
	if (event->type == EVENT_STARTED) {
		backlog->has_started = true;
		backlog->started = *event;
	} else if (event->type == EVENT_TOKEN) {
		struct kept_token token = {.index = event->index, .n_text_bytes = event->n_text_bytes, .token = event->token};
		bytes_append(&backlog->text, event->text, event->n_text_bytes);
		if (!backlog->text.failed) /* no token without its text */
			bytes_append(&backlog->tokens, &token, sizeof token);
	} else {
		backlog->has_last = true;
		backlog->last = *event;
	}
	if ((backlog->tokens.failed || backlog->text.failed) && !backlog->has_last) {
		backlog->has_last = true;
		backlog->last = (struct event){.type = EVENT_ERROR};
		error_set(&backlog->last.error, ERROR_MEMORY, "no memory for what was generated before the stream was opened");
	}
}

void generation_take_in(struct generation *generation)
{
	struct event event;
	while (!generation->finished && !generation->backlog.has_last && stream_next(generation->stream, &event))
		keep(&generation->backlog, &event);
	if (generation_has_ended(generation))
		generation_end_running(generation);
}

bool generation_has_ended(const struct generation *generation)
{
	return generation->finished || generation->backlog.has_last;
}

/* The oldest event that was kept. */
static bool give_again(struct backlog *backlog, struct event *event)
{
	if (backlog->has_started) {
		backlog->has_started = false;
		*event = backlog->started;
		return true;
	}
	if ((backlog->next_token + 1) * sizeof(struct kept_token) <= backlog->tokens.n_bytes) {
		struct kept_token token;
		memcpy(&token, backlog->tokens.data + backlog->next_token++ * sizeof token, sizeof token);
		*event = (struct event){.type = EVENT_TOKEN,
		                        .token = token.token,
		                        .index = token.index,
		                        .text = token.n_text_bytes > 0 ? backlog->text.data + backlog->next_text : "",
		                        .n_text_bytes = token.n_text_bytes};
		backlog->next_text += token.n_text_bytes;
		return true;
	}
	if (!backlog->has_last)
		return false;
	backlog->has_last = false;
	*event = backlog->last;
	return true;
}

bool generation_next(struct generation *generation, struct event *event)
{
	if (generation->finished || (!give_again(&generation->backlog, event) && !stream_next(generation->stream, event)))
		return false;
	generation_note(generation, event);
	return true;
}
