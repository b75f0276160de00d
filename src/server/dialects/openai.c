/* OpenAI's chat and text completions: events to chunks or one object, and errors as
 * `{"error":{"message","type","param","code"}}`. What requests may hold is in openai_request.c. */
#include "server/dialects/openai_request.h"

#include <string.h>

#include "server/dialects/constraint_fields.h"
#include "server/dialects/openai_answer.h"
#include "server/dialects/openai_echo.h"
#include "server/dialects/openai_logprobs.h"
#include "server/dialects/sse.h"

/* ---- errors ---- */

static const char *code_of(enum error_code code)
{
	switch (code) {
	case ERROR_CONTEXT_LENGTH:
		return "context_length_exceeded";
	case ERROR_UNAUTHORIZED:
		return "invalid_api_key";
	case ERROR_QUEUE_FULL:
		return "rate_limit_exceeded";
	case ERROR_UNKNOWN_MODEL:
		return "model_not_found";
	default:
		return NULL;
	}
}

static void write_error_object(const char *message, const char *type, const char *param, const char *code,
                               struct bytes *out)
{
	json_open(out);
	json_field_key(out, "error");
	json_open(out);
	json_field_text(out, "message", message);
	json_field_text(out, "type", type);
	json_field_text(out, "param", param);
	json_field_text(out, "code", code);
	json_close(out);
	json_close(out);
}

/* There is room for one: the first, which names its field. */
void openai_write_bad_fields(const struct field_checker *check, const char *request_id, struct bytes *body)
{
	(void)request_id;
	write_error_object(check->first_message, "invalid_request_error", check->first_field, NULL, body);
}

void openai_write_error(const struct error *error, const char *request_id, int retry_after_s,
                        struct error_answer *answer)
{
	(void)request_id;
	const struct error_info *info = error_info(error->code);
	answer->status = info->http_status;
	if (info->http_status == 429 || info->http_status == 503)
		answer->retry_after_s = retry_after_s > 0 ? retry_after_s : 1;
	write_error_object(error->message, info->openai_type, error->field[0] ? error->field : NULL, code_of(error->code),
	                   &answer->body);
}

/* ---- what both forms of an answer tell ---- */

static const char *finish_reason(const struct choice *choice, int n_calls)
{
	if (choice->stop_reason != STOP_EOS && choice->stop_reason != STOP_SEQUENCE)
		return "length";
	return n_calls > 0 ? "tool_calls" : "stop";
}

/* A generation's name is "job-" and digits: the same digits under OpenAI's prefix. */
static void write_head(const struct generation *generation, const char *prefix, const char *object, struct bytes *out)
{
	const char *dash = strchr(generation->job_id, '-');
	json_open(out);
	json_field_key(out, "id");
	bytes_append_format(out, "\"%s-%s\"", prefix, dash ? dash + 1 : generation->job_id);
	json_field_text(out, "object", object);
	json_field_int(out, "created", generation->started_unix_ms / 1000);
	json_field_text(out, "model", generation->model);
	if (generation->fingerprint)
		json_field_text(out, "system_fingerprint", generation->fingerprint);
}

static void write_usage(const struct generation *generation, struct bytes *out)
{
	json_field_key(out, "usage");
	json_open(out);
	json_field_int(out, "prompt_tokens", generation->prompt_tokens);
	json_field_int(out, "completion_tokens", generation->tokens_out);
	json_field_int(out, "total_tokens", generation->prompt_tokens + generation->tokens_out);
	json_field_key(out, "prompt_tokens_details");
	json_open(out);
	json_field_int(out, "cached_tokens", generation->cached_tokens);
	json_close(out);
	json_close(out);
}

/* `{"index":N,` and what ends it; logprobs NULL: there are none. */
static void open_choice(int index, struct bytes *out)
{
	json_open(out);
	json_field_int(out, "index", index);
}

static void close_choice(const struct bytes *logprobs, const char *reason, struct bytes *out)
{
	json_field_key(out, "logprobs");
	if (logprobs)
		bytes_append(out, logprobs->data, logprobs->n_bytes);
	else
		bytes_append_text(out, "null");
	json_field_text(out, "finish_reason", reason);
	json_close(out);
}

/* ---- streams ---- */

struct form {
	const char *prefix, *object; /* of a chunk */
	bool chat;
};

/* What a chunk's only choice says; members that are not set are left out, or null. */
struct said {
	int choice;
	const char *role, *text;
	size_t n_text_bytes;
	const struct answer_part *part; /* in place of a text */
	const struct bytes *logprobs;   /* a JSON value */
	const char *reason;
};
static const struct form chat_chunk = {"chatcmpl", "chat.completion.chunk", true};
static const struct form text_chunk = {"cmpl", "text_completion", false};

static void begin_chunk(const struct generation *generation, const struct form *form, struct bytes *out)
{
	bytes_append_text(out, "data: ");
	write_head(generation, form->prefix, form->object, out);
}

static void end_chunk(struct bytes *out)
{
	json_close(out);
	bytes_append_text(out, "\n\n");
}

static void frame_choice(const struct generation *generation, const struct form *form, const struct said *said,
                         struct bytes *out)
{
	begin_chunk(generation, form, out);
	json_field_key(out, "choices");
	bytes_append_text(out, "[");
	open_choice(said->choice, out);
	if (said->part) {
		openai_write_delta(generation, said->choice, said->part, out);
	} else if (form->chat) {
		json_field_key(out, "delta");
		json_open(out);
		if (said->role)
			json_field_text(out, "role", said->role);
		if (said->text)
			json_field_string(out, "content", said->text, said->n_text_bytes);
		json_close(out);
	} else {
		json_field_string(out, "text", said->text ? said->text : "", said->n_text_bytes);
	}
	close_choice(said->logprobs, said->reason, out);
	bytes_append_text(out, "]");
	end_chunk(out);
}

/* A token of a completion, its place in the text with it. */
static void add_text_logprobs(const struct generation *generation, const struct event *event, struct bytes *lists)
{
	struct choice *choice = &generation->choices[event->choice];
	text_logprobs_add(generation->tokenizer, event->token, event->logprobs, choice->n_characters, lists);
	choice->n_characters += text_logprobs_characters(generation->tokenizer, event->token, lists);
}

static void free_lists(struct bytes *lists)
{
	for (int i = 0; i < TEXT_LOGPROBS_LISTS; i++)
		bytes_free(&lists[i]);
}

/* Appends the log-probabilities of one token as a choice's value. */
static void write_logprobs(const struct generation *generation, const struct form *form, const struct event *event,
                           struct bytes *value)
{
	struct bytes lists[TEXT_LOGPROBS_LISTS] = {0};
	if (form->chat) {
		chat_logprobs_add(generation->tokenizer, event, &lists[0]);
		chat_logprobs_write(&lists[0], value);
	} else {
		add_text_logprobs(generation, event, lists);
		text_logprobs_write(lists, value);
	}
	free_lists(lists);
}

/* The prompt goes before the first that is said of a choice. */
static void frame_echo(const struct generation *generation, const struct form *form, int choice, struct bytes *out)
{
	struct bytes lists[TEXT_LOGPROBS_LISTS] = {0}, logprobs = {0}, text = {0};
	bool tells_logprobs = generation->asked.logprobs;
	if (!generation->asked.echoes_prompt || generation->choices[choice].echoed)
		return;
	generation->choices[choice].echoed = true;
	echo_prompt(generation, &generation->choices[choice], tells_logprobs ? lists : NULL, &text);
	if (tells_logprobs)
		text_logprobs_write(lists, &logprobs);
	frame_choice(generation, form,
	             &(struct said){.choice = choice,
	                            .text = text.data,
	                            .n_text_bytes = text.n_bytes,
	                            .logprobs = tells_logprobs ? &logprobs : NULL},
	             out);
	free_lists(lists);
	bytes_free_part(&logprobs, out);
	bytes_free_part(&text, out);
}

/* What the answer's reader makes of the event: a chunk for each part, the first of which tells `said`'s other things, too.
 * False when there was none. */
static bool frame_parts(struct generation *generation, const struct form *form, const struct event *event,
                        struct said said, struct bytes *out)
{
	struct answer_part part;
	struct answer_reader *reader = answers_push(generation, event);
	bool any = false;
	while (answer_reader_next(reader, &part)) {
		if (!openai_part_shows(&part))
			continue;
		any = true;
		said.part = &part;
		frame_choice(generation, form, &said, out);
		said.logprobs = NULL;
	}
	out->failed |= answer_reader_failed(reader);
	return any;
}

/* A token without text has a chunk only where it has something else to tell. */
static void frame_token(struct generation *generation, const struct form *form, const struct event *event,
                        struct bytes *out)
{
	struct bytes logprobs = {0};
	struct said said = {.choice = event->choice, .text = event->text, .n_text_bytes = event->n_text_bytes};
	bool tells_logprobs = generation->asked.logprobs && event->logprobs;
	bool is_read = generation->choices[event->choice].reader != NULL;
	frame_echo(generation, form, event->choice, out);
	if (tells_logprobs) {
		write_logprobs(generation, form, event, &logprobs);
		said.logprobs = &logprobs;
	}
	bool shown = is_read && frame_parts(generation, form, event, said, out);
	if (is_read)
		said.n_text_bytes = 0;
	if (!shown && (said.n_text_bytes > 0 || tells_logprobs))
		frame_choice(generation, form, &said, out);
	bytes_free_part(&logprobs, out);
}

static void frame_end(struct generation *generation, const struct form *form, const struct event *event,
                      struct bytes *out)
{
	const struct choice *choice = &generation->choices[event->choice];
	struct said said = {.choice = event->choice};
	struct bytes logprobs = {0};
	frame_echo(generation, form, event->choice, out);
	if (choice->reader)
		frame_parts(generation, form, event, said, out);
	if (!form->chat && generation->asked.logprobs && event->logprobs) { /* of the EOS, which completions tell */
		write_logprobs(generation, form, event, &logprobs);
		said.logprobs = &logprobs;
	}
	said.reason = finish_reason(choice, choice->reader ? answer_reader_calls(choice->reader) : 0);
	frame_choice(generation, form, &said, out);
	bytes_free_part(&logprobs, out);
	if (!generation->finished)
		return;
	if (generation->asked.include_usage) {
		begin_chunk(generation, form, out);
		json_field_key(out, "choices");
		bytes_append_text(out, "[]");
		write_usage(generation, out);
		end_chunk(out);
	}
	bytes_append_text(out, "data: [DONE]\n\n");
}

static void frame_error(const struct error *error, struct bytes *out)
{
	bytes_append_text(out, "data: ");
	write_error_object(error->message, error_info(error->code)->openai_type, NULL, code_of(error->code), out);
	bytes_append_text(out, "\n\ndata: [DONE]\n\n");
}

static void frame(struct generation *generation, const struct form *form, const struct event *event, struct bytes *out)
{
	switch (event->type) {
	case EVENT_STARTED:
		if (form->chat)
			frame_choice(generation, form, &(struct said){.choice = event->choice, .role = "assistant", .text = ""},
			             out);
		break;
	case EVENT_TOKEN:
		frame_token(generation, form, event, out);
		break;
	case EVENT_END:
		frame_end(generation, form, event, out);
		break;
	case EVENT_ERROR:
		frame_error(&event->error, out);
		break;
	}
}

static void frame_chat(struct generation *generation, const struct event *event, struct bytes *out)
{
	frame(generation, &chat_chunk, event, out);
}

static void frame_text(struct generation *generation, const struct event *event, struct bytes *out)
{
	frame(generation, &text_chunk, event, out);
}

/* ---- one object ---- */

static void note_chat(struct generation *generation, const struct event *event)
{
	if (event->type == EVENT_TOKEN && event->logprobs && generation->asked.logprobs)
		chat_logprobs_add(generation->tokenizer, event, &generation->choices[event->choice].notes[0]);
}

static void note_text(struct generation *generation, const struct event *event)
{
	struct choice *choice = &generation->choices[event->choice];
	if (!generation->asked.logprobs || (event->type != EVENT_TOKEN && event->type != EVENT_END))
		return;
	if (generation->asked.echoes_prompt && !choice->echoed) {
		struct bytes text = {0}; /* is told with the whole */
		echo_prompt(generation, choice, choice->notes, &text);
		bytes_free_part(&text, &choice->notes[0]);
		choice->echoed = true;
	}
	if (event->logprobs)
		add_text_logprobs(generation, event, choice->notes);
}

/* How likely its tokens are on average: what is best of several. */
static double likelihood(const struct choice *choice)
{
	return choice->tokens_out > 0 ? choice->logprob / (double)choice->tokens_out : 0;
}

/* Of the choices of a prompt the likeliest that is not told yet. */
static int next_best(const struct generation *generation, int prompt, const bool *told)
{
	int first = prompt * generation->per_prompt, best = -1;
	for (int i = first; i < first + generation->per_prompt; i++)
		if (!told[i] && (best < 0 || likelihood(&generation->choices[i]) > likelihood(&generation->choices[best])))
			best = i;
	return best;
}

static void write_text(const struct generation *generation, struct choice *choice, const struct bytes *text,
                       struct bytes *body)
{
	struct bytes whole = {0};
	if (generation->asked.echoes_prompt)
		echo_prompt(generation, choice, NULL, &whole);
	bytes_append(&whole, text->data, text->n_bytes);
	json_field_string(body, "text", whole.data ? whole.data : "", whole.n_bytes);
	bytes_free_part(&whole, body);
}

static void write_whole_choice(const struct generation *generation, int index, int choice, bool chat,
                               const struct bytes *text, struct bytes *body)
{
	struct choice *told = &generation->choices[choice];
	struct bytes logprobs = {0};
	int n_calls = 0;
	open_choice(index, body);
	if (chat)
		n_calls = openai_write_message(generation, choice, text, body);
	else
		write_text(generation, told, text, body);
	if (generation->asked.logprobs && chat)
		chat_logprobs_write(told->notes, &logprobs);
	else if (generation->asked.logprobs)
		text_logprobs_write(told->notes, &logprobs);
	close_choice(generation->asked.logprobs ? &logprobs : NULL, finish_reason(told, n_calls), body);
	bytes_free_part(&logprobs, body);
}

static void write_whole(const struct generation *generation, bool chat, const struct bytes *texts, struct bytes *body)
{
	bool told[ENGINE_MAX_CHOICES] = {false};
	int n_each = generation->asked.n_best ? generation->asked.n_best : generation->per_prompt;
	int n = generation->n_choices / generation->per_prompt * n_each;
	write_head(generation, chat ? "chatcmpl" : "cmpl", chat ? "chat.completion" : "text_completion", body);
	json_field_key(body, "choices");
	bytes_append_text(body, "[");
	for (int i = 0; i < n; i++) {
		int choice = generation->asked.n_best ? next_best(generation, i / n_each, told) : i;
		told[choice] = true;
		if (i > 0)
			bytes_append_text(body, ",");
		write_whole_choice(generation, i, choice, chat, &texts[choice], body);
	}
	bytes_append_text(body, "]");
	write_usage(generation, body);
	constraint_fields_write(generation, body);
	json_close(body);
}

static void write_whole_chat(const struct generation *generation, const struct bytes *texts, struct bytes *body)
{
	write_whole(generation, true, texts, body);
}

static void write_whole_text(const struct generation *generation, const struct bytes *texts, struct bytes *body)
{
	write_whole(generation, false, texts, body);
}

_Static_assert((int)TEXT_LOGPROBS_LISTS <= (int)GENERATION_NOTES, "a note for each list");

const struct dialect openai_chat_dialect = {
    .stream_type = "text/event-stream",
    .parse = openai_parse_chat,
    .bad_fields = openai_write_bad_fields,
    .error = openai_write_error,
    .frame = frame_chat,
    .ping = sse_ping,
    .note = note_chat,
    .whole = write_whole_chat,
};

const struct dialect openai_completion_dialect = {
    .stream_type = "text/event-stream",
    .parse = openai_parse_completion,
    .bad_fields = openai_write_bad_fields,
    .error = openai_write_error,
    .frame = frame_text,
    .ping = sse_ping,
    .note = note_text,
    .whole = write_whole_text,
};
