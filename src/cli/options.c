/* Parsing options and printing them (options.h). */
#include "cli/options.h"

#include <assert.h>
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/config_file.h"
#include "cli/option_values.h"
#include "cli/screen.h"

enum { VARIABLE_BYTES = 64, QUOTE_BYTES = 100 };

static bool is_option(const struct option_row *row)
{
	return row->kind != OPTION_HEADING && row->kind != OPTION_PATH;
}

void option_variable(const struct option_row *row, char *out, size_t capacity)
{
	int n = snprintf(out, capacity, "TALLOW_%s", row->name);
	for (int i = 0; i < n && (size_t)i < capacity; i++)
		out[i] = out[i] == '-' ? '_' : (char)toupper((unsigned char)out[i]);
}

/* ---- one value ---- */

/* "an integer from 0 to 65535" */
static void describe_expected(const struct option_row *row, char *out, size_t capacity)
{
	switch (row->kind) {
	case OPTION_INT:
		if (row->max >= OPTION_NO_MAX)
			snprintf(out, capacity, "an integer of at least %.0f", row->min);
		else
			snprintf(out, capacity, "an integer from %.0f to %.0f", row->min, row->max);
		break;
	case OPTION_UINT64:
		snprintf(out, capacity, "an integer from 0 to %llu", (unsigned long long)UINT64_MAX);
		break;
	case OPTION_NUMBER:
		snprintf(out, capacity, "a number from %g to %g", row->min, row->max);
		break;
	case OPTION_SIZE:
		snprintf(out, capacity, "a size such as 512MiB, 2GB or plain bytes");
		break;
	case OPTION_MS:
		snprintf(out, capacity, "a time such as 30s, 500ms or plain seconds%s",
		         row->min > 0 ? ", not shorter than 10ms" : "");
		break;
	case OPTION_CHOICE:
		snprintf(out, capacity, "one of %s", row->value);
		break;
	case OPTION_FLAG:
		snprintf(out, capacity, "true or false");
		break;
	default:
		snprintf(out, capacity, "a text");
	}
}

static bool set_int64(const struct option_row *row, const char *text, int64_t *field)
{
	int64_t value;
	bool ok = row->kind == OPTION_MS ? value_duration_ms(text, &value) : value_int64(text, &value);
	if (!ok || (double)value < row->min || (row->max > 0 && (double)value > row->max))
		return false;
	*field = value;
	return true;
}

static bool set_double(const struct option_row *row, const char *text, double *field)
{
	double value;
	if (!value_double(text, &value) || value < row->min || value > row->max)
		return false;
	*field = value;
	return true;
}

static bool set_choice(const struct option_row *row, const char *text, int *field)
{
	int choice = value_choice(row->value, text);
	if (choice >= 0)
		*field = choice;
	return choice >= 0;
}

/* Stores `text` where the row says; false when it is no such value. */
static bool set_value(struct options *options, const struct option_row *row, const char *text)
{
	void *field = (char *)options + row->offset;
	switch (row->kind) {
	case OPTION_FLAG:
		return value_bool(text, field);
	case OPTION_TEXT:
	case OPTION_PATH:
		*(const char **)field = text;
		return true;
	case OPTION_TEXTS:
		if (options->n_stops == OPTIONS_MAX_STOPS)
			return false;
		((const char **)field)[options->n_stops++] = text;
		return true;
	case OPTION_FILES: {
		struct option_files *files = field;
		if (files->n == OPTIONS_MAX_FILES)
			return false;
		files->paths[files->n++] = text;
		return true;
	}
	case OPTION_INT:
	case OPTION_MS:
		return set_int64(row, text, field);
	case OPTION_UINT64:
		return value_uint64(text, field);
	case OPTION_NUMBER:
		return set_double(row, text, field);
	case OPTION_SIZE:
		return value_size(text, field);
	case OPTION_CHOICE:
		return set_choice(row, text, field);
	case OPTION_HEADING:
		break;
	}
	return false;
}

/* `spelling` is the flag or variable as the user wrote it. */
static bool take_value(struct options *options, const struct option_row *row, enum option_given by,
                       const char *spelling, const char *text, struct error *error)
{
	unsigned char *given = &options->given[row - option_rows];
	/* A repeatable flag replaces what the environment said, and is not added to it. */
	if (row->kind == OPTION_TEXTS && *given != by)
		options->n_stops = 0;
	if (row->kind == OPTION_FILES && *given != by)
		((struct option_files *)(void *)((char *)options + row->offset))->n = 0;
	if (set_value(options, row, text)) {
		*given = (unsigned char)by;
		return true;
	}
	if (row->kind == OPTION_TEXTS || row->kind == OPTION_FILES)
		return error_set(error, ERROR_USAGE, "%s may be given at most %d times", spelling,
		                 row->kind == OPTION_TEXTS ? OPTIONS_MAX_STOPS : OPTIONS_MAX_FILES);
	char expected[200];
	describe_expected(row, expected, sizeof expected);
	return error_set(error, ERROR_USAGE, "%s must be %s (got \"%.*s\")", spelling, expected, QUOTE_BYTES, text);
}

/* ---- finding options ---- */

static const struct option_row *find_row(unsigned command, const char *name, size_t n_bytes)
{
	for (int i = 0; i < n_option_rows; i++) {
		const struct option_row *row = &option_rows[i];
		if (is_option(row) && (row->commands & command) && row->source != FROM_ENVIRONMENT &&
		    strlen(row->name) == n_bytes && memcmp(row->name, name, n_bytes) == 0)
			return row;
	}
	return NULL;
}

static const struct option_row *find_letter(unsigned command, char letter)
{
	for (int i = 0; i < n_option_rows; i++)
		if (option_rows[i].letter == letter && (option_rows[i].commands & command))
			return &option_rows[i];
	return NULL;
}

static const struct option_row *nearest_row(unsigned command, const char *name)
{
	const struct option_row *nearest = find_row(command, "help", 4); /* every command has it */
	assert(nearest);
	for (int i = 0; i < n_option_rows; i++) {
		const struct option_row *row = &option_rows[i];
		if (is_option(row) && (row->commands & command) && row->source != FROM_ENVIRONMENT &&
		    edit_distance(name, row->name) < edit_distance(name, nearest->name))
			nearest = row;
	}
	return nearest;
}

static bool refuse_unknown(unsigned command, const char *argument, size_t n_name, struct error *error)
{
	char name[64];
	snprintf(name, sizeof name, "%.*s", (int)n_name, argument + strspn(argument, "-"));
	if (strcmp(name, "api-key") == 0)
		return error_set(error, ERROR_USAGE,
		                 "a key on the command line can be read by every user; use TALLOW_API_KEY or --api-key-file");
	const struct option_row *nearest = nearest_row(command, name);
	if (find_row(FOR_ALL, name, strlen(name)))
		return error_set(error, ERROR_USAGE, "--%s is an option of another command (nearest here: --%s)", name,
		                 nearest->name);
	return error_set(error, ERROR_USAGE, "unknown option %.*s; the nearest is --%s", QUOTE_BYTES, argument,
	                 nearest->name);
}

/* ---- defaults, file, environment, command line ---- */

static bool set_defaults(struct options *options, unsigned command, struct error *error)
{
	memset(options, 0, sizeof *options);
	options->decode_from = -1;
	for (int i = 0; i < n_option_rows; i++) {
		const struct option_row *row = &option_rows[i];
		if (row->fallback && (row->commands & command) && !set_value(options, row, row->fallback))
			return error_set(error, ERROR_INTERNAL, "the default of --%s is no value of its kind", row->name);
	}
	return true;
}

static bool set_from_entry(struct options *options, unsigned command, const struct config_entry *entry,
                           struct error *error)
{
	char spelling[sizeof entry->where + VARIABLE_BYTES];
	const struct option_row *row = find_row(command, entry->name, strlen(entry->name));
	const struct option_row *anywhere = row ? row : find_row(FOR_ALL, entry->name, strlen(entry->name));
	snprintf(spelling, sizeof spelling, "%s%.60s", entry->where, entry->name);
	if (strcmp(entry->name, "api-key") == 0)
		return error_set(error, ERROR_USAGE, "%s: keys do not belong here; use api-key-file", spelling);
	if (!anywhere)
		return error_set(error, ERROR_USAGE, "%sunknown option %.60s; the nearest is %s", entry->where, entry->name,
		                 nearest_row(command, entry->name)->name);
	if (anywhere->source == FROM_FLAG || strcmp(entry->name, "config") == 0)
		return error_set(error, ERROR_USAGE, "%s is only for the command line", spelling);
	if (!row)
		return true; /* another command's */
	bool repeats = row->kind == OPTION_TEXTS || row->kind == OPTION_FILES;
	if (options->given[row - option_rows] != NOT_GIVEN && !repeats)
		return error_set(error, ERROR_USAGE, "%s is given a second time", spelling);
	if (!entry->value && row->kind != OPTION_FLAG)
		return error_set(error, ERROR_USAGE, "%s needs a value: %.60s = %s", spelling, entry->name, row->value);
	return take_value(options, row, GIVEN_BY_FILE, spelling, entry->value ? entry->value : "true", error);
}

static bool set_from_file(struct options *options, unsigned command, const struct config_file *file,
                          struct error *error)
{
	for (int i = 0; file && i < file->n_entries; i++)
		if (!set_from_entry(options, command, &file->entries[i], error))
			return false;
	return true;
}

static bool set_from_environment(struct options *options, unsigned command, struct error *error)
{
	for (int i = 0; i < n_option_rows; i++) {
		const struct option_row *row = &option_rows[i];
		char variable[VARIABLE_BYTES];
		if (!is_option(row) || !(row->commands & command) || row->source == FROM_FLAG)
			continue;
		option_variable(row, variable, sizeof variable);
		const char *text = getenv(variable);
		if (!text && row->variable) {
			snprintf(variable, sizeof variable, "%s", row->variable);
			text = getenv(variable);
		}
		/* An empty variable is an unset one, but an empty key is a mistake that must not open the door. */
		if (!text || (*text == '\0' && row->source != FROM_ENVIRONMENT))
			continue;
		if (!take_value(options, row, GIVEN_BY_ENVIRONMENT, variable, text, error))
			return false;
	}
	return true;
}

/* Takes argv[*i], and argv[*i + 1] when that is its value. */
static bool take_argument(struct options *options, unsigned command, int argc, char **argv, int *i, struct error *error)
{
	const char *argument = argv[*i];
	const struct option_row *row;
	const char *value = NULL;
	char spelling[VARIABLE_BYTES];
	size_t n_name = strcspn(argument, "=");
	if (argument[1] != '-') {
		row = argument[2] == '\0' ? find_letter(command, argument[1]) : NULL;
		n_name = strlen(argument);
	} else {
		row = find_row(command, argument + 2, n_name - 2);
		value = argument[n_name] == '=' ? argument + n_name + 1 : NULL;
	}
	if (!row)
		return refuse_unknown(command, argument, n_name - strspn(argument, "-"), error);
	snprintf(spelling, sizeof spelling, "%.*s", (int)n_name, argument);
	if (!value && row->kind == OPTION_FLAG)
		value = "true";
	if (!value && *i + 1 >= argc)
		return error_set(error, ERROR_USAGE, "%s needs a value", spelling);
	if (!value)
		value = argv[++*i];
	return take_value(options, row, GIVEN_BY_FLAG, spelling, value, error);
}

static bool take_path(struct options *options, unsigned command, const char *argument, struct error *error)
{
	for (int i = 0; i < n_option_rows; i++) {
		const struct option_row *row = &option_rows[i];
		if (row->kind == OPTION_PATH && (row->commands & command) && !options->given[i])
			return take_value(options, row, GIVEN_BY_FLAG, row->value, argument, error);
	}
	return error_set(error, ERROR_USAGE, "unexpected argument \"%.*s\"", QUOTE_BYTES, argument);
}

static bool set_from_arguments(struct options *options, unsigned command, int argc, char **argv, struct error *error)
{
	bool only_paths = false;
	for (int i = 1; i < argc && !options->help && !options->version; i++) {
		const char *argument = argv[i];
		bool ok = true;
		if (!only_paths && strcmp(argument, "--") == 0)
			only_paths = true;
		else if (!only_paths && argument[0] == '-' && argument[1] != '\0')
			ok = take_argument(options, command, argc, argv, &i, error);
		else
			ok = take_path(options, command, argument, error);
		if (!ok)
			return false;
	}
	return true;
}

/* A mistake on the command line is told before one around it, and with --help or --version none around it counts. */
static bool set_all(struct options *options, unsigned command, const struct config_file *file, int argc, char **argv,
                    struct error *error)
{
	struct error around;
	if (!set_defaults(options, command, error))
		return false;
	bool ok = set_from_file(options, command, file, &around) && set_from_environment(options, command, &around);
	if (!set_from_arguments(options, command, argc, argv, error))
		return false;
	if (!ok && !options->help && !options->version) {
		*error = around;
		return false;
	}
	return true;
}

bool options_parse(struct options *options, unsigned command, int argc, char **argv, struct error *error)
{
	/* Twice where there is a file: flags and environment tell which, and then come over it. */
	struct config_file file;
	if (!set_all(options, command, NULL, argc, argv, error))
		return false;
	const char *path = options->config;
	if (!path && (command & (FOR_SERVE | FOR_HEALTH)) && access(CONFIG_FILE_DEFAULT, F_OK) == 0)
		path = CONFIG_FILE_DEFAULT;
	if (!path || options->help || options->version)
		return true;
	bool ok = config_file_read(path, &file, error) && set_all(options, command, &file, argc, argv, error);
	config_file_free(&file);
	return ok;
}

bool options_given(const struct options *options, const char *name)
{
	for (int i = 0; i < n_option_rows; i++)
		if (options->given[i] != NOT_GIVEN && strcmp(option_rows[i].name, name) == 0)
			return true;
	return false;
}

/* ---- one option, later ---- */

bool options_set(struct options *options, unsigned command, const char *name, const char *text, struct error *error)
{
	const struct option_row *row = find_row(command, name, strlen(name));
	assert(row);
	return take_value(options, row, GIVEN_BY_FLAG, name, text, error);
}

bool options_unset(struct options *options, unsigned command, const char *name, struct error *error)
{
	const struct option_row *row = find_row(command, name, strlen(name));
	assert(row);
	if (!take_value(options, row, GIVEN_BY_FLAG, name, row->fallback ? row->fallback : "0", error))
		return false;
	options->given[row - option_rows] = NOT_GIVEN;
	return true;
}

void options_show(const struct options *options, unsigned command, const char *name, char *out, size_t capacity)
{
	const struct option_row *row = find_row(command, name, strlen(name));
	assert(row);
	const void *field = (const char *)options + row->offset;
	if (row->kind == OPTION_NUMBER)
		snprintf(out, capacity, "%g", *(const double *)field);
	else if (row->kind == OPTION_UINT64)
		snprintf(out, capacity, "%" PRIu64, *(const uint64_t *)field);
	else
		snprintf(out, capacity, "%" PRId64, *(const int64_t *)field);
}

/* ---- help ---- */

enum { HELP_COLUMN = 34 };

static bool has_rows_after(int heading, unsigned command)
{
	for (int i = heading + 1; i < n_option_rows && option_rows[i].kind != OPTION_HEADING; i++)
		if (option_rows[i].commands & command)
			return true;
	return false;
}

/* "  -p, --prompt TEXT" */
static int print_name(const struct option_row *row)
{
	char variable[VARIABLE_BYTES];
	if (row->kind == OPTION_PATH)
		return printf("  %s", row->value);
	if (row->source == FROM_ENVIRONMENT) {
		option_variable(row, variable, sizeof variable);
		return printf("  %s=%s", variable, row->value);
	}
	int n = row->letter ? printf("  -%c, --%s", row->letter, row->name) : printf("      --%s", row->name);
	return row->value ? n + printf(" %s", row->value) : n;
}

static void print_row(const struct option_row *row)
{
	int n = print_name(row);
	if (n > HELP_COLUMN - 2)
		n = printf("\n") - 1;
	/* A zero that means something else than zero is explained in words already. */
	bool told = !row->fallback || (strcmp(row->fallback, "0") == 0 && strstr(row->help, "0:"));
	printf("%*s", HELP_COLUMN - n, "");
	screen_print(HELP_COLUMN, HELP_COLUMN, told ? "%s" : "%s [%s]", row->help, row->fallback);
}

void options_print(unsigned command)
{
	for (int i = 0; i < n_option_rows; i++) {
		const struct option_row *row = &option_rows[i];
		if (!(row->commands & command))
			continue;
		if (row->kind != OPTION_HEADING)
			print_row(row);
		else if (has_rows_after(i, command))
			printf("\n%s\n", row->help);
	}
	printf("\n");
	screen_print(0, 0,
	             "Each --some-name can be set as TALLOW_SOME_NAME in the environment or as `some-name = ...` in a "
	             "--config file; the flag wins.");
}
