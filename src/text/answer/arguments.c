/* Arguments on their way through (arguments.h). */
#include "text/answer/arguments.h"

#include <string.h>

#include "base/utf8.h"

enum { REPLACEMENT = 0xFFFD }; /* for half of a pair of surrogates */

void arguments_escape(const char *text, size_t n_bytes, struct bytes *out)
{
	static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt";
	for (size_t i = 0; i < n_bytes; i++) {
		const char *found = text[i] ? strchr(from, text[i]) : NULL;
		if (found)
			bytes_append(out, (const char[]){'\\', to[found - from]}, 2);
		else if ((unsigned char)text[i] < 0x20)
			bytes_append_format(out, "\\u%04x", (unsigned char)text[i]);
		else
			bytes_append(out, &text[i], 1);
	}
}

static enum json_step pass(struct arguments *arguments, char byte, struct bytes *out)
{
	bool in_string = json_bytes_in_string(&arguments->json);
	if (arguments->whole) /* white space may follow it in a string */
		return json_is_space(byte) ? JSON_MORE : JSON_BAD;
	enum json_step step = json_bytes_push(&arguments->json, byte);
	if (step == JSON_BAD)
		return step;
	if (arguments->json.depth == 0 && step == JSON_MORE && !json_is_space(byte))
		return JSON_BAD; /* the beginning of something that is no object */
	arguments->whole = step == JSON_DONE;
	if (in_string && (unsigned char)byte < 0x20)
		arguments_escape(&byte, 1, out);
	else
		bytes_append(out, &byte, 1);
	return step;
}

static enum json_step pass_char(struct arguments *arguments, unsigned code, struct bytes *out)
{
	char text[4];
	int n = utf8_encode(code, text);
	enum json_step step = JSON_MORE;
	for (int i = 0; i < n && step != JSON_BAD; i++)
		step = pass(arguments, text[i], out);
	return step;
}

/* What comes next is no half of a pair, so that the half that came stands alone. */
static enum json_step end_half(struct arguments *arguments, struct bytes *out)
{
	bool alone = arguments->high_half != 0;
	arguments->high_half = 0;
	return alone ? pass_char(arguments, REPLACEMENT, out) : JSON_MORE;
}

static enum json_step pass_code(struct arguments *arguments, unsigned code, struct bytes *out)
{
	bool is_high = code >= 0xD800 && code < 0xDC00, is_low = code >= 0xDC00 && code < 0xE000;
	if (is_low && arguments->high_half) {
		code = 0x10000 + ((arguments->high_half - 0xD800) << 10) + (code - 0xDC00);
		arguments->high_half = 0;
		return pass_char(arguments, code, out);
	}
	if (end_half(arguments, out) == JSON_BAD)
		return JSON_BAD;
	if (!is_high)
		return pass_char(arguments, is_low ? REPLACEMENT : code, out);
	arguments->high_half = code;
	return JSON_MORE;
}

/* Inside the quotes; what an object does not hold is refused by its own grammar. */
static enum json_step push_quoted(struct arguments *arguments, char byte, struct bytes *out)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	if (arguments->n_digits > 0) {
		int value = json_hex_value(byte);
		if (value < 0)
			return JSON_BAD;
		arguments->code = arguments->code << 4 | (unsigned)value;
		return --arguments->n_digits > 0 ? JSON_MORE : pass_code(arguments, arguments->code, out);
	}
	if (arguments->escaped) {
		arguments->escaped = false;
		arguments->code = 0;
		if (byte == 'u') {
			arguments->n_digits = 4;
			return JSON_MORE;
		}
		const char *found = byte ? strchr(from, byte) : NULL;
		if (end_half(arguments, out) == JSON_BAD)
			return JSON_BAD;
		return found ? pass(arguments, to[found - from], out) : JSON_BAD;
	}
	arguments->escaped = byte == '\\';
	if (arguments->escaped)
		return JSON_MORE;
	if (end_half(arguments, out) == JSON_BAD)
		return JSON_BAD;
	if (byte == '"')
		return arguments->whole ? JSON_DONE : JSON_BAD;
	return pass(arguments, byte, out);
}

enum json_step arguments_push(struct arguments *arguments, char byte, struct bytes *out)
{
	if (!arguments->begun) {
		arguments->begun = true;
		arguments->quoted = byte == '"';
		if (arguments->quoted)
			return JSON_MORE;
		return byte == '{' ? pass(arguments, byte, out) : JSON_BAD;
	}
	if (!arguments->quoted)
		return pass(arguments, byte, out);
	enum json_step step = push_quoted(arguments, byte, out);
	/* Inside quotes the object's end is not the string's. */
	return step == JSON_DONE && byte != '"' ? JSON_MORE : step;
}
