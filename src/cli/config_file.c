/* Reading a file with options (config_file.h). */
#include "cli/config_file.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"

enum { MAX_CONFIG_BYTES = 1 << 20 };

/* Never freed: values are borrowed like those of the environment. */
static struct arena texts;

static char *read_text(const char *path, struct error *error)
{
	FILE *file = fopen(path, "re");
	if (!file) {
		error_set(error, ERROR_USAGE, "cannot read %.200s: %s", path, strerror(errno));
		return NULL;
	}
	char *text = arena_alloc(&texts, MAX_CONFIG_BYTES + 2);
	size_t n_bytes = text ? fread(text, 1, MAX_CONFIG_BYTES + 1, file) : 0;
	int failed = ferror(file) ? errno : 0;
	fclose(file);
	if (!text)
		error_set(error, ERROR_MEMORY, "no memory to read %.200s", path);
	else if (failed)
		error_set(error, ERROR_USAGE, "cannot read %.200s: %s", path, strerror(failed));
	else if (n_bytes > MAX_CONFIG_BYTES)
		error_set(error, ERROR_USAGE, "%.200s is larger than a megabyte: is it a file with options?", path);
	else if (memchr(text, '\0', n_bytes))
		error_set(error, ERROR_USAGE, "%.200s is no text: it holds a NUL byte", path);
	else
		return text;
	return NULL;
}

/* Without the white space around it. */
static char *trim(char *text)
{
	text += strspn(text, " \t\r");
	char *end = text + strlen(text);
	while (end > text && strchr(" \t\r", end[-1]))
		*--end = '\0';
	return text;
}

static char *unquote(char *value)
{
	size_t n = strlen(value);
	if (n < 2 || value[0] != '"' || value[n - 1] != '"')
		return value;
	value[n - 1] = '\0';
	return value + 1;
}

static bool is_name(const char *name)
{
	size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-");
	return n > 0 && name[n] == '\0' && islower((unsigned char)name[0]);
}

static bool add_entry(struct config_file *out, const char *file_name, int n_line, char *line, struct error *error)
{
	struct config_entry *grown = realloc(out->entries, ((size_t)out->n_entries + 1) * sizeof *grown);
	if (!grown)
		return error_set(error, ERROR_MEMORY, "no memory for the options of %.200s", file_name);
	out->entries = grown;
	struct config_entry *entry = &grown[out->n_entries++];
	char *equals = strchr(line, '=');
	if (equals)
		*equals = '\0';
	*entry = (struct config_entry){.name = trim(line), .value = equals ? unquote(trim(equals + 1)) : NULL};
	snprintf(entry->where, sizeof entry->where, "%.100s:%d: ", file_name, n_line);
	if (is_name(entry->name))
		return true;
	return error_set(error, ERROR_USAGE,
	                 "%sa line is `name = value` with the name of an option, such as port (got \"%.60s\")",
	                 entry->where, entry->name);
}

bool config_file_read(const char *path, struct config_file *out, struct error *error)
{
	*out = (struct config_file){0};
	char *text = read_text(path, error);
	if (!text)
		return false;
	const char *slash = strrchr(path, '/');
	int n_line = 0;
	for (char *line = text, *next; line; line = next) {
		char *end = strchr(line, '\n');
		next = end ? end + 1 : NULL;
		if (end)
			*end = '\0';
		n_line++;
		line = trim(line);
		if (*line != '\0' && *line != '#' && !add_entry(out, slash ? slash + 1 : path, n_line, line, error)) {
			config_file_free(out);
			return false;
		}
	}
	return true;
}

void config_file_free(struct config_file *file)
{
	free(file->entries);
	*file = (struct config_file){0};
}
