/* Continuing the last message (continuation.h). Templates trim texts, so what is looked for is the text without the white
 * space around it; as much of that at its end as the template kept is kept. Only bytes that the conversation wrote can be
 * it: a text "end" is not found in the template's `<|im_end|>`. */
#include "text/continuation.h"

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

/* Where the text ends in a run; 0: it is not there. Most often it is the run's end. */
static size_t end_in_run(const char *rendered, const struct template_run *run, struct text text)
{
	size_t n = trimmed(text), n_run = run->end - run->start;
	const char *at = rendered + run->start;
	size_t n_said = trimmed((struct text){at, n_run});
	const char *found =
	    n_said >= n && memcmp(at + n_said - n, text.at, n) == 0 ? at + n_said - n : memmem(at, n_run, text.at, n);
	if (!found)
		return 0;
	size_t end = (size_t)(found - rendered) + n;
	for (; n < text.n_bytes && end < run->end && rendered[end] == text.at[n]; n++)
		end++;
	return end;
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
	if (!text.at || trimmed(text) == 0)
		return error_set(error, ERROR_INVALID_REQUEST,
		                 "continue_final_message: the last message must be the assistant's, with some text");
	for (size_t i = rendering->n_runs; i-- > 0;) {
		size_t end = rendering->runs[i].from_data ? end_in_run(rendering->text, &rendering->runs[i], text) : 0;
		if (end > 0) {
			cut(rendering, i, end);
			return true;
		}
	}
	return error_set(
	    error, ERROR_INVALID_REQUEST,
	    "the model's chat template does not write the last message as it stands, so it cannot be continued");
}
