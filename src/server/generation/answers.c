/* What a template and a request make of reading answers (answers.h). */
#include "server/generation/answers.h"

#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "engine/engine.h"
#include "server/generation/generation.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

bool answer_settings_find(const char *tool_format, struct answer_settings *settings, struct error *error)
{
	settings->no_tools = strcmp(tool_format, "none") == 0;
	settings->tools = NULL;
	if (settings->no_tools || strcmp(tool_format, "auto") == 0)
		return true;
	settings->tools = tool_format_find(tool_format);
	if (settings->tools)
		return true;
	struct bytes names = {0};
	size_t n_formats;
	const struct tool_format *formats = tool_formats(&n_formats);
	for (size_t i = 0; i < n_formats; i++)
		if (tool_format_find(formats[i].name) == &formats[i])
			bytes_append_format(&names, ", %s", formats[i].name);
	error_set(error, ERROR_USAGE, "there is no tool format %.60s; there are auto, none%s", tool_format,
	          names.data ? names.data : "");
	bytes_free(&names);
	return false;
}

void answers_prepare(const struct asked_answer *asked, const struct chat_template *chat,
                     const struct rendering *rendering, struct answer_reading *reading)
{
	const struct answer_settings *settings = &asked->settings;
	struct answer_style style = chat_template_answers(chat, asked->offered != NULL);
	*reading = (struct answer_reading){0};
	if (!asked->reads)
		return;
	reading->reasoning = settings->reasoning == REASONING_NONE ? NULL : style.reasoning;
	reading->offered = settings->no_tools ? NULL : asked->offered;
	reading->tools = settings->tools ? settings->tools : style.tools;
	reading->single_call = asked->single_call;
	reading->only_row = reading->offered && reading->tools && asked->is_held;
	/* What a message ends with opens nothing. */
	const struct template_run *last = rendering->n_runs ? &rendering->runs[rendering->n_runs - 1] : NULL;
	if (last && !last->from_data)
		answer_reading_begin(reading, rendering->text + last->start, last->end - last->start);
}

void answers_show(const struct answer_reading *reading, const struct tokenizer *tokenizer, struct request *request)
{
	const char *markers[ANSWER_MAX_MARKERS];
	int n_markers = answer_markers(reading, markers);
	for (int i = 0; i < n_markers && request->n_shown < REQUEST_MAX_SHOWN; i++) {
		int32_t id = tokenizer_find(tokenizer, markers[i], strlen(markers[i]));
		if (id >= 0 && tokenizer_is_special(tokenizer, id))
			request->shown[request->n_shown++] = id;
	}
}

struct answer_reader *answers_push(struct generation *generation, const struct event *event)
{
	struct answer_reader *reader = generation->choices[event->choice].reader;
	if (event->type == EVENT_TOKEN)
		answer_reader_push(reader, event->text, event->n_text_bytes);
	else
		answer_reader_finish(reader);
	return reader;
}

void answers_call_id(const struct generation *generation, const char *prefix, int choice, int call,
                     char out[CALL_ID_BYTES])
{
	static const char letters[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
	enum { N_LETTERS = sizeof letters - 1, DEFAULT_CHARACTERS = 24 };
	const struct tool_format *tools = generation->reading.tools;
	int n = tools && tools->id_characters ? tools->id_characters : DEFAULT_CHARACTERS;
	size_t at =
	    tools && tools->id_characters ? 0 : (size_t)snprintf(out, CALL_ID_BYTES - DEFAULT_CHARACTERS, "%s", prefix);
	uint64_t key[2] = {(uint64_t)choice, (uint64_t)call};
	uint64_t number = hash_keyed(key, generation->job_id, strlen(generation->job_id));
	for (int i = 0; i < n && at + 1 < CALL_ID_BYTES; i++) {
		if (i > 0 && i % 8 == 0)
			number = hash_mix(number);
		out[at++] = letters[(number >> (i % 8 * 8) & 0xFF) % N_LETTERS];
	}
	out[at] = 0;
}
