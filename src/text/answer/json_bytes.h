/* JSON taken in byte by byte: is what came so far the beginning of one value, and where does it end? Nothing is kept but the
 * place. Control characters inside strings are let through (models write line ends there); who passes the text on escapes
 * them. A zeroed struct awaits a value.
 */
#ifndef TALLOW_TEXT_ANSWER_JSON_BYTES_H
#define TALLOW_TEXT_ANSWER_JSON_BYTES_H

#include <stdbool.h>
#include <stdint.h>

enum { JSON_BYTES_MAX_DEPTH = 63 };

struct json_bytes {
	uint8_t state;  /* json_bytes.c */
	uint8_t n_left; /* of an escape's digits */
	bool is_key;
	int depth;           /* of open arrays and objects */
	uint64_t objects;    /* bit d: what was opened at depth d is an object */
	const char *literal; /* what is left of true, false or null */
};

enum json_step {
	JSON_MORE,
	JSON_DONE,   /* this byte ended the value */
	JSON_BEFORE, /* a number ended before this byte, which is not taken */
	JSON_BAD,
};

enum json_step json_bytes_push(struct json_bytes *json, char byte);

/* What the next byte is. */
bool json_bytes_in_string(const struct json_bytes *json); /* inside quotes, a key's too; not within an escape */
bool json_bytes_in_escape(const struct json_bytes *json);
bool json_bytes_in_key(const struct json_bytes *json); /* inside a key's quotes */
bool json_bytes_awaits_value(const struct json_bytes *json);
bool json_bytes_after_value(const struct json_bytes *json);

static inline bool json_is_space(char byte)
{
	return byte == ' ' || byte == '\n' || byte == '\r' || byte == '\t';
}

/* Of a hexadecimal digit; -1: it is none. */
static inline int json_hex_value(char byte)
{
	char lower = (char)(byte | 32);
	if (byte >= '0' && byte <= '9')
		return byte - '0';
	return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

#endif
