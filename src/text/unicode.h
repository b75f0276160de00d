/* Characters as the tokenizers' reference sees them: code points out of UTF-8 that is known to be valid, the classes
 * that pre-tokenizers and added tokens ask for, and the byte-level alphabet of GPT-2 (one printable character per
 * byte).
 */
#ifndef TALLOW_TEXT_UNICODE_H
#define TALLOW_TEXT_UNICODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Of valid UTF-8: how long the character is that starts with this byte. */
static inline size_t char_length(unsigned char lead)
{
	return lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
}

/* Of valid UTF-8: the character at `text`; *length is its bytes. */
static inline uint32_t char_decode(const char *text, size_t *length)
{
	const unsigned char *at = (const unsigned char *)text;
	size_t n = char_length(at[0]);
	*length = n;
	if (n == 1)
		return at[0];
	if (n == 2)
		return (uint32_t)(at[0] & 0x1F) << 6 | (at[1] & 0x3F);
	if (n == 3)
		return (uint32_t)(at[0] & 0x0F) << 12 | (uint32_t)(at[1] & 0x3F) << 6 | (at[2] & 0x3F);
	return (uint32_t)(at[0] & 0x07) << 18 | (uint32_t)(at[1] & 0x3F) << 12 | (uint32_t)(at[2] & 0x3F) << 6 |
	       (at[3] & 0x3F);
}

/* Of valid UTF-8, end > begin: where the character before `end` starts. */
static inline size_t char_before(const char *text, size_t end)
{
	do
		end--;
	while (((unsigned char)text[end] & 0xC0) == 0x80);
	return end;
}

/* The first byte that is not valid UTF-8, or n_bytes. */
size_t unicode_valid_prefix(const char *text, size_t n_bytes);

/* What Hugging Face's tokenizers take for one, which is of another Unicode than utf8proc's in places. */
bool unicode_is_space(uint32_t code);       /* White_Space; not U+180E */
bool unicode_is_number(uint32_t code);      /* Nd, Nl, No */
bool unicode_is_punctuation(uint32_t code); /* ASCII punctuation, or P* */
bool unicode_is_mark(uint32_t code);        /* Mn, Mc, Me */
bool unicode_is_word(uint32_t code);        /* \w of UTS #18: Alphabetic, M, Nd, Pc, Join_Control */

uint32_t unicode_lower(uint32_t code); /* one character; U+0130, which has two, is the caller's */
bool unicode_is_inert(uint32_t code);  /* to normalization as if not assigned */
/* A character of as many bytes and the same classes that PCRE2 knows; mostly the code itself. */
uint32_t unicode_stand_in(uint32_t code);

/* Byte-level alphabet: printable Latin-1 stands for itself, the other 68 bytes for U+0100 onwards. */
static inline uint32_t byte_level_char(unsigned char byte)
{
	if (byte <= 0x20)
		return 0x100 + (uint32_t)byte;
	if (byte >= 0x7F && byte <= 0xA0)
		return 0x121 + (uint32_t)byte - 0x7F;
	return byte == 0xAD ? 0x143 : byte;
}

/* The byte a character of that alphabet stands for; -1 for all others. */
static inline int byte_level_byte(uint32_t code)
{
	if (code >= 0x100 && code <= 0x120)
		return (int)code - 0x100;
	if (code >= 0x121 && code <= 0x142)
		return (int)code - 0x121 + 0x7F;
	if (code == 0x143)
		return 0xAD;
	return code > 0x20 && code <= 0xFF && !(code >= 0x7F && code <= 0xA0) && code != 0xAD ? (int)code : -1;
}

#endif
