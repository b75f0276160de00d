/* SHA-256, by GnuTLS (which libmicrohttpd brings), with the CPU's instructions for it where there are some. */
#ifndef TALLOW_BASE_DIGEST_H
#define TALLOW_BASE_DIGEST_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

enum { DIGEST_BYTES = 32, DIGEST_HEX_BYTES = 2 * DIGEST_BYTES + 1 };

struct digest {
	unsigned char bytes[DIGEST_BYTES];
};

/* False (ERROR_MEMORY) only when memory is short. */
bool digest_of(const void *data, size_t n_bytes, struct digest *out, struct error *error) MUST_USE;
/* Lower case, NUL-terminated. */
void digest_write(const struct digest *digest, char out[DIGEST_HEX_BYTES]);
/* 64 hex digits of either case and nothing after them; false for any other text. */
bool digest_read(const char *text, struct digest *out);

/* In pieces: digest_begin, digest_add as often as need be, digest_end, which frees. */
struct digest_state;
struct digest_state *digest_begin(struct error *error) MUST_USE; /* NULL: ERROR_MEMORY */
void digest_add(struct digest_state *state, const void *data, size_t n_bytes);
void digest_end(struct digest_state *state, struct digest *out);

/* Appends the name and version of the library behind this. */
struct bytes;
void digest_library_version(struct bytes *out);

#endif
