/* UTF-8, RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF. */
#ifndef TALLOW_BASE_UTF8_H
#define TALLOW_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>

/* Bytes of the character that starts at text, 1..4; 0 when it is not valid within n_bytes (>= 1). */
static inline int utf8_length(const unsigned char *text, size_t n_bytes)
{
	unsigned char lead = text[0];
	if (lead < 0x80)
		return 1;
	int n = lead >= 0xC2 && lead <= 0xDF ? 2 : lead >= 0xE0 && lead <= 0xEF ? 3 : lead >= 0xF0 && lead <= 0xF4 ? 4 : 0;
	if (n == 0 || n_bytes < (size_t)n)
		return 0;
	for (int i = 1; i < n; i++)
		if ((text[i] & 0xC0) != 0x80)
			return 0;
	if ((lead == 0xE0 && text[1] < 0xA0) || (lead == 0xED && text[1] > 0x9F) || (lead == 0xF0 && text[1] < 0x90) ||
	    (lead == 0xF4 && text[1] > 0x8F))
		return 0;
	return n;
}

/* The number of a character of `length` bytes, which utf8_length told. */
static inline unsigned utf8_code(const unsigned char *text, int length)
{
	unsigned code = length == 1 ? text[0] : text[0] & (0x7Fu >> length);
	for (int i = 1; i < length; i++)
		code = code << 6 | (text[i] & 0x3F);
	return code;
}

/* A character that is no text but tells a terminal, or the reader's eye, something: controls, and what turns the direction of
 * writing around. Line feed and tab are among them. */
static inline bool utf8_is_telling(unsigned code)
{
	return code < 0x20 || (code >= 0x7F && code < 0xA0) || code == 0x061C || code == 0x200E || code == 0x200F ||
	       (code >= 0x2028 && code <= 0x202E) || (code >= 0x2066 && code <= 0x2069);
}

/* Writes the character's bytes, 1..4, and returns how many. `code` is a Unicode scalar value. */
static inline int utf8_encode(unsigned code, char out[4])
{
	if (code < 0x80) {
		out[0] = (char)code;
		return 1;
	}
	if (code < 0x800) {
		out[0] = (char)(0xC0 | code >> 6);
		out[1] = (char)(0x80 | (code & 0x3F));
		return 2;
	}
	if (code < 0x10000) {
		out[0] = (char)(0xE0 | code >> 12);
		out[1] = (char)(0x80 | (code >> 6 & 0x3F));
		out[2] = (char)(0x80 | (code & 0x3F));
		return 3;
	}
	out[0] = (char)(0xF0 | code >> 18);
	out[1] = (char)(0x80 | (code >> 12 & 0x3F));
	out[2] = (char)(0x80 | (code >> 6 & 0x3F));
	out[3] = (char)(0x80 | (code & 0x3F));
	return 4;
}

#endif
