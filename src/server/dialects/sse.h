/* Server-sent events: the frames that dialects fill. Pure text. */
#ifndef TALLOW_SERVER_DIALECTS_SSE_H
#define TALLOW_SERVER_DIALECTS_SSE_H

#include "base/bytes.h"

struct generation;

/* A comment that keeps proxies and clients awake: struct dialect's ping. */
void sse_ping(const struct generation *generation, struct bytes *out);
/* `event: <name>` and the beginning of its data: an object whose "type" is the name. Add fields, then sse_end. */
void sse_begin(struct bytes *out, const char *name);
void sse_end(struct bytes *out);

#endif
