/* How an answer is to be read: what its prompt ended with and which tokens it must see; and whole answers at once. */
#include <stdlib.h>
#include <string.h>

#include "text/answer/call.h"

/* ---- before the answer ---- */

static void add_markers(const char *const *words, const char *markers[ANSWER_MAX_MARKERS], int *n_markers)
{
	for (int i = 0; i < TOOL_FORMAT_WORDS && words[i]; i++) {
		bool known = false;
		for (int j = 0; j < *n_markers && !known; j++)
			known = strcmp(markers[j], words[i]) == 0;
		if (!known && *n_markers < ANSWER_MAX_MARKERS)
			markers[(*n_markers)++] = words[i];
	}
}

int answer_markers(const struct answer_reading *reading, const char *markers[ANSWER_MAX_MARKERS])
{
	int n_markers = 0;
	size_t n_formats;
	const struct tool_format *formats = tool_formats(&n_formats);
	if (reading->reasoning)
		add_markers((const char *const[TOOL_FORMAT_WORDS]){reading->reasoning->open, reading->reasoning->close},
		            markers, &n_markers);
	for (size_t i = 0; i < n_formats; i++) {
		const struct tool_format *row = &formats[i];
		if (!answer_row_counts(reading, row))
			continue;
		add_markers(row->open, markers, &n_markers);
		add_markers(row->call_open, markers, &n_markers);
		add_markers(row->name_end, markers, &n_markers);
		add_markers((const char *const[TOOL_FORMAT_WORDS]){row->key_open, row->value_close}, markers, &n_markers);
		add_markers(row->key_close, markers, &n_markers);
		add_markers(row->call_close, markers, &n_markers);
		add_markers(row->separator, markers, &n_markers);
		add_markers(row->close, markers, &n_markers);
	}
	return n_markers;
}

static bool ends_with(const char *text, size_t *n_bytes, const char *word)
{
	size_t n = strlen(word);
	if (n > *n_bytes || memcmp(text + *n_bytes - n, word, n) != 0)
		return false;
	*n_bytes -= n;
	return true;
}

static bool ends_with_words(const char *text, size_t n_bytes, const char *const *words)
{
	int n_words = 0;
	while (n_words < TOOL_FORMAT_WORDS && words[n_words])
		n_words++;
	int left = n_words;
	while (left > 0 && ends_with(text, &n_bytes, words[left - 1]))
		left--;
	return n_words > 0 && left == 0;
}

void answer_reading_begin(struct answer_reading *reading, const char *prompt, size_t n_bytes)
{
	size_t n_formats;
	const struct tool_format *formats = tool_formats(&n_formats);
	reading->in_call = false;
	for (size_t i = 0; i < n_formats; i++)
		if (answer_row_counts(reading, &formats[i]) && !formats[i].open[0] &&
		    ends_with_words(prompt, n_bytes, formats[i].call_open))
			reading->in_call = true;
	while (n_bytes > 0 && strchr(" \n\r\t", prompt[n_bytes - 1]) && prompt[n_bytes - 1])
		n_bytes--;
	reading->in_reasoning = reading->reasoning && ends_with(prompt, &n_bytes, reading->reasoning->open);
}

/* ---- whole answers ---- */

/* The texts of the calls follow one another: name, NUL, arguments, NUL. */
static bool begin_call(struct answer *answer, const struct answer_part *part)
{
	struct answer_call *calls = realloc(answer->calls, ((size_t)answer->n_calls + 1) * sizeof *calls);
	if (!calls)
		return false;
	answer->calls = calls;
	calls[answer->n_calls++] = (struct answer_call){.n_name_bytes = part->n_bytes};
	bytes_append(&answer->texts, part->text, part->n_bytes);
	bytes_append(&answer->texts, "", 1);
	return true;
}

static void take_back_call(struct answer *answer, const struct answer_part *part)
{
	const struct answer_call *call = &answer->calls[--answer->n_calls];
	answer->texts.n_bytes -= call->n_name_bytes + 1 + call->n_arguments_bytes;
	bytes_append(&answer->content, part->text, part->n_bytes);
}

static bool take_part(struct answer *answer, const struct answer_part *part)
{
	bool ok = true;
	switch (part->kind) {
	case ANSWER_CONTENT:
		bytes_append(&answer->content, part->text, part->n_bytes);
		break;
	case ANSWER_REASONING:
		bytes_append(&answer->reasoning, part->text, part->n_bytes);
		break;
	case ANSWER_CALL_BEGUN:
		ok = begin_call(answer, part);
		break;
	case ANSWER_CALL_ARGUMENTS:
		answer->calls[answer->n_calls - 1].n_arguments_bytes += part->n_bytes;
		bytes_append(&answer->texts, part->text, part->n_bytes);
		break;
	case ANSWER_CALL_ENDED:
		bytes_append(&answer->texts, "", 1);
		break;
	case ANSWER_CALL_BROKEN:
		take_back_call(answer, part);
		break;
	}
	return ok && !answer->content.failed && !answer->reasoning.failed && !answer->texts.failed;
}

static bool take_parts(struct answer_reader *reader, struct answer *answer)
{
	struct answer_part part;
	while (answer_reader_next(reader, &part))
		if (!take_part(answer, &part))
			return false;
	return !answer_reader_failed(reader);
}

bool answer_read(const struct answer_reading *reading, const char *text, size_t n_bytes, struct answer *out,
                 struct error *error)
{
	struct answer_reader *reader = answer_reader_create(reading, error);
	if (!reader)
		return false;
	answer_reader_push(reader, text, n_bytes);
	bool ok = take_parts(reader, out);
	if (ok) {
		answer_reader_finish(reader);
		ok = take_parts(reader, out);
	}
	answer_reader_destroy(reader);
	const char *at = out->texts.data;
	for (int i = 0; ok && i < out->n_calls; i++) {
		out->calls[i].name = at;
		out->calls[i].arguments = at + out->calls[i].n_name_bytes + 1;
		at = out->calls[i].arguments + out->calls[i].n_arguments_bytes + 1;
	}
	if (!ok)
		answer_free(out);
	return ok || error_set(error, ERROR_MEMORY, "no memory to read an answer");
}

void answer_free(struct answer *answer)
{
	bytes_free(&answer->content);
	bytes_free(&answer->reasoning);
	bytes_free(&answer->texts);
	free(answer->calls);
	*answer = (struct answer){0};
}
