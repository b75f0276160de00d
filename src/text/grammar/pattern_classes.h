/* Classes of characters in patterns: escapes, [...], \p{...}. */
#ifndef TALLOW_TEXT_GRAMMAR_PATTERN_CLASSES_H
#define TALLOW_TEXT_GRAMMAR_PATTERN_CLASSES_H

#include "text/grammar/language.h"

struct class_reader {
	struct languages *l;
	const char *text; /* valid UTF-8 */
	size_t n, at;
	const char *why; /* set when refused */
};

/* An escape, a class in brackets, or any other character at `at`; moves `at` behind it. */
uint32_t class_read_atom(struct class_reader *reader);
uint32_t class_dot(struct languages *languages); /* all but the ends of lines */

#endif
