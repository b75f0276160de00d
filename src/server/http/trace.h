/* The place of a request in a distributed trace: W3C Trace Context (https://www.w3.org/TR/trace-context/), which OpenTelemetry
 * speaks. A `traceparent` is read, written into the request's log line and sent back as it came; none is made up, since no
 * spans are exported. Pure. */
#ifndef TALLOW_SERVER_HTTP_TRACE_H
#define TALLOW_SERVER_HTTP_TRACE_H

#include <stdbool.h>

#include "server/http/head.h"

enum { TRACE_PARENT_BYTES = 55, TRACE_ID_BYTES = 32, TRACE_SPAN_BYTES = 16 };

struct trace {
	char parent[TRACE_PARENT_BYTES + 1]; /* "00-trace-span-flags"; "": the request belongs to no trace */
	char id[TRACE_ID_BYTES + 1];
	char span[TRACE_SPAN_BYTES + 1]; /* the caller's */
};

/* False, and *trace empty, when it is not what the specification allows; of a later version what that shares with ours. */
bool trace_parse(struct head_text traceparent, struct trace *trace);

#endif
