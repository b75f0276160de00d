#include "server/dialects/openai_echo.h"

#include <string.h>

#include "server/dialects/openai_logprobs.h"
#include "text/detokenizer.h"

/* A control token that was put before the text stands for none of it. */
static bool is_put_before(const struct prompt *prompt, size_t at, const char *spelling, size_t n_bytes)
{
	return at == 0 && prompt->text && (prompt->n_text_bytes < n_bytes || memcmp(prompt->text, spelling, n_bytes) != 0);
}

static void append_piece(const struct prompt *prompt, size_t at, struct detokenizer *detokenizer, struct bytes *text)
{
	size_t n_bytes;
	const char *spelling = detokenizer_control(detokenizer, prompt->ids.ids[at], &n_bytes);
	if (!spelling)
		detokenizer_push(detokenizer, prompt->ids.ids[at], text);
	else if (!is_put_before(prompt, at, spelling, n_bytes))
		bytes_append(text, spelling, n_bytes);
}

static int64_t count_characters(const struct bytes *text, size_t from)
{
	int64_t n = 0;
	for (size_t i = from; i < text->n_bytes; i++)
		n += ((unsigned char)text->data[i] & 0xC0) != 0x80;
	return n;
}

void echo_prompt(const struct generation *generation, struct choice *choice, struct bytes *lists, struct bytes *text)
{
	int first = (int)(choice - generation->choices) / generation->per_prompt * generation->per_prompt;
	const struct prompt *prompt = &generation->prompts[first / generation->per_prompt];
	const struct token_logprobs *told = lists ? stream_prompt_logprobs(generation->stream, first) : NULL;
	struct bytes pieces = {0};
	struct error error = {0};
	struct detokenizer *detokenizer = detokenizer_create(generation->tokenizer, NULL, 0, &error);
	for (size_t i = 0; detokenizer && i < prompt->ids.n_ids && (told || !prompt->text); i++) {
		size_t before = pieces.n_bytes;
		if (told) {
			const struct token_logprobs *logprobs = told[i].rank > 0 ? &told[i] : NULL;
			text_logprobs_add(generation->tokenizer, prompt->ids.ids[i], logprobs, choice->n_characters, lists);
		}
		append_piece(prompt, i, detokenizer, &pieces);
		choice->n_characters += told ? count_characters(&pieces, before) : 0;
	}
	if (prompt->text)
		bytes_append(text, prompt->text, prompt->n_text_bytes);
	else
		bytes_append(text, pieces.data, pieces.n_bytes);
	text->failed |= !detokenizer;
	detokenizer_destroy(detokenizer);
	bytes_free_part(&pieces, text);
}
