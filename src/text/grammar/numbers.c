#include "text/grammar/numbers.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text/grammar/pattern.h"

enum { MAX_EXPONENT = 308 };

/* ---- decimals ---- */

bool decimal_parse(struct decimal *out, const char *text)
{
	*out = (struct decimal){.negative = *text == '-'};
	int point = 0, zeros = 0, n = 0; /* zeros: seen after the last digit kept */
	bool behind = false;
	const char *at = text + (*text == '-');
	for (; (*at >= '0' && *at <= '9') || *at == '.'; at++) {
		if (*at == '.') {
			behind = true;
			continue;
		}
		if (*at == '0') {
			zeros += n > 0;
			point += n > 0 ? !behind : -(int)behind;
			continue;
		}
		if (n + zeros >= NUMBER_MAX_DIGITS)
			return false;
		memset(out->digits + n, '0', (size_t)zeros);
		n += zeros;
		zeros = 0;
		out->digits[n++] = *at;
		point += !behind;
	}
	long exponent = *at ? strtol(at + 1, NULL, 10) : 0;
	out->n_digits = n;
	if (n == 0) {
		out->negative = false;
		return true;
	}
	if (exponent < -1000 || exponent > 1000 || point > 1000 || point < -1000)
		return false;
	out->point = point + (int)exponent;
	return out->point <= MAX_EXPONENT + 1 && out->point >= -MAX_EXPONENT;
}

int decimal_compare(const struct decimal *a, const struct decimal *b)
{
	int sign_a = a->n_digits == 0 ? 0 : a->negative ? -1 : 1, sign_b = b->n_digits == 0 ? 0 : b->negative ? -1 : 1;
	if (sign_a != sign_b || sign_a == 0)
		return sign_a - sign_b;
	if (a->point != b->point)
		return a->point > b->point ? sign_a : -sign_a;
	int n = a->n_digits < b->n_digits ? a->n_digits : b->n_digits;
	int order = memcmp(a->digits, b->digits, (size_t)n);
	order = order ? order : a->n_digits - b->n_digits;
	return order > 0 ? sign_a : order < 0 ? -sign_a : 0;
}

bool decimal_is_integer(const struct decimal *value)
{
	return value->n_digits == 0 || value->point >= value->n_digits;
}

bool decimal_is_plain(const struct decimal *value)
{
	if (value->point <= 0)
		return value->point > -NUMBER_MAX_DECIMALS && value->n_digits <= NUMBER_MAX_DECIMALS;
	return value->point <= NUMBER_MAX_WHOLE && value->n_digits - value->point <= NUMBER_MAX_DECIMALS;
}

/* Digits before the point (at least one) and behind it; each holds NUMBER_MAX_DIGITS + 1. */
static void split(const struct decimal *value, char *whole, char *behind)
{
	size_t n_whole = 0, n_behind = 0;
	for (int i = 0; i < value->point; i++)
		whole[n_whole++] = i < value->n_digits ? value->digits[i] : '0';
	if (n_whole == 0)
		whole[n_whole++] = '0';
	for (int i = value->point; i < value->n_digits; i++)
		behind[n_behind++] = i < 0 ? '0' : value->digits[i];
	whole[n_whole] = behind[n_behind] = '\0';
}

static void write_with_exponent(struct bytes *out, const struct decimal *value)
{
	bytes_append(out, value->digits, 1);
	if (value->n_digits > 1)
		bytes_append(out, ".", 1);
	bytes_append(out, value->digits + 1, (size_t)value->n_digits - 1);
	bytes_append_format(out, "e%d", value->point - 1);
}

void decimal_write(struct bytes *out, const struct decimal *value)
{
	char whole[NUMBER_MAX_DIGITS + 1], behind[NUMBER_MAX_DIGITS + 1];
	if (value->negative)
		bytes_append(out, "-", 1);
	if (!decimal_is_plain(value)) {
		write_with_exponent(out, value);
		return;
	}
	split(value, whole, behind);
	bytes_append_text(out, whole);
	if (*behind)
		bytes_append(out, ".", 1);
	bytes_append_text(out, behind);
}

void decimal_write_pointed(struct bytes *out, const struct decimal *value)
{
	if (value->point <= NUMBER_MAX_WHOLE_POINTED) {
		decimal_write(out, value);
		bytes_append_text(out, ".0");
		return;
	}
	if (value->negative)
		bytes_append(out, "-", 1);
	write_with_exponent(out, value);
}

/* ---- languages ---- */

static uint32_t from_pattern(struct languages *l, const char *pattern)
{
	struct pattern_fault fault;
	uint32_t language = pattern_compile(l, pattern, strlen(pattern), true, &fault);
	assert(!fault.why || languages_failed(l));
	return language;
}

static uint32_t sequence3(struct languages *l, uint32_t a, uint32_t b, uint32_t c)
{
	return language_sequence(l, a, language_sequence(l, b, c));
}

static uint32_t digits_between(struct languages *l, int first, int last)
{
	return first <= last ? language_char(l, (uint32_t)first, (uint32_t)last) : LANGUAGE_NONE;
}

static uint32_t some_digits(struct languages *l, uint32_t min, uint32_t max)
{
	return language_repeat(l, language_char(l, '0', '9'), min, max);
}

/* What may stand behind digits that are already larger, or smaller, whatever it is. */
static uint32_t any_decimals(struct languages *l)
{
	uint32_t decimals = language_sequence(l, language_char(l, '.', '.'), some_digits(l, 1, LANGUAGE_NO_MAX));
	return language_repeat(l, decimals, 0, 1);
}

/* Behind the point: strings of digits that are more than `bound` as a fraction, or it itself unless `open`. */
static uint32_t fraction_above(struct languages *l, const char *bound, bool open)
{
	uint32_t any = some_digits(l, 0, LANGUAGE_NO_MAX);
	if (!*bound)
		return open ? sequence3(l, any, digits_between(l, '1', '9'), any) : any;
	uint32_t more = language_sequence(l, digits_between(l, *bound + 1, '9'), any);
	uint32_t same = language_char(l, (unsigned char)*bound, (unsigned char)*bound);
	return language_either(l, more, language_sequence(l, same, fraction_above(l, bound + 1, open)));
}

static uint32_t fraction_below(struct languages *l, const char *bound, bool open, bool first)
{
	if (!*bound)
		return open ? LANGUAGE_NONE : language_repeat(l, language_char(l, '0', '0'), first ? 1 : 0, LANGUAGE_NO_MAX);
	uint32_t less = language_sequence(l, digits_between(l, '0', *bound - 1), some_digits(l, 0, LANGUAGE_NO_MAX));
	uint32_t same = language_char(l, (unsigned char)*bound, (unsigned char)*bound);
	uint32_t longer = language_sequence(l, same, fraction_below(l, bound + 1, open, false));
	return language_either_of(l, (uint32_t[]){less, longer, first ? LANGUAGE_NONE : LANGUAGE_EMPTY}, 3);
}

/* Of as many digits as `whole` has from here on, and beyond it (`above`) or below: from the first digit that differs. */
static uint32_t whole_beyond(struct languages *l, const char *whole, bool above, bool first)
{
	if (!*whole)
		return LANGUAGE_NONE;
	uint32_t rest = (uint32_t)strlen(whole + 1);
	int lowest = first && rest > 0 ? '1' : '0';
	uint32_t digit = above ? digits_between(l, *whole + 1, '9') : digits_between(l, lowest, *whole - 1);
	uint32_t differs = sequence3(l, digit, some_digits(l, rest, rest), any_decimals(l));
	uint32_t same = language_char(l, (unsigned char)*whole, (unsigned char)*whole);
	return language_either(l, differs, language_sequence(l, same, whole_beyond(l, whole + 1, above, false)));
}

static uint32_t magnitudes_above(struct languages *l, const struct decimal *bound, bool open)
{
	char whole[NUMBER_MAX_DIGITS + 1], behind[NUMBER_MAX_DIGITS + 1];
	split(bound, whole, behind);
	uint32_t longer = sequence3(l, digits_between(l, '1', '9'),
	                            some_digits(l, (uint32_t)strlen(whole), LANGUAGE_NO_MAX), any_decimals(l));
	uint32_t point = language_char(l, '.', '.');
	uint32_t decimals = language_sequence(l, point, fraction_above(l, behind, open));
	if (!*behind && !open)
		decimals = any_decimals(l);
	uint32_t equal = language_sequence(l, language_text(l, whole, strlen(whole)), decimals);
	return language_either_of(l, (uint32_t[]){longer, whole_beyond(l, whole, true, true), equal}, 3);
}

static uint32_t magnitudes_below(struct languages *l, const struct decimal *bound, bool open)
{
	char whole[NUMBER_MAX_DIGITS + 1], behind[NUMBER_MAX_DIGITS + 1];
	split(bound, whole, behind);
	uint32_t n = (uint32_t)strlen(whole), shorter = LANGUAGE_NONE;
	if (n > 1) {
		uint32_t several = language_sequence(l, digits_between(l, '1', '9'), some_digits(l, 0, n - 2));
		shorter = language_sequence(l, language_either(l, several, language_char(l, '0', '0')), any_decimals(l));
	}
	uint32_t decimals = language_sequence(l, language_char(l, '.', '.'), fraction_below(l, behind, open, true));
	if (*behind || !open)
		decimals = language_either(l, decimals, LANGUAGE_EMPTY);
	uint32_t equal = language_sequence(l, language_text(l, whole, n), decimals);
	return language_either_of(l, (uint32_t[]){shorter, whole_beyond(l, whole, false, true), equal}, 3);
}

/* Both bounds are magnitudes, or NULL. Never with a sign. */
static uint32_t magnitudes(struct languages *l, const struct decimal *lower, bool lower_open,
                           const struct decimal *upper, bool upper_open)
{
	uint32_t any = language_sequence(l, language_char(l, '0', '9'), LANGUAGE_ALL);
	uint32_t above = lower ? magnitudes_above(l, lower, lower_open) : any;
	return language_both(l, above, upper ? magnitudes_below(l, upper, upper_open) : any);
}

static bool is_negative(const struct decimal *value)
{
	return value && value->negative;
}

static uint32_t range_language(struct languages *l, const struct number_range *r)
{
	uint32_t positive = LANGUAGE_NONE, negative = LANGUAGE_NONE;
	bool lower_counts = r->lower && (r->lower->n_digits > 0 || r->lower_open);
	if (!is_negative(r->upper))
		positive = magnitudes(l, lower_counts && !r->lower->negative ? r->lower : NULL, r->lower_open, r->upper,
		                      r->upper_open);
	if (!r->lower || r->lower->negative)
		negative = magnitudes(l, is_negative(r->upper) ? r->upper : NULL, r->upper_open, r->lower, r->lower_open);
	return language_either(l, positive, language_sequence(l, language_char(l, '-', '-'), negative));
}

#define WHOLE    "[1-9][0-9]{0,79}"
#define SHORT    "[1-9][0-9]{0,14}"
#define DECIMALS "(\\.[0-9]{1,60})?"
#define NONZERO  "\\.0{0,59}[1-9][0-9]{0,59}"
static const char plain_any[] = "0(\\.0{1,60})?|-?(" SHORT DECIMALS "|" WHOLE "|0" NONZERO ")";
static const char plain_integer[] = "0|-?" WHOLE;
/* Any number with an exponent that is finite as a double. */
static const char with_exponent[] =
    "-?([0-9]" DECIMALS "[eE][+-]?([0-9]|[1-9][0-9]|[12][0-9]{2}|30[0-7])|1(\\.([0-6][0-9]{0,39}|7[0-8][0-9]{0,38}|"
    "7976931348623157))?[eE]\\+?308)";
/* Numbers whose canonical form has one, by sign and size; the large ones are integers. */
#define MANTISSA "[1-9]" DECIMALS "e"
static const char large[] =
    MANTISSA "([89][0-9]|[12][0-9]{2}|30[0-7])|1(\\.([0-6][0-9]{0,39}|7[0-8][0-9]{0,38}|7976931348623157))?e308";
static const char small[] = MANTISSA "-(6[1-9]|[7-9][0-9]|[12][0-9]{2}|30[0-7])";

/* The numbers that need an exponent, as far as bounds that need none let them in. */
static uint32_t exponent_language(struct languages *l, enum number_kind kind, const struct number_range *r)
{
	uint32_t minus = language_char(l, '-', '-'), parts[4] = {0};
	bool lower_negative = !r->lower || r->lower->negative;
	bool upper_positive = !r->upper || (r->upper->n_digits > 0 && !r->upper->negative);
	if (kind != NUMBER_FRACTION) {
		uint32_t huge = from_pattern(l, large);
		parts[0] = r->upper ? LANGUAGE_NONE : huge;
		parts[1] = r->lower ? LANGUAGE_NONE : language_sequence(l, minus, huge);
	}
	if (kind != NUMBER_INTEGER) {
		uint32_t tiny = from_pattern(l, small);
		bool below = r->lower && r->lower->n_digits > 0 && !r->lower->negative;
		bool above = is_negative(r->upper);
		parts[2] = upper_positive && !below ? tiny : LANGUAGE_NONE;
		parts[3] = lower_negative && !above ? language_sequence(l, minus, tiny) : LANGUAGE_NONE;
	}
	return language_either_of(l, parts, 4);
}

/* No integer, to who reads doubles neither: with n digits before the point, the first 15 - n behind it are neither all 0 nor
 * all 9, so that rounding does not end at one. */
static uint32_t fractions(struct languages *l)
{
	enum { DIGITS = 15 };
	uint32_t parts[DIGITS] = {from_pattern(l, "0(?!\\.9{15})" NONZERO)};
	for (int n = 1; n < DIGITS; n++) {
		char pattern[100];
		snprintf(pattern, sizeof pattern, "[1-9][0-9]{%d}\\.(?!0{%d}|9{%d}|0+$)[0-9]{1,60}", n - 1, DIGITS - n,
		         DIGITS - n);
		parts[n] = from_pattern(l, pattern);
	}
	uint32_t minus = language_repeat(l, language_char(l, '-', '-'), 0, 1);
	return language_sequence(l, minus, language_either_of(l, parts, DIGITS));
}

uint32_t number_language(struct languages *l, enum number_kind kind, const struct number_range *range,
                         enum number_exponents exponents)
{
	uint32_t plain =
	    kind == NUMBER_FRACTION ? fractions(l) : from_pattern(l, kind == NUMBER_ANY ? plain_any : plain_integer);
	if (range->lower || range->upper)
		plain = language_both(l, plain, range_language(l, range));
	if (exponents == EXPONENTS_NONE)
		return plain;
	if (exponents == EXPONENTS_FREE && kind == NUMBER_ANY && !range->lower && !range->upper)
		return language_either(l, plain, from_pattern(l, with_exponent));
	return language_either(l, plain, exponent_language(l, kind, range));
}

uint32_t number_zeros(struct languages *l, bool before_exponent)
{
	return from_pattern(l, before_exponent ? ".*\\.[0-9]*0e.*" : ".*\\.[0-9]*0");
}

uint32_t number_tail(struct languages *l, const struct decimal *value)
{
	uint32_t zeros = language_repeat(l, language_char(l, '0', '0'), 0, LANGUAGE_NO_MAX);
	if (!decimal_is_integer(value))
		return zeros;
	return language_either(l, language_sequence(l, language_text(l, ".0", 2), zeros), LANGUAGE_EMPTY);
}

uint32_t number_texts(struct languages *l, const struct decimal *value)
{
	struct bytes text = {0};
	decimal_write(&text, value);
	if (text.failed)
		languages_note_no_memory(l);
	uint32_t canonical = language_text(l, text.data ? text.data : "", text.n_bytes);
	bytes_free(&text);
	return language_sequence(l, canonical, number_tail(l, value));
}
