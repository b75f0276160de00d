/* Server-sent events: framing. Pure text. */
#ifndef TALLOW_SERVER_SSE_H
#define TALLOW_SERVER_SSE_H

#include <stdint.h>

#include "base/bytes.h"
#include "server/reply.h"

/* A comment that keeps proxies and clients awake. */
void sse_ping(struct bytes *out);
/* Frames one event of /execute; reply_note(reply, event) came before. */
void sse_event(struct bytes *out, const struct reply *reply, const struct event *event);
/* event: progress, of loading. stage is "ready" at the end. */
void sse_progress(struct bytes *out, const char *stage, uint64_t bytes_done, uint64_t bytes_total);
/* Whole percent, 0..100. */
int64_t sse_percent(uint64_t bytes_done, uint64_t bytes_total);
/* event: error */
void sse_error(struct bytes *out, const struct error *error);

#endif
