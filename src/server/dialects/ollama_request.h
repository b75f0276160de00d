/* The bodies of Ollama's requests as checked structs: struct dialect's parse. */
#ifndef TALLOW_SERVER_DIALECTS_OLLAMA_REQUEST_H
#define TALLOW_SERVER_DIALECTS_OLLAMA_REQUEST_H

#include <stdbool.h>

#include "server/dialects/dialect.h"

bool ollama_parse_chat(const struct json *body, const struct request_limits *limits, struct generation *generation,
                       struct field_checker *check, struct error *error) MUST_USE;
bool ollama_parse_generate(const struct json *body, const struct request_limits *limits, struct generation *generation,
                           struct field_checker *check, struct error *error) MUST_USE;

#endif
