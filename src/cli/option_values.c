/* Values as people write them (option_values.h). */
#include "cli/option_values.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* strtoll and its like skip spaces and take "0x", "inf" and "nan"; none of these is meant here. */
static bool starts_like_a_number(const char *text, bool may_be_negative)
{
	if (may_be_negative && *text == '-')
		text++;
	return isdigit((unsigned char)text[0]) && text[1] != 'x' && text[1] != 'X';
}

bool value_int64(const char *text, int64_t *out)
{
	char *end;
	if (!starts_like_a_number(text, true))
		return false;
	errno = 0;
	long long value = strtoll(text, &end, 10);
	if (errno || *end)
		return false;
	*out = value;
	return true;
}

bool value_uint64(const char *text, uint64_t *out)
{
	char *end;
	if (!starts_like_a_number(text, false))
		return false;
	errno = 0;
	unsigned long long value = strtoull(text, &end, 10);
	if (errno || *end)
		return false;
	*out = value;
	return true;
}

/* The number at the start of `text`; what follows it is at *end. */
static bool leading_double(const char *text, double *out, char **end)
{
	if (!starts_like_a_number(text, true) && !(text[0] == '.' && isdigit((unsigned char)text[1])))
		return false;
	*out = strtod(text, end);
	return isfinite(*out);
}

bool value_double(const char *text, double *out)
{
	double value;
	char *end;
	if (!leading_double(text, &value, &end) || *end)
		return false;
	*out = value;
	return true;
}

bool value_bool(const char *text, bool *out)
{
	int choice = value_choice("0|false|no|off|1|true|yes|on", text);
	if (choice < 0)
		return false;
	*out = choice >= 4;
	return true;
}

struct unit {
	const char *name;
	double scale;
};

/* number x scale of the unit that follows it, rounded down; units[0] has no name. */
static bool value_with_unit(const char *text, const struct unit *units, size_t n_units, double *out)
{
	double number;
	char *end;
	if (!leading_double(text, &number, &end) || number < 0)
		return false;
	for (size_t i = 0; i < n_units; i++) {
		if (strcasecmp(end, units[i].name) == 0) {
			*out = floor(number * units[i].scale);
			return true;
		}
	}
	return false;
}

bool value_size(const char *text, uint64_t *n_bytes)
{
	static const struct unit units[] = {
	    {"", 1},      {"B", 1},      {"KB", 1e3},     {"MB", 1e6},     {"GB", 1e9},
	    {"TB", 1e12}, {"KiB", 1024}, {"MiB", 0x1p20}, {"GiB", 0x1p30}, {"TiB", 0x1p40},
	};
	double value;
	if (value_uint64(text, n_bytes))
		return true; /* exact beyond 2^53, too */
	if (!value_with_unit(text, units, sizeof units / sizeof *units, &value) || value >= 0x1p64)
		return false;
	*n_bytes = (uint64_t)value;
	return true;
}

bool value_duration_ms(const char *text, int64_t *ms)
{
	static const struct unit units[] = {{"", 1e3}, {"ms", 1}, {"s", 1e3}, {"m", 60e3}, {"h", 3600e3}};
	double value;
	if (!value_with_unit(text, units, sizeof units / sizeof *units, &value) || value >= 0x1p53)
		return false;
	*ms = (int64_t)value;
	return true;
}

int value_choice(const char *choices, const char *text)
{
	size_t n = strlen(text);
	for (int i = 0; choices; i++) {
		const char *bar = strchr(choices, '|');
		size_t length = bar ? (size_t)(bar - choices) : strlen(choices);
		if (n == length && strncmp(choices, text, n) == 0)
			return i;
		choices = bar ? bar + 1 : NULL;
	}
	return -1;
}

enum { NEAR_MAX_BYTES = 63 };

static int smallest(int a, int b, int c)
{
	int smaller = a < b ? a : b;
	return smaller < c ? smaller : c;
}

int edit_distance(const char *a, const char *b)
{
	size_t n_a = strnlen(a, NEAR_MAX_BYTES), n_b = strnlen(b, NEAR_MAX_BYTES);
	int row[NEAR_MAX_BYTES + 1];
	for (size_t j = 0; j <= n_b; j++)
		row[j] = (int)j;
	for (size_t i = 1; i <= n_a; i++) {
		int diagonal = row[0];
		row[0] = (int)i;
		for (size_t j = 1; j <= n_b; j++) {
			int above = row[j];
			row[j] = smallest(above + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1]));
			diagonal = above;
		}
	}
	return row[n_b];
}
