#include "model/config_fields.h"

const struct json *field(const struct fields *fields, const char *name)
{
	const struct json *value = json_get(fields->object, name);
	return value && json_type(value) != JSON_NULL ? value : NULL;
}

void bad_field(struct fields *fields, const char *name, const struct json *value, const char *expected)
{
	if (!fields->ok)
		return;
	fields->ok = false;
	const char *text = json_number_text(value);
	error_set(fields->error, ERROR_MODEL, "%s: %s%s is %.60s, expected %s", fields->path, fields->prefix, name,
	          text ? text : json_type_name(json_type(value)), expected);
}

static int64_t whole_field(struct fields *fields, const char *name, int64_t least, int64_t fallback)
{
	const struct json *value = field(fields, name);
	int64_t number;
	if (!value)
		return fallback;
	if (json_int64(value, &number) && number >= least && number <= CONFIG_MAX_COUNT)
		return number;
	bad_field(fields, name, value, least ? CONFIG_COUNT_EXPECTED : "a whole number of 0 to 16777216");
	return fallback;
}

int64_t count_field(struct fields *fields, const char *name, int64_t fallback)
{
	return whole_field(fields, name, 1, fallback);
}

int64_t index_field(struct fields *fields, const char *name, int64_t fallback)
{
	return whole_field(fields, name, 0, fallback);
}

static double number_field(struct fields *fields, const char *name, bool (*is_good)(double), const char *expected,
                           double fallback)
{
	const struct json *value = field(fields, name);
	double number;
	if (!value)
		return fallback;
	if (json_double(value, &number) && is_good(number))
		return number;
	bad_field(fields, name, value, expected);
	return fallback;
}

double positive_field(struct fields *fields, const char *name, double fallback)
{
	return number_field(fields, name, config_is_positive, CONFIG_POSITIVE_EXPECTED, fallback);
}

double theta_field(struct fields *fields, const char *name, double fallback)
{
	return number_field(fields, name, config_is_theta, CONFIG_THETA_EXPECTED, fallback);
}

double positive_field_unless_zero(struct fields *fields, const char *name, double fallback)
{
	double number;
	return json_double(field(fields, name), &number) && number == 0 ? fallback : positive_field(fields, name, fallback);
}

bool flag_field(struct fields *fields, const char *name, bool fallback)
{
	const struct json *value = field(fields, name);
	bool flag;
	if (!value)
		return fallback;
	if (json_bool(value, &flag))
		return flag;
	bad_field(fields, name, value, "true or false");
	return fallback;
}

const char *text_field(struct fields *fields, const char *name, const char *fallback)
{
	const struct json *value = field(fields, name);
	if (!value)
		return fallback;
	const char *text = json_string(value, NULL);
	if (text)
		return text;
	bad_field(fields, name, value, "a string");
	return fallback;
}
