/* The bodies of Anthropic's Messages as checked structs. */
#ifndef TALLOW_SERVER_DIALECTS_MESSAGES_REQUEST_H
#define TALLOW_SERVER_DIALECTS_MESSAGES_REQUEST_H

#include <stdbool.h>

#include "server/dialects/dialect.h"

/* struct dialect's parse. */
bool messages_parse(const struct json *body, const struct request_limits *limits, struct generation *generation,
                    struct field_checker *check, struct error *error) MUST_USE;

/* Checks system, messages, tools, tool_choice, thinking and output_config, and makes of them what a template may be given;
 * the caller destroys *made. What must be called, and which tools are strict, is noted in `generation`, unless it is NULL. A
 * failed allocation sets *error; bad fields are noted in `check`. */
bool messages_read_conversation(struct field_checker *check, struct generation *generation, struct json **made,
                                struct error *error) MUST_USE;

#endif
