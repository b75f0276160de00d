/* Field checks that a request's validation is built from (fields.h). Messages are sentences a person can act on;
 * constraints are for programs: "range(1..=2048)", "type(integer)", "length(1..=128)", "required". */
#include "server/dialects/fields.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum {
	SHOWN_VALUE_BYTES = 64,
};

struct json *request_parse(const char *body, size_t n_bytes, int64_t n_tokens, struct error *error)
{
	/* Of values because a body of many tiny ones costs many times its size in memory. */
	struct json_limits limits = {.max_depth = 64, .max_values = BODY_MAX_VALUES + (size_t)n_tokens};
	if (n_bytes == 0) {
		error_set(error, ERROR_INVALID_REQUEST, "the body is empty; expected a JSON object");
		return NULL;
	}
	struct json *document = json_parse(body, n_bytes, &limits, error);
	if (!document) {
		if (error->code == ERROR_MEMORY)
			return NULL;
		error->code = ERROR_INVALID_REQUEST;
		error_prefix(error, "the body is not acceptable JSON");
		return NULL;
	}
	if (json_type(document) != JSON_OBJECT) {
		error_set(error, ERROR_INVALID_REQUEST, "the body must be a JSON object (got %s)",
		          json_type_name(json_type(document)));
		json_destroy(document);
		return NULL;
	}
	return document;
}

void field_checker_init(struct field_checker *check, const struct json *object)
{
	*check = (struct field_checker){.object = object};
}

void field_checker_free(struct field_checker *check)
{
	bytes_free(&check->errors);
}

void field_checker_write(const struct field_checker *check, struct bytes *out)
{
	json_open(out);
	json_field_key(out, "errors");
	bytes_append(out, check->errors.data, check->errors.n_bytes);
	bytes_append_text(out, "]");
	json_close(out);
	out->failed |= check->errors.failed;
}

const struct json *field_get(const struct field_checker *check, const char *name)
{
	const struct json *value = json_get(check->object, name);
	return value && json_type(value) != JSON_NULL ? value : NULL;
}

/* Longest prefix of at most max_bytes that does not end inside a character. */
static size_t utf8_prefix(const char *text, size_t n_bytes, size_t max_bytes)
{
	if (n_bytes <= max_bytes)
		return n_bytes;
	size_t end = max_bytes;
	while (end > 0 && ((unsigned char)text[end] & 0xc0) == 0x80)
		end--;
	return end;
}

/* The given value as short text: numbers as written, strings as they are, containers by their brackets. */
static void shown_value(const struct json *value, char *out, size_t out_bytes)
{
	size_t n_bytes = 0;
	const char *text;
	bool flag = false;
	switch (json_type(value)) {
	case JSON_NUMBER:
		text = json_number_text(value);
		n_bytes = strlen(text);
		break;
	case JSON_STRING:
		text = json_string(value, &n_bytes);
		break;
	case JSON_BOOL:
		text = json_bool(value, &flag) && flag ? "true" : "false";
		n_bytes = strlen(text);
		break;
	case JSON_ARRAY:
		text = "[...]";
		n_bytes = strlen(text);
		break;
	case JSON_OBJECT:
		text = "{...}";
		n_bytes = strlen(text);
		break;
	default:
		text = "null";
		n_bytes = strlen(text);
		break;
	}
	n_bytes = utf8_prefix(text, n_bytes, out_bytes - 1);
	memcpy(out, text, n_bytes);
	out[n_bytes] = '\0';
}

void field_error(struct field_checker *check, const char *name, const char *constraint, const struct json *value,
                 const char *format, ...)
{
	char message[sizeof check->first_message];
	va_list args;
	va_start(args, format);
	vsnprintf(message, sizeof message, format, args);
	va_end(args);

	if (check->n_errors == 0) {
		snprintf(check->first_field, sizeof check->first_field, "%s", name);
		memcpy(check->first_message, message, sizeof message);
	}
	bytes_append_text(&check->errors, check->n_errors == 0 ? "[" : ",");
	check->n_errors++;
	json_open(&check->errors);
	json_field_text(&check->errors, "field", name);
	json_field_text(&check->errors, "constraint", constraint);
	json_field_text(&check->errors, "message", message);
	char shown[SHOWN_VALUE_BYTES + 1];
	if (value)
		shown_value(value, shown, sizeof shown);
	json_field_text(&check->errors, "value", value ? shown : NULL);
	json_close(&check->errors);
}

static bool type_error(struct field_checker *check, const char *name, const char *type, const char *article,
                       const struct json *value)
{
	char constraint[32], shown[SHOWN_VALUE_BYTES + 1];
	snprintf(constraint, sizeof(constraint), "type(%s)", type);
	shown_value(value, shown, sizeof shown);
	field_error(check, name, constraint, value, "%s must be %s %s (got %s)", name, article, type,
	            json_type(value) == JSON_NUMBER ? shown : json_type_name(json_type(value)));
	return false;
}

/* A number that json_int64 or json_uint64 would not take: is it whole (so out of range), or has it a fraction? */
static bool number_is_whole(const struct json *value)
{
	double number;
	return !json_double(value, &number) || number == floor(number);
}

static bool number_is_negative(const struct json *value)
{
	return json_number_text(value)[0] == '-';
}

static bool range_error(struct field_checker *check, const char *name, const char *constraint, const char *bound,
                        bool too_small, const struct json *value)
{
	char shown[SHOWN_VALUE_BYTES + 1];
	shown_value(value, shown, sizeof shown);
	field_error(check, name, constraint, value, "%s must be at %s %s (got %s)", name, too_small ? "least" : "most",
	            bound, shown);
	return false;
}

bool field_integer(struct field_checker *check, const char *name, int64_t min, int64_t max, int64_t *out)
{
	const struct json *value = field_get(check, name);
	if (!value)
		return true;
	int64_t number = 0;
	bool fits = json_int64(value, &number);
	if (!fits && (json_type(value) != JSON_NUMBER || !number_is_whole(value)))
		return type_error(check, name, "integer", "an", value);
	if (fits && number >= min && number <= max) {
		*out = number;
		return true;
	}
	bool too_small = fits ? number < min : number_is_negative(value);
	char constraint[64], bound[32];
	snprintf(constraint, sizeof(constraint), "range(%" PRId64 "..=%" PRId64 ")", min, max);
	snprintf(bound, sizeof bound, "%" PRId64, too_small ? min : max);
	return range_error(check, name, constraint, bound, too_small, value);
}

bool field_unsigned(struct field_checker *check, const char *name, uint64_t *out)
{
	const struct json *value = field_get(check, name);
	if (!value || json_uint64(value, out))
		return true;
	if (json_type(value) != JSON_NUMBER || !number_is_whole(value))
		return type_error(check, name, "integer", "an", value);
	bool too_small = number_is_negative(value);
	return range_error(check, name, "range(0..=18446744073709551615)", too_small ? "0" : "18446744073709551615",
	                   too_small, value);
}

bool field_bool(struct field_checker *check, const char *name, bool *out)
{
	const struct json *value = field_get(check, name);
	if (!value || json_bool(value, out))
		return true;
	return type_error(check, name, "boolean", "a", value);
}

bool field_number(struct field_checker *check, const char *name, const struct field_range *range, double *out)
{
	const struct json *value = field_get(check, name);
	if (!value)
		return true;
	if (json_type(value) != JSON_NUMBER)
		return type_error(check, name, "number", "a", value);
	double number = 0;
	bool finite = json_double(value, &number);
	bool too_small =
	    finite ? number < range->min || (range->above_min && number == range->min) : number_is_negative(value);
	if (finite && !too_small && number <= range->max) {
		*out = number;
		return true;
	}
	char constraint[64], bound[32];
	snprintf(constraint, sizeof(constraint), "range(%.1f%s..=%.1f)", range->min, range->above_min ? "<" : "",
	         range->max);
	snprintf(bound, sizeof bound, "%.1f", too_small ? range->min : range->max);
	if (!too_small || !range->above_min)
		return range_error(check, name, constraint, bound, too_small, value);
	char shown[SHOWN_VALUE_BYTES + 1];
	shown_value(value, shown, sizeof shown);
	field_error(check, name, constraint, value, "%s must be above %s (got %s)", name, bound, shown);
	return false;
}

static bool has_control_character(const char *text, size_t n_bytes)
{
	for (size_t i = 0; i < n_bytes; i++)
		if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
			return true;
	return false;
}

bool field_name(struct field_checker *check, const char *name, size_t max_bytes, const char **text, size_t *n_bytes)
{
	const struct json *value = field_get(check, name);
	if (!value)
		return true;
	size_t length = 0;
	const char *given = json_string(value, &length);
	if (!given)
		return type_error(check, name, "string", "a", value);
	if (length < 1 || length > max_bytes) {
		char constraint[64];
		snprintf(constraint, sizeof(constraint), "length(1..=%zu)", max_bytes);
		field_error(check, name, constraint, value, "%s must have 1 to %zu bytes (got %zu)", name, max_bytes, length);
		return false;
	}
	if (has_control_character(given, length)) {
		field_error(check, name, "no_control_characters", value, "%s must not hold control characters", name);
		return false;
	}
	*text = given;
	*n_bytes = length;
	return true;
}

static bool name_in(const char *key, size_t n_bytes, const struct field_names *known, size_t n_known)
{
	for (const struct field_names *list = known; list < known + n_known; list++)
		for (size_t i = 0; i < list->n; i++)
			if (strlen(list->names[i]) == n_bytes && memcmp(list->names[i], key, n_bytes) == 0)
				return true;
	return false;
}

size_t fields_unknown(const struct json *object, const struct field_names *known, size_t n_known, struct bytes *out)
{
	size_t n_unknown = 0;
	bytes_append_text(out, "[");
	for (const struct json *member = json_first(object); member; member = json_next(member)) {
		size_t n_bytes = 0;
		const char *key = json_key(member, &n_bytes);
		if (name_in(key, n_bytes, known, n_known))
			continue;
		if (n_unknown < FIELDS_MAX_IGNORED) {
			if (n_unknown > 0)
				bytes_append_text(out, ",");
			json_write_string(out, key, utf8_prefix(key, n_bytes, SHOWN_VALUE_BYTES));
		}
		n_unknown++;
	}
	bytes_append_text(out, "]");
	return n_unknown;
}
