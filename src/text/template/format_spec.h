/* One field of "%5.2f" or "{:>5.2f}", and how a value is written in it. */
#ifndef TALLOW_TEXT_TEMPLATE_FORMAT_SPEC_H
#define TALLOW_TEXT_TEMPLATE_FORMAT_SPEC_H

#include "text/template/calls.h"

enum { FORMAT_MAX_WIDTH = 1 << 24, FORMAT_MAX_PRECISION = 100 };

struct format_spec {
	struct string fill; /* one character; empty: a blank */
	char align;         /* '<', '>', '^', '=' or 0 */
	char sign;          /* '+', ' ', '-' (as 0 for numbers) or 0 */
	char thousands;     /* ',', '_' or 0 */
	char type;          /* 'd', 'f', ... or 0 */
	bool alternate, zero;
	int64_t width, precision; /* precision -1: none */
};

/* The digits of a number with sign and prefix, without padding. ValueError for a type that it does not have. */
bool format_number(struct render *r, const struct format_spec *spec, const struct value *value, struct builder *out);
/* Adds `text` in its width; numbers, and what is aligned so, to the right. */
void format_pad(struct builder *out, const struct format_spec *spec, struct string *text, bool number);
/* Decimal digits at *at; false when they pass FORMAT_MAX_WIDTH. */
bool format_read_int(const struct string *s, size_t *at, int64_t *out);
/* How many characters `text` lacks of a width. */
static inline int64_t pad_missing(struct string *text, int64_t width)
{
	int64_t n = string_chars(text);
	return width > n ? width - n : 0;
}
void builder_pad(struct builder *b, const struct string *fill, int64_t count);

#endif
