/* Reading a request's fields: every bad one is noted, none stops the others.
 *
 *     struct field_checker check;
 *     field_checker_init(&check, object);
 *     field_integer(&check, "max_tokens", 1, 2048, &max_tokens);      // absent or null: the default stays
 *     if (check.n_errors > 0) ... check.errors holds `[{"field","constraint","message","value"},...]`
 *     field_checker_free(&check);
 *
 * Numbers are quoted back as they were written; text of prompts and stop strings never is.
 */
#ifndef TALLOW_SERVER_DIALECTS_FIELDS_H
#define TALLOW_SERVER_DIALECTS_FIELDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/json.h"

/* Parses a request's body: a JSON object of bounded depth, and of so many values and as many more as there may be tokens in
 * it. ERROR_INVALID_REQUEST (nothing of the body is quoted), ERROR_MEMORY. Caller destroys. */
enum { BODY_MAX_VALUES = 50000 };
struct json *request_parse(const char *body, size_t n_bytes, int64_t n_tokens, struct error *error) MUST_USE;

struct field_checker {
	const struct json *object; /* borrowed */
	struct bytes errors;       /* JSON array without its closing bracket */
	int n_errors;
	char first_field[64]; /* for answers that have room for one error only */
	char first_message[256];
};

void field_checker_init(struct field_checker *check, const struct json *object);
void field_checker_free(struct field_checker *check);
/* `{"errors":[...]}`, when there are some. */
void field_checker_write(const struct field_checker *check, struct bytes *out);

/* Member of that name; NULL when absent or null. */
const struct json *field_get(const struct field_checker *check, const char *name);

/* Each leaves *out alone when the field is absent, null or bad; false only when it is bad. Ranges include both ends. */
bool field_integer(struct field_checker *check, const char *name, int64_t min, int64_t max, int64_t *out);
bool field_unsigned(struct field_checker *check, const char *name, uint64_t *out); /* all 64 bits */
bool field_bool(struct field_checker *check, const char *name, bool *out);

struct field_range {
	double min, max;
	bool above_min; /* min itself is refused */
};
bool field_number(struct field_checker *check, const char *name, const struct field_range *range, double *out);
/* Text of 1..max_bytes bytes without control characters; borrowed from the document. */
bool field_name(struct field_checker *check, const char *name, size_t max_bytes, const char **text, size_t *n_bytes);

/* Notes a bad field. value is what was given, NULL when it may not be shown. */
void field_error(struct field_checker *check, const char *name, const char *constraint, const struct json *value,
                 const char *format, ...) PRINTF_LIKE(5, 6);

struct field_names {
	const char *const *names; /* [n] */
	size_t n;
};
/* Appends the names of members that are in none of known[n_known], as a JSON array; returns how many there are. At most
 * FIELDS_MAX_IGNORED are named, each cut to 64 bytes. */
enum { FIELDS_MAX_IGNORED = 32 };
size_t fields_unknown(const struct json *object, const struct field_names *known, size_t n_known, struct bytes *out);

#endif
