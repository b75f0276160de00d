/* Normalizers of tokenizer.json: text -> text, before pre-tokenizers. */
#ifndef TALLOW_TEXT_NORMALIZER_H
#define TALLOW_TEXT_NORMALIZER_H

#include "base/bytes.h"
#include "text/regex.h"

enum normalizer_kind {
	NORMALIZER_PREPEND, /* text, unless there is nothing to prepend it to */
	NORMALIZER_REPLACE, /* pattern (or regex) by text */
	NORMALIZER_NFC,
	NORMALIZER_NFD,
	NORMALIZER_NFKC,
	NORMALIZER_NFKD,
	NORMALIZER_LOWERCASE,
	NORMALIZER_STRIP,
	NORMALIZER_STRIP_ACCENTS, /* all marks */
};

struct normalizer_step {
	enum normalizer_kind kind;
	const char *text; /* borrowed, as pattern is */
	size_t n_text;
	const char *pattern; /* when regex is NULL; not empty */
	size_t n_pattern;
	struct regex *regex; /* owned */
	bool left, right;    /* NORMALIZER_STRIP */
};

enum { NORMALIZER_MAX_STEPS = 32 };

struct normalizer {
	struct normalizer_step steps[NORMALIZER_MAX_STEPS]; /* nested sequences laid flat */
	int n_steps;
};
void normalizer_free(struct normalizer *normalizer);

/* A stretch of text on its way through the pipeline. origin_bytes: that many of its first bytes come from the very
 * first character of what the caller encodes (Metaspace's "first" asks); 0 for a stretch from further on. */
struct text_run {
	const char *text;
	size_t n_bytes;
	size_t origin_bytes;
};

/* Steps that replace a character by several multiply, so a file of some lines can ask for any length. All texts that go
 * through one scratch may become this many times their length, and that much on top; published normalizers triple a
 * text, and no Unicode form makes it more than 11 times as long. */
enum { NORMALIZER_MAX_GROWTH = 64, NORMALIZER_MAX_EXTRA = 4096 };

struct normalizer_scratch {
	size_t n_taken, n_made; /* bytes of all texts so far, before and after */
	struct bytes texts[2];
	struct bytes codes; /* int32_t */
	struct bytes sorted;
	struct regex_clock *clock;   /* borrowed; NULL: it has one of its own */
	struct regex_scratch *regex; /* made when needed */
};
void normalizer_scratch_free(struct normalizer_scratch *scratch);

/* Replaces *run by its normalized form, valid until the next call with this scratch. ERROR_INVALID_REQUEST when the text
 * grows beyond all measure or a regular expression gives up. */
bool normalizer_apply(const struct normalizer *normalizer, struct normalizer_scratch *scratch, struct text_run *run,
                      struct error *error) MUST_USE;

/* Unicode normalization forms, appended to out; codes and sorted are work space. In normalize_unicode.c. */
bool normalize_unicode(enum normalizer_kind form, const char *text, size_t n_bytes, struct normalizer_scratch *scratch,
                       struct bytes *out);

/* Appends `text` with every match replaced. *origin (a count of first bytes, see text_run) is carried over. The scratch is
 * that of a regular expression. Shared with the decoder. */
bool replace_matches(const char *pattern, size_t n_pattern, const struct regex *regex, struct regex_scratch *scratch,
                     const char *content, size_t n_content, const char *text, size_t n_bytes, size_t *origin,
                     struct bytes *out, struct error *error) MUST_USE;

#endif
