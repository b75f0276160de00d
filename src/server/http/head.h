/* The head of a request (request line and header fields), checked as RFC 9112 has it. Pure functions on bytes.
 *
 *     struct head_scanner scanner = {0};
 *     while ((result = head_scan(&scanner, piece, n_bytes, &n_used, &error)) == HEAD_PARTIAL) ... the next piece
 *     if (result == HEAD_WHOLE && head_parse(bytes, n_bytes, &head, &error)) ...
 *
 * What is in doubt is refused, for whatever stands between us and the client may read it in another way: a line ends with
 * CR LF and nothing else does (2.2: a bare CR is invalid, a lone LF may be taken and is not); no white space before a
 * colon (5.1), no folded lines (5.2), no control characters, no NUL; one space between the parts of the request line (3);
 * exactly one Host in HTTP/1.1 (3.2), one Content-Length of digits alone, Transfer-Encoding as "chunked" alone and in
 * HTTP/1.1 alone, never both (6). A few empty lines before the request line are skipped (2.2).
 *
 * Texts carry their sizes and hold no NUL. The error says what HTTP status the answer has, quotes nothing of the head, and
 * means that the connection cannot be used further.
 */
#ifndef TALLOW_SERVER_HTTP_HEAD_H
#define TALLOW_SERVER_HTTP_HEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum {
	HEAD_MAX_BYTES = 32 << 10,    /* more: 431 */
	HEAD_MAX_FIELDS = 100,        /* likewise */
	HEAD_MAX_TARGET_BYTES = 8000, /* more: 414; RFC 9112 section 3 asks for this many */
	HEAD_MAX_ARGUMENTS = 100,     /* of the query, though nobody reads them; likewise */
	HEAD_MAX_EMPTY_LINES = 4,     /* before the request line */
};

/* Where the scan stands; zeroed at a head's first byte. */
struct head_scanner {
	size_t n_bytes;
	size_t n_line_bytes; /* of the line so far, without its end */
	int n_lines;         /* that were not empty */
	int n_empty_lines;
	bool after_cr;
};

enum head_result { HEAD_PARTIAL, HEAD_WHOLE, HEAD_BAD };
/* Goes over the next n_bytes of a head up to its end. *n_used: how many belong to it. On HEAD_BAD *error says why. */
enum head_result head_scan(struct head_scanner *scanner, const char *bytes, size_t n_bytes, size_t *n_used,
                           struct error *error);

struct head_text {
	const char *at;
	size_t n_bytes;
};

struct head_field {
	struct head_text name, value; /* value without the white space around it */
};

/* Everything points into the bytes that were parsed. */
struct head {
	struct head_text method;
	struct head_text path; /* of the target, neither decoded nor with its query; "*" for OPTIONS */
	struct head_text host; /* the target's own where it has one (absolute form), else Host's; at == NULL: none */
	int minor_version;     /* 0 or 1; a later HTTP/1.x counts as 1 */

	bool has_length;
	uint64_t content_length; /* INT64_MAX when it has more digits than anyone means */
	bool chunked;
	bool close, keep_alive;                   /* named in Connection */
	bool expects_continue, expects_something; /* Expect: 100-continue; anything else that we do not know */

	int n_fields;
	struct head_field fields[HEAD_MAX_FIELDS];
};

/* Takes a whole head apart, as head_scan found it. False: *error says why. */
bool head_parse(const char *bytes, size_t n_bytes, struct head *head, struct error *error) MUST_USE;
/* How many fields have that name, in any case; *value is the first one's. */
int head_find(const struct head *head, const char *name, struct head_text *value);
/* True when the text is `wanted`, in any case. */
bool head_text_is(struct head_text text, const char *wanted);

#endif
