/* The grammar of RFC 8259 as a machine of one byte a step (json_bytes.h). */
#include "text/answer/json_bytes.h"

#include <stddef.h>

enum {
	VALUE, /* zero: where a fresh struct stands */
	VALUE_OR_END,
	KEY_OR_END,
	KEY,
	COLON,
	AFTER_VALUE,
	STRING,
	ESCAPE,
	HEX,
	MINUS,
	ZERO,
	INTEGER,
	POINT,
	FRACTION,
	EXPONENT,
	EXPONENT_SIGN,
	EXPONENT_DIGITS,
	LITERAL,
};

static bool is_digit(char byte)
{
	return byte >= '0' && byte <= '9';
}

static bool in_object(const struct json_bytes *json)
{
	return json->depth > 0 && (json->objects >> (json->depth - 1) & 1);
}

static enum json_step end_value(struct json_bytes *json)
{
	json->state = AFTER_VALUE;
	return json->depth == 0 ? JSON_DONE : JSON_MORE;
}

static enum json_step open_container(struct json_bytes *json, bool object)
{
	if (json->depth == JSON_BYTES_MAX_DEPTH)
		return JSON_BAD;
	uint64_t bit = 1ULL << json->depth++;
	json->objects = object ? json->objects | bit : json->objects & ~bit;
	json->state = object ? KEY_OR_END : VALUE_OR_END;
	return JSON_MORE;
}

static enum json_step close_container(struct json_bytes *json, bool object)
{
	if (json->depth == 0 || in_object(json) != object)
		return JSON_BAD;
	json->depth--;
	return end_value(json);
}

static enum json_step go(struct json_bytes *json, uint8_t state)
{
	json->state = state;
	return JSON_MORE;
}

static enum json_step begin_value(struct json_bytes *json, char byte)
{
	json->is_key = false;
	switch (byte) {
	case '{':
	case '[':
		return open_container(json, byte == '{');
	case '"':
		return go(json, STRING);
	case '-':
		return go(json, MINUS);
	case '0':
		return go(json, ZERO);
	case 't':
		json->literal = "rue";
		return go(json, LITERAL);
	case 'f':
		json->literal = "alse";
		return go(json, LITERAL);
	case 'n':
		json->literal = "ull";
		return go(json, LITERAL);
	default:
		return is_digit(byte) ? go(json, INTEGER) : JSON_BAD;
	}
}

static enum json_step between(struct json_bytes *json, char byte)
{
	if (json_is_space(byte))
		return JSON_MORE;
	switch (json->state) {
	case VALUE_OR_END:
		return byte == ']' ? close_container(json, false) : begin_value(json, byte);
	case KEY_OR_END:
	case KEY:
		if (byte == '}' && json->state == KEY_OR_END)
			return close_container(json, true);
		json->is_key = true;
		return byte == '"' ? go(json, STRING) : JSON_BAD;
	case COLON:
		return byte == ':' ? go(json, VALUE) : JSON_BAD;
	case AFTER_VALUE:
		if (byte == ',' && json->depth > 0)
			return go(json, in_object(json) ? KEY : VALUE);
		return byte == '}' || byte == ']' ? close_container(json, byte == '}') : JSON_BAD;
	default:
		return begin_value(json, byte);
	}
}

static enum json_step in_text(struct json_bytes *json, char byte)
{
	if (json->state == HEX) {
		if (json_hex_value(byte) < 0)
			return JSON_BAD;
		if (--json->n_left == 0)
			json->state = STRING;
		return JSON_MORE;
	}
	if (json->state == ESCAPE) {
		json->n_left = 4;
		if (byte == 'u')
			return go(json, HEX);
		for (const char *known = "\"\\/bfnrt"; *known; known++)
			if (byte == *known)
				return go(json, STRING);
		return JSON_BAD;
	}
	if (byte == '\\')
		return go(json, ESCAPE);
	if (byte != '"')
		return JSON_MORE;
	return json->is_key ? go(json, COLON) : end_value(json);
}

/* A number may end here: `byte` belongs to what follows. */
static enum json_step after_number(struct json_bytes *json, char byte)
{
	json->state = AFTER_VALUE;
	return json->depth == 0 ? JSON_BEFORE : between(json, byte);
}

static enum json_step in_number(struct json_bytes *json, char byte)
{
	bool digit = is_digit(byte), exponent = byte == 'e' || byte == 'E';
	switch (json->state) {
	case MINUS:
		return digit ? go(json, byte == '0' ? ZERO : INTEGER) : JSON_BAD;
	case ZERO:
	case INTEGER:
		if (digit)
			return json->state == INTEGER ? JSON_MORE : JSON_BAD;
		if (byte == '.')
			return go(json, POINT);
		return exponent ? go(json, EXPONENT) : after_number(json, byte);
	case POINT:
		return digit ? go(json, FRACTION) : JSON_BAD;
	case FRACTION:
		if (digit)
			return JSON_MORE;
		return exponent ? go(json, EXPONENT) : after_number(json, byte);
	case EXPONENT:
		if (byte == '+' || byte == '-')
			return go(json, EXPONENT_SIGN);
		return digit ? go(json, EXPONENT_DIGITS) : JSON_BAD;
	case EXPONENT_SIGN:
		return digit ? go(json, EXPONENT_DIGITS) : JSON_BAD;
	default:
		return digit ? JSON_MORE : after_number(json, byte);
	}
}

enum json_step json_bytes_push(struct json_bytes *json, char byte)
{
	switch (json->state) {
	case STRING:
	case ESCAPE:
	case HEX:
		return in_text(json, byte);
	case LITERAL:
		if (*json->literal++ != byte)
			return JSON_BAD;
		return *json->literal ? JSON_MORE : end_value(json);
	case VALUE:
	case VALUE_OR_END:
	case KEY_OR_END:
	case KEY:
	case COLON:
	case AFTER_VALUE:
		return between(json, byte);
	default:
		return in_number(json, byte);
	}
}

bool json_bytes_in_string(const struct json_bytes *json)
{
	return json->state == STRING;
}

bool json_bytes_in_escape(const struct json_bytes *json)
{
	return json->state == ESCAPE || json->state == HEX;
}

bool json_bytes_in_key(const struct json_bytes *json)
{
	return json->is_key && (json_bytes_in_string(json) || json_bytes_in_escape(json));
}

bool json_bytes_awaits_value(const struct json_bytes *json)
{
	return json->state == VALUE;
}

bool json_bytes_after_value(const struct json_bytes *json)
{
	return json->state == AFTER_VALUE;
}
