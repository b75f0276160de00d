/* A conversation as its template wants it. Clients send a call's arguments as JSON text; most templates take an object, some
 * the text, some nothing but calls without content or one call a message. What a template cannot take never makes a request
 * fail: calls that are none are passed on as text.
 */
#ifndef TALLOW_SERVER_GENERATION_HISTORY_H
#define TALLOW_SERVER_GENERATION_HISTORY_H

#include <stdbool.h>

#include "base/error.h"
#include "base/json.h"
#include "text/chat_template.h"

struct history_style {
	struct chat_calls calls;
	const char *id_prefix; /* calls' ids are this, the function's name, ":" and their number; NULL: as below */
	int id_characters;     /* of calls' ids, letters and digits; 0: any */
};

/* *made is a copy, which the caller destroys; NULL where nothing had to be changed. Also in it: `reasoning` is
 * reasoning_content, an empty list of tools is none, assistants without content have "". ERROR_MEMORY: no memory. */
bool history_prepare(const struct json *conversation, const struct history_style *style, struct json **made,
                     struct error *error) MUST_USE;

/* The id itself, or n letters and digits that stand for it. */
enum { HISTORY_ID_BYTES = 64 };
void history_short_id(const char *id, size_t n_bytes, int n, char out[HISTORY_ID_BYTES]);

#endif
