/* Decoders of tokenizer.json, one token after the other: what is certain comes out at once, half a character waits.
 *
 * Only what depends on nothing that comes later can be decoded this way. The decoders of byte-level and byte-fallback
 * tokenizers are of that kind; decoder_check refuses the others.
 */
#ifndef TALLOW_TEXT_DECODER_H
#define TALLOW_TEXT_DECODER_H

#include "base/bytes.h"
#include "text/regex.h"

enum decoder_kind {
	DECODER_REPLACE,
	DECODER_STRIP,
	DECODER_METASPACE,
	DECODER_BYTE_FALLBACK,
	DECODER_BYTE_LEVEL,
	DECODER_FUSE,
};

struct decoder_step {
	enum decoder_kind kind;
	const char *text; /* borrowed; replace: by this; strip: this character; metaspace: the replacement character */
	size_t n_text;
	const char *pattern; /* replace, when regex is NULL; not empty */
	size_t n_pattern;
	struct regex *regex;  /* owned */
	uint32_t start, stop; /* strip: at most that many */
	bool drops_first;     /* metaspace: the first token's replacement characters vanish */
};

enum { DECODER_MAX_STEPS = 16 };

struct decoder {
	struct decoder_step steps[DECODER_MAX_STEPS]; /* nested sequences laid flat */
	int n_steps;
	bool spaces; /* no decoder at all: tokens are joined by spaces */
	/* set by decoder_check: */
	int n_token_steps; /* the first steps, which work on each token alone */
	bool byte_fallback, byte_level;
	const struct decoder_step *strip; /* on the whole text, at its start; or NULL */
};

bool decoder_check(struct decoder *decoder, struct error *error) MUST_USE;
void decoder_free(struct decoder *decoder);

/* Where a decoding stands. */
struct decoding {
	bool any;        /* a token was decoded */
	bool strip_done; /* the start of the text is past */
	uint32_t n_stripped;
	unsigned char tail[4]; /* bytes that may yet become a character */
	size_t n_tail;
	struct bytes texts[2], raw;
	struct regex_scratch *regex;
};

/* Room for tokens of n_bytes: pushing them allocates nothing then, unless a step makes them longer. Of a zeroed struct. */
bool decoding_reserve(const struct decoder *decoder, struct decoding *decoding, size_t n_bytes,
                      struct error *error) MUST_USE;
/* Appends what the token adds. Errors, besides memory (out->failed): a regular expression that gives up, and steps that
 * make a text beyond all measure of one token. */
bool decoding_push(const struct decoder *decoder, struct decoding *decoding, const char *token, size_t n_bytes,
                   struct bytes *out, struct error *error) MUST_USE;
/* Appends the bytes of a token in the middle of a text, whole characters or not. Errors as those of decoding_push. */
bool decoder_token_bytes(const struct decoder *decoder, const char *token, size_t n_bytes, struct bytes *out,
                         struct error *error) MUST_USE;
/* The text ends: bytes that wait become U+FFFD, as many as those that can no longer become a character. */
void decoding_end(const struct decoder *decoder, struct decoding *decoding, struct bytes *out);
void decoding_free(struct decoding *decoding);

#endif
