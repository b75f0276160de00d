/* The scan: one loop over the text with a stack of open containers, so that no input can make it recurse. Keys of all
 * objects share one hash table, keyed with (number of the object, text), so duplicates are found in linear time. */
#include "base/json_scan.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/utf8.h"

enum { DEFAULT_DEPTH = 64, MAX_DEPTH = 512 };

/* A key seen so far: which object, and where its text lies in the output. */
struct seen_key {
	uint32_t object; /* 0 = free place */
	uint32_t n_bytes;
	size_t offset;
};

struct scanner {
	const unsigned char *text;
	size_t n_bytes, at;
	int max_depth;
	size_t max_values, n_values;
	bool allow_duplicates;
	struct bytes *out;
	struct error *error;

	int depth;
	uint32_t object[MAX_DEPTH + 1]; /* number of the object open at each depth, 0 for an array */
	uint32_t n_objects;
	struct seen_key *keys; /* open addressing */
	size_t n_keys, key_capacity;
};

static bool refuse(struct scanner *s, const char *what)
{
	size_t line = 1, column = 1;
	for (size_t i = 0; i < s->at && i < s->n_bytes; i++) {
		column = s->text[i] == '\n' ? 1 : column + 1;
		line += s->text[i] == '\n';
	}
	error_set(s->error, ERROR_INVALID_REQUEST, "JSON, line %zu column %zu: %s", line, column, what);
	return false;
}

static bool refuse_memory(struct scanner *s)
{
	error_set(s->error, ERROR_MEMORY, "JSON: not enough memory for a document of %zu bytes", s->n_bytes);
	return false;
}

static void skip_space(struct scanner *s)
{
	for (; s->at < s->n_bytes; s->at++) {
		unsigned char c = s->text[s->at];
		if (c != ' ' && c != '\n' && c != '\r' && c != '\t')
			return;
	}
}

/* Single bytes are half of all that is written: here without a call where there is room. */
static void put(struct scanner *s, char byte)
{
	struct bytes *out = s->out;
	if (out->capacity - out->n_bytes < 2 || out->failed) {
		bytes_append(out, &byte, 1);
		return;
	}
	out->data[out->n_bytes++] = byte;
	out->data[out->n_bytes] = 0;
}

static int peek(const struct scanner *s)
{
	return s->at < s->n_bytes ? s->text[s->at] : -1;
}

/* ---- strings ---- */

static bool hex4(struct scanner *s, unsigned *code)
{
	*code = 0;
	for (int i = 0; i < 4; i++, s->at++) {
		int c = peek(s);
		int digit = c >= '0' && c <= '9'   ? c - '0'
		            : c >= 'a' && c <= 'f' ? c - 'a' + 10
		            : c >= 'A' && c <= 'F' ? c - 'A' + 10
		                                   : -1;
		if (digit < 0)
			return refuse(s, "\\u needs four hexadecimal digits");
		*code = *code * 16 + (unsigned)digit;
	}
	return true;
}

/* A byte of a string that was written as an escape. */
static void put_unescaped(struct scanner *s, char byte)
{
	if (byte == '"' || byte == '\\')
		put(s, '\\');
	put(s, byte ? byte : (char)JSON_NUL_BYTE);
}

static bool unicode_escape(struct scanner *s)
{
	unsigned code, low;
	char utf8[4];
	if (!hex4(s, &code))
		return false;
	if (code >= 0xDC00 && code <= 0xDFFF)
		return refuse(s, "lone low surrogate");
	if (code >= 0xD800 && code <= 0xDBFF) {
		if (s->n_bytes - s->at < 2 || s->text[s->at] != '\\' || s->text[s->at + 1] != 'u')
			return refuse(s, "high surrogate without a low one");
		s->at += 2;
		if (!hex4(s, &low))
			return false;
		if (low < 0xDC00 || low > 0xDFFF)
			return refuse(s, "high surrogate without a low one");
		code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
	}
	int n = utf8_encode(code, utf8);
	for (int i = 0; i < n; i++)
		put_unescaped(s, utf8[i]);
	return true;
}

static bool escape(struct scanner *s)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	s->at++;
	int c = peek(s);
	const char *found = c > 0 ? strchr(from, c) : NULL;
	if (c == 'u') {
		s->at++;
		return unicode_escape(s);
	}
	if (!found)
		return refuse(s, "unknown escape in a string");
	s->at++;
	put_unescaped(s, to[found - from]);
	return true;
}

/* Copies characters up to the next quote, escape or what may not be in a string. */
static void copy_plain_run(struct scanner *s)
{
	size_t end = s->at;
	while (end < s->n_bytes && s->text[end] >= 0x20 && s->text[end] != '"' && s->text[end] != '\\') {
		int n = s->text[end] < 0x80 ? 1 : utf8_length(s->text + end, s->n_bytes - end);
		if (n == 0)
			break;
		end += (size_t)n;
	}
	bytes_append(s->out, s->text + s->at, end - s->at);
	s->at = end;
}

static bool scan_string(struct scanner *s, char mark)
{
	put(s, '"');
	if (mark)
		put(s, mark);
	s->at++;
	for (;;) {
		copy_plain_run(s);
		int c = peek(s);
		if (c == '"')
			break;
		if (c < 0)
			return refuse(s, "a string does not end");
		if (c < 0x20)
			return refuse(s, "control character in a string");
		if (c != '\\')
			return refuse(s, "invalid UTF-8 in a string");
		if (!escape(s))
			return false;
	}
	s->at++;
	put(s, '"');
	return true;
}

/* ---- keys ---- */

static bool grow_keys(struct scanner *s)
{
	size_t capacity = s->key_capacity ? s->key_capacity * 2 : 64;
	struct seen_key *keys = calloc(capacity, sizeof *keys);
	if (!keys)
		return refuse_memory(s);
	for (size_t i = 0; i < s->key_capacity; i++) {
		const struct seen_key *key = &s->keys[i];
		if (!key->object)
			continue;
		size_t place = (hash_bytes(s->out->data + key->offset, key->n_bytes) ^ hash_mix(key->object)) & (capacity - 1);
		while (keys[place].object)
			place = (place + 1) & (capacity - 1);
		keys[place] = *key;
	}
	free(s->keys);
	s->keys = keys;
	s->key_capacity = capacity;
	return true;
}

/* Remembers the key that was just written at out[offset...]; false when its object has it already. */
static bool note_key(struct scanner *s, size_t offset)
{
	if (s->allow_duplicates)
		return true;
	if (s->n_keys * 2 >= s->key_capacity && !grow_keys(s))
		return false;
	size_t n = s->out->n_bytes - offset;
	const char *text = s->out->data + offset;
	uint32_t object = s->object[s->depth];
	size_t place = (hash_bytes(text, n) ^ hash_mix(object)) & (s->key_capacity - 1);
	for (; s->keys[place].object; place = (place + 1) & (s->key_capacity - 1)) {
		const struct seen_key *key = &s->keys[place];
		if (key->object == object && key->n_bytes == n && memcmp(s->out->data + key->offset, text, n) == 0) {
			char message[128];
			snprintf(message, sizeof message, "duplicate key %.*s", n < 80 ? (int)n : 80, text);
			return refuse(s, message);
		}
	}
	s->keys[place] = (struct seen_key){.object = object, .n_bytes = (uint32_t)n, .offset = offset};
	s->n_keys++;
	return true;
}

static bool scan_key(struct scanner *s)
{
	if (peek(s) != '"')
		return refuse(s, "expected a key in quotes");
	size_t offset = s->out->n_bytes;
	if (!scan_string(s, 0))
		return false;
	if (s->out->failed)
		return refuse_memory(s);
	if (!note_key(s, offset))
		return false;
	skip_space(s);
	if (peek(s) != ':')
		return refuse(s, "expected ':' after a key");
	s->at++;
	put(s, ':');
	return true;
}

/* ---- numbers and literals ---- */

static size_t digits(struct scanner *s)
{
	size_t start = s->at;
	while (peek(s) >= '0' && peek(s) <= '9')
		s->at++;
	return s->at - start;
}

static bool scan_number(struct scanner *s)
{
	size_t start = s->at;
	if (peek(s) == '-')
		s->at++;
	bool leading_zero = peek(s) == '0';
	size_t n = digits(s);
	if (n == 0 || (leading_zero && n > 1))
		return refuse(s, n ? "a number may not begin with 0" : "expected a digit");
	if (peek(s) == '.') {
		s->at++;
		if (digits(s) == 0)
			return refuse(s, "expected a digit after '.'");
	}
	if (peek(s) == 'e' || peek(s) == 'E') {
		s->at++;
		if (peek(s) == '+' || peek(s) == '-')
			s->at++;
		if (digits(s) == 0)
			return refuse(s, "expected a digit in the exponent");
	}
	put(s, '"');
	put(s, JSON_NUMBER_MARK);
	bytes_append(s->out, s->text + start, s->at - start);
	put(s, '"');
	return true;
}

static bool scan_literal(struct scanner *s)
{
	static const char *const literals[] = {"true", "false", "null"};
	for (int i = 0; i < 3; i++) {
		size_t n = strlen(literals[i]);
		if (s->n_bytes - s->at >= n && memcmp(s->text + s->at, literals[i], n) == 0) {
			bytes_append(s->out, literals[i], n);
			s->at += n;
			return true;
		}
	}
	return refuse(s, "expected a value");
}

/* ---- structure ---- */

static bool open_container(struct scanner *s, char bracket)
{
	if (s->depth == s->max_depth)
		return refuse(s, "nested too deeply");
	if (bracket == '{' && ++s->n_objects == 0)
		return refuse(s, "too many objects");
	s->object[++s->depth] = bracket == '{' ? s->n_objects : 0;
	put(s, bracket);
	s->at++;
	return true;
}

/* One value, or the opening of a container (then *opened). */
static bool scan_value(struct scanner *s, bool *opened)
{
	int c = peek(s);
	*opened = c == '{' || c == '[';
	if (s->max_values && ++s->n_values > s->max_values)
		return refuse(s, "too many values");
	if (*opened)
		return open_container(s, (char)c);
	if (c == '"')
		return scan_string(s, JSON_STRING_MARK);
	if (c == '-' || (c >= '0' && c <= '9'))
		return scan_number(s);
	if (c < 0)
		return refuse(s, "the document ends where a value should be");
	return scan_literal(s);
}

/* After a value: closes containers and reads the comma that leads to the next one. */
static bool scan_after_value(struct scanner *s)
{
	while (s->depth > 0) {
		skip_space(s);
		char closing = s->object[s->depth] ? '}' : ']';
		if (peek(s) == ',') {
			s->at++;
			put(s, ',');
			skip_space(s);
			return !s->object[s->depth] || scan_key(s);
		}
		if (peek(s) != closing)
			return refuse(s, closing == '}' ? "expected ',' or '}'" : "expected ',' or ']'");
		s->at++;
		s->depth--;
		put(s, closing);
	}
	return true;
}

static bool scan_document(struct scanner *s)
{
	do {
		bool opened;
		skip_space(s);
		if (!scan_value(s, &opened))
			return false;
		if (opened) {
			skip_space(s);
			if (peek(s) != (s->object[s->depth] ? '}' : ']')) {
				if (s->object[s->depth] && !scan_key(s))
					return false;
				continue;
			}
		}
		if (!scan_after_value(s))
			return false;
	} while (s->depth > 0);
	skip_space(s);
	if (s->at < s->n_bytes)
		return refuse(s, "text after the end of the document");
	return !s->out->failed || refuse_memory(s);
}

bool json_scan(const char *text, size_t n_bytes, const struct json_limits *limits, struct bytes *out,
               struct error *error)
{
	int depth = limits && limits->max_depth ? limits->max_depth : DEFAULT_DEPTH;
	struct scanner s = {
	    .text = (const unsigned char *)text,
	    .n_bytes = n_bytes,
	    .max_depth = depth < MAX_DEPTH ? depth : MAX_DEPTH,
	    .max_values = limits ? limits->max_values : 0,
	    .allow_duplicates = limits && limits->allow_duplicates,
	    .out = out,
	    .error = error,
	};
	if (n_bytes > JSON_MAX_BYTES)
		return error_set(error, ERROR_INVALID_REQUEST, "JSON: %zu bytes, at most %d are read", n_bytes, JSON_MAX_BYTES);
	if (n_bytes >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0)
		return refuse(&s, "a byte order mark is not allowed");
	if (!bytes_reserve(out, n_bytes + n_bytes / 8 + 64))
		return refuse_memory(&s);
	bool ok = scan_document(&s);
	free(s.keys);
	return ok;
}
