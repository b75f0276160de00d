/* A file with options, one to a line, by the names of the flags:
 *
 *     # comment
 *     model = /srv/models/llama
 *     port = 9000
 *     strict-model
 *
 * Blank lines and lines that begin with # count for nothing. A value is the rest of the line without the white space around
 * it; double quotes around all of it are taken away. A switch needs no value. */
#ifndef TALLOW_CLI_CONFIG_FILE_H
#define TALLOW_CLI_CONFIG_FILE_H

#include <stdbool.h>

#include "base/error.h"

/* What `serve` reads where no --config names another; it may be missing. */
#define CONFIG_FILE_DEFAULT "/etc/tallow/tallow.conf"

struct config_entry {
	const char *name, *value; /* value: NULL where the line has no '=' */
	char where[128];          /* "tallow.conf:3: ", for the beginning of an error */
};

struct config_file {
	struct config_entry *entries;
	int n_entries;
};

/* Names and values live as long as the process, as those of argv do: options borrow them. ERROR_USAGE when the file cannot
 * be read, is no text or larger than a megabyte, or when a line is none of the above; ERROR_MEMORY. The entries are freed
 * by config_file_free. */
bool config_file_read(const char *path, struct config_file *out, struct error *error) MUST_USE;
void config_file_free(struct config_file *file);

#endif
