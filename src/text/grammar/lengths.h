/* How long the shortest strings of a language are, counted in bytes as they are written. */
#ifndef TALLOW_TEXT_GRAMMAR_LENGTHS_H
#define TALLOW_TEXT_GRAMMAR_LENGTHS_H

#include "text/grammar/language.h"

/* The lengths of the n shortest strings, in order, and how many strings there are where they are fewer. `in_string`: as they
 * are written in a JSON string, without its quotes. 0 also where memory or steps ran out (languages_failed). */
size_t language_lengths(struct languages *languages, uint32_t term, bool in_string, uint32_t *lengths, size_t n);

#endif
