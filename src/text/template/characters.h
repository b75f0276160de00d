/* Classes of characters as Python's str methods ask for them. */
#ifndef TALLOW_TEXT_TEMPLATE_CHARACTERS_H
#define TALLOW_TEXT_TEMPLATE_CHARACTERS_H

#include <stdbool.h>
#include <stdint.h>
#include <utf8proc.h>

struct render;
struct string;
struct value;

static inline utf8proc_category_t char_category(uint32_t code)
{
	return utf8proc_category((utf8proc_int32_t)code);
}
/* Ll and Lu, with what Other_Lowercase and Other_Uppercase add. */
static inline bool char_is_lower(uint32_t code)
{
	return char_category(code) == UTF8PROC_CATEGORY_LL || code == 0xAA || code == 0xBA ||
	       (code >= 0x2B0 && code <= 0x2B8) || (code >= 0x2170 && code <= 0x217F) || (code >= 0x24D0 && code <= 0x24E9);
}
static inline bool char_is_upper(uint32_t code)
{
	return char_category(code) == UTF8PROC_CATEGORY_LU || (code >= 0x2160 && code <= 0x216F) ||
	       (code >= 0x24B6 && code <= 0x24CF);
}
static inline bool char_is_alpha(uint32_t code)
{
	utf8proc_category_t c = char_category(code);
	return c >= UTF8PROC_CATEGORY_LU && c <= UTF8PROC_CATEGORY_LO;
}
static inline bool char_is_decimal(uint32_t code)
{
	return char_category(code) == UTF8PROC_CATEGORY_ND;
}
/* The value of a decimal digit: Unicode has them in runs of ten. */
static inline int char_decimal(uint32_t code)
{
	uint32_t first = code;
	while (first > 0 && char_is_decimal(first - 1))
		first--;
	return (int)((code - first) % 10);
}
/* Decimals, superscripts and subscripts, circled digits. */
static inline bool char_is_digit(uint32_t code)
{
	return char_is_decimal(code) || code == 0xB2 || code == 0xB3 || code == 0xB9 || code == 0x2070 ||
	       (code >= 0x2074 && code <= 0x2079) || (code >= 0x2080 && code <= 0x2089) ||
	       (code >= 0x2460 && code <= 0x2468) || (code >= 0x2474 && code <= 0x247C) ||
	       (code >= 0x2488 && code <= 0x2490);
}
static inline bool char_is_numeric(uint32_t code)
{
	utf8proc_category_t c = char_category(code);
	return c == UTF8PROC_CATEGORY_ND || c == UTF8PROC_CATEGORY_NL || c == UTF8PROC_CATEGORY_NO;
}
/* str.isidentifier: what a name may begin with, and what it may go on with. */
static inline bool char_starts_name(uint32_t code)
{
	return code == '_' || char_is_alpha(code) || char_category(code) == UTF8PROC_CATEGORY_NL || code == 0x2118 ||
	       code == 0x212E;
}
static inline bool char_in_name(uint32_t code)
{
	utf8proc_category_t c = char_category(code);
	return char_starts_name(code) || c == UTF8PROC_CATEGORY_MN || c == UTF8PROC_CATEGORY_MC ||
	       c == UTF8PROC_CATEGORY_ND || c == UTF8PROC_CATEGORY_PC || code == 0xB7 || code == 0x387 ||
	       (code >= 0x1369 && code <= 0x1371) || code == 0x19DA;
}

bool string_title(struct render *r, const struct string *s, struct value *out);
bool string_casefold(struct render *r, const struct string *s, struct value *out);
bool string_swapcase(struct render *r, const struct string *s, struct value *out);
bool string_title_words(struct render *r, const struct string *s, struct value *out);

#endif
