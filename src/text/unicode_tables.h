/* Where Hugging Face's tokenizers know another Unicode than utf8proc and PCRE2 do: their regular expressions a newer one
 * (16), their normalizers an older one (9). Ids depend on it, so theirs counts. Sorted ranges of code points; look-ups
 * are in unicode.c.
 */
#ifndef TALLOW_TEXT_UNICODE_TABLES_H
#define TALLOW_TEXT_UNICODE_TABLES_H

#include <stddef.h>
#include <stdint.h>

/* Characters that PCRE2 may not know, and one of as many bytes that it does and that belongs to the same classes. */
struct unicode_stand_in {
	uint32_t first, last, stand_in;
};
extern const struct unicode_stand_in unicode_stand_ins[];
extern const size_t n_unicode_stand_ins;

enum unicode_flags {
	UNICODE_NUMBER = 1,
	UNICODE_WORD = 2,
	UNICODE_PUNCTUATION = 4,
	UNICODE_NO_PUNCTUATION = 8,
	UNICODE_MARK = 16,
	UNICODE_NO_MARK = 32,
	UNICODE_INERT = 64, /* to normalization as if not assigned: no decomposition, no order, composes with nothing */
};

struct unicode_exception {
	uint32_t first, last, flags;
};
extern const struct unicode_exception unicode_exceptions[];
extern const size_t n_unicode_exceptions;

/* Lower case that utf8proc may not know. */
struct unicode_lower {
	uint32_t first, last;
	int32_t distance;
};
extern const struct unicode_lower unicode_lowers[];
extern const size_t n_unicode_lowers;

#endif
