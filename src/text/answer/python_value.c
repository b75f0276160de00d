/* Python's spelling of values: other quotes, other escapes, other words; brackets, commas and numbers are JSON's. */
#include "text/answer/python_value.h"

#include <stdbool.h>
#include <string.h>

#include "text/answer/arguments.h"

static bool is_letter(char byte)
{
	return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || byte == '_';
}

/* A word outside strings; returns its bytes. */
static size_t put_word(const char *text, size_t n_bytes, struct bytes *out)
{
	static const char *const words[][2] = {{"True", "true"}, {"False", "false"}, {"None", "null"}};
	size_t n = 0;
	while (n < n_bytes && is_letter(text[n]))
		n++;
	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		if (strlen(words[i][0]) == n && memcmp(text, words[i][0], n) == 0) {
			bytes_append_text(out, words[i][1]);
			return n;
		}
	bytes_append(out, text, n);
	return n;
}

/* What follows a backslash in a string; returns its bytes. \U is written where a character is not printable and beyond 16
 * bits: there JSON has two halves. */
static size_t put_escape(const char *text, size_t n_bytes, struct bytes *out)
{
	unsigned code = 0;
	size_t n_digits = text[0] == 'x' ? 2 : text[0] == 'u' ? 4 : text[0] == 'U' ? 8 : 0, n = 1;
	for (; n <= n_digits && n < n_bytes && json_hex_value(text[n]) >= 0; n++)
		code = code << 4 | (unsigned)json_hex_value(text[n]);
	if (n <= n_digits) {
		bytes_append_text(out, "\\x"); /* which JSON has not */
		return n;
	}
	if (code > 0x10FFFF)
		bytes_append_text(out, "\\U"); /* nor this */
	else if (code > 0xFFFF)
		bytes_append_format(out, "\\u%04x\\u%04x", 0xD7C0 + (code >> 10), 0xDC00 + (code & 0x3FF));
	else if (n_digits)
		bytes_append_format(out, "\\u%04x", code);
	else if (text[0] == '\'')
		bytes_append_text(out, "'");
	else
		bytes_append_format(out, "\\%c", text[0]);
	return n;
}

/* A string from behind its quote on; returns its bytes, the other quote included. */
static size_t put_string(const char *text, size_t n_bytes, char quote, struct bytes *out)
{
	size_t at = 0;
	bytes_append_text(out, "\"");
	while (at < n_bytes && text[at] != quote) {
		if (text[at] == '\\' && at + 1 < n_bytes) {
			at += 1 + put_escape(text + at + 1, n_bytes - at - 1, out);
			continue;
		}
		arguments_escape(text + at++, 1, out);
	}
	if (at == n_bytes)
		return at; /* it has no end, and what was made is no JSON */
	bytes_append_text(out, "\"");
	return at + 1;
}

void python_value_to_json(const char *text, size_t n_bytes, struct bytes *out)
{
	for (size_t at = 0; at < n_bytes;) {
		char byte = text[at];
		if (byte == '\'' || byte == '"') {
			at += 1 + put_string(text + at + 1, n_bytes - at - 1, byte, out);
		} else if (is_letter(byte)) {
			at += put_word(text + at, n_bytes - at, out);
		} else {
			bytes_append(out, &byte, 1);
			at++;
		}
	}
}
