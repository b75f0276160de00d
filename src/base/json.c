/* Reading: a value is a cJSON item. The scan (json_scan.h) turned numbers and strings into marked strings; here the
 * marks come off. cJSON's number fields are free then and hold lengths: valuedouble that of the text with its mark,
 * valueint that of the key. JSON_MAX_BYTES keeps both exact. */
#include "base/json.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/json_scan.h"
#include "base/lfs_pointer.h"

static const cJSON *item_of(const struct json *value)
{
	return (const cJSON *)value;
}

static const struct json *value_of(const cJSON *item)
{
	return (const struct json *)item;
}

/* Puts NULs back and returns the length. */
static size_t restore_text(char *text)
{
	size_t n = strlen(text);
	for (char *at = text; (at = memchr(at, JSON_NUL_BYTE, n - (size_t)(at - text))) != NULL;)
		*at = 0;
	return n;
}

/* Depth is bounded by the scan. */
static void restore_tree(cJSON *item)
{
	for (; item; item = item->next) {
		if (item->string)
			item->valueint = (int)restore_text(item->string);
		if (item->valuestring)
			item->valuedouble = (double)restore_text(item->valuestring);
		restore_tree(item->child);
	}
}

struct json *json_parse(const char *text, size_t n_bytes, const struct json_limits *limits, struct error *error)
{
	struct bytes rewritten = {0};
	cJSON *root = NULL;
	if (json_scan(text, n_bytes, limits, &rewritten, error)) {
		root = cJSON_ParseWithLength(rewritten.data, rewritten.n_bytes);
		if (!root)
			error_set(error, ERROR_MEMORY, "JSON: not enough memory for a document of %zu bytes", n_bytes);
	}
	bytes_free(&rewritten);
	restore_tree(root);
	return (struct json *)root;
}

static bool read_all(int fd, size_t n_bytes, struct bytes *out)
{
	if (!bytes_reserve(out, n_bytes))
		return false;
	while (out->n_bytes < n_bytes) {
		ssize_t n = read(fd, out->data + out->n_bytes, n_bytes - out->n_bytes);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		out->n_bytes += (size_t)n;
	}
	return true;
}

static bool read_file(const char *path, size_t max_bytes, struct bytes *out, struct error *error)
{
	/* O_NONBLOCK: a FIFO must not make us wait for a writer. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat info;
	if (fd < 0)
		return error_set(error, ERROR_MODEL, "%s: %s", path, strerror(errno));
	bool ok = fstat(fd, &info) == 0;
	if (!ok)
		error_set(error, ERROR_MODEL, "%s: %s", path, strerror(errno));
	else if (!S_ISREG(info.st_mode))
		ok = error_set(error, ERROR_MODEL, "%s: not a regular file", path);
	else if ((uint64_t)info.st_size > max_bytes)
		ok = error_set(error, ERROR_MODEL, "%s: %lld bytes, at most %zu are read", path, (long long)info.st_size,
		               max_bytes);
	else if (!read_all(fd, (size_t)info.st_size, out))
		ok = out->failed ? error_set(error, ERROR_MEMORY, "%s: not enough memory", path)
		                 : error_set(error, ERROR_MODEL, "%s: cannot be read whole", path);
	close(fd);
	return ok;
}

struct json *json_parse_file(const char *path, size_t max_bytes, const struct json_limits *limits, struct error *error)
{
	struct bytes text = {0};
	struct json *document = NULL;
	if (read_file(path, max_bytes, &text, error) && lfs_pointer_refuse(path, text.data, text.n_bytes, error)) {
		document = json_parse(text.data ? text.data : "", text.n_bytes, limits, error);
		if (!document) {
			if (error->code != ERROR_MEMORY)
				error->code = ERROR_MODEL;
			error_prefix(error, "%s", path);
		}
	}
	bytes_free(&text);
	return document;
}

void json_destroy(struct json *document)
{
	cJSON_Delete((cJSON *)document);
}

enum json_type json_type(const struct json *value)
{
	const cJSON *item = item_of(value);
	switch (item->type & 0xFF) {
	case cJSON_True:
	case cJSON_False:
		return JSON_BOOL;
	case cJSON_String:
		return item->valuestring[0] == JSON_NUMBER_MARK ? JSON_NUMBER : JSON_STRING;
	case cJSON_Array:
		return JSON_ARRAY;
	case cJSON_Object:
		return JSON_OBJECT;
	default:
		return JSON_NULL;
	}
}

const char *json_type_name(enum json_type type)
{
	static const char *const names[] = {"null", "a boolean", "a number", "a string", "an array", "an object"};
	return names[type];
}

const struct json *json_get(const struct json *object, const char *key)
{
	if (!object || json_type(object) != JSON_OBJECT)
		return NULL;
	size_t n = strlen(key);
	const cJSON *found = NULL;
	/* The last one: where duplicates are allowed it wins. */
	for (const cJSON *item = item_of(object)->child; item; item = item->next)
		if ((size_t)item->valueint == n && memcmp(item->string, key, n) == 0)
			found = item;
	return value_of(found);
}

const struct json *json_first(const struct json *container)
{
	return container ? value_of(item_of(container)->child) : NULL;
}

const struct json *json_next(const struct json *value)
{
	return value_of(item_of(value)->next);
}

const char *json_key(const struct json *member, size_t *n_bytes)
{
	const cJSON *item = item_of(member);
	if (item->string && n_bytes)
		*n_bytes = (size_t)item->valueint;
	return item->string;
}

size_t json_count(const struct json *container)
{
	size_t n = 0;
	for (const struct json *value = json_first(container); value; value = json_next(value))
		n++;
	return n;
}

bool json_bool(const struct json *value, bool *out)
{
	if (!value || json_type(value) != JSON_BOOL)
		return false;
	*out = (item_of(value)->type & 0xFF) == cJSON_True;
	return true;
}

const char *json_number_text(const struct json *value)
{
	return value && json_type(value) == JSON_NUMBER ? item_of(value)->valuestring + 1 : NULL;
}

const char *json_string(const struct json *value, size_t *n_bytes)
{
	if (!value || json_type(value) != JSON_STRING)
		return NULL;
	if (n_bytes)
		*n_bytes = (size_t)item_of(value)->valuedouble - 1;
	return item_of(value)->valuestring + 1;
}

static pthread_once_t c_locale_once = PTHREAD_ONCE_INIT;
static locale_t c_locale;

static void make_c_locale(void)
{
	c_locale = newlocale(LC_ALL_MASK, "C", NULL);
}

/* A number's '.' must not depend on the environment. */
static double parse_double(const char *text)
{
	pthread_once(&c_locale_once, make_c_locale);
	return c_locale ? strtod_l(text, NULL, c_locale) : strtod(text, NULL);
}

bool json_double(const struct json *value, double *out)
{
	const char *text = json_number_text(value);
	double number = text ? parse_double(text) : 0;
	if (!text || !isfinite(number))
		return false;
	*out = number;
	return true;
}

/* The exponent of a number's text, kept so small that adding a text's length cannot overflow. */
static int64_t number_exponent(const char *text)
{
	const int64_t far = INT64_C(1) << 40;
	const char *mark = strpbrk(text, "eE");
	int64_t exponent = mark ? strtoll(mark + 1, NULL, 10) : 0; /* out of range is LLONG_MIN or LLONG_MAX */
	return exponent > far ? far : exponent < -far ? -far : exponent;
}

static bool append_digit(uint64_t *value, unsigned digit)
{
	return !__builtin_mul_overflow(*value, 10u, value) && !__builtin_add_overflow(*value, digit, value);
}

/* The magnitude of an integer written in any form (12, 12.0, 1.2e1), digit by digit because a double would round; false
 * when it has a fraction or passes 64 bits. */
static bool integer_magnitude(const char *text, uint64_t *out)
{
	uint64_t value = 0;
	text += *text == '-';
	/* The power of ten that the digit stands for. */
	int64_t power = (int64_t)strspn(text, "0123456789") + number_exponent(text) - 1;
	for (; *text && *text != 'e' && *text != 'E'; text++) {
		if (*text == '.')
			continue;
		unsigned digit = (unsigned)(*text - '0');
		if (power < 0 ? digit != 0 : !append_digit(&value, digit))
			return false;
		power--;
	}
	for (; value && power >= 0; power--)
		if (!append_digit(&value, 0))
			return false;
	*out = value;
	return true;
}

bool json_int64(const struct json *value, int64_t *out)
{
	const char *text = json_number_text(value);
	uint64_t magnitude;
	if (!text || !integer_magnitude(text, &magnitude))
		return false;
	bool negative = *text == '-';
	if (magnitude > (uint64_t)INT64_MAX + (negative ? 1 : 0))
		return false;
	*out = negative ? (int64_t)(0 - magnitude) : (int64_t)magnitude;
	return true;
}

bool json_uint64(const struct json *value, uint64_t *out)
{
	const char *text = json_number_text(value);
	uint64_t magnitude;
	if (!text || !integer_magnitude(text, &magnitude) || (*text == '-' && magnitude))
		return false;
	*out = magnitude;
	return true;
}

void json_library_version(struct bytes *out)
{
	bytes_append_format(out, "cJSON %s", cJSON_Version());
}
