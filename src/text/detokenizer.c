/* Streaming detokeniser: the decoder's state after the prompt, carried on token by token. */
#include "text/detokenizer.h"

#include <stdlib.h>

#include "text/tokenizer_private.h"

struct detokenizer {
	const struct tokenizer *tokenizer;
	struct decoding decoding;
};

static bool push(struct detokenizer *detokenizer, int32_t id, struct bytes *out, struct error *error)
{
	const struct tokenizer *tokenizer = detokenizer->tokenizer;
	size_t n_bytes;
	const char *text = tokenizer_token_text(tokenizer, id, &n_bytes);
	return !text || tokenizer_is_special(tokenizer, id) ||
	       decoding_push(&tokenizer->parts.decoder, &detokenizer->decoding, text, n_bytes, out, error);
}

static bool push_prompt(struct detokenizer *detokenizer, const int32_t *prompt, size_t n_prompt, struct error *error)
{
	struct bytes shown = {0};
	bool ok = true;
	for (size_t i = 0; i < n_prompt && ok && !shown.failed; i++) {
		shown.n_bytes = 0;
		ok = push(detokenizer, prompt[i], &shown, error);
	}
	if (ok && shown.failed)
		ok = error_set(error, ERROR_MEMORY, "not enough memory to decode the prompt");
	bytes_free(&shown);
	return ok;
}

/* Bytes of the longest token, within measure: a vocabulary may hold anything. */
static size_t longest_token(const struct tokenizer *tokenizer)
{
	enum { MOST_BYTES = 1024 };
	size_t longest = tokenizer->parts.vocab.longest_bytes;
	return longest < MOST_BYTES ? longest : MOST_BYTES;
}

size_t detokenizer_push_bytes(const struct tokenizer *tokenizer)
{
	/* Each byte may be a U+FFFD, those that waited, too. */
	return 3 * (longest_token(tokenizer) + sizeof((struct decoding){0}).tail);
}

struct detokenizer *detokenizer_create(const struct tokenizer *tokenizer, const int32_t *prompt, size_t n_prompt,
                                       struct error *error)
{
	struct detokenizer *detokenizer = calloc(1, sizeof *detokenizer);
	if (!detokenizer) {
		error_set(error, ERROR_MEMORY, "not enough memory for a detokenizer");
		return NULL;
	}
	detokenizer->tokenizer = tokenizer;
	if (decoding_reserve(&tokenizer->parts.decoder, &detokenizer->decoding, longest_token(tokenizer), error) &&
	    push_prompt(detokenizer, prompt, n_prompt, error))
		return detokenizer;
	detokenizer_destroy(detokenizer);
	return NULL;
}

void detokenizer_destroy(struct detokenizer *detokenizer)
{
	if (!detokenizer)
		return;
	decoding_free(&detokenizer->decoding);
	free(detokenizer);
}

void detokenizer_push(struct detokenizer *detokenizer, int32_t id, struct bytes *out)
{
	struct error error;
	if (!push(detokenizer, id, out, &error))
		out->failed = true;
}

bool detokenizer_holds(const struct detokenizer *detokenizer)
{
	(void)detokenizer;
	return false;
}

const char *detokenizer_control(const struct detokenizer *detokenizer, int32_t id, size_t *n_bytes)
{
	bool control = tokenizer_is_special(detokenizer->tokenizer, id);
	return control ? tokenizer_token_text(detokenizer->tokenizer, id, n_bytes) : NULL;
}

void detokenizer_finish(struct detokenizer *detokenizer, struct bytes *out)
{
	(void)out;
	detokenizer->decoding.n_tail = 0;
}
