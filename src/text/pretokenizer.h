/* Pre-tokenizers of tokenizer.json: cutting normalized text into the pieces that the model encodes one by one. */
#ifndef TALLOW_TEXT_PRETOKENIZER_H
#define TALLOW_TEXT_PRETOKENIZER_H

#include "text/normalizer.h"
#include "text/regex.h"

enum pretokenizer_kind {
	PRETOKENIZER_BYTE_LEVEL,
	PRETOKENIZER_SPLIT,
	PRETOKENIZER_DIGITS,
	PRETOKENIZER_METASPACE,
	PRETOKENIZER_PUNCTUATION,
	PRETOKENIZER_WHITESPACE,       /* \w+ and [^\w\s]+, space dropped */
	PRETOKENIZER_WHITESPACE_SPLIT, /* at space, which is dropped */
};

enum split_behavior {
	SPLIT_REMOVED,
	SPLIT_ISOLATED,
	SPLIT_MERGED_WITH_PREVIOUS,
	SPLIT_MERGED_WITH_NEXT,
	SPLIT_CONTIGUOUS,
};

enum metaspace_prepend { METASPACE_NEVER, METASPACE_FIRST, METASPACE_ALWAYS };

struct pretokenizer_step {
	enum pretokenizer_kind kind;
	enum split_behavior behavior; /* split, digits (isolated or contiguous), punctuation */
	bool invert;                  /* split: the pattern tells what to keep */
	const char *text;             /* borrowed; split: the string when regex is NULL; metaspace: the replacement */
	size_t n_text;
	struct regex *regex;            /* owned; split, and byte level with use_regex */
	bool add_prefix_space;          /* byte level */
	enum metaspace_prepend prepend; /* metaspace */
	bool split;                     /* metaspace */
};

/* A byte-level step may double the text, a metaspace step puts a character before every piece: both multiply. */
enum { PRETOKENIZER_MAX_STEPS = 16, PRETOKENIZER_MAX_GROWING_STEPS = 2 };

struct pretokenizer {
	struct pretokenizer_step steps[PRETOKENIZER_MAX_STEPS]; /* nested sequences laid flat */
	int n_steps;
	bool raw_bytes; /* a byte-level step that comes last hands out the bytes, not their spelling */
};
void pretokenizer_free(struct pretokenizer *pretokenizer);
/* GPT-2's expression, for byte level with use_regex. */
struct regex *pretokenizer_gpt2_regex(struct error *error) MUST_USE;
/* That of Mistral's tekken tokenizers. In gguf_pretokenizer.c. */
struct regex *pretokenizer_tekken_regex(struct error *error) MUST_USE;

struct pretokenizer_scratch {
	struct regex_clock *clock; /* borrowed; NULL: each step has one of its own */
	struct {
		struct bytes text, spelled;
		struct regex_scratch *regex;
	} steps[PRETOKENIZER_MAX_STEPS];
};
void pretokenizer_scratch_free(struct pretokenizer_scratch *scratch);

/* Takes one piece, never empty; false stops everything (with the error set). */
typedef bool piece_sink(void *context, const char *text, size_t n_bytes, struct error *error);

bool pretokenizer_run(const struct pretokenizer *pretokenizer, struct pretokenizer_scratch *scratch,
                      const struct text_run *run, piece_sink *sink, void *context, struct error *error) MUST_USE;

#endif
