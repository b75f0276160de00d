/* JSON in and out; the only door to cJSON.
 *
 * Reading: one strict pass of our own comes before cJSON and refuses what cJSON lets through: grammar, UTF-8, depth,
 * duplicate keys of one object, trailing text. Integers are kept exactly (cJSON holds doubles), strings may contain NUL
 * (they carry a length), look-ups are case-sensitive. Values are borrowed from the document until json_destroy.
 *
 *     struct json *document = json_parse(text, n_bytes, &limits, &error);
 *     const struct json *n = json_get(document, "max_tokens");
 *     int64_t max_tokens;
 *     if (n && !json_int64(n, &max_tokens)) ... not an integer, or out of range
 *
 * Writing: append-only helpers over struct bytes that escape and format.
 */
#ifndef TALLOW_BASE_JSON_H
#define TALLOW_BASE_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"

struct json; /* a value: the document's root or any value inside */

enum json_type { JSON_NULL, JSON_BOOL, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT };

struct json_limits {
	int max_depth;     /* nesting of arrays and objects; 0 = 64, at most 512 */
	size_t max_values; /* values in the whole document; 0 = no bound */
	/* Let json_get return the last of duplicate keys, as Python's json does; default: an error that names the key. */
	bool allow_duplicates;
};

/* Parses n_bytes (need not be NUL-terminated; at most 1 GiB; a UTF-8 BOM is refused). NULL on error, which is
 * ERROR_INVALID_REQUEST (or ERROR_MEMORY): the message says what, at which line and column (in bytes); text of the
 * input is not quoted (it may be a prompt) except for duplicate keys. */
struct json *json_parse(const char *text, size_t n_bytes, const struct json_limits *limits,
                        struct error *error) MUST_USE;
/* Reads and parses a whole file of at most max_bytes. The error is ERROR_MODEL and names the path. */
struct json *json_parse_file(const char *path, size_t max_bytes, const struct json_limits *limits,
                             struct error *error) MUST_USE;
void json_destroy(struct json *document); /* the root only; NULL is harmless */

enum json_type json_type(const struct json *value);
const char *json_type_name(enum json_type type); /* "a string", for messages */

/* Member of an object; NULL when absent or when `object` is no object (or NULL). Linear: for many, iterate. */
const struct json *json_get(const struct json *object, const char *key);
/* Array items or object members: for (v = json_first(x); v; v = json_next(v)). NULL for scalars and NULL. */
const struct json *json_first(const struct json *container);
const struct json *json_next(const struct json *value);           /* the sibling after it, or NULL */
const char *json_key(const struct json *member, size_t *n_bytes); /* NULL when it is no member; n_bytes may be NULL */
size_t json_count(const struct json *container);                  /* 0 for scalars and NULL */

/* Scalars. Each returns false, and leaves *out alone, when the value is NULL, has another type or does not fit.
 * 1.0 and 1e3 are integers; 1.5 and 1e400 are not. json_double refuses what overflows to infinity. */
bool json_bool(const struct json *value, bool *out);
bool json_int64(const struct json *value, int64_t *out);   /* exact */
bool json_uint64(const struct json *value, uint64_t *out); /* exact */
bool json_double(const struct json *value, double *out);
/* UTF-8 text, NUL-terminated but possibly with NULs inside; NULL when not a string. n_bytes may be NULL. */
const char *json_string(const struct json *value, size_t *n_bytes);
/* The number exactly as written in the document, or NULL. */
const char *json_number_text(const struct json *value);

/* ---- writing: `"quoted and escaped"`, numbers in the C locale. Invalid UTF-8 bytes are written as U+FFFD. ---- */
void json_write_string(struct bytes *out, const char *text, size_t n_bytes);
/* The same for a terminal's eyes: what would tell it something (utf8_is_telling) is written as escapes. */
void json_write_harmless_string(struct bytes *out, const char *text, size_t n_bytes);
/* The fewest of 15 to 17 digits that read back; NaN and infinities as null. */
void json_write_double(struct bytes *out, double value);
/* A parsed value, with numbers as they were written, on one line. */
void json_write_value(struct bytes *out, const struct json *value);

/* Object builder that takes care of commas:
 *     json_open(out);  json_field_string(out, "type", "token", 5);  json_field_int(out, "i", 0);  json_close(out);
 * json_open writes '{'; each field writes ',' first unless the last byte is '{' or '['. */
void json_open(struct bytes *out);
void json_close(struct bytes *out);                      /* writes '}' */
void json_field_key(struct bytes *out, const char *key); /* then write the value yourself */
void json_field_string(struct bytes *out, const char *key, const char *text, size_t n_bytes);
void json_field_text(struct bytes *out, const char *key, const char *text); /* NUL-terminated; NULL writes null */
/* Numbers as json_write_double and printf write them. */
void json_field_int(struct bytes *out, const char *key, int64_t value);
void json_field_uint(struct bytes *out, const char *key, uint64_t value);
void json_field_double(struct bytes *out, const char *key, double value);
void json_field_bool(struct bytes *out, const char *key, bool value);

/* Appends the name and version of the library behind this: "cJSON 1.7.15". */
void json_library_version(struct bytes *out);

#endif
