/* Ollama's API: events to lines of JSON (NDJSON), one object, and errors as `{"error":"..."}`. What requests may hold is in
 * ollama_request.c. Durations are in nanoseconds. */
#include "server/dialects/ollama_request.h"

#include <math.h>
#include <string.h>

#include "base/platform.h"
#include "server/dialects/constraint_fields.h"
#include "server/dialects/openai_logprobs.h"

/* ---- errors ---- */

static void write_bad_fields(const struct field_checker *check, const char *request_id, struct bytes *body)
{
	(void)request_id;
	json_open(body);
	json_field_text(body, "error", check->first_message);
	json_close(body);
}

static void write_error(const struct error *error, const char *request_id, int retry_after_s,
                        struct error_answer *answer)
{
	(void)request_id;
	const struct error_info *info = error_info(error->code);
	answer->status = info->http_status;
	if (info->http_status == 429 || info->http_status == 503)
		answer->retry_after_s = retry_after_s > 0 ? retry_after_s : 1;
	json_open(&answer->body);
	json_field_text(&answer->body, "error", error->message);
	json_close(&answer->body);
}

/* ---- answers ---- */

static int64_t nanoseconds(double milliseconds)
{
	return llround(milliseconds * 1e6);
}

/* What one object tells; NULL: nothing of that. `calls`, `logprobs`: members of an array, as JSON. */
struct said {
	const char *text, *thinking;
	size_t n_text, n_thinking;
	const struct bytes *calls, *logprobs;
};

/* A member that is left out where it has nothing in it. */
static void field_list(const char *key, const struct bytes *items, struct bytes *out)
{
	if (!items || items->n_bytes == 0)
		return;
	json_field_key(out, key);
	bytes_append_text(out, "[");
	bytes_append(out, items->data, items->n_bytes);
	bytes_append_text(out, "]");
}

/* An object up to what was said, with that. */
static void write_said(const struct generation *generation, bool chat, const struct said *said, struct bytes *out)
{
	char now[25];
	clock_rfc3339(clock_unix_ms(), now);
	json_open(out);
	json_field_text(out, "model", generation->model);
	json_field_text(out, "created_at", now);
	if (chat) {
		json_field_key(out, "message");
		json_open(out);
		json_field_text(out, "role", "assistant");
	}
	json_field_string(out, chat ? "content" : "response", said->text ? said->text : "", said->n_text);
	if (said->n_thinking > 0)
		json_field_string(out, "thinking", said->thinking, said->n_thinking);
	field_list("tool_calls", said->calls, out);
	if (chat)
		json_close(out);
	field_list("logprobs", said->logprobs, out);
}

/* JSON that a model wrote, in which line breaks stand between values alone: within a line of NDJSON there is none. */
static void write_on_one_line(struct bytes *out, const char *json)
{
	while (*json) {
		size_t n = strcspn(json, "\r\n");
		bytes_append(out, json, n);
		json += n + strspn(json + n, "\r\n");
	}
}

static void write_call(const struct generation *generation, int call, const char *name, size_t n_name,
                       const char *arguments, struct bytes *out)
{
	char id[CALL_ID_BYTES];
	answers_call_id(generation, "call_", 0, call, id);
	json_open(out);
	json_field_text(out, "id", id);
	json_field_key(out, "function");
	json_open(out);
	json_field_int(out, "index", call);
	json_field_string(out, "name", name, n_name);
	json_field_key(out, "arguments");
	write_on_one_line(out, arguments);
	json_close(out);
	json_close(out);
}

static void write_end(const struct generation *generation, struct bytes *out)
{
	bool stopped = generation->stop_reason == STOP_EOS || generation->stop_reason == STOP_SEQUENCE;
	json_field_bool(out, "done", true);
	constraint_fields_write(generation, out);
	json_field_text(out, "done_reason", generation->asked.only_load ? "load" : stopped ? "stop" : "length");
	if (!generation->asked.only_load) {
		json_field_int(out, "total_duration",
		               nanoseconds(generation->queue_ms + generation->prefill_ms + generation->decode_ms));
		json_field_int(out, "load_duration", nanoseconds(generation->queue_ms));
		json_field_int(out, "prompt_eval_count", generation->prompt_tokens);
		json_field_int(out, "prompt_eval_duration", nanoseconds(generation->prefill_ms));
		json_field_int(out, "eval_count", generation->tokens_out);
		json_field_int(out, "eval_duration", nanoseconds(generation->decode_ms));
	}
	json_close(out);
}

static void frame_said(const struct generation *generation, bool chat, const struct said *said, struct bytes *out)
{
	write_said(generation, chat, said, out);
	json_field_bool(out, "done", false);
	json_close(out);
	bytes_append_text(out, "\n");
}

/* A call is told when it is whole. */
static void frame_call(struct generation *generation, bool chat, int call, struct said said, struct bytes *out)
{
	struct telling *telling = &generation->telling;
	struct bytes calls = {0};
	write_call(generation, call, telling->name.data ? telling->name.data : "", telling->name.n_bytes,
	           telling->text.data ? telling->text.data : "{}", &calls);
	said.calls = &calls;
	frame_said(generation, chat, &said, out);
	bytes_free_part(&calls, out);
	bytes_clear_part(&telling->name, out);
	bytes_clear_part(&telling->text, out);
}

/* A line that tells the part and what else is in `said`; false where there is nothing to be told of the part yet. */
static bool frame_part(struct generation *generation, bool chat, const struct answer_part *part, struct said said,
                       struct bytes *out)
{
	struct telling *telling = &generation->telling;
	switch (part->kind) {
	case ANSWER_CALL_BROKEN:
	case ANSWER_CONTENT:
		said.text = part->text;
		said.n_text = part->n_bytes;
		break;
	case ANSWER_REASONING:
		said.thinking = part->text;
		said.n_thinking = part->n_bytes;
		break;
	case ANSWER_CALL_BEGUN:
		bytes_clear_part(&telling->name, out); /* of a call that broke off */
		bytes_clear_part(&telling->text, out);
		bytes_append(&telling->name, part->text, part->n_bytes);
		return false;
	case ANSWER_CALL_ARGUMENTS:
		bytes_append(&telling->text, part->text, part->n_bytes);
		return false;
	case ANSWER_CALL_ENDED:
		frame_call(generation, chat, part->call, said, out);
		return true;
	}
	if (part->n_bytes > 0)
		frame_said(generation, chat, &said, out);
	return part->n_bytes > 0;
}

/* What is read of the event: a line for each part, the first of which tells `said`'s log-probabilities, too. */
static bool frame_parts(struct generation *generation, bool chat, const struct event *event, struct said said,
                        struct bytes *out)
{
	struct answer_part part;
	struct answer_reader *reader = answers_push(generation, event);
	bool any = false;
	while (answer_reader_next(reader, &part)) {
		if (!frame_part(generation, chat, &part, said, out))
			continue;
		any = true;
		said.logprobs = NULL;
	}
	out->failed |= answer_reader_failed(reader);
	return any;
}

static void note(struct generation *generation, const struct event *event, struct bytes *items)
{
	if (event->type == EVENT_TOKEN && event->logprobs && generation->asked.logprobs)
		chat_logprobs_add(generation->tokenizer, event, items);
}

/* What is raw is not read. A token that nothing is said of has a line only where its log-probability is to be told. */
static void frame_token(struct generation *generation, bool chat, const struct event *event, struct bytes *out)
{
	struct bytes logprobs = {0};
	struct said said = {.logprobs = &logprobs};
	bool told = false;
	note(generation, event, &logprobs);
	if (generation->choices[0].reader) {
		told = frame_parts(generation, chat, event, said, out);
	} else {
		said.text = event->text;
		said.n_text = event->n_text_bytes;
	}
	if (!told && (said.n_text > 0 || logprobs.n_bytes > 0))
		frame_said(generation, chat, &said, out);
	bytes_free_part(&logprobs, out);
}

static void frame(struct generation *generation, bool chat, const struct event *event, struct bytes *out)
{
	switch (event->type) {
	case EVENT_STARTED:
		break;
	case EVENT_TOKEN:
		frame_token(generation, chat, event, out);
		break;
	case EVENT_END:
		if (generation->choices[0].reader)
			frame_parts(generation, chat, event, (struct said){0}, out);
		write_said(generation, chat, &(struct said){.text = ""}, out);
		write_end(generation, out);
		bytes_append_text(out, "\n");
		break;
	case EVENT_ERROR:
		json_open(out);
		json_field_text(out, "error", event->error.message);
		json_close(out);
		bytes_append_text(out, "\n");
		break;
	}
}

static void frame_chat(struct generation *generation, const struct event *event, struct bytes *out)
{
	frame(generation, true, event, out);
}

static void frame_generate(struct generation *generation, const struct event *event, struct bytes *out)
{
	frame(generation, false, event, out);
}

/* Every line is an object that clients parse: there is nothing to be said in between. */
static void ping(const struct generation *generation, struct bytes *out)
{
	(void)generation;
	(void)out;
}

static void note_whole(struct generation *generation, const struct event *event)
{
	note(generation, event, &generation->choices[0].notes[0]);
}

static void write_whole(const struct generation *generation, bool chat, const struct bytes *text, struct bytes *body)
{
	struct answer answer = {0};
	struct error error;
	struct bytes calls = {0};
	body->failed |= !answer_read(&generation->reading, text->data ? text->data : "", text->n_bytes, &answer, &error);
	for (int i = 0; i < answer.n_calls; i++) {
		const struct answer_call *call = &answer.calls[i];
		if (i > 0)
			bytes_append_text(&calls, ",");
		write_call(generation, i, call->name, call->n_name_bytes, call->arguments, &calls);
	}
	write_said(generation, chat,
	           &(struct said){.text = answer.content.data,
	                          .n_text = answer.content.n_bytes,
	                          .thinking = answer.reasoning.data,
	                          .n_thinking = answer.reasoning.n_bytes,
	                          .calls = &calls,
	                          .logprobs = &generation->choices[0].notes[0]},
	           body);
	write_end(generation, body);
	bytes_free_part(&calls, body);
	answer_free(&answer);
}

static void write_whole_chat(const struct generation *generation, const struct bytes *text, struct bytes *body)
{
	write_whole(generation, true, text, body);
}

static void write_whole_generate(const struct generation *generation, const struct bytes *text, struct bytes *body)
{
	write_whole(generation, false, text, body);
}

const struct dialect ollama_chat_dialect = {
    .stream_type = "application/x-ndjson",
    .parse = ollama_parse_chat,
    .bad_fields = write_bad_fields,
    .error = write_error,
    .frame = frame_chat,
    .ping = ping,
    .note = note_whole,
    .whole = write_whole_chat,
};

const struct dialect ollama_generate_dialect = {
    .stream_type = "application/x-ndjson",
    .parse = ollama_parse_generate,
    .bad_fields = write_bad_fields,
    .error = write_error,
    .frame = frame_generate,
    .ping = ping,
    .note = note_whole,
    .whole = write_whole_generate,
};
