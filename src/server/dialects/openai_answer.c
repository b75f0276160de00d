/* Answers with reasoning and calls as messages and deltas (openai_answer.h). */
#include "server/dialects/openai_answer.h"

#include "base/json.h"

static void write_reasoning(const struct generation *generation, const char *text, size_t n_bytes, struct bytes *out)
{
	json_field_string(out, "reasoning_content", text, n_bytes);
	if (generation->asked.answer.settings.reasoning == REASONING_BOTH)
		json_field_string(out, "reasoning", text, n_bytes);
}

static void open_call(const struct generation *generation, int choice, int call, struct bytes *out)
{
	char id[CALL_ID_BYTES];
	answers_call_id(generation, "call_", choice, call, id);
	json_field_text(out, "id", id);
	json_field_text(out, "type", "function");
	json_field_key(out, "function");
	json_open(out);
}

static void write_calls(const struct generation *generation, int choice, const struct answer *answer, struct bytes *out)
{
	json_field_key(out, "tool_calls");
	bytes_append_text(out, "[");
	for (int i = 0; i < answer->n_calls; i++) {
		const struct answer_call *call = &answer->calls[i];
		if (i > 0)
			bytes_append_text(out, ",");
		json_open(out);
		open_call(generation, choice, i, out);
		json_field_string(out, "name", call->name, call->n_name_bytes);
		json_field_string(out, "arguments", call->arguments, call->n_arguments_bytes);
		json_close(out);
		json_close(out);
	}
	bytes_append_text(out, "]");
}

int openai_write_message(const struct generation *generation, int choice, const struct bytes *text, struct bytes *out)
{
	struct answer answer = {0};
	struct error error;
	out->failed |= !answer_read(&generation->reading, text->data ? text->data : "", text->n_bytes, &answer, &error);
	int n_calls = answer.n_calls;
	json_field_key(out, "message");
	json_open(out);
	json_field_text(out, "role", "assistant");
	if (n_calls > 0 && answer.content.n_bytes == 0)
		json_field_text(out, "content", NULL);
	else
		json_field_string(out, "content", answer.content.data ? answer.content.data : "", answer.content.n_bytes);
	if (answer.reasoning.n_bytes > 0)
		write_reasoning(generation, answer.reasoning.data, answer.reasoning.n_bytes, out);
	if (n_calls > 0)
		write_calls(generation, choice, &answer, out);
	json_field_text(out, "refusal", NULL);
	json_close(out);
	answer_free(&answer);
	return n_calls;
}

bool openai_part_shows(const struct answer_part *part)
{
	return part->kind != ANSWER_CALL_ENDED;
}

static void write_call_delta(const struct generation *generation, int choice, const struct answer_part *part,
                             struct bytes *out)
{
	bool begins = part->kind == ANSWER_CALL_BEGUN;
	json_field_key(out, "tool_calls");
	bytes_append_text(out, "[");
	json_open(out);
	json_field_int(out, "index", part->call);
	if (begins) {
		open_call(generation, choice, part->call, out);
		json_field_string(out, "name", part->text, part->n_bytes);
	} else {
		json_field_key(out, "function");
		json_open(out);
	}
	json_field_string(out, "arguments", begins ? "" : part->text, begins ? 0 : part->n_bytes);
	json_close(out);
	json_close(out);
	bytes_append_text(out, "]");
}

void openai_write_delta(const struct generation *generation, int choice, const struct answer_part *part,
                        struct bytes *out)
{
	json_field_key(out, "delta");
	json_open(out);
	switch (part->kind) {
	case ANSWER_REASONING:
		write_reasoning(generation, part->text, part->n_bytes, out);
		break;
	case ANSWER_CALL_BEGUN:
	case ANSWER_CALL_ARGUMENTS:
		write_call_delta(generation, choice, part, out);
		break;
	case ANSWER_CONTENT:
	case ANSWER_CALL_BROKEN:
	case ANSWER_CALL_ENDED:
		json_field_string(out, "content", part->text, part->n_bytes);
		break;
	}
	json_close(out);
}
