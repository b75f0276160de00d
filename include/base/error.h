/* Errors: one code that machines act on, one sentence that people act on.
 *
 * A function that can fail takes `struct error *error` as its last parameter and returns bool (false = failed) or a
 * pointer (NULL = failed). The leaf that notices says what is wrong with expected and actual values; callers prepend
 * where (`error_prefix`), never rephrase what. Only main exits. `assert` is for bugs of our own.
 *
 * ERROR_TABLE is the only place that maps a code to its wire name, HTTP status, OpenAI type, exit code and whether a
 * client may retry.
 */
#ifndef TALLOW_BASE_ERROR_H
#define TALLOW_BASE_ERROR_H

#include <stdarg.h>
#include <stdbool.h>

#define MUST_USE                             __attribute__((warn_unused_result))
#define PRINTF_LIKE(format_index, first_arg) __attribute__((format(printf, format_index, first_arg)))

/*    code                        wire name                  http  OpenAI type               exit  retriable */
#define ERROR_TABLE(X)                                                                                                 \
	X(ERROR_NONE, "NONE", 200, "", 0, false)                                                                           \
	X(ERROR_USAGE, "USAGE", 500, "server_error", 2, false)                                                             \
	X(ERROR_MODEL, "MODEL_INVALID", 500, "server_error", 3, false)                                                     \
	X(ERROR_MEMORY, "OUT_OF_MEMORY", 503, "server_error", 4, true)                                                     \
	X(ERROR_BIND, "BIND_FAILED", 500, "server_error", 5, false)                                                        \
	X(ERROR_CALLBACK, "CALLBACK_FAILED", 500, "server_error", 6, false)                                                \
	X(ERROR_INVALID_REQUEST, "INVALID_REQUEST", 400, "invalid_request_error", 70, false)                               \
	X(ERROR_UNHEALTHY, "UNHEALTHY", 503, "server_error", 1, true)                                                      \
	X(ERROR_TEMPLATE, "INVALID_REQUEST", 400, "invalid_request_error", 1, false)                                       \
	X(ERROR_CONSTRAINT, "INVALID_REQUEST", 400, "invalid_request_error", 1, false)                                     \
	X(ERROR_TOO_LARGE, "INVALID_REQUEST", 413, "invalid_request_error", 70, false)                                     \
	X(ERROR_URI_TOO_LONG, "INVALID_REQUEST", 414, "invalid_request_error", 70, false)                                  \
	X(ERROR_HEAD_TOO_LARGE, "INVALID_REQUEST", 431, "invalid_request_error", 70, false)                                \
	X(ERROR_EXPECTATION, "INVALID_REQUEST", 417, "invalid_request_error", 70, false)                                   \
	X(ERROR_HTTP_VERSION, "INVALID_REQUEST", 505, "invalid_request_error", 70, false)                                  \
	X(ERROR_NOT_FOUND, "INVALID_REQUEST", 404, "not_found_error", 70, false)                                           \
	X(ERROR_UNKNOWN_MODEL, "INVALID_REQUEST", 404, "invalid_request_error", 70, false)                                 \
	X(ERROR_METHOD, "INVALID_REQUEST", 405, "invalid_request_error", 70, false)                                        \
	X(ERROR_CONFLICT, "INVALID_REQUEST", 409, "invalid_request_error", 70, false)                                      \
	X(ERROR_CONTEXT_LENGTH, "CONTEXT_LENGTH_EXCEEDED", 400, "invalid_request_error", 70, false)                        \
	X(ERROR_UNAUTHORIZED, "UNAUTHORIZED", 401, "authentication_error", 70, false)                                      \
	X(ERROR_FORBIDDEN, "FORBIDDEN", 403, "authentication_error", 70, false)                                            \
	X(ERROR_QUEUE_FULL, "QUEUE_FULL", 429, "rate_limit_error", 70, true)                                               \
	X(ERROR_INSUFFICIENT_MEMORY, "INSUFFICIENT_MEMORY", 400, "invalid_request_error", 70, false)                       \
	X(ERROR_LOADING, "MODEL_LOADING", 503, "server_error", 70, true)                                                   \
	X(ERROR_SHUTTING_DOWN, "SHUTTING_DOWN", 503, "server_error", 70, true)                                             \
	X(ERROR_CANCELLED, "CANCELLED", 499, "invalid_request_error", 70, false)                                           \
	X(ERROR_DEADLINE, "DEADLINE_EXCEEDED", 503, "server_error", 70, false)                                             \
	X(ERROR_INFERENCE, "INFERENCE_FAILED", 500, "server_error", 70, true)                                              \
	X(ERROR_MODEL_FAULT, "MODEL_FAULT", 500, "server_error", 70, false)                                                \
	X(ERROR_INTERNAL, "INTERNAL", 500, "server_error", 70, false)

enum error_code {
#define X(code, wire, http, type, exit, retriable) code,
	ERROR_TABLE(X)
#undef X
};

struct error_info {
	const char *wire_name;   /* "QUEUE_FULL" */
	int http_status;         /* when it is the answer's status */
	const char *openai_type; /* "rate_limit_error" */
	int exit_code;           /* when it ends the process */
	bool retriable;
};

struct error {
	enum error_code code;
	char message[512]; /* NUL-terminated, one line, UTF-8 */
	char field[64];    /* of a request's body, which it is about; "" where none is known */
};

/* Row of ERROR_TABLE; never NULL. */
const struct error_info *error_info(enum error_code code);

/* Sets code and message and returns false, so that a leaf reads `return error_set(error, ERROR_MODEL, "...")`.
 * Control characters in the message become '?'. `error` may not be NULL. */
bool error_set(struct error *error, enum error_code code, const char *format, ...) PRINTF_LIKE(3, 4);

/* Names the field of a request that the error is about, unless it is NULL. Returns false. */
bool error_blame(struct error *error, const char *field);

/* Puts "prefix: " before the message; for callers that know where. Returns false. */
bool error_prefix(struct error *error, const char *format, ...) PRINTF_LIKE(2, 3);

#endif
