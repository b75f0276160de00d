/* A grammar put together of parts: texts, constraints (text/grammar.h), and what may stand around them.
 *
 *     struct grammar *g = grammar_begin(&error);
 *     grammar_part tag = grammar_part_text(g, "<call>", 6);
 *     grammar_part body = grammar_part_source(g, GRAMMAR_JSON_SCHEMA, schema, n_bytes, &report);   // may refuse: see there
 *     grammar_part parts[] = {tag, body};
 *     g = grammar_finish(g, grammar_part_sequence(g, parts, 2), &report, &error);
 *
 * Making a part never fails by itself: what went wrong comes out with grammar_finish, which must follow: between the two the
 * grammar is one of GRAMMAR_COMPILERS that are compiled. Parts of one grammar share the bounds
 * of one constraint. A part may stand in several places.
 */
#ifndef TALLOW_TEXT_GRAMMAR_PARTS_H
#define TALLOW_TEXT_GRAMMAR_PARTS_H

#include "text/grammar.h"

typedef uint32_t grammar_part;
/* Nothing satisfies it. */
#define GRAMMAR_PART_NONE UINT32_MAX

struct grammar *grammar_begin(struct error *error) MUST_USE;
/* NULL, and the grammar is destroyed: errors as grammar_compile's. */
struct grammar *grammar_finish(struct grammar *grammar, grammar_part root, struct grammar_report *report,
                               struct error *error) MUST_USE;

grammar_part grammar_part_text(struct grammar *grammar, const char *text, size_t n_bytes);
/* GRAMMAR_PART_NONE where it was refused, which the report says. */
grammar_part grammar_part_source(struct grammar *grammar, enum grammar_kind kind, const char *source, size_t n_bytes,
                                 struct grammar_report *report);
grammar_part grammar_part_sequence(struct grammar *grammar, const grammar_part *parts, size_t n_parts);
/* One of them; of none, nothing satisfies it. */
grammar_part grammar_part_either(struct grammar *grammar, const grammar_part *parts, size_t n_parts);
/* `first`, then any number of `more`. */
grammar_part grammar_part_repeat(struct grammar *grammar, grammar_part first, grammar_part more);
/* Any bytes in which none of the words occurs. A word has 1..GRAMMAR_MAX_WORD_BYTES, and there are up to GRAMMAR_MAX_WORDS. */
enum { GRAMMAR_MAX_WORDS = 32, GRAMMAR_MAX_WORD_BYTES = 128 };
grammar_part grammar_part_without(struct grammar *grammar, const char *const *words, size_t n_words);
/* Any bytes that end with the first occurrence of the word. */
grammar_part grammar_part_until(struct grammar *grammar, const char *word);

/* Notes what cannot be enforced; for those who put parts together. */
void grammar_report_refuse(struct grammar_report *report, const char *pointer, const char *why);

#endif
