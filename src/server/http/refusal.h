/* Answers to what cannot be read as a request, or has nobody to read it, written without the HTTP library: whole, with their
 * header. */
#ifndef TALLOW_SERVER_HTTP_REFUSAL_H
#define TALLOW_SERVER_HTTP_REFUSAL_H

#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"

struct server;

/* The gate's listener (gate.h): writes the answer, counts and logs it. `context` is the server. */
void refusal_answer(void *context, const struct error *error, struct bytes *answer);

/* "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110 section 5.6.7); out holds 30 bytes. */
void http_date(int64_t unix_ms, char *out);

#endif
