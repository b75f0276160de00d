/* Chunked bodies (RFC 9112 section 7.1), decoded strictly: a size is 1 to 16 hexadecimal digits, behind which white space may
 * stand (some senders pad with it) and then a semicolon's extensions; lines end with CR LF; extensions and trailer fields are
 * skipped within a bound. Pure functions on bytes. */
#ifndef TALLOW_SERVER_HTTP_CHUNKS_H
#define TALLOW_SERVER_HTTP_CHUNKS_H

#include <stddef.h>
#include <stdint.h>

enum chunks_state {
	CHUNKS_SIZE_FIRST, /* a size's first digit; zero, so that a zeroed decoder stands at a body's beginning */
	CHUNKS_SIZE,
	CHUNKS_SIZE_SPACE,
	CHUNKS_EXTENSION,
	CHUNKS_SIZE_LF,
	CHUNKS_DATA,
	CHUNKS_DATA_CR,
	CHUNKS_DATA_LF,
	CHUNKS_TRAILER_FIRST,
	CHUNKS_TRAILER,
	CHUNKS_TRAILER_LF,
	CHUNKS_LAST_LF,
	CHUNKS_ENDED,
	CHUNKS_BAD,
};

struct chunk_decoder {
	enum chunks_state state;
	uint64_t left; /* of the chunk's data; while its size is read, the size so far */
	int n_digits;
	size_t n_skipped; /* white space, extensions and trailer fields */
};

/* Goes over n_bytes of a body up to its end; the data among them is written to out (room for n_bytes; not `bytes`
 * itself), *n_out says how much. Returns how many bytes belong to the body; then decoder->state tells whether it is
 * ENDED or BAD. */
size_t chunks_decode(struct chunk_decoder *decoder, const char *bytes, size_t n_bytes, char *out, size_t *n_out);

#endif
