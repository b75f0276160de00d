/* Continuing the last message (continuation.h). Templates trim texts, so what is looked for is the text without the white
 * space around it; as much of that at its end as the template kept is kept. Only bytes that the conversation wrote can be
 * it: a text "end" is not found in the template's `<|im_end|>`. */
#include "text/continuation.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct text {
	const char *at;
	size_t n_bytes;
};

static bool is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

bool continuation_is_asked(const struct json *conversation)
{
	bool asked = false;
	return json_bool(json_get(conversation, "continue_final_message"), &asked) && asked;
}

/* The last message's text without white space before it; of content in parts the last text. */
static struct text last_text(const struct json *conversation)
{
	const struct json *last = NULL;
	for (const struct json *message = json_first(json_get(conversation, "messages")); message;
	     message = json_next(message))
		last = message;
	size_t n_role = 0;
	const char *role = json_string(json_get(last, "role"), &n_role);
	if (!role || strcmp(role, "assistant") != 0)
		return (struct text){0};
	const struct json *content = json_get(last, "content");
	struct text text = {0};
	text.at = json_string(content, &text.n_bytes);
	for (const struct json *part = json_first(content); part; part = json_next(part)) {
		size_t n_bytes = 0;
		const char *said = json_string(json_get(part, "text"), &n_bytes);
		if (said)
			text = (struct text){said, n_bytes};
	}
	while (text.at && text.n_bytes > 0 && is_space(*text.at)) {
		text.at++;
		text.n_bytes--;
	}
	return text;
}

static size_t trimmed(struct text text)
{
	size_t n = text.n_bytes;
	while (n > 0 && is_space(text.at[n - 1]))
		n--;
	return n;
}

static void reverse(char *out, const char *text, size_t n)
{
	for (size_t i = 0; i < n; i++)
		out[i] = text[n - 1 - i];
}

/* The last place of `part` in a text; SIZE_MAX: it is not in it. Read from behind it is the first one, which memmem finds in
 * linear time, however the two repeat themselves. False: no memory. */
static bool find_last(struct text text, struct text part, size_t *at)
{
	*at = SIZE_MAX;
	if (part.n_bytes > text.n_bytes)
		return true;
	char *reversed = malloc(text.n_bytes + part.n_bytes);
	if (!reversed)
		return false;
	reverse(reversed, text.at, text.n_bytes);
	reverse(reversed + text.n_bytes, part.at, part.n_bytes);
	const char *found = memmem(reversed, text.n_bytes, reversed + text.n_bytes, part.n_bytes);
	if (found)
		*at = text.n_bytes - (size_t)(found - reversed) - part.n_bytes;
	free(reversed);
	return true;
}

/* Where the text, `n` bytes without the white space behind it, ends for the last time in a run; 0: it is not there. Most
 * often it is the run's end. False: no memory. */
static bool end_in_run(const char *rendered, const struct template_run *run, struct text text, size_t n, size_t *out)
{
	struct text whole = {rendered + run->start, run->end - run->start};
	size_t n_said = trimmed(whole), at = n_said - n;
	*out = 0;
	bool at_end = n_said >= n && memcmp(whole.at + at, text.at, n) == 0;
	if (!at_end && !find_last(whole, (struct text){text.at, n}, &at))
		return false;
	if (at == SIZE_MAX)
		return true;
	size_t end = run->start + at + n;
	for (; n < text.n_bytes && end < run->end && rendered[end] == text.at[n]; n++)
		end++;
	*out = end;
	return true;
}

static void cut(struct rendering *rendering, size_t i_run, size_t end)
{
	rendering->n_bytes = end;
	rendering->text[end] = '\0';
	rendering->n_runs = i_run + 1;
	rendering->runs[i_run].end = end;
}

bool continuation_cut(const struct json *conversation, struct rendering *rendering, struct error *error)
{
	struct text text = last_text(conversation);
	size_t n = text.at ? trimmed(text) : 0;
	if (n == 0)
		return error_set(error, ERROR_INVALID_REQUEST,
		                 "continue_final_message: the last message must be the assistant's, with some text");
	for (size_t i = rendering->n_runs; i-- > 0;) {
		size_t end = 0;
		if (rendering->runs[i].from_data && !end_in_run(rendering->text, &rendering->runs[i], text, n, &end))
			return error_set(error, ERROR_MEMORY, "no memory to look for the last message");
		if (end > 0) {
			cut(rendering, i, end);
			return true;
		}
	}
	return error_set(
	    error, ERROR_INVALID_REQUEST,
	    "the model's chat template does not write the last message as it stands, so it cannot be continued");
}
