/* Growable byte buffer. A zeroed struct is an empty buffer.
 *
 * Appending never returns an error: when memory is short, or when n_bytes would pass `max_bytes` (0 = no bound; the NUL at
 * the end is not counted), `failed` is set, in the second case `full`, too. An append that failed has changed nothing,
 * later ones do nothing, and the owner checks `failed` once at the end. `data` is NUL-terminated after an append, so that
 * it can be used as a C string when it holds no NUL itself; it is NULL while nothing was appended.
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

/* Copies n_bytes; the source may not lie in the buffer itself. */
void bytes_append(struct bytes *bytes, const void *data, size_t n_bytes);
/* Copies a C string, and what printf makes of a format. */
void bytes_append_text(struct bytes *bytes, const char *text);
void bytes_append_format(struct bytes *bytes, const char *format, ...) PRINTF_LIKE(2, 3);
/* Four characters for three bytes (RFC 4648). */
void bytes_append_base64(struct bytes *bytes, const unsigned char *data, size_t n_bytes);
/* Room for n_bytes more, so that appending them cannot fail; false (and `failed`) when memory or max_bytes forbid it. */
bool bytes_reserve(struct bytes *bytes, size_t n_bytes);
void bytes_clear(struct bytes *bytes); /* empty, not failed; keeps the memory and max_bytes */
void bytes_free(struct bytes *bytes);  /* the same, and gives the memory back */
/* The same once a buffer's text has gone into another, which it is a part of: what failed of the part has failed of the whole,
 * so that nothing that was lost goes unnoticed. */
void bytes_clear_part(struct bytes *part, struct bytes *whole);
void bytes_free_part(struct bytes *part, struct bytes *whole);

#endif
