#include "server/http/trace.h"

#include <string.h>

/* Lower-case hex digits, not all of them zero where `some` is true. */
static bool is_hex(const char *text, size_t n, bool some)
{
	bool any = false;
	for (size_t i = 0; i < n; i++) {
		if (!((text[i] >= '0' && text[i] <= '9') || (text[i] >= 'a' && text[i] <= 'f')))
			return false;
		any |= text[i] != '0';
	}
	return any || !some;
}

bool trace_parse(struct head_text traceparent, struct trace *trace)
{
	enum { ID = 3, SPAN = ID + TRACE_ID_BYTES + 1, FLAGS = SPAN + TRACE_SPAN_BYTES + 1 };
	const char *text = traceparent.at;
	size_t n = traceparent.n_bytes;
	*trace = (struct trace){0};
	if (n < TRACE_PARENT_BYTES || text[ID - 1] != '-' || text[SPAN - 1] != '-' || text[FLAGS - 1] != '-')
		return false;
	if (!is_hex(text, 2, false) || memcmp(text, "ff", 2) == 0 || !is_hex(text + ID, TRACE_ID_BYTES, true) ||
	    !is_hex(text + SPAN, TRACE_SPAN_BYTES, true) || !is_hex(text + FLAGS, 2, false))
		return false;
	bool first_version = memcmp(text, "00", 2) == 0;
	if (n > TRACE_PARENT_BYTES && (first_version || text[TRACE_PARENT_BYTES] != '-'))
		return false;
	memcpy(trace->parent, text, TRACE_PARENT_BYTES);
	memcpy(trace->id, text + ID, TRACE_ID_BYTES);
	memcpy(trace->span, text + SPAN, TRACE_SPAN_BYTES);
	return true;
}
