/* The API keys of `tallow serve`, as digests: of the variable, and of the key file, which has a key in each line:
 *
 *     KEY|sha256:HEX [name=NAME] [concurrency=N] [tokens-per-minute=N] [max-priority=N] [admin]
 *
 * Empty lines and those that begin with # are none. Without a name a key is called after its line ("line-3", which
 * cannot be given as a name), that of the variable is "default". */
#ifndef TALLOW_CLI_KEYS_H
#define TALLOW_CLI_KEYS_H

#include "base/error.h"
#include "server/server.h"

struct keys {
	struct api_key list[KEYS_MAX];
	int n;
};

/* Adds a key as it was given: spaces and line ends around it are none of it. ERROR_USAGE for one that is empty or too long. */
bool keys_add(struct keys *keys, const char *text, const char *name, struct error *error) MUST_USE;
/* Adds those of a file. ERROR_USAGE: it cannot be read, others than its owner and group can (unless may_be_shared), a line is
 * wrong, or there is no key; what is told names the line and never the key. */
bool keys_read(struct keys *keys, const char *path, bool may_be_shared, struct error *error) MUST_USE;

#endif
