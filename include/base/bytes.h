/* Growable byte buffer. A zeroed struct is an empty buffer.
 *
 * Appending never returns an error: running out of memory (or passing `max_bytes`, 0 = no bound, which sets `full`, too)
 * sets `failed`, later appends do nothing, and the owner checks `failed` once at the end. `data` is always NUL-terminated after an append
 * so that it can be used as a C string when it holds no NUL itself; it is NULL while nothing was appended.
 */
#ifndef TALLOW_BASE_BYTES_H
#define TALLOW_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

struct bytes {
	char *data;
	size_t n_bytes;
	size_t capacity;
	size_t max_bytes;
	bool failed, full;
};

void bytes_append(struct bytes *bytes, const void *data, size_t n_bytes);
void bytes_append_text(struct bytes *bytes, const char *text);
void bytes_append_format(struct bytes *bytes, const char *format, ...) PRINTF_LIKE(2, 3);
/* Reserves room for n_bytes more; false when memory is short. */
bool bytes_reserve(struct bytes *bytes, size_t n_bytes);
void bytes_clear(struct bytes *bytes); /* keeps the memory */
void bytes_free(struct bytes *bytes);

#endif
