/* The arguments of a call as JSON text: an object passed through byte by byte (control characters in its strings escaped, as
 * JSON wants them), or an object that was written inside a JSON string, unquoted on the way. A zeroed struct awaits the
 * first byte.
 */
#ifndef TALLOW_TEXT_ANSWER_ARGUMENTS_H
#define TALLOW_TEXT_ANSWER_ARGUMENTS_H

#include "base/bytes.h"
#include "text/answer/json_bytes.h"

struct arguments {
	bool begun, quoted;
	bool whole;             /* the object has ended */
	struct json_bytes json; /* the object's */
	/* Of the string around it. */
	bool escaped;
	int n_digits;       /* of \u that are still to come */
	unsigned code;      /* that they are making */
	unsigned high_half; /* of a surrogate pair; 0: none */
};

/* DONE: `byte` ended the arguments. Nothing but an object is good. */
enum json_step arguments_push(struct arguments *arguments, char byte, struct bytes *out);
/* What stands inside quotes for the bytes of a text; invalid UTF-8 passes as it is. */
void arguments_escape(const char *text, size_t n_bytes, struct bytes *out);

#endif
