/* Frames of event streams (sse.h): `event: <name>\ndata: <one line of JSON>\n\n`. JSON escapes line ends, so data is
 * always one line. */
#include "server/dialects/sse.h"

#include "base/json.h"

void sse_ping(const struct generation *generation, struct bytes *out)
{
	(void)generation;
	bytes_append_text(out, ": ping\n\n");
}

void sse_begin(struct bytes *out, const char *name)
{
	bytes_append_format(out, "event: %s\ndata: ", name);
	json_open(out);
	json_field_text(out, "type", name);
}

void sse_end(struct bytes *out)
{
	json_close(out);
	bytes_append_text(out, "\n\n");
}
