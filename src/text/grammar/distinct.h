/* Items of an array that must differ (uniqueItems), where they are lexemes: how the text says which came.
 *
 * What came is a language, `used`, of all spellings: strings with a quote before them, numbers with any zeros at their end;
 * LANGUAGE_NONE is nothing. The next item is read in its own language without those. States do not know what an item that
 * is being read says, so that strings of many kinds are in few states; where it has ended and another begins it is read
 * again, backwards from there.
 */
#ifndef TALLOW_TEXT_GRAMMAR_DISTINCT_H
#define TALLOW_TEXT_GRAMMAR_DISTINCT_H

#include "base/bytes.h"
#include "text/grammar/language.h"

/* The text before a place, in two parts. */
struct text_before {
	const char *first, *second;
	size_t n_first, n_second;
};

/* Where the item starts that ends at `end`, as a whole, or (`begun_string`) in the middle of a string; and where the one
 * before that ends. */
size_t distinct_start(const struct text_before *text, size_t end, bool begun_string);
size_t distinct_end_before(const struct text_before *text, size_t start);
/* Appends what stands from start to end. */
void distinct_copy(const struct text_before *text, size_t start, size_t end, struct bytes *out);
static inline char text_before_at(const struct text_before *text, size_t at)
{
	return at < text->n_first ? text->first[at] : text->second[at - text->n_first];
}
static inline size_t text_before_bytes(const struct text_before *text)
{
	return text->n_first + text->n_second;
}
/* Used after an item that is written so. */
uint32_t distinct_with(struct languages *languages, uint32_t used, const char *item);
/* What may come of a language. */
uint32_t distinct_left(struct languages *languages, uint32_t language, uint32_t used, bool is_string);
/* So many bytes it takes to write an item of which this is a spelling; of a plain number without zeros at its end. */
uint32_t distinct_length(const char *item);

#endif
