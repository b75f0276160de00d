/* The body of /execute as a checked struct. */
#ifndef TALLOW_SERVER_REQUEST_H
#define TALLOW_SERVER_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/json.h"
#include "engine/engine.h"

struct request_limits {
	int64_t max_tokens; /* cap and default */
	int64_t vocab_size; /* cap of top_k */
};

/* Strings are borrowed from the document it was read from. */
struct execute_request {
	const char *job_id; /* NULL: to be generated */
	size_t n_job_id_bytes;
	const char *prompt;
	size_t n_prompt_bytes;
	int64_t max_tokens;
	struct sampling sampling;
	bool has_seed;
	struct stop_string stops[STOP_MAX_STRINGS];
	int n_stops;
	bool stream;
	bool ignore_eos;
	bool parse_special;
	int64_t priority;
	int64_t deadline_ms;  /* 0 = none */
	struct bytes ignored; /* JSON array of unknown fields' names; empty when there are none */
};

/* Parses a request's body: a JSON object of bounded depth and size. ERROR_INVALID_REQUEST; nothing of the body is
 * quoted. Caller destroys. */
struct json *request_parse(const char *body, size_t n_bytes, struct error *error) MUST_USE;

/* Checks all fields. False when some are bad: *errors then holds `{"errors":[...]}`, one entry for each. Free `request`
 * in both cases. */
bool execute_request_read(const struct json *body, const struct request_limits *limits, struct execute_request *request,
                          struct bytes *errors) MUST_USE;
void execute_request_free(struct execute_request *request);

/* {"job_id": ...} of POST /cancel; job_id is borrowed from the document. */
bool cancel_request_read(const struct json *body, const char **job_id, size_t *n_bytes, struct bytes *errors) MUST_USE;

#endif
