/* Character classes. utf8proc gives general categories; the few derived properties it lacks are spelled out here. */
#include "text/unicode.h"

#include <string.h>
#include <utf8proc.h>

#include "base/utf8.h"

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

static utf8proc_category_t category(uint32_t code)
{
	return utf8proc_category((utf8proc_int32_t)code);
}

bool unicode_is_number(uint32_t code)
{
	if (code < 0x80)
		return code >= '0' && code <= '9';
	utf8proc_category_t c = category(code);
	return c == UTF8PROC_CATEGORY_ND || c == UTF8PROC_CATEGORY_NL || c == UTF8PROC_CATEGORY_NO;
}

bool unicode_is_punctuation(uint32_t code)
{
	if (code < 0x80)
		return (code >= '!' && code <= '/') || (code >= ':' && code <= '@') || (code >= '[' && code <= '`') ||
		       (code >= '{' && code <= '~');
	utf8proc_category_t c = category(code);
	return c >= UTF8PROC_CATEGORY_PC && c <= UTF8PROC_CATEGORY_PO;
}

bool unicode_is_mark(uint32_t code)
{
	if (code < 0x300)
		return false;
	utf8proc_category_t c = category(code);
	return c == UTF8PROC_CATEGORY_MN || c == UTF8PROC_CATEGORY_MC || c == UTF8PROC_CATEGORY_ME;
}

bool unicode_is_word(uint32_t code)
{
	if (code < 0x80)
		return (code >= '0' && code <= '9') || (code >= 'A' && code <= 'Z') || (code >= 'a' && code <= 'z') ||
		       code == '_';
	utf8proc_category_t c = category(code);
	if ((c >= UTF8PROC_CATEGORY_LU && c <= UTF8PROC_CATEGORY_LO) || unicode_is_mark(code) ||
	    c == UTF8PROC_CATEGORY_ND || c == UTF8PROC_CATEGORY_NL || c == UTF8PROC_CATEGORY_PC)
		return true;
	/* Join_Control, and the symbols that Other_Alphabetic adds: circled and squared letters. */
	return code == 0x200C || code == 0x200D || (code >= 0x24B6 && code <= 0x24E9) ||
	       (code >= 0x1F130 && code <= 0x1F149) || (code >= 0x1F150 && code <= 0x1F169) ||
	       (code >= 0x1F170 && code <= 0x1F189);
}
