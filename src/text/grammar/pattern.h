/* Regular expressions of ECMA-262 (with its u flag's meaning of characters) as languages, where that is exact.
 *
 * Taken: characters, classes, escapes (\d \w \s and their complements, \t \n ... \xHH \uHHHH \u{H} \cX, \p of general
 * categories), groups, alternatives, quantifiers (lazy ones match the same strings), ^ and $, lookahead outside of loops.
 * Refused, with what and where: back references, lookbehind, \b and \B, flags, whatever no regular expression may hold.
 */
#ifndef TALLOW_TEXT_GRAMMAR_PATTERN_H
#define TALLOW_TEXT_GRAMMAR_PATTERN_H

#include "text/grammar/language.h"

struct pattern_fault {
	const char *why; /* NULL: none */
	size_t at;       /* byte of the pattern */
};

/* The strings in which the pattern (valid UTF-8) matches somewhere, or, with `whole`, which it matches as a whole. */
uint32_t pattern_compile(struct languages *languages, const char *pattern, size_t n_bytes, bool whole,
                         struct pattern_fault *fault);

#endif
