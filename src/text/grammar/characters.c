#include "text/grammar/characters.h"

#include <string.h>

/* partial: bits 30..31 kind; UTF-8: bits 26..27 length of the character, 24..25 bytes still to come, 0..20 what the bytes
 * so far say; escape: how far it is. */
enum { KIND_UTF8 = 1U << 30, KIND_ESCAPE = 1U << 31 };
enum { AFTER_BACKSLASH, AFTER_U, AFTER_U0, AFTER_U00, AFTER_U000, AFTER_U001 };

static const char escape_letters[] = "\"\\bfnrt", escape_values[] = "\"\\\b\f\n\r\t";

static bool has_letter(uint32_t code)
{
	return code != 0 && code < 0x80 && strchr(escape_values, (int)code) != NULL;
}

static bool take_code(struct languages *l, uint32_t *language, uint32_t *partial, uint32_t code)
{
	*language = language_after(l, *language, code);
	*partial = 0;
	return language_is_live(l, *language);
}

/* Some control character without a letter of its own in first..last. */
static bool control_lives(struct languages *l, uint32_t language, uint32_t first, uint32_t last)
{
	for (uint32_t code = first; code <= last; code++)
		if (!has_letter(code) && language_lives_in(l, language, code, code))
			return true;
	return false;
}

static bool letter_lives(struct languages *l, uint32_t language)
{
	for (const char *value = escape_values; *value; value++)
		if (language_lives_in(l, language, (unsigned char)*value, (unsigned char)*value))
			return true;
	return false;
}

static bool step_escape(struct languages *l, uint32_t *language, uint32_t *partial, unsigned char byte)
{
	uint32_t stage = *partial & 0xFF, next = AFTER_U, first = 0, last = 0x1F;
	const char *letter = byte ? strchr(escape_letters, byte) : NULL;
	if (stage == AFTER_U000 || stage == AFTER_U001) {
		bool digit = byte >= '0' && byte <= '9';
		if (!digit && !(byte >= 'a' && byte <= 'f'))
			return false;
		uint32_t code = (stage == AFTER_U001 ? 0x10U : 0U) + (uint32_t)(digit ? byte - '0' : byte - 'a' + 10);
		return !has_letter(code) && take_code(l, language, partial, code);
	}
	if (stage == AFTER_BACKSLASH && letter)
		return take_code(l, language, partial, (unsigned char)escape_values[letter - escape_letters]);
	if (stage == AFTER_BACKSLASH ? byte != 'u' : byte != '0' && !(stage == AFTER_U00 && byte == '1'))
		return false;
	if (stage == AFTER_U || stage == AFTER_U0)
		next = stage + 1;
	if (stage == AFTER_U00) {
		next = byte == '0' ? AFTER_U000 : AFTER_U001;
		first = byte == '0' ? 0 : 0x10;
		last = first + 0xF;
	}
	*partial = KIND_ESCAPE | next;
	return control_lives(l, *language, first, last);
}

/* Characters that begin as `prefix` does, with `left` bytes of six bits to come. */
static struct char_range begun_range(uint32_t length, uint32_t left, uint32_t prefix)
{
	static const uint32_t lowest[] = {0, 0, 0x80, 0x800, 0x10000};
	uint32_t first = prefix << 6 * left, last = first | ((1U << 6 * left) - 1);
	first = first < lowest[length] ? lowest[length] : first;
	last = last > LANGUAGE_MAX_CODE ? LANGUAGE_MAX_CODE : last;
	return (struct char_range){first, last};
}

static bool begun_lives(struct languages *l, uint32_t language, uint32_t length, uint32_t left, uint32_t prefix)
{
	struct char_range range = begun_range(length, left, prefix);
	return range.first <= range.last && language_lives_in(l, language, range.first, range.last);
}

static bool step_utf8(struct languages *l, uint32_t *language, uint32_t *partial, unsigned char byte)
{
	uint32_t length = *partial >> 26 & 3, left = *partial >> 24 & 3, prefix = *partial & 0x1FFFFF;
	length = length == 0 ? 4 : length;
	if ((byte & 0xC0) != 0x80)
		return false;
	prefix = prefix << 6 | (byte & 0x3F);
	left--;
	if (!begun_lives(l, *language, length, left, prefix))
		return false;
	if (left == 0)
		return take_code(l, language, partial, prefix);
	*partial = KIND_UTF8 | (length & 3) << 26 | left << 24 | prefix;
	return true;
}

bool character_step(struct languages *l, bool in_string, uint32_t *language, uint32_t *partial, unsigned char byte)
{
	if (*partial & KIND_ESCAPE)
		return step_escape(l, language, partial, byte);
	if (*partial & KIND_UTF8)
		return step_utf8(l, language, partial, byte);
	if (in_string && byte == '\\') {
		*partial = KIND_ESCAPE | AFTER_BACKSLASH;
		return letter_lives(l, *language) || control_lives(l, *language, 0, 0x1F);
	}
	if (in_string && byte < 0x20)
		return false;
	if (byte < 0x80)
		return take_code(l, language, partial, byte);
	uint32_t length = byte < 0xC2 ? 0 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : byte < 0xF5 ? 4 : 0;
	if (length == 0)
		return false;
	uint32_t prefix = byte & (0x7FU >> length);
	*partial = KIND_UTF8 | (length & 3) << 26 | (length - 1) << 24 | prefix;
	return begun_lives(l, *language, length, length - 1, prefix);
}

/* Control characters without a letter in first..last. */
static size_t control_ends(uint32_t first, uint32_t last, uint32_t n_bytes, struct character_end *ends)
{
	size_t n = 0;
	for (uint32_t code = first; code <= last; code++) {
		if (has_letter(code))
			continue;
		if (n > 0 && ends[n - 1].range.last + 1 == code)
			ends[n - 1].range.last = code;
		else
			ends[n++] = (struct character_end){{code, code}, n_bytes};
	}
	return n;
}

static size_t escape_ends(uint32_t stage, struct character_end *ends)
{
	size_t n = 0;
	if (stage == AFTER_U000 || stage == AFTER_U001)
		return control_ends(stage == AFTER_U000 ? 0 : 0x10, stage == AFTER_U000 ? 0xF : 0x1F, 1, ends);
	if (stage != AFTER_BACKSLASH)
		return control_ends(0, 0x1F, 2 + AFTER_U00 - stage, ends);
	for (const char *value = escape_values; *value; value++)
		ends[n++] = (struct character_end){{(unsigned char)*value, (unsigned char)*value}, 1};
	return n + control_ends(0, 0x1F, 5, ends + n);
}

size_t character_ends(uint32_t partial, struct character_end ends[CHARACTER_MAX_ENDS])
{
	if (partial & KIND_ESCAPE)
		return escape_ends(partial & 0xFF, ends);
	uint32_t length = partial >> 26 & 3, left = partial >> 24 & 3;
	ends[0] = (struct character_end){begun_range(length ? length : 4, left, partial & 0x1FFFFF), left};
	return 1;
}

void characters_escape(struct bytes *out, const char *text, size_t n_bytes)
{
	size_t plain = 0;
	for (size_t i = 0; i < n_bytes; i++) {
		unsigned char byte = (unsigned char)text[i];
		if (byte >= 0x20 && byte != '"' && byte != '\\')
			continue;
		bytes_append(out, text + plain, i - plain);
		plain = i + 1;
		if (has_letter(byte))
			bytes_append_format(out, "\\%c", escape_letters[strchr(escape_values, byte) - escape_values]);
		else
			bytes_append_format(out, "\\u%04x", byte);
	}
	bytes_append(out, text + plain, n_bytes - plain);
}

uint32_t character_bytes(uint32_t code, bool in_string)
{
	if (in_string && code < 0x20)
		return has_letter(code) ? 2 : 6;
	if (in_string && has_letter(code))
		return 2;
	return code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
}

static unsigned digit_value(char digit)
{
	return (unsigned)(digit <= '9' ? digit - '0' : digit - 'a' + 10);
}

void characters_unescape(struct bytes *out, const char *text, size_t n_bytes)
{
	size_t plain = 0;
	for (size_t i = 0; i + 1 < n_bytes; i++) {
		if (text[i] != '\\')
			continue;
		bytes_append(out, text + plain, i - plain);
		const char *letter = strchr(escape_letters, text[++i]);
		char code = letter ? escape_values[letter - escape_letters] : '\0';
		if (!letter && i + 4 < n_bytes) {
			code = (char)(digit_value(text[i + 3]) << 4 | digit_value(text[i + 4]));
			i += 4;
		}
		bytes_append(out, &code, 1);
		plain = i + 1;
	}
	bytes_append(out, text + plain, n_bytes - plain);
}
