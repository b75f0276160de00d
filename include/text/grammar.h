/* Constraints: what a model's output may be, byte by byte, exactly.
 *
 * A constraint is compiled from a JSON schema, a regular expression, a list of choices or a grammar in GBNF. It accepts
 * precisely the texts that its source describes (of JSON, those in the canonical form below) or is refused, with a reason and
 * the place; nothing is weakened. Whatever has been accepted so far can be completed, so the mask is never empty.
 *
 *     struct grammar *g = grammar_compile(GRAMMAR_JSON_SCHEMA, text, n_bytes, &report, &error);
 *     struct grammar_vocabulary *v = grammar_vocabulary_create(tokenizer, &error);    // once per model
 *     uint32_t mask[grammar_mask_words(v)];
 *     grammar_mask(g, v, mask, &error);                          // bit id: the token may come next
 *     grammar_token(g, v, id);                                   // it came
 *     if (grammar_complete(g)) ...                               // the text may end here
 *
 * Canonical form of JSON: no white space (one blank after ',' and ':' may stand), members in the order in which the schema
 * names them and then others, strings with the escapes that must be, numbers without superfluous digits
 * (text/grammar/numbers.h).
 *
 * Keywords: drafts 2020-12 and 7 (and what older drafts write otherwise); $schema says which, none means 2020-12 that also
 * understands draft 7's forms. Formats that are known are enforced; others are annotations, and noted in the report.
 *
 * Threads: a grammar belongs to one thread at a time; a vocabulary is immutable and shared. Sources are untrusted: time and
 * memory are bounded, and nothing is fetched.
 */
#ifndef TALLOW_TEXT_GRAMMAR_H
#define TALLOW_TEXT_GRAMMAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"

struct json;
struct tokenizer;
struct grammar;
struct grammar_vocabulary;

enum grammar_kind {
	GRAMMAR_JSON_SCHEMA,
	GRAMMAR_JSON_OBJECT, /* any object; the source is not looked at */
	GRAMMAR_REGEX,       /* the whole text (text/grammar/pattern.h) */
	GRAMMAR_CHOICE,      /* a JSON array of strings, of which the text is one */
	GRAMMAR_GBNF,        /* rules; the text is a `root` */
};

/* What was not taken, and what is worth knowing. `pointer` is a JSON pointer into a schema ("" is all of it), else "line
 * N" or "byte N". */
struct grammar_remark {
	char *pointer, *why;
};
struct grammar_report {
	struct grammar_remark *refused, *notes;
	size_t n_refused, max_refused, n_notes, max_notes;
	bool no_memory; /* some of it could not be written down, or read */
};
enum { GRAMMAR_MAX_REMARKS = 32, GRAMMAR_MAX_SOURCE_BYTES = 8 << 20 };
void grammar_report_free(struct grammar_report *report);

/* What one constraint may take from now on, compiled or followed, in this process: GRAMMAR_MAX_BYTES unless said; what would
 * take more (or, as arrays double, half of it in one of them) is too large. As many as GRAMMAR_COMPILERS are compiled at a
 * time, who else comes waits: so compiling takes that many times as much at most. */
enum { GRAMMAR_MAX_BYTES = 64 << 20, GRAMMAR_COMPILERS = 2 };
void grammars_allow(size_t max_bytes);

/* NULL: ERROR_CONSTRAINT with the first refusal (all of them are in `report`, which may be NULL), or ERROR_MEMORY where an
 * allocation failed: then what the report refuses says nothing of the source. */
struct grammar *grammar_compile(enum grammar_kind kind, const char *source, size_t n_bytes,
                                struct grammar_report *report, struct error *error) MUST_USE;
void grammar_destroy(struct grammar *grammar); /* NULL is harmless */

/* ---- where the text stands ---- */

void grammar_restart(struct grammar *grammar);
/* Takes bytes; false where they cannot follow, and nothing has changed. */
bool grammar_take(struct grammar *grammar, const char *bytes, size_t n_bytes) MUST_USE;
/* The same without taking them. */
bool grammar_may_take(struct grammar *grammar, const char *bytes, size_t n_bytes) MUST_USE;
bool grammar_complete(const struct grammar *grammar);
/* Complete, and nothing may follow. */
bool grammar_over(const struct grammar *grammar);
/* NULL, or what ran out while following the text: GRAMMAR_NO_MEMORY (an allocation failed), steps, size; nothing is accepted
 * from then on. */
#define GRAMMAR_NO_MEMORY "memory"
const char *grammar_failed(const struct grammar *grammar);
/* Resident bytes, about. */
size_t grammar_bytes(const struct grammar *grammar);

/* ---- tokens ---- */

/* Borrows the tokenizer. */
struct grammar_vocabulary *grammar_vocabulary_create(const struct tokenizer *tokenizer, struct error *error) MUST_USE;
void grammar_vocabulary_destroy(struct grammar_vocabulary *vocabulary);
size_t grammar_vocabulary_bytes(const struct grammar_vocabulary *vocabulary);
size_t grammar_mask_words(const struct grammar_vocabulary *vocabulary); /* of 32 tokens */
/* The bytes a token adds to a text; NULL for tokens that add none and for control tokens. Borrowed. */
const char *grammar_token_bytes(const struct grammar_vocabulary *vocabulary, int32_t id, size_t *n_bytes);
/* The longest token that `text` begins with; -1 when there is none. */
int32_t grammar_token_at(const struct grammar_vocabulary *vocabulary, const char *text, size_t n_bytes);

/* Sets the bits of all tokens that may come next, and of those that end an answer where the text may end (a tokenizer may
 * name none). False with ERROR_INFERENCE when the text must go on and no token can (a vocabulary that lacks bytes), with
 * ERROR_CONSTRAINT when bounds were met, or with ERROR_MEMORY. */
bool grammar_mask(struct grammar *grammar, const struct grammar_vocabulary *vocabulary, uint32_t *mask,
                  struct error *error) MUST_USE;
/* The token that comes next where the text must go on and has no choice: the one that the tokenizer would cut there, if
 * that cannot depend on what follows, else the only one that may come; -1 where several may. */
int32_t grammar_forced_token(struct grammar *grammar, const struct grammar_vocabulary *vocabulary);
bool grammar_token(struct grammar *grammar, const struct grammar_vocabulary *vocabulary, int32_t id) MUST_USE;

/* How many tokens a shortest completion takes: of its bytes in turn the longest token that they begin with; from an array on
 * that owes several items that must differ (minItems, uniqueItems) as many as bytes. UINT32_MAX where
 * that is beyond the bounds, the vocabulary lacks bytes for it, or memory ran out (grammar_failed). */
uint32_t grammar_tokens_left(struct grammar *grammar, const struct grammar_vocabulary *vocabulary);
/* Surely no more than so many: nothing is written down to find out. UINT32_MAX likewise. */
uint32_t grammar_bytes_left(struct grammar *grammar, const struct grammar_vocabulary *vocabulary);
/* As grammar_mask, of the tokens after which the text can be completed with n_left more. There is one, where it could be
 * completed with n_left + 1 before. Slower. */
bool grammar_mask_within(struct grammar *grammar, const struct grammar_vocabulary *vocabulary, uint32_t n_left,
                         uint32_t *mask, struct error *error) MUST_USE;
/* Is the token one of those? It is one of grammar_mask's. And bytes that come as one token. */
bool grammar_token_within(struct grammar *grammar, const struct grammar_vocabulary *vocabulary, int32_t id,
                          uint32_t n_left) MUST_USE;
bool grammar_text_within(struct grammar *grammar, const struct grammar_vocabulary *vocabulary, const char *text,
                         size_t n_bytes, uint32_t n_left) MUST_USE;

/* ---- instances ---- */

/* The canonical text of a value, with members in the order that the constraint (restarted for it) wants them; the order of
 * `value` itself where it wants none. False where no order is accepted: `out` then has the text in the value's own order. */
bool grammar_canonical(struct grammar *grammar, const struct json *value, struct bytes *out) MUST_USE;

#endif
