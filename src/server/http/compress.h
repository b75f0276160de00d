/* gzip for whole answers (RFC 9110 12.5.3 and 8.4, RFC 1952). Event streams are never compressed: a compressor holds back what
 * a reader waits for. */
#ifndef TALLOW_SERVER_HTTP_COMPRESS_H
#define TALLOW_SERVER_HTTP_COMPRESS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/bytes.h"
#include "server/http/head.h"

enum {
	COMPRESS_LEAST_BYTES = 1024,    /* of a body; less is one packet anyway */
	COMPRESS_MOST_BYTES = 16 << 20, /* more would take as much memory again */
};

/* Whether a body of that size would be compressed for whoever asks. */
bool compress_is_worth(size_t n_bytes);
/* Whether an Accept-Encoding header has gzip with a weight above 0, by its name or by "*". */
bool compress_is_asked(struct head_text accept_encoding);
/* The body as gzip, in *out, whose memory is the caller's. False: it would not be smaller, or there is no memory for it. */
bool compress_gzip(const void *body, size_t n_bytes, struct bytes *out);

#endif
