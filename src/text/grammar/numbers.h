/* Numbers of JSON as decimal texts: their canonical form, and the languages of ranges.
 *
 * The canonical form of a number is plain (no exponent) where 80 digits before the point and 60 behind it are enough, else
 * d.ddde±n; no superfluous zeros, no plus, no minus before zero. A grammar takes plain numbers of that size with any zeros
 * at the end; where nothing else is asked of the number, exponents, too. Digits cannot run on for ever, and none come behind
 * the point where there are more than 15 before it: doubles do not hold them, and who reads those would see another number.
 * For the same reason what they round to an integer is not taken where none may come.
 * Where a schema wants an integer it is plain, but for one that the schema names.
 */
#ifndef TALLOW_TEXT_GRAMMAR_NUMBERS_H
#define TALLOW_TEXT_GRAMMAR_NUMBERS_H

#include "base/bytes.h"
#include "text/grammar/language.h"

enum {
	NUMBER_MAX_WHOLE = 80,
	NUMBER_MAX_DECIMALS = 60,
	NUMBER_MAX_DIGITS = NUMBER_MAX_WHOLE + NUMBER_MAX_DECIMALS,
	NUMBER_MAX_WHOLE_POINTED = 15 /* digits before a point */
};

/* 0.DIGITS * 10^point, without zeros at either end of the digits; n_digits 0 is zero. */
struct decimal {
	bool negative;
	int n_digits, point;
	char digits[NUMBER_MAX_DIGITS];
};

/* From JSON's text; false where it has too many digits or leaves doubles' range. */
bool decimal_parse(struct decimal *out, const char *text);
int decimal_compare(const struct decimal *a, const struct decimal *b);
bool decimal_is_integer(const struct decimal *value);
/* Its canonical form is: with at most NUMBER_MAX_WHOLE digits before the point and NUMBER_MAX_DECIMALS behind it; below 1, with
 * less than NUMBER_MAX_DECIMALS zeros behind the point and at most so many digits behind those. */
bool decimal_is_plain(const struct decimal *value);
void decimal_write(struct bytes *out, const struct decimal *value);
/* An integer as a text that is none to draft 4: with a point or an exponent. */
void decimal_write_pointed(struct bytes *out, const struct decimal *value);

struct number_range {
	const struct decimal *lower, *upper; /* NULL: none */
	bool lower_open, upper_open;         /* the bound itself is out */
};

enum number_kind { NUMBER_ANY, NUMBER_INTEGER, NUMBER_FRACTION /* no integer */ };

/* With exponents where nothing else is asked of the number; where the canonical form has one; never. */
enum number_exponents { EXPONENTS_FREE, EXPONENTS_NEEDED, EXPONENTS_NONE };

/* Texts of numbers of a kind in a range, whose bounds are plain. */
uint32_t number_language(struct languages *languages, enum number_kind kind, const struct number_range *range,
                         enum number_exponents exponents);
/* Texts with a superfluous zero at the end of the decimals, or before an exponent: the others are canonical. */
uint32_t number_zeros(struct languages *languages, bool before_exponent);
/* What may follow the canonical text of a number that is plain, and that is the same number. */
uint32_t number_tail(struct languages *languages, const struct decimal *value);
/* All plain texts of one number. */
uint32_t number_texts(struct languages *languages, const struct decimal *value);

#endif
