/* Character classes. utf8proc gives general categories, a table where the reference knows another Unicode; the few derived
 * properties that utf8proc lacks are spelled out here. */
#include "text/unicode.h"

#include <string.h>
#include <utf8proc.h>

#include "base/utf8.h"
#include "text/unicode_tables.h"

size_t unicode_valid_prefix(const char *text, size_t n_bytes)
{
	size_t at = 0;
	while (at < n_bytes) {
		uint64_t word;
		if (n_bytes - at >= sizeof word) {
			memcpy(&word, text + at, sizeof word);
			if (!(word & 0x8080808080808080u)) {
				at += sizeof word;
				continue;
			}
		}
		int n = utf8_length((const unsigned char *)text + at, n_bytes - at);
		if (n == 0)
			break;
		at += (size_t)n;
	}
	return at;
}

bool unicode_is_space(uint32_t code)
{
	if (code < 0x80)
		return code == ' ' || (code >= 0x09 && code <= 0x0D);
	return code == 0x85 || code == 0xA0 || code == 0x1680 || (code >= 0x2000 && code <= 0x200A) || code == 0x2028 ||
	       code == 0x2029 || code == 0x202F || code == 0x205F || code == 0x3000;
}

static unsigned exception_flags(uint32_t code)
{
	size_t low = 0, high = n_unicode_exceptions;
	while (low < high) {
		size_t middle = (low + high) / 2;
		const struct unicode_exception *row = &unicode_exceptions[middle];
		if (code < row->first)
			high = middle;
		else if (code > row->last)
			low = middle + 1;
		else
			return row->flags;
	}
	return 0;
}

uint32_t unicode_stand_in(uint32_t code)
{
	size_t low = 0, high = code < unicode_stand_ins[0].first ? 0 : n_unicode_stand_ins;
	while (low < high) {
		size_t middle = (low + high) / 2;
		const struct unicode_stand_in *row = &unicode_stand_ins[middle];
		if (code < row->first)
			high = middle;
		else if (code > row->last)
			low = middle + 1;
		else
			return row->stand_in;
	}
	return code;
}

uint32_t unicode_lower(uint32_t code)
{
	for (size_t i = 0; i < n_unicode_lowers && code >= unicode_lowers[i].first; i++)
		if (code <= unicode_lowers[i].last)
			return (uint32_t)((int32_t)code + unicode_lowers[i].distance);
	return (uint32_t)utf8proc_tolower((utf8proc_int32_t)code);
}

bool unicode_is_inert(uint32_t code)
{
	return exception_flags(code) & UNICODE_INERT;
}

static utf8proc_category_t category(uint32_t code)
{
	return utf8proc_category((utf8proc_int32_t)code);
}

bool unicode_is_number(uint32_t code)
{
	if (code < 0x80)
		return code >= '0' && code <= '9';
	utf8proc_category_t c = category(code);
	return c == UTF8PROC_CATEGORY_ND || c == UTF8PROC_CATEGORY_NL || c == UTF8PROC_CATEGORY_NO ||
	       (exception_flags(code) & UNICODE_NUMBER);
}

bool unicode_is_punctuation(uint32_t code)
{
	if (code < 0x80)
		return (code >= '!' && code <= '/') || (code >= ':' && code <= '@') || (code >= '[' && code <= '`') ||
		       (code >= '{' && code <= '~');
	utf8proc_category_t c = category(code);
	bool known = c >= UTF8PROC_CATEGORY_PC && c <= UTF8PROC_CATEGORY_PO;
	unsigned flags = exception_flags(code);
	return (known || (flags & UNICODE_PUNCTUATION)) && !(flags & UNICODE_NO_PUNCTUATION);
}

static bool is_mark_category(uint32_t code)
{
	utf8proc_category_t c = category(code);
	return c == UTF8PROC_CATEGORY_MN || c == UTF8PROC_CATEGORY_MC || c == UTF8PROC_CATEGORY_ME;
}

bool unicode_is_mark(uint32_t code)
{
	if (code < 0x300)
		return false;
	unsigned flags = exception_flags(code);
	return (is_mark_category(code) || (flags & UNICODE_MARK)) && !(flags & UNICODE_NO_MARK);
}

bool unicode_is_word(uint32_t code)
{
	if (code < 0x80)
		return (code >= '0' && code <= '9') || (code >= 'A' && code <= 'Z') || (code >= 'a' && code <= 'z') ||
		       code == '_';
	utf8proc_category_t c = category(code);
	if ((c >= UTF8PROC_CATEGORY_LU && c <= UTF8PROC_CATEGORY_LO) || is_mark_category(code) ||
	    c == UTF8PROC_CATEGORY_ND || c == UTF8PROC_CATEGORY_NL || c == UTF8PROC_CATEGORY_PC)
		return true;
	/* Join_Control, and the symbols that Other_Alphabetic adds: circled and squared letters. */
	return code == 0x200C || code == 0x200D || (code >= 0x24B6 && code <= 0x24E9) ||
	       (code >= 0x1F130 && code <= 0x1F149) || (code >= 0x1F150 && code <= 0x1F169) ||
	       (code >= 0x1F170 && code <= 0x1F189) || (exception_flags(code) & UNICODE_WORD);
}
