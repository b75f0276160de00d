/* What the readers of stores share. */
#ifndef TALLOW_CLI_STORES_PRIVATE_H
#define TALLOW_CLI_STORES_PRIVATE_H

#include <stdint.h>

#include "cli/stores/stores.h"

/* A text that printf makes, in the arena; "" where memory is short. */
const char *stores_text(struct stores *stores, const char *format, ...) PRINTF_LIKE(2, 3);
/* `path` and `broken` as in struct stored_model, borrowed from the arena. */
void stores_add(struct stores *stores, const char *store, const char *name, const char *path, const char *broken);

/* Names in a directory but those that begin with a dot, sorted; *n of them, in the arena. NULL: it cannot be read. A link in
 * place of the directory is followed only where `follow` says so. */
const char **stores_list(struct stores *stores, const char *directory, bool follow, size_t *n);

bool stores_is_directory(const char *path);
bool stores_is_file(const char *path);                       /* a regular one, or a link to one */
bool stores_ends_with(const char *name, const char *suffix); /* whatever the case */
/* "m-00002-of-00003.gguf": what the first of them stands for. */
bool stores_is_later_part(const char *name);

#endif
