/* Server-sent events: the frames that dialects fill. Pure text. */
#ifndef TALLOW_SERVER_DIALECTS_SSE_H
#define TALLOW_SERVER_DIALECTS_SSE_H

#include "base/bytes.h"

/* A comment that keeps proxies and clients awake. */
void sse_ping(struct bytes *out);
/* `event: <name>` and the beginning of its data: an object whose "type" is the name. Add fields, then sse_end. */
void sse_begin(struct bytes *out, const char *name);
void sse_end(struct bytes *out);

#endif
