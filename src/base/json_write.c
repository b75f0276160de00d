/* Writing JSON: append-only over a byte buffer. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/utf8.h"

static void write_escaped(struct bytes *out, unsigned char c)
{
	static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt";
	const char *found = c ? strchr(from, c) : NULL;
	char text[8];
	if (found) {
		text[0] = '\\';
		text[1] = to[found - from];
		bytes_append(out, text, 2);
	} else {
		bytes_append(out, text, (size_t)snprintf(text, sizeof text, "\\u%04x", c));
	}
}

static void write_string(struct bytes *out, const char *text, size_t n_bytes, bool harmless)
{
	const unsigned char *at = (const unsigned char *)text, *end = at + n_bytes;
	bytes_append(out, "\"", 1);
	while (at < end) {
		const unsigned char *run = at;
		int n = 1;
		while (at < end && *at >= 0x20 && *at != '"' && *at != '\\' && (n = utf8_length(at, (size_t)(end - at))) > 0 &&
		       !(harmless && utf8_is_telling(utf8_code(at, n))))
			at += n;
		bytes_append(out, run, (size_t)(at - run));
		if (at == end)
			break;
		bool wide = *at >= 0x80 && n > 0;
		if (n == 0)
			bytes_append(out, "\xEF\xBF\xBD", 3);
		else if (wide)
			bytes_append_format(out, "\\u%04x", utf8_code(at, n));
		else
			write_escaped(out, *at);
		at += wide ? n : 1;
	}
	bytes_append(out, "\"", 1);
}

void json_write_string(struct bytes *out, const char *text, size_t n_bytes)
{
	write_string(out, text, n_bytes, false);
}

void json_write_harmless_string(struct bytes *out, const char *text, size_t n_bytes)
{
	write_string(out, text, n_bytes, true);
}

void json_write_double(struct bytes *out, double value)
{
	char text[40];
	if (!isfinite(value)) {
		bytes_append(out, "null", 4);
		return;
	}
	for (int digits = 15; digits <= 17; digits++) {
		snprintf(text, sizeof text, "%.*g", digits, value);
		if (strtod(text, NULL) == value)
			break;
	}
	/* Whatever stands between the digits is the locale's decimal point, of any length. */
	size_t n = strspn(text, "-0123456789");
	size_t point = strcspn(text + n, "0123456789e");
	bytes_append(out, text, n);
	if (point)
		bytes_append(out, ".", 1);
	bytes_append_text(out, text + n + point);
}

static void separate(struct bytes *out)
{
	char last = out->n_bytes ? out->data[out->n_bytes - 1] : '{';
	if (last != '{' && last != '[' && last != ':')
		bytes_append(out, ",", 1);
}

void json_open(struct bytes *out)
{
	bytes_append(out, "{", 1);
}

void json_close(struct bytes *out)
{
	bytes_append(out, "}", 1);
}

void json_field_key(struct bytes *out, const char *key)
{
	separate(out);
	json_write_string(out, key, strlen(key));
	bytes_append(out, ":", 1);
}

void json_field_string(struct bytes *out, const char *key, const char *text, size_t n_bytes)
{
	json_field_key(out, key);
	json_write_string(out, text, n_bytes);
}

void json_field_text(struct bytes *out, const char *key, const char *text)
{
	json_field_key(out, key);
	if (text)
		json_write_string(out, text, strlen(text));
	else
		bytes_append(out, "null", 4);
}

void json_field_int(struct bytes *out, const char *key, int64_t value)
{
	json_field_key(out, key);
	bytes_append_format(out, "%lld", (long long)value);
}

void json_field_uint(struct bytes *out, const char *key, uint64_t value)
{
	json_field_key(out, key);
	bytes_append_format(out, "%llu", (unsigned long long)value);
}

void json_field_double(struct bytes *out, const char *key, double value)
{
	json_field_key(out, key);
	json_write_double(out, value);
}

void json_field_bool(struct bytes *out, const char *key, bool value)
{
	json_field_key(out, key);
	bytes_append_text(out, value ? "true" : "false");
}

static void write_container(struct bytes *out, const struct json *value, bool is_object)
{
	bytes_append_text(out, is_object ? "{" : "[");
	for (const struct json *item = json_first(value); item; item = json_next(item)) {
		if (item != json_first(value))
			bytes_append_text(out, ",");
		if (is_object) {
			size_t n_key = 0;
			const char *key = json_key(item, &n_key);
			json_write_string(out, key, n_key);
			bytes_append_text(out, ":");
		}
		json_write_value(out, item);
	}
	bytes_append_text(out, is_object ? "}" : "]");
}

void json_write_value(struct bytes *out, const struct json *value)
{
	size_t n_bytes = 0;
	bool truth = false;
	const char *text;
	switch (json_type(value)) {
	case JSON_NULL:
		bytes_append_text(out, "null");
		break;
	case JSON_BOOL:
		bytes_append_text(out, json_bool(value, &truth) && truth ? "true" : "false");
		break;
	case JSON_NUMBER:
		bytes_append_text(out, json_number_text(value));
		break;
	case JSON_STRING:
		text = json_string(value, &n_bytes);
		json_write_string(out, text, n_bytes);
		break;
	case JSON_ARRAY:
	case JSON_OBJECT:
		write_container(out, value, json_type(value) == JSON_OBJECT);
		break;
	}
}
