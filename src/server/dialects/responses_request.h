/* The bodies of OpenAI's Responses as checked structs: struct dialect's parse. */
#ifndef TALLOW_SERVER_DIALECTS_RESPONSES_REQUEST_H
#define TALLOW_SERVER_DIALECTS_RESPONSES_REQUEST_H

#include <stdbool.h>

#include "server/dialects/dialect.h"

/* asked->echo: the members of the request that every response repeats. */
bool responses_parse(const struct json *body, const struct request_limits *limits, struct generation *generation,
                     struct field_checker *check, struct error *error) MUST_USE;

#endif
