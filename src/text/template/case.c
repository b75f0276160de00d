/* Upper, lower and title case, character by character, with the few that become several. */
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "base/utf8.h"
#include "text/template/calls.h"
#include "text/template/characters.h"
#include "text/template/special_casing.h"
#include "text/unicode.h"

enum letter_case { CASE_UPPER, CASE_LOWER, CASE_TITLE };

static int compare_codes(const void *a, const void *b)
{
	return (int)((const struct special_case *)a)->code - (int)((const struct special_case *)b)->code;
}

static const struct special_case *find_special(uint32_t code)
{
	if (code < 0xDF || code > 0xFFFF)
		return NULL;
	struct special_case key = {.code = (uint16_t)code};
	return bsearch(&key, special_cases, sizeof special_cases / sizeof *special_cases, sizeof key, compare_codes);
}

static bool is_cased(uint32_t code)
{
	return char_is_upper(code) || char_is_lower(code) ||
	       utf8proc_category((utf8proc_int32_t)code) == UTF8PROC_CATEGORY_LT;
}

/* Characters that do not separate letters: marks, modifiers, apostrophes (Case_Ignorable, as far as it matters here). */
static bool is_case_ignorable(uint32_t code)
{
	utf8proc_category_t c = utf8proc_category((utf8proc_int32_t)code);
	return c == UTF8PROC_CATEGORY_MN || c == UTF8PROC_CATEGORY_ME || c == UTF8PROC_CATEGORY_CF ||
	       c == UTF8PROC_CATEGORY_LM || c == UTF8PROC_CATEGORY_SK || code == '\'' || code == '.' || code == ':' ||
	       code == 0xB7 || code == 0x2018 || code == 0x2019;
}

/* A sigma is final when a letter stands before it and none behind it. */
static bool is_final_sigma(const struct string *s, size_t at)
{
	size_t length, before = at, behind = at + 2;
	uint32_t code = 0;
	bool found = false;
	while (before > 0 && !found) {
		before = char_before(s->bytes, before);
		code = char_decode(s->bytes + before, &length);
		found = !is_case_ignorable(code);
	}
	if (!found || !is_cased(code))
		return false;
	for (; behind < s->n_bytes; behind += length) {
		code = char_decode(s->bytes + behind, &length);
		if (!is_case_ignorable(code))
			return !is_cased(code);
	}
	return true;
}

static void add_code(struct builder *b, uint32_t code, bool from_data)
{
	char text[4];
	builder_add(b, text, (size_t)utf8_encode(code, text), from_data);
}

static void add_in_case(struct builder *b, const struct string *s, size_t at, enum letter_case to)
{
	size_t length;
	uint32_t code = char_decode(s->bytes + at, &length);
	bool from_data = string_byte_from_data(s, at);
	const struct special_case *special = to == CASE_LOWER ? NULL : find_special(code);
	if (special) {
		const uint16_t *codes = to == CASE_UPPER ? special->upper : special->title;
		for (int i = 0; i < 3 && codes[i]; i++)
			add_code(b, codes[i], from_data);
	} else if (to == CASE_LOWER && code == 0x130) {
		add_code(b, 'i', from_data);
		add_code(b, 0x307, from_data);
	} else if (to == CASE_LOWER) {
		bool final_sigma = code == 0x3A3 && is_final_sigma(s, at);
		add_code(b, final_sigma ? 0x3C2 : (uint32_t)utf8proc_tolower((utf8proc_int32_t)code), from_data);
	} else {
		utf8proc_int32_t c = (utf8proc_int32_t)code;
		add_code(b, (uint32_t)(to == CASE_UPPER ? utf8proc_toupper(c) : utf8proc_totitle(c)), from_data);
	}
}

/* ASCII keeps its length: bytes change in place. */
static bool ascii_in_case(struct render *r, const struct string *s, bool upper, struct value *out)
{
	struct builder b = {.r = r};
	builder_add_string(&b, s, 0, s->n_bytes);
	if (b.failed)
		return false;
	for (size_t i = 0; i < b.n_bytes; i++) {
		char first = upper ? 'a' : 'A';
		if (b.bytes[i] >= first && b.bytes[i] <= first + 25)
			b.bytes[i] ^= 32;
	}
	return builder_finish(&b, out);
}

static bool is_ascii(const struct string *s)
{
	for (size_t i = 0; i < s->n_bytes; i++)
		if ((unsigned char)s->bytes[i] >= 0x80)
			return false;
	return true;
}

static bool whole_in_case(struct render *r, const struct string *s, enum letter_case to, struct value *out)
{
	struct builder b = {.r = r};
	if (!render_step(r, s->n_bytes / 16))
		return false;
	if (is_ascii(s))
		return ascii_in_case(r, s, to == CASE_UPPER, out);
	for (size_t at = 0; at < s->n_bytes; at += char_length((unsigned char)s->bytes[at]))
		add_in_case(&b, s, at, to);
	return builder_finish(&b, out);
}

bool string_upper(struct render *r, const struct string *s, struct value *out)
{
	return whole_in_case(r, s, CASE_UPPER, out);
}

bool string_lower(struct render *r, const struct string *s, struct value *out)
{
	return whole_in_case(r, s, CASE_LOWER, out);
}

bool string_casefold(struct render *r, const struct string *s, struct value *out)
{
	struct builder b = {.r = r};
	size_t length;
	if (!render_step(r, s->n_bytes / 8))
		return false;
	for (size_t at = 0; at < s->n_bytes; at += length) {
		utf8proc_int32_t folded[4] = {0};
		int class = 0;
		uint32_t code = char_decode(s->bytes + at, &length);
		utf8proc_ssize_t n = utf8proc_decompose_char((utf8proc_int32_t)code, folded, 4, UTF8PROC_CASEFOLD, &class);
		for (utf8proc_ssize_t i = 0; i < n && i < 4; i++)
			add_code(&b, (uint32_t)folded[i], string_byte_from_data(s, at));
	}
	return builder_finish(&b, out);
}

bool string_capitalize(struct render *r, const struct string *s, struct value *out)
{
	struct builder b = {.r = r};
	if (!render_step(r, s->n_bytes / 16))
		return false;
	for (size_t at = 0; at < s->n_bytes; at += char_length((unsigned char)s->bytes[at]))
		add_in_case(&b, s, at, at == 0 ? CASE_TITLE : CASE_LOWER);
	return builder_finish(&b, out);
}

/* str.title: a letter after none begins a word. */
bool string_title(struct render *r, const struct string *s, struct value *out)
{
	struct builder b = {.r = r};
	bool inside = false;
	size_t length;
	if (!render_step(r, s->n_bytes / 16))
		return false;
	for (size_t at = 0; at < s->n_bytes; at += length) {
		uint32_t code = char_decode(s->bytes + at, &length);
		add_in_case(&b, s, at, inside ? CASE_LOWER : CASE_TITLE);
		inside = is_cased(code);
	}
	return builder_finish(&b, out);
}

bool string_swapcase(struct render *r, const struct string *s, struct value *out)
{
	struct builder b = {.r = r};
	size_t length;
	if (!render_step(r, s->n_bytes / 16))
		return false;
	for (size_t at = 0; at < s->n_bytes; at += length) {
		uint32_t code = char_decode(s->bytes + at, &length);
		if (char_is_upper(code) || char_is_lower(code))
			add_in_case(&b, s, at, char_is_upper(code) ? CASE_LOWER : CASE_UPPER);
		else
			builder_add_string(&b, s, at, at + length);
	}
	return builder_finish(&b, out);
}

/* The filter of that name: words are what stands between blanks and some brackets. */
static size_t word_end(const struct string *s, size_t at, bool separator)
{
	for (size_t length; at < s->n_bytes; at += length) {
		uint32_t code = char_decode(s->bytes + at, &length);
		bool separates = char_is_python_space(code) || (code && code < 0x80 && strchr("-({[<", (int)code));
		if (separates != separator)
			break;
	}
	return at;
}

bool string_title_words(struct render *r, const struct string *s, struct value *out)
{
	struct builder b = {.r = r};
	if (!render_step(r, s->n_bytes / 16))
		return false;
	for (size_t at = 0, end; at < s->n_bytes && !b.failed; at = end) {
		size_t start = word_end(s, at, true);
		builder_add_string(&b, s, at, start);
		end = word_end(s, start, false);
		if (start == end)
			continue;
		struct value rest;
		add_in_case(&b, s, start, CASE_UPPER);
		if (!string_slice(r, s, start + char_length((unsigned char)s->bytes[start]), end, &rest) ||
		    !whole_in_case(r, rest.string, CASE_LOWER, &rest))
			return false;
		builder_add_string(&b, rest.string, 0, rest.string->n_bytes);
	}
	return builder_finish(&b, out);
}
